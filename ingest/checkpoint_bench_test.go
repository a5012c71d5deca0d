package ingest

import (
	"context"
	"fmt"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// shelf is Books of so many levels a side that never change, copied as book.Engine
// copies them.
type shelf struct {
	deafBooks
	bids, asks []proto.Level
}

func (s *shelf) Save(_ string, to *proto.SymbolState) bool {
	b := &to.Book
	*b = proto.BookState{Whole: true, Kind: proto.BookByLevel, Bids: append(b.Bids[:0], s.bids...), Asks: append(b.Asks[:0], s.asks...)}
	return true
}

// benchCheckpoints is a partition of so many symbols of 200 levels a side, all of
// which a call of touch changes, and its checkpoints on an embedded broker.
func benchCheckpoints(b *testing.B, symbols int) (c *checkpointer, touch func(n int)) {
	b.Helper()
	l := newLab(b)
	s := &shelf{}
	for i := range 200 {
		s.bids = append(s.bids, proto.Level{Price: int64(6_000_000 - i*10), Qty: int64(1_000_000 + i*7919)})
		s.asks = append(s.asks, proto.Level{Price: int64(6_000_010 + i*10), Qty: int64(1_000_000 + i*104729)})
	}
	cfg := Config{KafkaTopics: []TopicConfig{{Name: "events"}}, Log: quiet, Checkpoints: CheckpointConfig{Mode: CheckpointsWrite, KafkaTopic: "checkpoints"}}
	if err := cfg.validate(); err != nil {
		b.Fatal(err)
	}
	spread, err := l.checkpointTopic(l.ctx, &cfg.Checkpoints, 1)
	if err != nil {
		b.Fatal(err)
	}
	p := newPartition(&cfg, partitionConfig{topic: cfg.KafkaTopics[0], count: 1, source: &script{id: PartitionID{"events", 0}},
		books: s, directory: newDirectory(), now: rigNow})
	c = newCheckpointer(l.Cluster, &cfg.Checkpoints, p, spread)
	b.Cleanup(c.close)
	p.begun, p.epoch = true, 1
	records := make([]Record, symbols)
	for i := range records {
		records[i] = levels(fmt.Sprintf("SIM:%d", i), int64(6_000_000+i))
	}
	next := int64(0)
	return c, func(n int) {
		f := Fetched{}
		for range n {
			records[next%int64(symbols)].Offset = next
			next++
		}
		f.Records = records[:min(n, symbols)]
		f.Next, f.HighWatermark = next, next
		p.fetched(&f)
	}
}

// BenchmarkCheckpointRound is one checkpoint of books that have all changed: copied
// under the lock, encoded, written to an embedded broker and committed.
func BenchmarkCheckpointRound(b *testing.B) {
	for _, symbols := range []int{10, 1000} {
		b.Run(fmt.Sprintf("books=%d", symbols), func(b *testing.B) {
			c, touch := benchCheckpoints(b, symbols)
			b.ReportAllocs()
			for b.Loop() {
				touch(symbols)
				if err := c.make(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(c.stats.Held.Load())/float64(max(c.stats.Holds.Load(), 1))/1e3, "hold-µs")
			b.ReportMetric(float64(c.stats.Bytes.Load())/float64(c.stats.Rounds.Load()), "bytes/round")
		})
	}
}

// BenchmarkRecordBesideCheckpoints is the cost of a record of 1,000 symbols where
// one checkpoint after the other is made at the same time, and where none is.
func BenchmarkRecordBesideCheckpoints(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(fmt.Sprintf("checkpoints=%t", on), func(b *testing.B) {
			c, touch := benchCheckpoints(b, 1000)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			touch(1000)
			if !on {
				done <- nil
			} else {
				go func() {
					var err error
					for ctx.Err() == nil && err == nil {
						err = c.make(context.Background())
					}
					done <- err
				}()
			}
			b.ResetTimer()
			for n := b.N; n > 0; n -= 1000 {
				touch(min(n, 1000))
			}
			b.StopTimer()
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(c.stats.Held.Load())/float64(max(c.stats.Holds.Load(), 1))/1e3, "hold-µs")
			b.ReportMetric(float64(c.stats.Rounds.Load()), "rounds")
		})
	}
}

// BenchmarkCheckpointStart is what a start has to read of 1,000 books before the
// log: fetched from an embedded broker, put together, decoded.
func BenchmarkCheckpointStart(b *testing.B) {
	c, touch := benchCheckpoints(b, 1000)
	touch(1000)
	ctx := context.Background()
	if err := c.make(ctx); err != nil {
		b.Fatal(err)
	}
	var s proto.SymbolState
	var data []byte
	for b.Loop() {
		found, err := c.cluster.readCheckpoint(ctx, c.cfg, c.to, c.partition.id, quiet)
		if err != nil || len(found.states) != 1001 {
			b.Fatal(len(found.states), err)
		}
		for symbol, state := range found.states {
			if data, err = state.assemble(data); err == nil && symbol != "" {
				err = proto.DecodeSymbolState(data, &s)
			}
			if err != nil {
				b.Fatal(symbol, err)
			}
		}
	}
}
