package fanout

import (
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/peer"
)

// connState of a connection.
type connState uint8

const (
	open    connState = iota // served
	closing                  // sends what is in flight and its close frame, and waits for the peer's
	failing                  // likewise, but is not listened to: it broke the protocol
	closed                   // its descriptor is somebody else's
)

// conn is one client. Its memory is what limits how many there can be.
type conn struct {
	// What every delivery looks at stands together, ahead of what few need: between
	// two of them the kernel's send path has been through the cache.
	//
	// Static: shard, transport, framing, fd, remote. The rest is owned by the
	// shard's goroutine.
	shard     *shard
	transport transport

	framing    framing
	state      connState
	blocked    bool   // the socket is full: nothing is tried before EPOLLOUT
	armed      bool   // EPOLLOUT is asked for
	conflating bool   // it has met a full socket and not caught up since
	queued     bool   // in shard.queue
	unread     bool   // in shard.patient or shard.greedy
	scan       bool   // any subscription may have something pending, not only listed ones
	pinged     bool   // and has said nothing since
	peerClosed bool   // its close frame came
	quiet      uint8  // of who speaks Kraken's protocol: looks (sweepBeats) since data was sent
	deflate    uint8  // bits of the window that its compressed frames may need; 0: none are sent or taken
	scanned    uint32 // index in subs where the next scan begins, modulo their number
	place      uint32 // in shard.conns
	fd         int32
	listed     *subscription // those that may have something pending
	caps       *caps         // nil: none
	events     *eventStream  // nil: a WebSocket
	control    []byte        // frames for this client alone, before data; at most Config.ControlBytes; nil when none
	flight     *frame        // half sent: the rest goes first; nil when none
	held       uint32        // while blocked: bytes of control and of the transport that hub.pinned counts
	sent       uint32        // bytes of flight that have left

	subs      []*subscription // at most Config.MaxSubscriptions
	in        *inbound        // nil unless a message is incomplete
	pass      *pass           // what it may have; nil in a hub without a gate
	laps      *laps           // nil: none yet
	address   *peer.Count     // whose count it is in; nil: nobody's, as its address is exempt
	remote    string
	requests  bucket // and their items, see mayAsk
	resyncs   bucket
	incoming  bucket // messages and bytes, see sends
	snapshots bucket // bytes of those that it has asked for, see owe

	// Times on the shard's clock.
	heard    time.Duration // when something came and left no message incomplete, or completed one
	stalled  time.Duration // while blocked: when the socket last took something
	deadline time.Duration // while closing: when the peer has had long enough; of a leaving one: when it is closed

	// In shard.stalls, while blocked.
	before, after *conn
}

// laps counts how often a connection was lapped, all subscriptions together.
type laps struct {
	n     int
	since time.Duration // on the shard's clock
}

// bucket is a token bucket: when, on the shard's clock, all that was taken will have
// come back.
type bucket time.Duration

// take takes one token, each of which comes back after an interval, or returns how
// long it is until there is one.
func (b *bucket) take(now, interval time.Duration, burst int) (wait time.Duration) {
	full := max(time.Duration(*b), now) + interval
	if wait = full - now - time.Duration(burst)*interval; wait > 0 {
		return wait
	}
	*b = bucket(full)
	return 0
}

// spend takes what comes back after cost; false if more is out by then than comes back
// within most.
func (b *bucket) spend(now, cost, most time.Duration) bool {
	*b = bucket(max(time.Duration(*b), now) + cost)
	return time.Duration(*b)-now <= most
}

// answered sees to it that what reading left to be sent is sent.
func (s *shard) answered(c *conn) {
	switch {
	case c.state == closed:
	case c.transport.Pending() > 0:
		s.block(c, false)
	case len(c.control) > 0 || c.scan:
		s.enqueue(c)
	}
}

// A connection that was dropped for what it said may go on for toHear, as it has yet to
// hear of it. If a read then brings floodRead bytes, it is not waited for.
const (
	toHear    = 250 * time.Millisecond
	floodRead = 16 << 10
)

