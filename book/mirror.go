//go:build verify

package book

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// mirror keeps the keys of levels as plainly as can be, rising, so that
// verification can tell whether any was lost, invented or put in the wrong place.
type mirror struct{ keys []int64 }

func (m *mirror) put(key int64) {
	at, there := slices.BinarySearch(m.keys, key)
	if there {
		panic(fmt.Sprintf("book: the level of key %d is made twice", key))
	}
	m.keys = slices.Insert(m.keys, at, key)
}

func (m *mirror) remove(key int64) {
	at, there := slices.BinarySearch(m.keys, key)
	if !there {
		panic(fmt.Sprintf("book: the level of key %d is removed, but is not there", key))
	}
	m.keys = slices.Delete(m.keys, at, at+1)
}

func (m *mirror) cut(key int64) {
	at, _ := slices.BinarySearch(m.keys, key)
	m.keys = slices.Delete(m.keys, 0, at)
}

func (m *mirror) clear() { m.keys = m.keys[:0] }

// image returns all levels, best first.
func (m *mirror) image(s *levels) []rung {
	var all []rung
	w := s.walk(math.MaxInt64)
	for l := w.next(); l != nil; l = w.next() {
		all = append(all, rung{w.key, *l})
	}
	return all
}

// same panics where the levels are not those of before.
func (m *mirror) same(s *levels, before []rung) {
	if now := m.image(s); !slices.Equal(now, before) {
		panic(fmt.Sprintf("book: levels changed with their span:\n%v\n%v", before, now))
	}
}

// check returns what is wrong with how s is kept; "" if nothing is.
func (m *mirror) check(s *levels) string {
	w := s.walk(math.MaxInt64)
	for i := len(m.keys) - 1; i >= 0; i-- {
		key, from := m.keys[i], s.walk(m.keys[i])
		l := w.next()
		switch {
		case l == nil || w.key != key:
			return fmt.Sprintf("the walk has key %d where %d belongs", w.key, key)
		case s.get(key) != l:
			return fmt.Sprintf("the level of key %d is not found", key)
		case from.next() != l:
			return fmt.Sprintf("a walk from key %d does not begin there", key)
		case bits.OnesCount(uint(len(m.keys)-i)) == 1 && s.edge(len(m.keys)-i) != key:
			return fmt.Sprintf("edge %d is not key %d", len(m.keys)-i, key)
		}
	}
	if l := w.next(); l != nil || s.len() != len(m.keys) {
		return fmt.Sprintf("%d levels, of which %d belong there", s.len(), len(m.keys))
	}
	if best, ok := s.best(); ok && best != m.keys[len(m.keys)-1] {
		return fmt.Sprintf("the best key is said to be %d, but is %d", best, m.keys[len(m.keys)-1])
	}
	for _, r := range s.far.rungs {
		if s.near.tick(r.key) < s.near.ticks {
			return fmt.Sprintf("key %d is kept apart, but lies in the span", r.key)
		}
	}
	if len(s.near.slab) > 8*s.near.n+leastLoose+2*blockTicks {
		return fmt.Sprintf("%d levels take room for %d", s.near.n, len(s.near.slab))
	}
	return ""
}
