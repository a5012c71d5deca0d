package client

import (
	"iter"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// side holds the levels of one side of a book in order, the best last: most
// changes are near the best and move little.
type side struct {
	is     proto.Side
	levels []proto.Level
	queues *queues // of a book by order; nil: by level
}

// rank orders prices from worst to best.
func (s *side) rank(price int64) int64 {
	if s.is == proto.Ask {
		return ^price // as -price, but without an overflow
	}
	return price
}

// find returns the index of price among the first n levels, or where it belongs.
func (s *side) find(price int64, n int) (index int, there bool) {
	rank := s.rank(price)
	low, high := 0, n
	for low < high {
		middle := int(uint(low+high) >> 1)
		if s.rank(s.levels[middle].Price) < rank {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < n && s.levels[low].Price == price
}

// set gives levels their final state, quantity 0 deleting, and returns by how
// much the state hash changes. Changes in order, best first, are found quickest;
// any order is right.
func (s *side) set(changes []proto.Level) (hash uint32) {
	bound := len(s.levels) // a level worse than the last change is before it
	for i := range changes {
		c := &changes[i]
		if i > 0 && s.rank(c.Price) >= s.rank(changes[i-1].Price) {
			bound = len(s.levels)
		}
		index, there := s.find(c.Price, bound)
		bound = index
		switch {
		case there && c.Qty == 0:
			hash -= proto.Mix(s.is, c.Price, s.levels[index].Qty)
			s.levels = slices.Delete(s.levels, index, index+1)
		case there:
			hash += proto.Mix(s.is, c.Price, c.Qty) - proto.Mix(s.is, c.Price, s.levels[index].Qty)
			s.levels[index] = *c
		case c.Qty != 0:
			hash += proto.Mix(s.is, c.Price, c.Qty)
			s.levels = slices.Insert(s.levels, index, *c)
		}
	}
	return hash
}

// replace takes the levels of a snapshot, best first, and returns their hash. It
// reports whether they are in order, each once and none of quantity 0.
func (s *side) replace(levels []proto.Level) (hash uint32, inOrder bool) {
	s.levels = append(s.levels[:0], levels...)
	slices.Reverse(s.levels)
	for i := range s.levels {
		l := &s.levels[i]
		if l.Qty <= 0 || (i > 0 && s.rank(s.levels[i-1].Price) >= s.rank(l.Price)) {
			return hash, false
		}
		hash += proto.Mix(s.is, l.Price, l.Qty)
	}
	return hash, true
}

// replaceBy is replace or, in a book by order, replaceOrders; what is of the other
// kind is not in order.
func (s *side) replaceBy(levels []proto.Level, orders []proto.RankedOrder) (hash uint32, inOrder bool) {
	if s.queues != nil {
		hash, inOrder = s.replaceOrders(orders)
		return hash, inOrder && len(levels) == 0
	}
	hash, inOrder = s.replace(levels)
	return hash, inOrder && len(orders) == 0
}

func (s *side) clear() {
	s.levels = s.levels[:0]
	if s.queues != nil {
		s.queues.clear()
	}
}

// all yields the levels, best first.
func (s *side) all() iter.Seq[proto.Level] {
	return func(yield func(proto.Level) bool) {
		for i := len(s.levels) - 1; i >= 0; i-- {
			if !yield(s.levels[i]) {
				return
			}
		}
	}
}
