package fanout

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/depthcast/depthcast/fanout/poll"
)

// TLSListener wraps l so that its connections, after the HTTP server has done
// their handshake, can go on under a shard's poller. config is cloned; dynamic
// record sizes are off, as runs of frames are large.
func TLSListener(l net.Listener, config *tls.Config) net.Listener {
	config = config.Clone()
	config.DynamicRecordSizingDisabled = true
	return &tlsListener{l, config}
}

type tlsListener struct {
	net.Listener
	config *tls.Config
}

// Accept returns a *tls.Conn over a *wire. The handshake is left to the caller.
func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&wire{Conn: c, fd: -1}, l.config), nil
}

// wire is the net.Conn under a tls.Conn. Until detach it is the TCP connection,
// which the HTTP server waits on. From then on it belongs to a shard: reads
// return errWouldBlock, a temporary error that crypto/tls survives, also within a
// record; writes always accept, since one temporary write error makes a tls.Conn
// unwritable for good.
type wire struct {
	net.Conn // until detach; handedOver afterwards, as a TCP connection keeps some 400 bytes
	sockets  poll.Sockets
	fd       int
	out      []byte        // ciphertext that the socket has not taken
	ended    poll.Class    // class of the read that ended the stream; OK: none did
	errno    syscall.Errno // behind ended
}

// errWouldBlock says that nothing has arrived. crypto/tls keeps a connection
// readable after a net.Error that is temporary.
var errWouldBlock net.Error = wouldBlock{}

type wouldBlock struct{}

func (wouldBlock) Error() string   { return "nothing to read for now" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

// detach takes the descriptor away from the runtime's poller.
func (w *wire) detach(sockets poll.Sockets) error {
	fd, err := poll.Detach(w.Conn)
	if err != nil {
		return err
	}
	w.fd, w.sockets, w.Conn = fd, sockets, handedOver{}
	return nil
}

// handedOver stands for a TCP connection that was closed. Of its methods only those
// for addresses may be called, which nobody needs to.
type handedOver struct{ net.Conn }

func (handedOver) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (handedOver) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (w *wire) Read(b []byte) (int, error) {
	if w.fd < 0 {
		return w.Conn.Read(b)
	}
	n, class, errno := w.sockets.Recv(w.fd, b)
	switch class {
	case poll.OK:
		return n, nil
	case poll.Again:
		return 0, errWouldBlock
	case poll.EOF:
		w.ended = class
		return 0, io.EOF
	}
	w.ended, w.errno = class, errno
	return 0, fmt.Errorf("fanout: tls read: %w", errno)
}

func (w *wire) Write(b []byte) (int, error) {
	if w.fd < 0 {
		return w.Conn.Write(b)
	}
	w.out = append(w.out, b...)
	return len(b), nil
}

// Close is called by tls.Conn.Close; the descriptor is the transport's to close.
func (w *wire) Close() error {
	if w.fd < 0 {
		return w.Conn.Close()
	}
	return nil
}

// SetDeadline and its two siblings have no meaning under a poller.
func (w *wire) SetDeadline(t time.Time) error {
	if w.fd < 0 {
		return w.Conn.SetDeadline(t)
	}
	return nil
}

func (w *wire) SetReadDeadline(t time.Time) error {
	if w.fd < 0 {
		return w.Conn.SetReadDeadline(t)
	}
	return nil
}

func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.fd < 0 {
		return w.Conn.SetWriteDeadline(t)
	}
	return nil
}

// secure is the transport of TLS connections: crypto/tls over a wire.
type secure struct {
	conn *tls.Conn
	wire *wire
}

var _ transport = (*secure)(nil)

// newSecure moves conn, made by a TLSListener and past its handshake, to a
// poller. Nobody may be using conn. On error conn is of no more use and its
// descriptor is closed.
func newSecure(conn *tls.Conn, sockets poll.Sockets) (*secure, error) {
	w, ok := conn.NetConn().(*wire)
	if !ok {
		_ = conn.NetConn().Close()
		return nil, fmt.Errorf("%w: a tls.Conn over %T", ErrTransport, conn.NetConn())
	}
	if err := w.detach(sockets); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTransport, err)
	}
	return &secure{conn, w}, nil
}

// ciphertexts lends the buffers that one Send encrypts into; only what the socket
// does not take is copied to memory of the connection's own.
var ciphertexts = sync.Pool{New: func() any { b := make([]byte, 0, 1<<17); return &b }}

// Send encrypts all of b and sends what the socket takes.
func (s *secure) Send(b []byte) (int, poll.Class) {
	if len(s.wire.out) > 0 {
		if class := s.Flush(); class != poll.OK {
			return 0, class
		}
	}
	lent := ciphertexts.Get().(*[]byte)
	defer ciphertexts.Put(lent)
	s.wire.out = (*lent)[:0]
	_, err := s.conn.Write(b)
	out := s.wire.out
	*lent, s.wire.out = out[:0], nil
	if err != nil {
		return 0, poll.Failed
	}
	return len(b), s.push(out)
}

// push sends out and keeps a copy of what the socket does not take.
func (s *secure) push(out []byte) poll.Class {
	n, class, _ := s.wire.sockets.Send(s.wire.fd, out)
	switch class {
	case poll.Partial, poll.Again:
		s.wire.out = append([]byte(nil), out[n:]...)
		return poll.Partial
	}
	return class
}

// Recv fills buf from as many records as have arrived.
func (s *secure) Recv(buf []byte) (n int, class poll.Class) {
	for n < len(buf) {
		m, err := s.conn.Read(buf[n:])
		n += m
		switch {
		case err == nil:
			continue
		case errors.Is(err, errWouldBlock):
			if n > 0 {
				return n, poll.Partial
			}
			return 0, poll.Again
		case n > 0:
			return n, poll.OK // the next call meets the same end
		}
		return 0, s.end(err)
	}
	return n, poll.OK
}

// end classifies the error that ended reading: a close_notify and a bare end of
// the stream are EOF, a breach of TLS by the peer makes the connection Gone.
func (s *secure) end(err error) poll.Class {
	switch {
	case s.wire.ended == poll.EOF || errors.Is(err, io.EOF):
		return poll.EOF
	case s.wire.ended == poll.Failed:
		return poll.Failed
	}
	return poll.Gone
}

func (s *secure) Pending() int { return len(s.wire.out) }

func (s *secure) Flush() poll.Class {
	if len(s.wire.out) == 0 {
		return poll.OK
	}
	n, class, _ := s.wire.sockets.Send(s.wire.fd, s.wire.out)
	if class == poll.OK {
		s.wire.out = nil
	} else {
		s.wire.out = s.wire.out[n:]
	}
	return class
}

func (s *secure) Finish() {
	_ = s.conn.CloseWrite() // writes close_notify into out, which accepts it
	if s.Flush() == poll.OK {
		finish(s.wire.fd)
	}
}

func (s *secure) Close() error {
	if len(s.wire.out) == 0 {
		_ = s.conn.Close() // writes close_notify into out; the descriptor stays open
		_ = s.Flush()      // if the socket does not take it now, the peer sees the end of the stream instead
	}
	s.wire.out = nil
	return s.wire.sockets.Close(s.wire.fd)
}
