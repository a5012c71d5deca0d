package fanout

import (
	"fmt"
	"testing"

	"github.com/gobwas/ws"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// many returns n symbols.
func many(n int) []string {
	symbols := make([]string, n)
	for i := range symbols {
		symbols[i] = fmt.Sprintf("SIM:%03d", i)
	}
	return symbols
}

// asksForAll is a request for all of the symbols.
func asksForAll(t *testing.T, symbols []string) []byte {
	t.Helper()
	var items []*pb.SubscribeItem
	for _, symbol := range symbols {
		items = append(items, &pb.SubscribeItem{Symbol: symbol})
	}
	b, err := googleproto.Marshal(subscribeTo(1, items...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWhoAsksForEverythingHasItsTurnsLikeTheOthers: what a turn sends it is bounded,
// and so is what a turn encodes for it; who asks for little has it in the same turn.
func TestWhoAsksForEverythingHasItsTurnsLikeTheOthers(t *testing.T) {
	symbols := many(60)
	r := newRig(t, func(c *Config) { c.MaxBytesPerTurn = 2048 }, append(symbols, btc)...)
	random := seeded(30)
	for _, symbol := range symbols {
		for range 20 {
			r.book(symbol).publish(random, 40)
		}
	}
	modest, greedy := r.dial(proto.CodecProto), r.dial(proto.CodecProto)
	m := newModel(t, modest.subscribe(book))
	m.apply(modest.next())
	r.sync()

	asks := asksForAll(t, symbols)
	turns := 0
	r.hub.ask(0, func(s *shard) {
		c := s.conns[1]
		s.request(c, asks)
		begun := func() (n int) { // subscriptions that have their snapshots
			for _, sub := range c.subs {
				if sub.state == live {
					n++
				}
			}
			return n
		}
		for begun() < len(symbols) {
			r.book(btc).publish(random, 3)
			encoded, bytes, has := s.stats.encoded.Load(), s.stats.bytes.Load(), begun()
			s.enqueue(c)
			s.turn()
			turns++
			modestBytes := uint64(len(s.conns[0].subs[0].feed.topic.lastFrame()))
			if sent := s.stats.bytes.Load() - bytes - modestBytes; sent > 2048 {
				t.Errorf("turn %d sent it %d bytes", turns, sent)
			}
			if n := s.stats.encoded.Load() - encoded; n > uint64(begun()-has)+2 {
				t.Errorf("turn %d encoded %d frames, and %d snapshots left", turns, n, begun()-has)
			}
			if sub := s.conns[0].subs[0]; sub.next != sub.feed.topic.ring.Head()+1 {
				t.Errorf("turn %d left the other with its cursor at %d of %d", turns, sub.next, sub.feed.topic.ring.Head())
			}
			if turns > 1000 {
				t.Error("it never has everything")
				return
			}
		}
	})
	if turns < len(symbols)/8 {
		t.Errorf("all in %d turns, so this shows nothing", turns)
	}
	seq, _ := r.book(btc).where()
	m.follow(modest, seq)
	if m.merged > 0 {
		t.Errorf("%d deltas of who asks for little were merged", m.merged)
	}
	models := map[uint32]*model{}
	for live := 0; live < len(symbols); {
		switch f := greedy.next(); {
		case f.GetAck() != nil:
			models[f.GetAck().Topic] = newModel(t, f.GetAck())
		default:
			models[topicOf(f)].apply(f)
			live++
		}
	}
}

// lastFrame returns the newest entry's frame in protobuf, nil if nobody made it.
func (t *Topic) lastFrame() []byte {
	e, _ := t.ring.Get(t.ring.Head())
	if f := e.Value.frames.slot(framingProto).Load(); f != nil {
		return f.bytes
	}
	return nil
}

// TestOneBusySubscriptionDoesNotSilenceTheOthersOfItsConnection: one that always
// fills a turn alone lets the next begin where it ended.
func TestOneBusySubscriptionDoesNotSilenceTheOthersOfItsConnection(t *testing.T) {
	symbols := many(5)
	r := newRig(t, func(c *Config) { c.MaxBytesPerTurn = 1024 }, symbols...)
	c := r.dial(proto.CodecProto)
	for _, symbol := range symbols {
		c.subscribe(&pb.SubscribeItem{Symbol: symbol, Policy: pb.Policy_POLICY_DROP})
		c.next()
	}
	random := seeded(31)
	r.sync()
	r.hub.ask(0, func(s *shard) {
		conn := s.conns[0]
		for turn := range 40 {
			for range 30 {
				r.book(symbols[0]).publish(random, 40)
			}
			if turn == 0 {
				for _, symbol := range symbols[1:] {
					r.book(symbol).publish(random, 3)
				}
			}
			s.turn()
		}
		for i, sub := range conn.subs[1:] {
			if sub.next != sub.feed.topic.ring.Head()+1 {
				t.Errorf("subscription %d has had nothing in 40 turns", i+1)
			}
		}
		if sub := conn.subs[0]; sub.next > sub.feed.topic.ring.Head() {
			t.Error("the busy one is not behind, so this shows nothing")
		}
	})
}

// TestAcksGoBeforeSnapshotsHoweverLittleRoomIsLeft: also where the rest of a frame
// leaves room for a snapshot and none for the acks.
func TestAcksGoBeforeSnapshotsHoweverLittleRoomIsLeft(t *testing.T) {
	symbols := many(8)
	r := newRig(t, func(c *Config) { c.MaxBytesPerTurn = 1024 }, symbols...)
	c := r.dial(proto.CodecProto)
	r.sync()
	pong, err := googleproto.Marshal(&pb.Frame{Body: &pb.Frame_Pong{Pong: &pb.Pong{Data: make([]byte, 800)}}})
	if err != nil {
		t.Fatal(err)
	}
	asks := asksForAll(t, symbols)
	r.hub.ask(0, func(s *shard) {
		conn := s.conns[0]
		conn.begin(newFrame(ws.MustCompileFrame(ws.NewBinaryFrame(pong))), 0) // as if its socket had been full
		s.request(conn, asks)
		s.enqueue(conn)
		s.turn()
	})
	if f := c.next(); f.GetPong() == nil {
		t.Fatalf("got %v before the rest of the frame in flight", f)
	}
	known := map[uint32]bool{}
	for snapshots := 0; snapshots < len(symbols); {
		f := c.next()
		if ack := f.GetAck(); ack != nil {
			known[ack.Topic] = true
			continue
		}
		if snapshots++; !known[topicOf(f)] {
			t.Fatalf("topic %d was never acknowledged: %v", topicOf(f), f)
		}
	}
}

// However long the arrivals of a turn have taken, whoever waits is read.
func TestTimeOfArrivalsIsNotThatOfReading(t *testing.T) {
	r := newRig(t, nil, btc)
	clients := []*client{r.dial(proto.CodecProto), r.dial(proto.CodecProto), r.dial(proto.CodecProto)}
	r.sync()
	r.hold(func() {
		for _, c := range clients {
			c.write(ws.OpPing, nil)
		}
		s := r.hub.shards[0]
		for _, c := range s.conns {
			c.unread = true
			s.patient.push(c)
		}
		r.clock.advance(2 * turnTime) // what comes before it in the turn
		s.reread()
		if n := s.patient.len(); n > 0 {
			t.Errorf("of %d who wait %d are not read", len(s.conns), n)
		}
	})
}
