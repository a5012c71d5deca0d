package fanout

import (
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func TestNothingIsEncodedTwice(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.publish(seeded(1), 5)
	const readers, deltas = 20, 30
	var clients []*client
	var models []*model
	for i := range readers {
		c := r.dial(proto.Codec(i % int(proto.NumCodecs)))
		models = append(models, newModel(t, c.subscribe(book)))
		clients = append(clients, c)
	}
	for range deltas {
		b.publish(seeded(2), 5)
	}
	seq, _ := b.where()
	for i, c := range clients {
		models[i].follow(c, seq)
		if models[i].deltas != deltas {
			t.Errorf("reader %d got %d deltas, want %d", i, models[i].deltas, deltas)
		}
	}
	r.sync()
	s := r.hub.Stats()
	if want := uint64(2 * (deltas + 1)); s.Encoded != want {
		t.Errorf("%d frames encoded for %d sent; want %d: one a codec of each delta and of one snapshot", s.Encoded, s.Frames, want)
	}
	if want := uint64(readers * (deltas + 1)); s.Frames != want {
		t.Errorf("%d frames sent, want %d", s.Frames, want)
	}
}

func TestAllTopicsOfAConnectionLeaveInOneSend(t *testing.T) {
	symbols := []string{"A", "B", "C", "D", "E"}
	r := newRig(t, nil, symbols...)
	c := r.dial(proto.CodecProto)
	models := make(map[uint32]*model)
	numbers := make(map[string]uint32)
	follow := func() {
		for _, symbol := range symbols {
			seq, _ := r.book(symbol).where()
			for m := models[numbers[symbol]]; !m.held || m.mine < seq; {
				f := c.next()
				models[topicOf(f)].apply(f)
			}
		}
		r.sync()
	}
	for _, symbol := range symbols {
		ack := c.subscribe(&pb.SubscribeItem{Symbol: symbol})
		m := newModel(t, ack)
		m.apply(c.next())
		models[ack.Topic], numbers[symbol] = m, ack.Topic
	}
	follow()
	before := r.hub.Stats()
	r.hold(func() {
		for _, symbol := range symbols {
			for range 3 {
				r.book(symbol).publish(seeded(3), 5)
			}
		}
	})
	follow()
	after := r.hub.Stats()
	if after.Sends-before.Sends != 1 || after.Frames-before.Frames != 15 {
		t.Errorf("%d frames in %d sends, want 15 in 1", after.Frames-before.Frames, after.Sends-before.Sends)
	}
}

func TestResumeIsCheapest(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	random := seeded(1)
	for range 5 {
		b.publish(random, 40)
	}
	first := r.dial(proto.CodecProto)
	m := newModel(t, first.subscribe(book))
	for range 5 {
		b.publish(random, 2)
	}
	seq, _ := b.where()
	m.follow(first, seq)
	stood := m.resume()

	again := func(resume *pb.Resume) (*client, *pb.Ack) {
		c := r.dial(proto.CodecProto)
		return c, c.subscribe(&pb.SubscribeItem{Symbol: btc, Resume: resume})
	}
	pong := func(c *client) *pb.Frame {
		c.ask(&pb.Request{Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
		return c.next()
	}

	c, ack := again(stood)
	if !ack.Resumed {
		t.Error("not resumed where nothing was missed")
	}
	if f := pong(c); f.GetPong() == nil {
		t.Errorf("got %v where nothing was missed", f)
	}

	for range 4 {
		b.publish(random, 2)
	}
	seq, hash := b.where()
	c, ack = again(stood)
	if !ack.Resumed {
		t.Error("not resumed although the ring has all")
	}
	m.topic, m.deltas, m.merged, m.snapshots = ack.Topic, 0, 0, 0
	m.follow(c, seq)
	if m.deltas != 1 || m.merged != 1 || m.snapshots != 0 || m.hash() != hash {
		t.Errorf("%d deltas, %d merged, %d snapshots; want one net delta", m.deltas, m.merged, m.snapshots)
	}

	for name, bad := range map[string]*pb.Resume{
		"another hash":  {Epoch: stood.Epoch, Seq: stood.Seq, Hash: stood.Hash + 1},
		"another epoch": {Epoch: stood.Epoch + 1, Seq: stood.Seq, Hash: stood.Hash},
		"before all":    {Epoch: stood.Epoch, Seq: 0, Hash: 0},
	} {
		c, ack := again(bad)
		if ack.Resumed {
			t.Errorf("%s: resumed", name)
		}
		if s := c.next().GetSnapshot(); s == nil || s.Reason != pb.SnapshotReason_SNAPSHOT_REASON_INITIAL {
			t.Errorf("%s: got %v, not a snapshot", name, s)
		}
	}
}

func TestNodeBehindItsClientSaysSoAndWaits(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	random := seeded(1)
	b.publish(random, 5)
	ahead := newTestBooks(btc).books[btc]
	*ahead = testBook{books: newTestBooks(), symbol: btc, state: b.state, bids: map[int64]int64{}, asks: map[int64]int64{}}
	for price, qty := range b.bids {
		ahead.bids[price] = qty
	}
	for price, qty := range b.asks {
		ahead.asks[price] = qty
	}
	next, same := seeded(5), seeded(5)
	ahead.publish(next, 5)
	seq, hash := ahead.where()

	resume := &pb.Resume{Epoch: 7, Seq: seq, Hash: hash}
	patient, impatient := r.dial(proto.CodecProto), r.dial(proto.CodecProto)
	ack := patient.subscribe(&pb.SubscribeItem{Symbol: btc, Resume: resume})
	if ack.Resumed || ack.State != pb.State_STATE_STALE || ack.Reason != pb.Reason_REASON_BEHIND {
		t.Fatalf("acknowledged with %v", ack)
	}
	b.publish(same, 5)
	if s := patient.next().GetStatus(); s == nil || s.State != pb.State_STATE_LIVE {
		t.Errorf("told %v after the node has caught up", s)
	}
	b.publish(random, 5)
	if d := patient.next().GetDelta(); d == nil || d.PrevSeq > seq {
		t.Errorf("got %v, not the delta that follows", d)
	}

	resume.Seq += 1000
	impatient.subscribe(&pb.SubscribeItem{Symbol: btc, Resume: resume})
	r.advance(r.hub.config.BehindWait + time.Second)
	if s := impatient.next().GetSnapshot(); s == nil {
		t.Error("no snapshot when the wait was over")
	}
}

func TestKeepalivesTellIdleTopicsOnly(t *testing.T) {
	r := newRig(t, nil, btc, "SIM:ETH-USD")
	b := r.book(btc)
	b.publish(seeded(1), 5)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(book)
	m := newModel(t, ack)
	seq, _ := b.where()
	m.follow(c, seq)
	r.sync()

	b.books.mu.Lock()
	b.state.Seq += 10 // records that change nothing in this view
	b.books.mu.Unlock()
	b.mark()
	r.advance(r.hub.config.KeepaliveInterval + time.Second)
	m.apply(c.next())
	if m.keepalives != 1 || m.mine != seq+10 {
		t.Fatalf("%d keepalives, at %d; want 1, at %d", m.keepalives, m.mine, seq+10)
	}
	// The same again would say nothing new, and a mark behind the ring nothing true.
	r.advance(r.hub.config.KeepaliveInterval + time.Second)
	r.sync()
	b.mark()
	b.publish(seeded(2), 5)
	r.sync()
	r.advance(r.hub.config.KeepaliveInterval + time.Second)
	r.sync()
	seq, _ = b.where()
	m.follow(c, seq)
	c.ask(&pb.Request{Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
	if f := c.next(); f.GetPong() == nil || m.keepalives != 1 {
		t.Errorf("%d keepalives, then %v", m.keepalives, f)
	}
}

func TestIdleTopicOfABusyConnectionIsKeptAlive(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	random := seeded(1)
	c := r.dial(proto.CodecProto)
	idle := c.subscribe(&pb.SubscribeItem{Symbol: eth}).Topic
	c.next() // its snapshot
	busy := newModel(t, c.subscribe(book))
	busy.apply(c.next())
	kept := 0
	for range 4 * 3 {
		r.book(btc).publish(random, 3)
		r.book(btc).mark()
		r.book(eth).mark()
		r.sync()
		r.advance(r.hub.config.KeepaliveInterval / 4)
		r.sync()
		for seq, _ := r.book(btc).where(); busy.mine < seq; {
			if f := c.next(); f.GetKeepalive().GetTopic() == idle {
				kept++
			} else {
				busy.apply(f)
			}
		}
	}
	if kept < 2 || kept > 3 || busy.keepalives != 0 {
		t.Errorf("%d keepalives of the idle topic in three intervals, %d of the busy one", kept, busy.keepalives)
	}
}

func TestJoinerOfRecoveringBookWaitsForItsSnapshot(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.become(proto.Recovering, proto.ReasonNoSnapshot)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(book)
	if ack.State != pb.State_STATE_RECOVERING || ack.Reason != pb.Reason_REASON_NO_SNAPSHOT {
		t.Fatalf("acknowledged with %v", ack)
	}
	b.become(proto.Recovering, proto.ReasonSourceGap)
	if s := c.next().GetStatus(); s == nil || s.Reason != pb.Reason_REASON_SOURCE_GAP {
		t.Fatalf("told %v", s)
	}
	b.become(proto.Live, proto.ReasonNone)
	m := newModel(t, ack)
	b.publish(seeded(1), 5)
	seq, _ := b.where()
	m.follow(c, seq)
}

func TestRecoveredBookBeginsWithItsSnapshot(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.publish(seeded(1), 5)
	c := r.dial(proto.CodecProto)
	m := newModel(t, c.subscribe(book))
	m.apply(c.next())
	b.become(proto.Recovering, proto.ReasonBadRecord)
	b.become(proto.Live, proto.ReasonNone)
	b.publish(seeded(2), 5)
	seq, _ := b.where()
	for m.mine < seq {
		m.apply(c.next())
	}
	want := pb.SnapshotReason_SNAPSHOT_REASON_RECOVERED
	if m.snapshots != 2 || m.reasons[1] != want {
		t.Errorf("%d snapshots, reasons %v; want the second %v", m.snapshots, m.reasons, want)
	}
}

func TestFinalStatusEndsTheTopicForAll(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(book)
	newModel(t, ack).apply(c.next())
	b.books.mu.Lock()
	b.tell(proto.Status{Seq: 50, State: proto.Live, Reason: proto.ReasonRenamed, Final: true, NewSymbol: "SIM:XBT-USD"})
	b.views = nil
	b.books.mu.Unlock()
	if s := c.next().GetStatus(); s == nil || !s.Final || s.NewSymbol != "SIM:XBT-USD" {
		t.Fatalf("told %v", s)
	}
	r.until("the end of the subscription", func() bool { return r.hub.Stats().Subscriptions == 0 })
	if again := c.subscribe(book); again.Topic == ack.Topic {
		t.Error("the topic that has ended was given again")
	}
}

func TestUnusedTopicLingersThenCloses(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SilenceTimeout = time.Hour }, btc)
	b := r.book(btc)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(book)
	leave := func(topic uint32) {
		c.ask(&pb.Request{Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{topic}}}})
		for c.next().GetAck() == nil {
		}
	}
	leave(ack.Topic)
	r.sync()
	r.advance(r.hub.config.TopicLinger / 2)
	r.hub.expire()
	b.publish(seeded(1), 5)
	if again := c.subscribe(book); again.Topic != ack.Topic {
		t.Error("the topic did not linger")
	}
	leave(ack.Topic)
	r.until("its end", func() bool {
		r.advance(r.hub.config.TopicLinger/8 + time.Second)
		return r.hub.Stats().Topics == 0
	})
	if s := r.hub.Stats(); s.RingBytes != 0 {
		t.Errorf("%d bytes left in rings", s.RingBytes)
	}
	b.books.mu.Lock()
	views := len(b.views)
	b.books.mu.Unlock()
	if views != 0 {
		t.Error("the view is still open")
	}
	if again := c.subscribe(book); again.Topic == ack.Topic {
		t.Error("the number of a closed topic was given again")
	}
}

func TestTopicsAndConnectionsAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxTopics, c.MaxConns, c.MaxSubscriptions, c.MaxItems = 2, 1, 2, 3 }, "A", "B", "C")
	c := r.dial(proto.CodecProto)
	c.subscribe(&pb.SubscribeItem{Symbol: "A"})
	c.subscribe(&pb.SubscribeItem{Symbol: "B"})
	c.ask(subscribeTo(1, &pb.SubscribeItem{Symbol: "C"}))
	c.refused(pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS)
	c.ask(subscribeTo(1, book, book, book, book))
	c.refused(pb.ErrorCode_ERROR_CODE_TOO_MANY_ITEMS)
	_, far := tcpPair(t)
	a := Accepted{Codec: proto.CodecProto}
	if err := a.take(far, r.hub.config.Sockets); err != nil {
		t.Fatal(err)
	}
	if err := r.hub.Accept(a); err == nil {
		t.Error("a connection too many was accepted")
	}
}

