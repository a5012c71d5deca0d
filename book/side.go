package book

import (
	"cmp"
	"math"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// level is one price level. In a book by order, head and tail are the slots of
// its oldest and newest order; qty and count are those of its orders together.
type level struct {
	key        int64 // see side
	qty        int64 // above 0
	count      uint32
	head, tail uint32
}

// touch is a level that the batch in hand has changed. before is its quantity
// when the batch began; after and count are filled in by settle.
type touch struct {
	key    int64
	before int64
	after  int64
	count  uint32
	nth    uint32 // in order of change: the first of a key is the one that counts
}

// side is one side of a book. Prices are kept as keys, which rise towards the
// best on both sides: a bid's key is its price, an ask's the complement of it.
//
// Invariant: levels are strictly rising by key, so that the best is at the end,
// where most changes are; no level has quantity 0.
type side struct {
	mask     int64 // price = key ^ mask
	which    proto.Side
	most     int
	tracking bool // touched is being filled
	levels   []level
	touched  []touch
}

func newSide(which proto.Side, most int) side {
	s := side{which: which, most: most}
	if which == proto.Ask {
		s.mask = -1
	}
	return s
}

// find returns where the level of key is, or where it would be inserted. It looks
// backwards from the best in growing strides, since most changes are near it, then
// halves the last stride. It branches on purpose: without, the search is faster in
// one book, but with thousands it waits for one cache miss after the other.
func (s *side) find(key int64) (int, bool) {
	levels := s.levels
	end, stride := len(levels), nearBest
	for end > stride && levels[end-stride].key >= key {
		end -= stride
		stride *= 2
	}
	at := max(0, end-stride)
	for at < end {
		mid := int(uint(at+end) >> 1)
		if levels[mid].key < key {
			at = mid + 1
		} else {
			end = mid
		}
	}
	return at, at < len(levels) && levels[at].key == key
}

// nearBest is the first stride of find, in levels.
const nearBest = 8

// set gives the level at price a quantity; 0 deletes it, absent or not.
func (s *side) set(price, qty int64, count uint32) *refusal {
	key := price ^ s.mask
	i, found := s.find(key)
	switch {
	case qty < 0:
		return errBadQty
	case found && qty == 0:
		s.touch(key, s.levels[i].qty)
		s.remove(i)
	case found:
		l := &s.levels[i]
		s.touch(key, l.qty)
		l.qty, l.count = qty, count
	case qty > 0:
		if len(s.levels) >= s.most {
			return errTooManyLevels
		}
		s.touch(key, 0)
		s.insert(i, level{key: key, qty: qty, count: count})
	}
	return nil
}

func (s *side) insert(i int, l level) {
	s.levels = append(s.levels, level{})
	copy(s.levels[i+1:], s.levels[i:])
	s.levels[i] = l
}

func (s *side) remove(i int) {
	copy(s.levels[i:], s.levels[i+1:])
	s.levels = s.levels[:len(s.levels)-1]
}

// touch notes that the level of key is about to change, before being what it has.
func (s *side) touch(key, before int64) {
	if !s.tracking {
		return
	}
	n := len(s.touched)
	if n > 0 && s.touched[n-1].key == key {
		return
	}
	s.touched = append(s.touched, touch{key: key, before: before, nth: uint32(n)})
}

// settle leaves each touched level once, best first, with its final state.
func (s *side) settle() {
	t := s.touched
	if len(t) > 1 {
		slices.SortFunc(t, func(a, b touch) int {
			return cmp.Or(cmp.Compare(b.key, a.key), cmp.Compare(a.nth, b.nth))
		})
		t = slices.CompactFunc(t, func(a, b touch) bool { return a.key == b.key })
	}
	for i := range t {
		if at, found := s.find(t[i].key); found {
			t[i].after, t[i].count = s.levels[at].qty, s.levels[at].count
		}
	}
	s.touched = t
}

// touchDifferences notes every level in which s differs from old, both rising.
func (s *side) touchDifferences(old []level) {
	now := s.levels
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].key < now[0].key:
			s.touch(old[0].key, old[0].qty)
			old = old[1:]
		case len(old) == 0 || now[0].key < old[0].key:
			s.touch(now[0].key, 0)
			now = now[1:]
		default:
			if old[0].qty != now[0].qty || old[0].count != now[0].count {
				s.touch(old[0].key, old[0].qty)
			}
			old, now = old[1:], now[1:]
		}
	}
}

// best returns the best price; false where the side is empty.
func (s *side) best() (int64, bool) {
	if len(s.levels) == 0 {
		return 0, false
	}
	return s.levels[len(s.levels)-1].key ^ s.mask, true
}

// edge returns the least key that the best depth levels have room for: that of
// the depth-th level, or the least there is where there are fewer (or depth is 0).
func (s *side) edge(depth int) int64 {
	if depth == 0 || len(s.levels) < depth {
		return math.MinInt64
	}
	return s.levels[len(s.levels)-depth].key
}

// top returns the best depth levels, rising; all where depth is 0.
func (s *side) top(depth int) []level {
	if depth == 0 || len(s.levels) <= depth {
		return s.levels
	}
	return s.levels[len(s.levels)-depth:]
}

// public returns l as others see it, of quantity qty.
func (s *side) public(key, qty int64, count uint32, counts bool) proto.Level {
	if !counts || qty == 0 {
		count = 0
	}
	return proto.Level{Price: key ^ s.mask, Qty: qty, Count: count}
}

func (s *side) clear() { s.levels = s.levels[:0] }
