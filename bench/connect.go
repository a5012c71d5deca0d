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
	protobuf "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/bench/swarm"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

const (
	// connectWithin bounds one handshake, and subscribedWithin the time until the
	// last connection has its snapshot.
	connectWithin    = 20 * time.Second
	subscribedWithin = 60 * time.Second

	// rampPerS is how many connections a second are opened where nothing depends on
	// it: no more than a server accepts.
	rampPerS = 4000
)

// join makes a swarm and waits until all its connections have what they want.
func join(ctx context.Context, name string, plan swarm.Plan) (*swarm.Swarm, error) {
	plan.RampPerS = rampPerS
	s, err := swarm.New(plan)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := s.Begin(swarm.StepRamp); err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.Join(err, s.Close()))
	}
	if err := joined(ctx, s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.Join(err, s.Close()))
	}
	return s, nil
}

// joined waits until all connections have the snapshots that they want.
func joined(ctx context.Context, s *swarm.Swarm) error {
	select {
	case <-s.Joined():
		// What was refused or ended meanwhile would make a figure of something else.
		if f := s.Take().Figures; len(f.Ended)+len(f.Refused) > 0 {
			return fmt.Errorf("ended %v, refused %v", f.Ended, f.Refused)
		}
		return nil
	case err := <-s.Failed():
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(subscribedWithin):
		g := s.Take().Gauges
		return fmt.Errorf("%d of %d connections have their snapshot after %v", g.Joined, g.Want, subscribedWithin)
	}
}

// loopbacks are enough source addresses for n connections to one server.
func loopbacks(n int) []string {
	var all []string
	for i := range (n + perSource - 1) / perSource {
		all = append(all, fmt.Sprintf("127.0.0.%d", 1+i%254))
	}
	return all
}

// target is a server of depthcast's and one of its symbols.
type target struct {
	address string
	symbol  string
	tls     *tls.Config // nil: plain TCP
}

// plan is that of n connections which subscribe to the symbol.
func (t *target) plan(n int) swarm.Plan {
	scheme := "ws://"
	if t.tls != nil {
		scheme = "wss://"
	}
	return swarm.Plan{URLs: []string{scheme + t.address}, Insecure: true, Symbols: []string{t.symbol}, Depths: []uint32{10}, Conns: n,
		Sources: loopbacks(n), PerSource: perSource}
}

// Kinds of frames, by the first byte of their payload: the tag of Frame.body's
// field in stream.proto, length-delimited.
const (
	kindError    = 3<<3 | 2
	kindSnapshot = 4<<3 | 2
	kindDelta    = 5<<3 | 2
)

// maxFrameBytes is more than any frame of a server has.
const maxFrameBytes = 64 << 20

// Ways for a sample not to come about.
var (
	errRefused = errors.New("bench: the server answered with an error frame")
	errFrame   = errors.New("bench: not a frame of this server")
)

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
