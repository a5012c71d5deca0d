package fanout

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// paced subscribes to btc at an interval and takes the snapshot.
func (r *rig) paced(ms uint32) (*client, *model) {
	r.t.Helper()
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, IntervalMs: ms})
	if ack.IntervalMs != ms {
		r.t.Fatalf("granted %d ms, not %d", ack.IntervalMs, ms)
	}
	m := newModel(r.t, ack)
	m.apply(c.next())
	return c, m
}

func TestIntervalIsGrantedFromTheListInHello(t *testing.T) {
	r := newRig(t, nil, btc)
	for asked, granted := range map[uint32]uint32{0: 0, 1: 10, 10: 10, 11: 20, 60: 100, 1000: 1000, 5000: 5000, 70_000: 5000} {
		c := r.dial(proto.CodecProto)
		if ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, IntervalMs: asked}); ack.IntervalMs != granted {
			t.Errorf("%d ms asked, %d granted, want %d", asked, ack.IntervalMs, granted)
		}
	}
}

func TestIntervalBringsOneNetDeltaATick(t *testing.T) {
	r := newRig(t, nil, btc)
	b, random := r.book(btc), seeded(1)
	b.publish(random, 5)
	c, m := r.paced(100)
	r.advance(100 * time.Millisecond) // the joiner's own tick
	r.sync()
	for range 3 {
		before := r.hub.Stats().Frames
		for range 20 {
			b.publish(random, 5)
		}
		r.sync()
		r.advance(99 * time.Millisecond)
		r.sync()
		if sent := r.hub.Stats().Frames - before; sent != 0 {
			t.Fatalf("%d frames between ticks", sent)
		}
		r.advance(time.Millisecond)
		seq, _ := b.where()
		m.follow(c, seq)
		r.sync()
		if sent := r.hub.Stats().Frames - before; sent != 1 {
			t.Fatalf("%d frames at a tick, want 1", sent)
		}
	}
	if m.snapshots != 1 || m.merged != 3 {
		t.Errorf("%d snapshots and %d merged deltas, want 1 and 3", m.snapshots, m.merged)
	}
}

func TestIntervalDoesNotHoldBackWhatTheStateBecame(t *testing.T) {
	r := newRig(t, nil, btc)
	b, random := r.book(btc), seeded(2)
	b.publish(random, 5)
	c, m := r.paced(5000)
	for range 4 {
		b.publish(random, 5)
	}
	b.become(proto.Stale, proto.ReasonBehind)
	seq, _ := b.where()
	for m.state != pb.State_STATE_STALE {
		m.apply(c.next())
	}
	if m.mine != seq {
		t.Errorf("the status came at seq %d, the book is at %d", m.mine, seq)
	}
	b.become(proto.Recovering, proto.ReasonSourceGap)
	for m.held {
		m.apply(c.next())
	}
	b.become(proto.Live, proto.ReasonNone)
	m.follow(c, seq)
}

func TestLastChangeBeforeAQuietTimeIsDeliveredAtAnInterval(t *testing.T) {
	r := newRig(t, nil, btc)
	b, random := r.book(btc), seeded(3)
	open := r.dial(proto.CodecProto) // opens the topic: its snapshot falls behind the ring
	open.subscribe(book)
	for range 3 {
		b.publish(random, 5)
	}
	c, m := r.paced(1000)
	r.advance(time.Second)
	seq, _ := b.where()
	m.follow(c, seq)
	b.publish(random, 5)
	r.sync()
	r.advance(time.Second)
	seq, _ = b.where()
	m.follow(c, seq)
}

