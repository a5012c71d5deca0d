package main

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// gate is a listener that keeps those who are in plain HTTP or in their handshake to
// as many as it has places, so that what these cost is bounded. A connection gives
// its place back when it is closed or handed to the hub.
//
// While all places are taken, the next wait in line: a descriptor each, which they
// will need in any case. They are not left in the kernel's queue, which loses its
// clients' packets when it overflows, so that these hear nothing for seconds. For
// whoever is in line, a connection that is idle between two plain requests is ended,
// the longest idle first. The first in line is told when to come back when it has
// waited for mostWait, or the line is at its limit.
type gate struct {
	// Static.
	net.Listener
	places   chan struct{}
	turns    chan struct{} // as places, for those who are told to come back
	room     func() int    // how long the line may be
	mostWait time.Duration
	log      *rate.Limiter
	shut     chan struct{} // closed with the gate

	once    sync.Once
	waits   atomic.Uint64 // how often all places were taken
	turned  atomic.Uint64 // connections that were told to come back
	arrived chan struct{} // a value after somebody has joined the line
	left    chan struct{} // a value after somebody has left it
	failed  chan error    // the end of the listener, if that was not shut

	// mu guards the fields below. Nothing that waits is called while it is held.
	mu     sync.Mutex
	line   list.List             // of inLine, the first longest
	later  map[net.Conn]struct{} // have a turn, not a place
	idle   list.List             // of net.Conn, the first longest
	idling map[net.Conn]*list.Element
	rota   rota
}

// inLine is a connection that waits for a place.
type inLine struct {
	conn  net.Conn
	since time.Time
}

// newGate lets in through l, with as long a line as room says at any moment.
func newGate(l net.Listener, places, turns int, room func() int) *gate {
	return &gate{
		Listener: l, places: make(chan struct{}, places), turns: make(chan struct{}, turns), room: room, mostWait: mostWait,
		log: rate.NewLimiter(rate.Every(10*time.Second), 1), shut: make(chan struct{}),
		arrived: make(chan struct{}, 1), left: make(chan struct{}, 1), failed: make(chan error, 1),
		later: map[net.Conn]struct{}{}, idling: map[net.Conn]*list.Element{}, rota: rota{least: places},
	}
}

const (
	// mostWait is how long anybody is left without an answer.
	mostWait = 2 * time.Second
	// glance is how often a gate without a free place looks at its line.
	glance = 10 * time.Millisecond
)

// open begins to accept. Close ends it.
func (g *gate) open() { go g.acceptAll() }

// acceptAll puts whoever comes in line. Beyond its limit they wait in the kernel's
// queue.
func (g *gate) acceptAll() {
	for {
		c, err := g.Listener.Accept()
		switch {
		case err == nil:
			g.join(c)
		case !passing(err):
			g.failed <- err
			return
		default:
			slog.Warn("cannot accept a connection", "err", err)
			select {
			case <-time.After(glance):
			case <-g.shut:
				return
			}
		}
		for n, _ := g.first(); n >= g.room(); n, _ = g.first() {
			select {
			case <-g.left:
			case <-g.shut:
				return
			}
		}
	}
}

// passing reports whether a listener may well accept the next, after err.
func passing(err error) bool {
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED, unix.ECONNRESET} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// join puts c at the end of the line.
func (g *gate) join(c net.Conn) {
	g.mu.Lock()
	g.line.PushBack(inLine{c, time.Now()})
	g.mu.Unlock()
	select {
	case <-g.shut:
		g.disband() // again: c came after it
	default:
		notify(g.arrived)
	}
}

// notify leaves a value for who looks for one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // there is one
	}
}

// first returns the length of the line, and since when the first in it waits.
func (g *gate) first() (length int, since time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.line.Len() == 0 {
		return 0, since
	}
	return g.line.Len(), g.line.Front().Value.(inLine).since
}

