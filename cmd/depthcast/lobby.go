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

	"github.com/depthcast/depthcast/fanout"
)

// lobby is a listener that keeps those who are in plain HTTP or in their handshake to
// as many as it has places, so that what these cost is bounded. A connection gives
// its place back when it is closed or handed to the hub.
//
// While all places are taken, the next wait in line: a descriptor each, which they
// will need in any case. They are not left in the kernel's queue, which loses its
// clients' packets when it overflows, so that these hear nothing for seconds. For
// whoever is in line, a connection that is idle between two plain requests is ended,
// the longest idle first. The first in line is told when to come back when it has
// waited for mostWait, or the line is at its limit.
type lobby struct {
	// Static.
	net.Listener
	places   chan struct{}
	turns    chan struct{} // as places, for those who are told to come back
	room     func() int    // how long the line may be
	mostWait time.Duration
	log      *rate.Limiter
	shut     chan struct{} // closed with the lobby

	once       sync.Once
	closed     error         // of the listener; set within once
	waits      atomic.Uint64 // how often all places were taken
	turned     atomic.Uint64 // connections that were told to come back
	unfinished atomic.Uint64 // that ended before a request had come
	arrived    chan struct{} // a value after somebody has joined the line
	left       chan struct{} // a value after somebody has left it
	failed     chan error    // the end of the listener, if that was not shut

	// mu guards the fields below. Nothing that waits is called while it is held.
	mu     sync.Mutex
	line   list.List           // of inLine, the first longest
	guests map[net.Conn]*guest // who have passed the line
	idle   list.List           // of net.Conn, the first longest
	idling map[net.Conn]*list.Element
	rota   rota
}

// inLine is a connection that waits for a place.
type inLine struct {
	conn  net.Conn
	since time.Time
}

// guest is a connection that has passed the line. It has a place, unless it has a turn,
// or streams of it are relayed: these have bounds of their own.
type guest struct {
	later bool          // has a turn; static
	asked atomic.Bool   // a request has come
	ended chan struct{} // closed with it

	// Guarded by lobby.mu.
	relays int // streams of it that are relayed
	placed bool
}

// newLobby lets in through l, with as long a line as room says at any moment.
func newLobby(l net.Listener, places, turns int, room func() int) *lobby {
	return &lobby{
		Listener: l, places: make(chan struct{}, places), turns: make(chan struct{}, turns), room: room, mostWait: mostWait,
		log: rate.NewLimiter(rate.Every(10*time.Second), 1), shut: make(chan struct{}),
		arrived: make(chan struct{}, 1), left: make(chan struct{}, 1), failed: make(chan error, 1),
		guests: map[net.Conn]*guest{}, idling: map[net.Conn]*list.Element{}, rota: rota{least: places},
	}
}

const (
	// mostWait is how long anybody is left without an answer.
	mostWait = 2 * time.Second
	// glance is how often a lobby without a free place looks at its line.
	glance = 10 * time.Millisecond
)

// open begins to accept. Close ends it.
func (b *lobby) open() { go b.acceptAll() }