func TestTopicThatOnlyLingersGivesWay(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxTopics = 2 }, "A", "B", "C")
	c := r.dial(proto.CodecProto)
	first := c.subscribe(&pb.SubscribeItem{Symbol: "A"})
	c.subscribe(&pb.SubscribeItem{Symbol: "B"})
	c.ask(subscribeTo(1, &pb.SubscribeItem{Symbol: "C"}))
	if e := c.refused(pb.ErrorCode_ERROR_CODE_OVERLOADED); e.Retry != pb.Retry_RETRY_AFTER {
		t.Errorf("%v", e)
	}
	c.ask(&pb.Request{Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{first.Topic}}}})
	for !c.next().GetAck().GetEnded() {
	}
	third := c.subscribe(&pb.SubscribeItem{Symbol: "C"})
	if third.Topic == first.Topic || r.hub.Stats().Topics != 2 {
		t.Errorf("topic %d after %d, %d open", third.Topic, first.Topic, r.hub.Stats().Topics)
	}
	if views := len(r.book("A").views); views != 0 {
		t.Errorf("%d views of the topic that gave way are open", views)
	}
}

// TestGroupThatOnlyLingersGivesWay: to another of its symbol, where a symbol has as
// many as it may. It does with all its views, of which each holds it.
func TestGroupThatOnlyLingersGivesWay(t *testing.T) {
	r := newRig(t, nil, "A", "B")
	r.books.oneGroup = true
	c := r.dial(proto.CodecProto)
	first := c.subscribe(&pb.SubscribeItem{Symbol: "A", Group: "0.5"})
	other := c.subscribe(&pb.SubscribeItem{Symbol: "B", Group: "0.5"})
	whole := c.subscribe(&pb.SubscribeItem{Symbol: "A"})
	deep := c.subscribe(&pb.SubscribeItem{Symbol: "A", Group: "0.5", Depth: 5})
	counted := c.subscribe(&pb.SubscribeItem{Symbol: "A", Group: "0.5", Counts: true})
	c.ask(subscribeTo(1, &pb.SubscribeItem{Symbol: "A", Group: "5"}))
	if e := c.refused(pb.ErrorCode_ERROR_CODE_OVERLOADED); e.Retry != pb.Retry_RETRY_AFTER {
		t.Errorf("%v", e)
	}
	c.ask(&pb.Request{Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{
		whole.Topic, other.Topic, first.Topic, deep.Topic, counted.Topic}}}})
	for ended := 0; ended < 5; {
		if c.next().GetAck().GetEnded() {
			ended++
		}
	}
	if third := c.subscribe(&pb.SubscribeItem{Symbol: "A", Group: "5"}); third.Group != "5.00" || r.hub.Stats().Topics != 3 {
		t.Errorf("%v, %d topics open", third, r.hub.Stats().Topics)
	}
}

