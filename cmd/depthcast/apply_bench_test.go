package main

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/ingest/feed"
	"github.com/depthcast/depthcast/proto"
)

// benchStream is one symbol's records from its first snapshot on, to be applied
// again and again.
type benchStream struct {
	records [][]byte
	events  []int // by record: levels set and order events
	first   int   // records that make a book whole: the parts of the first snapshot
}

// benchRecordings are the recorded streams of the benchmarks, beside googDay and
// the days of Binance.
func benchRecordings() []recorded {
	all := []recorded{googDay}
	for _, d := range binanceDays {
		all = append(all, d.recorded)
	}
	return append(all, recorded{"Kraken XMR/USD", "KRAKEN:XMR/USD", "kraken", []string{"kraken/KRAKEN.ws.50.0.gz"}})
}

// eachStream runs f with every recorded stream that is there, and a simulated one.
func eachStream(b *testing.B, f func(b *testing.B, s *benchStream)) {
	b.Run("simulated", func(b *testing.B) { f(b, simulatedStream(b)) })
	for _, r := range benchRecordings() {
		b.Run(r.name, func(b *testing.B) {
			dir, err := recordings()
			if err != nil {
				b.Skipf("%v: skipped", err)
			}
			f(b, recordedStream(b, dir, &r))
		})
	}
}

func recordedStream(b *testing.B, dir string, r *recorded) *benchStream {
	s := &benchStream{}
	replay, err := feed.NewReplay(b.Context(), r.config(dir, true))
	if err != nil {
		b.Fatal(err)
	}
	var batch proto.Batch
	err = replay.Run(b.Context(), &producerFunc{each: func(_ int64, record *ingest.Record) error {
		if err := proto.DecodeEvents(record.Value, &batch); err != nil {
			return err
		}
		if batch.Symbol == r.symbol {
			s.add(&batch)
		}
		return nil
	}})
	if err != nil || len(s.records) < 100 {
		b.Fatalf("%s: %d records, %v", r.name, len(s.records), err)
	}
	return s
}

// simulatedStream is the busiest symbol of a simulated market, order by order.
func simulatedStream(b *testing.B) *benchStream {
	m, err := feed.NewMarket(feed.MarketConfig{Seed: 1, Rate: 100_000, Instruments: 1})
	if err != nil {
		b.Fatal(err)
	}
	s := &benchStream{}
	for now := int64(1e18); len(s.records) < 50_000; now += int64(10 * time.Millisecond) {
		for _, r := range m.Step(now) {
			if r.Symbol == m.Symbols()[0] {
				s.add(r)
			}
		}
	}
	return s
}

// add keeps a record, without the numbers that would make it a repetition.
func (s *benchStream) add(r *proto.Batch) {
	r.FirstSourceSeq, r.LastSourceSeq, r.Session = 0, 0, ""
	events, snapshot, clears := 0, false, false
	for i := range r.Events {
		e := &r.Events[i]
		switch {
		case e.Kind == proto.EventSnapshot:
			snapshot = true
			e.SourceSeq = 0
		case e.Kind == proto.EventClear:
			clears = true
		case e.Kind == proto.EventSetLevels:
			events += len(e.Bids) + len(e.Asks)
		case e.Kind >= proto.EventAdd && e.Kind <= proto.EventDelete:
			events++
		}
	}
	if !snapshot && (len(s.records) == 0 || events == 0 && !clears && !r.More) {
		return
	}
	s.records, s.events = append(s.records, proto.AppendEvents(nil, r)), append(s.events, events)
	if s.first == 0 && !r.More {
		s.first = len(s.records)
	}
}

// deaf is a publisher that counts what it is told of a book.
type deaf struct {
	book.Publisher // nil: of nothing else
	deltas         int
}

func (p *deaf) Delta(*proto.Delta)         { p.deltas++ }
func (p *deaf) Status(*proto.Status)       {}
func (p *deaf) Reset(proto.SnapshotReason) {}
func (p *deaf) Mark(proto.Mark)            {}

// player applies a stream to many books, in turns. It decodes some records ahead,
// so that they are where a codec leaves them: in the cache, in memory used again.
type player struct {
	b       *testing.B
	stream  *benchStream
	engine  *book.Engine
	names   []string
	seq     int64
	decoded [64]proto.Batch
}

