package fanout

import (
	"maps"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// model is a client's book of one topic, rebuilt from frames by the rule of
// docs/protocol.md and held against the hash of each.
type model struct {
	t          *testing.T
	topic      uint32
	epoch      uint64
	mine       int64
	state      pb.State
	phase      pb.Phase
	held       bool // there is a book
	bids, asks map[int64]int64

	// Of the orders channel, in place of bids and asks.
	byOrder              bool
	bidOrders, askOrders map[uint64]proto.RankedOrder

	snapshots, deltas, merged, statuses, keepalives int
	reasons                                         []pb.SnapshotReason
}

func newModel(t *testing.T, ack *pb.Ack) *model {
	byOrder := ack.Channel == pb.Channel_CHANNEL_ORDERS
	return &model{t: t, topic: ack.Topic, epoch: ack.Epoch, state: ack.State, phase: ack.Phase, byOrder: byOrder}
}

// apply takes one frame. A break in the chain or another hash fails the test: the
// server must never be the cause of a resync.
func (m *model) apply(f *pb.Frame) {
	m.t.Helper()
	switch body := f.Body.(type) {
	case *pb.Frame_Snapshot:
		s := body.Snapshot
		m.snapshots++
		if m.held && s.Epoch == m.epoch && s.Seq < m.mine && s.Reason != pb.SnapshotReason_SNAPSHOT_REASON_RESYNC {
			m.t.Fatalf("snapshot of %d steps back from %d, reason %v", s.Seq, m.mine, s.Reason)
		}
		m.reasons = append(m.reasons, s.Reason)
		m.epoch, m.mine, m.state, m.phase, m.held = s.Epoch, s.Seq, s.State, s.Phase, true
		m.bids, m.asks = make(map[int64]int64), make(map[int64]int64)
		set(m.bids, s.Bids)
		set(m.asks, s.Asks)
		m.bidOrders, m.askOrders = make(map[uint64]proto.RankedOrder), make(map[uint64]proto.RankedOrder)
		m.setOrders(m.bidOrders, s.BidOrders)
		m.setOrders(m.askOrders, s.AskOrders)
		m.check(s.Hash)
	case *pb.Frame_Delta:
		d := body.Delta
		if m.step(d.PrevSeq, d.Seq, d.Merged) {
			set(m.bids, d.Bids)
			set(m.asks, d.Asks)
			m.check(d.Hash)
		}
	case *pb.Frame_Orders:
		d := body.Orders
		if m.step(d.PrevSeq, d.Seq, d.Merged) {
			m.setOrders(m.bidOrders, d.Bids)
			m.setOrders(m.askOrders, d.Asks)
			m.check(d.Hash)
		}
	case *pb.Frame_Status:
		m.statuses++
		m.state, m.phase = body.Status.State, body.Status.Phase
		if m.state == pb.State_STATE_RECOVERING {
			m.held = false
		}
	case *pb.Frame_Keepalive:
		m.keepalives++
		m.check(body.Keepalive.Hash)
		m.mine = max(m.mine, body.Keepalive.Seq)
	}
}

// step moves the model to the end of a delta; false: it is there already.
func (m *model) step(prev, seq int64, merged uint32) bool {
	m.t.Helper()
	m.deltas++
	if merged > 1 {
		m.merged++
	}
	switch {
	case !m.held:
		m.t.Fatalf("delta %d..%d without a book", prev, seq)
	case seq <= m.mine:
		return false
	case prev > m.mine:
		m.t.Fatalf("broken chain: delta %d..%d at %d", prev, seq, m.mine)
	}
	m.mine = seq
	return true
}

func (m *model) setOrders(side map[uint64]proto.RankedOrder, o *pb.RankedOrders) {
	m.t.Helper()
	if o != nil && !m.byOrder {
		m.t.Fatal("orders in a topic of levels")
	}
	orders, err := proto.AppendOrders(nil, o)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, order := range orders {
		if order.Qty == 0 {
			delete(side, order.ID)
		} else {
			side[order.ID] = order
		}
	}
}

func set(side map[int64]int64, l *pb.Levels) {
	price := int64(0)
	for i, d := range l.GetPrice() {
		price += d
		if qty := l.Qty[i]; qty == 0 {
			delete(side, price)
		} else {
			side[price] = qty
		}
	}
}

func (m *model) hash() uint32 {
	if m.byOrder {
		return proto.HashOrders(&proto.Orders{
			Bids: slices.Collect(maps.Values(m.bidOrders)), Asks: slices.Collect(maps.Values(m.askOrders)),
		})
	}
	return proto.HashLevels(appendSorted(nil, m.bids, -1), appendSorted(nil, m.asks, 1))
}

func (m *model) check(hash uint32) {
	m.t.Helper()
	if m.hash() != hash {
		m.t.Fatalf("at seq %d the book's hash is %08x, the frame says %08x", m.mine, m.hash(), hash)
	}
}

// follow reads until the model is at seq.
func (m *model) follow(c *client, seq int64) {
	m.t.Helper()
	for !m.held || m.mine < seq {
		m.apply(c.next())
	}
}

// resume is what the model would ask for to go on.
func (m *model) resume() *pb.Resume {
	return &pb.Resume{Epoch: m.epoch, Seq: m.mine, Hash: m.hash()}
}

// socketpair returns two connected descriptors.
func socketpair() (int, int) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		panic(err)
	}
	return pair[0], pair[1]
}
