// Package feed produces a load into Kafka for the bench: books of its own symbols
// that change at a given rate. The venue time of a record is the moment at which it
// was intended to be produced, in ns, so that whatever holds a record up, the feed
// included, counts as its latency (no coordinated omission).
package feed

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/depthcast/depthcast/proto"
)

// ErrConfig marks a configuration that cannot work.
var ErrConfig = errors.New("feed: bad configuration")

// Config says what to produce, and where.
type Config struct {
	Brokers    []string // host:port. Required
	Security   Security
	KafkaTopic string   // must exist. Default depthcast.events
	Symbols    []string // Required
	Rate       float64  // records a second, all symbols together; 0: only what Publish is told
	Burst      int      // records produced back to back, of one symbol. Default 1
	Zipf       float64  // exponent of the symbols' activity; 0: in turn
	Levels     int      // levels that a record changes. Default 5
	Depth      int      // levels a side of each book. Default 50
	Seed       uint64
}

// maxLevels bounds the books, which are produced whole at the start.
const maxLevels = 1000

func (c *Config) validate() error {
	if c.KafkaTopic == "" {
		c.KafkaTopic = "depthcast.events"
	}
	if c.Burst == 0 {
		c.Burst = 1
	}
	if c.Levels == 0 {
		c.Levels = 5
	}
	if c.Depth == 0 {
		c.Depth = 50
	}
	switch {
	case len(c.Brokers) == 0 || len(c.Symbols) == 0:
		return fmt.Errorf("%w: no brokers or no symbols", ErrConfig)
	case c.Rate < 0 || c.Zipf < 0 || c.Burst < 1:
		return fmt.Errorf("%w: a rate, burst or exponent out of range", ErrConfig)
	case c.Levels < 1 || c.Depth < 1 || c.Depth > maxLevels || c.Levels > 2*c.Depth:
		return fmt.Errorf("%w: %d levels changed of %d a side", ErrConfig, c.Levels, c.Depth)
	}
	return nil
}

// Symbols names n symbols that no venue has.
func Symbols(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("BENCH:%05d", i)
	}
	return names
}

// feedName is what silence is judged by.
const feedName = "bench"

// Feed is a producer at work.
type Feed struct {
	// Static.
	config  Config
	client  *kgo.Client
	session string
	parts   int32     // partitions of the Kafka topic
	ranks   []float64 // running sums of weights; nil: in turn

	// mu guards what follows: run produces, and who calls Publish.
	mu     sync.Mutex
	books  []book
	random *rand.Rand
	turn   int
	buf    []byte

	offered []atomic.Uint64
	failed  chan error
	ctx     context.Context // ends producing at the rate
	cancel  context.CancelFunc
	done    chan struct{}
}

// Open connects, produces the whole books, and begins to produce at the rate.
func Open(ctx context.Context, c Config) (*Feed, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	f := &Feed{
		config: c, session: strconv.FormatInt(time.Now().UnixNano(), 36), random: rand.New(rand.NewPCG(c.Seed, 1)),
		books: make([]book, len(c.Symbols)), offered: make([]atomic.Uint64, len(c.Symbols)),
		failed: make(chan error, 1), done: make(chan struct{}),
	}
	if c.Zipf > 0 {
		total := 0.0
		for i := range c.Symbols {
			total += 1 / math.Pow(float64(i+1), c.Zipf)
			f.ranks = append(f.ranks, total)
		}
	}
	secure, err := c.Security.options()
	if err != nil {
		return nil, err
	}
	if c.Rate == 0 {
		secure = append(secure, kgo.ManualFlushing()) // see release
	}
	f.client, err = kgo.NewClient(append(secure, kgo.SeedBrokers(c.Brokers...), kgo.DefaultProduceTopic(c.KafkaTopic), kgo.ProducerLinger(0), kgo.RequestRetries(4),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordPartitioner(partitioner))...)
	if err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	if err := f.begin(ctx); err != nil {
		f.cancel()
		f.client.Close()
		return nil, err
	}
	go f.run(f.ctx)
	return f, nil
}

// partitioner keeps a symbol in one partition; a record without a key says where it
// goes.
var partitioner = kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
	return func(r *kgo.Record, n int) int {
		if r.Key == nil {
			return int(r.Partition) % n
		}
		h := fnv.New32a()
		_, _ = h.Write(r.Key) // never fails
		return int(h.Sum32() % uint32(n))
	}
})

// connectWithin bounds the time until the broker has the first books.
const connectWithin = 20 * time.Second

