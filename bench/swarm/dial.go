package swarm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/poll"
)

// open makes a socket that is connecting. buffer is its receive buffer; 0: the
// kernel's default.
func open(to, from *net.TCPAddr, buffer int) (fd int, err error) {
	family := unix.AF_INET6
	if to.IP.To4() != nil {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd) // the error before it is what counts
			fd = -1
		}
	}()
	if err := prepare(fd, buffer); err != nil {
		return fd, err
	}
	if from != nil {
		if err := unix.Bind(fd, socketAddress(from)); err != nil {
			return fd, os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, socketAddress(to)); err != nil && err != unix.EINPROGRESS {
		return fd, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// prepare sets what must be set before a socket connects.
func prepare(fd, buffer int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	// The port is chosen when it connects, so that two connections to different
	// servers may share one.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if buffer > 0 {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer))
	}
	return nil
}

func socketAddress(a *net.TCPAddr) unix.Sockaddr {
	if ip := a.IP.To4(); ip != nil {
		return &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(ip)}
	}
	return &unix.SockaddrInet6{Port: a.Port, Addr: [16]byte(a.IP.To16())}
}

// connected reports whether a socket has finished connecting, and how.
func connected(fd int) (done bool, err error) {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return true, os.NewSyscallError("getsockopt", err)
	}
	if errno != 0 {
		return true, os.NewSyscallError("connect", unix.Errno(errno))
	}
	_, err = unix.Getpeername(fd)
	if err == unix.ENOTCONN {
		return false, nil
	}
	return true, os.NewSyscallError("getpeername", err)
}

const (
	// handshaking bounds TLS handshakes under way, each of which has a goroutine.
	handshaking = 64
	// connectWithin bounds one connection's way from its first packet to open.
	connectWithin = 30 * time.Second
)

// errWouldBlock is temporary, as crypto/tls wants it: a Read that meets it can be
// repeated.
type errWouldBlock struct{}

func (errWouldBlock) Error() string   { return "swarm: nothing to read" }
func (errWouldBlock) Timeout() bool   { return true }
func (errWouldBlock) Temporary() bool { return true }

// socket is what a tls.Conn reads and writes: a net.Conn during the handshake, a
// descriptor of the loop's afterwards.
type socket struct {
	net.Conn
	fd int // -1: during the handshake
}

func (s *socket) Read(b []byte) (int, error) {
	if s.fd < 0 {
		return s.Conn.Read(b)
	}
	return receive(s.fd, b)
}

func (s *socket) Write(b []byte) (int, error) {
	if s.fd < 0 {
		return s.Conn.Write(b)
	}
	return len(b), transmit(s.fd, b)
}

// errFull ends a connection whose server does not read what it is asked.
var errFull = errors.New("swarm: the server reads nothing")

// transmit puts all of b into the socket. Requests are few and small.
func transmit(fd int, b []byte) error {
	switch _, class, errno := poll.Send(fd, b); class {
	case poll.OK:
		return nil
	case poll.Partial, poll.Again:
		return errFull
	default:
		return os.NewSyscallError("send", errno)
	}
}

// errEOF is the end of a connection without a close frame.
var errEOF = errors.New("swarm: the server ended the connection")

// receive reads what is there.
func receive(fd int, b []byte) (int, error) {
	switch n, class, errno := poll.Recv(fd, b); class {
	case poll.OK:
		return n, nil
	case poll.Again:
		return 0, errWouldBlock{}
	case poll.EOF:
		return 0, errEOF
	default:
		return 0, os.NewSyscallError("recv", errno)
	}
}

// dialTLS connects and shakes hands, and takes the descriptor away from Go's
// poller.
func dialTLS(ctx context.Context, t *target, from *net.TCPAddr, buffer int) (*tls.Conn, int, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = prepare(int(fd), buffer) })
		return errors.Join(failed, err)
	}}
	if from != nil {
		d.LocalAddr = from
	}
	inner, err := d.DialContext(ctx, "tcp", t.address.String())
	if err != nil {
		return nil, -1, err
	}
	s := &socket{Conn: inner, fd: -1}
	secure := tls.Client(s, t.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = inner.Close() // the handshake's error is what counts
		return nil, -1, fmt.Errorf("swarm: TLS: %w", err)
	}
	fd, err := poll.Detach(inner)
	if err != nil {
		return nil, -1, err
	}
	s.fd = fd
	return secure, fd, nil
}
