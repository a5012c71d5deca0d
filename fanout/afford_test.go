package fanout

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func TestFloodOfSmallMessagesEndsTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		op      ws.OpCode
		payload string
	}{
		"pings":            {ws.OpPing, "x"},
		"pongs":            {ws.OpPong, ""},
		"requests":         {ws.OpText, `{"type":"ping"}`},
		"what is no JSON":  {ws.OpText, "{"},
		"refused requests": {ws.OpText, `{"type":"nonsense"}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.MessagesInPerSecond, c.BytesInPerSecond, c.RequestsPerSecond = 2, 1<<20, 1 }, btc)
			honest := r.dial(proto.CodecJSON)
			m := newModel(t, honest.subscribe(book))
			flooder := r.dial(proto.CodecJSON)
			for range inSeconds*2 + 1 {
				flooder.write(c.op, []byte(c.payload))
			}
			if code, _ := flooder.closed(); code != drops[DropFlooding].Code {
				t.Errorf("closed with %d", code)
			}
			r.book(btc).publish(seeded(1), 5)
			seq, _ := r.book(btc).where()
			m.follow(honest, seq)
		})
	}
}

func TestMessagesAtTheirRateAreAllHeard(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MessagesInPerSecond, c.BytesInPerSecond = 10, 1<<20 }, btc)
	c := r.dial(proto.CodecProto)
	for range 200 {
		r.advance(100 * time.Millisecond)
		r.sync()
		c.ask(&pb.Request{Id: 1, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
		if c.next().GetPong() == nil {
			t.Fatal("no pong")
		}
	}
}

func TestFloodOfBytesEndsTheConnection(t *testing.T) {
	for name, c := range map[string]struct{ first, then []byte }{
		"great messages":                {nil, masked(ws.OpText, true, strings.Repeat("x", 60<<10))},
		"fragments of nothing":          {masked(ws.OpText, false, ""), masked(ws.OpContinuation, false, "")},
		"a message of bytes one by one": {masked(ws.OpText, true, strings.Repeat("x", 64<<10))[:10], []byte{1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.BytesInPerSecond, c.MaxMessageBytes = 16<<10, 64<<10 }, btc)
			client := r.dial(proto.CodecJSON)
			_, _ = client.conn.Write(c.first)
			for range 10_000 {
				if _, err := client.conn.Write(c.then); err != nil || r.hub.Stats().Conns == 0 || r.hub.Stats().Drops[DropFlooding] == 1 {
					break
				}
				if len(c.then) < 100 {
					r.sync() // each is read by itself
				}
			}
			r.until("the drop", func() bool { return r.hub.Stats().Drops[DropFlooding] == 1 })
		})
	}
}

// asksAgain unsubscribes from topic and subscribes to it again.
func (c *client) asksAgain(topic uint32) (*pb.Ack, *pb.Error) {
	c.t.Helper()
	c.ask(&pb.Request{Id: 2, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{topic}}}})
	c.ask(&pb.Request{Id: 3, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: []*pb.SubscribeItem{book}}}})
	for {
		if f := c.answer(); f.GetError() != nil || f.GetAck().GetId() == 3 {
			return f.GetAck(), f.GetError()
		}
	}
}

func TestSnapshotsAskedForAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.SnapshotBytesPerSecond, c.RequestsPerSecond, c.ResyncInterval = 4<<10, 1000, time.Nanosecond
	}, btc)
	c := r.dial(proto.CodecProto)
	ack, granted := c.subscribe(book), 1
	for range 100 {
		again, no := c.asksAgain(ack.Topic)
		if no != nil {
			if no.Code != pb.ErrorCode_ERROR_CODE_RATE_LIMITED || no.RetryAfterMs == 0 {
				t.Fatalf("%v", no)
			}
			break
		}
		ack = again
		granted++
	}
	if granted < 8 || granted > snapshotSeconds*4 { // of a KiB and more each
		t.Errorf("%d snapshots of a book in no time", granted)
	}
	if n := r.hub.Stats().SnapshotsRefused; n != 1 {
		t.Errorf("%d are counted", n)
	}

	r.advance(10 * time.Second)
	r.sync()
	ack = c.subscribe(book)
	for range 100 {
		c.ask(&pb.Request{Id: 4, Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{ack.Topic}}}})
	}
	c.refused(pb.ErrorCode_ERROR_CODE_RATE_LIMITED)
	if n := r.hub.Stats().Resyncs; n > snapshotSeconds*4 {
		t.Errorf("%d resyncs in no time", n)
	}
}

func TestGreatBookCanBeHadHoweverLittleIsAllowed(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SnapshotBytesPerSecond = 1 }, btc)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(book)
	seq, _ := r.book(btc).where()
	newModel(t, ack).follow(c, seq)
	if _, no := c.asksAgain(ack.Topic); no.GetCode() != pb.ErrorCode_ERROR_CODE_RATE_LIMITED {
		t.Errorf("a second: %v", no)
	}
}

// A client that goes on where it was is sent no snapshot, and pays for none.
func TestWhoResumesPaysForNoSnapshot(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SnapshotBytesPerSecond = 2 * itemBytes }, btc)
	b := r.book(btc)
	for range 50 {
		b.publish(seeded(2), 50)
	}
	seq, hash := b.where()
	c := r.dial(proto.CodecProto)
	for range 2 * (snapshotSeconds - 1) {
		resume := &pb.Resume{Epoch: b.state.Epoch, Seq: seq, Hash: hash}
		ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, Resume: resume})
		if !ack.Resumed {
			t.Fatal("not resumed")
		}
		c.ask(&pb.Request{Id: 2, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{ack.Topic}}}})
		c.answer()
	}
}

func TestWhatAPatternBringsWaitsUntilItCanBeAfforded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SnapshotBytesPerSecond = 1 }, btc, eth)
	r.books.listings = []*proto.Listing{{Symbol: btc}}
	c := r.dial(proto.CodecProto)
	c.wild(pb.Channel_CHANNEL_BOOK)
	r.sync()
	if n := r.hub.Stats().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions, of which one is that of the pattern", n)
	}
	for range 3 {
		r.advance(time.Hour)
		r.sync()
	}
	if first := c.acks(1)[0]; first.Symbol != btc {
		t.Errorf("%v", first)
	}
}

// numbers returns n of them, from first on.
func numbers(first uint32, n int) (all []uint32) {
	for i := range n {
		all = append(all, first+uint32(i))
	}
	return all
}

// answers reads the acks and errors of a request, n of them.
func (c *client) answers(n int) (last *pb.Frame) {
	c.t.Helper()
	for range n {
		last = c.answer()
	}
	return last
}

// Ten items count as one request: whoever asks for hundreds at once is heard, and then
// waits for as long as as many requests would have taken.
func TestItemsCountAsRequests(t *testing.T) {
	const items = 200
	symbols := many(items)
	var subscribe []*pb.SubscribeItem
	var modify []*pb.ModifyItem
	for i, symbol := range symbols {
		subscribe, modify = append(subscribe, &pb.SubscribeItem{Symbol: symbol}), append(modify, &pb.ModifyItem{Topic: uint32(i)})
	}
	for name, body := range map[string]*pb.Request{
		"subscribe":   {Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: subscribe}}},
		"unsubscribe": {Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: numbers(0, items)}}},
		"modify":      {Body: &pb.Request_Modify{Modify: &pb.Modify{Items: modify}}},
		"resync":      {Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: numbers(0, items)}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.RequestsPerSecond, c.RequestBurst = 10, items/requestItems+1 }, symbols...)
			c := r.dial(proto.CodecProto)
			body.Id = 1
			c.ask(body)
			c.answers(items)
			c.ask(body)
			c.answers(items) // one more was left
			body.Id = 2
			c.ask(body)
			no := c.answer().GetError()
			if no.GetCode() != pb.ErrorCode_ERROR_CODE_RATE_LIMITED || no.Id != 2 || no.Item != nil {
				t.Fatalf("a third is answered %v", no)
			}
			// 40 tokens were taken of 21, and one more is wanted.
			if least := uint32((2*items/requestItems - (items/requestItems + 1) + 1) * 100); no.RetryAfterMs != least {
				t.Errorf("told to come after %d ms, want %d", no.RetryAfterMs, least)
			}
			r.advance(time.Duration(no.RetryAfterMs) * time.Millisecond)
			r.sync()
			c.ask(body)
			if f := c.answers(items); f.GetError().GetCode() == pb.ErrorCode_ERROR_CODE_RATE_LIMITED && name != "resync" {
				t.Errorf("and then is answered %v", f)
			}
			if n := r.hub.Stats().Items; n != 3*items {
				t.Errorf("%d items are counted", n)
			}
		})
	}
}

// A connection may have all that it may subscribe to at once, and at its rate.
func TestWhoSubscribesToEverythingAtOnceIsHeard(t *testing.T) {
	symbols := many(1000)
	r := newRig(t, nil, symbols...)
	c := r.dial(proto.CodecProto)
	for half := range 2 {
		var items []*pb.SubscribeItem
		for _, symbol := range symbols[half*500:][:500] {
			items = append(items, &pb.SubscribeItem{Symbol: symbol})
		}
		c.ask(subscribeTo(1, items...))
		for range items {
			if f := c.answer(); f.GetAck() == nil {
				t.Fatalf("%v", f)
			}
		}
	}
}

func TestPatternCountsForManyItems(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RequestsPerSecond, c.RequestBurst = 1, 1+patternItems/requestItems }, btc)
	c := r.dial(proto.CodecProto)
	wild := c.wild(pb.Channel_CHANNEL_BOOK)
	end := &pb.Request{Id: 2, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{wild.Topic}}}}
	c.ask(end)
	if a := c.answer().GetAck(); !a.GetEnded() {
		t.Fatalf("%v", a)
	}
	c.ask(subscribeTo(3, &pb.SubscribeItem{Symbol: "SIM:*"}))
	if e := c.refused(pb.ErrorCode_ERROR_CODE_RATE_LIMITED); e.Id != 3 {
		t.Errorf("%v", e)
	}
}

// A pattern that ends, ends many topics, each of which counts as an item.
func TestEndOfAPatternCountsForWhatItHasBrought(t *testing.T) {
	symbols := many(100)
	r := newRig(t, nil, symbols...)
	for _, symbol := range symbols {
		r.books.listings = append(r.books.listings, &proto.Listing{Symbol: symbol})
	}
	c := r.dial(proto.CodecProto)
	wild := c.wild(pb.Channel_CHANNEL_BOOK)
	c.acks(len(symbols))
	before := r.hub.Stats().Items
	c.ask(&pb.Request{Id: 2, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{wild.Topic}}}})
	c.acks(len(symbols) + 1)
	if n := r.hub.Stats().Items - before; n != uint64(len(symbols))+1 {
		t.Errorf("%d items", n)
	}
}

func TestWhatAPatternPassesOverIsPaidToo(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SnapshotBytesPerSecond, c.SilenceTimeout = 1, 1000*time.Hour }, btc)
	const nowhere = 10
	for _, symbol := range many(nowhere) { // no such books
		r.books.listings = append(r.books.listings, &proto.Listing{Symbol: symbol})
	}
	c := r.dial(proto.CodecProto)
	c.wild(pb.Channel_CHANNEL_BOOK)
	r.sync()
	left := func() (n int) {
		for _, s := range r.hub.shards {
			r.hub.ask(s.index, func(s *shard) {
				for _, w := range s.wildcards {
					n += len(w.waiting)
				}
			})
		}
		return n
	}
	for want := nowhere; want > 0; want-- {
		if n := left(); n != want {
			t.Fatalf("%d are left, want %d", n, want)
		}
		r.advance(time.Hour) // more than a KiB at a byte a second, and than the list of the pattern
		r.sync()
	}
}

// sharers open connections one after the other and subscribe, until one is refused, and
// return how many were not.
func sharers(t *testing.T, another func() *client) (served int) {
	t.Helper()
	for served < 100 {
		c := another()
		c.want(book)
		f := c.answer()
		if e := f.GetError(); e != nil {
			if e.Code != pb.ErrorCode_ERROR_CODE_RATE_LIMITED || e.RetryAfterMs == 0 || e.Item != nil {
				t.Errorf("refused with %v", e)
			}
			return served
		}
		served++
	}
	return served
}

func TestUserHasOneAllowanceHoweverManyConnections(t *testing.T) {
	all := []string{"*"}
	r, _ := gated(t, map[string]*Grant{"a1": {User: "a", Symbols: all}, "a2": {User: "a", Symbols: all}, "b": {User: "b", Symbols: all}}, func(c *Config) {
		c.SnapshotBytesPerUser = 2 * itemBytes
	})
	of := func(token string) *client {
		c := r.dial(proto.CodecProto)
		c.login(token)
		return c
	}
	tokens := 0
	alternating := func() *client { tokens++; return of([]string{"a1", "a2"}[tokens%2]) }
	if n := sharers(t, alternating); n < 8 || n > 2*snapshotSeconds+1 {
		t.Errorf("%d of one user are served at once", n)
	}
	of("b").subscribe(book)
	if n := r.hub.Stats().SharesRefused; n != 1 {
		t.Errorf("%d refused", n)
	}
	r.advance(snapshotSeconds * time.Second)
	r.sync()
	of("a1").subscribe(book)
}

func TestAddressHasOneAllowanceHoweverManyConnections(t *testing.T) {
	r := newRig(t, func(c *Config) {
		behindProxy(c)
		c.SnapshotBytesPerUser, c.ExemptAddresses = 2*itemBytes, peer.Nets{netip.MustParsePrefix("203.0.113.0/24")}
	}, btc)
	d := r.open(false)
	if n := sharers(t, func() *client { return d.dialFor("198.51.100.1") }); n < 8 || n > 2*snapshotSeconds+1 {
		t.Errorf("%d of one address are served at once", n)
	}
	for _, path := range []string{"/v1/sse", "/v1/poll"} {
		if _, body := d.asks("198.51.100.1", path+"?wait_ms=0&symbol="+btc); !strings.Contains(body, `"code":"rate_limited"`) {
			t.Errorf("by %s: %s", path, body)
		}
	}
	d.dialFor("198.51.100.2").subscribe(book)
	for range 100 {
		d.dialFor("203.0.113.1").subscribe(book)
	}
}
