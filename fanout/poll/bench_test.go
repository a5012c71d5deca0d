//go:build linux

package poll

import (
	"syscall"
	"testing"
	"time"
)

// BenchmarkSend compares what one delivery costs: the same bytes through a
// socketpair by Send and by syscall.Write, drained alike.
func BenchmarkSend(b *testing.B) {
	message := make([]byte, 102)
	for name, send := range map[string]func(fd int) bool{
		"sendto": func(fd int) bool { _, class, _ := Send(fd, message); return class == OK },
		"write":  func(fd int) bool { n, err := syscall.Write(fd, message); return err == nil && n == len(message) },
	} {
		b.Run(name, func(b *testing.B) {
			ours, peer := pair(b)
			buf := make([]byte, 1<<16)
			b.ReportAllocs()
			for i := range b.N {
				if !send(ours) {
					b.Fatal("not sent")
				}
				if i%64 == 63 { // in bulk, so that draining weighs little
					Recv(peer, buf)
				}
			}
			shut(b, ours, peer)
		})
	}
}

func BenchmarkWake(b *testing.B) {
	turn := make(chan struct{}, 1)
	p, err := New(Config{Turn: func() { turn <- struct{}{} }, OnFatal: func(err error) { b.Error(err) }})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for range b.N {
		p.Wake()
		<-turn
	}
	check(b, p.Close())
}

// BenchmarkDeadline reports how late a turn is for a deadline 1 ms away, by the
// timerfd and by a time.Timer that calls Wake.
func BenchmarkDeadline(b *testing.B) {
	for _, byRuntime := range []bool{false, true} {
		name := map[bool]string{false: "timerfd", true: "runtime"}[byRuntime]
		b.Run(name, func(b *testing.B) {
			var (
				p        *Poller
				deadline time.Time // owned by the loop, as late and left
				late     time.Duration
				left     = b.N
			)
			done, start := make(chan struct{}), make(chan struct{})
			timer := time.AfterFunc(time.Hour, func() { p.Wake() })
			p, err := New(Config{
				Turn: func() {
					<-start
					now := time.Now()
					if !deadline.IsZero() {
						late += now.Sub(deadline)
					}
					if left--; left < 0 {
						close(done)
						return
					}
					deadline = now.Add(time.Millisecond)
					if byRuntime {
						timer.Reset(time.Millisecond)
					} else {
						p.WakeAt(deadline)
					}
				},
				OnFatal: func(err error) { b.Error(err) },
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			close(start)
			p.Wake()
			<-done
			check(b, p.Close())
			timer.Stop()
			b.ReportMetric(float64(late.Nanoseconds())/float64(b.N), "late-ns/op")
		})
	}
}
