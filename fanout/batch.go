package fanout

import "github.com/depthcast/depthcast/fanout/poll"

// batch is what is pending for some connections, which are served together: first it
// is collected for all of them, then all is sent, then their cursors are moved.
//
// What a connection has in memory has left the processor's caches since its last
// turn, as the kernel's send path goes through far more of it. Collected for several
// at once it is fetched at the same time; collected between two system calls, each
// waits for its own. And sends that follow closely leave a receiver on the same
// machine no time to sleep, from which they would have to wake it (docs/performance.md,
// "Delivery"). Owned by the shard; its buffers are reused.
type batch struct {
	plans  [batchConns]plan
	parts  []part // of all plans, one behind the other
	joined []byte // what is sent of plans that have several parts
	stands []byte // the events that say where clients stand
}

// A batch ends with the connection that brings it to one of these.
const (
	batchConns = 64
	batchParts = 1024
	batchBytes = 256 << 10
)

// reset makes b empty, and lets go of what it refers to.
func (b *batch) reset() {
	clear(b.parts)
	b.parts, b.joined, b.stands = b.parts[:0], b.joined[:0], b.stands[:0]
}

func (b *batch) full() bool { return len(b.parts) >= batchParts || len(b.joined) >= batchBytes }

// serve sends what is pending for the first of conns, in one system call each, and
// returns how many it has seen to.
func (s *shard) serve(conns []*conn) (served int) {
	b, n := &s.batch, 0
	for served < len(conns) && n < batchConns && !b.full() {
		c := conns[served]
		served++
		c.queued = false
		if s.prepare(&b.plans[n], c) {
			n++
		}
	}
	plans := b.plans[:n]
	for i := range plans {
		plans[i].send()
	}
	for i := range plans {
		s.conclude(&plans[i])
	}
	b.reset()
	return served
}

// prepare collects what is pending for c; false if there is nothing to send.
func (s *shard) prepare(p *plan, c *conn) bool {
	if c.state == closed || c.blocked {
		return false
	}
	if c.transport.Pending() > 0 {
		if class := c.transport.Flush(); class != poll.OK {
			s.sent(c, class, class == poll.Partial, true)
			return false
		}
	}
	p.begin(s, c)
	p.collect()
	if p.ends != DropNone {
		p.forget()
		clear(p.over)
		p.over = p.over[:0]
		s.drop(c, p.ends)
		return false
	}
	if p.parts == 0 {
		s.endOver(p)
		s.sent(c, poll.OK, true, false)
		return false
	}
	p.join()
	return true
}

// relieve sends what waits beside data before its turn, until the answers to one more
// request of items have room, so that who keeps to its rate and reads is not dropped
// for asking much at once. Not while the batch is in use.
func (s *shard) relieve(c *conn, items int) {
	for len(c.control) > 0 && len(c.control)+items*maxAnswerBytes > s.config.ControlBytes {
		if c.blocked || c.transport.Pending() > 0 {
			return
		}
		p := &s.batch.plans[0]
		p.begin(s, c)
		p.collectOwn()
		p.more = true
		p.join()
		p.send()
		s.conclude(p) // moves bytes, or blocks or closes c
		s.batch.reset()
	}
}

// conclude moves what a plan that was sent says, and does what follows from it.
func (s *shard) conclude(p *plan) {
	c := p.conn
	if c.state != closed { // else another of the batch took its place (shedExcess)
		frames := p.commit()
		s.sentNow.frames += uint64(frames)
		if frames > 0 {
			c.quiet = 0
		}
		c.spend(s.since, frames, p.took)
		s.endOver(p)
		s.sent(c, p.class, p.took > 0, p.more)
	}
	clear(p.over)
	p.over, p.out = p.over[:0], nil
}

// endOver ends the subscriptions that p found to be over.
func (s *shard) endOver(p *plan) {
	for _, sub := range p.over {
		s.remove(sub)
	}
	if len(p.over) > 0 {
		clear(p.over)
		p.over = p.over[:0]
		s.dropIdle(p.conn)
	}
}
