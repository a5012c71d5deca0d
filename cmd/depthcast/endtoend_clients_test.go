package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// socket is a WebSocket that a test drives by hand.
type socket struct {
	t   *testing.T
	net net.Conn
	r   *bytes.Buffer // what came with the handshake; nil when read
}

// connect opens a socket. Every read and write of it has a deadline.
func (r *running) connect(codec proto.Codec) *socket {
	r.t.Helper()
	return r.connectAs("", codec)
}

// connectAs is connect with a token; empty: none.
func (r *running) connectAs(token string, codec proto.Codec) *socket {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dialer := ws.Dialer{Protocols: []string{codec.Subprotocol()}, TLSConfig: &tls.Config{InsecureSkipVerify: true}}
	if token != "" {
		dialer.Header = ws.HandshakeHeaderHTTP{"Authorization": {"Bearer " + token}}
	}
	conn, early, _, err := dialer.Dial(ctx, r.stream())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	s := &socket{t: r.t, net: conn, r: &bytes.Buffer{}}
	if early != nil {
		// The reader holds no more than what it has read already.
		held, err := early.Peek(early.Buffered())
		if err != nil {
			r.t.Fatal(err)
		}
		s.r.Write(held)
	}
	return s
}

func (s *socket) Read(b []byte) (int, error) {
	if s.r.Len() > 0 {
		return s.r.Read(b)
	}
	return s.net.Read(b)
}

func (s *socket) send(b []byte) {
	s.t.Helper()
	if _, err := s.net.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

// subscribe asks for the whole book of symbol, in protobuf, every frame.
func (s *socket) subscribe(symbol string) {
	s.t.Helper()
	s.ask(&pb.Request{Id: 1, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: []*pb.SubscribeItem{
		{Symbol: symbol, Channel: pb.Channel_CHANNEL_BOOK}}}}})
}

