package fanout

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll/polltest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func subscribeTo(id uint32, items ...*pb.SubscribeItem) *pb.Request {
	return &pb.Request{Id: id, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: items}}}
}

// refused reads frames until an error and checks its code.
func (c *client) refused(code pb.ErrorCode) *pb.Error {
	c.t.Helper()
	for {
		if e := c.next().GetError(); e != nil {
			if e.Code != code {
				c.t.Fatalf("refused with %v (%s), want %v", e.Code, e.Message, code)
			}
			return e
		}
	}
}

func TestEachItemIsAnsweredForItself(t *testing.T) {
	r := newRig(t, nil, btc, "SIM:ETH-USD")
	c := r.dial(proto.CodecProto)
	c.ask(subscribeTo(9, &pb.SubscribeItem{Symbol: "SIM:NONE"}, &pb.SubscribeItem{Symbol: btc, Depth: 7},
		&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_CANDLES}, &pb.SubscribeItem{Symbol: btc, Group: "0.005"},
		&pb.SubscribeItem{Symbol: btc, Depth: 10}, &pb.SubscribeItem{Symbol: "SIM:ETH-USD", Channel: pb.Channel_CHANNEL_TRADES}))
	want := []pb.ErrorCode{pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, 0, pb.ErrorCode_ERROR_CODE_UNKNOWN_CHANNEL,
		pb.ErrorCode_ERROR_CODE_BAD_VIEW, pb.ErrorCode_ERROR_CODE_ALREADY_SUBSCRIBED, 0}
	for i := 0; i < len(want); {
		f := c.next()
		switch {
		case f.GetAck() != nil:
			ack := f.GetAck()
			if want[i] != 0 || ack.Id != 9 || ack.Item != uint32(i) || ack.Topic == 0 {
				t.Errorf("item %d: acknowledged with %v", i, ack)
			}
			if ack.Symbol == btc && ack.Depth != 10 {
				t.Errorf("granted depth %d for 7", ack.Depth)
			}
		case f.GetError() != nil:
			e := f.GetError()
			if e.Code != want[i] || e.Id != 9 || e.Item == nil || *e.Item != uint32(i) || e.Retry == 0 || e.Message == "" {
				t.Errorf("item %d: refused with %v", i, e)
			}
		default:
			t.Fatalf("item %d: %v before its answer", i, f)
		}
		i++
	}
}

// TestErrorsSayWhatIsWrong: also where the code is one for several faults, and
// whatever else was asked for.
func TestErrorsSayWhatIsWrong(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxTopics, c.MaxPatterns = 3, 1 }, btc)
	r.books.oneGroup = true
	c := r.dial(proto.CodecProto)
	instruments := func(symbol string) *pb.SubscribeItem {
		return &pb.SubscribeItem{Symbol: symbol, Channel: pb.Channel_CHANNEL_INSTRUMENTS}
	}
	long := strings.Repeat("7", proto.MaxSymbolBytes+1)
	asked := []struct {
		item *pb.SubscribeItem
		code pb.ErrorCode // 0: granted
		says string
	}{
		{&pb.SubscribeItem{Symbol: long}, pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, "65 bytes, at most 64"},
		{&pb.SubscribeItem{Symbol: btc, Group: long}, pb.ErrorCode_ERROR_CODE_BAD_VIEW, "group"},
		{&pb.SubscribeItem{Symbol: "SIM:**"}, pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, "one *, at its end"},
		{instruments("SIM:**"), pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, "one *, at its end"},
		{instruments("S*M"), pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, "at the end only"},
		{instruments("SIM:*"), 0, ""},
		{instruments("*"), pb.ErrorCode_ERROR_CODE_OVERLOADED, "patterns"},
		{&pb.SubscribeItem{Symbol: btc, Group: "0.5"}, 0, ""},
		{&pb.SubscribeItem{Symbol: btc, Group: "5"}, pb.ErrorCode_ERROR_CODE_OVERLOADED, "groups"},
		{&pb.SubscribeItem{Symbol: btc}, 0, ""},
		{&pb.SubscribeItem{Symbol: btc, Depth: 1}, pb.ErrorCode_ERROR_CODE_OVERLOADED, "topics"},
	}
	items := make([]*pb.SubscribeItem, len(asked))
	for i := range asked {
		items[i] = asked[i].item
	}
	c.ask(subscribeTo(4, items...))
	for i, tt := range asked {
		switch f := c.next(); {
		case f.GetError() != nil:
			if e := f.GetError(); e.GetItem() != uint32(i) || e.Code != tt.code || !strings.Contains(e.Message, tt.says) {
				t.Errorf("item %d: %v", i, e)
			}
		case f.GetAck().GetItem() != uint32(i) || tt.code != 0:
			t.Errorf("item %d: %v", i, f)
		}
	}
}