// next takes the first out of the line, for which a place is taken; or a turn, to be
// told later.
func (g *gate) next(taken chan struct{}) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.line.Len() == 0 { // shut at this moment
		<-taken
		return nil, net.ErrClosed
	}
	c := g.line.Remove(g.line.Front()).(inLine).conn
	if taken == g.turns {
		g.later[c] = struct{}{}
	}
	notify(g.left)
	return c, nil
}

// Accept waits for a connection that has a place, or is to be told when to come
// back. For one goroutine.
func (g *gate) Accept() (net.Conn, error) {
	for n, _ := g.first(); n == 0; n, _ = g.first() {
		select {
		case <-g.arrived:
		case err := <-g.failed:
			return nil, err
		case <-g.shut:
			return nil, net.ErrClosed
		}
	}
	select {
	case g.places <- struct{}{}:
		return g.next(g.places)
	default:
	}
	g.waits.Add(1)
	if g.log.Allow() {
		slog.Warn("accepting waits: too many connections are in their handshake or in plain HTTP", "places", cap(g.places))
	}
	look := time.NewTicker(glance)
	defer look.Stop()
	for {
		g.endIdle()
		var turns chan struct{}
		if n, since := g.first(); n >= g.room() || time.Since(since) >= g.mostWait {
			turns = g.turns
		}
		select {
		case g.places <- struct{}{}:
			return g.next(g.places)
		case turns <- struct{}{}:
			return g.next(g.turns)
		case <-look.C:
		case <-g.shut:
			return nil, net.ErrClosed
		}
	}
}

// endIdle makes room by ending the connection that is idle for longest, unless a
// request begins to arrive at this moment: then the server sets another deadline.
func (g *gate) endIdle() {
	g.mu.Lock()
	longest := g.idle.Front()
	if longest != nil {
		g.idle.MoveToBack(longest) // the next is another, should this one go on
	}
	g.mu.Unlock()
	if longest != nil {
		_ = longest.Value.(net.Conn).SetReadDeadline(time.Unix(1, 0)) // it may be closed already
	}
}

// state is for http.Server.ConnState.
func (g *gate) state(c net.Conn, s http.ConnState) {
	ended := s == http.StateHijacked || s == http.StateClosed
	g.mu.Lock()
	if e := g.idling[c]; e != nil {
		g.idle.Remove(e)
		delete(g.idling, c)
	}
	if s == http.StateIdle {
		g.idling[c] = g.idle.PushBack(c)
	}
	_, later := g.later[c]
	if ended {
		delete(g.later, c)
	}
	if ended && !later {
		g.rota.passed(time.Now())
	}
	g.mu.Unlock()
	switch {
	case !ended:
	case later:
		<-g.turns
	default:
		<-g.places
	}
}

// laterKey marks the context of a connection that is to come back.
type laterKey struct{}

// context is for http.Server.ConnContext.
func (g *gate) context(ctx context.Context, c net.Conn) context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, later := g.later[c]; later {
		return context.WithValue(ctx, laterKey{}, true)
	}
	return ctx
}

// handler answers those who are to come back; the rest is for h.
func (g *gate) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(laterKey{}) == nil {
			h.ServeHTTP(w, r)
			return
		}
		g.turned.Add(1)
		g.mu.Lock()
		seconds := g.rota.deal(time.Now(), g.line.Len()+len(g.places))
		g.mu.Unlock()
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		w.Header().Set("Connection", "close")
		http.Error(w, "too many are connecting at this moment", http.StatusServiceUnavailable)
	})
}

// Close ends the listener and the line.
func (g *gate) Close() error {
	g.once.Do(func() { close(g.shut) })
	err := g.Listener.Close()
	g.disband()
	return err
}

// disband closes who is in line.
func (g *gate) disband() {
	g.mu.Lock()
	line := g.line
	g.line = list.List{}
	g.mu.Unlock()
	for e := line.Front(); e != nil; e = e.Next() {
		_ = e.Value.(inLine).conn.Close() // nothing was said on it
	}
}
