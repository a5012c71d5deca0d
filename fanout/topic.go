package fanout

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// View is what a topic holds of a book.
type View interface {
	// Snapshot fills s with the state of the view, reusing its slices. Only under
	// the partition's lock, that is inside Opened, Delta, Trades, Status, Reset and
	// Mark.
	Snapshot(s *proto.Snapshot)
	// Close ends the view; it takes the partition's lock itself. Nothing is
	// published after it.
	Close()
}

// Topic is one view of one channel of a symbol, as all its readers share it: a
// ring of entries, the snapshot that joiners take, and the mark that keepalives
// speak of. It does not know its readers, only the shards that have some.
//
// Opened, Delta, Trades, Status, Reset and Mark are for the holder of the
// partition's lock alone; they are the topic's single writer. They never wait, and
// cost the same for any number of readers. What they are given is copied.
type Topic struct {
	// Static.
	hub  *Hub
	key  proto.TopicKey
	ring *ring.Ring[item]

	// Static once opened.
	number        uint32 // that acks and frames carry
	openedSeq     int64  // of the book then
	openedHash    uint32 // of the view then
	openedOrdinal uint64 // of the last trade then

	// Owned by the writer.
	view      View
	wakes     *Wakes // nil: shards are woken at once
	exponents proto.Exponents
	seq       int64  // that the next delta follows on
	hash      uint32 // of the view
	ordinal   uint64 // of the last trade
	since     uint64 // position of the last reset
	barrier   uint64 // position of the last status or reset
	final     uint64 // position of the final status
	next      uint64 // position that is being published, or was last
	taken     uint64 // position of the snapshot
	bytes     int64  // published since then
	levels    slab[proto.Level]
	orders    slab[proto.RankedOrder]

	// Written by the writer, read by shards. Never nil once opened.
	snapshot atomic.Pointer[snapshot]
	// Likewise; nil until the first mark.
	mark atomic.Pointer[mark]
	// Set by the writer with the final status: nothing follows, and whoever asks for
	// the key gets another topic.
	ended atomic.Bool
	// Element i is of intervals[i]; written by whichever shard comes first.
	fixed [len(intervals)]atomic.Pointer[fixedHead]
	// Element i is written by shard i (nil: it has no reader of the topic) and read
	// by the writer.
	feeds []atomic.Pointer[feed]

	// Written by shards, read by the writer.
	forms forms

	// What dialects need; nil: none reads it. Set once, by whichever shard comes first.
	dialects atomic.Pointer[dialectTopic]

	// Opens the topic once; those who need it meanwhile wait for that.
	once sync.Once
	err  error

	// Guarded by hub.mu.
	readers   int       // shards that hold it
	idleSince time.Time // when readers became 0
	idle      idleElements
}

func newTopic(h *Hub, key proto.TopicKey) (*Topic, error) {
	t := &Topic{hub: h, key: key, feeds: make([]atomic.Pointer[feed], len(h.shards))}
	var err error
	t.ring, err = ring.New[item](ring.Config{
		MinEntries:   minRingEntries,
		MaxEntries:   h.config.RingEntries,
		MaxBytes:     h.config.RingBytes,
		Window:       h.config.ResumeWindow,
		Budget:       h.budget,
		BeforeGiveUp: t.beforeGiveUp,
	})
	return t, err
}

// Key names the topic.
func (t *Topic) Key() proto.TopicKey { return t.key }

// Opened gives the topic its view, and where it lists the shards to be woken; nil:
// they are woken at once. It comes before everything else.
func (t *Topic) Opened(v View, w *Wakes) {
	t.view, t.wakes = v, w
	t.refresh()
	t.takeOver(t.snapshot.Load())
	t.openedSeq, t.openedHash, t.openedOrdinal = t.seq, t.hash, t.ordinal
}

// takeOver makes the state that was just read the one that deltas follow on.
func (t *Topic) takeOver(s *snapshot) {
	t.seq, t.hash, t.exponents = s.state.Seq, s.state.Hash, s.state.Exponents
}

// Delta publishes a change of the view. Its PrevSeq becomes the seq of the last
// delta or reset: a status in between has a seq too, but clients do not step to it.
//
// One of orders that is greater than the ring may be, as when a snapshot replaces a
// very large book, is told as a reset: the snapshot is less.
func (t *Topic) Delta(d *proto.Delta) {
	if d.Orders != nil && orderBytes*int64(d.Levels()) > t.hub.config.RingBytes {
		t.Reset(proto.SnapshotLapped)
		return
	}
	if d.Orders != nil {
		e := &ordersEntry{delta: *d, orders: proto.Orders{Bids: t.orders.keep(d.Orders.Bids), Asks: t.orders.keep(d.Orders.Asks)}}
		e.delta.Bids, e.delta.Asks, e.delta.Orders = nil, nil, &e.orders
		t.change(&e.entry, &e.delta, orderBytes)
		return
	}
	e := &deltaEntry{delta: *d}
	e.delta.Bids, e.delta.Asks = t.levels.keep(d.Bids), t.levels.keep(d.Asks)
	t.change(&e.entry, &e.delta, levelBytes)
}

