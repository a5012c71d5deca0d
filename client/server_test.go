package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// This file is a server whose every word the test says: a fake at the seam of the
// protocol, on a real listener.

type fakeServer struct {
	t        *testing.T
	listener net.Listener
	codec    proto.Codec
	deflate  string // the extension that it answers with; empty: none
	accepted atomic.Int64
}

func newFakeServer(t *testing.T, codec proto.Codec) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &fakeServer{t: t, listener: l, codec: codec}
}

func (s *fakeServer) url() string { return "ws://" + s.listener.Addr().String() + "/v1/stream" }

// peer is the server's end of one connection.
type peer struct {
	t     *testing.T
	net   net.Conn
	codec proto.Codec
	// pongs counts those received.
	pongs int
}

// accept takes the next connection and upgrades it.
func (s *fakeServer) accept() *peer {
	s.t.Helper()
	nc, err := s.listener.Accept()
	if err != nil {
		s.t.Error(err)
		panic(stopped{})
	}
	s.accepted.Add(1)
	s.t.Cleanup(func() { nc.Close() })
	u := ws.Upgrader{Protocol: func(b []byte) bool { return string(b) == s.codec.Subprotocol() }}
	if s.deflate != "" {
		u.Header = ws.HandshakeHeaderHTTP{"Sec-WebSocket-Extensions": {s.deflate}}
	}
	if _, err := u.Upgrade(nc); err != nil {
		s.t.Errorf("upgrade: %v", err)
		panic(stopped{})
	}
	return &peer{t: s.t, net: nc, codec: s.codec}
}

// greet accepts and says hello.
func (s *fakeServer) greet() *peer {
	p := s.accept()
	p.frame(&pb.Frame{Body: &pb.Frame_Hello{Hello: &pb.Hello{
		Version: 1, Limits: &pb.Limits{MaxItems: 2, MaxMessageBytes: 4096},
	}}})
	return p
}

// stopped ends a script whose failure was reported.
type stopped struct{}

// script runs the server's side beside the client's loop; wait returns when it has
// ended.
func script(run func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(stopped); !ok {
					panic(r)
				}
			}
		}()
		run()
	}()
	return func() { <-done }
}

func (p *peer) write(op ws.OpCode, payload []byte) {
	if err := ws.WriteFrame(p.net, ws.NewFrame(op, true, payload)); err != nil {
		p.t.Errorf("server: write: %v", err)
		panic(stopped{})
	}
}

// testExponents are those of all topics of the fake server.
var testExponents = proto.Exponents{Price: -2, Qty: -3}

func (p *peer) frame(f *pb.Frame) {
	message, err := p.codec.AppendFrame(nil, f, testExponents)
	if err != nil {
		p.t.Errorf("server: %v", err)
		panic(stopped{})
	}
	p.write(opcode(p.codec), message)
}

// read returns the next frame of any kind but pongs.
func (p *peer) read() (ws.OpCode, []byte) {
	for {
		f, err := readFrame(p.net)
		if err != nil {
			p.t.Errorf("server: read: %v", err)
			panic(stopped{})
		}
		if !f.Header.Masked {
			p.t.Error("server: the client sent an unmasked frame")
		}
		f = ws.UnmaskFrameInPlace(f)
		if f.Header.OpCode != ws.OpPong {
			return f.Header.OpCode, f.Payload
		}
		p.pongs++
	}
}

// readFrame reads one frame of at most 64 KiB.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	if f.Header.Length > 64<<10 {
		return f, fmt.Errorf("frame of %d bytes", f.Header.Length)
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// request returns the next request.
func (p *peer) request() *pb.Request {
	op, payload := p.read()
	if op != opcode(p.codec) {
		p.t.Errorf("server: got opcode %#x with %q, want a request", byte(op), payload)
		panic(stopped{})
	}
	req, err := p.codec.DecodeRequest(payload)
	if err != nil {
		p.t.Errorf("server: request: %v", err)
		panic(stopped{})
	}
	return req
}

