package fanout

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
)

// errEnded stops the parsing of a connection that has no more to say.
var errEnded = errors.New("fanout: connection ended")

// order is what the hub tells all shards.
type order uint32

const (
	orderNone  order = iota
	orderDrain       // say goodbye to everybody
	orderCut         // close what is left
)

// shard serves a share of the connections on one goroutine, its poller's. All that
// others may touch are the inbox, the list of dirty feeds, load, order and the
// counters.
type shard struct {
	// Static.
	hub       *Hub
	config    *Config
	index     int
	poller    *poll.Poller
	onMessage func(ws.OpCode, []byte) error
	stats     stats

	// Atomics.
	load       atomic.Int32         // connections, those in the inbox included
	dirty      atomic.Pointer[feed] // topics that have more in their rings
	order      atomic.Uint32
	shed       atomic.Bool  // drop the connection that is stalled longest
	reconsider atomic.Bool  // what grants hold may have changed
	stall      atomic.Int64 // when the longest stall began (ns on the shard's clock), 0: none

	// mu guards what follows. Nothing is called while it is held.
	mu       sync.Mutex
	arrivals []Accepted
	verdicts []verdict // at most one a connection

	// Owned by the poller's goroutine.
	now       time.Time     // of this turn or event
	since     time.Duration // the same, since the hub began; the shard's clock
	turns     uint64
	deliverAt time.Duration // not before, see Config.BatchDelay
	sweepAt   time.Duration
	sweepDue  time.Time // of the next sweep, on the real clock
	wakeAt    time.Time // the poller's deadline, on the real clock
	ended     time.Time // the last turn, on the real clock
	scheduled time.Time // the goroutine, by the runtime, as far as yield knows
	sweeps    uint64
	obeyed    order
	conns     []*conn
	krakens   []*conn // those that speak Kraken's protocol; some may have ended
	swept     int     // conns below it have been looked at in this round
	feeds     map[proto.TopicKey]*feed
	queue     []*conn       // to be served in the next turn
	serving   []*conn       // the queue's other half
	patient   line          // have something to be read that came when the turn had no time for it
	greedy    line          // were read and may have more, which no event tells of
	received  int           // bytes, since the last turn began to read
	busy      time.Duration // reading them, and doing what they ask for
	stalls    stalls        // blocked connections, longest first
	farewell  []*conn       // closing connections, by deadline
	leaving   []*conn       // open connections of a server that stops, by deadline; some may have ended
	waiting   []behind
	wildcards map[*subscription]*wildcard // by what reads their listings; nil until there is one
	unfold    []*subscription             // of those, to be looked at
	ticks     [len(intervals)]tick
	pauses    pauses // capped connections that wait
	batch     batch
	passes    passes     // that end, the next first
	sentNow   sentCounts // not in stats yet
	encoder   encoder
	deflater  deflater
	arena     []byte // runs of this turn
	tokenRoom []byte // a resume token, before it is encoded
	inbox     []byte // one connection's receive
	fresh     inbound
	jitter    *rand.Rand
	reading   *conn // whose message is being handled
	coming    int   // items of it that have yet to begin, the present one included; 0: not known
}

const (
	// sweepEvery is how often timers are looked at, and so how late they may be.
	sweepEvery = 250 * time.Millisecond
	// expireSweeps is how many sweeps lie between two looks at idle topics.
	expireSweeps = 4
	// arenaBytes bounds the runs that a turn shares; beyond it they are not shared.
	arenaBytes = 512 << 10
)

func newShard(h *Hub, index int) (*shard, error) {
	s := &shard{
		hub: h, config: &h.config, index: index,
		feeds:    make(map[proto.TopicKey]*feed),
		arena:    make([]byte, 0, arenaBytes),
		inbox:    make([]byte, receiveBytes),
		deflater: deflater{level: h.config.DeflateLevel, least: h.config.DeflateMin},
		jitter:   rand.New(rand.NewPCG(uint64(h.config.Now().UnixNano()), uint64(index))),
	}
	s.batch.joined = make([]byte, 0, batchBytes+h.config.MaxBytesPerTurn)
	s.onMessage = s.message
	s.look()
	var err error
	s.poller, err = poll.New(poll.Config{Turn: s.turn, OnFatal: h.config.OnFatal})
	return s, err
}

// look reads the clock.
func (s *shard) look() {
	s.now = s.config.Now()
	s.since = s.now.Sub(s.hub.started)
}

// post puts a connection into the inbox. Any goroutine may call it.
func (s *shard) post(a Accepted) {
	a.Buffered = append([]byte(nil), a.Buffered...)
	s.mu.Lock()
	s.arrivals = append(s.arrivals, a)
	s.mu.Unlock()
	s.poller.Wake()
}

// turn is what the shard does whenever it was woken: inbox, then delivery of what
// is new in the rings, then timers.
func (s *shard) turn() {
	s.look()
	s.turns++
	s.arena = s.arena[:0]

	s.takeArrivals()
	s.obey()
	s.takeVerdicts()
	s.reread()
	if s.config.BatchDelay == 0 || s.since >= s.deliverAt {
		s.takeDirty()
	}
	s.tick()
	s.resumeCapped()
	s.settleAll()
	s.unfoldAll()
	s.closeLeaving()
	s.serveQueue()
	if s.since >= s.sweepAt {
		s.sweep()
		s.serveQueue()
	}
	s.limitPinned()
	if s.unfinished() {
		s.poller.Wake()
	}
	now := time.Now()
	s.setTimer(now)
	s.yield(now)
}

