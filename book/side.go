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
	qty        int64 // above 0
	count      uint32
	head, tail uint32
}

// touch is a level that the batch in hand has changed. before and had are its
// quantity and order count when the batch began; after and count are filled in by
// settle.
type touch struct {
	key    int64
	before int64
	after  int64
	had    uint32
	count  uint32
	nth    uint32 // in order of change: the first of a key is the one that counts
}

// side is one side of a book. Prices are kept as keys, which rise towards the
// best on both sides: a bid's key is its price, an ask's the complement of it.
// How levels are stored is known only here.
//
// Invariant: no level has quantity 0.
type side struct {
	mask     int64 // price = key ^ mask
	which    proto.Side
	tracking bool   // touched is being filled
	offTick  uint32 // levels of the batch in hand that came at prices off the tick
	tick     int64  // least step of the price that the instrument names; 0: none
	floor    int64  // from this key on upwards all levels are known; see partial.go
	levels   levels
	touched  []touch
	most     int
}

func newSide(which proto.Side, most int) side {
	s := side{which: which, most: most, floor: allKnown}
	if which == proto.Ask {
		s.mask = -1
	}
	return s
}

// len returns how many levels there are.
func (s *side) len() int { return s.levels.len() }

// get returns the level of key, nil where there is none. It is valid until the
// side changes.
func (s *side) get(key int64) *level { return s.levels.get(key) }

// put makes the level of key, which must not be there, without a quantity. It is
// valid until the side changes.
func (s *side) put(key int64) (*level, *refusal) {
	if s.len() >= s.most {
		return nil, errTooManyLevels
	}
	s.touch(key, 0, 0)
	return s.place(key), nil
}

// place is put for a side that is being filled: nothing is touched.
func (s *side) place(key int64) *level {
	if s.tick > 1 && (key^s.mask)%s.tick != 0 {
		s.offTick++
	}
	return s.levels.put(key)
}

// remove takes the level of key away, which must be there and touched.
func (s *side) remove(key int64) { s.levels.remove(key) }

// set gives the level at price a quantity; 0 deletes it, absent or not.
func (s *side) set(price, qty int64, count uint32) *refusal {
	s.levels.follow()
	key := price ^ s.mask
	l := s.get(key)
	switch {
	case qty < 0:
		return errBadQty
	case l != nil && qty == 0:
		s.touch(key, l.qty, l.count)
		s.remove(key)
	case l != nil:
		s.touch(key, l.qty, l.count)
		l.qty, l.count = qty, count
	case qty > 0:
		l, err := s.put(key)
		if err != nil {
			return err
		}
		l.qty, l.count = qty, count
	}
	return nil
}

// touch notes that the level of key is about to change, before and had being what
// it has.
func (s *side) touch(key, before int64, had uint32) {
	if !s.tracking {
		return
	}
	n := len(s.touched)
	if n > 0 && s.touched[n-1].key == key {
		return
	}
	s.touched = append(s.touched, touch{key: key, before: before, had: had, nth: uint32(n)})
}

// settle leaves each touched level once, best first, with its final state.
func (s *side) settle() {
	s.touched = inOrder(s.touched)
	for i := range s.touched {
		t := &s.touched[i]
		if l := s.get(t.key); l != nil {
			t.after, t.count = l.qty, l.count
		}
	}
}

// inOrder sorts touches best first, and keeps the first of each key. Venues tell levels in
// the order of their prices, one way or the other, so that is looked for first.
func inOrder(t []touch) []touch {
	rising, falling := true, true
	for i := 1; i < len(t); i++ {
		rising = rising && t[i-1].key < t[i].key
		falling = falling && t[i-1].key > t[i].key
	}
	switch {
	case falling:
		return t
	case rising:
		slices.Reverse(t)
		return t
	}
	slices.SortFunc(t, func(a, b touch) int {
		if a.key != b.key {
			return cmp.Compare(b.key, a.key)
		}
		return cmp.Compare(a.nth, b.nth)
	})
	return slices.CompactFunc(t, func(a, b touch) bool { return a.key == b.key })
}

// copyTo appends all levels to a list, best first.
func (s *side) copyTo(list []rung) []rung {
	w := s.walk(math.MaxInt64)
	for l := w.next(); l != nil; l = w.next() {
		list = append(list, rung{w.key, *l})
	}
	return list
}

// touchDifferences notes every level in which s differs from old, best first.
func (s *side) touchDifferences(old []rung) {
	w := s.walk(math.MaxInt64)
	now := w.next()
	for len(old) > 0 || now != nil {
		switch {
		case now == nil || len(old) > 0 && old[0].key > w.key:
			s.touch(old[0].key, old[0].qty, old[0].count)
			old = old[1:]
		case len(old) == 0 || w.key > old[0].key:
			s.touch(w.key, 0, 0)
			now = w.next()
		default:
			if old[0].qty != now.qty || old[0].count != now.count {
				s.touch(old[0].key, old[0].qty, old[0].count)
			}
			old, now = old[1:], w.next()
		}
	}
}

// best returns the best price; false where the side is empty.
func (s *side) best() (int64, bool) {
	key, ok := s.levels.best()
	return key ^ s.mask, ok
}

// first returns the best level; one of quantity 0 where the side is empty.
func (s *side) first() proto.Level {
	key, ok := s.levels.best()
	if !ok {
		return proto.Level{}
	}
	l := s.get(key)
	return s.public(key, l.qty, l.count, true)
}

// edge returns the least key that the best depth levels have room for: that of
// the depth-th level, or the least there is where there are fewer (or depth is 0).
// So the levels from it on upwards are the best depth ones.
func (s *side) edge(depth int) int64 { return s.levels.edge(depth) }

// walk begins at the best level whose key is at most from.
func (s *side) walk(from int64) walk { return s.levels.walk(from) }

// public returns l as others see it, of quantity qty.
func (s *side) public(key, qty int64, count uint32, counts bool) proto.Level {
	if !counts || qty == 0 {
		count = 0
	}
	return proto.Level{Price: key ^ s.mask, Qty: qty, Count: count}
}

// cut takes the levels below key away, which must be touched.
func (s *side) cut(key int64) { s.levels.cut(key) }

func (s *side) clear() { s.levels.clear() }