func TestUnknownSymbolIsNotReadyUntilCaughtUp(t *testing.T) {
	r := newRig(t, nil, btc)
	r.books.ready = false
	c := r.dial(proto.CodecProto)
	c.ask(subscribeTo(1, &pb.SubscribeItem{Symbol: "SIM:NONE"}))
	if e := c.refused(pb.ErrorCode_ERROR_CODE_NOT_READY); e.Retry != pb.Retry_RETRY_AFTER || e.RetryAfterMs == 0 {
		t.Errorf("refused with %v", e)
	}
}

func TestUnknownRequestIsAnsweredAndHarmsNobody(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecJSON)
	c.write(ws.OpText, []byte(`{"type":"transmogrify","id":4}`))
	if e := c.refused(pb.ErrorCode_ERROR_CODE_UNKNOWN_REQUEST); !strings.Contains(e.Message, "transmogrify") || e.Id != 4 {
		t.Errorf("refused with %v", e)
	}
	c.write(ws.OpText, []byte(`{"type":`))
	c.refused(pb.ErrorCode_ERROR_CODE_BAD_REQUEST)
	if ack := c.subscribe(book); ack.Topic == 0 {
		t.Error("the connection does not go on")
	}
}

func TestPingIsAnsweredByPong(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	c.write(ws.OpPing, []byte("are you there"))
	f, err := c.raw()
	if err != nil || f.Header.OpCode != ws.OpPong || string(f.Payload) != "are you there" {
		t.Fatalf("%v %q %v", f.Header, f.Payload, err)
	}
	c.ask(&pb.Request{Id: 3, Body: &pb.Request_Ping{Ping: &pb.Ping{Data: []byte("x")}}})
	if p := c.next().GetPong(); p == nil || p.Id != 3 || string(p.Data) != "x" || p.Time == 0 {
		t.Errorf("answered by %v", p)
	}
}

func TestBrokenProtocolEndsOnlyItsConnection(t *testing.T) {
	masked := func(op ws.OpCode, b []byte) []byte {
		return ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, true, b)))
	}
	for name, test := range map[string]struct {
		bytes  []byte
		reason DropReason
	}{
		"text on the protobuf protocol": {masked(ws.OpText, []byte("{}")), DropWrongType},
		"message over the limit":        {masked(ws.OpBinary, make([]byte, 2000)), DropTooBig},
		"unmasked frame":                {ws.MustCompileFrame(ws.NewBinaryFrame([]byte{1})), DropProtocol},
		"text that is not UTF-8":        {masked(ws.OpText, []byte{0xff, 0xfe}), DropBadText},
		"close":                         {masked(ws.OpClose, ws.NewCloseFrameBody(1000, "")), DropClientClosed},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.MaxMessageBytes = 1000 }, btc)
			other := r.dial(proto.CodecProto)
			m := newModel(t, other.subscribe(book))
			c := r.dial(proto.CodecProto)
			c.subscribe(book)
			if _, err := c.conn.Write(test.bytes); err != nil {
				t.Fatal(err)
			}
			if code, text := c.closed(); code != drops[test.reason].Code || !strings.HasPrefix(text, test.reason.String()) {
				t.Errorf("closed with %d %q", code, text)
			}
			_, _ = c.conn.Write(masked(ws.OpClose, nil)) // the answer, unless the server has its answer already
			c.ended()
			_ = c.conn.Close()
			r.until("the end of the connection", func() bool { return r.hub.Stats().Conns == 1 })
			if n := r.hub.Stats().Drops[test.reason]; n != 1 {
				t.Errorf("counted %d times as %v", n, test.reason)
			}
			r.book(btc).publish(seeded(1), 3)
			seq, _ := r.book(btc).where()
			m.follow(other, seq)
		})
	}
}