func TestShardsShareTheNetDeltaOfATick(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Shards = 4 }, btc)
	b, random := r.book(btc), seeded(4)
	b.publish(random, 5)
	var clients [8]*client
	var models [8]*model
	for i := range clients {
		clients[i], models[i] = r.paced(50)
	}
	r.advance(50 * time.Millisecond)
	r.sync()
	before := r.hub.Stats()
	for range 10 {
		b.publish(random, 5)
	}
	r.sync()
	r.advance(50 * time.Millisecond)
	seq, _ := b.where()
	for i := range clients {
		models[i].follow(clients[i], seq)
	}
	r.sync()
	after := r.hub.Stats()
	if after.Encoded-before.Encoded != 1 || after.Frames-before.Frames != 8 {
		t.Errorf("%d frames made for %d sent, want 1 for 8", after.Encoded-before.Encoded, after.Frames-before.Frames)
	}
}

func TestModifyChangesTheIntervalInPlace(t *testing.T) {
	r := newRig(t, nil, btc)
	b, random := r.book(btc), seeded(5)
	b.publish(random, 5)
	c, m := r.paced(5000)
	modify := func(ms uint32) {
		t.Helper()
		c.ask(&pb.Request{Id: 2, Body: &pb.Request_Modify{Modify: &pb.Modify{
			Items: []*pb.ModifyItem{{Topic: m.topic, IntervalMs: &ms}},
		}}})
		for {
			f := c.next()
			if ack := f.GetAck(); ack != nil {
				if ack.IntervalMs != ms || ack.Topic != m.topic || ack.Replaces != 0 {
					t.Fatalf("answered by %v", ack)
				}
				return
			}
			m.apply(f)
		}
	}
	b.publish(random, 5)
	modify(0) // what waited comes at once
	seq, _ := b.where()
	m.follow(c, seq)
	modify(100)
	r.advance(100 * time.Millisecond)
	r.sync()
	before := r.hub.Stats().Frames
	b.publish(random, 5)
	r.sync()
	if sent := r.hub.Stats().Frames - before; sent != 0 {
		t.Errorf("%d frames between ticks", sent)
	}
	r.advance(100 * time.Millisecond)
	seq, _ = b.where()
	m.follow(c, seq)
}

func TestClockThatIsPutBackDoesNotSilenceIntervals(t *testing.T) {
	r := newRig(t, nil, btc)
	b, random := r.book(btc), seeded(6)
	c, m := r.paced(100)
	b.publish(random, 5)
	r.sync()
	r.advance(-time.Hour)
	r.sync()
	r.advance(100 * time.Millisecond)
	seq, _ := b.where()
	m.follow(c, seq)
}

func TestCapConflatesInsteadOfQueueing(t *testing.T) {
	for name, wish := range map[string]*pb.Subscribe{
		"frames": {MaxHz: 10},
		"bytes":  {MaxBytesPerS: 2048},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, btc)
			b, random := r.book(btc), seeded(7)
			b.publish(random, 40)
			c := r.dial(proto.CodecProto)
			wish.Items = []*pb.SubscribeItem{book}
			c.ask(&pb.Request{Id: 1, Body: &pb.Request_Subscribe{Subscribe: wish}})
			ack := c.next().GetAck()
			if ack.GetMaxHz() != wish.MaxHz || ack.GetMaxBytesPerS() != wish.MaxBytesPerS {
				t.Fatalf("granted %v", ack)
			}
			m := newModel(t, ack)
			m.apply(c.next())
			r.sync()
			before := r.hub.Stats()
			const rounds, step, changes = 200, 20 * time.Millisecond, 5
			for range rounds {
				for range changes {
					b.publish(random, 5)
				}
				r.sync()
				r.advance(step)
				r.sync()
			}
			after := r.hub.Stats()
			seconds, largest := (rounds * step).Seconds(), 1500.0
			if frames := after.Frames - before.Frames; wish.MaxHz != 0 && float64(frames) > seconds*float64(wish.MaxHz)+1 || frames < 5 {
				t.Errorf("%d frames in %v s", frames, seconds)
			}
			if bytes := after.Bytes - before.Bytes; wish.MaxBytesPerS != 0 && float64(bytes) > seconds*float64(wish.MaxBytesPerS)+largest {
				t.Errorf("%d bytes in %v s", bytes, seconds)
			}
			r.advance(time.Second)
			seq, _ := b.where()
			m.follow(c, seq)
			if m.snapshots != 1 || m.merged == 0 {
				t.Errorf("%d snapshots and %d merged deltas", m.snapshots, m.merged)
			}
			c.ask(&pb.Request{Id: 3, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
			if f := c.next(); f.GetPong() == nil {
				t.Errorf("got %v before the pong, which does not wait", f)
			}
		})
	}
}

