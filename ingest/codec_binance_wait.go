package ingest

import (
	"bytes"

	"github.com/depthcast/depthcast/proto"
)

// What waits until a book can begin: diffs for a snapshot, or a snapshot for the
// diff that bridges it.

// Bounds of the diffs that wait for a snapshot. At a bound the oldest go first,
// so that a snapshot older than what is left is refused. A snapshot that waits for
// its diff counts among the bytes; one that must wait and for which there is no
// room is refused.
const (
	maxBinanceDiffs      = 8192     // per symbol
	maxBinanceDiffBytes  = 8 << 20  // per symbol
	maxBinanceTotalBytes = 64 << 20 // per partition
)

// binanceWaiting is a diff that waits for a snapshot.
type binanceWaiting struct {
	first, last, previous uint64
	value                 []byte
}

// wait buffers the message until a snapshot. A gap among those that wait makes
// the older ones worthless: no snapshot before it could be brought up to date.
func (c *binanceCodec) wait(s *binanceState, value []byte) error {
	m := &c.message
	if n := len(s.waiting); n > 0 {
		w := s.waiting[n-1]
		if m.last <= w.last {
			return nil // a duplicate
		}
		if m.chained && m.previous != w.last || !m.chained && m.first > w.last+1 {
			c.restart(s)
			c.keep(s, value)
			return refuse(CodeSourceGap, c.batch.Symbol, proto.ReasonSourceGap,
				"updates %d to %d (previous %d) do not follow %d", m.first, m.last, m.previous, w.last)
		}
	}
	c.keep(s, value)
	return nil
}

// keep has the message wait; trim sees to the bounds.
func (c *binanceCodec) keep(s *binanceState, value []byte) {
	m := &c.message
	previous := m.previous
	if !m.chained {
		previous = m.first - 1
	}
	s.waiting = append(s.waiting, binanceWaiting{first: m.first, last: m.last, previous: previous, value: bytes.Clone(value)})
	s.bytes += len(value)
	c.buffered += len(value)
}

// trim lets go of the oldest diffs that wait until the rest is within the bounds.
func (c *binanceCodec) trim(s *binanceState) {
	for len(s.waiting) > maxBinanceDiffs || len(s.waiting) > 0 && (s.bytes > maxBinanceDiffBytes || c.buffered > maxBinanceTotalBytes) {
		s.lost = s.waiting[0].last
		c.discard(s, 1)
	}
}

// discard lets go of the n oldest diffs that wait.
func (c *binanceCodec) discard(s *binanceState, n int) {
	for i := range s.waiting[:n] {
		s.bytes -= len(s.waiting[i].value)
		c.buffered -= len(s.waiting[i].value)
		s.waiting[i].value = nil
	}
	if s.waiting = s.waiting[n:]; len(s.waiting) == 0 {
		s.waiting = nil
	}
}

// restart forgets the chain and what waits: from here on a snapshot is needed.
func (c *binanceCodec) restart(s *binanceState) {
	if s.chained {
		s.lost = s.last
	}
	if n := len(s.waiting); n > 0 {
		s.lost = s.waiting[n-1].last
	}
	c.discard(s, len(s.waiting))
	c.letGo(s)
	s.chained, s.bridged = false, false
}

// letGo forgets the snapshot that is held.
func (c *binanceCodec) letGo(s *binanceState) {
	s.bytes -= len(s.held)
	c.buffered -= len(s.held)
	s.held = nil
}

// hold has a snapshot, that of s.last, wait for the diff that bridges it.
func (c *binanceCodec) hold(s *binanceState, snapshot []byte) error {
	if len(snapshot) > maxBinanceDiffBytes || c.buffered+len(snapshot) > maxBinanceTotalBytes {
		return refuse(CodeTooLarge, c.batch.Symbol, proto.ReasonNone,
			"no room for a snapshot of %d bytes that waits: %d are taken", len(snapshot), c.buffered)
	}
	s.held = bytes.Clone(snapshot)
	s.bytes += len(snapshot)
	c.buffered += len(snapshot)
	return nil
}

// bridge makes the batch of the snapshot, which is that of s.last, and of the diffs
// that wait and follow it; nothing while all of them are covered by it, and so let
// go.
func (c *binanceCodec) bridge(s *binanceState, snapshot []byte) (*proto.Batch, error) {
	m := &c.message
	for len(s.waiting) > 0 {
		w := &s.waiting[0]
		if err := m.parse(w.value, c.batch.Exponents); err != nil {
			c.restart(s)
			return nil, refusal(c.batch.Symbol, err) // the exponents have changed since it came
		}
		if !covered(s, m) {
			break
		}
		s.lost = w.last
		c.discard(s, 1)
	}
	if len(s.waiting) == 0 {
		return nil, nil
	}
	if !follows(s, m) {
		c.letGo(s)
		return nil, refuse(CodeSourceGap, c.batch.Symbol, proto.ReasonSourceGap,
			"updates %d to %d (previous %d) do not follow the snapshot of %d", m.first, m.last, m.previous, s.last)
	}
	values := [][]byte{snapshot}
	for i := range s.waiting {
		values = append(values, s.waiting[i].value)
	}
	for i, value := range values {
		if err := m.parse(value, c.batch.Exponents); err != nil {
			c.restart(s)
			return nil, refusal(c.batch.Symbol, err)
		}
		if i == 0 {
			c.setBook(s)
		} else {
			c.setLevels(s)
		}
	}
	c.discard(s, len(s.waiting))
	c.letGo(s)
	c.batch.Quote = s.quotes.next(s.last)
	return &c.batch, nil
}
