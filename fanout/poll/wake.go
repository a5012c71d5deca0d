//go:build linux

package poll

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Wake makes a turn happen soon. Calls before that turn begins become one: at most
// one write(2) for each turn. Any goroutine may call it, also after Close; it does
// not block or allocate.
//
// What the turn is to find must be published (by a lock or an atomic) before the
// call: it is then seen by a turn that has yet to begin.
func (p *Poller) Wake() { p.waker.wake() }

// WakeAt makes a turn happen at the deadline, or within tens of microseconds after
// it, or at once if it is past. A poller has one deadline: a new one replaces the
// old, the zero time takes it away, and the turn it causes uses it up. A turn that
// finds itself early (the wall clock was set, or a deadline that was replaced had
// just expired) calls WakeAt again. Only the loop's goroutine may call it, in a
// turn or a handler. It allocates nothing.
func (p *Poller) WakeAt(deadline time.Time) { p.timer.set(deadline) }

// waker is an eventfd, registered edge-triggered: each write is one event, and
// nobody has to read it (2^64 writes do not happen).
type waker struct {
	// Static.
	fd   int
	turn func()

	// pending is true from the first Wake until the turn begins.
	pending atomic.Bool

	// mu keeps a late Wake from writing to whatever has the number fd after close.
	mu     sync.Mutex
	closed bool
}

func newWaker(turn func()) (*waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("poll: eventfd: %w", err)
	}
	return &waker{fd: fd, turn: turn}, nil
}

// one is what is added to the eventfd's counter.
var one uint64 = 1

func (w *waker) wake() {
	if w.pending.Load() || w.pending.Swap(true) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	// Cannot block (EFD_NONBLOCK) and cannot fail: the counter is far from full.
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(w.fd), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
}

// Ready begins a turn. Swap rather than Store: it must also see all that was
// published before the Wake it answers.
func (w *waker) Ready(Events) {
	w.pending.Swap(false)
	w.turn()
}

func (w *waker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	_ = unix.Close(w.fd) // an eventfd has nothing left to write
}

// timer is a timerfd, registered edge-triggered. It was preferred to a time.Timer
// that calls Wake: that needs a goroutine and an eventfd write for each expiry, and
// is late when the loop, waiting in epoll, holds the P that the timer belongs to
// (BenchmarkDeadline).
type timer struct {
	// Static.
	fd   int
	turn func()

	// Owned by the loop's goroutine.
	deadline time.Time // zero when none is pending
}

func newTimer(turn func()) (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("poll: timerfd: %w", err)
	}
	return &timer{fd: fd, turn: turn}, nil
}

func (t *timer) set(deadline time.Time) {
	if deadline.Equal(t.deadline) {
		return
	}
	t.deadline = deadline
	var spec unix.ItimerSpec // the zero value disarms
	if !deadline.IsZero() {
		spec.Value = unix.NsecToTimespec(int64(max(time.Until(deadline), 1)))
	}
	// Fails only for a bad descriptor or a time out of range: neither can be.
	_ = unix.TimerfdSettime(t.fd, 0, &spec, nil)
}

// Ready runs a turn at the deadline. The deadline is forgotten even if set has
// changed it within this batch: set then arms it again, which does no harm, while
// a deadline remembered but past would never be armed again.
func (t *timer) Ready(Events) {
	t.deadline = time.Time{}
	t.turn()
}

func (t *timer) close() {
	_ = unix.Close(t.fd)
}
