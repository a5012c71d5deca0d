package fanout

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// Books is where views come from. Its errors are those of proto.
type Books interface {
	// OpenView opens the view of key. Under the partition's lock it first calls
	// t.Opened(view, wakes), and from then on tells t every change, in order.
	OpenView(key proto.TopicKey, t *Topic) error
	// ReadView fills s with the state of key at this moment, without opening a
	// view that stays.
	ReadView(key proto.TopicKey, s *proto.Snapshot) error
	// Symbols lists what is known.
	Symbols() []proto.SymbolInfo
	// CaughtUp reports whether what is not known does not exist.
	CaughtUp() bool
}

// errOverloaded refuses a topic beyond Config.MaxTopics, all of which have readers.
var errOverloaded = errors.New("fanout: as many topics as configured")

// errNumbers refuses what needs a number when all have been given out: a client that met
// one again would take one book for another. Years of new topics come to that.
var errNumbers = fmt.Errorf("%w: no numbers are left", errOverloaded)

// maxNumber is the last one that is given out, but to topics that are being opened then.
const maxNumber = math.MaxUint32 - 1<<16

// errPatterns refuses a pattern beyond Config.MaxPatterns.
var errPatterns = fmt.Errorf("%w: as many patterns as configured", errOverloaded)

// Hub holds the topics and the shards. All methods are for any goroutine.
type Hub struct {
	// Static after New.
	config  Config
	started time.Time
	nonce   uint32 // tells this process from others
	shards  []*shard
	budget  *ring.Budget
	merged  *mergedFrames
	pairs   *pairs

	wholeReads *rate.Limiter
	addresses  *peer.Counts   // connections
	accounts   *peer.Accounts // what users and addresses have been sent, see Config.SnapshotBytesPerUser
	relaying   *peer.Counts   // relays
	asking     *peer.Rates    // requests over HTTP
	symbolList symbolList

	// Atomics.
	pinned atomic.Int64 // bytes kept for slow readers; see Config.PinnedBytes
	relays atomic.Int64 // open
	window atomic.Int64 // ns over which the ends of connections are spread, once they end
	conns  atomic.Int64 // admitted and not yet closed
	stats  hubStats
	users  users
	checks checks

	// mu guards the fields below, and those of topics that say so. It comes before
	// no other lock: nothing is called while it is held.
	mu         sync.Mutex
	topics     map[proto.TopicKey]*Topic
	ended      map[*Topic]struct{} // whose instrument has ended, and whose key another topic has
	patterns   int                 // of topics, those over patterns
	idle       idleTopics
	lastNumber uint32
	closed     bool
	emptied    chan struct{} // closed when the hub is and the last connection has gone
}

// New starts the shards of a hub. Errors wrap ErrConfig or come from the system.
func New(c Config) (*Hub, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	h := &Hub{
		config:  c,
		started: c.Now(),
		nonce:   newNonce(),
		budget:  ring.NewBudget(c.AllRingsBytes),
		merged:  newMergedFrames(c.MergedBytes),
		topics:  make(map[proto.TopicKey]*Topic),
		ended:   make(map[*Topic]struct{}),
		emptied: make(chan struct{}),
		users:   users{conns: make(map[string]int)},
		checks:  newChecks(),

		accounts:   peer.NewAccounts(),
		relaying:   peer.NewCounts(c.MaxRelaysPerAddress, c.ExemptAddresses),
		asking:     peer.NewRates(c.HTTPRequestsPerAddress, httpBurst*c.HTTPRequestsPerAddress, c.ExemptAddresses),
		wholeReads: rate.NewLimiter(rate.Limit(c.WholeReads), 2*c.WholeReads),
		shards:     make([]*shard, c.Shards),
	}
	h.addresses = peer.NewCounts(c.MaxConnsPerAddress, c.ExemptAddresses)
	if c.SnapshotBytesPerUser > 0 {
		h.addresses.Keep(h.accounts)
	}
	h.pairs = &pairs{hub: h, venue: c.DialectVenue, told: make(map[string]bool)}
	for i := range h.shards {
		s, err := newShard(h, i)
		if err != nil {
			for _, started := range h.shards[:i] {
				_ = started.poller.Close() // the error that counts is err
			}
			return nil, err
		}
		h.shards[i] = s
	}
	for _, s := range h.shards {
		s.poller.Wake() // sets its first timer
	}
	return h, nil
}

// now returns the time in ns since 1970.
func (h *Hub) now() int64 { return h.config.Now().UnixNano() }

// ReadView is Books.ReadView, for those who answer a single question.
func (h *Hub) ReadView(key proto.TopicKey, s *proto.Snapshot) error {
	return h.config.Books.ReadView(key, s)
}

// Symbols is Books.Symbols.
func (h *Hub) Symbols() []proto.SymbolInfo { return h.config.Books.Symbols() }

