package fanout

import (
	"sync/atomic"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
)

// frame is one frame as it is sent: with its WebSocket header, or what else its
// framing puts a message into. It never changes.
type frame struct {
	bytes    []byte
	pins     atomic.Int32          // connections in which it is half sent
	deflated atomic.Pointer[frame] // its compressed form, maybe itself; nil until needed
}

// smallFrame has its bytes beside it: one allocation for most frames.
type smallFrame struct {
	frame
	room [smallFrameBytes]byte
}

// smallFrameBytes leaves no room between a smallFrame and a size of the allocator.
const smallFrameBytes = 120

func newFrame(b []byte) *frame {
	if len(b) > smallFrameBytes {
		return &frame{bytes: append([]byte(nil), b...)}
	}
	f := &smallFrame{}
	f.bytes = f.room[:copy(f.room[:], b)]
	return &f.frame
}

// frameSize returns the length of the first frame in b, which the server made
// (RFC 6455 section 5.2; never masked).
func frameSize(b []byte) int {
	switch n := int(b[1] & 0x7f); n {
	case 126:
		return 4 + int(b[2])<<8 + int(b[3])
	case 127:
		size := 0
		for _, c := range b[2:10] {
			size = size<<8 | int(c)
		}
		return 10 + size
	default:
		return 2 + n
	}
}

// frameHeader returns the length of its header.
func frameHeader(b []byte) int {
	switch b[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	default:
		return 2
	}
}

// encoder makes frames in a buffer that it reuses. Owned by a shard's goroutine.
type encoder struct {
	buf    []byte // headerRoom bytes, then the payload under way
	header headerBytes
	room   [ws.MaxHeaderSize]byte
	merger proto.Merger
	net    proto.Delta
}

const (
	// headerRoom is the longest header of a frame that is not masked.
	headerRoom = 10

	// maxIdleBytes is what a buffer may keep after use.
	maxIdleBytes = 1 << 20
)

// headerBytes is an io.Writer that keeps what it is given, once.
type headerBytes struct {
	b [ws.MaxHeaderSize]byte
	n int
}

func (h *headerBytes) Write(b []byte) (int, error) {
	h.n = copy(h.b[:], b)
	return h.n, nil
}

// begin returns the buffer to append a payload to.
func (x *encoder) begin() []byte {
	if cap(x.buf) < headerRoom {
		x.buf = make([]byte, headerRoom, 4096)
	}
	return x.buf[:headerRoom]
}

// finish puts a header before the payload that was appended to begin's buffer. The
// result is valid until the next begin.
func (x *encoder) finish(op ws.OpCode, b []byte) []byte {
	x.keep(b)
	h := ws.Header{Fin: true, OpCode: op, Length: int64(len(b) - headerRoom)}
	// Neither the writer nor a header with a legal length can fail.
	_ = ws.WriteHeaderBuffer(&x.header, h, x.room[:])
	begin := headerRoom - x.header.n
	copy(b[begin:], x.header.b[:x.header.n])
	return b[begin:]
}

// keep lets b's memory be used again, unless it is too much.
func (x *encoder) keep(b []byte) {
	x.buf = b
	if cap(b) > maxIdleBytes {
		x.buf = nil
	}
}

// store makes a frame of a payload and puts it where all shards find it; if
// another was faster, that one is returned.
func (x *encoder) store(slot *atomic.Pointer[frame], w framing, b []byte) *frame {
	f := newFrame(x.wrap(w, b))
	if slot.CompareAndSwap(nil, f) {
		return f
	}
	return slot.Load()
}

// form says how t's frames are written under exponents.
func (t *Topic) form(exponents proto.Exponents) proto.TopicForm {
	return proto.TopicForm{Topic: t.number, Counts: t.key.View.Counts, Exponents: exponents}
}

// entryFrame returns the frame of e, which is no reset.
func (s *shard) entryFrame(t *Topic, e *entry, w framing) *frame {
	slot := e.Value.frames.slot(w)
	if f := slot.Load(); f != nil {
		return f
	}
	if w.dialect() {
		return s.dialectFrame(t, e, w)
	}
	c, form, b := w.codec(), t.form(e.Value.exponents), s.encoder.begin()
	switch e.Value.kind {
	case kindDelta:
		b = c.AppendDelta(b, form, e.Value.delta)
	case kindTrades:
		b = c.AppendTrades(b, form, e.Value.trades)
	case kindTicker:
		b = c.AppendTicker(b, form, e.Value.summary.ticker)
	case kindInstruments:
		b = c.AppendInstruments(b, form, e.Value.summary.instruments)
	case kindStatus:
		b = c.AppendStatus(b, form, e.Value.status)
	}
	s.stats.encoded.Add(1)
	return s.encoder.store(slot, w, b)
}

// snapshotFrame returns the frame of snap for one reason. Of a trades topic it is
// the history of all the trades that snap holds. It may be large: shards that need
// it at the same time wait for the one that makes it.
func (s *shard) snapshotFrame(t *Topic, snap *snapshot, reason proto.SnapshotReason, w framing) *frame {
	slot := snap.frames[reason].slot(w)
	if f := slot.Load(); f != nil {
		return f
	}
	snap.making.Lock()
	defer snap.making.Unlock()
	if f := slot.Load(); f != nil {
		return f
	}
	s.stats.snapshotsMade.Add(1)
	if w.dialect() {
		return s.dialectSnapshot(t, snap, &snap.frames[reason], w)
	}
	b := w.codec().AppendSnapshot(s.encoder.begin(), t.form(snap.state.Exponents), reason, &snap.state)
	s.stats.encoded.Add(1)
	return s.encoder.store(slot, w, b)
}

// stateFrame returns the frame of a status that says no more than snap does.
func (s *shard) stateFrame(t *Topic, snap *snapshot, w framing) *frame {
	slot := snap.frames[0].slot(w)
	if f := slot.Load(); f != nil {
		return f
	}
	state := &snap.state
	status := proto.Status{
		Seq: state.Seq, State: state.State, Reason: state.Reason, Phase: state.Phase,
		Indicative: state.Indicative, Locked: state.Locked, Crossed: state.Crossed, Partial: state.Partial, Times: state.Times,
	}
	b := w.codec().AppendStatus(s.encoder.begin(), t.form(state.Exponents), &status)
	s.stats.encoded.Add(1)
	return s.encoder.store(slot, w, b)
}

// keepaliveFrame returns the frame of m.
func (s *shard) keepaliveFrame(t *Topic, m *mark, w framing) *frame {
	slot := m.frames.slot(w)
	if f := slot.Load(); f != nil {
		return f
	}
	keepalive := m.value.KeepaliveAt(s.now.UnixNano())
	b := w.codec().AppendKeepalive(s.encoder.begin(), t.form(m.exponents), &keepalive)
	s.stats.encoded.Add(1)
	return s.encoder.store(slot, w, b)
}

// tradesFrame returns a frame of its own: what is said to one subscriber.
func (s *shard) tradesFrame(t *Topic, exponents proto.Exponents, trades *proto.Trades, w framing) *frame {
	if w.dialect() {
		return s.dialectTrades(t, exponents, trades, w)
	}
	b := w.codec().AppendTrades(s.encoder.begin(), t.form(exponents), trades)
	s.stats.encoded.Add(1)
	return newFrame(s.encoder.wrap(w, b))
}
