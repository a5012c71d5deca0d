package feed

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// MarketConfig says what market is simulated.
type MarketConfig struct {
	// Seed fixes everything that is drawn: the same seed and the same times given
	// to Step make the same batches.
	Seed uint64
	// Rate is the mean number of events a second, all instruments together.
	// Default 2,000; at most 5,000,000.
	Rate int
	// Instruments is how many are listed, the busiest first. Default and maximum 20.
	Instruments int
	// SnapshotEvery is how often each symbol's whole book is sent, so that a start
	// after retention becomes live. Default 30 s, at least 1 s.
	SnapshotEvery time.Duration
}

func (c *MarketConfig) validate() error {
	most := len(instruments())
	if c.Rate == 0 {
		c.Rate = 2000
	}
	if c.Instruments == 0 {
		c.Instruments = most
	}
	if c.SnapshotEvery == 0 {
		c.SnapshotEvery = 30 * time.Second
	}
	if c.Rate < 1 || c.Rate > 5_000_000 || c.Instruments < 1 || c.Instruments > most || c.SnapshotEvery < time.Second {
		return fmt.Errorf("%w: a market of %d events/s, %d instruments, snapshots every %v; want 1 to 5000000, 1 to %d, 1s or more",
			ErrConfig, c.Rate, c.Instruments, c.SnapshotEvery, most)
	}
	return nil
}

// SimFeed is the feed of all simulated symbols.
const SimFeed = "SIM"

// Bounds of the simulated market.
const (
	maxStep       = 250 * time.Millisecond // of a Step: after a longer pause the market did not move
	maxStepEvents = 1 << 16                // owed at a Step; more are given up
	maxLiveOrders = 4096                   // per instrument
	snapshotPart  = 256                    // orders in one record of a snapshot
	openingBatch  = 128                    // orders in one record of the opening
)

// Market is a simulated market, order by order. It reads no clock and is not
// safe for concurrent use.
type Market struct {
	cfg     MarketConfig
	rand    *rand.Rand
	books   []*marketBook
	shares  []uint64 // running sums of how busy the instruments are
	session string
	started bool
	now     int64
	due     int64 // events owed, in billionths
	burst   int   // how much faster than calm events come now
	turn    int64 // when that changes

	out []*proto.Batch // batches to be used again come after len
}

// marketBook is one instrument's market.
type marketBook struct {
	instrument
	orders
	fair      int64 // fair price, 1/256 tick
	phase     proto.Phase
	phaseEnd  int64
	sourceSeq uint64
	nextOrder uint64
	nextTrade uint64

	statistics   proto.Statistics
	traded       bool // since the last statistics
	snapshotDue  int64
	secondDue    int64 // of heartbeat and indicative price
	statisticDue int64
}

// NewMarket makes a market that opens at the first Step.
func NewMarket(cfg MarketConfig) (*Market, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m := &Market{cfg: cfg, rand: rand.New(rand.NewPCG(cfg.Seed, 0x5eed)), burst: 1}
	total := uint64(0)
	for i, in := range instruments()[:cfg.Instruments] {
		total += 1_000_000 / uint64(i+1)
		m.shares = append(m.shares, total)
		m.books = append(m.books, &marketBook{
			instrument: in, orders: newOrders(), fair: in.anchor * 256, phase: proto.Continuous,
		})
	}
	return m, nil
}

// Symbols are the names of all instruments, the busiest first.
func (m *Market) Symbols() []string {
	names := make([]string, len(m.books))
	for i, b := range m.books {
		names[i] = b.symbol
	}
	return names
}

// Step lets the market run until now (ns since 1970) and returns what happened,
// in order, each batch one record. They are valid until the next Step. The first
// Step opens the market.
func (m *Market) Step(now int64) []*proto.Batch {
	m.out = m.out[:0]
	if !m.started {
		m.open(now)
		return m.out
	}
	from := max(m.now, now-int64(maxStep))
	if now <= m.now {
		return m.out
	}
	m.now = now
	m.timers(now)
	m.pace(now)
	m.due += (now - from) * int64(m.cfg.Rate) * int64(m.burst) / meanBurst
	m.due = min(m.due, maxStepEvents*1e9)
	owed := max(1, m.due/1e9)
	for done := int64(0); m.due >= 1e9; {
		b := m.pick()
		at := from + (now-from)*min(done, owed)/owed
		r := m.record(b, at)
		m.trade(b, r)
		n := int64(len(r.Events))
		m.seal(b, r)
		done += n
		m.due -= max(n, 1) * 1e9
	}
	return m.out
}

// The market is calm or, for a twentieth of the time, bursts: then events come
// burstFactor times as fast. meanBurst is the mean over time, so that the rate
// asked for is kept.
const (
	burstFactor = 21
	meanBurst   = 2
)

// pace changes between calm and burst.
func (m *Market) pace(now int64) {
	if now < m.turn {
		return
	}
	if m.burst == 1 && m.turn != 0 {
		m.burst = burstFactor
		m.turn = now + int64(50*time.Millisecond) + m.rand.Int64N(int64(100*time.Millisecond))
		return
	}
	m.burst = 1
	m.turn = now + int64(950*time.Millisecond) + m.rand.Int64N(int64(1900*time.Millisecond))
}

// pick draws an instrument, the busy ones more often.
func (m *Market) pick() *marketBook {
	n := m.rand.Uint64N(m.shares[len(m.shares)-1])
	for i, sum := range m.shares {
		if n < sum {
			return m.books[i]
		}
	}
	return m.books[0]
}

// record begins a batch of b's symbol.
func (m *Market) record(b *marketBook, at int64) *proto.Batch {
	n := len(m.out)
	if n < cap(m.out) && m.out[:n+1][n] != nil {
		m.out = m.out[:n+1]
	} else {
		m.out = append(m.out, new(proto.Batch))
	}
	r := m.out[n]
	*r = proto.Batch{
		Symbol: b.symbol, Feed: SimFeed, Session: m.session, VenueTime: at,
		Exponents: b.def.Exponents, HasExponents: true, Events: r.Events[:0],
	}
	return r
}

// seal numbers the events of the last record, or takes it back if it has none.
func (m *Market) seal(b *marketBook, r *proto.Batch) {
	if len(r.Events) == 0 {
		m.out = m.out[:len(m.out)-1]
		return
	}
	r.FirstSourceSeq = b.sourceSeq + 1
	b.sourceSeq += uint64(len(r.Events))
	r.LastSourceSeq = b.sourceSeq
}

// event appends an empty event to r, using its slices again.
func event(r *proto.Batch, kind proto.EventKind) *proto.Event {
	n := len(r.Events)
	if n < cap(r.Events) {
		r.Events = r.Events[:n+1]
	} else {
		r.Events = append(r.Events, proto.Event{})
	}
	e := &r.Events[n]
	*e = proto.Event{Kind: kind, BidOrders: e.BidOrders[:0], AskOrders: e.AskOrders[:0]}
	return e
}
