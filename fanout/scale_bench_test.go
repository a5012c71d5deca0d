package fanout

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// bookOf names the only view of a symbol that benchmarks read.
func bookOf(symbol string) proto.TopicKey {
	return proto.TopicKey{Symbol: symbol, Channel: proto.ChannelBook}
}

// BenchmarkDeliverSymbols delivers to loopback connections that have 20 symbols, of
// which some have changed since the last turn: an operation is one connection's
// turn. Beside it a bare loop sends as many bytes in one call.
func BenchmarkDeliverSymbols(b *testing.B) {
	const n, subscribed = 1000, 20
	for _, changed := range []int{1, 2, 5, 10, 20} {
		b.Run(fmt.Sprintf("changed=%d/loop", changed), func(b *testing.B) {
			servers, drain := sockets(b, n)
			run := make([]byte, 102*changed)
			rounds(b, n, func() {
				for _, fd := range servers {
					poll.Send(fd, run)
				}
			}, drain)
		})
		b.Run(fmt.Sprintf("changed=%d/deliver", changed), func(b *testing.B) {
			servers, drain := sockets(b, n)
			symbols := many(subscribed)
			h, err := New(Config{Books: newTestBooks(symbols...), Shards: 1, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = h.shards[0].poller.Close() })
			on(h, func(s *shard) {
				for _, fd := range servers {
					c := s.unregistered(fd)
					s.conns = append(s.conns, c)
					for _, symbol := range symbols {
						s.subscribe(c, answer{}, &pb.SubscribeItem{Symbol: symbol})
					}
				}
				s.turn()
				drain()
				deltas := make([]*proto.Delta, changed)
				for i := range deltas {
					deltas[i] = delta(5)
				}
				sends := s.stats.sends.Load()
				rounds(b, n, func() {
					for i, d := range deltas {
						d.Seq++
						s.feeds[bookOf(symbols[i])].topic.Delta(d)
					}
					s.turn()
				}, drain)
				turns := (b.N + n - 1) / n * n
				b.ReportMetric(float64(s.stats.sends.Load()-sends)/float64(turns), "sends/op")
			})
		})
	}
}

// BenchmarkShards delivers to the same connections by 1, 2 and 4 shards that run on
// goroutines of their own, and reports the CPU that the process uses for each
// delivery: where there are as many processors, so many times as much is delivered
// as the figures are alike. spread is by how many connections shards differ.
func BenchmarkShards(b *testing.B) {
	const n = 4000
	for _, shards := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			books := newTestBooks(btc)
			h, err := New(Config{Books: books, Shards: shards, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			servers, drain := sockets(b, n)
			for _, fd := range servers {
				if err := h.Accept(Accepted{FD: fd, Remote: "127.0.0.1:65535"}); err != nil {
					b.Fatal(err)
				}
			}
			all := func(f func(s *shard)) {
				for i := range shards {
					h.ask(i, f)
				}
			}
			all(func(s *shard) {
				s.turn()
				for _, c := range s.conns {
					s.subscribe(c, answer{}, &pb.SubscribeItem{Symbol: btc})
				}
				s.turn()
			})
			drain()
			loads := h.Stats().ShardConns
			topic, err := h.acquire(bookOf(btc))
			if err != nil {
				b.Fatal(err)
			}
			d := delta(5)
			var used time.Duration
			rounds(b, n, func() {
				before := cpuTime()
				books.mu.Lock()
				d.Seq++
				topic.Delta(d)
				books.mu.Unlock()
				all((*shard).turn) // once it was asked, a shard has delivered
				used += cpuTime() - before
			}, drain)
			deliveries := (b.N + n - 1) / n * n
			b.ReportMetric(float64(used.Nanoseconds())/float64(deliveries), "cpu-ns/op")
			b.ReportMetric(float64(slices.Max(loads)-slices.Min(loads)), "spread")
			all(func(s *shard) {
				for len(s.conns) > 0 {
					c := s.conns[0]
					c.transport = noTransport{} // the descriptor is the benchmark's
					s.close(c)
				}
			})
			for i := range shards {
				_ = h.shards[i].poller.Close()
			}
		})
	}
}

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails for a bad argument only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
