package fanout

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// A relay serves an event stream to what no descriptor can be handed over of: a
// stream of HTTP/2, or the one answer of a long poll. The connection of the shard is
// one end of a pair of sockets, and so lives by the rules of all others: it is
// conflated and dropped when it is full. The goroutine of the HTTP request copies
// from the other end, no faster than its client reads. Their number is bounded.

// errRelays refuses a relay beyond Config.MaxRelays.
var errRelays = errors.New("fanout: as many relays as configured")

// relayBufferBytes is what the kernel keeps for a relay that does not read (it
// doubles it); the rest waits in the ring.
const relayBufferBytes = 32 << 10

// relaysKey is by what a context knows who is to be told of relays.
type relaysKey struct{}

// WithRelays has begin be called when a stream of the connection of ctx begins to be
// relayed over HTTP/2, and what it returns when that ends, which may wait. So who
// bounds the connections in plain HTTP can leave it to MaxRelays to bound these.
func WithRelays(ctx context.Context, begin func() (end func())) context.Context {
	return context.WithValue(ctx, relaysKey{}, begin)
}

// relayBegins tells of a relay of r, and returns what tells of its end.
func relayBegins(r *http.Request) (end func()) {
	begin, ok := r.Context().Value(relaysKey{}).(func() func())
	if !ok || r.ProtoMajor == 1 {
		return func() {}
	}
	return begin()
}

// relay is the end of the pair that the goroutine of a request reads.
type relay struct {
	*bufio.Reader
	hub     *Hub
	address *peer.Count // of Hub.relaying
	pipe    *os.File
	stop    func() bool // has the end of the request no longer end it
}

// openRelay begins an event stream for r, whose user has entered. The error is that
// of Accept, errRelays, ErrAddress, or the system's.
func (h *Hub) openRelay(r *http.Request, e *eventStream, grant *Grant) (*relay, error) {
	address, err := h.occupyRelay(clientOf(r))
	if err != nil {
		h.users.leave(grant)
		return nil, err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.leftRelay(address)
		h.users.leave(grant)
		return nil, err
	}
	_ = unix.SetsockoptInt(ends[0], unix.SOL_SOCKET, unix.SO_SNDBUF, relayBufferBytes) // else the kernel's default
	l := &relay{hub: h, address: address, pipe: os.NewFile(uintptr(ends[1]), "relay")}
	l.Reader = bufio.NewReaderSize(l.pipe, relayBufferBytes)
	if err := h.Accept(Accepted{FD: ends[0], Codec: proto.CodecJSON, Remote: r.RemoteAddr, client: clientOf(r), events: e, grant: grant}); err != nil {
		_ = l.pipe.Close()
		h.leftRelay(address)
		return nil, err
	}
	l.stop = context.AfterFunc(r.Context(), func() { _ = l.pipe.SetReadDeadline(time.Unix(1, 0)) })
	return l, nil
}

// close ends the stream; the shard learns of it as of any peer that has gone.
func (l *relay) close() {
	l.stop()
	_ = l.pipe.Close()
	l.hub.leftRelay(l.address)
}

// occupyRelay counts a relay of client that is to come, among all and among those of
// its address, if there is room for it. The error is errRelays or ErrAddress.
func (h *Hub) occupyRelay(client netip.Addr) (*peer.Count, error) {
	of, ok := h.relaying.Enter(client)
	if !ok {
		return nil, ErrAddress
	}
	if h.relays.Add(1) > int64(h.config.MaxRelays) {
		h.leftRelay(of)
		h.stats.RelaysRefused.Add(1)
		return nil, fmt.Errorf("%w (%d)", errRelays, h.config.MaxRelays)
	}
	return of, nil
}

// leftRelay is its counterpart.
func (h *Hub) leftRelay(of *peer.Count) {
	h.relaying.Leave(of)
	h.relays.Add(-1)
}

// copyTo answers with what comes until either end has had enough. Each write has as
// long as a socket may take nothing.
func (l *relay) copyTo(w http.ResponseWriter) {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{}) // that of the server is for short answers
	for {
		if _, err := l.Peek(1); err != nil {
			return
		}
		b, _ := l.Peek(l.Buffered()) // what is there
		if err := control.SetWriteDeadline(time.Now().Add(l.hub.config.StallTimeout)); err != nil {
			return
		}
		if _, err := w.Write(b); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		_ = control.SetWriteDeadline(time.Time{}) // to have nothing to say is no stall
		_, _ = l.Discard(len(b))
	}
}

// asked returns what a request for events asks for, where it says it: in its
// parameters, in the resume token, or in both.
func asked(r *http.Request, token string) (*pb.Subscribe, error) {
	q := query{values: r.URL.Query()}
	ask := q.subscribe()
	if q.err != nil {
		return nil, q.err
	}
	ask, err := goOn(ask, token)
	switch {
	case err != nil:
		return nil, err
	case len(ask.Items) == 0:
		return nil, fmt.Errorf("%w: symbol is missing", errQuery)
	case len(ask.Items) > MaxEventTopics:
		return nil, fmt.Errorf("%w: %d topics, at most %d", errQuery, len(ask.Items), MaxEventTopics)
	}
	return ask, nil
}
