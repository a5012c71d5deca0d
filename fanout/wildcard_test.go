package fanout

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// listed tells the board of the only pattern of a listing.
func (r *rig) listed(l *proto.Listing) {
	r.books.mu.Lock()
	defer r.books.mu.Unlock()
	r.books.boards[0].Listed(l, proto.Times{}, nil)
}

// wild subscribes to a pattern, and returns its ack.
func (c *client) wild(channel pb.Channel) *pb.Ack {
	c.t.Helper()
	return c.subscribe(&pb.SubscribeItem{Symbol: "SIM:*", Channel: channel, Depth: 9, IntervalMs: 0})
}

// acks reads the next n acks, whatever comes between.
func (c *client) acks(n int) (all []*pb.Ack) {
	c.t.Helper()
	for len(all) < n {
		f := c.next()
		if e := f.GetError(); e != nil {
			c.t.Fatalf("refused: %v", e)
		}
		if a := f.GetAck(); a != nil {
			all = append(all, a)
		}
	}
	return all
}

func TestPatternBringsATopicOfEverySymbolThatMatchesAlsoLater(t *testing.T) {
	for _, channel := range []pb.Channel{pb.Channel_CHANNEL_BOOK, pb.Channel_CHANNEL_TRADES} {
		r := newRig(t, nil, btc, eth)
		r.books.listings = []*proto.Listing{{Symbol: btc}, {Symbol: "SIM:GONE"}}
		c := r.dial(proto.CodecProto)
		wild := c.wild(channel)
		if wild.Symbol != "SIM:*" || wild.Channel != channel || wild.PatternTopic != 0 || channel == pb.Channel_CHANNEL_BOOK && wild.Depth != 10 {
			t.Fatalf("the pattern is acknowledged with %v", wild)
		}
		first := c.acks(1)[0]
		if first.Symbol != btc || first.Channel != channel || first.PatternTopic != wild.Topic || first.Id != wild.Id || first.Item != wild.Item {
			t.Errorf("its first topic is acknowledged with %v", first)
		}
		r.listed(&proto.Listing{Symbol: eth})
		second := c.acks(1)[0]
		if second.Symbol != eth || second.PatternTopic != wild.Topic {
			t.Errorf("what is listed later is acknowledged with %v", second)
		}
		r.listed(&proto.Listing{Symbol: btc, Phase: proto.Halted}) // it has that already

		c.ask(&pb.Request{Id: 9, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{first.Topic}}}})
		if a := c.acks(1)[0]; a.Topic != first.Topic || !a.Ended {
			t.Errorf("ended with %v", a)
		}
		c.ask(&pb.Request{Id: 10, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{wild.Topic}}}})
		ends := c.acks(2)
		if !ends[0].Ended || ends[0].Topic != second.Topic || !ends[1].Ended || ends[1].Topic != wild.Topic {
			t.Errorf("the pattern ends with %v", ends)
		}
		if n := r.hub.Stats().Subscriptions; n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	}
}

func TestPatternsAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSubscriptions = 2 }, btc, eth)
	r.books.listings = []*proto.Listing{{Symbol: btc}, {Symbol: eth}}
	c := r.dial(proto.CodecProto)
	wild := c.wild(pb.Channel_CHANNEL_BOOK)
	brought := c.acks(1)[0]
	for {
		f := c.next()
		if e := f.GetError(); e != nil {
			if e.Code != pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS || e.Id != wild.Id {
				t.Errorf("refused with %v", e)
			}
			break
		}
	}
	for _, req := range []*pb.Request{
		{Id: 5, Body: &pb.Request_Modify{Modify: &pb.Modify{Items: []*pb.ModifyItem{{Topic: wild.Topic}}}}},
		{Id: 5, Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{wild.Topic}}}},
	} {
		c.ask(req)
		var e *pb.Error
		for e == nil {
			e = c.next().GetError()
		}
		if e.Code != pb.ErrorCode_ERROR_CODE_BAD_REQUEST {
			t.Errorf("answered with %v", e)
		}
	}
	r.listed(&proto.Listing{Symbol: eth}) // there is no room yet, as was told
	c.ask(&pb.Request{Id: 6, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{brought.Topic}}}})
	c.acks(1)
	r.listed(&proto.Listing{Symbol: eth})
	if a := c.acks(1)[0]; a.Symbol != eth {
		t.Errorf("where there is room again, %v comes", a)
	}
}