// setTimer asks for the turn of the next sweep, tick or end of a pause. The timer
// runs on the real clock, also where a test has replaced the shard's.
func (s *shard) setTimer(now time.Time) {
	if !now.Before(s.sweepDue) {
		s.sweepDue = now.Add(sweepEvery)
	}
	at := s.sweepDue
	if tick, any := s.nextTick(); any {
		at = earlier(at, now.Add(tick.Sub(s.now)))
	}
	if s.deliverAt > s.since && s.dirty.Load() != nil {
		at = earlier(at, now.Add(s.deliverAt-s.since))
	}
	if len(s.leaving) > 0 {
		at = earlier(at, now.Add(s.leaving[0].deadline-s.since))
	}
	if len(s.pauses) > 0 {
		at = earlier(at, now.Add(s.pauses[0].until-s.since))
	}
	if !now.Before(s.wakeAt) || at.Before(s.wakeAt.Add(-timerSlack)) {
		s.wakeAt = at
		s.poller.WakeAt(at)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// timerSlack is by how much a turn may be late rather than set the timer anew.
const timerSlack = 100 * time.Microsecond

// yield lets the scheduler see the shard's goroutine, after the turn that ends now.
// Of one that it has not seen for monitorAfter the runtime's monitor takes the P as
// soon as it waits in epoll_wait, and then, whenever the shard is woken, looks around
// every 20 µs for a while, on the processor that the shard is to have
// (docs/performance.md, "Delivery"). One that it has seen keeps its P while it waits
// for up to monitorAfter; who waited longer is scheduled when it is woken.
func (s *shard) yield(now time.Time) {
	if s.now.Sub(s.ended) >= monitorAfter {
		s.scheduled = s.now
	}
	s.ended = now
	if now.Sub(s.scheduled) >= yieldEvery {
		s.scheduled = now
		runtime.Gosched()
	}
}

const (
	monitorAfter = 10 * time.Millisecond // runtime.forcePreemptNS
	yieldEvery   = 4 * time.Millisecond
)

func (s *shard) takeArrivals() {
	s.mu.Lock()
	arrivals := s.arrivals
	s.arrivals = nil
	s.mu.Unlock()
	for i := range arrivals {
		s.welcome(&arrivals[i])
	}
}

// welcome begins to serve a connection.
func (s *shard) welcome(a *Accepted) {
	c := &conn{
		shard: s, transport: a.transport, remote: a.Remote, fd: int32(a.FD), framing: a.framing, deflate: a.deflate, events: a.events,
		heard: s.since, place: uint32(len(s.conns)), address: a.address,
	}
	s.issue(c, a.grant)
	if c.transport == nil {
		c.transport = (*plain)(c)
	}
	if c.events != nil {
		c.framing = framingEvents
	}
	s.conns = append(s.conns, c)
	if c.deflate != 0 {
		s.stats.deflating.Add(1)
	}
	s.stats.accepted.Add(1)
	if err := s.poller.Add(a.FD, poll.In|poll.PeerIn, c); err != nil {
		s.config.Log.Error("cannot serve a connection", "remote", c.remote, "err", errors.Join(ErrTransport, err))
		s.stats.drops[DropInternal].Add(1)
		s.close(c)
		return
	}
	switch {
	case s.config.Echo:
	case c.framing.dialect():
		s.greet(c, a.streams)
	default:
		s.hello(c)
	}
	if c.events != nil {
		s.sayRetry(c, minRetryMS+s.jitter.IntN(minRetryMS))
		s.askFor(c)
	}
	if len(a.Buffered) > 0 {
		s.parse(c, a.Buffered)
	}
	if c.state != closed {
		s.listen(c) // what TLS has read ahead no event tells of
	}
	if c.state == closed {
		return
	}
	if s.obeyed != orderNone {
		s.drain(c, 0)
	}
	s.enqueue(c)
}

// obey carries out the hub's last order, once.
func (s *shard) obey() {
	o := order(s.order.Load())
	if o == s.obeyed {
		return
	}
	s.obeyed = o
	if o == orderDrain {
		s.drainAll()
		return
	}
	for i := len(s.conns) - 1; i >= 0; i-- {
		s.cut(s.conns[i], DropShutdown)
	}
}

// takeDirty lists what has something new pending.
func (s *shard) takeDirty() {
	f := s.dirty.Swap(nil)
	if f != nil {
		s.deliverAt = s.since + s.config.BatchDelay
	}
	for f != nil {
		next := f.next
		f.next = nil
		f.dirty.Store(false) // from here on the writer may list it again
		f.active = s.since
		f.round(s.list)
		for _, p := range f.paces {
			s.pend(p)
		}
		f = next
	}
}

// list notes that sub may have something pending.
func (s *shard) list(sub *subscription) {
	if sub.state == apart {
		if !sub.listed {
			sub.listed = true
			s.unfold = append(s.unfold, sub)
		}
		return
	}
	c := sub.conn
	if c.blocked {
		return // it will be scanned
	}
	if !sub.listed {
		sub.listed = true
		sub.dirty, c.listed = c.listed, sub
	}
	s.enqueue(c)
}

// enqueue lets c be served in the next turn, or in this one if that is to come.
func (s *shard) enqueue(c *conn) {
	if !c.queued {
		c.queued = true
		s.queue = append(s.queue, c)
	}
}

func (s *shard) serveQueue() {
	s.serving, s.queue = s.queue, s.serving[:0]
	for rest := s.serving; len(rest) > 0; {
		rest = rest[s.serve(rest):]
	}
	clear(s.serving)
	s.serving = s.serving[:0]
	s.stats.add(&s.sentNow)
}
