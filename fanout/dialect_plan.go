package fanout

import (
	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// shown adds what sub, a dialect's, begins with once there is something to show,
// and returns the cursor after it, as snapshot does.
func (p *plan) shown(sub *subscription, snap *snapshot) (next uint64, ok bool) {
	t := sub.feed.topic
	switch {
	case t.key.Channel == proto.ChannelTrades:
		if snap.void {
			return 0, false
		}
		return p.trades(sub, snap, snap.position+1)
	case t.key.Channel == proto.ChannelInstruments:
		return p.summary(sub, snap, snap.position+1)
	case snap.state.State != proto.Live || snap.final != 0:
		p.void(sub, snap)
		return 0, false
	case sub.manner == diffs:
		// Who has read the book since it became live misses nothing after that.
		next = max(sub.next, snap.barrier+1)
		if _, status := t.ring.Get(next); status == ring.Lapped {
			next = snap.position + 1
		}
		sub.state, sub.next = live, next
		return next, true
	}
	frame := p.shard.snapshotFrame(t, snap, proto.SnapshotInitial, sub.framing) // the reason is not said
	p.shard.stats.snapshots.Add(1)
	next = snap.position + 1
	return next, p.add(part{bytes: frame.bytes, frame: frame, sub: sub, next: next, frames: 1, joins: true})
}

// void shows sub, whose topic's book is not live or has ended, that there is
// nothing to see.
func (p *plan) void(sub *subscription, snap *snapshot) {
	final := snap.final != 0
	switch {
	case sub.manner == diffs:
		if final {
			p.ends = DropVoid
		}
	case !sub.voided || final:
		frame := p.shard.voidFrame(sub.feed.topic, snap, sub.framing)
		p.add(part{bytes: frame.bytes, frame: frame, sub: sub, next: sub.next, frames: 1, voids: true, last: final})
	}
}

// tell is entries for a dialect's subscription.
func (p *plan) tell(sub *subscription, e *entry, next uint64) (uint64, bool) {
	switch {
	case e.Value.kind == kindReset:
		return p.restart(sub, e.Value.reason, next)
	case e.Value.kind == kindStatus:
		return p.turn(sub, e, next)
	case (p.conn.conflating || sub.catchUp || sub.step != 0) && e.Value.kind.merges():
		return p.net(sub, next)
	}
	frame := p.shard.entryFrame(sub.feed.topic, e, sub.framing)
	switch {
	case frame == nil: // its checksum cannot be had any more
		return p.restart(sub, proto.SnapshotLapped, next)
	case len(frame.bytes) == 0:
		return sub.pass(next), true
	}
	return next + 1, p.entry(sub, e, next+1)
}

// restart goes on from the snapshot, as again does; who follows changes alone
// cannot.
func (p *plan) restart(sub *subscription, reason proto.SnapshotReason, next uint64) (uint64, bool) {
	if sub.manner == diffs {
		p.ends = DropVoid
		return next, false
	}
	sub.rejoin(reason)
	return p.again(sub, next)
}

// turn takes sub past a status, at next: of a change of phase dialects have nothing
// to say.
func (p *plan) turn(sub *subscription, e *entry, next uint64) (uint64, bool) {
	status, t := e.Value.status, sub.feed.topic
	switch {
	case !status.Final && (bare(t.key.Channel) || status.State == proto.Live):
		return sub.pass(next), true
	case next != sub.next:
		p.more = true // what it has seen is only known once the parts before are sent
	case bare(t.key.Channel):
		p.over = append(p.over, sub)
	case sub.manner == diffs:
		p.ends = DropVoid
	default:
		snap := t.snapshot.Load()
		frame := p.shard.voidFrame(t, snap, sub.framing)
		p.add(part{bytes: frame.bytes, frame: frame, sub: sub, next: next + 1, frames: 1, voids: true, last: status.Final})
		p.more = true // it may be live again
	}
	return next, false
}

// pass moves sub's cursor past what is at next and not told to it, unless something
// before it has yet to leave, and returns the cursor after it.
func (sub *subscription) pass(next uint64) uint64 {
	if sub.next == next {
		sub.next++
	}
	return next + 1
}

// latest adds the newest state for sub, which is told all of it anew each time.
func (p *plan) latest(sub *subscription) {
	f := sub.feed
	t, s, w := f.topic, p.shard, sub.framing
	snap, limit := t.snapshot.Load(), sub.limit()
	if snap.state.State != proto.Live || snap.final != 0 {
		p.void(sub, snap)
		return
	}
	next := sub.next
	if sub.state == joining && w == framingKraken {
		frame := s.snapshotFrame(t, snap, proto.SnapshotInitial, w)
		next = snap.position + 1
		if !p.add(part{bytes: frame.bytes, frame: frame, sub: sub, next: next, frames: 1, joins: true}) {
			return
		}
	} else if sub.state == joining {
		next = 0 // whatever is newest, it was not shown
	}
	if next > limit {
		p.keepalive(sub, next)
		return
	}
	frame, after := s.latestFrame(t, snap, limit, w)
	if frame == nil || after <= next {
		p.more = frame == nil
		return
	}
	p.add(part{bytes: frame.bytes, frame: frame, sub: sub, next: after, frames: 1, joins: true})
}