func TestEventStreamOfAPatternGoesOn(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	r.books.listings = []*proto.Listing{{Symbol: btc}, {Symbol: eth}}
	d, rnd := r.open(false), seeded(8)
	l := d.listen("symbol=SIM:*&depth=10", nil)
	l.until(func(*pb.Frame) bool {
		return len(l.models) == 3 && l.held[key10(btc)].held && l.held[key10(eth)].held
	})
	l.leave()
	r.book(btc).publish(rnd, 5)
	l = d.listen("symbol=SIM:*&depth=10", l)
	var symbols []string
	seq, hash := r.book(btc).where()
	l.until(func(f *pb.Frame) bool {
		a := f.GetAck()
		if a.GetResumed() {
			symbols = append(symbols, a.Symbol)
		}
		if a != nil && (a.Item == 0) != (a.Symbol == "SIM:*") {
			t.Errorf("item %d is %s, and the URL names the pattern alone", a.Item, a.Symbol)
		}
		if f.GetSnapshot() != nil {
			t.Fatal("a snapshot, where there was a place in the ring")
		}
		return len(symbols) == 2 && l.held[key10(btc)].mine >= seq
	})
	slices.Sort(symbols)
	if !slices.Equal(symbols, []string{btc, eth}) || l.held[key10(btc)].hash() != hash {
		t.Errorf("resumed %v", symbols)
	}
}

// The answers to one request may be more than the control buffer holds.
func TestPatternThatBroughtVeryManyTopicsEndsInPeace(t *testing.T) {
	var symbols []string
	for i := range 999 {
		symbols = append(symbols, fmt.Sprintf("SIM:%s-%03d", strings.Repeat("X", 56), i))
	}
	small := func(c *Config) { c.ControlBytes, c.MaxItems = 4<<10, 8 }
	// Of the fewer the socket takes all, in case that the client is slow to read.
	for n, change := range map[int]func(*Config){len(symbols): nil, 80: small} {
		symbols := symbols[:n]
		r := newRig(t, change, symbols...)
		for _, symbol := range symbols {
			r.books.listings = append(r.books.listings, &proto.Listing{Symbol: symbol})
		}
		c := r.dial(proto.CodecJSON)
		c.write(ws.OpText, []byte(`{"type":"subscribe","id":1,"items":[{"symbol":"SIM:*","channel":"trades"}]}`))
		wild := c.acks(1)[0]
		c.acks(len(symbols))
		c.write(ws.OpText, fmt.Appendf(nil, `{"type":"unsubscribe","id":2,"topics":[%d]}`, wild.Topic))
		for _, a := range c.acks(len(symbols) + 1) {
			if !a.Ended {
				t.Fatalf("an ack %v", a)
			}
		}
		if n := r.hub.Stats().Subscriptions; n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	}
}

// A view that cannot be made of one symbol after the other is said once.
func TestPatternWhoseGroupFitsNothingIsAnsweredOnce(t *testing.T) {
	symbols := many(50)
	r := newRig(t, nil, symbols...)
	for _, symbol := range symbols {
		r.books.listings = append(r.books.listings, &proto.Listing{Symbol: symbol})
	}
	c := r.dial(proto.CodecProto)
	c.subscribe(&pb.SubscribeItem{Symbol: "SIM:*", Group: "0.003"})
	if e := c.refused(pb.ErrorCode_ERROR_CODE_BAD_VIEW); !strings.Contains(e.Message, symbols[0]) || e.Item == nil {
		t.Errorf("%v", e)
	}
	r.until("all are looked at", func() (done bool) {
		for _, s := range r.hub.shards {
			r.hub.ask(s.index, func(s *shard) {
				for _, w := range s.wildcards {
					done = len(w.waiting) == 0
				}
			})
		}
		return done
	})
	c.ask(&pb.Request{Id: 9, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
	if f := c.next(); f.GetPong() == nil {
		t.Errorf("then comes %v", f)
	}
	_, frames := r.open(false).poll(newListener(t, nil), "symbol=SIM:*&group=0.003&wait_ms=0")
	if len(frames) != 2 || frames[0].GetAck() == nil || frames[1].GetError() == nil {
		t.Errorf("a poll is answered with %v", frames)
	}
}

// However many patterns there are, a turn opens so many topics and no more, and each
// has its turns.
func TestAllPatternsTogetherOpenALittleAtATime(t *testing.T) {
	symbols := many(100)
	r := newRig(t, func(c *Config) { c.Shards = 1 }, symbols...)
	for _, symbol := range symbols {
		r.books.listings = append(r.books.listings, &proto.Listing{Symbol: symbol})
	}
	const patterns = 10
	clients := make([]*client, patterns)
	for i := range clients {
		clients[i] = r.dial(proto.CodecProto)
	}
	asks := asksForAll(t, []string{"SIM:*"})
	r.hub.ask(0, func(s *shard) {
		for _, c := range s.conns {
			s.request(c, asks)
		}
		least, had := 0, s.stats.subscriptions.Load()
		for turns := 0; least < len(symbols); turns++ {
			s.turn()
			has := s.stats.subscriptions.Load()
			if n := has - had; n > allPerTurn+wildcardsPerTurn {
				t.Errorf("%d topics in a turn", n)
			}
			had, least = has, len(symbols)
			for _, w := range s.wildcards {
				least = min(least, len(w.brought))
			}
			if turns == 2*patterns && least == 0 {
				t.Error("one has had no turn")
			}
			if turns > 1000 {
				t.Fatal("they come to no end")
			}
		}
	})
}

// unsubscribes ends a topic, and returns the acks of n.
func (c *client) unsubscribes(topic uint32, n int) []*pb.Ack {
	c.t.Helper()
	c.ask(&pb.Request{Id: 9, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{topic}}}})
	return c.acks(n)
}