func TestPeerThatVanishesIsCounted(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	c.subscribe(book)
	_ = c.conn.SetLinger(0)
	_ = c.conn.Close()
	r.until("its end", func() bool { return r.hub.Stats().Drops[DropClientGone] == 1 && r.hub.Stats().Conns == 0 })
}

func TestHalfOpenPeerIsDropped(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	timeout := r.hub.config.SilenceTimeout
	r.advance(timeout/2 + time.Second)
	f, err := c.raw()
	if err != nil || f.Header.OpCode != ws.OpPing {
		t.Fatalf("%v %v instead of a ping", f.Header, err)
	}
	c.write(ws.OpPong, f.Payload)
	heard := r.hub.clockOf(0)
	r.until("the pong", func() bool { return r.hub.heard(0) >= heard })
	r.advance(timeout - time.Second)
	r.sync()
	if r.hub.Stats().Conns != 1 {
		t.Fatal("dropped although it has answered")
	}
	r.advance(2 * time.Second)
	if code, _ := c.closed(); code != drops[DropSilent].Code {
		t.Errorf("closed with %d", code)
	}
	r.advance(r.hub.config.CloseTimeout + time.Second)
	r.until("its end", func() bool { return r.hub.Stats().Conns == 0 })
}

// clockOf returns the clock of a shard, heard the last sign of life of its first
// connection.
func (h *Hub) clockOf(i int) (d time.Duration) {
	h.ask(i, func(s *shard) { d = s.since })
	return d
}

func (h *Hub) heard(i int) (d time.Duration) {
	h.ask(i, func(s *shard) { d = s.conns[0].heard })
	return d
}

func (h *Hub) ask(i int, f func(*shard)) {
	done := make(chan struct{})
	h.shards[i].do(func() { f(h.shards[i]); close(done) })
	<-done
}

func TestControlBufferIsBounded(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) {
		c.MaxItems, c.ControlBytes, c.Sockets = 1, 1024, sockets
		c.RequestsPerSecond = 1_000_000
	}, btc)
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	r.sync()
	r.hold(func() {
		for range 200 {
			c.write(ws.OpPing, make([]byte, 100))
		}
	})
	code, _ := c.closed()
	if code != drops[DropControlOverflow].Code {
		t.Errorf("closed with %d", code)
	}
}

func TestControlFramesGoFirstAtFrameBoundaries(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets }, btc)
	b := r.book(btc)
	b.publish(seeded(1), 5)
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	m := newModel(t, c.subscribe(book))
	seq, _ := b.where()
	m.follow(c, seq)

	// The first delta is cut in two; before the rest of it and the second, a pong
	// becomes due.
	sockets.OnSend(c.fd, polltest.Take(5), polltest.Again(1))
	r.hold(func() { b.publish(seeded(2), 5) })
	r.hold(func() {
		c.write(ws.OpPing, []byte("p"))
		b.publish(seeded(3), 5)
	})
	var seen []string
	for len(seen) < 3 {
		f, err := c.raw()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header.OpCode == ws.OpPong {
			seen = append(seen, "pong")
			continue
		}
		m.apply(c.decode(f.Payload))
		seen = append(seen, "delta")
	}
	if m.deltas != 2 || seen[0] != "delta" {
		t.Errorf("%v", seen)
	}
}

func TestRequestsAreRateLimited(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RequestsPerSecond, c.RequestBurst = 2, 3 }, btc)
	c := r.dial(proto.CodecProto)
	ping := &pb.Request{Id: 1, Body: &pb.Request_Ping{Ping: &pb.Ping{}}}
	for range 3 {
		c.ask(ping)
		if c.next().GetPong() == nil {
			t.Fatal("no pong within the burst")
		}
	}
	c.ask(ping)
	if e := c.refused(pb.ErrorCode_ERROR_CODE_RATE_LIMITED); e.Id != 1 || e.RetryAfterMs == 0 {
		t.Errorf("%v", e)
	}
	unread := &pb.Request{Id: 70_000, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: make([]uint32, 2*largeMessage)}}}
	c.ask(unread)
	if e := c.refused(pb.ErrorCode_ERROR_CODE_RATE_LIMITED); e.Id != 70_000 {
		t.Errorf("a large one: %v", e)
	}
	r.advance(time.Second)
	r.sync()
	c.ask(ping)
	if c.next().GetPong() == nil {
		t.Error("no pong a second later")
	}
}

