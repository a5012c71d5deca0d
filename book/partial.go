package book

import (
	"math"

	"github.com/depthcast/depthcast/proto"
)

// A source may know less than the book has. One that keeps only its best levels
// says so (known in book.go), and the book keeps no more than it. One that showed
// only the best levels of a deeper book tells every change of the rest: the levels
// from the worst that it showed on are known, wherever the market goes, and beyond
// that those that changed since. A view that reaches further is partial.

// allKnown is the floor of a side whose levels are all known.
const allKnown = math.MinInt64

// floorOf returns the key from which on upwards all levels of s are known after a
// snapshot that showed so many a side of a deeper book; 0: it showed all. A side
// with fewer has no more.
func (s *side) floorOf(shown uint32) int64 {
	if shown == 0 || s.len() < int(shown) {
		return allKnown
	}
	return s.edge(s.len())
}

// bestKnown reports whether no level that nobody told of can be better than the
// best of s, or be there where s is empty.
func (s *side) bestKnown() bool {
	best, ok := s.levels.best()
	return s.floor == allKnown || ok && best >= s.floor
}

// known returns the price of the floor of s, unset where all is known.
func (s *side) known() proto.Optional {
	if s.floor == allKnown {
		return proto.Optional{}
	}
	return proto.Optional{Value: s.floor ^ s.mask, Set: true}
}

// setKnown is the reverse of known.
func (s *side) setKnown(price proto.Optional) {
	if price.Set {
		s.floor = price.Value ^ s.mask
	}
}

// reaches reports whether the view shows more than is known: a level that nobody
// told of would change what it shows.
func (v *View) reaches() bool {
	if v.bids == nil || !v.shown {
		return false
	}
	b := v.book
	most := int(b.known())
	if most == 0 && b.bids.floor == allKnown && b.asks.floor == allKnown {
		return false
	}
	if v.grouping == nil && most != 0 && (v.depth == 0 || v.depth > most) {
		return true
	}
	return v.bidEdge < v.floor(&b.bids, most) || v.askEdge < v.floor(&b.asks, most)
}

// floor returns the key from which on upwards the view can be sure of what it
// shows of s. A group's key is that of the worst price that belongs to it.
func (v *View) floor(s *side, most int) int64 {
	switch {
	case v.grouping == nil || most == 0:
		return s.floor
	case s.len() == 0:
		return math.MaxInt64
	}
	return max(s.floor, s.edge(s.len()))
}
