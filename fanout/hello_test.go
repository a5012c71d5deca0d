package fanout

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll/polltest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// ofNumbers returns n symbols.
func ofNumbers(n int) (symbols []string) {
	for i := range n {
		symbols = append(symbols, fmt.Sprintf("SIM:%03d", i))
	}
	return symbols
}

// code reads until the answer to the request of an id, and returns what it refuses;
// 0: nothing.
func (c *client) code(id uint32) pb.ErrorCode {
	c.t.Helper()
	for {
		f := c.next()
		if a := f.GetAck(); a != nil && a.Id == id {
			return 0
		}
		if p := f.GetPong(); p != nil && p.Id == id {
			return 0
		}
		if e := f.GetError(); e != nil && e.Id == id {
			return e.Code
		}
	}
}

// atMost calls ask, which asks once for what is limited, n times, and once more.
func (c *client) atMost(n uint32, refused pb.ErrorCode, ask func(id uint32)) {
	c.t.Helper()
	for id := range n + 1 {
		ask(id + 100)
		if code := c.code(id + 100); (code != 0) != (id == n) || code != 0 && code != refused {
			c.t.Fatalf("%d of %d: answered with %v", id+1, n, code)
		}
	}
}

func pinged(id uint32) *pb.Request {
	return &pb.Request{Id: id, Body: &pb.Request_Ping{Ping: &pb.Ping{}}}
}

