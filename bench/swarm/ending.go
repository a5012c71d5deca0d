package swarm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll"
)

// How connections end, and what of it is counted.

// errEnded breaks off the walk over a stream whose connection was ended meanwhile.
var errEnded = errors.New("swarm: ended")

// fail ends the connection for what came over it.
func (l *link) fail(err error) {
	var refused *refusal
	switch {
	case errors.Is(err, errEnded):
	case errors.As(err, &refused):
		l.swarm.figures.Refused = count(l.swarm.figures.Refused, fmt.Sprintf("handshake %d", refused.status), 1)
		if refused.after > 0 {
			// In any part of that second, since others are told the same.
			l.waitUntil = l.swarm.now + int64(refused.after) + rand.Int64N(int64(time.Second))
		}
		l.close()
		l.swarm.later(l, l.swarm.patience(l))
	default:
		l.swarm.fault(l, nil, &Fault{Kind: BadMessage, Text: err.Error()})
		l.end("bad message")
	}
}

// end closes a connection that is of no more use, for a reason that was not ours,
// and plans the next.
func (l *link) end(reason string) {
	if l.phase == closed {
		return
	}
	l.close()
	l.lost(reason, l.waitUntil)
}

// lost counts a connection that is closed and plans the next one. until is the time
// that the server asked to wait for.
func (l *link) lost(reason string, until int64) {
	s := l.swarm
	l.phase = closed
	s.figures.Ended = count(s.figures.Ended, reason, 1)
	if l.slow && s.slowly {
		return // what it gets for reading so slowly
	}
	if s.window != nil {
		s.give(fmt.Errorf("swarm: connection %d ended: %s", l.index, reason))
	}
	l.again = l.met
	l.waitUntil = until
	s.later(l, s.patience(l))
}

// close closes the descriptor. The subscriptions keep what they know.
func (l *link) close() {
	s := l.swarm
	if l.phase == ready {
		s.gauges.Open--
		if l.joined {
			s.gauges.Joined--
		}
	}
	l.phase, l.joined = closed, false
	_ = s.poller.Del(l.fd) // it fails only when the poller is closed
	_ = poll.Close(l.fd)   // nothing was written that could be lost
	l.fd, l.secure = -1, nil
}

// reasonOf is a short word for an error of the network.
func reasonOf(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, errEOF):
		return "eof"
	case errors.Is(err, errFull):
		return "full"
	case errors.Is(err, errTimeout):
		return "timeout"
	case errors.As(err, &op):
		err = op.Err
	}
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// errTimeout ends a connection that did not open in time.
var errTimeout = fmt.Errorf("swarm: not connected within %v", connectWithin)

// overdue ends a connection that takes too long to open.
func (l *link) overdue(now int64) {
	if (l.phase == connecting && l.fd >= 0 || l.phase == upgrading) && now-l.began > int64(connectWithin) {
		l.end("connect: " + reasonOf(errTimeout))
	}
}

// goodbye is the body of a close frame that says that all is well (RFC 6455 section 5.5.1).
var goodbye = ws.NewCloseFrameBody(ws.StatusNormalClosure, "")

// leave ends the connection in good order.
func (l *link) leave() {
	if l.phase == ready {
		l.send(maskedFrame(ws.OpClose, goodbye))
	}
	if l.phase != closed && l.fd >= 0 {
		l.close()
	}
}
