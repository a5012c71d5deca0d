package swarm

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll"
)

// phase of a connection.
type phase uint8

const (
	closed phase = iota
	connecting
	upgrading
	ready // for messages
)

// link is one connection and its place in the run, which it keeps when it connects
// anew.
type link struct {
	// Static.
	swarm *Swarm
	index int
	slow  bool // reads slowly, from StepSlow on

	phase  phase
	fd     int
	secure *tls.Conn // nil: plain TCP
	key    string    // of the handshake
	stream stream
	subs   []sub

	began     int64            // ns; when it began to connect
	first     int64            // ns; likewise, at the first attempt since it was last joined; 0: none
	met       bool             // it was joined once
	topics    map[uint32]int32 // place in subs by topic number; nil while there are few subs
	unsettled int              // subscriptions that wait for their first answer or snapshot
	joined    bool             // there was none, once, since it connected
	again     bool             // it connects again with what it knows: subscribe with resume
	credit    float64          // bytes that a slow one may read
	waitUntil int64            // ns; the server asked to stay away until then
	deltas    uint32
}

// Ready implements poll.Handler.
func (l *link) Ready(events poll.Events) {
	switch l.phase {
	case connecting:
		if events.Writable() {
			l.connected()
		}
	case upgrading, ready:
		if l.slow && l.swarm.slowly && l.joined {
			// Only an error or a hang-up is told of: nothing else was asked for.
			l.read(l.swarm.buf[:slowRead])
			return
		}
		l.read(l.swarm.buf)
	}
}

// connect begins a connection.
func (l *link) connect() {
	s := l.swarm
	t := &s.targets[l.index%len(s.targets)]
	buffer := 0
	if l.slow {
		buffer = s.plan.SlowBuffer
	}
	l.began, l.joined, l.key = s.clock(), false, newKey()
	if l.first == 0 {
		l.first = l.began
	}
	l.stream = stream{whole: s.plan.full(l.index), held: l.stream.held[:0]}
	from := s.source(l.index)
	if t.tls != nil {
		l.phase = connecting
		s.shakeHands(l, t, from, buffer)
		return
	}
	fd, err := open(t.address, from, buffer)
	if err != nil {
		l.lost("connect: "+reasonOf(err), 0)
		return
	}
	l.fd, l.secure, l.phase = fd, nil, connecting
	if err := s.poller.Add(fd, poll.Out, l); err != nil {
		_ = poll.Close(fd) // the error before it is what counts
		l.lost("connect: "+reasonOf(err), 0)
	}
}

// connected goes on when the socket has connected.
func (l *link) connected() {
	l.swarm.now = l.swarm.clock()
	done, err := connected(l.fd)
	if !done {
		return
	}
	if err == nil {
		err = l.swarm.poller.Mod(l.fd, poll.In)
	}
	if err != nil {
		l.end("connect: " + reasonOf(err))
		return
	}
	l.upgrade()
}

// secured goes on when TLS has shaken hands; conn is nil if it failed with err.
func (l *link) secured(conn *tls.Conn, fd int, err error) {
	if err == nil {
		err = l.swarm.poller.Add(fd, poll.In, l)
		if err != nil {
			_ = poll.Close(fd) // the error before it is what counts
		}
	}
	if err != nil {
		l.lost("connect: "+reasonOf(err), 0)
		return
	}
	l.fd, l.secure = fd, conn
	l.upgrade()
}

// upgrade asks for a WebSocket, unless frames come without.
func (l *link) upgrade() {
	s := l.swarm
	if s.plan.Dialect == Frames {
		l.open()
		return
	}
	l.phase = upgrading
	l.send(upgradeRequest(&s.targets[l.index%len(s.targets)], l.key, s.subprotocol()))
}

// send puts bytes on the connection or ends it.
func (l *link) send(b []byte) {
	var err error
	if l.secure != nil {
		_, err = l.secure.Write(b)
	} else {
		err = transmit(l.fd, b)
	}
	if err != nil {
		l.end("send: " + reasonOf(err))
	}
}

// read takes what has come, until there is no more or buf was filled once.
func (l *link) read(buf []byte) {
	for {
		var n int
		var err error
		if l.secure != nil {
			n, err = l.secure.Read(buf)
		} else {
			n, err = receive(l.fd, buf)
		}
		if errors.As(err, new(errWouldBlock)) {
			return
		}
		if err != nil {
			l.end(reasonOf(err))
			return
		}
		l.swarm.figures.Bytes += uint64(n)
		if err := l.take(buf[:n]); err != nil {
			l.fail(err)
			return
		}
		// What a tls.Conn has decrypted already, no poller tells of.
		if l.secure == nil || l.phase == closed {
			return
		}
	}
}

// take gives received bytes to the handshake or to the stream.
func (l *link) take(b []byte) error {
	l.swarm.now = l.swarm.clock()
	if l.phase == upgrading {
		l.stream.held = append(l.stream.held, b...)
		size, err := answer(l.stream.held, l.key, l.swarm.subprotocol())
		if err != nil || size == 0 {
			return err
		}
		b = append([]byte(nil), l.stream.held[size:]...)
		l.stream.held = l.stream.held[:0]
		l.open()
	}
	if l.phase != ready {
		return nil
	}
	return l.stream.walk(b, l)
}

// open is told that messages may go.
func (l *link) open() {
	s := l.swarm
	l.phase = ready
	s.gauges.Open++
	s.figures.Opened++
	switch s.plan.Dialect {
	case Depthcast:
		l.subscribe()
	case Centrifuge:
		l.unsettled = 1
		l.send(maskedFrame(ws.OpBinary, centrifugeConnect))
	default:
		l.settled()
	}
}

// errEnded breaks off the walk over a stream whose connection was ended meanwhile.
var errEnded = errors.New("swarm: ended")

// fail ends the connection for what came over it.
func (l *link) fail(err error) {
	var refused *refusal
	switch {
	case errors.Is(err, errEnded):
	case errors.As(err, &refused):
		l.swarm.figures.Refused = count(l.swarm.figures.Refused, fmt.Sprintf("handshake %d", refused.status), 1)
		l.waitUntil = l.swarm.now + int64(refused.after)
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

// settled is told that no subscription waits any more.
func (l *link) settled() {
	if l.joined {
		return
	}
	s := l.swarm
	l.joined = true
	s.gauges.Joined++
	if l.again {
		s.figures.Resume.Record(s.now - l.first)
	} else {
		s.figures.Join.Record(s.now - l.first)
	}
	l.again, l.met, l.first = false, true, 0
	if l.slow && s.slowly {
		l.freeze()
	}
	s.everybody()
}

// freeze stops reading when something comes; a slow reader then reads by the clock.
func (l *link) freeze() { _ = l.swarm.poller.Mod(l.fd, 0) } // it fails only when the poller is closed

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

// slowRead is the most that a slow reader reads at once.
const slowRead = 4 << 10

// trickle lets a slow reader read what its rate allows.
func (l *link) trickle(passed time.Duration) {
	if l.phase != ready || !l.joined {
		return
	}
	rate := float64(l.swarm.plan.SlowBytes)
	l.credit = min(l.credit+rate*passed.Seconds(), max(slowRead, rate))
	for l.phase == ready && l.credit >= 1 {
		before := l.swarm.figures.Bytes
		l.read(l.swarm.buf[:min(int(l.credit), slowRead)])
		n := l.swarm.figures.Bytes - before
		if n == 0 {
			return
		}
		l.credit -= float64(n)
	}
}