func TestTopicOfAPatternBelongsToItHoweverItWasModified(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	r.books.listings = []*proto.Listing{{Symbol: btc}}
	c := r.dial(proto.CodecProto)
	wild := c.wild(pb.Channel_CHANNEL_BOOK)
	topic := c.acks(1)[0].Topic
	for _, depth := range []uint32{50, 100} {
		c.ask(&pb.Request{Id: 4, Body: &pb.Request_Modify{Modify: &pb.Modify{Items: []*pb.ModifyItem{{Topic: topic, Depth: &depth}}}}})
		a := c.acks(1)[0]
		if a.Replaces != topic || a.Depth != depth {
			t.Fatalf("modified with %v", a)
		}
		topic = a.Topic
	}
	// What is heard of the symbol does not bring the first view back.
	r.listed(&proto.Listing{Symbol: btc, Phase: proto.Halted})
	r.listed(&proto.Listing{Symbol: eth})
	other := c.acks(1)[0]
	if other.Symbol != eth || other.Depth != 10 {
		t.Errorf("after a change of its listing, %v", other)
	}
	ends := c.unsubscribes(wild.Topic, 3)
	if !ends[0].Ended || ends[0].Topic != topic || !ends[1].Ended || ends[1].Topic != other.Topic || ends[2].Topic != wild.Topic {
		t.Errorf("the pattern ends with %v", ends)
	}
	if n := r.hub.Stats().Subscriptions; n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

func TestTopicOfAPatternThatWasEndedComesBackOnlyWithTheInstrument(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	r.books.listings = []*proto.Listing{{Symbol: btc}}
	c := r.dial(proto.CodecProto)
	wild := c.wild(pb.Channel_CHANNEL_BOOK)
	c.unsubscribes(c.acks(1)[0].Topic, 1)
	r.listed(&proto.Listing{Symbol: btc, Phase: proto.Halted}) // it was not wanted
	r.listed(&proto.Listing{Symbol: eth})
	if a := c.acks(1)[0]; a.Symbol != eth {
		t.Errorf("%s comes again", a.Symbol)
	}
	r.listed(&proto.Listing{Symbol: btc, Ended: true})
	r.listed(&proto.Listing{Symbol: btc})
	if a := c.acks(1)[0]; a.Symbol != btc || a.PatternTopic != wild.Topic {
		t.Errorf("what is listed anew is answered by %v", a)
	}
	c.unsubscribes(wild.Topic, 3)
}

func TestNumberIsNeverGivenOutTwice(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	c := r.dial(proto.CodecProto)
	had := c.subscribe(book)
	r.hub.mu.Lock()
	r.hub.lastNumber = maxNumber - 2 // one is for the listings
	r.hub.mu.Unlock()
	if last := c.wild(pb.Channel_CHANNEL_BOOK); last.Topic != maxNumber-1 {
		t.Errorf("%d, want the last number", last.Topic)
	}
	for id, symbol := range []string{eth, "SIM:B*"} {
		c.ask(subscribeTo(uint32(10+id), &pb.SubscribeItem{Symbol: symbol}))
		if code := c.code(uint32(10 + id)); code != pb.ErrorCode_ERROR_CODE_OVERLOADED {
			t.Errorf("%s: %v", symbol, code)
		}
	}
	if again := r.dial(proto.CodecProto).subscribe(book); again.Topic != had.Topic {
		t.Errorf("a topic that has a number is acknowledged with %d", again.Topic)
	}
}
