package fanout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func symbols(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("SIM:A-SYMBOL-WITH-A-NAME-THAT-IS-AS-LONG-AS-THE-LIMIT-ALLOW-%04d", i))
	}
	return names
}

func TestAllSubscriptionsMayBeAskedForAtOnce(t *testing.T) {
	names := symbols(1000)
	r := newRig(t, nil, names...)
	c := r.dial(proto.CodecJSON)
	r.hold(func() {
		for half := range 2 {
			var items []string
			for _, name := range names[500*half : 500*half+500] {
				items = append(items, `{"symbol":"`+name+`"}`)
			}
			c.write(ws.OpText, []byte(fmt.Sprintf(`{"type":"subscribe","id":%d,"items":[%s]}`, half+1, strings.Join(items, ","))))
		}
	})
	acks, snapshots := 0, 0
	for acks < len(names) || snapshots < len(names) {
		f := c.next()
		switch {
		case f.GetAck() != nil:
			acks++
		case f.GetSnapshot() != nil:
			snapshots++
		default:
			t.Fatalf("%v", f)
		}
	}
	if n := r.hub.Stats().Subscriptions; n != 1000 {
		t.Errorf("%d subscriptions", n)
	}
}

func TestOnePauseIsNotLappedOftenHoweverManyTopics(t *testing.T) {
	names := symbols(30)
	r := newRig(t, func(c *Config) { c.RingEntries = 64 }, names...)
	c := r.dial(proto.CodecProto)
	models := make(map[string]*model)
	for _, name := range names {
		ack := c.subscribe(&pb.SubscribeItem{Symbol: name})
		models[name] = newModel(t, ack)
		f := c.next()
		models[name].apply(f)
	}
	random := seeded(30)
	r.hold(func() {
		for _, name := range names {
			for range 200 {
				r.book(name).publish(random, 3)
			}
		}
	})
	for lapped := 0; lapped < len(names); {
		if c.next().GetSnapshot().GetReason() == pb.SnapshotReason_SNAPSHOT_REASON_LAPPED {
			lapped++
		}
	}
	if n := r.hub.Stats().Laps; n != 30 {
		t.Errorf("%d laps", n)
	}
}

func TestViewMayChangeAtTheLimitOfSubscriptions(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSubscriptions = 1 }, btc)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, Depth: 10})
	depth := uint32(20)
	c.ask(&pb.Request{Id: 2, Body: &pb.Request_Modify{Modify: &pb.Modify{Items: []*pb.ModifyItem{{Topic: ack.Topic, Depth: &depth}}}}})
	for {
		f := c.next()
		if e := f.GetError(); e != nil {
			t.Fatalf("refused: %v", e)
		}
		if a := f.GetAck(); a != nil {
			if a.Replaces != ack.Topic || a.Depth != 20 {
				t.Errorf("%v", a)
			}
			return
		}
	}
}

// A message that is never finished is no sign of life, whatever comes between its
// fragments.
func TestMessageThatIsNeverFinishedEndsItsConnection(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	if _, err := c.conn.Write(masked(ws.OpBinary, false, strings.Repeat("x", 60_000))); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		c.write(ws.OpPing, []byte("still here"))
		for {
			f, err := c.raw()
			if err != nil {
				t.Fatal(err)
			}
			if f.Header.OpCode == ws.OpPong {
				break
			}
			if f.Header.OpCode == ws.OpClose {
				if code, _ := ws.ParseCloseFrameData(f.Payload); code != drops[DropSilent].Code {
					t.Errorf("closed with %d", code)
				}
				return
			}
		}
		r.advance(r.hub.config.SilenceTimeout / 3)
		r.sync()
		r.sync()
	}
	if code, _ := c.closed(); code != drops[DropSilent].Code {
		t.Errorf("closed with %d", code)
	}
}

func TestAnswersDoNotRepeatWhatWasSent(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecJSON)
	long := strings.Repeat("x", 60_000)
	for _, request := range []string{
		`{"type":"` + long + `","id":1}`,
		`{"type":"subscribe","id":1,"items":[{"symbol":"` + long + `"}]}`,
		`{"type":"subscribe","id":1,"items":[{"symbol":"A","channel":"` + long + `"}]}`,
		`{"type":"subscribe","id":1,"items":[{"symbol":"A","group":"` + long + `"}]}`,
		`{"type":"subscribe","id":1,"items":[{"symbol":"A","policy":"` + long + `"}]}`,
		`{"type":"subscribe","id":1,"items":[{"symbol":"A","` + long + `":1}]}`,
		`{"type":"subscribe","id":` + long + `}`,
		long,
	} {
		c.write(ws.OpText, []byte(request))
		f, err := c.raw()
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Payload) > maxAnswerBytes {
			t.Errorf("%d bytes in answer to %.60s", len(f.Payload), request)
		}
	}
}

// A node that does not catch up with a client may have lost the end of its log: the
// same levels are no proof of the same history.
func TestClientAheadIsSentTheOlderSnapshotInTheEnd(t *testing.T) {
	r := newRig(t, nil, btc)
	r.book(btc).publish(seeded(1), 5)
	seq, hash := r.book(btc).where()
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, Resume: &pb.Resume{Epoch: 7, Seq: seq + 100, Hash: hash}})
	if ack.Reason != pb.Reason_REASON_BEHIND || ack.Resumed {
		t.Fatalf("%v", ack)
	}
	r.advance(r.hub.config.BehindWait + time.Second)
	r.sync()
	r.book(btc).publish(seeded(2), 5) // so that something comes in any case
	if s := c.next().GetSnapshot(); s == nil || s.Seq > seq+50 {
		t.Errorf("no snapshot came first")
	}
}

func TestClientAheadInTradesIsToldToStepBack(t *testing.T) {
	r := newRig(t, nil, btc)
	r.book(btc).trade(2)
	seq, _ := r.book(btc).where()
	c := r.dial(proto.CodecProto)
	c.subscribe(&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TRADES, Last: 5,
		Resume: &pb.Resume{Epoch: 7, Seq: seq + 100, Ordinal: 40}})
	r.advance(r.hub.config.BehindWait + time.Second)
	if s := c.next().GetSnapshot(); s.GetReason() != pb.SnapshotReason_SNAPSHOT_REASON_RESET || s.GetSeq() != seq {
		t.Errorf("%v, want a snapshot to step back by", s)
	}
	if history := c.next().GetTrades(); !history.GetHistory() || len(history.GetTrades()) != 2 {
		t.Errorf("%v", history)
	}
}

func TestWhatCameSinceTheSnapshotComesToAJoinerAsOneNetDelta(t *testing.T) {
	r := newRig(t, nil, btc)
	b, random := r.book(btc), seeded(12)
	b.publish(random, 5)
	first := r.dial(proto.CodecProto) // opens the topic, with its snapshot
	first.subscribe(book)
	for range minRingEntries/2 - 2 {
		b.publish(random, 5)
	}
	r.sync()
	encoded := r.hub.Stats().Encoded
	seq, _ := b.where()
	for range 3 {
		c := r.dial(proto.CodecProto)
		m := newModel(t, c.subscribe(book))
		m.follow(c, seq)
		if m.snapshots != 1 || m.deltas != 1 || m.merged != 1 {
			t.Errorf("%d snapshots, %d deltas, %d of them merged; want 1, 1, 1", m.snapshots, m.deltas, m.merged)
		}
	}
	r.sync()
	if made := r.hub.Stats().Encoded - encoded; made != 1 {
		t.Errorf("%d frames made for three joiners, want the net delta alone", made)
	}
}
