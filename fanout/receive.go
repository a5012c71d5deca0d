package fanout

import (
	"time"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/fanout/poll"
)

const (
	// receiveBytes is how much is read of a connection at once.
	receiveBytes = 16 << 10
	// maxReads bounds how often a connection is read before the others have their turn.
	maxReads = 4
	// turnBytes and turnTime are about how much is read of all connections in a turn,
	// and how long that and what it asks for takes, so that however many flood, it is a
	// few milliseconds until those who only read are served.
	turnBytes = 512 << 10
	turnTime  = 2 * time.Millisecond
)

// hasTime reports whether this turn has room to read one more connection.
func (s *shard) hasTime() bool { return s.received < turnBytes && s.busy < turnTime }

// Ready handles what the poller saw of the socket. Sending is left to the turn.
func (c *conn) Ready(events poll.Events) {
	if c.state == closed {
		return
	}
	s := c.shard
	s.look()
	if events.Readable() && !c.unread { // else its turn comes
		s.listen(c)
	}
	if events.Writable() && c.armed && c.state != closed {
		c.blocked = false
		c.scan = true
		s.enqueue(c)
	}
	if s.unfinished() {
		s.poller.Wake()
	}
}

// listen reads c, which was read to the end before, now or in one of the next turns.
func (s *shard) listen(c *conn) {
	if s.hasTime() {
		s.receive(c, maxReads)
		return
	}
	c.unread = true
	s.patient.push(c)
}

// unfinished reports whether something is left for another turn, of which no event tells.
func (s *shard) unfinished() bool {
	return len(s.queue)+s.patient.len()+s.greedy.len() > 0
}

// reread reads those that were not read to the end, as far as one turn goes. First
// come those of whom little has come so far: whoever arrives does not wait behind all
// that floods have sent. A flood is read on, in the order of the line, by what time is
// left, and a little in any case.
func (s *shard) reread() {
	s.look() // what the turn has done before is not reading
	s.received, s.busy = 0, 0
	for n := s.patient.len(); n > 0 && s.hasTime(); n-- {
		s.receive(s.patient.pop(), maxReads)
	}
	for n := s.greedy.len(); n > 0; n-- {
		s.receive(s.greedy.pop(), 1)
		if !s.hasTime() {
			break
		}
	}
}

// receive reads what has come, so often at most and while the turn has time, or notes
// that c is to be read on.
func (s *shard) receive(c *conn, reads int) {
	c.unread = false
	for range reads {
		if c.state == closed {
			return
		}
		n, class := c.transport.Recv(s.inbox)
		switch class {
		case poll.OK, poll.Partial:
			s.heed(c, s.inbox[:n])
			if c.state == closed {
				return
			}
			if class == poll.Partial {
				s.answered(c)
				return
			}
		case poll.Again:
			s.answered(c)
			return
		default:
			s.lost(c)
			return
		}
		if !s.hasTime() {
			break
		}
	}
	s.answered(c)
	if c.state != closed {
		c.unread = true
		s.greedy.push(c)
	}
}

// heed does what c asks for with the next bytes of its stream, and counts what of the
// turn that took.
func (s *shard) heed(c *conn, b []byte) {
	began := s.since
	s.parse(c, b)
	s.look()
	s.received += len(b)
	s.busy += s.since - began
}

// line is a queue of connections. Owned by the shard.
type line struct {
	conns []*conn
	first int // the others before it have left
}

func (l *line) len() int { return len(l.conns) - l.first }

func (l *line) push(c *conn) {
	if l.first > len(l.conns)/2 {
		n := copy(l.conns, l.conns[l.first:])
		clear(l.conns[n:])
		l.conns, l.first = l.conns[:n], 0
	}
	l.conns = append(l.conns, c)
}

// pop returns the first, of which there must be one.
func (l *line) pop() *conn {
	c := l.conns[l.first]
	l.conns[l.first] = nil
	l.first++
	return c
}

// readBytes is what a read counts for beside its bytes, as a packet has headers: bytes
// that come one by one take as much work.
const readBytes = 64

// inSeconds is for how long a connection may save up what it may send.
const inSeconds = peer.FloodSeconds

// floodRequests is how many requests over HTTP a flood counts for, as those of its
// address: what it may send at once it shall not be able to send again and again.
const floodRequests = 25

// share is the time in which a limit of perSecond lets n through. 0: there is none.
func (s *shard) share(n, perSecond int) time.Duration {
	if perSecond == 0 {
		return 0
	}
	return time.Duration(n) * time.Second / time.Duration(perSecond)
}

// sends has c pay for what it has sent; false: that was more than it may, and it has
// been dropped. A message counts for its share of MessagesInPerSecond where that is
// more than the share of BytesInPerSecond that its bytes have paid.
func (s *shard) sends(c *conn, share time.Duration) bool {
	if share <= 0 || c.incoming.spend(s.since, share, inSeconds*time.Second) {
		return true
	}
	s.hub.asking.Charge(c.address, floodRequests)
	s.fail(c, DropFlooding)
	return false
}