// limits has, by field of Limits, what goes as far as it says and one further. Where
// it takes no configuration the default does.
var limits = map[string]struct {
	change func(*Config)
	drive  func(t *testing.T, r *rig, limits *pb.Limits)
}{
	"max_subscriptions": {func(c *Config) { c.MaxSubscriptions = 3 }, func(_ *testing.T, r *rig, limits *pb.Limits) {
		symbols := ofNumbers(4)
		c := r.dial(proto.CodecProto)
		c.atMost(limits.MaxSubscriptions, pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS, func(id uint32) {
			c.ask(subscribeTo(id, &pb.SubscribeItem{Symbol: symbols[id-100]}))
		})
	}},
	"max_items": {func(c *Config) { c.MaxItems = 3 }, func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		for n, want := range map[uint32]pb.ErrorCode{
			limits.MaxItems:     pb.ErrorCode_ERROR_CODE_UNKNOWN_TOPIC,
			limits.MaxItems + 1: pb.ErrorCode_ERROR_CODE_TOO_MANY_ITEMS,
		} {
			c.ask(&pb.Request{Id: n, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: make([]uint32, n)}}})
			if code := c.code(n); code != want {
				t.Errorf("%d items: %v", n, code)
			}
		}
	}},
	"max_message_bytes": {func(c *Config) { c.MaxMessageBytes = 300 }, func(t *testing.T, r *rig, limits *pb.Limits) {
		c, ping := r.dial(proto.CodecJSON), `{"type":"ping","id":1}`
		message := ping + strings.Repeat(" ", int(limits.MaxMessageBytes)-len(ping))
		c.write(ws.OpText, []byte(message))
		if c.code(1) != 0 {
			t.Error("one of the greatest is refused")
		}
		c.write(ws.OpText, []byte(message+" "))
		if code, _ := c.closed(); code != ws.StatusMessageTooBig {
			t.Errorf("one that is greater: %d", code)
		}
	}},
	"max_requests_per_s": {func(c *Config) { c.RequestsPerSecond = 5 }, func(_ *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		ask := func(id uint32) { c.ask(pinged(id)) }
		c.atMost(2*limits.MaxRequestsPerS, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, ask)
		r.advance(time.Second)
		c.atMost(limits.MaxRequestsPerS, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, ask)
	}},
	"max_messages_in_per_s": {func(c *Config) { c.MessagesInPerSecond = 5 }, func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		for n := range 8 * limits.MaxMessagesInPerS {
			c.write(ws.OpPing, nil)
			if f, err := c.raw(); err != nil || f.Header.OpCode != ws.OpPong {
				t.Fatalf("the ping %d: %v %v", n+1, f.Header, err)
			}
		}
		c.write(ws.OpPing, nil)
		if code, _ := c.closed(); code != drops[DropFlooding].Code {
			t.Errorf("one more: %d", code)
		}
	}},
	"max_bytes_in_per_s": {func(c *Config) { c.BytesInPerSecond = 256 << 10 }, func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecJSON)
		ping := `{"type":"ping","id":1,"data":"` + strings.Repeat("A", 60) + `"}`
		ping += strings.Repeat(" ", 32<<10-8-len(ping)) // with its header
		most := int(8 * limits.MaxBytesInPerS / (32 << 10))
		for n := range most - 2 { // beside their bytes, reads count
			c.write(ws.OpText, []byte(ping))
			if c.code(1) != 0 {
				t.Fatalf("after %d of %d bytes", n<<15, 8*limits.MaxBytesInPerS)
			}
		}
		for range 3 {
			c.write(ws.OpText, []byte(ping))
		}
		if code, _ := c.closed(); code != drops[DropFlooding].Code {
			t.Errorf("more: %d", code)
		}
	}},
	"max_snapshot_bytes_per_s": {func(c *Config) { c.SnapshotBytesPerSecond, c.RequestsPerSecond = 8<<10, 1000 }, func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		ask := func() (n uint32) { // bytes that it may have, at 1 KiB for what is small
			for ack := c.subscribe(book); ack != nil && n < 16*limits.MaxSnapshotBytesPerS; n += itemBytes {
				topic := ack.Topic
				ack, _ = c.asksAgain(topic)
			}
			return n
		}
		if n := ask(); n < 7*limits.MaxSnapshotBytesPerS || n > 8*limits.MaxSnapshotBytesPerS {
			t.Errorf("%d bytes at once", n)
		}
		r.advance(2 * time.Second)
		if n := ask(); n < limits.MaxSnapshotBytesPerS || n > 3*limits.MaxSnapshotBytesPerS {
			t.Errorf("%d bytes after two seconds", n)
		}
	}},
	"items_per_request": {func(c *Config) { c.RequestsPerSecond = 5 }, func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		items := &pb.Request{Id: 1, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: make([]uint32, 3*limits.ItemsPerRequest)}}}
		c.ask(items)
		for range 3 * limits.ItemsPerRequest {
			c.code(1)
		}
		c.atMost(2*limits.MaxRequestsPerS-3, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, func(id uint32) { c.ask(pinged(id)) })
	}},
	"items_per_pattern": {func(c *Config) { c.RequestsPerSecond = 5 }, func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		c.ask(subscribeTo(1, &pb.SubscribeItem{Symbol: "NONE:*"}))
		if code := c.code(1); code != 0 {
			t.Fatal(code)
		}
		left := 2*limits.MaxRequestsPerS - limits.ItemsPerPattern/limits.ItemsPerRequest
		c.atMost(left, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, func(id uint32) { c.ask(pinged(id)) })
	}},
	"max_user_snapshot_bytes_per_s": {func(c *Config) { c.SnapshotBytesPerUser = 8 << 10 }, func(t *testing.T, r *rig, limits *pb.Limits) {
		n := uint32(0) // bytes, at 1 KiB for what is small
		for c := r.dial(proto.CodecProto); n < 16*limits.MaxUserSnapshotBytesPerS; c = r.dial(proto.CodecProto) {
			if c.ask(subscribeTo(1, book)); c.code(1) != 0 {
				break
			}
			n += itemBytes
		}
		if most := 8 * limits.MaxUserSnapshotBytesPerS; n < most*7/8 || n > most+itemBytes {
			t.Errorf("%d bytes at once", n)
		}
	}},
	"resync_interval_ms": {func(c *Config) { c.ResyncInterval = 3 * time.Second }, func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		topic := c.subscribe(book).Topic
		asks := func() (granted int) {
			for {
				c.ask(&pb.Request{Id: 9, Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{topic}}}})
				c.ask(pinged(10))
				for f := c.next(); f.GetPong() == nil; f = c.next() {
					if f.GetError() != nil {
						return granted
					}
				}
				granted++
			}
		}
		if n := asks(); n != 8 {
			t.Errorf("%d at once", n)
		}
		c.code(10)
		r.advance(time.Duration(limits.ResyncIntervalMs) * time.Millisecond)
		if n := asks(); n != 1 {
			t.Errorf("%d after an interval", n)
		}
	}},
	"max_patterns": {nil, func(_ *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		c.atMost(limits.MaxPatterns, pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS, func(id uint32) {
			c.ask(subscribeTo(id, &pb.SubscribeItem{Symbol: fmt.Sprintf("%03d*", id)}))
		})
	}},
	"max_event_topics": {nil, func(t *testing.T, r *rig, limits *pb.Limits) {
		d, names := r.open(false), ofNumbers(int(limits.MaxEventTopics)+1)
		l := d.listen("symbol="+strings.Join(names[1:], "&symbol="), nil)
		acks := uint32(0)
		l.until(func(f *pb.Frame) bool {
			if h := f.GetHello(); h != nil && h.Limits.MaxSubscriptions != limits.MaxEventTopics {
				t.Errorf("the stream says %v", h.Limits)
			}
			if f.GetAck() != nil {
				acks++
			}
			return acks == limits.MaxEventTopics
		})
		for _, path := range []string{"/v1/sse", "/v1/poll"} {
			if status := d.status(path + "?symbol=" + strings.Join(names, "&symbol=")); status != http.StatusBadRequest {
				t.Errorf("%s, with one more: %d", path, status)
			}
		}
	}},
	"max_poll_wait_ms": {nil, func(t *testing.T, r *rig, limits *pb.Limits) {
		d := r.open(false)
		for more, want := range []int{http.StatusOK, http.StatusBadRequest} {
			path := fmt.Sprintf("/v1/poll?symbol=%s&wait_ms=%d", btc, int(limits.MaxPollWaitMs)+more)
			if status := d.status(path); status != want {
				t.Errorf("%s: %d", path, status)
			}
		}
	}},
	"max_relays": {func(c *Config) { c.MaxRelays, c.MaxRelaysPerAddress = 9, 2 }, func(t *testing.T, r *rig, limits *pb.Limits) {
		d := r.open(true)
		for range limits.MaxRelays {
			d.listen2("symbol="+btc, nil).next()
		}
		if status := d.status("/v1/poll?symbol=" + btc); status != http.StatusTooManyRequests {
			t.Errorf("one more: %d", status)
		}
	}},
	"silence_timeout_ms": {nil, func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		timeout := time.Duration(limits.SilenceTimeoutMs) * time.Millisecond
		for range timeout/sweepEvery - 1 {
			r.advance(sweepEvery)
			r.sync()
		}
		if n := r.hub.Stats().Conns; n != 1 {
			t.Fatalf("%d connections before it is over", n)
		}
		r.until("the end", func() bool { // each is looked at four times within it
			r.advance(sweepEvery)
			return r.hub.Stats().Drops[DropSilent] == 1
		})
		if code, _ := c.closed(); code != drops[DropSilent].Code {
			t.Errorf("closed with %d", code)
		}
	}},
	"stall_timeout_ms": {nil, func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dialScripted(proto.CodecProto, func(fd int) {
			r.hub.config.Sockets.(*polltest.Sockets).Forget(fd)
		})
		r.hub.config.Sockets.(*polltest.Sockets).OnSend(c.fd, polltest.Again(1<<30))
		c.write(ws.OpPing, nil)
		r.until("a full socket", func() bool { return r.blocked() == 1 })
		timeout := time.Duration(limits.StallTimeoutMs) * time.Millisecond
		r.advance(timeout - 1)
		r.sync()
		if n := r.hub.Stats().Conns; n != 1 {
			t.Fatalf("%d connections before it is over", n)
		}
		r.advance(sweepEvery)
		r.until("the end", func() bool { return r.hub.Stats().Drops[DropStalled] == 1 })
	}},
	"max_depth": {gateOf(&Grant{User: "a", Symbols: []string{"*"}, MaxDepth: 20}), func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.open(false).dialAs(proto.CodecProto, "good")
		for depth, want := range map[uint32]pb.ErrorCode{limits.MaxDepth: 0, limits.MaxDepth + 1: pb.ErrorCode_ERROR_CODE_FORBIDDEN} {
			c.ask(subscribeTo(depth, &pb.SubscribeItem{Symbol: btc, Depth: depth}))
			if code := c.code(depth); code != want {
				t.Errorf("%d levels: %v", depth, code)
			}
		}
	}},
	"max_connections": {gateOf(&Grant{User: "a", Symbols: []string{"*"}, MaxConns: 3}), func(t *testing.T, r *rig, limits *pb.Limits) {
		d := r.open(false)
		r.until("the first one's end", func() bool { return r.hub.Stats().Conns == 0 })
		for range limits.MaxConnections {
			d.dialAs(proto.CodecProto, "good")
		}
		if answer := d.handshake("/v1/stream", "Authorization: Bearer good"); answer.StatusCode != http.StatusTooManyRequests {
			t.Errorf("one more: %s", answer.Status)
		}
	}},
	"auth_timeout_ms": {gateOf(nil), func(t *testing.T, r *rig, limits *pb.Limits) {
		c := r.dial(proto.CodecProto)
		r.advance(time.Duration(limits.AuthTimeoutMs)*time.Millisecond - 1)
		r.sync()
		c.ask(pinged(1))
		if c.code(1) != 0 {
			t.Error("ended before its time")
		}
		r.advance(sweepEvery)
		if code, _ := c.closed(); code != drops[DropUnauthenticated].Code {
			t.Errorf("closed with %d", code)
		}
	}},
}

