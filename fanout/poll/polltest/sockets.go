//go:build linux

// Package polltest puts scripted faults in the place of the kernel's sockets, for
// tests of what is built on package poll. It is no part of any program.
package polltest

import (
	"fmt"
	"math"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/poll"
)

// Sockets is a poll.Sockets that follows a script for each descriptor, one step a
// call, and otherwise does what the kernel does. Real descriptors keep their real
// readiness, so a scripted Again on a socket that has room is followed by EPOLLOUT
// at once; a scripted Data needs a byte from the peer to be asked for.
//
// Descriptors made by Virtual exist only here: they take all that is sent and have
// nothing to receive but their script. No poller can be given one.
type Sockets struct {
	mu      sync.Mutex
	sockets map[int]*socket
	virtual int // the last one made; they count down from the largest int32
}

type socket struct {
	virtual    bool
	send, recv []Step
	sent       []byte
	sends      int
	closes     int
}

var _ poll.Sockets = (*Sockets)(nil)

// Step is what happens to one call, or to several.
type Step struct {
	times int
	limit int // of bytes moved; -1: none moves
	data  []byte
	class poll.Class
	errno syscall.Errno
}

// Take lets one call move at most k bytes (k > 0): a partial send, a short read.
func Take(k int) Step { return Step{times: 1, limit: k} }

// Again answers n calls with EAGAIN.
func Again(n int) Step {
	return Step{times: n, limit: -1, class: poll.Again, errno: unix.EAGAIN}
}

// Fail answers every later call with class and errno.
func Fail(class poll.Class, errno syscall.Errno) Step {
	return Step{times: math.MaxInt, limit: -1, class: class, errno: errno}
}

// EOF answers every later Recv with the end of the peer's bytes.
func EOF() Step { return Fail(poll.EOF, 0) }

// Data gives one Recv these bytes (several, if its buffer is smaller) without
// asking the kernel.
func Data(b []byte) Step { return Step{times: 1, limit: -1, data: b, class: poll.OK} }

// Virtual returns a descriptor that the kernel does not know.
func (s *Sockets) Virtual() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.virtual++
	fd := math.MaxInt32 - s.virtual
	s.socket(fd).virtual = true
	return fd
}

// OnSend adds steps to what the next calls of Send on fd meet.
func (s *Sockets) OnSend(fd int, steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	socket := s.socket(fd)
	socket.send = append(socket.send, steps...)
}

// OnRecv adds steps to what the next calls of Recv on fd meet.
func (s *Sockets) OnRecv(fd int, steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	socket := s.socket(fd)
	socket.recv = append(socket.recv, steps...)
}

// Sent returns a copy of all bytes that Send has accepted on fd.
func (s *Sockets) Sent(fd int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.socket(fd).sent...)
}

// Sends returns how often Send was called on fd.
func (s *Sockets) Sends(fd int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket(fd).sends
}

// Closes returns how often fd was closed: more than once is a fault.
func (s *Sockets) Closes(fd int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket(fd).closes
}

// Send follows the script of fd, then the kernel.
func (s *Sockets) Send(fd int, buf []byte) (int, poll.Class, syscall.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	socket := s.socket(fd)
	socket.sends++
	part := buf
	if step := next(&socket.send); step != nil {
		if step.limit < 0 {
			return 0, step.class, step.errno
		}
		part = buf[:min(step.limit, len(buf))]
	}
	n, class, errno := len(part), poll.OK, syscall.Errno(0)
	if !socket.virtual {
		n, class, errno = poll.Send(fd, part)
	}
	socket.sent = append(socket.sent, part[:n]...)
	if class == poll.OK && n < len(buf) {
		class = poll.Partial
	}
	return n, class, errno
}

// Recv follows the script of fd, then the kernel.
func (s *Sockets) Recv(fd int, buf []byte) (int, poll.Class, syscall.Errno) {
	s.mu.Lock()
	defer s.mu.Unlock()
	socket := s.socket(fd)
	step := next(&socket.recv)
	switch {
	case step != nil && step.data != nil:
		n := copy(buf, step.data)
		if n < len(step.data) {
			socket.recv = append([]Step{Data(step.data[n:])}, socket.recv...)
		}
		return n, poll.OK, 0
	case step != nil && step.limit < 0:
		return 0, step.class, step.errno
	case step != nil:
		buf = buf[:min(step.limit, len(buf))]
	}
	if socket.virtual {
		return 0, poll.Again, unix.EAGAIN
	}
	return poll.Recv(fd, buf)
}

// Close counts, and closes what is real. A second close of one descriptor is
// answered with an error and does not reach the kernel.
func (s *Sockets) Close(fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	socket := s.socket(fd)
	socket.closes++
	if socket.closes > 1 {
		return fmt.Errorf("polltest: descriptor %d closed %d times", fd, socket.closes)
	}
	if socket.virtual {
		return nil
	}
	return poll.Close(fd)
}

// Forget drops script and record of fd, for when the kernel uses the number again.
func (s *Sockets) Forget(fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sockets, fd)
}

func (s *Sockets) socket(fd int) *socket {
	if s.sockets == nil {
		s.sockets = make(map[int]*socket)
	}
	if s.sockets[fd] == nil {
		s.sockets[fd] = &socket{}
	}
	return s.sockets[fd]
}

// next takes one call off a script; nil when it is at its end.
func next(script *[]Step) *Step {
	for len(*script) > 0 {
		step := &(*script)[0]
		if step.times > 0 {
			step.times--
			return step
		}
		*script = (*script)[1:]
	}
	return nil
}
