//go:build linux

package poll

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Class says what became of a Send or Recv, in terms of what to do next.
type Class uint8

const (
	OK      Class = iota // all of the buffer was sent, or something was received
	Partial              // Send only: a part was sent and the socket is now full
	Again                // nothing moved: wait for readiness
	EOF                  // Recv only: the peer has finished writing
	Gone                 // the connection has ended, by the peer or by the network
	Failed               // any other error: a mistake of ours or a shortage of the kernel
)

func (c Class) String() string {
	switch c {
	case OK:
		return "ok"
	case Partial:
		return "partial"
	case Again:
		return "again"
	case EOF:
		return "eof"
	case Gone:
		return "gone"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Sockets is what a shard does to a connected stream socket, so that a test can
// put faults in its place (package polltest). Kernel is the real one.
type Sockets interface {
	// Send moves bytes from buf to the socket without waiting. It returns how
	// many, the class, and the error number behind Again, Gone and Failed.
	Send(fd int, buf []byte) (n int, class Class, errno syscall.Errno)

	// Recv moves bytes from the socket to buf without waiting, likewise.
	Recv(fd int, buf []byte) (n int, class Class, errno syscall.Errno)

	// Close closes the descriptor. It comes after Del and happens once.
	Close(fd int) error
}

// Kernel is the Sockets of the operating system.
type Kernel struct{}

var _ Sockets = Kernel{}

// Send calls the function Send.
func (Kernel) Send(fd int, buf []byte) (int, Class, syscall.Errno) { return Send(fd, buf) }

// Recv calls the function Recv.
func (Kernel) Recv(fd int, buf []byte) (int, Class, syscall.Errno) { return Recv(fd, buf) }

// Close calls the function Close.
func (Kernel) Close(fd int) error { return Close(fd) }

// interrupted bounds the retries after EINTR, which a call that does not wait
// should never meet. Beyond it the answer is Again: the socket is asked later.
const interrupted = 8

// Send moves as much of buf as the socket takes at once: sendto(2) with
// MSG_DONTWAIT, whatever the mode of fd, and MSG_NOSIGNAL. An empty buf is OK
// without a system call. It allocates nothing.
//
// The call is raw: it cannot block, so the scheduler need not know of it. That
// saves a fifth of the cost of syscall.Write (BenchmarkSend).
func Send(fd int, buf []byte) (n int, class Class, errno syscall.Errno) {
	if len(buf) == 0 {
		return 0, OK, 0
	}
	for range interrupted {
		r, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))),
			uintptr(len(buf)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		runtime.KeepAlive(buf)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return 0, classOf(errno), errno
		case int(r) < len(buf):
			return int(r), Partial, 0
		}
		return int(r), OK, 0
	}
	return 0, Again, unix.EINTR
}

// Recv moves what has arrived into buf: recvfrom(2) with MSG_DONTWAIT, raw as in
// Send. OK means at least one byte; fewer than len(buf) mean that there was no
// more. An empty buf is OK with n = 0, without a system call. It allocates nothing.
func Recv(fd int, buf []byte) (n int, class Class, errno syscall.Errno) {
	if len(buf) == 0 {
		return 0, OK, 0
	}
	for range interrupted {
		r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))),
			uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
		runtime.KeepAlive(buf)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return 0, classOf(errno), errno
		case r == 0:
			return 0, EOF, 0
		}
		return int(r), OK, 0
	}
	return 0, Again, unix.EINTR
}

// Close closes fd. It is not retried: Linux has freed the number even when it
// returns EINTR, and a second close would hit whoever has it now.
func Close(fd int) error {
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return fmt.Errorf("poll: close: %w", err)
	}
	return nil
}

// classOf sorts the errors of sendto(2), recvfrom(2) and tcp(7).
func classOf(errno syscall.Errno) Class {
	switch errno {
	case unix.EAGAIN:
		return Again
	case unix.EPIPE, unix.ECONNRESET, unix.ECONNABORTED, unix.ECONNREFUSED, unix.ENOTCONN, unix.ESHUTDOWN,
		unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.EHOSTDOWN, unix.ENETUNREACH, unix.ENETDOWN, unix.ENETRESET:
		return Gone
	}
	return Failed
}