// gateOf has the token "good" grant g; nil: nothing.
func gateOf(g *Grant) func(*Config) {
	return func(c *Config) { c.Gate, c.AuthTimeout = newTestGate(map[string]*Grant{"good": g}), 7*time.Second }
}

// status asks for a page, and returns the status of the answer.
func (d *door) status(path string) int {
	d.rig.t.Helper()
	status, _, _ := d.request("GET " + path + " HTTP/1.1\nHost: a\nConnection: close\n\n")
	return status
}

func TestHelloAnnouncesTheLimitsThatHold(t *testing.T) {
	fields := (&pb.Limits{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		name := string(fields.Get(i).Name())
		t.Run(name, func(t *testing.T) {
			limit, any := limits[name]
			if !any {
				t.Fatal("nothing goes as far as it says")
			}
			r := newRig(t, func(c *Config) {
				c.Sockets = &polltest.Sockets{}
				if limit.change != nil {
					limit.change(c)
				}
			}, append(ofNumbers(65), btc)...)
			said := r.announced(fields.Get(i).Name() != "auth_timeout_ms")
			if !said.ProtoReflect().Has(fields.Get(i)) {
				t.Fatal("hello does not say it")
			}
			limit.drive(t, r, said)
		})
	}
}

// announced returns the limits of a hello, to a user where there is a gate, and
// leaves.
func (r *rig) announced(admitted bool) *pb.Limits {
	r.t.Helper()
	var c *client
	if admitted && r.hub.config.Gate != nil {
		c = r.open(false).dialAs(proto.CodecProto, "good")
	} else {
		c = r.dial(proto.CodecProto)
	}
	c.write(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
	_, _ = io.Copy(io.Discard, c.conn)
	r.until("its end", func() bool { return r.hub.Stats().Conns == 0 })
	return c.hello.Limits
}

func TestHelloIsSilentOnLimitsThatThereAreNot(t *testing.T) {
	r := newRig(t, nil, btc)
	l := r.announced(false)
	if l.MaxMessagesInPerS != 0 || l.MaxBytesInPerS != 0 || l.MaxSnapshotBytesPerS != 0 || l.MaxUserSnapshotBytesPerS != 0 || l.MaxDepth != 0 || l.MaxConnections != 0 || l.AuthTimeoutMs != 0 {
		t.Errorf("says %v", l)
	}
	if uint32(r.hub.config.MaxRelays) != l.MaxRelays {
		t.Errorf("%d relays", l.MaxRelays)
	}
}
