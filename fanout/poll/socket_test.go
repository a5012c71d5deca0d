//go:build linux

package poll

import (
	"bytes"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tcpPair returns two ends of a loopback connection as descriptors that no poller
// knows. ours has the smallest send buffer that the kernel allows.
func tcpPair(t testing.TB) (ours, peer int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed := make(chan net.Conn, 1)
	go func() {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Error(err)
		}
		dialed <- conn
	}()
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ends := [2]int{}
	for i, conn := range []net.Conn{accepted, wait(t, dialed, "dial")} {
		if ends[i], err = Detach(conn); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.SetsockoptInt(ends[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1); err != nil {
		t.Fatal(err)
	}
	return ends[0], ends[1]
}

// reset ends a connection with RST.
func reset(t testing.TB, fd int) {
	t.Helper()
	check(t, unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	shut(t, fd)
}

func TestFullSocketTakesAPartThenSaysAgainAndLosesNothing(t *testing.T) {
	for name, open := range map[string]func(testing.TB) (int, int){"tcp": tcpPair, "unix": pair} {
		t.Run(name, func(t *testing.T) { fill(t, open) })
	}
}

func fill(t *testing.T, open func(testing.TB) (int, int)) {
	l := newLoop(t)
	ours, peer := open(t)
	message := make([]byte, 1<<20)
	for i := range message {
		message[i] = byte(i ^ i>>8 ^ i>>16)
	}
	changed := make(chan struct{}, 1) // something became possible since it was last empty
	signal := ready(func(Events) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	check(t, l.Add(ours, Out|edge, signal))
	check(t, l.Add(peer, In|edge, signal))

	var received []byte
	buf := make([]byte, 1<<16)
	sent, seen := 0, map[Class]int{}
	for {
		for sent < len(message) {
			n, class, errno := Send(ours, message[sent:])
			seen[class]++
			sent += n
			switch {
			case class == Again && (n != 0 || errno != unix.EAGAIN):
				t.Fatalf("again with %d bytes, %v", n, errno)
			case class == Partial && (n == 0 || sent == len(message)):
				t.Fatalf("partial with %d bytes", n)
			case class == OK && sent != len(message):
				t.Fatalf("ok, and %d of %d bytes sent", sent, len(message))
			case class > Again:
				t.Fatalf("%v: %v", class, errno)
			}
			if class == Again {
				break
			}
		}
		for {
			n, class, _ := Recv(peer, buf)
			if class == Again {
				break
			}
			received = append(received, buf[:n]...)
		}
		if len(received) == len(message) {
			break
		}
		wait(t, changed, "room to write or bytes to read")
	}
	if seen[Partial] == 0 || seen[Again] == 0 || seen[OK] != 1 {
		t.Errorf("classes met: %v", seen)
	}
	if !bytes.Equal(received, message) {
		t.Error("the bytes received are not those sent")
	}
	l.do(func() { check(t, l.Del(ours)); check(t, l.Del(peer)) })
	shut(t, ours, peer)
}

func TestResetPeerIsGone(t *testing.T) {
	l := newLoop(t)
	ours, peer := tcpPair(t)
	ended := make(chan Events, 1)
	check(t, l.Add(ours, 0, ready(func(events Events) {
		check(t, l.Del(ours))
		ended <- events
	})))
	reset(t, peer)
	if events := wait(t, ended, "the reset"); !events.Readable() || !events.Writable() {
		t.Errorf("events of a reset: %x", events)
	}
	if n, class, errno := Send(ours, []byte("x")); n != 0 || class != Gone || errno != unix.ECONNRESET {
		t.Errorf("first send after a reset: %d, %v, %v", n, class, errno)
	}
	if n, class, errno := Send(ours, []byte("x")); n != 0 || class != Gone || errno != unix.EPIPE {
		t.Errorf("second send after a reset: %d, %v, %v", n, class, errno)
	}
	shut(t, ours)
}

func TestResetPeerIsGoneForReaders(t *testing.T) {
	l := newLoop(t)
	ours, peer := tcpPair(t)
	class := make(chan Class, 1)
	check(t, l.Add(ours, In, ready(func(Events) {
		_, c, _ := Recv(ours, make([]byte, 8))
		check(t, l.Del(ours))
		class <- c
	})))
	reset(t, peer)
	if c := wait(t, class, "the reset"); c != Gone {
		t.Errorf("class %v", c)
	}
	shut(t, ours)
}

func TestEndOfPeerIsNotAnError(t *testing.T) {
	ours, peer := pair(t)
	send(t, peer, "last")
	check(t, unix.Shutdown(peer, unix.SHUT_WR))
	buf := make([]byte, 8)
	if n, class, errno := Recv(ours, buf); string(buf[:n]) != "last" || class != OK || errno != 0 {
		t.Errorf("%q, %v, %v", buf[:n], class, errno)
	}
	if n, class, errno := Recv(ours, buf); n != 0 || class != EOF || errno != 0 {
		t.Errorf("%d, %v, %v", n, class, errno)
	}
	send(t, ours, "still heard")
	shut(t, ours, peer)
}

func TestClosedPeerIsGoneWithoutASignal(t *testing.T) {
	ours, peer := pair(t)
	shut(t, peer)
	if _, class, errno := Send(ours, []byte("x")); class != Gone || errno != unix.EPIPE {
		t.Errorf("%v, %v", class, errno)
	}
	shut(t, ours)
}

func TestNothingWaitsOnABlockingDescriptor(t *testing.T) {
	ours, peer := pair(t)
	check(t, unix.SetNonblock(ours, false))
	if _, class, _ := Recv(ours, make([]byte, 1)); class != Again {
		t.Errorf("recv: %v", class)
	}
	buf := make([]byte, 1<<20)
	for {
		if _, class, _ := Send(ours, buf); class == Again {
			break
		}
	}
	shut(t, ours, peer)
}

func TestEmptyBuffersMakeNoSystemCall(t *testing.T) {
	const none = -1 // any call with it would be Failed
	for _, buf := range [][]byte{nil, {}, make([]byte, 8)[8:]} {
		if n, class, errno := Send(none, buf); n != 0 || class != OK || errno != 0 {
			t.Errorf("send: %d, %v, %v", n, class, errno)
		}
		if n, class, errno := Recv(none, buf); n != 0 || class != OK || errno != 0 {
			t.Errorf("recv: %d, %v, %v", n, class, errno)
		}
	}
}

func TestEveryErrorHasAClass(t *testing.T) {
	for errno, want := range map[syscall.Errno]Class{
		unix.EAGAIN: Again, unix.EPIPE: Gone, unix.ECONNRESET: Gone, unix.ECONNABORTED: Gone,
		unix.ECONNREFUSED: Gone, unix.ENOTCONN: Gone, unix.ESHUTDOWN: Gone, unix.ETIMEDOUT: Gone,
		unix.EHOSTUNREACH: Gone, unix.EHOSTDOWN: Gone, unix.ENETUNREACH: Gone, unix.ENETDOWN: Gone,
		unix.ENETRESET: Gone, unix.EBADF: Failed, unix.ENOTSOCK: Failed, unix.EFAULT: Failed,
		unix.EINVAL: Failed, unix.ENOBUFS: Failed, unix.ENOMEM: Failed,
	} {
		if class := classOf(errno); class != want {
			t.Errorf("%v is %v, want %v", errno, class, want)
		}
	}
	if _, class, errno := Send(-1, []byte("x")); class != Failed || errno != unix.EBADF {
		t.Errorf("send on no descriptor: %v, %v", class, errno)
	}
	if _, class, errno := Recv(-1, make([]byte, 1)); class != Failed || errno != unix.EBADF {
		t.Errorf("recv on no descriptor: %v, %v", class, errno)
	}
}

func TestMovingBytesAllocatesNothing(t *testing.T) {
	ours, peer := pair(t)
	message, buf := make([]byte, 100), make([]byte, 200)
	var sockets Sockets = Kernel{}
	if n := testing.AllocsPerRun(1000, func() {
		sockets.Send(ours, message)
		sockets.Recv(peer, buf)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	shut(t, ours, peer)
}
