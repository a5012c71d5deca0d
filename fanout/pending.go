package fanout

import (
	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// part is bytes pending for one connection: of one frame, of a run of several, or
// of its control frames.
type part struct {
	bytes  []byte
	frame  *frame        // the only frame in it; nil for a run and for control frames
	sub    *subscription // whose cursor moves with it; nil for control frames and the one in flight
	from   uint64        // of a run: position of its first frame
	next   uint64        // cursor after it
	frames uint32        // in it
	flight bool          // the rest of the frame in flight
	stand  bool          // says where the client of an event stream stands after it
	joins  bool          // a snapshot: sub is live after it
	voids  bool          // a dialect's: what was shown is void, and sub joining after it
	last   bool          // the instrument has ended, and so has sub after it

	// Trades channel, if trades is set: what sub has seen after it.
	trades  bool
	seq     int64
	ordinal uint64
}

// plan is what is pending for one connection in one turn, collected by shared
// frames and cursors. Owned by the shard, as a part of its batch.
type plan struct {
	shard  *shard
	conn   *conn
	first  int             // of its parts in the batch's
	parts  int             // how many
	bytes  int             // of all of them
	untold int             // of an event stream: bytes, since its client was told where it stands
	more   bool            // there is more than this plan holds
	full   bool            // a part found no room
	ends   DropReason      // DropNone, or why the connection ends instead
	over   []*subscription // ended by what was committed

	// Of the send.
	out   []byte // at most MaxBytesPerTurn
	took  int    // of them that have left
	class poll.Class
}

func (p *plan) begin(s *shard, c *conn) {
	p.shard, p.conn, p.first = s, c, len(s.batch.parts)
	p.parts, p.bytes, p.untold, p.more, p.full, p.ends = 0, 0, 0, false, false, DropNone
	if c.events != nil {
		p.untold = c.events.untold
	}
}

// list returns the parts in order.
func (p *plan) list() []part { return p.shard.batch.parts[p.first : p.first+p.parts] }

// forget takes the parts out of the batch, of which they are the last.
func (p *plan) forget() {
	clear(p.list())
	p.shard.batch.parts, p.parts = p.shard.batch.parts[:p.first], 0
}

// collect gathers what is pending: the rest of the frame in flight, then control
// frames, then data, until the limit of a turn.
func (p *plan) collect() {
	c := p.conn
	p.collectOwn()
	// No data goes before control frames that found no room: a subscription's ack
	// comes before its snapshot.
	if p.full || c.state != open || p.shard.capped(c) {
		return
	}
	// Of what the turn before had no room to tell of, the client is told first.
	if c.events != nil && !p.sayStand(c.events.untold) {
		return
	}
	if c.scan {
		c.scan = false
		p.collectAll()
	} else {
		for c.listed != nil && !p.full {
			p.follow(c.unlist())
		}
	}
	if c.events != nil {
		p.sayStand(p.untold)
	}
}

// unlist takes the first subscription from the list of those that may have
// something pending.
func (c *conn) unlist() *subscription {
	sub := c.listed
	c.listed = sub.dirty
	sub.dirty, sub.listed = nil, false
	return sub
}

// collectOwn gathers what goes before data.
func (p *plan) collectOwn() {
	c := p.conn
	if c.flight != nil {
		p.add(part{bytes: c.flight.bytes[c.sent:], frame: c.flight, flight: true, frames: 1})
	}
	if len(c.control) > 0 {
		p.add(part{bytes: c.control})
	}
}

// collectAll looks at every subscription until there is no more room: what finds
// none would be encoded and merged in vain, at the cost of all others of the shard.
// The next turn goes on where this one ended, so that one subscription with very
// much to say does not silence the others.
func (p *plan) collectAll() {
	c := p.conn
	for c.listed != nil {
		c.unlist()
	}
	n := len(c.subs)
	for range n {
		at, had := int(c.scanned)%n, p.parts
		p.follow(c.subs[at])
		if !p.full || p.parts > had {
			c.scanned = uint32(at + 1)
		}
		if p.full {
			return
		}
	}
}

// room reports whether a part of size bytes still fits. The first always does.
func (p *plan) room(size int) bool {
	if p.bytes > 0 && p.bytes+size > p.shard.config.MaxBytesPerTurn {
		p.more, p.full = true, true
		return false
	}
	return true
}

// add takes a part if there is room for it.
func (p *plan) add(part part) bool {
	if p.conn.deflate != 0 && part.frame != nil && !part.flight {
		part.frame = p.shard.deflated(part.frame, p.conn.deflate)
		part.bytes = part.frame.bytes
	}
	if !p.room(len(part.bytes)) {
		return false
	}
	p.append(part)
	return true
}

// append takes a part without asking.
func (p *plan) append(part part) {
	p.shard.batch.parts = append(p.shard.batch.parts, part)
	p.parts++
	p.bytes += len(part.bytes)
	p.untold += len(part.bytes)
}

// join makes of the parts what is sent. One alone is not copied, several are copied
// behind what the batch has joined so far.
func (p *plan) join() {
	limit := p.shard.config.MaxBytesPerTurn
	p.more = p.more || p.bytes > limit
	list := p.list()
	if len(list) == 1 {
		p.out = list[0].bytes[:min(p.bytes, limit)]
		return
	}
	b := p.shard.batch.joined
	begin := len(b)
	for i := range list {
		rest := list[i].bytes
		b = append(b, rest[:min(len(rest), begin+limit-len(b))]...)
	}
	p.out, p.shard.batch.joined = b[begin:], b
}

// send sends what was joined, unless collecting for another connection has dropped
// this one (shedExcess): its descriptor's number may be a stranger's by now.
func (p *plan) send() {
	p.took = 0
	if p.conn.state == closed {
		return
	}
	p.took, p.class = p.conn.transport.Send(p.out)
	p.shard.sentNow.sends++
	p.shard.sentNow.bytes += uint64(p.took)
}

// follow adds what is pending for sub: a snapshot if it needs one, then what the
// ring has from there.
func (p *plan) follow(sub *subscription) {
	f := sub.feed
	f.look()
	if sub.state >= waiting {
		return
	}
	if sub.manner == whole {
		p.latest(sub)
		return
	}
	next := sub.next
	if sub.state == joining {
		var ok bool
		if next, ok = p.snapshot(sub); !ok {
			return
		}
		sub.catchUp = true // the snapshot may be half a ring old
	}
	for next <= sub.limit() && p.ends == DropNone {
		e, status := f.topic.ring.Get(next)
		ok := true
		if status == ring.Lapped {
			p.lapped(sub)
			next, ok = p.again(sub, next)
		} else {
			next, ok = p.entries(sub, e, next)
		}
		if !ok {
			return
		}
	}
	sub.catchUp = false
	p.keepalive(sub, next)
}

// again goes on from the snapshot, after sub has been put back to joining.
func (p *plan) again(sub *subscription, next uint64) (uint64, bool) {
	if p.ends != DropNone {
		return 0, false
	}
	if next != sub.next {
		p.more = true // what it has seen is only known once the parts before are sent
		return 0, false
	}
	return p.snapshot(sub)
}

// entries adds what stands at next, e, and what can go with it; false when there
// is no more to add for sub now.
func (p *plan) entries(sub *subscription, e *entry, next uint64) (uint64, bool) {
	if sub.manner != native {
		return p.tell(sub, e, next)
	}
	f := sub.feed
	if e.Value.kind == kindReset {
		sub.rejoin(e.Value.reason)
		return p.again(sub, next)
	}
	slow := (p.conn.conflating || sub.catchUp || sub.step != 0) && !sub.drop
	if slow && e.Value.kind.merges() {
		return p.net(sub, next)
	}
	if !slow && f.topic.key.Channel != proto.ChannelTrades && e.Value.runs() {
		run := p.shard.run(f, e, next, sub)
		if run.frames > 1 && p.bytes+len(run.bytes) <= p.shard.config.MaxBytesPerTurn {
			return run.next, p.add(part{bytes: run.bytes, sub: sub, from: next, next: run.next, frames: run.frames})
		}
	}
	return next + 1, p.entry(sub, e, next+1)
}

// entry adds the frame of e, after which sub's cursor is at next; false if there is
// no room, or nothing may follow.
func (p *plan) entry(sub *subscription, e *entry, next uint64) bool {
	t := sub.feed.topic
	frame, read := p.shard.entryFrame(t, e, sub.framing), sub.read()
	one := part{
		bytes: frame.bytes, frame: frame, sub: sub, next: next, frames: 1,
		last:   e.Value.kind == kindStatus && e.Value.status.Final,
		trades: read != nil && read.began, seq: e.Value.seq, ordinal: e.Value.ordinal,
	}
	return p.add(one) && !one.last
}

// single adds one frame after which sub's cursor is at next.
func (p *plan) single(sub *subscription, frame *frame, next uint64) bool {
	return p.add(part{bytes: frame.bytes, frame: frame, sub: sub, next: next, frames: 1})
}

// lapped notes that the ring went past sub's cursor.
func (p *plan) lapped(sub *subscription) {
	s, c := p.shard, p.conn
	s.stats.laps.Add(1)
	if sub.drop {
		p.ends = DropLapped
		return
	}
	if c.laps == nil || s.since-c.laps.since > s.config.LapWindow {
		c.laps = &laps{since: s.since}
	}
	c.laps.n++
	if c.laps.n > s.config.MaxLaps*len(c.subs) {
		p.ends = DropLappedOften
		return
	}
	sub.rejoin(proto.SnapshotLapped)
}

// rejoin makes s wait for a snapshot.
func (s *subscription) rejoin(reason proto.SnapshotReason) {
	s.state, s.reason = joining, reason
}

// keepalive adds a keepalive if one is due and sub, with its cursor at next, has
// seen all that it speaks of.
func (p *plan) keepalive(sub *subscription, next uint64) {
	if !sub.keepalive {
		return
	}
	sub.keepalive = false
	m := sub.feed.said
	if m == nil || m.position+1 != next || sub.framing.dialect() {
		return // of topics dialects say nothing; Kraken's has heartbeats of connections (sweepBeats)
	}
	p.single(sub, p.shard.keepaliveFrame(sub.feed.topic, m, sub.framing), next)
}
