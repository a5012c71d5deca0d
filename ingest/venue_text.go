package ingest

import (
	"errors"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// What the texts of several venues have in common.

var errVenueTime = errors.New("time out of range")

// number returns the text of the number that must come next, bare or in quotes.
func (s *jsonText) number() []byte {
	if s.peek() == '"' {
		return s.str()
	}
	if s.err != nil {
		return nil
	}
	from := s.i
	for s.i < len(s.b) && isNumberByte(s.b[s.i]) {
		s.i++
	}
	if s.i == from {
		s.fail(errJSON)
	}
	return s.b[from:s.i]
}

// whole returns the whole number that must come next, bare or in quotes.
func (s *jsonText) whole() int64 {
	text := s.number()
	if s.err != nil {
		return 0
	}
	n, err := proto.ParseDecimal(text, 0)
	if err != nil {
		s.fail(errJSON)
		return 0
	}
	return n
}

// milliseconds returns the time in ms, bare or in quotes, that must come next in
// ns since 1970.
func (s *jsonText) milliseconds() int64 {
	ms := s.whole()
	if ms < 0 || ms > maxMilliseconds {
		s.fail(errVenueTime)
		return 0
	}
	return ms * 1e6
}

// timestamp returns the time as of RFC 3339 that must come next in ns since 1970.
// What lies before 1970, as Go's and other languages' zero times do, is 0.
func (s *jsonText) timestamp() int64 {
	text := s.str()
	if s.err != nil {
		return 0
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil || t.Year() > 2261 {
		s.fail(errVenueTime)
		return 0
	}
	if t.Year() < 1970 {
		return 0
	}
	return max(0, t.UnixNano())
}

// aggressor tells whose order took from the book, by the words of a venue.
func aggressor(side []byte, buy, sell string) proto.Aggressor {
	switch string(side) {
	case buy:
		return proto.AggressorBuy
	case sell:
		return proto.AggressorSell
	}
	return proto.AggressorUnknown
}
