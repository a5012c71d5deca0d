package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll"
)

// swarm is very many connections to one server, read by one event loop: the light
// client, the same for all servers, so that what differs is the servers. It checks
// that each connection gets each message, and nothing more.
type swarm struct {
	// Static once connected.
	name   string
	poller *poll.Poller
	links  []*link

	// live counts the links that have their snapshot; subscribed is closed when
	// all have.
	live       atomic.Int64
	want       int64
	subscribed chan struct{}

	// failed takes the first error of any link.
	failed chan error

	// mu guards order, and links while they are being made.
	mu    sync.Mutex
	order *window

	// Owned by the poller's goroutine.
	buf     []byte
	current *window // nil between windows
	target  uint32  // deltas that every link is to have at the end of the round
	waiting int     // links that have fewer
}

// window is a time of closed loop: publish k messages, wait until every link has
// them all, and again.
type window struct {
	k       int
	publish func(k int) error
	length  time.Duration
	ended   chan struct{} // closed at the end of the last round
	rounds  int
	end     time.Time
}

// receiveBytes is what one read takes.
const receiveBytes = 256 << 10

// overdue is how long a round may take beyond its window.
const overdue = 20 * time.Second

func newSwarm(name string, n int) (*swarm, error) {
	s := &swarm{
		name: name, want: int64(n), buf: make([]byte, receiveBytes),
		subscribed: make(chan struct{}), failed: make(chan error, 1),
	}
	var err error
	s.poller, err = poll.New(poll.Config{Turn: s.turn, OnFatal: s.fail})
	return s, err
}

func (s *swarm) fail(err error) {
	select {
	case s.failed <- fmt.Errorf("%s: %w", s.name, err):
	default: // the first is enough
	}
}

// add makes a link of a descriptor and takes what was read ahead of it.
func (s *swarm) add(fd int, early []byte) error {
	l := &link{swarm: s, fd: fd, send: func(b []byte) error {
		if _, class, errno := poll.Send(fd, b); class != poll.OK {
			return fmt.Errorf("bench: send: %v: %w", class, errno)
		}
		return nil
	}}
	if err := l.walk(early); err != nil {
		return err
	}
	s.mu.Lock()
	s.links = append(s.links, l)
	s.mu.Unlock()
	return s.poller.Add(fd, poll.In, l)
}

// Ready reads what has come. A short read is the end of it: the poller tells of more.
func (l *link) Ready(poll.Events) {
	n, class, errno := poll.Recv(l.fd, l.swarm.buf)
	switch class {
	case poll.OK:
		if err := l.walk(l.swarm.buf[:n]); err != nil {
			l.end(err)
		}
	case poll.Again:
	case poll.EOF:
		l.end(io.ErrUnexpectedEOF)
	default:
		l.end(fmt.Errorf("bench: receive: %w", errno))
	}
}

// end is told that l is of no more use, and with it the measurement.
func (l *link) end(err error) {
	_ = l.swarm.poller.Del(l.fd) // it fails only when the poller is closed
	l.swarm.fail(err)
}

func (s *swarm) pong(l *link, payload []byte) {
	b, err := ws.CompileFrame(ws.MaskFrame(ws.NewPongFrame(append([]byte(nil), payload...))))
	if err == nil {
		err = l.send(b)
	}
	if err != nil {
		s.fail(err)
	}
}

// joined is told that a link has its first snapshot.
func (s *swarm) joined() {
	if s.live.Add(1) == s.want {
		close(s.subscribed)
	}
}

// counted is told that l has one delta more.
func (s *swarm) counted(l *link) error {
	if s.current == nil {
		return nil
	}
	switch {
	case l.deltas == s.target:
		s.waiting--
		if s.waiting == 0 {
			s.current.rounds++
			return s.round()
		}
	case l.deltas > s.target:
		return errors.New("bench: a message came twice, or that nobody has published")
	}
	return nil
}

// turn begins the window that was ordered.
func (s *swarm) turn() {
	s.mu.Lock()
	w := s.order
	s.order = nil
	s.mu.Unlock()
	if w == nil {
		return
	}
	for _, l := range s.links {
		if l.deltas != s.links[0].deltas {
			s.fail(errors.New("bench: connections that had different numbers of messages"))
			return
		}
	}
	s.current, s.target = w, s.links[0].deltas
	w.end = time.Now().Add(w.length)
	if err := s.round(); err != nil {
		s.fail(err)
	}
}

// round publishes, unless the window is over.
func (s *swarm) round() error {
	w := s.current
	if !time.Now().Before(w.end) {
		s.current = nil
		close(w.ended)
		return nil
	}
	s.target += uint32(w.k)
	s.waiting = len(s.links)
	return w.publish(w.k)
}

// run drives one window and returns how many rounds it had.
func (s *swarm) run(k int, length time.Duration, publish func(int) error) (int, error) {
	w := &window{k: k, publish: publish, length: length, ended: make(chan struct{})}
	s.mu.Lock()
	s.order = w
	s.mu.Unlock()
	s.poller.Wake()
	select {
	case <-w.ended:
		return w.rounds, nil
	case err := <-s.failed:
		return 0, err
	case <-time.After(length + overdue):
		return 0, fmt.Errorf("%s: a message has not reached all connections within %v", s.name, overdue)
	}
}
