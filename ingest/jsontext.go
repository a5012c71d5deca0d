package ingest

import (
	"errors"
	"fmt"
	"math"
)

// What is wrong with a text that a venue sent as JSON.
var (
	errJSON       = errors.New("not the JSON expected")
	errJSONDeep   = errors.New("JSON nested too deeply")
	errJSONEscape = errors.New("JSON string with an escape where none belongs")
)

// maxJSONDepth bounds how deeply the values that skip passes over may nest.
const maxJSONDepth = 32

// jsonText is a pull scanner over one JSON text, for codecs that know the shape
// they expect. It copies nothing and allocates nothing. The first error sticks:
// from then on every method returns zero values and more returns false, so that
// a codec needs to look at err only at the end.
//
// It is meant for whole texts of bounded size; it checks structure but passes
// over what a codec skips without checking numbers and escapes in full.
type jsonText struct {
	b     []byte
	i     int
	first bool // the next element is the first of its object or array
	err   error

	// seen, where set, is told of decimals instead of their being converted.
	seen *decimalsSeen
}

// reset makes the scanner read b from its start.
func (s *jsonText) reset(b []byte) { *s = jsonText{b: b, seen: s.seen} }

func (s *jsonText) fail(err error) {
	if s.err == nil {
		s.err = fmt.Errorf("%w at byte %d", err, s.i)
	}
}

// peek returns the next byte that is not white space; 0 at the end or after an
// error.
func (s *jsonText) peek() byte {
	if s.err != nil {
		return 0
	}
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *jsonText) expect(c byte) {
	if s.peek() != c {
		s.fail(errJSON)
		return
	}
	s.i++
}

// open enters the object ('{') or array ('[') that must come next.
func (s *jsonText) open(c byte) {
	s.expect(c)
	s.first = true
}

// more reports whether the object or array that ends with c has another element,
// and passes the comma before it; at the end it passes c.
func (s *jsonText) more(c byte) bool {
	switch next := s.peek(); {
	case s.err != nil:
		return false
	case next == c:
		s.i++
		s.first = false
		return false
	case s.first:
		s.first = false
		return true
	case next != ',':
		s.fail(errJSON)
		return false
	}
	s.i++
	return true
}

// key returns the key of the next member and passes its colon.
func (s *jsonText) key() []byte {
	k := s.str()
	s.expect(':')
	return k
}

// str returns the string that must come next, without quotes. It must hold no
// escape: what codecs read (symbols, decimals, names) never does.
func (s *jsonText) str() []byte {
	raw, escaped := s.quoted()
	if escaped {
		s.fail(errJSONEscape)
		return nil
	}
	return raw
}

// quoted passes a string and reports whether escapes stand in it.
func (s *jsonText) quoted() (raw []byte, escaped bool) {
	s.expect('"')
	if s.err != nil {
		return nil, false
	}
	from := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[from : s.i-1], escaped
		case c == '\\':
			escaped = true
			s.i++
		case c < ' ':
			s.fail(errJSON)
			return nil, false
		}
		s.i++
	}
	s.i = len(s.b)
	s.fail(errJSON)
	return nil, false
}

// uint returns the whole number that must come next.
func (s *jsonText) uint() uint64 {
	if c := s.peek(); c < '0' || c > '9' {
		s.fail(errJSON)
		return 0
	}
	var n uint64
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		digit := uint64(s.b[s.i] - '0')
		if n > (math.MaxUint64-digit)/10 {
			s.fail(errJSON)
			return 0
		}
		n = n*10 + digit
		s.i++
	}
	if s.i < len(s.b) && (s.b[s.i] == '.' || s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.fail(errJSON)
		return 0
	}
	return n
}

// boolean returns the true or false that must come next.
func (s *jsonText) boolean() bool {
	switch s.peek() {
	case 't':
		s.word("true")
		return true
	case 'f':
		s.word("false")
	default:
		s.fail(errJSON)
	}
	return false
}

func (s *jsonText) word(w string) {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		s.fail(errJSON)
		return
	}
	s.i += len(w)
}

// skip passes over one value of any kind.
func (s *jsonText) skip() { s.skipValue(0) }

func (s *jsonText) skipValue(depth int) {
	if depth > maxJSONDepth {
		s.fail(errJSONDeep)
		return
	}
	switch c := s.peek(); {
	case c == '"':
		s.quoted()
	case c == '{':
		for s.open('{'); s.more('}'); s.skipValue(depth + 1) {
			s.quoted()
			s.expect(':')
		}
	case c == '[':
		for s.open('['); s.more(']'); {
			s.skipValue(depth + 1)
		}
	case c == 't' || c == 'f':
		s.boolean()
	case c == 'n':
		s.word("null")
	case c == '-' || c >= '0' && c <= '9':
		s.i++
		for s.i < len(s.b) && isNumberByte(s.b[s.i]) {
			s.i++
		}
	default:
		s.fail(errJSON)
	}
}

func isNumberByte(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

// end checks that nothing follows, and returns the first error of the scan.
func (s *jsonText) end() error {
	if s.peek(); s.err == nil && s.i < len(s.b) {
		s.fail(errJSON)
	}
	return s.err
}
