//go:build linux

package polltest

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/poll"
)

func expect(t *testing.T, n int, class poll.Class, wantN int, want poll.Class) {
	t.Helper()
	if n != wantN || class != want {
		t.Fatalf("%d, %v; want %d, %v", n, class, wantN, want)
	}
}

func TestScriptIsFollowedThenTheKernel(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, peer := fds[0], fds[1]
	var s Sockets
	s.OnSend(ours, Take(2), Again(2), Take(9))
	for _, step := range []struct {
		text  string
		n     int
		class poll.Class
	}{{"hello", 2, poll.Partial}, {"llo", 0, poll.Again}, {"llo", 0, poll.Again}, {"llo", 3, poll.OK}, {"!", 1, poll.OK}} {
		n, class, _ := s.Send(ours, []byte(step.text))
		expect(t, n, class, step.n, step.class)
	}
	if string(s.Sent(ours)) != "hello!" || s.Sends(ours) != 5 {
		t.Fatalf("sent %q in %d calls", s.Sent(ours), s.Sends(ours))
	}
	buf := make([]byte, 16)
	s.OnRecv(peer, Take(4), Again(1))
	n, class, _ := s.Recv(peer, buf)
	expect(t, n, class, 4, poll.OK)
	n, class, _ = s.Recv(peer, buf)
	expect(t, n, class, 0, poll.Again)
	n, class, _ = s.Recv(peer, buf)
	expect(t, n, class, 2, poll.OK)
	for _, fd := range fds {
		if err := s.Close(fd); err != nil {
			t.Fatal(err)
		}
	}
	if s.Close(ours) == nil || s.Closes(ours) != 2 {
		t.Fatal("a second close passed unnoticed")
	}
}

func TestVirtualSocketsNeedNoKernel(t *testing.T) {
	var s Sockets
	fd := s.Virtual()
	buf := make([]byte, 3)
	n, class, _ := s.Recv(fd, buf)
	expect(t, n, class, 0, poll.Again)
	s.OnRecv(fd, Data([]byte("abcde")), EOF())
	n, class, _ = s.Recv(fd, buf)
	expect(t, n, class, 3, poll.OK)
	n, class, _ = s.Recv(fd, buf)
	expect(t, n, class, 2, poll.OK)
	for range 2 {
		n, class, _ = s.Recv(fd, buf)
		expect(t, n, class, 0, poll.EOF)
	}
	n, class, _ = s.Send(fd, []byte("xyz"))
	expect(t, n, class, 3, poll.OK)
	s.OnSend(fd, Fail(poll.Gone, unix.EPIPE))
	n, class, errno := s.Send(fd, []byte("xyz"))
	expect(t, n, class, 0, poll.Gone)
	if errno != unix.EPIPE || string(s.Sent(fd)) != "xyz" {
		t.Fatalf("%v, sent %q", errno, s.Sent(fd))
	}
	if s.Virtual() == fd {
		t.Fatal("a descriptor was given twice")
	}
}
