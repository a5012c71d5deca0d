package swarm

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/depthcast/depthcast/fanout/poll"
)

// Swarm is very many connections and the loop that reads them.
type Swarm struct {
	// Static after New.
	plan      *Plan
	targets   []target
	sources   []net.IP
	poller    *poll.Poller
	links     []*link
	clock     func() int64 // ns since 1970
	shaking   chan struct{}
	ctx       context.Context // ends the dialling
	cancel    context.CancelFunc
	goroutine sync.WaitGroup // of TLS handshakes

	// failed takes the first error that ends the run. joined gets a value whenever
	// all wanted connections have all their snapshots.
	failed chan error
	joined chan struct{}
	ended  chan struct{} // closed when the loop has ended by itself

	// mu guards inbox.
	mu    sync.Mutex
	inbox []func()

	// Owned by the loop.
	buf       []byte
	head      head
	decoder   decoder
	now       int64 // when the bytes at hand were received
	figures   *Figures
	gauges    Gauges
	faults    []*Fault
	untold    []*Fault  // not yet taken
	witnesses []witness // by symbol and depth
	waiting   agenda
	activity  activity
	window    *window
	target    uint32 // deltas that every link is to have at the end of the round
	lacking   int    // links that have fewer
	slowly    bool   // slow readers are slow
	swept     int    // link that was looked at last
}

// receiveBytes is what one read takes: with many connections that have much to say,
// no more, or the others and the clock wait for seconds.
const receiveBytes = 64 << 10

// New makes a swarm that does nothing yet.
func New(plan Plan) (*Swarm, error) {
	if err := plan.Validate(); err != nil {
		return nil, err
	}
	targets, err := plan.targets()
	if err != nil {
		return nil, err
	}
	w := &Swarm{
		plan: &plan, targets: targets, buf: make([]byte, receiveBytes), figures: &Figures{},
		clock: func() int64 { return time.Now().UnixNano() }, shaking: make(chan struct{}, handshaking),
		failed: make(chan error, 1), joined: make(chan struct{}, 1), ended: make(chan struct{}), witnesses: make([]witness, len(plan.Symbols)*len(plan.Depths)),
	}
	for _, text := range plan.Sources {
		ip := net.ParseIP(text)
		if ip == nil {
			return nil, &net.ParseError{Type: "IP address", Text: text}
		}
		w.sources = append(w.sources, ip)
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.links = make([]*link, plan.Conns)
	for i := range w.links {
		w.links[i] = w.newLink(plan.First + i)
	}
	w.poller, err = poll.New(poll.Config{Turn: w.turn, OnFatal: func(err error) { w.give(err); close(w.ended) }})
	return w, err
}

func (w *Swarm) newLink(index int) *link {
	l := &link{swarm: w, index: index, fd: -1, slow: w.plan.ReadsSlowly(index), codec: w.plan.codecOf(index)}
	if w.plan.Dialect != Depthcast {
		return l
	}
	for j, symbol := range w.plan.SymbolsOf(index) {
		s := sub{symbol: symbol, depth: uint8(w.plan.depthOf(index, j)), stage: asked, mine: -1}
		if j >= w.plan.PerConn-w.plan.Later {
			s.stage = off
		}
		if w.plan.full(index) {
			s.full = newFull()
		}
		l.subs = append(l.subs, s)
	}
	return l
}

// Do runs f on the loop and waits for it; false: the loop has ended.
func (w *Swarm) Do(f func()) bool {
	done := make(chan struct{})
	w.post(func() { defer close(done); f() })
	select {
	case <-done:
		return true
	case <-w.ended:
		return false
	case <-w.ctx.Done():
		return false
	}
}

// post has f run on the loop.
func (w *Swarm) post(f func()) {
	w.mu.Lock()
	w.inbox = append(w.inbox, f)
	w.mu.Unlock()
	w.poller.Wake()
}

// Failed tells of the error that makes the run pointless.
func (w *Swarm) Failed() <-chan error { return w.failed }

// Joined tells, once for each time, that every wanted connection has all its
// snapshots.
func (w *Swarm) Joined() <-chan struct{} { return w.joined }

// give ends the run with an error; the first counts. Any goroutine may call it.
func (w *Swarm) give(err error) {
	select {
	case w.failed <- err:
	default:
	}
}

// Close ends all connections, without goodbye, and the loop.
func (w *Swarm) Close() error {
	w.Do(func() {
		w.activity = activity{}
		w.waiting = nil
		for _, l := range w.links {
			if l.phase != closed && l.fd >= 0 {
				l.close()
			}
		}
	})
	w.cancel()
	w.goroutine.Wait()
	return w.poller.Close()
}

// Take returns what was counted since the last time.
func (w *Swarm) Take() Sample {
	var s Sample
	w.Do(func() {
		s = Sample{Figures: *w.figures, Gauges: w.gauges, Faults: w.untold}
		w.figures, w.untold = &Figures{}, nil
	})
	return s
}

// tick is how often the loop looks at its agenda and activity.
const tick = 5 * time.Millisecond

// turn runs on the loop after Do and at every tick.
func (w *Swarm) turn() {
	w.mu.Lock()
	inbox := w.inbox
	w.inbox = nil
	w.mu.Unlock()
	w.now = w.clock()
	for _, f := range inbox {
		f()
	}
	w.due()
	if w.advance() || len(w.waiting) > 0 {
		w.poller.WakeAt(time.Now().Add(tick))
	}
}

// everybody tells Joined when nobody is missing.
func (w *Swarm) everybody() {
	if w.gauges.Joined < w.gauges.Want || w.gauges.Want == 0 {
		return
	}
	select {
	case w.joined <- struct{}{}:
	default:
	}
}

// source is the local address of a connection; nil: the kernel's choice.
func (w *Swarm) source(index int) *net.TCPAddr {
	if len(w.sources) == 0 {
		return nil
	}
	return &net.TCPAddr{IP: w.sources[index/w.plan.PerSource%len(w.sources)]}
}

// shakeHands connects with TLS on a goroutine, of which few work at a time, and
// comes back to the loop.
func (w *Swarm) shakeHands(l *link, t *target, from *net.TCPAddr, buffer int) {
	w.goroutine.Go(func() {
		select {
		case w.shaking <- struct{}{}:
		case <-w.ctx.Done():
			return
		}
		conn, fd, err := dialTLS(w.ctx, t, from, buffer)
		<-w.shaking
		w.post(func() { w.shaken(l, conn, fd, err) })
	})
}

func (w *Swarm) shaken(l *link, conn *tls.Conn, fd int, err error) {
	if l.phase != connecting || l.fd >= 0 { // given up meanwhile
		if err == nil {
			_ = poll.Close(fd) // nobody knows of it
		}
		return
	}
	w.now = w.clock()
	l.secured(conn, fd, err)
}

var _ receiver = (*link)(nil)
