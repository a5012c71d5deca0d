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
}

func newLiveTopics(tb testing.TB, n int) *liveTopics {
	l := &liveTopics{clock: newClock()}
	symbols := many(n)
	var err error
	l.hub, err = New(Config{Books: newTestBooks(symbols...), Shards: 1, Sockets: null{}, Now: l.clock.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.hub.shards[0].poller.Close() })
	on(l.hub, func(s *shard) {
		for i, symbol := range symbols {
			if i%s.config.MaxSubscriptions == 0 {
				s.conns = append(s.conns, &conn{shard: s, transport: &plain{sockets: null{}}, heard: s.since, place: uint32(len(s.conns))})
			}
			s.subscribe(s.conns[len(s.conns)-1], answer{}, &pb.SubscribeItem{Symbol: symbol})
			l.topics = append(l.topics, s.feeds[proto.TopicKey{Symbol: symbol, Channel: proto.ChannelBook}].topic)
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
		l := newLiveTopics(t, 1)
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
// rate, and reports what their rings hold, how far back they reach, and the share
// of the process's CPU time that the garbage collector takes when that is done as
// fast as it can be.
func BenchmarkLiveTopics(b *testing.B) {
	const open, busy = 5000, 1000
	for _, rate := range []float64{10, 100, 1000} {
		b.Run(fmt.Sprintf("busy=%d/rate=%.0f", busy, rate), func(b *testing.B) {
			for range b.N {
				before := heapInUse()
				l := newLiveTopics(b, open)
				l.publish(busy, rate, time.Duration(6000/rate*float64(time.Second)/10)) // until nothing grows
				gc, all := gcTime()
				began := time.Now()
				changes := l.publish(busy, rate, time.Duration(2000/rate*float64(time.Second)))
				took := time.Since(began)
				gc2, all2 := gcTime()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				b.ReportMetric(float64(took.Nanoseconds())/float64(changes), "ns/change")
				b.ReportMetric(100*(gc2-gc)/(all2-all), "gc-%")
				b.ReportMetric(float64(l.hub.budget.Used())/(1<<20), "rings-MiB")
				b.ReportMetric(float64(heapInUse()-before)/(1<<20), "heap-MiB")
				b.ReportMetric(float64(m.Sys-m.HeapReleased)/(1<<20), "process-MiB")
				b.ReportMetric(l.window().Seconds(), "window-s")
			}
		})
	}
}

// gcTime returns the CPU time of the garbage collector and of all that ran, in s.
func gcTime() (gc, all float64) {
	runtime.GC() // the estimates are brought up to date at its end
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64(), s[1].Value.Float64() - s[2].Value.Float64()
}