// A reader with a cap gets what is less: the net delta where few levels changed
// often, the snapshot where the price has walked through many.
func TestCappedReaderGetsTheLesserOfNetDeltaAndSnapshot(t *testing.T) {
	for name, caps := range map[string]*pb.Modify{
		"frames": {MaxHz: 1},
		"bytes":  {MaxBytesPerS: minBytesPerSecond},
	} {
		t.Run(name, func(t *testing.T) { cappedReader(t, caps) })
	}
}

func cappedReader(t *testing.T, caps *pb.Modify) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	for price := range int64(20) {
		b.set(price, 1)
	}
	c := r.dial(proto.CodecProto)
	c.ask(&pb.Request{Id: 9, Body: &pb.Request_Modify{Modify: caps}})
	c.next()
	m := newModel(t, c.subscribe(book))
	settle := func() { // until it may be sent more, and has been
		r.sync()
		r.advance(5 * time.Second)
		r.sync()
		seq, _ := b.where()
		m.follow(c, seq)
	}
	settle()
	settle()
	had := *m
	for qty := range int64(40) { // 40 changes of 2 levels, in a book of 20
		b.set(1, qty+2, 2, qty+2)
	}
	settle()
	if m.snapshots != had.snapshots || m.merged == had.merged {
		t.Errorf("%d snapshots and %d merged deltas for 2 levels that change; want net deltas", m.snapshots-had.snapshots, m.merged-had.merged)
	}
	for price := range int64(20) {
		b.set(price, 0)
	}
	settle()
	had = *m
	for price := range int64(100) { // at most 2 levels are there at any time
		b.set(100+price, 1, 98+price, 0)
	}
	settle()
	if m.snapshots == had.snapshots {
		t.Errorf("%d deltas for a book of two levels that has walked through 100; want a snapshot", m.deltas-had.deltas)
	}
}

func TestCapTooSmallIsRaised(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	c.ask(&pb.Request{Id: 4, Body: &pb.Request_Modify{Modify: &pb.Modify{MaxBytesPerS: 1}}})
	if ack := c.next().GetAck(); ack.GetMaxBytesPerS() != minBytesPerSecond {
		t.Errorf("answered by %v", ack)
	}
}

// Readers of every interval, with and without caps, hold the book of their seq at
// every frame, and in the end that of the log, whatever happens when.
func TestEveryIntervalAndCapLeadsToTheSameBook(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Shards, c.RingEntries, c.SilenceTimeout = 2, 64, time.Hour }, btc)
	b, random := r.book(btc), rand.New(rand.NewPCG(8, 8))
	b.publish(random, 5)
	var clients []*client
	var models []*model
	for i, ms := range intervalsMS {
		for _, hz := range []uint32{0, 20} {
			c := r.dial(proto.Codec(i % int(proto.NumCodecs)))
			if c.codec == proto.CodecProto && hz != 0 {
				c.ask(&pb.Request{Id: 9, Body: &pb.Request_Modify{Modify: &pb.Modify{MaxHz: hz}}})
			}
			m := newModel(t, c.subscribe(&pb.SubscribeItem{Symbol: btc, IntervalMs: ms}))
			clients, models = append(clients, c), append(models, m)
		}
	}
	// All is read every few steps: what a test leaves unread in small sockets the
	// kernel sends again after seconds only.
	for range 30 {
		for range 10 {
			step(r, b, random)
		}
		seq, hash := b.where()
		for range 2 {
			r.advance(5 * time.Second)
			r.sync()
		}
		for i, c := range clients {
			models[i].follow(c, seq)
			if models[i].hash() != hash {
				t.Errorf("reader %d holds %08x, the book is %08x", i, models[i].hash(), hash)
			}
		}
	}
}

