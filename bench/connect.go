package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sync/errgroup"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

const (
	// connectWithin bounds one handshake, and subscribedWithin the time until the
	// last connection has its snapshot.
	connectWithin    = 20 * time.Second
	subscribedWithin = 60 * time.Second

	// dialing is how many connect at the same time.
	dialing = 32

	// perSource is how many connections have the same source address: fewer than
	// the kernel has ephemeral ports.
	perSource = 16_000
)

// target is what a swarm connects to.
type target struct {
	address string
	raw     bool // frames come as soon as it is connected: no handshake, no subscription
	symbol  string
	tls     *tls.Config // nil: plain TCP
}

// connect opens all links of the swarm, and returns when each is subscribed.
func (s *swarm) connect(ctx context.Context, t target) error {
	g, dialCtx := errgroup.WithContext(ctx)
	g.SetLimit(dialing)
	for i := range int(s.want) {
		g.Go(func() error { return s.dial(dialCtx, t, i) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	if t.raw {
		return nil
	}
	select {
	case <-s.subscribed:
		return nil
	case err := <-s.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(subscribedWithin):
		return fmt.Errorf("%s: %d of %d connections have their snapshot after %v", s.name, s.live.Load(), s.want, subscribedWithin)
	}
}

// source spreads connections over loopback addresses.
func source(address string, i int) net.Addr {
	host, _, _ := net.SplitHostPort(address) // a bad one fails in Dial
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() || ip.To4() == nil {
		return nil
	}
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+i/perSource))}
}

func (s *swarm) dial(ctx context.Context, t target, i int) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	dialer := net.Dialer{LocalAddr: source(t.address, i)}
	if t.raw {
		conn, err := dialer.DialContext(ctx, "tcp", t.address)
		if err != nil {
			return err
		}
		return s.take(conn, nil)
	}
	conn, early, err := t.upgrade(ctx, dialer.DialContext)
	if err != nil {
		return err
	}
	request, err := t.request()
	if err == nil {
		_, err = conn.Write(request)
	}
	if err != nil {
		_ = conn.Close() // the fault before it is what counts
		return err
	}
	return s.take(conn, early)
}

// upgrade connects, and returns what the server has sent beyond the handshake.
func (t *target) upgrade(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error)) (net.Conn, []byte, error) {
	d := ws.Dialer{Protocols: []string{proto.CodecProto.Subprotocol()}, NetDial: dial, TLSConfig: t.tls}
	scheme := "ws"
	if t.tls != nil {
		scheme = "wss"
	}
	conn, reader, hs, err := d.Dial(ctx, scheme+"://"+t.address+"/v1/stream")
	if err != nil {
		return nil, nil, err
	}
	if hs.Protocol != proto.CodecProto.Subprotocol() {
		_ = conn.Close() // the refusal is what counts
		return nil, nil, errors.New("bench: the server does not speak " + proto.CodecProto.Subprotocol())
	}
	return conn, readAhead(reader), nil
}

// readAhead returns a copy of what a reader, nil if there was none, holds.
func readAhead(r *bufio.Reader) []byte {
	if r == nil {
		return nil
	}
	b, _ := r.Peek(r.Buffered()) // what is there cannot fail to be read
	b = append([]byte(nil), b...)
	ws.PutReader(r)
	return b
}

// request returns the frame that subscribes to the book of the target's symbol.
func (t *target) request() ([]byte, error) {
	message, err := protobuf.Marshal(&pb.Request{Id: 1, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{
		Items: []*pb.SubscribeItem{{Symbol: t.symbol, Channel: pb.Channel_CHANNEL_BOOK, Depth: 10}},
	}}})
	if err != nil {
		return nil, err
	}
	return ws.CompileFrame(ws.MaskFrame(ws.NewBinaryFrame(message)))
}

// take gives a connection to the swarm's event loop, or, with TLS, to a goroutine.
func (s *swarm) take(conn net.Conn, early []byte) error {
	if secure, ok := conn.(*tls.Conn); ok {
		l := &link{swarm: s, fd: -1, send: func(b []byte) error { _, err := secure.Write(b); return err }}
		s.mu.Lock()
		s.links = append(s.links, l)
		s.mu.Unlock()
		go l.read(secure, early)
		return nil
	}
	fd, err := poll.Detach(conn)
	if err != nil {
		return err
	}
	return s.add(fd, early)
}

// read is the link's loop where it has a goroutine of its own.
func (l *link) read(conn net.Conn, early []byte) {
	err := l.walk(early)
	buf := make([]byte, 4<<10)
	for err == nil {
		var n int
		if n, err = conn.Read(buf); err == nil {
			err = l.walk(buf[:n])
		}
	}
	l.swarm.fail(err)
}

// sample returns one delta frame as the server sends it to a subscriber; publish
// makes it send one.
func (t *target) sample(ctx context.Context, publish func(int) error) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	conn, early, err := t.upgrade(ctx, (&net.Dialer{}).DialContext)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	request, err := t.request()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	in := readerAfter(early, conn)
	for {
		frame, err := readFrame(in)
		if err != nil {
			return nil, err
		}
		if frame.Header.OpCode != ws.OpBinary || len(frame.Payload) == 0 {
			continue
		}
		switch frame.Payload[0] {
		case kindError:
			return nil, errRefused
		case kindSnapshot:
			err = publish(1)
		case kindDelta:
			return ws.CompileFrame(frame)
		}
		if err != nil {
			return nil, err
		}
	}
}

// readerAfter reads what was read ahead, then conn.
func readerAfter(early []byte, conn net.Conn) io.Reader {
	return io.MultiReader(bytes.NewReader(early), conn)
}

// readFrame reads one frame of a server.
func readFrame(in io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(in)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > maxFrameBytes {
		return ws.Frame{}, fmt.Errorf("%w: %d bytes", errFrame, h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(in, f.Payload)
	return f, err
}
