package fanout

import (
	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/poll"
)

// transport moves a connection's bytes between its shard and its descriptor,
// without waiting. It knows nothing of frames. Only the shard's goroutine calls
// it. What may come to lie between Send and the kernel (the ciphertext of one run)
// is the transport's, is bounded by what one Send was given, and is seen by Pending.
//
// The shard's part of the bargain: Send only while Pending is 0; after Send, Flush
// or Recv left Pending above 0, or Send or Flush said Partial or Again, wait for
// EPOLLOUT and begin with Flush; Close once, after the descriptor was taken from
// the poller.
type transport interface {
	// Send takes bytes from b. n of them need not be given again: they are with
	// the kernel or Pending.
	//   OK       all of b, and nothing is pending
	//   Partial  n bytes (for TLS: all of b), and the socket is full
	//   Again    none: the socket is full
	//   Gone, Failed  the connection is of no more use
	// b is not kept.
	Send(b []byte) (n int, class poll.Class)

	// Recv puts received bytes (of TLS: plaintext) into buf.
	//   OK       n > 0 bytes; there may be more at once, which no event will tell
	//   Partial  n > 0 bytes, and no more for now: an event will tell
	//   Again    none for now: an event will tell
	//   EOF      the peer has finished
	//   Gone, Failed  as in Send
	Recv(buf []byte) (n int, class poll.Class)

	// Pending returns the bytes that Send or Recv left behind here. They count as
	// pinned.
	Pending() int

	// Flush moves what is pending to the kernel: OK when nothing is left, Partial
	// or Again when the socket is full, else Gone or Failed.
	Flush() poll.Class

	// Finish ends what is sent, which the peer then sees; receiving goes on. It is for
	// when nothing is pending; no Send comes after it.
	Finish()

	// Close closes the descriptor, saying goodbye (TLS: close_notify) if that
	// needs no waiting.
	Close() error
}

// plain is the transport of unencrypted connections: the connection itself, of which
// it needs what is static, so that it takes no memory.
type plain conn

var _ transport = (*plain)(nil)

func (p *plain) sockets() poll.Sockets { return p.shard.config.Sockets }

func (p *plain) Send(b []byte) (int, poll.Class) {
	n, class, _ := p.sockets().Send(int(p.fd), b)
	return n, class
}

// Recv takes a short read as the end of what has arrived: the poller is
// level-triggered and will tell of more.
func (p *plain) Recv(buf []byte) (int, poll.Class) {
	n, class, _ := p.sockets().Recv(int(p.fd), buf)
	if class == poll.OK && n < len(buf) {
		class = poll.Partial
	}
	return n, class
}

func (p *plain) Pending() int      { return 0 }
func (p *plain) Flush() poll.Class { return poll.OK }
func (p *plain) Finish()           { finish(int(p.fd)) }
func (p *plain) Close() error      { return p.sockets().Close(int(p.fd)) }

// finish ends the sending half of a connection. It fails only where the peer has
// gone, of which reading tells.
func finish(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) }

// tune sets what the kernel is to do with a client's socket. Errors are of no
// consequence: the kernel then uses its defaults.
func tune(fd int, c *Config) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if c.SendBufferBytes > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, c.SendBufferBytes)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, c.UnsentBytes)
	// A peer that has vanished acknowledges nothing. The kernel counts a closed
	// window too, which is ours to judge first.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(2*c.StallTimeout.Milliseconds()))
}

// discard has the kernel drop, when fd is closed, what it still holds for a peer
// that does not read, instead of keeping it for as long as the peer's own kernel
// answers. The peer is told by a reset. An error means that there is no connection.
func discard(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}