// begin learns the partitions and produces every book whole.
func (f *Feed) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &f.config.KafkaTopic
	req.Topics = append(req.Topics, topic)
	answer, err := req.RequestWith(ctx, f.client)
	if errors.Is(err, io.EOF) && f.config.Security.Mechanism != "" {
		return fmt.Errorf("feed: %v end the connection: check the SASL mechanism, user and password: %w", f.config.Brokers, err)
	}
	if err != nil {
		return fmt.Errorf("feed: %v: %w", f.config.Brokers, err)
	}
	if len(answer.Topics) == 1 {
		f.parts = int32(len(answer.Topics[0].Partitions))
	}
	if f.parts == 0 {
		return fmt.Errorf("feed: there is no Kafka topic %s", f.config.KafkaTopic)
	}
	now := time.Now().UnixNano()
	for i := range f.books {
		b := &f.books[i]
		for j := range f.config.Depth {
			b.bids = append(b.bids, proto.Level{Price: middle - 1 - int64(j), Qty: 1 << 20})
			b.asks = append(b.asks, proto.Level{Price: middle + 1 + int64(j), Qty: 1 << 20})
		}
		f.send(i, now, proto.Event{Kind: proto.EventSnapshot, Bids: b.bids, Asks: b.asks})
	}
	f.heartbeat()
	if err := f.client.Flush(ctx); err != nil {
		return fmt.Errorf("feed: %v: %w", f.config.Brokers, err)
	}
	return f.err()
}

// heartbeatEvery is well below the silence that servers bear (--max-silence, 10 s).
const heartbeatEvery = 2 * time.Second

// run produces at the rate until Close. Records are due at fixed moments from the
// start on; what is late is made up for at once.
func (f *Feed) run(ctx context.Context) {
	defer close(f.done)
	heartbeat := time.NewTicker(heartbeatEvery)
	defer heartbeat.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	if f.config.Rate == 0 {
		timer.Stop()
	}
	start := time.Now()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-heartbeat.C:
			f.mu.Lock()
			f.heartbeat()
			f.mu.Unlock()
			f.release()
		case <-timer.C:
			due := start.Add(time.Duration(float64(n) * float64(f.config.Burst) / f.config.Rate * 1e9))
			for ; time.Until(due) <= 0 && ctx.Err() == nil; n++ {
				f.mu.Lock()
				f.change(f.choose(), f.config.Burst, due.UnixNano())
				f.mu.Unlock()
				due = start.Add(time.Duration(float64(n+1) * float64(f.config.Burst) / f.config.Rate * 1e9))
			}
			timer.Reset(time.Until(due))
		}
	}
}

// choose picks the symbol of the next burst.
func (f *Feed) choose() int {
	if f.ranks == nil {
		f.turn = (f.turn + 1) % len(f.books)
		return f.turn
	}
	at, _ := slices.BinarySearch(f.ranks, f.random.Float64()*f.ranks[len(f.ranks)-1])
	return min(at, len(f.books)-1)
}

// Publish produces k records of a symbol at once, in one batch, for a feed without a
// rate. It does not wait for the broker.
func (f *Feed) Publish(symbol, k int, intended time.Time) error {
	f.mu.Lock()
	f.change(symbol, k, intended.UnixNano())
	f.mu.Unlock()
	f.release()
	return f.err()
}

// release lets go what was produced without a rate, where the client would send the
// first record for itself and the rest after it.
func (f *Feed) release() {
	if f.config.Rate == 0 {
		go func() { _ = f.client.Flush(f.ctx) }() // each record tells of its own error
	}
}

// heartbeat tells every partition that the feed lives.
func (f *Feed) heartbeat() {
	for p := range f.parts {
		f.produce(&kgo.Record{Partition: p}, &proto.Batch{Feed: feedName, Events: []proto.Event{{Kind: proto.EventHeartbeat}}})
	}
}

func (f *Feed) produce(r *kgo.Record, b *proto.Batch) {
	f.buf = proto.AppendEvents(f.buf[:0], b)
	r.Value = append([]byte(nil), f.buf...)
	f.client.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
		if err != nil {
			select {
			case f.failed <- fmt.Errorf("feed: %w", err):
			default: // the first is enough
			}
		}
	})
}

// err takes the first error of a record that was given up.
func (f *Feed) err() error {
	select {
	case err := <-f.failed:
		return err
	default:
		return nil
	}
}

// Offered returns how many changes were produced so far, by symbol.
func (f *Feed) Offered() []uint64 {
	all := make([]uint64, len(f.offered))
	for i := range all {
		all[i] = f.offered[i].Load()
	}
	return all
}

// Failed tells of the first record that was given up.
func (f *Feed) Failed() <-chan error { return f.failed }

// Finish ends producing at the rate and waits, within ctx, for what was produced.
func (f *Feed) Finish(ctx context.Context) error {
	f.cancel()
	select {
	case <-f.done:
	case <-ctx.Done():
		return fmt.Errorf("feed: the brokers take nothing: %w", ctx.Err())
	}
	if err := f.client.Flush(ctx); err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	return f.err()
}

// Hash returns the state hash of a view of a symbol's book, which nobody is
// changing: after Finish, or between calls of Publish. depth 0: all levels.
func (f *Feed) Hash(symbol int, depth uint32) uint32 {
	b := &f.books[symbol]
	n := len(b.bids)
	if depth > 0 {
		n = min(n, int(depth))
	}
	return proto.HashLevels(b.bids[:n], b.asks[:n])
}

// Close ends producing, as Finish, and the connections.
func (f *Feed) Close(ctx context.Context) error {
	err := f.Finish(ctx)
	f.client.Close()
	return err
}
