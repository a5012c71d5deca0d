//go:build linux

package poll

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// polled reports whether an epoll instance of this process watches the file that
// fd refers to, by inode, so that duplicates count too.
func polled(t *testing.T, fd int) bool {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		t.Fatal(err)
	}
	wanted := fmt.Sprintf("ino:%x", stat.Ino)
	for _, epoll := range descriptors(t, "anon_inode:[eventpoll]") {
		info, err := os.Open(fmt.Sprintf("/proc/self/fdinfo/%d", epoll))
		if err != nil {
			continue // another test's, closed meanwhile
		}
		lines := bufio.NewScanner(info)
		for lines.Scan() {
			for _, word := range strings.Fields(lines.Text()) {
				if word == wanted {
					check(t, info.Close())
					return true
				}
			}
		}
		check(t, info.Close())
	}
	return false
}

func TestDetachedDescriptorIsKnownToNoPoller(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	peer, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	check(t, raw.Control(func(fd uintptr) {
		if !polled(t, int(fd)) {
			t.Error("the runtime's poller does not show: this test proves nothing")
		}
	}))

	fd, err := Detach(conn)
	if err != nil {
		t.Fatal(err)
	}
	if polled(t, fd) {
		t.Error("still registered in a poller")
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the inner connection is still open: %v", err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("not nonblocking: %x, %v", flags, err)
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("inherited by programs this one starts: %x, %v", flags, err)
	}

	// The connection lives on, in both directions, and ends with the duplicate.
	l := newLoop(t)
	got := make(chan string, 1)
	check(t, l.Add(fd, In, ready(func(Events) {
		buf := make([]byte, 16)
		n, _, _ := Recv(fd, buf)
		send(t, fd, "answer")
		check(t, l.Del(fd))
		shut(t, fd)
		got <- string(buf[:n])
	})))
	if _, err := peer.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if text := wait(t, got, "the question"); text != "question" {
		t.Errorf("received %q", text)
	}
	answer := make([]byte, 16)
	if n, err := peer.Read(answer); err != nil || string(answer[:n]) != "answer" {
		t.Errorf("received %q, %v", answer[:n], err)
	}
	if n, err := peer.Read(answer); n != 0 || err == nil {
		t.Errorf("the connection outlived its descriptor: %d, %v", n, err)
	}
}

func TestConnectionWithoutDescriptorIsRefusedAndClosed(t *testing.T) {
	ours, peer := net.Pipe()
	if fd, err := Detach(ours); fd != -1 || !errors.Is(err, ErrNoDescriptor) {
		t.Errorf("%d, %v", fd, err)
	}
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("left open")
	}
}

func TestClosedConnectionCannotBeDetached(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	check(t, conn.Close())
	if fd, err := Detach(conn); fd != -1 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("%d, %v", fd, err)
	}
}
