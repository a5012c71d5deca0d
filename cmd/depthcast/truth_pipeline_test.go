package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/ingest/feed"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// recorded is a recording of one symbol, and which of its records the book is
// whole from.
type recorded struct {
	name, symbol, format string
	files                []string // within the folder of recordings
}

func (r *recorded) config(dir string, converted bool) feed.ReplayConfig {
	cfg := feed.ReplayConfig{Format: r.format, AsProto: converted}
	for _, f := range r.files {
		cfg.Files = append(cfg.Files, filepath.Join(dir, f))
	}
	return cfg
}

// producerFunc is a producer that is a function of each record, with the offset
// that the record has in a Kafka topic of one partition.
type producerFunc struct {
	next int64
	each func(offset int64, r *ingest.Record) error
}

func (p *producerFunc) Produce(_ context.Context, records []ingest.Record) error {
	for i := range records {
		if err := p.each(p.next, &records[i]); err != nil {
			return err
		}
		p.next++
	}
	return nil
}

// eachRecord calls f with every record of a replay, in order, until f says
// errEnough. It returns how many there were, and the replay's counts.
func eachRecord(t *testing.T, cfg feed.ReplayConfig, f func(offset int64, r *ingest.Record) error) (int64, *feed.Stats) {
	t.Helper()
	replay, err := feed.NewReplay(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &producerFunc{each: f}
	if err := replay.Run(t.Context(), p); err != nil && !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return p.next, replay.Stats()
}

// truth is what a recording says of its own book. Offsets are those of the
// replay's records in a Kafka topic of one partition.
type truth interface {
	// judge compares the book that stood from offset from until before offset to.
	// depth is that of the view; 0: full. Levels are best first.
	judge(t *testing.T, from, to int64, depth uint32, bids, asks []proto.Level, x proto.Exponents)
}

// topLevels is how many levels of a book are compared.
const topLevels = 10

// onlooker compares what one subscription shows with the truth, at every offset.
type onlooker struct {
	sub        *client.Subscription
	depth      uint32
	truth      truth
	since      int64 // offset from which the book stands as in bids and asks; -1: no book yet
	bids, asks []proto.Level
}

// stands takes over the book as it is from offset since on.
func (f *onlooker) stands(since int64) {
	f.since = since
	f.bids, f.asks = top(f.bids[:0], f.sub.Book(), proto.Bid), top(f.asks[:0], f.sub.Book(), proto.Ask)
}

// top appends the best levels of a side, and one more than are compared, so that
// it shows when a book has more than it should.
func top(dst []proto.Level, b *client.Book, side proto.Side) []proto.Level {
	for l := range b.Levels(side) {
		if len(dst) > topLevels {
			break
		}
		dst = append(dst, l)
	}
	return dst
}

// until judges the book that stood until before offset to.
func (f *onlooker) until(t *testing.T, to int64) {
	f.truth.judge(t, f.since, to, f.depth, f.bids, f.asks, f.sub.Book().Exponents())
}

// take follows one event of the subscription.
func (f *onlooker) take(t *testing.T, event client.Event, first int64) {
	switch e := event.(type) {
	case *client.BookSet:
		if e.Book.State() == proto.Recovering {
			break // there is no snapshot yet
		}
		if f.since >= 0 || e.Book.Seq() != first {
			t.Fatalf("depth %d: a snapshot of seq %d; want one, of seq %d", f.depth, e.Book.Seq(), first)
		}
		f.stands(first)
	case *client.BookChanged:
		if e.Delta.Merged > 1 {
			t.Fatalf("depth %d: %d entries in one delta at %d: not every frame", f.depth, e.Delta.Merged, e.Delta.Seq)
		}
		f.until(t, e.Delta.Seq)
		f.stands(e.Delta.Seq)
	}
}

// paced is a producer that does not run ahead of the clients: after the
// instruments it waits for begin, after the record at first for its snapshot, and
// never is more than a window ahead of what they have seen.
type paced struct {
	feed.Producer
	instruments int64
	first       int64
	length      int64 // of the replay
	next        int64 // offset of the next record
	defined     chan struct{}
	begin       chan struct{}
	seen        atomic.Int64
	moved       chan struct{} // holds one; seen has changed
}

// window is how many records a paced producer is ahead at most: less than a ring
// has entries, so that no client is lapped.
const window = 3000

func (p *paced) Produce(ctx context.Context, records []ingest.Record) error {
	from := 0
	for i := range records {
		offset := p.next + int64(i)
		if offset == p.length {
			return errors.Join(p.Producer.Produce(ctx, records[from:i]), errEnough)
		}
		if p.mayGo(offset) {
			continue
		}
		if err := p.Producer.Produce(ctx, records[from:i]); err != nil {
			return err
		}
		from = i
		if err := p.await(ctx, offset); err != nil {
			return err
		}
	}
	p.next += int64(len(records))
	return p.Producer.Produce(ctx, records[from:])
}

func (p *paced) mayGo(offset int64) bool {
	return offset != p.instruments && (offset <= p.first || p.seen.Load() >= max(p.first, offset-window))
}

func (p *paced) await(ctx context.Context, offset int64) error {
	if offset == p.instruments {
		close(p.defined)
		select {
		case <-p.begin:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for !p.mayGo(offset) {
		select {
		case <-p.moved:
		case <-ctx.Done():
			return fmt.Errorf("clients have seen offset %d, %d waits: %w", p.seen.Load(), offset, ctx.Err())
		}
	}
	return nil
}

// saw says how far the slowest of the onlookers is.
func (p *paced) saw(onlookers []*onlooker) {
	seen := int64(1<<62 - 1)
	for _, f := range onlookers {
		if f.since < 0 {
			return
		}
		seen = min(seen, f.sub.Book().Seq())
	}
	if p.seen.Swap(seen) != seen {
		select {
		case p.moved <- struct{}{}:
		default:
		}
	}
}

// through replays a recording of one symbol through a broker, a server and a
// WebSocket to a client that wants every frame of views of these depths, and has
// their truths judge it. first is the offset from which the book is whole, length
// how many records are replayed.
func through(t *testing.T, cfg feed.ReplayConfig, codec proto.Codec, first, length int64, depths []uint32, truths []truth) []*onlooker {
	t.Helper()
	l := newLab(t, 1)
	server := l.serve(nil)
	replay, err := feed.NewReplay(l.ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	symbol, producer := replay.Symbols()[0], l.producer()
	p := &paced{
		Producer: producer, instruments: 1, first: first, length: length,
		defined: make(chan struct{}), begin: make(chan struct{}), moved: make(chan struct{}, 1),
	}
	sent := make(chan error, 1)
	go func() {
		err := replay.Run(l.ctx, p)
		if errors.Is(err, errEnough) {
			err = nil
		}
		sent <- errors.Join(err, producer.Flush(l.ctx))
	}()
	select {
	case <-p.defined:
	case err := <-sent:
		t.Fatal(err)
	}
	server.known(symbol)
	c := server.dial(codec)
	var onlookers []*onlooker
	of := map[*client.Subscription]*onlooker{}
	for i, depth := range depths {
		// Every frame, so that each offset has its book.
		f := &onlooker{sub: subscribe(t, c, client.Item{Symbol: symbol, Depth: depth, Policy: pb.Policy_POLICY_DROP}), depth: depth, truth: truths[i], since: -1}
		onlookers, of[f.sub] = append(onlookers, f), f
	}
	end, last, granted := make(chan int64, 1), int64(-1), 0
	follow(t, l.ctx, c, func(event client.Event) bool {
		switch e := event.(type) {
		case *client.Granted:
			if granted++; granted == len(onlookers) {
				close(p.begin)
				go func() {
					if err := <-sent; err != nil {
						t.Error(err)
					}
					server.caughtUpTo(l)
					end <- server.book(symbol).Seq
				}()
			}
		case *client.BookSet:
			of[e.Sub].take(t, e, first)
		case *client.BookChanged:
			of[e.Sub].take(t, e, first)
		}
		p.saw(onlookers)
		select {
		case last = <-end:
		default:
		}
		return last >= 0 && !slices.ContainsFunc(onlookers, func(f *onlooker) bool {
			return f.sub.Book().Seq() < last || f.sub.Book().State() != proto.Live
		})
	})
	id := server.ingest.Partitions()[0].ID()
	offsets, err := l.cluster.Offsets(l.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if held := offsets[id].HighWatermark; held != length {
		t.Fatalf("the log holds %d records, want %d: its offsets are not those of the replay", held, length)
	}
	for _, f := range onlookers {
		f.until(t, length)
	}
	return onlookers
}

// inBook replays a recording, or its first records if length is not negative,
// through its codec and a book alone. judge is called after each record that was
// applied, with what it said and the book as a view of depth shows it, once that
// is live. It returns the books of all symbols.
func inBook(t *testing.T, cfg feed.ReplayConfig, length int64, depth uint32, judge func(b *proto.Batch, s *proto.Snapshot, offset int64)) *book.Engine {
	t.Helper()
	alone := newBookAlone(t, cfg.Format)
	var s proto.Snapshot
	eachRecord(t, cfg, func(offset int64, r *ingest.Record) error {
		if offset == length {
			return errEnough
		}
		b := alone.apply(t, offset, r)
		if b == nil {
			return nil
		}
		key := proto.TopicKey{Symbol: b.Symbol, Channel: proto.ChannelBook, View: proto.View{Depth: depth}}
		if err := alone.engine.Read(key, &s); err != nil {
			t.Fatal(err)
		}
		if s.State == proto.Live {
			judge(b, &s, offset)
		}
		return nil
	})
	return alone.engine
}

// bookAlone is a codec and books without anything between or behind them.
type bookAlone struct {
	engine *book.Engine
	codec  ingest.Codec
	known  exponentsOf
}

func newBookAlone(t *testing.T, format string) *bookAlone {
	t.Helper()
	engine, err := book.New(book.Config{})
	if err != nil {
		t.Fatal(err)
	}
	engine.Begin(1, false)
	engine.CatchingUp(false)
	a := &bookAlone{engine: engine, known: exponentsOf{}}
	if a.codec, err = ingest.NewCodec(format, a.known); err != nil {
		t.Fatal(err)
	}
	return a
}

// apply applies the record at offset and returns what it said; nil where that is
// nothing, or an instrument.
func (a *bookAlone) apply(t *testing.T, offset int64, r *ingest.Record) *proto.Batch {
	b, err := &proto.Batch{}, error(nil)
	if r.ContentType == ingest.ContentType("proto") {
		err = proto.DecodeEvents(r.Value, b)
	} else {
		b, err = a.codec.Decode(r)
	}
	if err != nil {
		t.Fatalf("offset %d: %v", offset, err)
	}
	if b == nil {
		return nil
	}
	b.Seq = offset
	if _, err := a.engine.Apply(b); err != nil {
		t.Fatalf("offset %d: %v", offset, err)
	}
	if b.Events[0].Kind == proto.EventInstrument {
		a.known[b.Symbol] = b.Events[0].Instrument.Exponents
		return nil
	}
	return b
}

// exponentsOf are ingest.Instruments.
type exponentsOf map[string]proto.Exponents

func (x exponentsOf) Exponents(symbol string) proto.Exponents {
	if e, ok := x[symbol]; ok {
		return e
	}
	return proto.DefaultExponents
}