func (s *socket) ask(r *pb.Request) {
	s.t.Helper()
	b, err := googleproto.Marshal(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(clientFrame(ws.OpBinary, b))
}

// frame is the next data frame of the protobuf protocol for which want is true;
// or the close code and text that came instead.
func (s *socket) frame(want func(*pb.Frame) bool) (f *pb.Frame, closed ws.StatusCode, text string) {
	s.t.Helper()
	for {
		h, err := ws.ReadHeader(s)
		if err != nil {
			s.t.Fatalf("the connection ended without a close frame: %v", err)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(s, payload); err != nil {
			s.t.Fatal(err)
		}
		switch h.OpCode {
		case ws.OpClose:
			closed, text = ws.ParseCloseFrameData(payload)
			return nil, closed, text
		case ws.OpBinary:
			f := &pb.Frame{}
			if err := googleproto.Unmarshal(payload, f); err != nil {
				s.t.Fatal(err)
			}
			if want(f) {
				return f, 0, ""
			}
		}
	}
}

// clientFrame is one frame as a client must send it.
func clientFrame(op ws.OpCode, payload []byte) []byte {
	var b bytes.Buffer
	// Writing to memory cannot fail.
	_ = wsutil.WriteMessage(&b, ws.StateClientSide, op, payload)
	return b.Bytes()
}

// misdeed is what a client must not do, and how it ends.
type misdeed struct {
	name  string
	codec proto.Codec
	does  []byte
	code  ws.StatusCode
	label string
}

func misdeeds() []misdeed {
	unmasked := ws.MustCompileFrame(ws.NewBinaryFrame([]byte{8, 1}))
	ping := clientFrame(ws.OpText, []byte(`{"type":"ping","id":1}`))
	huge := clientFrame(ws.OpBinary, make([]byte, 4097))
	reserved := clientFrame(ws.OpBinary, []byte{8, 1})
	reserved[0] |= 0x40
	long := clientFrame(ws.OpPing, make([]byte, 125))
	long[1] = 0x80 | 126
	return []misdeed{
		{"text on the protobuf protocol", proto.CodecProto, ping, ws.StatusUnsupportedData, "wrong_type"},
		{"binary on the JSON protocol", proto.CodecJSON, clientFrame(ws.OpBinary, []byte{8, 1}), ws.StatusUnsupportedData, "wrong_type"},
		{"a frame over the limit", proto.CodecProto, huge, ws.StatusMessageTooBig, "too_big"},
		{"the header of a frame over the limit", proto.CodecProto, huge[:8], ws.StatusMessageTooBig, "too_big"},
		{"fragments over the limit", proto.CodecProto, fragments(2, 3000), ws.StatusMessageTooBig, "too_big"},
		{"an unmasked frame", proto.CodecProto, unmasked, ws.StatusProtocolError, "protocol_error"},
		{"a reserved bit", proto.CodecProto, reserved, ws.StatusProtocolError, "protocol_error"},
		{"a long control frame", proto.CodecProto, long, ws.StatusProtocolError, "protocol_error"},
		{"text that is not UTF-8", proto.CodecJSON, clientFrame(ws.OpText, []byte("\xff")), ws.StatusInvalidFramePayloadData, "bad_text"},
	}
}

// fragments is a binary message of n fragments of size bytes.
func fragments(n, size int) []byte {
	var b bytes.Buffer
	for i := range n {
		op := ws.OpContinuation
		if i == 0 {
			op = ws.OpBinary
		}
		f := ws.MaskFrame(ws.NewFrame(op, i == n-1, make([]byte, size)))
		b.Write(ws.MustCompileFrame(f))
	}
	return b.Bytes()
}

// A client that breaks the rules is told which in a close frame, and counted; a
// client beside it follows on.
func TestEndToEndMisbehavingClientIsDroppedWithItsReasonAndNobodyNotices(t *testing.T) {
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(bystander, 7)
	server := l.serve(func(_ *readFlags, s *serverFlags) { s.MaxMessage, s.Shards = 4096, 1 })
	server.caughtUpTo(l)
	far := g.follow(server, proto.CodecProto, bystander)
	far.live(bystander, 0)
	var deltas []int64
	drops := map[string]int{}
	for _, bad := range misdeeds() {
		t.Run(bad.name, func(t *testing.T) {
			s := server.connect(bad.codec)
			s.t = t
			s.send(bad.does)
			code, text := s.closing()
			if code != bad.code || !strings.HasPrefix(text, bad.label) {
				t.Errorf("closed with %d %q, want %d %s", code, text, bad.code, bad.label)
			}
			drops[bad.label]++
			server.counted(fmt.Sprintf(`depthcast_fanout_drops_total{reason="%s"}`, bad.label), fmt.Sprint(drops[bad.label]))
			deltas = append(deltas, g.change(bystander, proto.Bid, 99, 1))
			far.live(bystander, deltas[len(deltas)-1])
		})
	}
	far.unmoved(bystander, deltas)
}

// closing reads up to the close frame.
func (s *socket) closing() (ws.StatusCode, string) {
	s.t.Helper()
	for {
		h, err := ws.ReadHeader(s)
		if err != nil {
			s.t.Fatalf("the connection ended without a close frame: %v", err)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(s, payload); err != nil {
			s.t.Fatal(err)
		}
		if h.OpCode == ws.OpClose {
			return ws.ParseCloseFrameData(payload)
		}
	}
}

// A request that cannot be granted is answered by an error of its own, counted,
// and the connection goes on.
func TestEndToEndRequestThatCannotBeGrantedIsAnsweredAndTheConnectionGoesOn(t *testing.T) {
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(bystander, 7)
	server := l.serve(nil)
	server.caughtUpTo(l)
	s := server.connect(proto.CodecProto)
	subscribe := func(item *pb.SubscribeItem) *pb.Request {
		return &pb.Request{Id: 7, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: []*pb.SubscribeItem{item}}}}
	}
	unheard := &pb.Request{Id: 7}
	unheard.ProtoReflect().SetUnknown([]byte{0xa2, 0x06, 0x00}) // field 100: a request of a later version
	counts := map[string]int{}
	for _, bad := range []struct {
		request *pb.Request
		code    pb.ErrorCode
		retry   pb.Retry
	}{
		{subscribe(&pb.SubscribeItem{Symbol: "SIM:NOBODY", Channel: pb.Channel_CHANNEL_BOOK}), pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, pb.Retry_RETRY_NEVER},
		{unheard, pb.ErrorCode_ERROR_CODE_UNKNOWN_REQUEST, pb.Retry_RETRY_NEVER},
		{subscribe(&pb.SubscribeItem{Symbol: bystander, Channel: pb.Channel_CHANNEL_CANDLES}), pb.ErrorCode_ERROR_CODE_UNKNOWN_CHANNEL, pb.Retry_RETRY_NEVER},
		{&pb.Request{Id: 7, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{99}}}}, pb.ErrorCode_ERROR_CODE_UNKNOWN_TOPIC, pb.Retry_RETRY_NEVER},
		{subscribe(&pb.SubscribeItem{Symbol: bystander, Channel: pb.Channel_CHANNEL_BOOK, Group: "no number"}), pb.ErrorCode_ERROR_CODE_BAD_VIEW, pb.Retry_RETRY_NEVER},
	} {
		s.ask(bad.request)
		f, code, text := s.frame(func(f *pb.Frame) bool { return f.GetError() != nil })
		if f == nil {
			t.Fatalf("%v: closed with %d %q", bad.code, code, text)
		}
		if e := f.GetError(); e.Code != bad.code || e.Retry != bad.retry || e.Id != 7 || e.Message == "" {
			t.Errorf("%v answered by %v", bad.code, e)
		}
		word := proto.ErrorCodeWord(bad.code)
		counts[word]++
		server.counted(fmt.Sprintf(`depthcast_fanout_errors_total{code="%s"}`, word), fmt.Sprint(counts[word]))
	}
	s.send(clientFrame(ws.OpBinary, []byte{0xff}))
	if f, _, _ := s.frame(func(f *pb.Frame) bool { return f.GetError() != nil }); f.GetError().GetCode() != pb.ErrorCode_ERROR_CODE_BAD_REQUEST {
		t.Errorf("bytes that are no request answered by %v", f)
	}
	s.subscribe(bystander)
	if f, code, text := s.frame(func(f *pb.Frame) bool { return f.GetSnapshot() != nil }); f == nil {
		t.Errorf("closed with %d %q", code, text)
	}
}