func TestUnsubscribeEndsTheTopicWithItsAck(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(book)
	m := newModel(t, ack)
	b.publish(seeded(1), 5)
	seq, _ := b.where()
	m.follow(c, seq)
	c.ask(&pb.Request{Id: 2, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{ack.Topic, 99}}}})
	if a := c.next().GetAck(); a == nil || !a.Ended || a.Topic != ack.Topic {
		t.Fatalf("answered by %v", a)
	}
	if e := c.refused(pb.ErrorCode_ERROR_CODE_UNKNOWN_TOPIC); e.Topic != 99 || e.GetItem() != 1 {
		t.Errorf("%v", e)
	}
	b.publish(seeded(2), 5)
	c.ask(&pb.Request{Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
	if f := c.next(); f.GetPong() == nil {
		t.Errorf("%v after the end of the topic", f)
	}
}

func TestModifyReplacesTheTopicOnlyIfItCan(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, Depth: 10})
	modify := func(item *pb.ModifyItem) {
		item.Topic = ack.Topic
		c.ask(&pb.Request{Id: 2, Body: &pb.Request_Modify{Modify: &pb.Modify{Items: []*pb.ModifyItem{item}}}})
	}
	depth, drop := uint32(20), pb.Policy_POLICY_DROP
	tooFine, noNumber, group, none := "0.005", "half", "0.5", ""
	for _, bad := range []*string{&tooFine, &noNumber} {
		modify(&pb.ModifyItem{Group: bad})
		if e := c.refused(pb.ErrorCode_ERROR_CODE_BAD_VIEW); !strings.Contains(e.Message, *bad) {
			t.Errorf("%q", e.Message)
		}
	}
	modify(&pb.ModifyItem{Policy: &drop})
	if a := c.next().GetAck(); a.GetTopic() != ack.Topic || a.GetPolicy() != drop || a.GetReplaces() != 0 {
		t.Errorf("%v", a)
	}
	modify(&pb.ModifyItem{Depth: &depth})
	a := c.next().GetAck()
	if a.GetReplaces() != ack.Topic || a.GetTopic() == ack.Topic || a.GetDepth() != 20 || a.GetPolicy() != drop {
		t.Errorf("%v", a)
	}
	for _, change := range []struct {
		item  *pb.ModifyItem
		depth uint32
		group string
	}{
		{&pb.ModifyItem{Group: &group}, 20, "0.50"},
		{&pb.ModifyItem{Depth: new(uint32)}, 0, "0.50"},
		{&pb.ModifyItem{Group: &none}, 0, ""},
	} {
		ack = a
		modify(change.item)
		for a = nil; a == nil; {
			a = c.next().GetAck() // the snapshots between belong to topics that were left
		}
		if a.Replaces != ack.Topic || a.Depth != change.depth || a.Group != change.group {
			t.Errorf("%v after %v", a, change.item)
		}
	}
}

// TestGroupsThatAreEqualShareATopic: however they are written.
func TestGroupsThatAreEqualShareATopic(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, Depth: 10, Group: "0.5"})
	if ack.Group != "0.50" {
		t.Errorf("granted %q", ack.Group)
	}
	c.ask(subscribeTo(2, &pb.SubscribeItem{Symbol: btc, Depth: 9, Group: "5e-1"}))
	if e := c.refused(pb.ErrorCode_ERROR_CODE_ALREADY_SUBSCRIBED); e.Topic != ack.Topic {
		t.Errorf("%v", e)
	}
	c.ask(subscribeTo(3, &pb.SubscribeItem{Symbol: btc, Depth: 10}, &pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TRADES, Group: "0.5"}))
	if e := c.refused(pb.ErrorCode_ERROR_CODE_BAD_VIEW); e.GetItem() != 1 || !strings.Contains(e.Message, "only the channel book") {
		t.Errorf("%v", e)
	}
}

