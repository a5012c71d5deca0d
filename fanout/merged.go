package fanout

import (
	"sync"

	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// mergedFrames caches net deltas and histories of trades, so that one of a range is made once for all who
// stand at its beginning. Frames beyond the limit are forgotten oldest half first.
// All methods are for any goroutine.
type mergedFrames struct {
	// Static.
	halfBytes int

	// mu guards the fields below. No other lock is taken under it, and nothing is
	// merged or encoded.
	mu       sync.Mutex
	recent   map[mergedKey]*merged
	previous map[mergedKey]*merged
	bytes    int // of recent
}

type mergedKey struct {
	topic    uint32
	framing  framing
	history  bool   // the last to trades of the snapshot at from, instead of:
	from, to uint64 // ring positions of the deltas, both included
}

// merged is made by the first who needs it, while the others wait.
type merged struct {
	once  sync.Once
	frame *frame // nil: the ring no longer had the range
	bytes int    // that it counts for; 0 until it was made. Guarded by mergedFrames.mu
}

func newMergedFrames(limit int) *mergedFrames {
	return &mergedFrames{halfBytes: limit / 2, recent: make(map[mergedKey]*merged)}
}

// find returns what is to hold key's frame.
func (m *mergedFrames) find(key mergedKey) *merged {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found := m.recent[key]; found != nil {
		return found
	}
	found := m.previous[key]
	if found == nil {
		found = &merged{}
	}
	m.recent[key] = found
	m.grow(found.bytes)
	return found
}

// grow counts bytes of recent, and forgets the oldest half when there are too many.
// Under mu.
func (m *mergedFrames) grow(bytes int) {
	m.bytes += bytes
	if m.bytes > m.halfBytes {
		m.previous, m.recent, m.bytes = m.recent, make(map[mergedKey]*merged), 0
	}
}

// mergedKeyBytes is about what an empty place in the cache takes.
const mergedKeyBytes = 128

// made counts a frame that was made.
func (m *mergedFrames) made(one *merged, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	one.bytes = bytes + mergedKeyBytes
	m.grow(one.bytes)
}

// mergedFrame returns the frame of the net delta of the deltas from…to, or nil if
// the ring no longer has them.
func (s *shard) mergedFrame(t *Topic, from, to uint64, w framing) *frame {
	m := s.hub.merged.find(mergedKey{topic: t.number, framing: w, from: from, to: to})
	m.once.Do(func() {
		size := 0
		switch t.key.Channel {
		case proto.ChannelTicker:
			m.frame = s.mergeTickers(t, from, to, w)
		case proto.ChannelInstruments:
			m.frame = s.mergeListings(t, from, to, w)
		default:
			m.frame = s.mergeDeltas(t, from, to, w)
		}
		if m.frame != nil {
			size = t.forms.keeps(m.frame, w)
			s.stats.encoded.Add(1)
			s.stats.merged.Add(1)
		}
		s.hub.merged.made(m, size)
	})
	return m.frame
}

func (s *shard) mergeDeltas(t *Topic, from, to uint64, w framing) *frame {
	x := &s.encoder
	var exponents proto.Exponents
	for position := from; position <= to; position++ {
		e, status := t.ring.Get(position)
		if status != ring.OK {
			if position > from {
				x.merger.Merge(&x.net) // leave nothing behind for the next
			}
			return nil
		}
		x.merger.Add(e.Value.delta)
		exponents = e.Value.exponents
	}
	x.merger.Merge(&x.net)
	var f *frame
	if w.dialect() {
		f = s.dialectDelta(t, &x.net, exponents, to, w)
	} else {
		f = newFrame(x.wrap(w, w.codec().AppendDelta(x.begin(), t.form(exponents), &x.net)))
	}
	if cap(x.net.Bids)+cap(x.net.Asks) > maxIdleBytes/24 || x.net.Orders.Len() > maxIdleBytes/40 {
		x.net, x.merger = proto.Delta{}, proto.Merger{}
	}
	return f
}
