package fanout

import (
	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll"
)

// sent draws the conclusions from what became of a send: whether it moved bytes,
// and whether more is pending than was offered.
func (s *shard) sent(c *conn, class poll.Class, progress, more bool) {
	c.scan = c.scan || more
	switch class {
	case poll.OK:
		s.unblock(c)
		switch {
		case more, c.flight != nil, len(c.control) > 0:
			s.enqueue(c)
		case c.state == closing && c.peerClosed:
			s.close(c)
		case c.state == failing:
			c.transport.Finish()
		default:
			c.conflating = false
		}
	case poll.Partial, poll.Again:
		s.stats.again.Add(1)
		s.block(c, progress)
		s.shedExcess()
	case poll.Gone:
		s.lost(c)
	default:
		s.cut(c, DropInternal)
	}
}

// block waits for the socket of c to take more.
func (s *shard) block(c *conn, progress bool) {
	c.hold(len(c.control) + c.transport.Pending())
	c.conflating, c.blocked = true, true
	if !c.armed {
		c.armed = true
		c.stalled = s.since
		s.stalls.push(c)
		s.arm(c, poll.In|poll.PeerIn|poll.Out)
	} else if progress {
		c.moved()
		c.stalled = s.since
		s.stalls.remove(c)
		s.stalls.push(c)
	}
}

func (s *shard) unblock(c *conn) {
	c.hold(0)
	c.blocked = false
	if c.armed {
		c.moved()
		c.armed = false
		s.stalls.remove(c)
		s.arm(c, poll.In|poll.PeerIn)
	}
}

// moved takes it for a sign of life that a socket which was full took something:
// the peer reads. Where it reads slowly, a ping lies behind all that it has yet to
// read, and its pong would come too late.
func (c *conn) moved() {
	if c.in == nil {
		c.hear()
	}
}

func (s *shard) arm(c *conn, events poll.Events) {
	if err := s.poller.Mod(int(c.fd), events); err != nil {
		s.config.Log.Error("cannot wait for a socket", "remote", c.remote, "err", err)
		s.cut(c, DropInternal)
	}
}

// lost is told that the peer is no longer there.
func (s *shard) lost(c *conn) {
	switch {
	case c.state == open && c.events != nil:
		s.count(c, DropClientClosed) // it has no other way
	case c.state == open:
		s.count(c, DropClientGone)
	}
	s.close(c)
}

func (s *shard) count(c *conn, reason DropReason) {
	s.stats.drops[reason].Add(1)
	s.config.Log.Debug("connection ended", "remote", c.remote, "reason", reason.String(), "subscriptions", len(c.subs))
}

// drop ends c for a reason, with a close frame where the socket takes one: what is
// in flight is finished first, and the peer may answer for Config.CloseTimeout.
func (s *shard) drop(c *conn, reason DropReason) { s.dropAs(c, reason, drops[reason].Code) }

// dropAs is drop with another code in the close frame.
func (s *shard) dropAs(c *conn, reason DropReason, code ws.StatusCode) {
	if c.state != open {
		return
	}
	s.count(c, reason)
	s.unsubscribeAll(c)
	c.state = closing
	row := drops[reason]
	if c.blocked {
		discard(int(c.fd))
	}
	if c.blocked || code == 0 {
		s.close(c)
		return
	}
	if c.events != nil {
		s.endEvents(c, row)
		s.awaitEnd(c)
		return
	}
	body := ws.NewCloseFrameBody(code, row.Label+": "+row.Text)
	c.control = append(c.control, s.encoder.finish(ws.OpClose, append(s.encoder.begin(), body...))...)
	s.awaitEnd(c)
}

// awaitEnd bounds the time in which c's last words leave and are answered.
func (s *shard) awaitEnd(c *conn) {
	c.deadline = s.since + s.config.CloseTimeout
	s.farewell = append(s.farewell, c)
	s.enqueue(c)
}

// cut ends c at once, whatever state it is in: where it would be in vain to wait.
func (s *shard) cut(c *conn, reason DropReason) {
	s.drop(c, reason)
	s.close(c)
}

// close frees all that c has. Its descriptor is closed here and nowhere else.
func (s *shard) close(c *conn) {
	if c.state == closed {
		return
	}
	if c.armed {
		s.stalls.remove(c)
	}
	s.unsubscribeAll(c)
	s.handIn(c)
	c.state = closed
	c.land()
	c.hold(0)
	c.control, c.in = nil, nil

	_ = s.poller.Del(int(c.fd)) // fails only where Add did, or when the poller is closed
	if err := c.transport.Close(); err != nil {
		s.config.Log.Error("cannot close a connection", "remote", c.remote, "err", err)
	}
	last := len(s.conns) - 1
	s.conns[c.place] = s.conns[last]
	s.conns[c.place].place = c.place
	s.conns[last] = nil
	s.conns = s.conns[:last]
	if c.deflate != 0 {
		s.stats.deflating.Add(-1)
	}
	s.load.Add(-1)
	s.hub.left(c.address)
}

// stalls is a list of blocked connections, those first that have waited longest.
type stalls struct {
	first, last *conn
}

func (l *stalls) push(c *conn) {
	c.before, c.after = l.last, nil
	if l.last != nil {
		l.last.after = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *stalls) remove(c *conn) {
	if c.before != nil {
		c.before.after = c.after
	} else {
		l.first = c.after
	}
	if c.after != nil {
		c.after.before = c.before
	} else {
		l.last = c.before
	}
	c.before, c.after = nil, nil
}

// shedExcess drops the connections of s that are stalled longest while far too many
// bytes are pinned: within one turn very many may come to be half sent, each in a
// frame of its own. limitPinned, which looks at all shards, would come too late.
func (s *shard) shedExcess() {
	for s.stalls.first != nil && s.hub.pinned.Load() > s.config.PinnedBytes+s.config.PinnedBytes/excessShare {
		s.cut(s.stalls.first, DropPinnedBytes)
	}
}

// excessShare is the part of Config.PinnedBytes by which it may be exceeded within
// a turn.
const excessShare = 8

// limitPinned drops the connection that is stalled longest, of all shards, while
// frames in flight hold too many bytes.
func (s *shard) limitPinned() {
	first := int64(0)
	if c := s.stalls.first; c != nil {
		first = max(1, int64(c.stalled))
	}
	s.stall.Store(first)
	if s.shed.Swap(false) && s.stalls.first != nil {
		s.cut(s.stalls.first, DropPinnedBytes)
	}
	if s.hub.pinned.Load() <= s.config.PinnedBytes {
		return
	}
	longest := s
	for _, other := range s.hub.shards {
		stall, least := other.stall.Load(), longest.stall.Load()
		if stall != 0 && (least == 0 || stall < least) {
			longest = other
		}
	}
	if longest.stall.Load() != 0 {
		longest.shed.Store(true)
		longest.poller.Wake()
	}
}