// step has something happen to b, or time pass.
func step(r *rig, b *testBook, random *rand.Rand) {
	switch random.IntN(12) {
	case 0:
		b.enter(proto.Phase(1 + random.IntN(5)))
	case 1:
		b.become(proto.Recovering, proto.ReasonSourceGap)
		b.become(proto.Live, proto.ReasonNone)
	case 2, 3, 4:
		r.advance(time.Duration(random.IntN(300)) * time.Millisecond)
	default:
		b.publish(random, 8)
	}
	if random.IntN(4) == 0 {
		r.sync()
	}
}

func TestBatchDelayGathersWhatComesWithinIt(t *testing.T) {
	r := newRig(t, func(c *Config) { c.BatchDelay = 10 * time.Millisecond }, btc)
	b, random := r.book(btc), seeded(9)
	c, m := r.paced(0)
	r.advance(time.Second)
	b.publish(random, 5)
	seq, _ := b.where()
	m.follow(c, seq) // after a quiet time nothing waits
	r.sync()
	before := r.hub.Stats()
	for range 16 {
		b.publish(random, 5)
		r.sync()
	}
	if sent := r.hub.Stats().Sends - before.Sends; sent != 0 {
		t.Errorf("%d sends within the delay", sent)
	}
	r.advance(10 * time.Millisecond)
	seq, _ = b.where()
	m.follow(c, seq)
	r.sync()
	after := r.hub.Stats()
	if after.Sends-before.Sends != 1 || after.Frames-before.Frames != 16 || m.merged != 0 {
		t.Errorf("%d frames in %d sends, want 16 in 1, each change for itself", after.Frames-before.Frames, after.Sends-before.Sends)
	}
}

// The delay's end wakes the shard by itself, on the real clock.
func TestBatchDelayEndsWithoutAnotherEvent(t *testing.T) {
	r := newRig(t, func(c *Config) { c.BatchDelay, c.Now = 5*time.Millisecond, time.Now }, btc)
	b, random := r.book(btc), seeded(10)
	c, m := r.paced(0)
	for range 50 {
		b.publish(random, 5)
		b.publish(random, 5)
		seq, _ := b.where()
		m.follow(c, seq)
	}
}

// Ticks wake the shard by themselves, on the real clock.
func TestIntervalNeedsNoOtherEvent(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Now = time.Now }, btc)
	b, random := r.book(btc), seeded(11)
	c, m := r.paced(10)
	for range 10 {
		b.publish(random, 5)
		b.publish(random, 5)
		seq, _ := b.where()
		m.follow(c, seq)
	}
}

// Between a change and its frames stands one wake-up: no timer is set for them, and
// with all timers out of reach they arrive.
func TestChangeWaitsForNoTimer(t *testing.T) {
	r := newRig(t, nil, btc)
	b, random := r.book(btc), seeded(12)
	c, m := r.paced(0)
	far := time.Now().Add(time.Hour)
	for _, s := range r.hub.shards {
		s.do(func() {
			s.sweepDue, s.wakeAt = far, far
			s.poller.WakeAt(far)
		})
	}
	r.sync()
	for range 200 {
		b.publish(random, 5)
		seq, _ := b.where()
		m.follow(c, seq)
	}
	for i, s := range r.hub.shards {
		s.do(func() {
			if s.wakeAt != far {
				t.Errorf("shard %d has a timer in %v", i, time.Until(s.wakeAt))
			}
		})
	}
	r.sync()
}
