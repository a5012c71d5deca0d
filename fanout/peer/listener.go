package peer

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// errCrowded ends a connection whose address has as many as it may.
var errCrowded = errors.New("peer: as many connections of the address as configured")

// errFlooding ends a connection that has sent more than it may.
var errFlooding = errors.New("peer: more bytes than configured")

// Listener bounds the connections that an address has at once, until they are closed
// or their descriptor is taken over. Those of trusted proxies are not bounded, as they
// are their clients'; where proxies speak the PROXY protocol, their clients are.
type Listener struct {
	net.Listener

	// Proxies are those who may speak for others.
	Proxies Proxies
	// Header has each connection of theirs begin with a header of the PROXY protocol.
	Header bool
	// Within is how long that may take.
	Within time.Duration
	// Counts bounds each address.
	Counts *Counts
	// BytesPerSecond is what a connection may send before its descriptor is taken over,
	// FloodSeconds' at once: beyond that it ends. 0: no bound. Those that proxies share
	// among their clients are not bounded.
	BytesPerSecond int
	// Log is told, as warnings, of proxies that say something else than the header.
	Log *slog.Logger

	refused  atomic.Uint64
	flooding atomic.Uint64
}

// FloodSeconds is how many seconds' bytes a connection may send at once.
const FloodSeconds = 8

// Refused returns how many connections of proxies had no header.
func (l *Listener) Refused() uint64 { return l.refused.Load() }

// Flooding returns how many connections were ended because of the bytes they sent.
func (l *Listener) Flooding() uint64 { return l.flooding.Load() }

// Accept does not wait for a header: who first reads, or asks for the address, does.
// A connection of an address that has as many as it may is closed without a word.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: inner, of: l, from: inner.RemoteAddr()}
		remote := AddrOf(c.from.String())
		c.proxied = l.Proxies.Trusted.Has(remote)
		if l.BytesPerSecond > 0 && (l.Header || !c.proxied) {
			c.bytes = rate.NewLimiter(rate.Limit(l.BytesPerSecond), FloodSeconds*l.BytesPerSecond)
		}
		if c.proxied || c.enter(remote) {
			return c, nil
		}
		_ = inner.Close() // nothing was said on it
	}
}

// conn is one connection.
type conn struct {
	// Static.
	net.Conn
	of      *Listener
	proxied bool
	bytes   *rate.Limiter // nil: no bound

	// once guards what follows until it is done: then it does not change.
	once sync.Once
	from net.Addr // for whom it speaks
	err  error    // why it is not heard

	// mu guards what follows.
	mu    sync.Mutex
	count *Count
	ended bool
}

// enter counts c as one of client.
func (c *conn) enter(client netip.Addr) bool {
	n, ok := c.of.Counts.Enter(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		c.of.Counts.Leave(n)
	} else {
		c.count = n
	}
	return ok
}

// Close closes the connection, which counts no more.
func (c *conn) Close() error {
	c.mu.Lock()
	c.of.Counts.Leave(c.count)
	c.count, c.ended = nil, true
	c.mu.Unlock()
	return c.Conn.Close()
}

// header reads the header, if there is to be one, once.
func (c *conn) header() {
	if !c.proxied || !c.of.Header {
		return
	}
	c.once.Do(func() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.of.Within)) // a connection that has ended fails below
		client, err := ReadHeader(c.Conn)
		if err != nil {
			c.of.refused.Add(1)
			c.err = err
			if errors.Is(err, ErrHeader) { // others may have been looks whether we listen
				c.of.Log.Warn("a trusted proxy does not speak as configured: its connection is ended", "proxy", c.from.String(), "err", err)
			}
			return
		}
		_ = c.Conn.SetReadDeadline(time.Time{}) // whoever reads on sets his own
		if !client.IsValid() {
			return
		}
		c.from = net.TCPAddrFromAddrPort(client)
		if !c.of.Proxies.Trusted.Has(client.Addr()) && !c.enter(client.Addr()) {
			c.err = errCrowded
		}
	})
}

// RemoteAddr is the client's address. It waits for the header.
func (c *conn) RemoteAddr() net.Addr {
	c.header()
	return c.from
}

func (c *conn) Read(b []byte) (int, error) {
	if c.header(); c.err != nil {
		return 0, c.err
	}
	n, err := c.Conn.Read(b)
	if c.bytes != nil && !c.bytes.AllowN(time.Now(), n) {
		c.of.flooding.Add(1)
		_ = c.Close() // nothing more is answered either
		return 0, errFlooding
	}
	return n, err
}

// SyscallConn gives the descriptor, for who takes it over: nothing is read ahead.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	inner, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("peer: %T has no descriptor", c.Conn)
	}
	return inner.SyscallConn()
}
