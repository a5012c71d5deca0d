package fanout

import (
	"fmt"
	"log/slog"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// liveTopics is a hub with n topics, each read by one connection of the only shard,
// on a clock that only publishing moves.
type liveTopics struct {
	hub    *Hub
	clock  *clock
	topics []*Topic
	deltas []*proto.Delta
	drain  func()        // empties the clients' ends after each turn
	used   time.Duration // CPU of the process while it published and delivered
}

// newLiveTopics makes one whose topics are read in turn by connections over the
// descriptors fds. Without any they are read by as few connections as may be, to which
// sending costs nothing.
func newLiveTopics(tb testing.TB, n int, fds []int) *liveTopics {
	l := &liveTopics{clock: newClock(), drain: func() {}}
	symbols := many(n)
	var err error
	config := Config{Books: newTestBooks(symbols...), Shards: 1, Now: l.clock.Now, Log: slog.New(slog.DiscardHandler)}
	if fds == nil {
		config.Sockets = null{}
	}
	if l.hub, err = New(config); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.hub.shards[0].poller.Close() })
	if fds == nil {
		fds = make([]int, (n+l.hub.config.MaxSubscriptions-1)/l.hub.config.MaxSubscriptions)
	}
	on(l.hub, func(s *shard) {
		for _, fd := range fds {
			s.conns = append(s.conns, s.unregistered(fd))
		}
		for i, symbol := range symbols {
			s.subscribe(s.conns[i%len(fds)], answer{}, &pb.SubscribeItem{Symbol: symbol})
			l.topics = append(l.topics, s.feeds[bookOf(symbol)].topic)
			l.deltas = append(l.deltas, delta(5))
			if i%100 == 99 {
				s.turn()
			}
		}
		s.turn()
	})
	return l
}

// publish publishes to the first busy topics at so many changes a second each, for
// a time on the hub's clock, and delivers.
func (l *liveTopics) publish(busy int, rate float64, d time.Duration) (changes int) {
	every := time.Duration(float64(time.Second) / rate)
	on(l.hub, func(s *shard) {
		for end := l.clock.Now().Add(d); l.clock.Now().Before(end); {
			before := cpuTime()
			for i, t := range l.topics[:busy] {
				l.deltas[i].Seq++
				t.Delta(l.deltas[i])
			}
			changes += busy
			l.clock.advance(every)
			for _, c := range s.conns {
				c.heard = s.since // nobody reads the pings
			}
			s.turn()
			l.used += cpuTime() - before
			l.drain()
		}
	})
	return changes
}

// window returns how far back the first topic's ring reaches.
func (l *liveTopics) window() time.Duration {
	r := l.topics[0].ring
	e, _ := r.Get(r.Oldest())
	return time.Duration(l.clock.Now().UnixNano() - e.At())
}

// TestRingReachesBackAsFarAsItsLimitsAllow: whoever comes back within ResumeWindow
// finds its place, at any rate at which that many entries are within the limits.
func TestRingReachesBackAsFarAsItsLimitsAllow(t *testing.T) {
	for _, rate := range []float64{1, 10, 100, 500, 2000, 10_000} {
		l := newLiveTopics(t, 1, nil)
		c := &l.hub.config
		l.publish(1, rate, 12*time.Second)
		byEntries := time.Duration(float64(c.RingEntries) / rate * float64(time.Second))
		want := min(c.ResumeWindow, byEntries-time.Duration(float64(2*time.Second)/rate))
		got := l.window()
		t.Logf("%6.0f changes of 5 levels a second: %v", rate, got)
		if got < want {
			t.Errorf("at %v changes a second the ring reaches back %v, want %v", rate, got, want)
		}
	}
}

// BenchmarkLiveTopics keeps 5,000 topics open, of which 1,000 change, each at a
// rate, and have a reader behind a socket of loopback. It reports what their rings
// hold, how far back they reach, and what the garbage collector takes of the CPU time
// that publishing, encoding and sending take, when that is done as fast as it can be.
func BenchmarkLiveTopics(b *testing.B) {
	const open, busy = 5000, 1000
	for _, rate := range []float64{10, 100, 1000} {
		b.Run(fmt.Sprintf("busy=%d/rate=%.0f", busy, rate), func(b *testing.B) {
			servers, drain := sockets(b, busy)
			for range b.N {
				before := heapInUse()
				l := newLiveTopics(b, open, servers)
				l.drain = drain
				drain()
				l.publish(busy, rate, time.Duration(600/rate*float64(time.Second))) // until nothing grows
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				gc, used, cycles, changes := gcTime(), l.used, m.NumGC, 0
				for changes < 1000*busy || m.NumGC < cycles+3 { // to the end of a cycle
					changes += l.publish(busy, rate, time.Duration(20/rate*float64(time.Second)))
					runtime.ReadMemStats(&m)
				}
				gc, used = gcTime()-gc, l.used-used
				b.ReportMetric(float64(used.Nanoseconds())/float64(changes), "cpu-ns/change")
				b.ReportMetric(float64(gc.Nanoseconds())/float64(changes), "gc-ns/change")
				b.ReportMetric(100*float64(gc)/float64(used), "gc-%")
				b.ReportMetric(float64(l.hub.budget.Used())/(1<<20), "rings-MiB")
				b.ReportMetric(float64(heapInUse()-before)/(1<<20), "heap-MiB")
				b.ReportMetric(float64(m.Sys-m.HeapReleased)/(1<<20), "process-MiB")
				b.ReportMetric(l.window().Seconds(), "window-s")
			}
		})
	}
}

// gcTime returns the CPU time that the garbage collector has used up to the end of its
// last cycle.
func gcTime() time.Duration {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(s)
	return time.Duration(s[0].Value.Float64() * float64(time.Second))
}