func TestResyncAndMismatchGetSnapshotsButNotTooMany(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.publish(seeded(1), 5)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(book)
	m := newModel(t, ack)
	m.apply(c.next())
	c.ask(&pb.Request{Id: 2, Body: &pb.Request_Mismatch{Mismatch: &pb.Mismatch{Topic: ack.Topic, Seq: 1, Hash: 2}}})
	m.apply(c.next())
	for range resyncBurst - 1 {
		c.ask(&pb.Request{Id: 3, Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{ack.Topic}}}})
		m.apply(c.next())
	}
	if m.snapshots != resyncBurst+1 || m.reasons[1] != pb.SnapshotReason_SNAPSHOT_REASON_RESYNC {
		t.Errorf("%d snapshots, reasons %v", m.snapshots, m.reasons)
	}
	resync := &pb.Request{Id: 4, Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{ack.Topic, ack.Topic}}}}
	mismatch := &pb.Request{Id: 5, Body: &pb.Request_Mismatch{Mismatch: &pb.Mismatch{Topic: ack.Topic, Seq: 1, Hash: 2}}}
	c.ask(resync)
	c.ask(mismatch)
	for _, id := range []uint32{4, 4, 5} {
		if e := c.refused(pb.ErrorCode_ERROR_CODE_RATE_LIMITED); e.Id != id || e.RetryAfterMs == 0 {
			t.Errorf("request %d is refused with %v", id, e)
		}
	}
	if s := r.hub.Stats(); s.Mismatches != 2 || s.Resyncs != resyncBurst {
		t.Errorf("%d mismatches and %d resyncs counted", s.Mismatches, s.Resyncs)
	}
	r.advance(r.hub.config.ResyncInterval)
	r.sync()
	c.ask(resync) // twice, and there is one
	for snapshots := 0; ; {
		f := c.next()
		if f.GetSnapshot() != nil {
			snapshots++
		}
		if e := f.GetError(); e != nil && e.Code == pb.ErrorCode_ERROR_CODE_RATE_LIMITED {
			c.ask(&pb.Request{Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
		} else if f.GetPong() != nil {
			if snapshots != 1 {
				t.Errorf("%d snapshots a while later, want 1", snapshots)
			}
			return
		}
	}
}

func TestAuthIsRefusedInClearWords(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	c.ask(&pb.Request{Id: 2, Body: &pb.Request_Auth{Auth: &pb.Auth{Token: "secret"}}})
	if e := c.refused(pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED); strings.Contains(e.Message, "secret") {
		t.Error("the token is repeated")
	}
}

func TestShutdownSaysGoodbyeAndLeavesNothing(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Shards = 2 }, btc)
	var clients []*client
	for range 4 {
		c := r.dial(proto.CodecProto)
		c.subscribe(book)
		clients = append(clients, c)
	}
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ended <- r.hub.Shutdown(ctx)
	}()
	for _, c := range clients {
		for c.next().GetDrain() == nil {
		}
		if code, _ := c.closed(); code != ws.StatusGoingAway {
			t.Errorf("closed with %d", code)
		}
		c.write(ws.OpClose, ws.NewCloseFrameBody(ws.StatusGoingAway, ""))
		c.ended()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s := r.hub.Stats(); s.Conns != 0 || s.Subscriptions != 0 || s.Topics != 0 || s.RingBytes != 0 {
		t.Errorf("left behind: %+v", s)
	}
	if len(r.book(btc).views) != 0 {
		t.Error("a view is still open")
	}
}

func TestModifyOfTheConnectionAloneIsAnswered(t *testing.T) {
	c := newRig(t, nil, btc).dial(proto.CodecProto)
	c.ask(&pb.Request{Id: 12, Body: &pb.Request_Modify{Modify: &pb.Modify{MaxHz: 5}}})
	ack := c.next().GetAck()
	if ack == nil || ack.Id != 12 || ack.Topic != 0 || ack.MaxHz != 5 {
		t.Errorf("answered by %v", ack)
	}
}
