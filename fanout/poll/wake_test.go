//go:build linux

package poll

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// writes returns how many wake-ups were written since the last call: nobody else
// reads the eventfd. A wake-up that is read before the loop has seen it is lost.
func (l *loop) writes() uint64 {
	var count [8]byte
	if _, err := unix.Read(l.waker.fd, count[:]); err != nil {
		return 0 // EAGAIN: none
	}
	return binary.NativeEndian.Uint64(count[:])
}

func TestWakesBeforeATurnAreOneWrite(t *testing.T) {
	l := newLoop(t)
	entered, leave, next := make(chan struct{}), make(chan struct{}), make(chan struct{})
	l.work <- func() { close(entered); <-leave }
	l.Wake()
	wait(t, entered, "the turn")
	l.writes() // that of the turn under way

	l.work <- func() { close(next) }
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 1000 {
				l.Wake()
			}
		})
	}
	group.Wait()
	close(leave)
	wait(t, next, "the turn after")
	if n := l.writes(); n != 1 {
		t.Errorf("8000 calls during a turn made %d writes", n)
	}
}

func TestNoWakeIsLost(t *testing.T) {
	const workers, rounds = 4, 3000
	var posted, seen atomic.Int64
	finished := make(chan struct{})
	var once sync.Once
	p, err := New(Config{
		Turn: func() {
			if seen.Store(posted.Load()); seen.Load() == workers*rounds {
				once.Do(func() { close(finished) })
			}
		},
		OnFatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for range workers {
		go func() {
			for range rounds {
				posted.Add(1)
				p.Wake()
			}
		}()
	}
	// If a wake-up were lost, the last posts would stay unseen and nothing more come.
	wait(t, finished, "the turn after the last wake-up")
	check(t, p.Close())
}

func TestDeadlineMakesATurn(t *testing.T) {
	fired := make(chan time.Time, 16)
	var p *Poller
	var deadlines []time.Time // owned by the loop
	start := make(chan struct{})
	p, err := New(Config{
		Turn: func() {
			<-start
			fired <- time.Now()
			if len(deadlines) > 0 {
				p.WakeAt(deadlines[0])
				deadlines = deadlines[1:]
			}
		},
		OnFatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	want := []time.Time{
		now.Add(5 * time.Millisecond),
		now.Add(10 * time.Millisecond),
		now.Add(-time.Hour), // past: at once
		now.Add(20 * time.Millisecond),
	}
	deadlines = append(deadlines, want...)
	close(start)
	p.Wake()
	wait(t, fired, "the first turn")
	for i, deadline := range want {
		if at := wait(t, fired, "a deadline"); at.Before(deadline) {
			t.Errorf("deadline %d: turn %v early", i, deadline.Sub(at))
		}
	}
	check(t, p.Close())
	if len(fired) != 0 {
		t.Errorf("%d turns too many", len(fired))
	}
}

func TestNewDeadlineReplacesTheOld(t *testing.T) {
	l := newLoop(t)
	armed := func() (spec unix.ItimerSpec) {
		check(t, unix.TimerfdGettime(l.timer.fd, &spec))
		return spec
	}
	l.do(func() {
		l.WakeAt(time.Now().Add(time.Hour))
		if spec := armed(); spec.Value.Sec < 3590 {
			t.Errorf("armed for %v", spec)
		}
		l.WakeAt(time.Now().Add(time.Minute))
		if spec := armed(); spec.Value.Sec < 50 || spec.Value.Sec > 60 {
			t.Errorf("armed for %v", spec)
		}
		l.WakeAt(time.Time{})
		if spec := armed(); spec != (unix.ItimerSpec{}) {
			t.Errorf("armed for %v after the deadline was taken away", spec)
		}
	})
}

func TestDeadlineCanBeSetAgainAfterItExpired(t *testing.T) {
	// A turn that finds a wall-clock deadline not yet reached asks for it again.
	fired := make(chan struct{}, 16)
	deadline := time.Now().Add(2 * time.Millisecond)
	var p *Poller
	turns := 0
	start := make(chan struct{})
	p, err := New(Config{
		Turn: func() {
			<-start
			if turns++; turns < 4 {
				p.WakeAt(deadline)
			}
			fired <- struct{}{}
		},
		OnFatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	close(start)
	p.Wake()
	for range 4 {
		wait(t, fired, "the turn of a deadline set again")
	}
	check(t, p.Close())
}

func TestWakingAllocatesNothing(t *testing.T) {
	l := newLoop(t)
	if n := testing.AllocsPerRun(1000, l.Wake); n != 0 {
		t.Errorf("%v allocations a wake-up", n)
	}
	l.do(func() {
		base, i := time.Now().Add(time.Hour), 0
		if n := testing.AllocsPerRun(1000, func() {
			i++
			l.WakeAt(base.Add(time.Duration(i)))
		}); n != 0 {
			t.Errorf("%v allocations a deadline", n)
		}
		l.WakeAt(time.Time{})
	})
}
