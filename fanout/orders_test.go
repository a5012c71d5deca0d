package fanout

import (
	"testing"
	"time"

	"github.com/depthcast/depthcast/fanout/poll/polltest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

var orders = &pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_ORDERS}

func TestJoinerOfOrdersSeesSnapshotThenEveryDelta(t *testing.T) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.UnsentBytes = 1 << 20 }, btc) // all that it has yet to read
			random := seeded(1)
			b := r.book(btc)
			b.publish(random, 40)
			c := r.dial(codec)
			m := newModel(t, c.subscribe(orders))
			if m.apply(c.next()); m.snapshots != 1 || len(m.bidOrders)+len(m.askOrders) == 0 {
				t.Fatal("the first frame after the ack is no snapshot of orders")
			}
			const n = 200
			for range n {
				b.publish(random, 5)
			}
			seq, hash := b.whereOrders()
			m.follow(c, seq)
			if m.snapshots != 1 || m.deltas != n || m.merged != 0 || m.hash() != hash {
				t.Errorf("%d snapshots, %d deltas, %d merged; want 1, %d, 0; hash %08x, want %08x", m.snapshots, m.deltas, m.merged, n, m.hash(), hash)
			}
		})
	}
}

func TestOrdersAreGrantedByDepthAlone(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_ORDERS, Depth: 7, Counts: true})
	if ack.Depth != 10 || ack.Counts || ack.Channel != pb.Channel_CHANNEL_ORDERS {
		t.Errorf("granted %v", ack)
	}
	c.ask(subscribeTo(2, &pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_ORDERS, Group: "0.5"}))
	c.refused(pb.ErrorCode_ERROR_CODE_BAD_VIEW)
	depth := uint32(1)
	c.ask(&pb.Request{Id: 3, Body: &pb.Request_Modify{Modify: &pb.Modify{Items: []*pb.ModifyItem{{Topic: ack.Topic, Depth: &depth}}}}})
	for {
		if a := c.next().GetAck(); a != nil {
			if a.Replaces != ack.Topic || a.Depth != 1 || a.Channel != pb.Channel_CHANNEL_ORDERS {
				t.Errorf("modified to %v", a)
			}
			return
		}
	}
}

func TestSlowReaderOfOrdersGetsOneNetDeltaOrLessASnapshot(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets }, btc)
	random := seeded(7)
	b := r.book(btc)
	for range 20 {
		b.publish(random, 40)
	}
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	m := newModel(t, c.subscribe(orders))
	seq, _ := b.whereOrders()
	m.follow(c, seq)
	for _, tt := range []struct {
		publish, most                int
		deltas, merged, more, status int
	}{
		{publish: 10, most: 2, deltas: 1, merged: 1},           // less than a snapshot
		{publish: 100, most: 40, more: 1, deltas: 0},           // more than one: the reason is lapped
		{publish: 4, most: 2, deltas: 1, merged: 1},            // and no slower ever after
		{publish: 4, most: 2, deltas: 2, merged: 2, status: 1}, // a status is not merged away
	} {
		m.deltas, m.merged, m.snapshots, m.statuses = 0, 0, 0, 0
		r.sync()
		sockets.OnSend(c.fd, polltest.Again(1))
		r.hold(func() {
			for i := range tt.publish {
				if i == tt.publish/2 && tt.status > 0 {
					b.enter(proto.Halted)
				}
				b.publish(random, tt.most)
			}
		})
		seq, hash := b.whereOrders()
		m.follow(c, seq)
		if tt.more == 0 && (m.deltas != tt.deltas || m.merged != tt.merged) || m.snapshots != tt.more || m.statuses != tt.status {
			t.Errorf("%+v: %d deltas of which %d merged, %d snapshots, %d statuses", tt, m.deltas, m.merged, m.snapshots, m.statuses)
		}
		if m.hash() != hash {
			t.Errorf("%+v: the book differs from the server's", tt)
		}
	}
	if last := m.reasons[len(m.reasons)-1]; last != pb.SnapshotReason_SNAPSHOT_REASON_LAPPED {
		t.Errorf("the last snapshot's reason is %v", last)
	}
}

func TestOrdersResumeByTheirOwnHashAndStayAlive(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	random := seeded(1)
	for range 5 {
		b.publish(random, 40)
	}
	first := r.dial(proto.CodecProto)
	m := newModel(t, first.subscribe(orders))
	b.publish(random, 2)
	seq, _ := b.whereOrders()
	m.follow(first, seq)
	stood := m.resume()

	b.publish(random, 2)
	b.publish(random, 2)
	seq, hash := b.whereOrders()
	again := func(resume *pb.Resume) (*client, *pb.Ack) {
		c := r.dial(proto.CodecProto)
		return c, c.subscribe(&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_ORDERS, Resume: resume})
	}
	c, ack := again(stood)
	m.snapshots, m.merged = 0, 0
	m.follow(c, seq)
	if !ack.Resumed || m.snapshots != 0 || m.merged != 1 || m.hash() != hash {
		t.Errorf("resumed %v with %d snapshots and %d merged deltas", ack.Resumed, m.snapshots, m.merged)
	}
	_, ofLevels := b.where()
	if _, ack := again(&pb.Resume{Epoch: stood.Epoch, Seq: seq, Hash: ofLevels}); ack.Resumed {
		t.Error("resumed by the hash of the levels")
	}

	r.sync()
	b.books.mu.Lock()
	b.state.Seq += 10
	b.books.mu.Unlock()
	b.mark()
	r.advance(r.hub.config.KeepaliveInterval + time.Second)
	if m.apply(c.next()); m.keepalives != 1 || m.mine != seq+10 {
		t.Errorf("%d keepalives, at %d; want 1, at %d", m.keepalives, m.mine, seq+10)
	}
}

// A change of more orders than the ring has room for is told by the snapshot.
func TestChangeOfVeryManyOrdersIsToldByASnapshot(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RingBytes = 40 * orderBytes }, btc)
	b := r.book(btc)
	b.publish(seeded(1), 5)
	c := r.dial(proto.CodecJSON)
	m := newModel(t, c.subscribe(orders))
	seq, _ := b.whereOrders()
	m.follow(c, seq)
	b.publish(seeded(2), 2000)
	seq, hash := b.whereOrders()
	m.follow(c, seq)
	if m.deltas != 0 || m.snapshots != 2 || m.reasons[1] != pb.SnapshotReason_SNAPSHOT_REASON_LAPPED || m.hash() != hash {
		t.Errorf("%d deltas, %d snapshots for %v", m.deltas, m.snapshots, m.reasons)
	}
	b.publish(seeded(3), 5)
	seq, hash = b.whereOrders()
	m.follow(c, seq)
	if m.deltas != 1 || m.hash() != hash {
		t.Errorf("%d deltas after it", m.deltas)
	}
}
