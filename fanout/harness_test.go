package fanout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// patience bounds every wait of a test for what must happen.
const patience = time.Minute

// clock is a hub's clock that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a hub over testBooks with a clock of its own.
type rig struct {
	t     *testing.T
	hub   *Hub
	books *testBooks
	clock *clock
}

// newRig starts a hub; change may set its configuration.
func newRig(t *testing.T, change func(*Config), symbols ...string) *rig {
	t.Helper()
	r := &rig{t: t, books: newTestBooks(symbols...), clock: newClock()}
	c := Config{Books: r.books, Shards: 1, Now: r.clock.Now, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	var err error
	if r.hub, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := r.hub.Shutdown(ctx)
		if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return r
}

// book returns the book of a symbol.
func (r *rig) book(symbol string) *testBook { return r.books.books[symbol] }

// advance moves the clock and has every shard look at it.
func (r *rig) advance(d time.Duration) {
	r.clock.advance(d)
	for _, s := range r.hub.shards {
		s.poller.Wake()
	}
}

// until waits for a condition that shards bring about, having them turn.
func (r *rig) until(what string, condition func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !condition() {
		if ctx.Err() != nil {
			r.t.Fatalf("waited in vain: %s", what)
		}
		r.sync()
	}
}

// sync returns after every shard has ended a turn that began after the call.
func (r *rig) sync() {
	r.t.Helper()
	for _, s := range r.hub.shards {
		done := make(chan struct{})
		s.do(func() { close(done) })
		select {
		case <-done:
		case <-time.After(patience):
			r.t.Fatal("a shard does not turn")
		}
	}
}

// do runs f on s's goroutine, as the readiness of a descriptor of its own.
func (s *shard) do(f func()) {
	var pipe [2]int
	pipe[0], pipe[1] = socketpair()
	h := &once{}
	h.run = func() {
		_ = s.poller.Del(pipe[0])
		_ = poll.Close(pipe[0])
		_ = poll.Close(pipe[1])
		s.turn()
		f()
	}
	if err := s.poller.Add(pipe[0], poll.In, h); err != nil {
		panic(err)
	}
	poll.Send(pipe[1], []byte{1})
}

type once struct{ run func() }

func (o *once) Ready(poll.Events) {
	if run := o.run; run != nil {
		o.run = nil
		run()
	}
}

// client is the far end of a connection.
type client struct {
	t     *testing.T
	conn  *net.TCPConn
	codec proto.Codec
	fd    int // of the server's end

	window   uint8 // for compressed frames, in bits; 0: there must be none
	deflated int   // how many came compressed
	forms    map[uint32]proto.Exponents
	hello    *pb.Hello // the first
}

// dial connects a client over loopback and hands the other end to the hub.
func (r *rig) dial(codec proto.Codec) *client {
	r.t.Helper()
	return r.connect(Accepted{Codec: codec}, nil)
}

// dialDeflated is dial for a client that has agreed on compression, with a window of
// so many bits.
func (r *rig) dialDeflated(codec proto.Codec, window uint8) *client {
	r.t.Helper()
	return r.connect(Accepted{Codec: codec, deflate: window}, nil)
}

// dialScripted lets script see the server's descriptor before the hub has it.
func (r *rig) dialScripted(codec proto.Codec, script func(fd int)) *client {
	r.t.Helper()
	return r.connect(Accepted{Codec: codec}, script)
}

// connect has a client arrive that is greeted in the protocol's own way.
func (r *rig) connect(a Accepted, script func(fd int)) *client {
	r.t.Helper()
	c := r.arrive(a, script)
	c.greeted()
	return c
}

// arrive connects a client over loopback and hands the other end to the hub.
func (r *rig) arrive(a Accepted, script func(fd int)) *client {
	r.t.Helper()
	near, far := tcpPair(r.t)
	fd, err := poll.Detach(far)
	if err != nil {
		r.t.Fatal(err)
	}
	if script != nil {
		script(fd)
	}
	a.FD, a.Remote = fd, near.LocalAddr().String()
	r.hub.users.enter(a.grant)
	if err := r.hub.Accept(a); err != nil {
		r.t.Fatal(err)
	}
	return &client{t: r.t, conn: near, codec: a.Codec, window: a.deflate, fd: fd, forms: make(map[uint32]proto.Exponents)}
}

// greeted reads the first frame.
func (c *client) greeted() {
	c.t.Helper()
	if c.hello = c.next().GetHello(); c.hello == nil {
		c.t.Fatal("the first frame is no hello")
	}
}

func tcpPair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	_ = a.(*net.TCPConn).SetReadBuffer(32 << 10) // so that one that does not read is soon known
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// write sends one client frame, whole: its first bytes may be what ends the
// connection.
func (c *client) write(op ws.OpCode, payload []byte) {
	c.t.Helper()
	f := ws.MaskFrame(ws.NewFrame(op, true, append([]byte(nil), payload...)))
	if _, err := c.conn.Write(ws.MustCompileFrame(f)); err != nil {
		c.t.Fatal(err)
	}
}

// ask sends a request in protobuf.
func (c *client) ask(req *pb.Request) {
	c.t.Helper()
	b, err := googleproto.Marshal(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write(ws.OpBinary, b)
}

// raw reads one WebSocket frame.
func (c *client) raw() (ws.Frame, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	h, err := ws.ReadHeader(c.conn)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > maxFrame {
		return ws.Frame{}, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err = io.ReadFull(c.conn, f.Payload); err != nil || !h.Rsv1() {
		return f, err
	}
	if c.window == 0 {
		return f, errors.New("a compressed frame for who cannot read it")
	}
	c.deflated++
	// With a window that is no whole one, what would need more is not to come.
	if f.Payload, err = wsflateInflate(f.Payload); err == nil && c.window < wholeWindow && len(f.Payload) > 1<<c.window {
		err = fmt.Errorf("%d bytes compressed for a window of %d bits", len(f.Payload), c.window)
	}
	return f, err
}

// wsflateInflate inflates a message by other code than the server's.
func wsflateInflate(message []byte) ([]byte, error) {
	f := ws.NewFrame(ws.OpBinary, true, message)
	f.Header.Rsv = ws.Rsv(true, false, false)
	f, err := wsflate.DecompressFrame(f)
	return f.Payload, err
}

// maxFrame bounds what a client takes.
const maxFrame = 1 << 20

// next reads one frame of the protocol, skipping WebSocket pings.
func (c *client) next() *pb.Frame {
	c.t.Helper()
	for {
		f, err := c.raw()
		if err != nil {
			c.t.Fatal(err)
		}
		switch f.Header.OpCode {
		case ws.OpPing:
			c.write(ws.OpPong, f.Payload)
		case ws.OpBinary, ws.OpText:
			return c.decode(f.Payload)
		default:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			c.t.Fatalf("unexpected frame %v: %d %s", f.Header.OpCode, code, reason)
		}
	}
}

func (c *client) decode(payload []byte) *pb.Frame {
	c.t.Helper()
	frame := &pb.Frame{}
	var err error
	if c.codec == proto.CodecJSON {
		frame, err = proto.DecodeJSONFrame(payload, func(topic uint32) (proto.Exponents, bool) {
			x, ok := c.forms[topic]
			return x, ok
		})
	} else {
		err = googleproto.Unmarshal(payload, frame)
	}
	if err != nil {
		c.t.Fatalf("%v in %q", err, payload)
	}
	if ack := frame.GetAck(); ack != nil {
		c.forms[ack.Topic] = proto.Exponents{Price: int8(ack.PriceExponent), Qty: int8(ack.QtyExponent)}
	}
	return frame
}

// closed reads until the server's close frame and returns its code and text.
func (c *client) closed() (ws.StatusCode, string) {
	c.t.Helper()
	for {
		f, err := c.raw()
		if err != nil {
			c.t.Fatalf("the connection ended without a close frame: %v", err)
		}
		if f.Header.OpCode == ws.OpClose {
			return ws.ParseCloseFrameData(f.Payload)
		}
	}
}

// ended reads until the connection ends.
func (c *client) ended() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c.conn); err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			c.t.Fatal("the connection does not end")
		}
	}
}

// want asks for items in one request; as JSON, for their symbols and channels only.
func (c *client) want(items ...*pb.SubscribeItem) {
	c.t.Helper()
	if c.codec == proto.CodecProto {
		c.ask(subscribeTo(1, items...))
		return
	}
	var texts []string
	for _, item := range items {
		channel := proto.ChannelWord(max(proto.ChannelBook, proto.Channel(item.Channel)))
		texts = append(texts, `{"symbol":"`+item.Symbol+`","channel":"`+channel+`"}`)
	}
	c.write(ws.OpText, []byte(`{"type":"subscribe","id":1,"items":[`+strings.Join(texts, ",")+`]}`))
}

// subscribe asks for one item and returns its ack.
func (c *client) subscribe(item *pb.SubscribeItem) *pb.Ack {
	c.t.Helper()
	c.want(item)
	for {
		f := c.next()
		if ack := f.GetAck(); ack != nil {
			return ack
		}
		if e := f.GetError(); e != nil {
			c.t.Fatalf("refused: %v", e)
		}
	}
}
