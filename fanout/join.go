package fanout

import (
	"slices"
	"time"

	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// snapshot adds the cached snapshot for sub, which is joining, and returns the
// cursor after it. While the book is recovering there is none to show: sub is told
// the states that it passes through, and ok is false.
func (p *plan) snapshot(sub *subscription) (next uint64, ok bool) {
	t := sub.feed.topic
	snap := t.snapshot.Load()
	if sub.manner != native {
		return p.shown(sub, snap)
	}
	if snap.void {
		p.states(sub, snap)
		return 0, false
	}
	next = snap.position + 1
	if snap.final != 0 {
		next = snap.final // says more than the snapshot can; no entry follows it
	}
	switch {
	case t.key.Channel == proto.ChannelTrades:
		return p.trades(sub, snap, next)
	case sums(t.key.Channel):
		return p.summary(sub, snap, next)
	}
	frame := p.shard.snapshotFrame(t, snap, sub.reason, sub.framing)
	p.shard.stats.snapshots.Add(1)
	return next, p.add(part{bytes: frame.bytes, frame: frame, sub: sub, next: next, frames: 1, joins: true})
}

// passed returns what must go before the beginning of a bare channel, where that
// takes sub past entries that it was not sent: of a reset a snapshot without levels, else of a status the state
// that it led to; nil if there was neither.
func (p *plan) passed(sub *subscription, snap *snapshot) *frame {
	t := sub.feed.topic
	switch {
	case sub.manner != native: // has no word for it
	case sub.reason > proto.SnapshotLapped:
		return p.shard.snapshotFrame(t, snap, sub.reason, sub.framing)
	case snap.since >= sub.next:
		return p.shard.snapshotFrame(t, snap, proto.SnapshotReset, sub.framing)
	case snap.barrier >= sub.next:
		return p.shard.stateFrame(t, snap, sub.framing)
	}
	return nil
}

// states adds the status entries from sub's cursor on, and nothing else.
func (p *plan) states(sub *subscription, snap *snapshot) {
	f := sub.feed
	for next := sub.next; next <= f.head; next++ {
		e, status := f.topic.ring.Get(next)
		switch {
		case status == ring.Lapped:
			next = max(next, snap.position)
			p.single(sub, p.shard.stateFrame(f.topic, snap, sub.framing), next+1)
		case e.Value.kind == kindStatus && !p.entry(sub, e, next+1):
			return
		}
	}
}

// trades adds what a trades topic begins with: past trades on joining, and later
// what can still be had of the trades since sub's last, with the range of the
// others.
func (p *plan) trades(sub *subscription, snap *snapshot, next uint64) (uint64, bool) {
	s, t, w := p.shard, sub.feed.topic, sub.framing
	var frame *frame
	before := p.passed(sub, snap)
	read := sub.read()
	if sub.manner != native && !read.began && sub.last == 0 {
		read.began, read.seq, read.ordinal = true, snap.state.Seq, snap.ordinal
	}
	anew := !read.began || read.ordinal == 0 || snap.ordinal < read.ordinal || sub.reason == proto.SnapshotResync
	if anew {
		frame = s.historyFrame(t, snap, int(sub.last), w)
	} else if missed, any := missedTrades(read, snap); any {
		frame = s.tradesFrame(t, snap.state.Exponents, &missed, w)
	}
	if frame == nothing {
		frame = nil
	}
	next = max(next, sub.next)
	switch {
	case frame == nil && before == nil:
		sub.state, sub.next = live, next
		return next, true
	case frame == nil:
		frame = before
	case before != nil && !p.single(sub, before, sub.next):
		return 0, false
	}
	return next, p.add(part{
		bytes: frame.bytes, frame: frame, sub: sub, next: next, frames: 1, joins: true,
		trades: true, seq: snap.state.Seq, ordinal: snap.ordinal,
	})
}

// missedTrades returns the trades of snap that has not been read, and the range of
// those that neither has. any is false if all has.
func missedTrades(read *tradesRead, snap *snapshot) (t proto.Trades, any bool) {
	if snap.ordinal <= read.ordinal {
		return t, false
	}
	t = proto.Trades{PrevSeq: read.seq, Seq: snap.state.Seq, Trades: snap.state.Trades, Times: snap.state.Times}
	for len(t.Trades) > 0 && t.Trades[0].Ordinal <= read.ordinal {
		t.Trades = t.Trades[1:]
	}
	first := snap.ordinal + 1
	if len(t.Trades) > 0 {
		first = t.Trades[0].Ordinal
	}
	if first > read.ordinal+1 {
		t.MissedFirst, t.MissedLast = read.ordinal+1, first-1
		t.Missed = first - t.MissedFirst
	}
	return t, true
}

// historyFrame returns the frame of the last n trades of snap, made once.
func (s *shard) historyFrame(t *Topic, snap *snapshot, n int, w framing) *frame {
	n = min(n, len(snap.state.Trades))
	m := s.hub.merged.find(mergedKey{topic: t.number, framing: w, history: true, from: snap.position, to: uint64(n)})
	m.once.Do(func() {
		history := proto.Trades{Seq: snap.state.Seq, PrevSeq: snap.state.Seq, History: true, Times: snap.state.Times}
		history.Trades = snap.state.Trades[len(snap.state.Trades)-n:]
		m.frame = s.tradesFrame(t, snap.state.Exponents, &history, w)
		s.hub.merged.made(m, t.forms.keeps(m.frame, w))
	})
	return m.frame
}

// resume is where a client says that it stands.
type resume struct {
	epoch   uint64
	seq     int64
	hash    uint32
	ordinal uint64 // trades channel; of summaries, in resume tokens only: the ring position
}

// place returns the ring position from which a client that stands at r goes on
// without a snapshot. Its state must be that of the entry before, as the hash (for
// trades: the ordinal) has it.
func (t *Topic) place(r resume) (next uint64, found bool) {
	snap := t.snapshot.Load()
	if snap.state.Epoch != r.epoch || snap.void {
		return 0, false
	}
	head := t.ring.Head()
	e, status := t.ring.Search(func(e *entry) bool {
		return e.Position() > snap.since && e.Value.seq > r.seq
	})
	switch status {
	case ring.OK:
		next = e.Position()
	case ring.Empty:
		next = head + 1
	default:
		return 0, false
	}
	if next == 1 {
		return 1, t.openedSeq <= r.seq && t.stands(r, t.openedHash, t.openedOrdinal)
	}
	last, status := t.ring.Get(next - 1)
	if status != ring.OK || last.Position() < snap.since || last.Value.seq > r.seq {
		return 0, false
	}
	return next, t.stands(r, last.Value.hash, last.Value.ordinal)
}

// stands reports whether a client at r has the state with this hash or ordinal.
func (t *Topic) stands(r resume, hash uint32, ordinal uint64) bool {
	if t.key.Channel == proto.ChannelTrades {
		return r.ordinal == ordinal
	}
	return r.hash == hash
}

// bookSeq returns the newest seq of the book that is known here.
func (t *Topic) bookSeq() int64 {
	seq := t.snapshot.Load().state.Seq
	if e, status := t.ring.Get(t.ring.Head()); status == ring.OK {
		seq = max(seq, e.Value.seq)
	}
	if m := t.mark.Load(); m != nil {
		seq = max(seq, m.value.Seq)
	}
	return seq
}

// behind is the wait of a subscription whose client has seen more than this node.
type behind struct {
	sub      *subscription
	resume   resume
	deadline time.Duration // on the shard's clock
}

// awaited returns where the client of sub, which is waiting, says that it stands.
func (s *shard) awaited(sub *subscription) resume {
	i := slices.IndexFunc(s.waiting, func(w behind) bool { return w.sub == sub })
	return s.waiting[i].resume
}

// settle ends a wait if the node has caught up with the client or the time is over,
// and reports whether it has ended. It says something: not while what is pending is
// being collected.
func (s *shard) settle(w *behind) bool {
	sub, t := w.sub, w.sub.feed.topic
	snap := t.snapshot.Load()
	behind := snap.state.Epoch == w.resume.epoch && t.bookSeq() < w.resume.seq
	if behind && s.since < w.deadline {
		return false
	}
	sub.state = joining
	if behind && (t.key.Channel == proto.ChannelTrades || t.key.Channel == proto.ChannelTicker) {
		// The end of the log may have been lost. The older snapshot, which has the
		// state, has the client step back.
		sub.rejoin(proto.SnapshotReset)
	}
	// Where the node stays behind, that the levels are the same says nothing of the
	// history: what follows is a snapshot.
	if next, found := t.place(w.resume); found && !behind && !snap.void && !sums(t.key.Channel) {
		sub.goOn(next)
		s.stats.resumed.Add(1)
	}
	// The ack said stale, behind: the state now is said unless a snapshot, which has
	// it, follows at once.
	if follows := sub.state == joining && !snap.void && (!bare(t.key.Channel) || sub.reason > proto.SnapshotLapped); !follows {
		s.sayState(sub, snap)
	}
	return true
}