// checkEmptied tells Shutdown when there is nothing left to wait for. Under mu,
// so that no connection can be admitted between the two conditions.
func (h *Hub) checkEmptied() {
	if !h.closed || h.conns.Load() > 0 {
		return
	}
	select {
	case <-h.emptied:
	default:
		close(h.emptied)
	}
}

// acquire returns the topic of key for one more shard, opening it if need be,
// which takes the partition's lock. Each success is followed by one release.
//
// A symbol's price increment is free again when the last of its views has closed,
// so several topics may have to give way to a new one.
func (h *Hub) acquire(key proto.TopicKey) (*Topic, error) {
	t, err := h.opened(key)
	for n := 0; n < h.config.MaxTopics && errors.Is(err, proto.ErrTooManyGroups) && h.evict(kindOf(key)); n++ {
		t, err = h.opened(key)
	}
	return t, err
}

// opened is one attempt of acquire.
func (h *Hub) opened(key proto.TopicKey) (*Topic, error) {
	t, err := h.reserve(key)
	if err == errOverloaded && h.evict(topicKind{}) || err == errPatterns && h.evict(kindOf(key)) {
		t, err = h.reserve(key)
	}
	if err != nil {
		return nil, err
	}
	t.once.Do(func() { t.err = h.open(t) })
	if t.err != nil {
		return nil, t.err
	}
	return t, nil
}

// reserve counts a reader of key's topic, making the topic if there is none.
func (h *Hub) reserve(key proto.TopicKey) (*Topic, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	t := h.topics[key]
	if t == nil || t.ended.Load() {
		if h.lastNumber >= maxNumber {
			return nil, errNumbers
		}
		if len(h.topics)+len(h.ended) >= h.config.MaxTopics {
			return nil, errOverloaded
		}
		if isPattern(key) && h.patterns >= h.config.MaxPatterns {
			return nil, errPatterns
		}
		var err error
		if t, err = newTopic(h, key); err != nil {
			return nil, err
		}
		h.replace(t)
	}
	if t.readers++; t.readers == 1 {
		h.idle.remove(t)
	}
	return t, nil
}

// replace makes t the topic of its key. One that has ended goes on under no name
// until its readers have left. Under mu.
func (h *Hub) replace(t *Topic) {
	if old := h.topics[t.key]; old != nil {
		h.ended[old] = struct{}{}
	} else if isPattern(t.key) {
		h.patterns++
	}
	h.topics[t.key] = t
}

// strike takes t off the topics, and reports whether it was one. Under mu.
func (h *Hub) strike(t *Topic) bool {
	if h.topics[t.key] != t {
		return false
	}
	delete(h.topics, t.key)
	if isPattern(t.key) {
		h.patterns--
	}
	return true
}

// open opens the view of t. One that cannot be opened is forgotten, so that the
// next who asks tries again.
func (h *Hub) open(t *Topic) error {
	err := h.config.Books.OpenView(t.key, t)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.strike(t)
		return err
	}
	h.lastNumber++
	t.number = h.lastNumber
	return nil
}

func newNonce() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.NativeEndian.Uint32(b[:])
}

// newNumber returns one that no topic has, or errNumbers.
func (h *Hub) newNumber() (uint32, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lastNumber >= maxNumber {
		return 0, errNumbers
	}
	h.lastNumber++
	return h.lastNumber, nil
}

// Shutdown ends the hub: no connection is admitted any more; each is sent a drain
// frame, and a close frame (1001) at its time within Config.DrainWindow, or what ctx
// leaves of it, and is given until ctx ends to read them. It returns ctx's error if connections were cut off then.
// A second call returns ErrClosed.
func (h *Hub) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return ErrClosed
	}
	h.closed = true
	h.checkEmptied()
	h.mu.Unlock()
	defer h.checks.end()

	window := h.config.DrainWindow
	if end, bounded := ctx.Deadline(); bounded {
		window = max(0, min(window, time.Until(end)-h.config.CloseTimeout))
	}
	h.window.Store(int64(window))
	h.tell(orderDrain)
	var err error
	select {
	case <-h.emptied:
	case <-ctx.Done():
		err = ctx.Err()
		h.tell(orderCut)
		select {
		case <-h.emptied: // every shard closes what it has in its next turn
		case <-time.After(h.config.CloseTimeout): // a shard's loop has ended before
		}
	}
	for _, s := range h.shards {
		if closing := s.poller.Close(); closing != nil && err == nil {
			err = closing
		}
	}
	h.closeIdle(func(*Topic) bool { return true })
	return err
}

// tell gives every shard an order.
func (h *Hub) tell(o order) {
	for _, s := range h.shards {
		s.order.Store(uint32(o))
		s.poller.Wake()
	}
}
