package fanout

import (
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

	snapshots, deltas, merged, statuses, keepalives int
	reasons                                         []pb.SnapshotReason
}

func newModel(t *testing.T, ack *pb.Ack) *model {
	return &model{t: t, topic: ack.Topic, epoch: ack.Epoch, state: ack.State, phase: ack.Phase}
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
		m.check(s.Hash)
	case *pb.Frame_Delta:
		d := body.Delta
		m.deltas++
		if d.Merged > 1 {
			m.merged++
		}
		switch {
		case !m.held:
			m.t.Fatalf("delta %d..%d without a book", d.PrevSeq, d.Seq)
		case d.Seq <= m.mine:
			return
		case d.PrevSeq > m.mine:
			m.t.Fatalf("broken chain: delta %d..%d at %d", d.PrevSeq, d.Seq, m.mine)
		}
		set(m.bids, d.Bids)
		set(m.asks, d.Asks)
		m.mine = d.Seq
		m.check(d.Hash)
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