// A peer that has gone without a word answers no ping. It is dropped, and one that
// answers stays.
func TestEndToEndHalfOpenPeerIsDroppedAsSilent(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(bystander, 7)
	server := l.serve(func(_ *readFlags, s *serverFlags) { s.SilenceTimeout = 6 * time.Second })
	server.caughtUpTo(l)
	far := g.follow(server, proto.CodecProto, bystander) // reads, and so answers pings
	far.live(bystander, 0)
	s := server.connect(proto.CodecProto)
	s.subscribe(bystander)
	code, text := s.closing()
	if code != 4005 || !strings.HasPrefix(text, "silent") {
		t.Errorf("closed with %d %q", code, text)
	}
	server.counted(`depthcast_fanout_drops_total{reason="silent"}`, "1")
	seq := g.change(bystander, proto.Bid, 99, 1)
	far.live(bystander, seq)
	far.unmoved(bystander, []int64{seq})
}

// A client that never reads is dropped when its socket has taken nothing for too
// long; what it holds is bounded, and a client of the same topic beside it gets
// every frame.
func TestEndToEndClientThatNeverReadsIsDroppedAsStalled(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(bystander, 7)
	server := l.serve(func(_ *readFlags, s *serverFlags) {
		s.StallTimeout, s.SendBuffer, s.Shards = 5*time.Second, 4096, 1
	})
	server.caughtUpTo(l)
	far := g.follow(server, proto.CodecProto, bystander)
	far.live(bystander, 0)
	frozen := server.connect(proto.CodecProto)
	if err := frozen.net.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	frozen.subscribe(bystander)
	server.until("subscribed", func() bool { return server.hub.Stats().Subscriptions == 2 })
	var deltas []int64
	stalled := func() bool { return server.metric(`depthcast_fanout_drops_total{reason="stalled"}`) == "1" }
	// Levels that are far apart make frames that fill its buffers soon.
	for round := 0; !stalled(); round++ {
		if l.ctx.Err() != nil {
			t.Fatal("it was never dropped")
		}
		deltas = append(deltas, g.sweep(bystander, round, 2000))
		far.live(bystander, deltas[len(deltas)-1])
	}
	server.until("one subscriber left", func() bool { return server.hub.Stats().Subscriptions == 1 })
	deltas = append(deltas, g.change(bystander, proto.Bid, 99, 1))
	far.live(bystander, deltas[len(deltas)-1])
	far.unmoved(bystander, deltas)
	if _, err := io.Copy(io.Discard, frozen.net); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the connection of the dropped client did not end: %v", err)
	}
}