// acceptAll puts whoever comes in line. Beyond its limit they wait in the kernel's
// queue.
func (b *lobby) acceptAll() {
	for {
		c, err := b.Listener.Accept()
		switch {
		case err == nil:
			b.join(c)
		case !passing(err):
			b.failed <- err
			return
		default:
			if b.log.Allow() {
				slog.Warn("cannot accept a connection", "err", err)
			}
			select {
			case <-time.After(glance):
			case <-b.shut:
				return
			}
		}
		for n, _ := b.first(); n >= b.room(); n, _ = b.first() {
			select {
			case <-b.left:
			case <-b.shut:
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
func (b *lobby) join(c net.Conn) {
	b.mu.Lock()
	b.line.PushBack(inLine{c, time.Now()})
	b.mu.Unlock()
	select {
	case <-b.shut:
		b.disband() // again: c came after it
	default:
		notify(b.arrived)
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
func (b *lobby) first() (length int, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line.Len() == 0 {
		return 0, since
	}
	return b.line.Len(), b.line.Front().Value.(inLine).since
}

// next takes the first out of the line, for which a place is taken; or a turn, to be
// told later.
func (b *lobby) next(taken chan struct{}) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line.Len() == 0 { // shut at this moment
		<-taken
		return nil, net.ErrClosed
	}
	c := b.line.Remove(b.line.Front()).(inLine).conn
	later := taken == b.turns
	b.guests[c] = &guest{later: later, placed: !later, ended: make(chan struct{})}
	notify(b.left)
	return c, nil
}

// Accept waits for a connection that has a place, or is to be told when to come
// back. For one goroutine.
func (b *lobby) Accept() (net.Conn, error) {
	for n, _ := b.first(); n == 0; n, _ = b.first() {
		select {
		case <-b.arrived:
		case err := <-b.failed:
			return nil, err
		case <-b.shut:
			return nil, net.ErrClosed
		}
	}
	select {
	case b.places <- struct{}{}:
		return b.next(b.places)
	default:
	}
	b.waits.Add(1)
	if b.log.Allow() {
		slog.Warn("accepting waits: too many connections are in their handshake or in plain HTTP", "places", cap(b.places))
	}
	look := time.NewTicker(glance)
	defer look.Stop()
	for {
		b.endIdle()
		var turns chan struct{}
		if n, since := b.first(); n >= b.room() || time.Since(since) >= b.mostWait {
			turns = b.turns
		}
		select {
		case b.places <- struct{}{}:
			return b.next(b.places)
		case turns <- struct{}{}:
			return b.next(b.turns)
		case <-look.C:
		case <-b.shut:
			return nil, net.ErrClosed
		}
	}
}

// endIdle makes room by ending the connection that is idle for longest, unless a
// request begins to arrive at this moment: then the server sets another deadline.
func (b *lobby) endIdle() {
	b.mu.Lock()
	longest := b.idle.Front()
	if longest != nil {
		b.idle.MoveToBack(longest) // the next is another, should this one go on
	}
	b.mu.Unlock()
	if longest != nil {
		_ = longest.Value.(net.Conn).SetReadDeadline(time.Unix(1, 0)) // it may be closed already
	}
}

// state is for http.Server.ConnState.
func (b *lobby) state(c net.Conn, s http.ConnState) {
	ended := s == http.StateHijacked || s == http.StateClosed
	b.mu.Lock()
	if e := b.idling[c]; e != nil {
		b.idle.Remove(e)
		delete(b.idling, c)
	}
	if s == http.StateIdle {
		b.idling[c] = b.idle.PushBack(c)
	}
	var who *guest
	placed := false
	if ended {
		if who = b.guests[c]; who != nil {
			delete(b.guests, c)
			close(who.ended)
			placed, who.placed = who.placed, false
			if !who.later {
				b.rota.passed(time.Now())
			}
		}
	}
	b.mu.Unlock()
	if who == nil {
		return
	}
	if !who.asked.Load() {
		b.unfinished.Add(1)
	}
	if who.later {
		<-b.turns
	} else if placed {
		<-b.places
	}
}

// relayed has the place of who be another's while a stream of it is relayed. The end
// waits for a place, as long as the connection lasts: it is in plain HTTP again.
func (b *lobby) relayed(who *guest) (end func()) {
	b.mu.Lock()
	who.relays++
	placed := who.placed
	who.placed = false
	b.mu.Unlock()
	if placed {
		<-b.places
	}
	return func() {
		b.mu.Lock()
		who.relays--
		last := who.relays == 0
		b.mu.Unlock()
		if !last {
			return
		}
		select {
		case b.places <- struct{}{}:
		case <-who.ended:
			return
		case <-b.shut:
			return
		}
		if !b.resettle(who) {
			<-b.places
		}
	}
}

// resettle gives who a place that was taken, if it still needs one.
func (b *lobby) resettle(who *guest) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-who.ended:
		return false
	default:
	}
	if who.placed || who.relays > 0 {
		return false
	}
	who.placed = true
	return true
}

// guestKey is by what the context of a connection knows its guest.
type guestKey struct{}

// context is for http.Server.ConnContext.
func (b *lobby) context(ctx context.Context, c net.Conn) context.Context {
	b.mu.Lock()
	who := b.guests[c]
	b.mu.Unlock()
	if who == nil {
		return ctx
	}
	ctx = context.WithValue(ctx, guestKey{}, who)
	return fanout.WithRelays(ctx, func() func() { return b.relayed(who) })
}

// handler answers those who are to come back; the rest is for h.
func (b *lobby) handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := r.Context().Value(guestKey{}).(*guest)
		if who != nil {
			who.asked.Store(true)
		}
		if who == nil || !who.later {
			h.ServeHTTP(w, r)
			return
		}
		b.turned.Add(1)
		b.mu.Lock()
		seconds := b.rota.deal(time.Now(), b.line.Len()+len(b.places))
		b.mu.Unlock()
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		w.Header().Set("Connection", "close")
		http.Error(w, "too many are connecting at this moment", http.StatusServiceUnavailable)
	})
}

// Close ends the listener and the line. Called again it returns the same: the server
// closes it too once Accept has failed.
func (b *lobby) Close() error {
	b.once.Do(func() {
		close(b.shut)
		b.closed = b.Listener.Close()
		b.disband()
	})
	return b.closed
}

// disband closes who is in line.
func (b *lobby) disband() {
	b.mu.Lock()
	line := b.line
	b.line = list.List{}
	b.mu.Unlock()
	for e := line.Front(); e != nil; e = e.Next() {
		_ = e.Value.(inLine).conn.Close() // nothing was said on it
	}
}