// subscribe expects a subscribe of n items.
func (p *peer) subscribe(n int) (id uint32, items []*pb.SubscribeItem) {
	req := p.request()
	items = req.GetSubscribe().GetItems()
	if len(items) != n {
		p.t.Errorf("server: got %v, want a subscribe of %d items", req, n)
		panic(stopped{})
	}
	return req.Id, items
}

// closed expects the client's close frame, or the connection's end.
func (p *peer) closed() {
	for {
		f, err := readFrame(p.net)
		if err != nil || f.Header.OpCode == ws.OpClose {
			return
		}
	}
}

const testEpoch = 0xfeed

func (p *peer) ack(id, item, topic uint32, change func(*pb.Ack)) {
	a := &pb.Ack{
		Id: id, Item: item, Topic: topic, Symbol: "SIM:A", Channel: pb.Channel_CHANNEL_BOOK, Epoch: testEpoch,
		PriceExponent: int32(testExponents.Price), QtyExponent: int32(testExponents.Qty),
		State: pb.State_STATE_LIVE, Phase: pb.Phase_PHASE_CONTINUOUS,
	}
	if change != nil {
		change(a)
	}
	p.frame(&pb.Frame{Body: &pb.Frame_Ack{Ack: a}})
}

// snapshot sends one bid of qty at 100.00, at seq.
func (p *peer) snapshot(topic uint32, seq, qty int64) {
	p.frame(&pb.Frame{Body: &pb.Frame_Snapshot{Snapshot: &pb.Snapshot{
		Topic: topic, Symbol: "SIM:A", Epoch: testEpoch, Seq: seq, Reason: pb.SnapshotReason_SNAPSHOT_REASON_INITIAL,
		State: pb.State_STATE_LIVE, Phase: pb.Phase_PHASE_CONTINUOUS,
		PriceExponent: int32(testExponents.Price), QtyExponent: int32(testExponents.Qty),
		Bids: &pb.Levels{Price: []int64{10000}, Qty: []int64{qty}}, Hash: bidHash(qty),
	}}})
}

// bidHash is the hash of a book with one bid of qty at 100.00.
func bidHash(qty int64) uint32 { return proto.Mix(proto.Bid, 10000, qty) }

// delta sets that bid; off is added to the right hash.
func (p *peer) delta(topic uint32, prev, seq, qty int64, off uint32) {
	p.frame(&pb.Frame{Body: &pb.Frame_Delta{Delta: &pb.Delta{
		Topic: topic, PrevSeq: prev, Seq: seq, Bids: &pb.Levels{Price: []int64{10000}, Qty: []int64{qty}}, Hash: bidHash(qty) + off,
	}}})
}

func (p *peer) refuse(id, item uint32, code pb.ErrorCode, retry pb.Retry, afterMS uint32) {
	p.frame(&pb.Frame{Body: &pb.Frame_Error{Error: &pb.Error{
		Id: id, Item: &item, Code: code, Message: "as the test says", Retry: retry, RetryAfterMs: afterMS,
	}}})
}

// newClient returns a client of s with short waits.
func newClient(t *testing.T, s *fakeServer, change func(*Config)) *Client {
	t.Helper()
	config := Config{URL: s.url(), Codec: s.codec, BackoffMin: time.Millisecond, BackoffMax: 4 * time.Millisecond}
	if change != nil {
		change(&config)
	}
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustSubscribe(t *testing.T, c *Client, item Item) *Subscription {
	t.Helper()
	s, err := c.Subscribe(item)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// loop runs over the events until until says so or the loop ends by an error,
// which it returns.
func loop(t *testing.T, c *Client, until func(Event) bool) error {
	t.Helper()
	// So that a promise that is not kept fails the test instead of hanging it.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for event, err := range c.Events(ctx) {
		if errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("what was waited for did not come")
		}
		if err != nil {
			return err
		}
		if until(event) {
			return nil
		}
	}
	return nil
}

// bothCodecs runs a test in protobuf and in JSON.
func bothCodecs(t *testing.T, test func(t *testing.T, s *fakeServer)) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) { test(t, newFakeServer(t, codec)) })
	}
}
