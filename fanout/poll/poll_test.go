//go:build linux

package poll

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for an event that must come.
const patience = time.Minute

func wait[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not happen in %v", what, patience)
		panic("unreachable")
	}
}

type ready func(Events)

func (f ready) Ready(events Events) { f(events) }

// loop is a poller whose turn runs what do hands it.
type loop struct {
	*Poller
	t     testing.TB
	work  chan func()
	turns atomic.Int64
}

func newLoop(t testing.TB) *loop {
	t.Helper()
	l := &loop{t: t, work: make(chan func(), 16)}
	p, err := New(Config{Turn: l.turn, OnFatal: func(err error) { t.Errorf("loop ended: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	l.Poller = p
	t.Cleanup(func() {
		if err := p.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return l
}

func (l *loop) turn() {
	l.turns.Add(1)
	for range len(l.work) { // not what comes meanwhile: that is for the next turn
		(<-l.work)()
	}
}

// do runs f on the loop's goroutine and returns when it has run.
func (l *loop) do(f func()) {
	l.t.Helper()
	done := make(chan struct{})
	l.work <- func() { defer close(done); f() }
	l.Wake()
	wait(l.t, done, "a turn")
}

func pair(t testing.TB) (ours, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func send(t testing.TB, fd int, text string) {
	t.Helper()
	if n, class, errno := Send(fd, []byte(text)); n != len(text) || class != OK {
		t.Fatalf("send: %d, %v, %v", n, class, errno)
	}
}

func shut(t testing.TB, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if err := Close(fd); err != nil {
			t.Error(err)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestReadableSocketIsReported(t *testing.T) {
	l := newLoop(t)
	ours, peer := pair(t)
	got := make(chan string, 1)
	check(t, l.Add(ours, In, ready(func(events Events) {
		buf := make([]byte, 16)
		n, class, _ := Recv(ours, buf)
		if !events.Readable() || events.Writable() || class != OK {
			t.Errorf("events %x, class %v", events, class)
		}
		got <- string(buf[:n])
	})))
	send(t, peer, "hello")
	if text := wait(t, got, "readiness"); text != "hello" {
		t.Fatalf("received %q", text)
	}
	l.do(func() { check(t, l.Del(ours)) })
	shut(t, ours, peer)
}

func TestWritableIsReportedOnlyWhenArmed(t *testing.T) {
	l := newLoop(t)
	ours, peer := pair(t)
	writable := make(chan struct{}, 1)
	calls := 0 // owned by the loop
	check(t, l.Add(ours, In, ready(func(events Events) {
		calls++
		if !events.Writable() {
			t.Errorf("events %x", events)
		}
		check(t, l.Mod(ours, In))
		writable <- struct{}{}
	})))
	buf := make([]byte, 1<<16)
	for {
		if _, class, _ := Send(ours, buf); class == Again {
			break
		}
	}
	l.do(func() {
		if calls != 0 {
			t.Errorf("called %d times with nothing armed", calls)
		}
		check(t, l.Mod(ours, In|Out))
	})
	l.do(func() {
		if calls != 0 {
			t.Error("a full socket was reported as writable")
		}
	})
	for {
		if _, class, _ := Recv(peer, buf); class == Again {
			break
		}
	}
	wait(t, writable, "room in the socket")
	l.do(func() {})
	l.do(func() {
		if calls != 1 {
			t.Errorf("called %d times, armed once", calls)
		}
		check(t, l.Del(ours))
	})
	shut(t, ours, peer)
}

func TestEndOfPeerReachesHandlerThatWantsNothing(t *testing.T) {
	l := newLoop(t)
	ours, peer := pair(t)
	class := make(chan Class, 1)
	check(t, l.Add(ours, 0, ready(func(events Events) {
		if !events.Readable() || !events.Writable() {
			t.Errorf("hang-up %x is not readable and writable", events)
		}
		_, c, _ := Recv(ours, make([]byte, 1))
		check(t, l.Del(ours))
		class <- c
	})))
	shut(t, peer)
	if c := wait(t, class, "the hang-up"); c != EOF {
		t.Errorf("class %v", c)
	}
	shut(t, ours)
}

func TestDescriptorCanBeUsedAgainAfterDel(t *testing.T) {
	l := newLoop(t)
	for range 100 {
		ours, peer := pair(t)
		got := make(chan struct{}, 1)
		check(t, l.Add(ours, In, ready(func(Events) {
			check(t, l.Del(ours))
			shut(t, ours)
			got <- struct{}{}
		})))
		send(t, peer, "x")
		wait(t, got, "readiness")
		shut(t, peer)
	}
}

func TestDescriptorClosedWithoutDelIsRefused(t *testing.T) {
	l := newLoop(t)
	ours, peer := pair(t)
	check(t, l.Add(ours, In, ready(func(Events) {})))
	if err := l.Add(ours, In, ready(func(Events) {})); !errors.Is(err, ErrRegistered) {
		t.Errorf("second Add: %v", err)
	}
	shut(t, ours)
	if err := unix.Dup3(peer, ours, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := l.Add(ours, In, ready(func(Events) {})); !errors.Is(err, ErrRegistered) {
		t.Errorf("Add after a close without Del: %v", err)
	}
	// Del takes the callback back even though epoll knows nothing of it any more.
	if err := l.Del(ours); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Del: %v", err)
	}
	check(t, l.Add(ours, In, ready(func(Events) {})))
	check(t, l.Del(ours))
	shut(t, ours, peer)
}

func TestFailedAddLeavesNothingBehind(t *testing.T) {
	l := newLoop(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "regular"))
	if err != nil {
		t.Fatal(err)
	}
	fd := int(file.Fd())
	for range 2 { // the second would say ErrRegistered if an entry were left
		if err := l.Add(fd, In, ready(func(Events) {})); !errors.Is(err, unix.EPERM) {
			t.Fatalf("Add of a regular file: %v", err)
		}
	}
	if err := l.Del(fd); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("Del: %v", err)
	}
	if err := l.Mod(fd, In); !errors.Is(err, ErrNotRegistered) {
		t.Errorf("Mod: %v", err)
	}
	check(t, file.Close())
}

// stale closes its partner when it is called, puts a new socket in the place of
// the partner's descriptor, and notes when it is called after its own end.
type stale struct {
	fd      int
	closed  bool
	late    int
	partner *stale
	replace func(fd int)
}

func (s *stale) Ready(Events) {
	if s.closed {
		s.late++
		return
	}
	if !s.partner.closed {
		s.partner.closed = true
		s.replace(s.partner.fd)
	}
}

func TestStaleEventOfABatchDoesNotReachTheSuccessor(t *testing.T) {
	l := newLoop(t)
	a, peerA := pair(t)
	b, peerB := pair(t)
	fresh, peerFresh := pair(t)
	successor := make(chan string, 1)
	replaced := 0
	replace := func(fd int) {
		replaced = fd
		check(t, l.Del(fd))
		// Closes fd and gives its number to fresh at once.
		check(t, unix.Dup3(fresh, fd, unix.O_CLOEXEC))
		check(t, l.Add(fd, In, ready(func(Events) {
			buf := make([]byte, 16)
			n, _, _ := Recv(fd, buf)
			successor <- string(buf[:n])
		})))
	}
	first, second := &stale{fd: a, replace: replace}, &stale{fd: b, replace: replace}
	first.partner, second.partner = second, first
	check(t, l.Add(a, In, first))
	check(t, l.Add(b, In, second))
	l.do(func() { // while the loop is here both become ready: one batch
		send(t, peerA, "x")
		send(t, peerB, "x")
	})
	l.do(func() {
		if first.late+second.late != 1 {
			t.Errorf("%d late calls: the batch this test is about did not happen", first.late+second.late)
		}
		if len(successor) != 0 {
			t.Error("the successor was called for its predecessor")
		}
	})
	send(t, peerFresh, "successor")
	if text := wait(t, successor, "readiness of the successor"); text != "successor" {
		t.Errorf("the successor received %q", text)
	}
	l.do(func() { check(t, l.Del(a)); check(t, l.Del(b)) })
	if replaced == 0 {
		t.Error("nothing was replaced")
	}
	shut(t, a, b, fresh, peerA, peerB, peerFresh)
}

func TestHandlersHearNothingOfClose(t *testing.T) {
	l := newLoop(t)
	ours, peer := pair(t)
	calls := 0 // read after Close, which ends the loop
	check(t, l.Add(ours, In, ready(func(Events) { calls++ })))
	l.do(func() {})
	turns := l.turns.Load()
	check(t, l.Close())
	if calls != 0 || l.turns.Load() != turns {
		t.Errorf("%d calls and %d turns by Close", calls, l.turns.Load()-turns)
	}
	if err := l.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	for name, err := range map[string]error{
		"Add": l.Add(peer, In, ready(func(Events) {})),
		"Mod": l.Mod(ours, In),
		"Del": l.Del(ours),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	shut(t, ours, peer)
}

func TestLateWakeWritesToNobody(t *testing.T) {
	l := newLoop(t)
	ours, peer := pair(t)
	fd := l.waker.fd
	check(t, l.Close())
	check(t, unix.Dup3(ours, fd, unix.O_CLOEXEC)) // a client gets the number
	l.Wake()
	if n, class, _ := Recv(peer, make([]byte, 16)); class != Again {
		t.Errorf("a client received %d bytes of a wake-up: %v", n, class)
	}
	shut(t, fd, ours, peer)
}

func TestPollersLeaveNoDescriptors(t *testing.T) {
	before := len(descriptors(t, ""))
	for range 10 {
		p, err := New(Config{Turn: func() {}, OnFatal: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		p.Wake()
		check(t, p.Close())
	}
	if after := len(descriptors(t, "")); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// descriptors returns the open descriptors whose /proc link is target, or all.
func descriptors(t testing.TB, target string) (fds []int) {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("needs /proc: %v", err)
	}
	for _, name := range names {
		link, err := os.Readlink("/proc/self/fd/" + name.Name())
		if err != nil || target != "" && link != target {
			continue // gone meanwhile: the one that reads the directory
		}
		fd, err := strconv.Atoi(name.Name())
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	return fds
}

func TestFailedWaitIsReportedOnceAndForGood(t *testing.T) {
	const epoll = "anon_inode:[eventpoll]"
	before := map[int]bool{}
	for _, fd := range descriptors(t, epoll) {
		before[fd] = true
	}
	fatal := make(chan error, 4)
	p, err := New(Config{Turn: func() {}, OnFatal: func(err error) { fatal <- err }})
	if err != nil {
		t.Fatal(err)
	}
	broken := 0
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range descriptors(t, epoll) {
		if !before[fd] {
			broken++
			check(t, unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC))
		}
	}
	if broken != 1 {
		t.Fatalf("%d epoll descriptors of a new poller", broken)
	}
	p.Wake() // ends the wait that is under way; the next one fails
	if err := wait(t, fatal, "OnFatal"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("fatal: %v", err)
	}
	if err := p.Add(int(null.Fd()), In, ready(func(Events) {})); !errors.Is(err, ErrClosed) {
		t.Errorf("Add to a dead poller: %v", err)
	}
	check(t, p.Close())
	if len(fatal) != 0 {
		t.Error("reported twice")
	}
	check(t, null.Close())
}

func TestIncompleteConfigIsRefused(t *testing.T) {
	for _, c := range []Config{{}, {Turn: func() {}}, {OnFatal: func(error) {}}} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%v", err)
		}
	}
}
