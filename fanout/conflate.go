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
	case sub.manner != diffs && p.snapshotIsLess(sub, next):
		sub.rejoin(proto.SnapshotLapped)
		return p.again(sub, next)
	}
	to, ok := t.unbroken(next, head)
	if !ok {
		return next, true
	}
	frame := p.netFrame(sub, next, to)
	switch {
	case frame != nil:
	case sub.framing == framingKraken: // its checksum may be what cannot be had
		return p.restart(sub, proto.SnapshotLapped, next)
	default:
		return next, true
	}
	return to + 1, p.single(sub, frame, to+1)
}

// unbroken returns the last position up to which one net delta can stand for what
// is from next on: head's, or that before the first status. Not ok: the ring went
// past it.
func (t *Topic) unbroken(next uint64, head *entry) (to uint64, ok bool) {
	to = head.Position()
	for barrier := head.Value.barrier; barrier >= next; {
		to = barrier - 1
		e, status := t.ring.Get(to)
		if status != ring.OK {
			return 0, false
		}
		barrier = e.Value.barrier
	}
	return to, true
}

// netFrame returns the frame that stands for the deltas from…to; nil if the ring no
// longer has them.
func (p *plan) netFrame(sub *subscription, from, to uint64) *frame {
	t := sub.feed.topic
	if to > from {
		return p.shard.mergedFrame(t, from, to, sub.framing)
	}
	if e, status := t.ring.Get(from); status == ring.OK {
		return p.shard.entryFrame(t, e, sub.framing)
	}
	return nil
}

// resetReason returns the reason of the reset at position; that of a lap if it is
// gone.
func (p *plan) resetReason(sub *subscription, position uint64) proto.SnapshotReason {
	if e, status := sub.feed.topic.ring.Get(position); status == ring.OK {
		return e.Value.reason
	}
	return proto.SnapshotLapped
}

// snapshotIsLess reports whether the cached snapshot, with what follows it, is less
// than what stands for the range from next to the head: fewer levels, which is known
// before anything is composed. One that is behind next never has, as what follows it
// then includes that range.
//
// Who wishes to see less than every change has ranges that hold many changes of the
// same levels, of whose net delta their sum says little. Those of an interval share
// it, and get it. Of one with caps the net delta is composed, and bytes are compared.
func (p *plan) snapshotIsLess(sub *subscription, next uint64) bool {
	f, limit := sub.feed, sub.limit()
	snap := f.topic.snapshot.Load()
	if snap.void || sub.step != 0 {
		return false
	}
	all, status := f.topic.ring.Levels(next, limit)
	if status != ring.OK || all <= snap.levels() {
		return false
	}
	after, status := f.topic.ring.Levels(snap.position+1, limit)
	less := status == ring.OK && snap.levels()+after < all
	return less && (p.conn.caps == nil || p.snapshotIsShorter(sub, snap, next))
}

// snapshotIsShorter reports whether the frames of snap and of the net delta after
// it have fewer bytes than the first net delta from next on.
func (p *plan) snapshotIsShorter(sub *subscription, snap *snapshot, next uint64) bool {
	t, limit := sub.feed.topic, sub.limit()
	head, status := t.ring.Get(limit)
	if status != ring.OK {
		return false
	}
	to, ok := t.unbroken(next, head)
	if !ok {
		return false
	}
	net := p.netFrame(sub, next, to)
	if net == nil {
		return false
	}
	bytes := len(p.shard.snapshotFrame(t, snap, proto.SnapshotLapped, sub.framing).bytes)
	if bytes < len(net.bytes) && snap.position < limit {
		after := p.netFrame(sub, snap.position+1, limit)
		if after == nil {
			return false
		}
		bytes += len(after.bytes)
	}
	return bytes < len(net.bytes)
}