// change publishes d, which is kept with e and counts for so many bytes a level.
func (t *Topic) change(e *entry, d *proto.Delta, bytes uint32) {
	now := t.hub.now()
	d.PrevSeq, d.Times.Published = t.seq, now
	t.seq, t.hash = d.Seq, d.Hash
	e.Value.kind, e.Value.delta = kindDelta, d
	levels := uint32(d.Levels())
	t.publish(e, levels, t.forms.weigh(bytes, levels), now)
}

// Trades publishes the trades of a record.
func (t *Topic) Trades(trades *proto.Trades) {
	now := t.hub.now()
	e := &tradesEntry{trades: *trades}
	e.trades.PrevSeq = t.seq
	e.trades.Trades = append(e.room[:0], trades.Trades...)
	e.trades.Times.Published = now
	t.seq = trades.Seq
	if n := len(trades.Trades); n > 0 {
		t.ordinal = max(t.ordinal, trades.Trades[n-1].Ordinal)
	}
	e.Value.kind, e.Value.trades = kindTrades, &e.trades
	n := uint32(len(trades.Trades))
	t.publish(&e.entry, n, t.forms.weigh(tradeBytes, n), now)
}

// Status publishes a change of state or phase. The snapshot is never behind it.
func (t *Topic) Status(s *proto.Status) {
	now := t.hub.now()
	e := &statusEntry{status: *s}
	e.status.Times.Published = now
	e.Value.kind, e.Value.status = kindStatus, &e.status
	t.next = t.ring.Head() + 1
	t.barrier = t.next
	if s.Final {
		t.final = t.next
	}
	t.refresh()
	t.publish(&e.entry, 0, t.forms.weigh(0, 0), now)
	if s.Final {
		t.ended.Store(true)
	}
}

// Reset says that what was shown is void, and that the view has new state.
func (t *Topic) Reset(r proto.SnapshotReason) {
	now := t.hub.now()
	e := &entry{Value: item{kind: kindReset, reason: r}}
	t.next = t.ring.Head() + 1
	t.since, t.barrier = t.next, t.next
	t.ordinal = 0 // what the snapshot says counts
	t.refresh()
	t.takeOver(t.snapshot.Load())
	t.publish(e, 0, bodyBytes, now)
}

// Mark renews what keepalives say, and lets a ring that has gone quiet shrink.
func (t *Topic) Mark(m proto.Mark) {
	t.mark.Store(&mark{position: t.ring.Head(), exponents: t.exponents, value: m})
	if t.ring.Cap() > minRingEntries {
		t.next = t.ring.Head()
		t.ring.Expire(t.hub.now() - int64(t.hub.config.TopicLinger))
	}
}

// publish puts e into the ring, with a fresh snapshot where one is due, and wakes
// the shards that read the topic.
func (t *Topic) publish(e *entry, levels, bytes uint32, now int64) {
	e.Value.seq, e.Value.hash, e.Value.exponents, e.Value.ordinal = t.seq, t.hash, t.exponents, t.ordinal
	e.Value.since, e.Value.barrier = t.since, t.barrier
	if s := e.Value.status; s != nil {
		e.Value.seq = max(t.seq, s.Seq)
	}
	t.next = t.ring.Head() + 1
	t.bytes += int64(bytes)
	if t.next-t.taken >= uint64(t.ring.Cap()/2) || t.bytes >= t.hub.config.RingBytes/2 {
		t.refresh()
	}
	t.ring.Publish(e, levels, bytes, now)
	for i := range t.feeds {
		if f := t.feeds[i].Load(); f != nil {
			f.wake(t.wakes)
		}
	}
}

// refresh takes the snapshot anew. The view has already changed as the entry at
// t.next says, so the snapshot stands there although the entry may not be visible
// yet.
func (t *Topic) refresh() {
	s := &snapshot{position: t.next, since: t.since, barrier: t.barrier, final: t.final, ordinal: t.ordinal}
	if last := t.snapshot.Load(); last != nil {
		s.state.Bids = make([]proto.Level, 0, len(last.state.Bids)+1)
		s.state.Asks = make([]proto.Level, 0, len(last.state.Asks)+1)
		if n := last.state.Orders.Len(); n > 0 {
			s.state.Orders.Bids = make([]proto.RankedOrder, 0, len(last.state.Orders.Bids)+n/16)
			s.state.Orders.Asks = make([]proto.RankedOrder, 0, len(last.state.Orders.Asks)+n/16)
		}
	}
	t.view.Snapshot(&s.state)
	s.void = s.state.State == proto.Recovering
	if bare(t.key.Channel) {
		s.void = s.void && s.state.Reason == proto.ReasonCatchingUp
	}
	s.state.Times.Published = t.hub.now()
	if n := len(s.state.Trades); n > 0 {
		t.ordinal = max(t.ordinal, s.state.Trades[n-1].Ordinal)
		s.ordinal = t.ordinal
	}
	t.taken, t.bytes = t.next, 0
	t.snapshot.Store(s)
}

// beforeGiveUp keeps the snapshot from being further back than the ring reaches.
func (t *Topic) beforeGiveUp(oldest uint64) {
	if t.taken+1 < oldest {
		t.refresh()
	}
}

// close ends the topic: nobody reads it, nothing is published any more.
func (t *Topic) close() {
	t.view.Close() // the lock it takes makes this goroutine the ring's writer
	t.ring.Release()
}
