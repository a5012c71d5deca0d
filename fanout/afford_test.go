package fanout

import (
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

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
