package swarm

import (
	"fmt"
	"strconv"

	"github.com/depthcast/depthcast/proto"
)

var jsonKinds = map[string]kind{
	"hello": kindHello, "ack": kindAck, "error": kindError, "snapshot": kindSnapshot, "delta": kindDelta,
	"status": kindStatus, "keepalive": kindKeepalive, "drain": kindDrain,
}

// readJSON reads the head of a frame in JSON, as readProto.
func (h *head) readJSON(b []byte, size int) error {
	*h = head{}
	m := members{text: b}
	for m.next() {
		if !h.member(&m) {
			return fmt.Errorf("%w: %s: %.80q", errMessage, m.name, m.value)
		}
	}
	if m.wrong && len(b) == size {
		return fmt.Errorf("%w: %.80q", errMessage, b)
	}
	return nil
}

// member takes one member and reports whether it could be read.
func (h *head) member(m *members) bool {
	ok := true
	switch string(m.name) {
	case "type":
		h.kind = jsonKinds[string(m.value)]
	case "topic":
		h.topic, ok = number[uint32](m.value, 10, 32)
	case "epoch":
		h.epoch, ok = number[uint64](m.value, 16, 64)
	case "prev_seq":
		h.prevSeq, ok = signed(m.value)
	case "seq":
		h.seq, ok = signed(m.value)
	case "hash":
		h.hash, ok = number[uint32](m.value, 16, 32)
		h.hashed = true
	case "merged":
		h.merged, ok = number[uint32](m.value, 10, 32)
	case "state":
		for _, s := range []proto.State{proto.Live, proto.Recovering, proto.Stale} {
			if proto.StateWord(s) == string(m.value) {
				h.state = s
			}
		}
	case "ts":
		for ts := (members{text: m.value}); ts.next() && ok; {
			switch string(ts.name) {
			case "venue":
				h.venue, ok = signed(ts.value)
			case "published":
				h.published, ok = signed(ts.value)
			}
		}
	}
	return ok
}

func number[T uint32 | uint64](text []byte, base, bits int) (T, bool) {
	v, err := strconv.ParseUint(string(text), base, bits)
	return T(v), err == nil
}

func signed(text []byte) (int64, bool) {
	v, err := strconv.ParseInt(string(text), 10, 64)
	return v, err == nil
}

// members walks over the members of a JSON object. It takes valid JSON for granted
// (the connections that rebuild their books check that) and stops, with wrong set,
// at what it cannot make out.
type members struct {
	text        []byte
	name, value []byte // value without its quotes; an object or array as it is
	wrong       bool
	begun       bool
}

func (m *members) next() bool {
	if !m.begun {
		m.begun = true
		if m.space(); !m.take('{') {
			m.wrong = true
			return false
		}
		if m.space(); m.take('}') {
			return false
		}
	} else {
		m.space()
		if m.take('}') {
			return false
		}
		if !m.take(',') {
			m.wrong = true
			return false
		}
		m.space()
	}
	ok := false
	if m.name, ok = m.quoted(); ok {
		if m.space(); m.take(':') {
			m.space()
			m.value, ok = m.any()
		} else {
			ok = false
		}
	}
	m.wrong = !ok
	return ok
}

func (m *members) space() {
	for len(m.text) > 0 && (m.text[0] == ' ' || m.text[0] == '\n' || m.text[0] == '\t' || m.text[0] == '\r') {
		m.text = m.text[1:]
	}
}

func (m *members) take(c byte) bool {
	if len(m.text) == 0 || m.text[0] != c {
		return false
	}
	m.text = m.text[1:]
	return true
}

// quoted takes a string, its escapes as they are.
func (m *members) quoted() ([]byte, bool) {
	if len(m.text) == 0 || m.text[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(m.text); i++ {
		switch m.text[i] {
		case '\\':
			i++
		case '"':
			s := m.text[1:i]
			m.text = m.text[i+1:]
			return s, true
		}
	}
	return nil, false
}

func (m *members) any() ([]byte, bool) {
	if len(m.text) == 0 {
		return nil, false
	}
	switch m.text[0] {
	case '"':
		return m.quoted()
	case '{', '[':
		return m.nested()
	}
	for i, c := range m.text {
		if c == ',' || c == '}' || c == ']' || c == ' ' || c == '\n' || c == '\r' || c == '\t' {
			v := m.text[:i]
			m.text = m.text[i:]
			return v, i > 0
		}
	}
	return nil, false
}

// nested takes an object or array.
func (m *members) nested() ([]byte, bool) {
	all, depth := m.text, 0
	for len(m.text) > 0 {
		switch m.text[0] {
		case '"':
			if _, ok := m.quoted(); !ok {
				return nil, false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		m.text = m.text[1:]
		if depth == 0 {
			return all[:len(all)-len(m.text)], true
		}
	}
	return nil, false
}