func TestEveryDropReasonAndErrorCodeHasItsRow(t *testing.T) {
	labels := make(map[string]bool)
	codes := make(map[uint16]bool)
	for i, row := range Drops() {
		if row.Reason != DropReason(i) || row.Label == "" || row.Text == "" || row.Retry == pb.Retry_RETRY_UNSPECIFIED {
			t.Errorf("reason %d has the row %+v", i, row)
		}
		if labels[row.Label] || row.Code != 0 && codes[uint16(row.Code)] {
			t.Errorf("%s or its code is there twice", row.Label)
		}
		labels[row.Label], codes[uint16(row.Code)] = true, true
		if len(row.Label)+2+len(row.Text) > 123 {
			t.Errorf("%s does not fit a close frame", row.Label)
		}
	}
	for number := range pb.ErrorCode_name {
		row := errorRows[number]
		if int32(row.Code) != number || row.Text == "" || row.Retry == pb.Retry_RETRY_UNSPECIFIED ||
			(row.Retry == pb.Retry_RETRY_AFTER) != (row.RetryAfterMS > 0) {
			t.Errorf("error code %d has the row %+v", number, row)
		}
	}
	if len(errorRows) != len(pb.ErrorCode_name) {
		t.Errorf("%d rows for %d error codes", len(errorRows), len(pb.ErrorCode_name))
	}
}

func TestKeepaliveIsNotSentToACursorThatHasMovedOn(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	c := r.dial(proto.CodecProto)
	m := newModel(t, c.subscribe(book))
	b.publish(seeded(1), 5)
	b.mark()
	b.publish(seeded(2), 5)
	seq, _ := b.where()
	m.follow(c, seq)
	r.sync()
	// As after a keepalive became due while the socket was full.
	r.hub.ask(0, func(s *shard) {
		sub := s.conns[0].subs[0]
		sub.feed.said, sub.keepalive = sub.feed.topic.mark.Load(), true
		s.list(sub)
		s.turn()
	})
	c.ask(&pb.Request{Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
	if f := c.next(); f.GetPong() == nil {
		t.Errorf("got %v", f)
	}
}
