package fanout

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
)

// Errors of Accept.
var (
	ErrClosed    = errors.New("fanout: the hub is shutting down")
	ErrFull      = errors.New("fanout: as many connections as configured")
	ErrAddress   = errors.New("fanout: as many connections of one address as configured")
	ErrCodec     = errors.New("fanout: no such codec")
	ErrTransport = errors.New("fanout: the descriptor cannot be served")
)

// Accepted is a connection whose WebSocket handshake is over, on its way to a
// shard. The response (101) has been sent.
type Accepted struct {
	// FD is a nonblocking descriptor that no poller knows (poll.Detach). The hub
	// is its only owner from the call of Accept on.
	FD int

	// transport moves its bytes and closes FD; nil: the bytes are those of FD.
	transport transport

	// counted says that it has a place in the hub (occupy), as one of address; else it
	// takes one as a connection of client.
	counted bool
	address *peer.Count
	client  netip.Addr

	// Codec that the handshake agreed on.
	Codec proto.Codec

	// framing of what is sent: that of Codec, or a dialect's.
	framing framing

	// streams are what the address of a dialect's connection asks for.
	streams []string

	// deflate is the window that the handshake agreed on for compressed frames, in
	// bits; 0: none. extensions is how it is told.
	deflate    uint8
	extensions string

	// Buffered are bytes after the handshake that were read ahead (plaintext);
	// they are parsed first. Not kept.
	Buffered []byte

	// Remote is the peer's address, for logs.
	Remote string

	// events makes it a stream of Server-Sent Events, whose HTTP header has been
	// sent; nil: it is a WebSocket.
	events *eventStream

	// grant is what its token grants; it counts among the connections of its user,
	// and Accept sees to the end of that. nil: no token yet, or a hub without a gate.
	grant *Grant
}

// Accept gives a connection to the least loaded shard, which greets it with hello.
// It does not wait for that. When it returns an error (ErrClosed, ErrFull,
// ErrCodec) the descriptor has been closed. Any goroutine may call it.
func (h *Hub) Accept(a Accepted) error {
	if !a.framing.dialect() {
		a.framing = framingOf(a.Codec)
	}
	if err := h.admit(a); err != nil {
		_ = a.close(h.config.Sockets) // the error that counts is err
		h.users.leave(a.grant)
		return err
	}
	return nil
}

// close closes the descriptor of a connection that no shard has.
func (a *Accepted) close(sockets poll.Sockets) error {
	if a.transport != nil {
		return a.transport.Close()
	}
	return sockets.Close(a.FD)
}

// occupy counts a connection of client that is to come, among all and among those of
// its address, if there is room for it. It is left's counterpart.
func (h *Hub) occupy(client netip.Addr) (*peer.Count, error) {
	of, ok := h.addresses.Enter(client)
	if !ok {
		return nil, ErrAddress
	}
	if err := h.count(); err != nil {
		h.addresses.Leave(of)
		return nil, err
	}
	return of, nil
}

// count counts one connection more.
func (h *Hub) count() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	if h.conns.Add(1) > int64(h.config.MaxConns) {
		h.conns.Add(-1)
		return fmt.Errorf("%w (%d)", ErrFull, h.config.MaxConns)
	}
	return nil
}

// Room returns how many more connections there may be.
func (h *Hub) Room() int { return max(0, h.config.MaxConns-int(h.conns.Load())) }

// admit gives a connection to the least loaded shard.
func (h *Hub) admit(a Accepted) error {
	if !a.counted {
		var err error
		if a.address, err = h.occupy(a.client); err != nil {
			return err
		}
	}
	least, err := h.assign(a.Codec)
	if err != nil {
		h.left(a.address)
		return err
	}
	tune(a.FD, &h.config)
	least.post(a)
	return nil
}

// assign chooses the shard that has fewest connections, and counts another.
func (h *Hub) assign(c proto.Codec) (*shard, error) {
	if c >= proto.NumCodecs {
		return nil, fmt.Errorf("%w: %d", ErrCodec, c)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, ErrClosed
	}
	least := h.shards[0]
	for _, s := range h.shards[1:] {
		if s.load.Load() < least.load.Load() {
			least = s
		}
	}
	least.load.Add(1)
	return least, nil
}

// left is told that a connection that was counted as one of an address is no more.
func (h *Hub) left(of *peer.Count) {
	h.addresses.Leave(of)
	if h.conns.Add(-1) > 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checkEmptied()
}