func newPlayer(b *testing.B, s *benchStream, books int, depth int, to book.Publisher) *player {
	e, err := book.New(book.Config{})
	if err != nil {
		b.Fatal(err)
	}
	e.Begin(1, false)
	e.CatchingUp(false)
	p := &player{b: b, stream: s, engine: e}
	for i := range books {
		p.names = append(p.names, fmt.Sprintf("SIM:%05d", i*7919%books))
	}
	// Book after book, as what is held of all of them is bounded.
	for _, name := range p.names {
		for i := range s.first {
			p.decode(&p.decoded[0], i, name, int64(i))
			p.apply(&p.decoded[0])
		}
	}
	p.seq = int64(books * s.first)
	for _, name := range p.names {
		if depth < 0 {
			break
		}
		key := proto.TopicKey{Symbol: name, Channel: proto.ChannelBook, View: proto.View{Depth: uint32(depth)}}
		if _, err := e.Open(key, to); err != nil {
			b.Fatal(err)
		}
	}
	return p
}

func (p *player) decode(r *proto.Batch, at int, symbol string, seq int64) {
	if err := proto.DecodeEvents(p.stream.records[at], r); err != nil {
		p.b.Fatal(err)
	}
	r.Symbol, r.Seq = symbol, seq
}

func (p *player) apply(r *proto.Batch) {
	if _, err := p.engine.Apply(r); err != nil {
		p.b.Fatal(err)
	}
}

// ahead decodes the next records, at most n, and returns them with how many events
// they hold.
func (p *player) ahead(n int) (records []proto.Batch, events int) {
	records = p.decoded[:min(n, len(p.decoded))]
	for i := range records {
		at := int(p.seq) / len(p.names) % len(p.stream.records)
		p.decode(&records[i], at, p.names[int(p.seq)%len(p.names)], p.seq)
		events += p.stream.events[at]
		p.seq++
	}
	return records, events
}

// BenchmarkApply: records applied to the books of one engine in turns, by the
// stream, the number of books, and whether each has a view of ten levels.
// cpu-ns are processor time of the thread, which others on the machine disturb less.
func BenchmarkApply(b *testing.B) {
	eachStream(b, func(b *testing.B, s *benchStream) {
		for _, books := range []int{1, 1000, 5000} {
			for _, depth := range []int{-1, 10} {
				b.Run(fmt.Sprintf("books=%d/view=%d", books, max(0, depth)), func(b *testing.B) {
					newPlayer(b, s, books, depth, &deaf{}).measure(func() {})
				})
			}
		}
	})
}

// measure plays as many records as the benchmark says; after each run of them, the
// records of one hold of the lock, it calls then.
func (p *player) measure(then func()) {
	runtime.GC()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p.b.ResetTimer()
	var spent, events int
	for left := p.b.N; left > 0; {
		records, n := p.ahead(left)
		begun := threadTime()
		for i := range records {
			p.apply(&records[i])
		}
		then()
		spent += int(threadTime() - begun)
		events += n
		left -= len(records)
	}
	p.b.StopTimer()
	p.b.ReportMetric(0, "ns/op") // has decoding in it
	p.b.ReportMetric(float64(spent)/float64(p.b.N), "cpu-ns/op")
	p.b.ReportMetric(float64(spent)/float64(max(1, events)), "cpu-ns/event")
}

// BenchmarkApplyLatency: how long single records take, in one book with a view of
// ten levels. Reading the clock takes its part, which clock-ns says.
func BenchmarkApplyLatency(b *testing.B) {
	eachStream(b, func(b *testing.B, s *benchStream) {
		p := newPlayer(b, s, 1, 10, &deaf{})
		took := make([]time.Duration, 0, b.N)
		b.ResetTimer()
		for len(took) < b.N {
			records, _ := p.ahead(b.N - len(took))
			for i := range records {
				begun := time.Now()
				p.apply(&records[i])
				took = append(took, time.Since(begun))
			}
		}
		b.StopTimer()
		clock := make([]time.Duration, 1000)
		for i := range clock {
			clock[i] = time.Since(time.Now())
		}
		slices.Sort(took)
		slices.Sort(clock)
		for _, q := range []struct {
			name string
			part float64
		}{{"p50-ns", 0.5}, {"p99-ns", 0.99}, {"p99.9-ns", 0.999}, {"max-ns", 1}} {
			b.ReportMetric(float64(took[min(len(took)-1, int(q.part*float64(len(took))))]), q.name)
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(clock[len(clock)/2]), "clock-ns")
	})
}

// threadTime is the processor time of this thread, in ns.
func threadTime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}
