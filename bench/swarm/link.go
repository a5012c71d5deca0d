package swarm

import (
	"crypto/tls"
	"errors"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
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
	codec proto.Codec

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
	failures  uint8 // in a row, since it was joined
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
	l.send(upgradeRequest(&s.targets[l.index%len(s.targets)], l.key, l.subprotocol()))
}

// subprotocol is what the handshake asks for.
func (l *link) subprotocol() string {
	switch l.swarm.plan.Dialect {
	case Depthcast:
		return l.codec.Subprotocol()
	case Centrifuge:
		return centrifugeSubprotocol
	}
	return ""
}

// opcode is that of messages.
func (l *link) opcode() ws.OpCode {
	if l.codec == proto.CodecJSON {
		return ws.OpText
	}
	return ws.OpBinary
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
		size, err := answer(l.stream.held, l.key, l.subprotocol())
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
	l.again, l.met, l.first, l.failures = false, true, 0, 0
	if l.slow && s.slowly {
		l.freeze()
	}
	s.everybody()
}
