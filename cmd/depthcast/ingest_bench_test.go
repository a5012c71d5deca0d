package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// ingestLog is a log to be read: a snapshot of each symbol, then records of level
// changes near the best.
type ingestLog struct {
	name    string
	symbols int
	records int // without the snapshots
	events  int // of a record
}

var ingestLogs = []ingestLog{
	{"events=1", 100, 1_000_000, 1},
	{"events=32", 100, 100_000, 32},
}

// BenchmarkIngest reads a whole log from Kafka, uncompressed as producers write
// batches of it, in these ways: into books without a view, and with one of 10
// levels for each symbol; by our source alone; and by kafka-go's two ways alone. One
// op is one pass. The broker is another process (set DEPTHCAST_TEST_KAFKA, as
// make bench-ingest does), so cpu-ns are those of reading; events/cpu-s is what a
// core would do.
func BenchmarkIngest(b *testing.B) {
	if os.Getenv("DEPTHCAST_TEST_KAFKA") == "" {
		b.Skip("a broker in another process is needed (no DEPTHCAST_TEST_KAFKA; make bench-ingest): skipped")
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, log := range ingestLogs {
		at := log.write(b)
		id := ingest.PartitionID{KafkaTopic: at.events}
		into := func(views bool, hold int) func(*testing.B) {
			return func(b *testing.B) {
				log.measure(b, func() {
					cfg := ingest.Config{KafkaTopics: []ingest.TopicConfig{{Name: at.events}}, Log: quiet, HoldRecords: hold,
						SilentAfter: forever, TickEvery: time.Hour, MaxLag: 1 << 40}
					at.readInto(b, cfg, views, log)
				})
			}
		}
		b.Run(log.name+"/books", into(false, 0))
		b.Run(log.name+"/books+views", into(true, 0))
		b.Run(log.name+"/books,hold=1", into(false, 1))
		b.Run(log.name+"/books,hold=4096", into(false, 4096))
		b.Run(log.name+"/read=source", func(b *testing.B) { log.measure(b, func() { at.readBySource(b, id, log.end()) }) })
		b.Run(log.name+"/read=kafka-go.ReadBatch", func(b *testing.B) { log.measure(b, func() { at.readByBatch(b, log.end()) }) })
		b.Run(log.name+"/read=kafka-go.Reader", func(b *testing.B) { log.measure(b, func() { at.readByReader(b, log.end()) }) })
	}
}

// end is the offset after the log's last record.
func (l ingestLog) end() int64 { return int64(l.symbols + l.records) }

// measure reports what a pass costs this process.
func (l ingestLog) measure(b *testing.B, pass func()) {
	b.ReportAllocs()
	var from, to syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &from)
	for b.Loop() {
		pass()
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &to)
	used := float64(to.Utime.Nano() + to.Stime.Nano() - from.Utime.Nano() - from.Stime.Nano())
	events := float64(b.N) * float64(l.records*l.events)
	b.ReportMetric(used/events, "cpu-ns/event")
	b.ReportMetric(used/float64(b.N)/float64(l.end()), "cpu-ns/record")
	b.ReportMetric(events/used*1e9, "events/cpu-s")
	b.ReportMetric(events/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(0, "ns/op")
}

// write makes a Kafka topic of one partition that holds the log.
func (l ingestLog) write(b *testing.B) *lab {
	b.Helper()
	at := &lab{t: nil, ctx: context.Background(), events: fmt.Sprintf("bench-%x", randomBytes(6)),
		kafka: kafkaFlags{Brokers: strings.Split(os.Getenv("DEPTHCAST_TEST_KAFKA"), ","), KafkaTimeout: 20 * time.Second}}
	var err error
	if at.cluster, err = at.kafka.connect(at.ctx); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(at.cluster.Close)
	if err := at.cluster.EnsureTopics(at.ctx, ingest.TopicSpec{Name: at.events, Partitions: 1}); err != nil {
		b.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(at.kafka.Brokers...), kgo.DefaultProduceTopic(at.events),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	r := rand.New(rand.NewPCG(1, 2))
	side := func(best int64, step int64) (levels []proto.Level) {
		for i := range int64(328) {
			levels = append(levels, proto.Level{Price: best + i*step, Qty: 1 + r.Int64N(1000)})
		}
		return levels
	}
	for n := range int(l.end()) {
		batch := proto.Batch{Symbol: fmt.Sprintf("SIM:%03d", n%l.symbols), Feed: "SIM"}
		if n < l.symbols {
			batch.Events = []proto.Event{{Kind: proto.EventSnapshot, Bids: side(50_000, -1), Asks: side(50_001, 1)}}
		} else {
			for range l.events {
				batch.Events = append(batch.Events, change(r))
			}
		}
		client.Produce(at.ctx, &kgo.Record{Key: []byte(batch.Symbol), Value: proto.AppendEvents(nil, &batch)}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := client.Flush(at.ctx); err != nil {
		b.Fatal(err)
	}
	return at
}

// change sets a level some 10 ticks from the best; one in eight goes.
func change(r *rand.Rand) proto.Event {
	level := []proto.Level{{Qty: 1 + r.Int64N(1000)}}
	if r.IntN(8) == 0 {
		level[0].Qty = 0
	}
	away := min(327, int64(r.ExpFloat64()*10))
	if r.IntN(2) == 0 {
		level[0].Price = 50_000 - away
		return proto.Event{Kind: proto.EventSetLevels, Bids: level}
	}
	level[0].Price = 50_001 + away
	return proto.Event{Kind: proto.EventSetLevels, Asks: level}
}

// viewedBooks open a view of each symbol when it is there. They are live although
// the log is only being caught up on, so that their views are told what changes.
type viewedBooks struct {
	*partitionBooks
	missing map[string]bool
	deltas  int
}

func (v *viewedBooks) CatchingUp(bool) { v.partitionBooks.CatchingUp(false) }

func (v *viewedBooks) Apply(batch *proto.Batch) (proto.Outcome, error) {
	o, err := v.partitionBooks.Apply(batch)
	if len(v.missing) > 0 && v.missing[batch.Symbol] {
		if _, err := v.Open(proto.TopicKey{Symbol: batch.Symbol, Channel: proto.ChannelBook, View: proto.View{Depth: 10}}, dropped{deltas: &v.deltas}); err != nil {
			return o, err
		}
		delete(v.missing, batch.Symbol)
	}
	return o, err
}

// dropped is a publisher that drops what changes of levels bring.
type dropped struct {
	book.Publisher
	deltas *int
}

func (d dropped) Delta(*proto.Delta)       { *d.deltas++ }
func (dropped) Status(*proto.Status)       {}
func (dropped) Reset(proto.SnapshotReason) {}
func (dropped) Mark(proto.Mark)            {}

// readInto reads the log by a whole Ingest into books of its own.
func (l *lab) readInto(b *testing.B, cfg ingest.Config, views bool, log ingestLog) {
	var viewed *viewedBooks
	in, err := ingest.Open(l.ctx, l.cluster, cfg, func(id ingest.PartitionID) ingest.Books {
		books := newBooks(id).(*partitionBooks)
		if !views {
			return books
		}
		viewed = &viewedBooks{partitionBooks: books, missing: map[string]bool{}}
		for i := range log.symbols {
			viewed.missing[fmt.Sprintf("SIM:%03d", i)] = true
		}
		return viewed
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	stats := in.Partitions()[0].Stats()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for stats.NextOffset.Load() < log.end() {
		<-tick.C
	}
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	if got, want := stats.Applied.Load(), uint64(log.end()); got != want {
		b.Fatalf("%d records applied of %d; refused: %v", got, want, stats.Refused())
	}
	if views && viewed.deltas < log.records/2 { // the others lie beyond 10 levels
		b.Fatalf("%d deltas of %d records", viewed.deltas, log.records)
	}
}

func (l *lab) readBySource(b *testing.B, id ingest.PartitionID, end int64) {
	s, err := l.cluster.Open(l.ctx, id, ingest.Start{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for next := int64(0); next < end; {
		f, err := s.Next(l.ctx)
		if err != nil {
			b.Fatal(err)
		}
		next = f.Next
	}
}

func (l *lab) readByBatch(b *testing.B, end int64) {
	conn, err := kafka.DialLeader(l.ctx, "tcp", l.kafka.Brokers[0], l.events, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for next := int64(0); next < end; {
		batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: 8 << 20, MaxWait: 250 * time.Millisecond})
		for {
			m, err := batch.ReadMessage()
			if err != nil {
				break
			}
			next = m.Offset + 1
		}
		if err := batch.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func (l *lab) readByReader(b *testing.B, end int64) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: l.kafka.Brokers, Topic: l.events, MinBytes: 1, MaxBytes: 8 << 20,
		MaxWait: 250 * time.Millisecond, QueueCapacity: 1000, ReadLagInterval: -1})
	defer r.Close()
	for next := int64(0); next < end; {
		m, err := r.FetchMessage(l.ctx)
		if err != nil {
			b.Fatal(err)
		}
		next = m.Offset + 1
	}
}
