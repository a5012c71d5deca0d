package fanout

import (
	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// net adds what stands for the deltas from next on for a reader that was slow: one
// net delta up to the head or to the next status entry, or the snapshot where that
// is less or a reset lies between.
func (p *plan) net(sub *subscription, next uint64) (uint64, bool) {
	t, limit := sub.feed.topic, sub.limit()
	head, status := t.ring.Get(limit)
	switch {
	case status != ring.OK:
		return next, true // the writer is a whole ring ahead, as the next Get will say
	case head.Value.since >= next:
		return p.restart(sub, p.resetReason(sub, head.Value.since), next)
	case sub.manner != diffs && !p.thinned(sub) && p.snapshotIsLess(sub, next):
		sub.rejoin(proto.SnapshotLapped)
		return p.again(sub, next)
	}
	to := limit
	for barrier := head.Value.barrier; barrier >= next; {
		to = barrier - 1
		e, status := t.ring.Get(to)
		if status != ring.OK {
			return next, true
		}
		barrier = e.Value.barrier
	}
	var frame *frame
	if to > next {
		frame = p.shard.mergedFrame(t, next, to, sub.framing)
	} else if e, status := t.ring.Get(next); status == ring.OK {
		frame = p.shard.entryFrame(t, e, sub.framing)
	}
	switch {
	case frame != nil:
	case sub.framing == framingKraken: // its checksum may be what cannot be had
		return p.restart(sub, proto.SnapshotLapped, next)
	default:
		return next, true
	}
	return to + 1, p.single(sub, frame, to+1)
}

// resetReason returns the reason of the reset at position; that of a lap if it is
// gone.
func (p *plan) resetReason(sub *subscription, position uint64) proto.SnapshotReason {
	if e, status := sub.feed.topic.ring.Get(position); status == ring.OK {
		return e.Value.reason
	}
	return proto.SnapshotLapped
}

// thinned reports whether sub wishes to see less than every change. Its ranges hold
// many changes of the same levels, so that what they add up to says little of their
// net delta, which is then shared by all readers of that interval.
func (p *plan) thinned(sub *subscription) bool { return sub.pace != nil || p.conn.caps != nil }

// snapshotIsLess reports whether the cached snapshot, with what follows it, holds
// fewer levels than the range from next to the head. One that is behind next never
// does, as what follows it then includes that range.
func (p *plan) snapshotIsLess(sub *subscription, next uint64) bool {
	f := sub.feed
	snap := f.topic.snapshot.Load()
	if snap.void {
		return false
	}
	all, status := f.topic.ring.Levels(next, sub.limit())
	if status != ring.OK || all <= snap.levels() {
		return false
	}
	after, status := f.topic.ring.Levels(snap.position+1, sub.limit())
	return status == ring.OK && snap.levels()+after < all
}
