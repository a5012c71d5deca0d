package client

import (
	"cmp"
	"iter"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// NewBookByOrder returns a void book of the orders channel. Its levels are those
// of its orders, with their number; State, Levels and all else mean the same.
func NewBookByOrder() *Book {
	b := NewBook()
	b.bids.queues, b.asks.queues = newQueues(), newQueues()
	return b
}

// ByOrder reports whether the book is one of the orders channel.
func (b *Book) ByOrder() bool { return b.bids.queues != nil }

// Orders yields the orders of a side, best level first, and within a level in the
// order in which they are served. There are none in a book by level. The book must
// not change meanwhile.
func (b *Book) Orders(s proto.Side) iter.Seq[proto.RankedOrder] {
	at := b.side(s)
	return func(yield func(proto.RankedOrder) bool) {
		if at.queues == nil {
			return
		}
		for l := range at.all() {
			for _, o := range at.queues.byPrice[l.Price] {
				if !yield(o) {
					return
				}
			}
		}
	}
}

// Queue returns the orders at a price, the one served first in front; it must not
// be changed, and is valid until the book changes.
func (b *Book) Queue(s proto.Side, price int64) []proto.RankedOrder {
	if q := b.side(s).queues; q != nil {
		return q.byPrice[price]
	}
	return nil
}

// Order finds an order that the book shows.
func (b *Book) Order(id uint64) (o proto.RankedOrder, which proto.Side, there bool) {
	for _, s := range [...]*side{&b.bids, &b.asks} {
		if s.queues != nil {
			if o, there := s.queues.byID[id]; there {
				return o, s.is, true
			}
		}
	}
	return proto.RankedOrder{}, 0, false
}

// Ahead tells the place of an order in the queue at its price: how many orders
// are served before it, and their quantity together. there is false where the book
// does not show the order.
func (b *Book) Ahead(id uint64) (orders int, qty int64, there bool) {
	o, side, there := b.Order(id)
	if !there {
		return 0, 0, false
	}
	for _, other := range b.Queue(side, o.Price) {
		if !other.Before(&o) {
			break
		}
		orders++
		qty += other.Qty
	}
	return orders, qty, true
}

// queues holds the orders of one side of a book by order.
//
// Invariant: byPrice has the orders of byID, at each price by rank, and the side
// has a level for each price, of their quantity and number.
type queues struct {
	byID    map[uint64]proto.RankedOrder
	byPrice map[int64][]proto.RankedOrder
}

func newQueues() *queues {
	return &queues{byID: map[uint64]proto.RankedOrder{}, byPrice: map[int64][]proto.RankedOrder{}}
}

func (q *queues) clear() {
	clear(q.byID)
	clear(q.byPrice)
}

// find returns the place of o in the queue at its price, or where it belongs.
func (q *queues) find(o *proto.RankedOrder) int {
	i, _ := slices.BinarySearchFunc(q.byPrice[o.Price], o, func(other proto.RankedOrder, o *proto.RankedOrder) int {
		return cmp.Or(cmp.Compare(other.RankSeq, o.RankSeq), cmp.Compare(other.RankIndex, o.RankIndex), cmp.Compare(other.ID, o.ID))
	})
	return i
}

// setOrders gives orders their final state, quantity 0 deleting, and returns by how
// much the state hash changes.
func (s *side) setOrders(changes []proto.RankedOrder) (hash uint32) {
	for i := range changes {
		c := &changes[i]
		if old, had := s.queues.byID[c.ID]; had {
			hash -= proto.MixOrder(s.is, &old)
			s.take(&old)
		}
		if c.Qty != 0 {
			hash += proto.MixOrder(s.is, c)
			s.put(c)
		}
	}
	return hash
}

// take takes an order away, and its level with the last one.
func (s *side) take(o *proto.RankedOrder) {
	q := s.queues
	at := q.find(o)
	queue := slices.Delete(q.byPrice[o.Price], at, at+1)
	delete(q.byID, o.ID)
	index, _ := s.find(o.Price, len(s.levels))
	if len(queue) == 0 {
		delete(q.byPrice, o.Price)
		s.levels = slices.Delete(s.levels, index, index+1)
		return
	}
	q.byPrice[o.Price] = queue
	s.levels[index].Qty -= o.Qty
	s.levels[index].Count--
}

// put takes in an order that is not there.
func (s *side) put(o *proto.RankedOrder) {
	q := s.queues
	q.byPrice[o.Price] = slices.Insert(q.byPrice[o.Price], q.find(o), *o)
	q.byID[o.ID] = *o
	index, there := s.find(o.Price, len(s.levels))
	if !there {
		s.levels = slices.Insert(s.levels, index, proto.Level{Price: o.Price})
	}
	s.levels[index].Qty += o.Qty
	s.levels[index].Count++
}

// replaceOrders takes the orders of a snapshot and returns their hash. It reports
// whether they are in order, each once and none of quantity 0.
func (s *side) replaceOrders(orders []proto.RankedOrder) (hash uint32, inOrder bool) {
	s.queues.clear()
	s.levels = s.levels[:0]
	for i := range orders {
		o := &orders[i]
		_, twice := s.queues.byID[o.ID]
		if o.Qty <= 0 || twice || i > 0 && !s.inOrder(&orders[i-1], o) {
			return hash, false
		}
		s.queues.byID[o.ID] = *o
		s.queues.byPrice[o.Price] = append(s.queues.byPrice[o.Price], *o)
		if n := len(s.levels); n == 0 || s.levels[n-1].Price != o.Price {
			s.levels = append(s.levels, proto.Level{Price: o.Price})
		}
		l := &s.levels[len(s.levels)-1]
		l.Qty += o.Qty
		l.Count++
		hash += proto.MixOrder(s.is, o)
	}
	slices.Reverse(s.levels)
	return hash, true
}

// inOrder reports whether o may follow before in a snapshot.
func (s *side) inOrder(before, o *proto.RankedOrder) bool {
	if before.Price == o.Price {
		return before.Before(o)
	}
	return s.rank(before.Price) > s.rank(o.Price)
}
