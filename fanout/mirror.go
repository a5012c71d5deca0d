package fanout

import (
	"slices"
	"sync"

	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/kraken"
)

// mirror is a topic's view as it stands after one entry of the ring, for dialects
// that say more of a change than what has changed: a checksum, the other side, all
// levels. It goes along the ring as far as its readers have been told, each entry
// once, whichever shard needs it. A view that it holds has at most proto.Depths'
// greatest number of levels a side.
type mirror struct {
	// mu guards the fields below. No other lock is taken under it.
	mu         sync.Mutex
	position   uint64 // of the last entry taken in
	began      bool
	exponents  proto.Exponents
	seq        int64
	hash       uint32
	bids, asks []proto.Level

	// Kraken's checksums after the entries from first to position, by position
	// modulo its length; nil: nobody has asked.
	sums  []uint32
	first uint64
}

// advance takes in the entries of t's ring up to position to. false: that cannot be
// had, as the ring or the cached snapshot has gone past it. Under mu.
func (m *mirror) advance(t *Topic, to uint64) bool {
	if !m.began && !m.restart(t, to) {
		return false
	}
	for m.position < to {
		e, status := t.ring.Get(m.position + 1)
		switch {
		case status != ring.OK || e.Value.kind == kindReset:
			if !m.restart(t, to) {
				return false
			}
			continue
		case e.Value.kind == kindDelta:
			m.apply(e.Value.delta)
			if m.hash != e.Value.hash {
				// Never seen; a book that does not add up is not to be told.
				m.began = false
				t.hub.config.Log.Error("a mirror differs from its topic", "symbol", t.key.Symbol, "seq", e.Value.seq)
				return false
			}
		}
		m.position++
		m.note()
	}
	return true
}

// restart goes on from the cached snapshot, which must not be beyond to.
func (m *mirror) restart(t *Topic, to uint64) bool {
	snap := t.snapshot.Load()
	if snap.position > to || m.began && snap.position <= m.position {
		return false
	}
	m.began, m.position, m.first = true, snap.position, snap.position
	m.exponents, m.seq, m.hash = snap.state.Exponents, snap.state.Seq, snap.state.Hash
	m.bids, m.asks = append(m.bids[:0], snap.state.Bids...), append(m.asks[:0], snap.state.Asks...)
	m.note()
	return true
}

func (m *mirror) apply(d *proto.Delta) {
	m.seq = d.Seq
	for _, l := range d.Bids {
		m.bids = m.set(m.bids, proto.Bid, l)
	}
	for _, l := range d.Asks {
		m.asks = m.set(m.asks, proto.Ask, l)
	}
}

// set puts l into a side that is best first.
func (m *mirror) set(levels []proto.Level, side proto.Side, l proto.Level) []proto.Level {
	i, found := slices.BinarySearchFunc(levels, l.Price, func(had proto.Level, price int64) int {
		switch {
		case had.Price == price:
			return 0
		case had.Price > price == (side == proto.Bid):
			return -1
		}
		return 1
	})
	if found {
		m.hash -= proto.Mix(side, levels[i].Price, levels[i].Qty)
	}
	if l.Qty != 0 {
		m.hash += proto.Mix(side, l.Price, l.Qty)
	}
	switch {
	case found && l.Qty == 0:
		return slices.Delete(levels, i, i+1)
	case found:
		levels[i] = l
	case l.Qty != 0:
		return slices.Insert(levels, i, l)
	}
	return levels
}

// note keeps the checksum at position, if checksums are asked for.
func (m *mirror) note() {
	if m.sums != nil {
		m.sums[m.position%uint64(len(m.sums))] = kraken.Checksum(m.bids, m.asks, m.exponents)
	}
}

// prime begins to keep checksums, from where a reader who joins now begins.
func (m *mirror) prime(t *Topic) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sums == nil {
		m.sums = make([]uint32, t.hub.config.RingEntries)
		m.began = false // those before are not known
	}
	m.advance(t, t.snapshot.Load().position) // else the reader's first change does
}

// sum returns the checksum after the entry at position; false: it cannot be had.
func (m *mirror) sum(t *Topic, position uint64) (uint32, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if (!m.began || position > m.position) && !m.advance(t, position) {
		return 0, false
	}
	if position < m.first || m.position-position >= uint64(len(m.sums)) {
		return 0, false
	}
	return m.sums[position%uint64(len(m.sums))], true
}