// parse takes the next bytes of a client's stream.
func (s *shard) parse(c *conn, b []byte) {
	if c.state == failing {
		if told := c.deadline - s.config.CloseTimeout; len(b) >= floodRead && s.since-told >= toHear {
			s.close(c) // it has no ears, and reading it costs
		}
		return
	}
	if c.events != nil {
		s.drop(c, DropProtocol) // such a client has nothing to say
		return
	}
	if !s.sends(c, s.share(len(b)+readBytes, s.config.BytesInPerSecond)) {
		return
	}
	p := c.in
	if p == nil {
		s.fresh = inbound{}
		p = &s.fresh
	}
	s.reading = c
	err := p.feed(b, rules{max: s.config.MaxMessageBytes, deflate: c.deflate != 0}, s.onMessage)
	s.reading = nil
	if c.state == closed {
		return
	}
	switch {
	case err != nil:
		if v, ok := err.(*violation); ok {
			s.fail(c, v.reason)
		}
		c.in = nil
	case p.idle():
		c.in = nil
		c.hear()
	case c.in == nil:
		kept := s.fresh
		c.in = &kept
	}
}

// fail drops c for a breach of the WebSocket protocol. Nothing that it sends from
// there on can be made out, so it cannot answer the close frame: the end of the
// stream follows it (RFC 6455 section 7.1.7).
func (s *shard) fail(c *conn, reason DropReason) {
	s.drop(c, reason)
	if c.state == closing {
		c.state = failing
	}
}

// hear notes a sign of life. Bytes of a message that is never finished are none.
func (c *conn) hear() { c.heard, c.pinged = c.shard.since, false }

// message handles one control frame or whole message of s.reading. Its error only
// stops what reads on.
func (s *shard) message(op ws.OpCode, payload []byte) error {
	c := s.reading
	switch {
	case op == ws.OpClose:
		c.peerClosed = true
		if c.state == open {
			s.answerClose(c, payload)
		} else if c.drained() {
			s.close(c)
		}
		return errEnded
	case c.state != open:
		return nil
	case !s.sends(c, s.share(1, s.config.MessagesInPerSecond)-s.share(len(payload), s.config.BytesInPerSecond)):
		return errEnded
	case op == ws.OpPing:
		s.reply(c, ws.OpPong, payload)
	case op == ws.OpPong:
	case s.config.Echo:
		c.hear()
		s.reply(c, op, payload)
	case op != c.framing.opCode():
		s.drop(c, DropWrongType)
	default:
		c.hear()
		if c.framing.dialect() {
			s.ask(c, payload)
		} else {
			s.request(c, payload)
		}
	}
	if c.state != open {
		return errEnded
	}
	return nil
}

// answerClose ends c with the code that its close frame gave (RFC 6455 section 5.5.1).
func (s *shard) answerClose(c *conn, payload []byte) {
	code := drops[DropClientClosed].Code
	if len(payload) > 0 {
		code, _ = ws.ParseCloseFrameData(payload)
	}
	s.dropAs(c, DropClientClosed, code)
}

// drained reports whether all that was to be sent is with the kernel.
func (c *conn) drained() bool {
	return c.flight == nil && len(c.control) == 0 && c.transport.Pending() == 0
}

// reply puts a frame for c alone before its data.
func (s *shard) reply(c *conn, op ws.OpCode, payload []byte) {
	if c.state != open {
		return
	}
	s.append(c, s.encoder.finish(op, append(s.encoder.begin(), payload...)))
}

// append puts frame bytes into the control buffer.
func (s *shard) append(c *conn, b []byte) {
	if c.deflate != 0 && reaches(c.deflate, len(b)) {
		b = s.deflater.frames(b)
	}
	if len(c.control)+len(b) > s.config.ControlBytes {
		s.drop(c, DropControlOverflow)
		return
	}
	c.control = append(c.control, b...)
	if c.blocked {
		c.hold(len(c.control) + c.transport.Pending())
	}
}

// hold has hub.pinned count n bytes for c beside its frame in flight.
func (c *conn) hold(n int) {
	if had := int(c.held); n != had {
		c.shard.hub.pinned.Add(int64(n - had))
		c.held = uint32(n)
	}
}

// begin puts f in flight, n bytes of which have left.
func (c *conn) begin(f *frame, n int) {
	c.flight, c.sent = f, uint32(n)
	if f.pins.Add(1) == 1 {
		c.shard.hub.pinned.Add(int64(len(f.bytes)))
	}
}

// land ends the flight, complete or not.
func (c *conn) land() {
	if c.flight == nil {
		return
	}
	if c.flight.pins.Add(-1) == 0 {
		c.shard.hub.pinned.Add(-int64(len(c.flight.bytes)))
	}
	c.flight, c.sent = nil, 0
}
