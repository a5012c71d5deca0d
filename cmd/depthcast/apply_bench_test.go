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

// benchStream is one symbol's records, decoded, from its first snapshot on, to be
// applied again and again.
type benchStream struct {
	name    string
	records []*proto.Batch
	events  []int // by record: levels set and order events
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

// streams are those of all recordings, where they are, and of a simulated market.
func streams(b *testing.B) []*benchStream {
	all := []*benchStream{simulatedStream(b)}
	dir, err := recordings()
	if err != nil {
		b.Logf("%v: only the simulated stream is measured", err)
		return all
	}
	for _, r := range benchRecordings() {
		s := &benchStream{name: r.name}
		replay, err := feed.NewReplay(b.Context(), r.config(dir, true))
		if err != nil {
			b.Fatal(err)
		}
		err = replay.Run(b.Context(), &producerFunc{each: func(_ int64, record *ingest.Record) error {
			batch := &proto.Batch{}
			if err := proto.DecodeEvents(record.Value, batch); err != nil {
				return err
			}
			if batch.Symbol == r.symbol {
				s.add(batch)
			}
			return nil
		}})
		if err != nil || len(s.records) < 100 {
			b.Fatalf("%s: %d records, %v", r.name, len(s.records), err)
		}
		all = append(all, s)
	}
	return all
}

// simulatedStream is the busiest symbol of a simulated market, order by order.
func simulatedStream(b *testing.B) *benchStream {
	m, err := feed.NewMarket(feed.MarketConfig{Seed: 1, Rate: 100_000, Instruments: 1})
	if err != nil {
		b.Fatal(err)
	}
	s := &benchStream{name: "simulated"}
	for now := int64(1e18); len(s.records) < 50_000; now += int64(10 * time.Millisecond) {
		for _, r := range m.Step(now) {
			if r.Symbol != m.Symbols()[0] {
				continue
			}
			batch := &proto.Batch{}
			if err := proto.DecodeEvents(proto.AppendEvents(nil, r), batch); err != nil {
				b.Fatal(err)
			}
			s.add(batch)
		}
	}
	return s
}

// add takes a record over, without the numbers that would make it a repetition.
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
	if snapshot || len(s.records) > 0 && (events > 0 || clears || r.More) {
		s.records, s.events = append(s.records, r), append(s.events, events)
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

// player applies a stream to many books, in turns.
type player struct {
	b      *testing.B
	stream *benchStream
	engine *book.Engine
	names  []string
	seq    int64
}

func newPlayer(b *testing.B, s *benchStream, books int, depth int, p book.Publisher) *player {
	e, err := book.New(book.Config{})
	if err != nil {
		b.Fatal(err)
	}
	e.Begin(1, false)
	e.CatchingUp(false)
	play := &player{b: b, stream: s, engine: e}
	for i := range books {
		play.names = append(play.names, fmt.Sprintf("SIM:%05d", i*7919%books))
	}
	for range books * (play.first() + 1) {
		play.next()
	}
	for _, name := range play.names {
		if depth < 0 {
			break
		}
		key := proto.TopicKey{Symbol: name, Channel: proto.ChannelBook, View: proto.View{Depth: uint32(depth)}}
		if _, err := e.Open(key, p); err != nil {
			b.Fatal(err)
		}
	}
	return play
}

// first is how many records make a book whole: the parts of its first snapshot.
func (p *player) first() int {
	return 1 + slices.IndexFunc(p.stream.records, func(r *proto.Batch) bool { return !r.More })
}

// next applies the next record and returns how many events it holds.
func (p *player) next() int {
	at := int(p.seq) / len(p.names) % len(p.stream.records)
	r := p.stream.records[at]
	r.Symbol, r.Seq = p.names[int(p.seq)%len(p.names)], p.seq
	p.seq++
	if _, err := p.engine.Apply(r); err != nil {
		p.b.Fatal(err)
	}
	return p.stream.events[at]
}

// BenchmarkApply: records applied to the books of one engine in turns, by the
// stream, the number of books, and whether each has a view of ten levels.
// cpu-ns are processor time of the thread, which others on the machine disturb less.
func BenchmarkApply(b *testing.B) {
	for _, s := range streams(b) {
		for _, books := range []int{1, 1000, 5000} {
			for _, depth := range []int{-1, 10} {
				b.Run(fmt.Sprintf("%s/books=%d/view=%d", s.name, books, max(0, depth)), func(b *testing.B) {
					p := newPlayer(b, s, books, depth, &deaf{})
					runtime.GC()
					runtime.LockOSThread()
					defer runtime.UnlockOSThread()
					b.ReportAllocs()
					b.ResetTimer()
					begun, events := threadTime(), 0
					for range b.N {
						events += p.next()
					}
					spent := float64(threadTime() - begun)
					b.StopTimer()
					b.ReportMetric(spent/float64(b.N), "cpu-ns/op")
					b.ReportMetric(spent/float64(max(1, events)), "cpu-ns/event")
				})
			}
		}
	}
}

// BenchmarkApplyLatency: how long single records take, in one book with a view of
// ten levels. Reading the clock takes its part, which clock-ns says.
func BenchmarkApplyLatency(b *testing.B) {
	for _, s := range streams(b) {
		b.Run(s.name, func(b *testing.B) {
			p := newPlayer(b, s, 1, 10, &deaf{})
			took := make([]time.Duration, b.N)
			b.ResetTimer()
			for i := range took {
				begun := time.Now()
				p.next()
				took[i] = time.Since(begun)
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
			b.ReportMetric(float64(clock[len(clock)/2]), "clock-ns")
		})
	}
}

// threadTime is the processor time of this thread, in ns.
func threadTime() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}
