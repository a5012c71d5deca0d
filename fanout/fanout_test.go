package fanout

import (
	"math/rand/v2"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

const btc = "SIM:BTC-USD"

var book = &pb.SubscribeItem{Symbol: btc}

func seeded(n uint64) *rand.Rand { return rand.New(rand.NewPCG(n, 1)) }

func TestJoinerSeesSnapshotThenEveryDelta(t *testing.T) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.UnsentBytes = 1 << 20 }, btc) // all that it has yet to read
			random := seeded(1)
			r.book(btc).publish(random, 5)
			c := r.dial(codec)
			m := newModel(t, c.subscribe(book))
			m.apply(c.next())
			if m.snapshots != 1 {
				t.Fatal("the first frame after the ack is no snapshot")
			}
			const n = 500
			for range n {
				r.book(btc).publish(random, 5)
			}
			seq, _ := r.book(btc).where()
			m.follow(c, seq)
			if m.snapshots != 1 || m.deltas != n || m.merged != 0 {
				t.Errorf("%d snapshots, %d deltas, %d merged; want 1, %d, 0", m.snapshots, m.deltas, m.merged, n)
			}
		})
	}
}
