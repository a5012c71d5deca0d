package book

import (
	"math"
	"math/bits"
)

// levels are those of one side, by key: a ladder for where most of them are and
// most changes happen, and a sorted list for all others: the far ones, those off
// the ladder's grid, and all of a small side. What is told of them does not depend
// on where they are kept.
//
// Invariant: no key of far lies in the ladder's span.
type levels struct {
	top int64 // the greatest key; void where there is none
	n   int

	// debt counts searches of a long far list; beyond patience, the span is
	// considered anew. So a span follows the price, and what that costs has been
	// saved up before.
	debt, patience int32

	mirror mirror // not last, where nothing would take a word
	near   ladder
	far    sorted
}

// fewLevels are searched in a list as fast as in a ladder.
const fewLevels = 32

func (s *levels) len() int { return s.n }

// get returns the level of key, nil where there is none. It is valid until the
// levels change.
func (s *levels) get(key int64) *level {
	l, spanned := s.near.get(key)
	if spanned {
		return l
	}
	if len(s.far.rungs) > fewLevels {
		s.debt++
	}
	return s.far.get(key)
}

// put makes the level of key, which must not be there.
func (s *levels) put(key int64) *level {
	if s.n == 0 || key > s.top {
		s.top = key
	}
	s.n++
	s.mirror.put(key)
	if t := s.near.tick(key); t < s.near.ticks {
		return s.near.put(t)
	}
	return s.far.put(key)
}

// remove takes the level of key away, which must be there.
func (s *levels) remove(key int64) {
	if t := s.near.tick(key); t < s.near.ticks {
		s.near.remove(t)
		if s.near.loose() {
			s.near.pack()
		}
	} else {
		s.far.remove(key)
	}
	s.n--
	s.mirror.remove(key)
	if key == s.top {
		s.findTop()
	}
}

func (s *levels) findTop() {
	far, ok := s.far.best()
	switch {
	case s.near.n == 0:
		s.top = far
	case ok:
		s.top = max(far, s.near.best())
	default:
		s.top = s.near.best()
	}
}

// cut takes all levels below key away.
func (s *levels) cut(key int64) {
	s.near.cut(key)
	s.far.cut(key)
	s.n = s.near.n + len(s.far.rungs)
	s.mirror.cut(key)
}

func (s *levels) clear() {
	s.near.clear()
	s.far.rungs = s.far.rungs[:0]
	s.n, s.debt, s.patience = 0, 0, 0
	s.mirror.clear()
}

// best returns the greatest key; false where there is none.
func (s *levels) best() (int64, bool) { return s.top, s.len() > 0 }

// edge returns the key of the depth-th level from the best; the least key there
// is where there are fewer, or depth is 0.
func (s *levels) edge(depth int) int64 {
	if depth == 0 || s.len() < depth {
		return math.MinInt64
	}
	rungs := s.far.rungs
	far, ok := s.far.best()
	switch {
	case s.near.n == 0 || !ok || far < s.near.base:
		if depth <= s.near.n {
			return s.near.nth(depth)
		}
		return rungs[len(rungs)-(depth-s.near.n)].key
	case far == s.top && depth == 1:
		return far
	}
	w := s.walk(math.MaxInt64)
	for range depth {
		w.next()
	}
	return w.key
}

// walk goes over levels, best first. It ends when they change.
type walk struct {
	levels *levels
	block  int    // of the ladder
	bits   uint64 // its ticks to come
	far    int    // rungs of far to come
	key    int64  // of the level that next returned
}

// walk begins at the best level whose key is at most from.
func (s *levels) walk(from int64) walk {
	w := walk{levels: s}
	w.block, w.bits = s.near.begins(from)
	at, found := s.far.find(from)
	if found {
		at++
	}
	w.far = at
	return w
}

// next returns the next level, nil after the last. Its key is w.key.
func (w *walk) next() *level {
	near := &w.levels.near
	if w.bits == 0 && w.block > 0 {
		if w.block = near.before(w.block); w.block >= 0 {
			w.bits = near.blocks[w.block].bits
		}
	}
	if w.bits != 0 {
		tick := 63 - bits.LeadingZeros64(w.bits)
		key := near.key(w.block*blockTicks + tick)
		if w.far == 0 || w.levels.far.rungs[w.far-1].key < key {
			w.bits &^= 1 << tick
			w.key = key
			return &near.slab[near.blocks[w.block].place(uint64(tick))]
		}
	}
	if w.far == 0 {
		return nil
	}
	w.far--
	r := &w.levels.far.rungs[w.far]
	w.key = r.key
	return &r.level
}
