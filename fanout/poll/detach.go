//go:build linux

package poll

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNoDescriptor is returned by Detach for a connection that has none of its own
// (a tls.Conn, a pipe).
var ErrNoDescriptor = errors.New("poll: connection has no descriptor")

// Detach takes the descriptor of conn away from the runtime's poller: it returns a
// nonblocking duplicate that no poller knows, to be registered once and closed
// once by its new owner. conn is closed in every case, which the peer does not
// notice: the connection lives as long as the duplicate. Nobody may be reading
// from or writing to conn, and what was read ahead of it is the caller's to keep.
//
// For TLS, conn is the TCP connection inside (tls.Conn.NetConn): closing the
// tls.Conn would say goodbye to the peer. net.TCPConn.File would not do, as the
// runtime registers the copy again.
func Detach(conn net.Conn) (fd int, err error) {
	defer func() {
		// The connection was only a holder of the descriptor: if it cannot be
		// closed there would be two.
		if closing := conn.Close(); closing != nil && err == nil {
			_ = unix.Close(fd)
			fd, err = -1, fmt.Errorf("poll: detach: %w", closing)
		}
	}()
	inner, ok := conn.(syscall.Conn)
	if !ok {
		return -1, fmt.Errorf("%w: %T", ErrNoDescriptor, conn)
	}
	raw, err := inner.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("poll: detach: %w", err)
	}
	fd = -1
	var failed error
	err = raw.Control(func(original uintptr) { fd, failed = duplicate(original) })
	if err := errors.Join(err, failed); err != nil {
		return -1, fmt.Errorf("poll: detach: %w", err)
	}
	return fd, nil
}

func duplicate(original uintptr) (int, error) {
	fd, err := unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
