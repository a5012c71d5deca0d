package book

import (
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// BenchmarkTicker is a record that moves the best bid, or prints a trade, with and
// without a view of the ticker.
func BenchmarkTicker(b *testing.B) {
	for _, record := range []string{"level", "trade"} {
		for _, viewed := range []bool{false, true} {
			name := record + "/unseen"
			if viewed {
				name = record + "/viewed"
			}
			b.Run(name, func(b *testing.B) {
				e := liveEngine(b)
				r := &proto.Batch{Symbol: "SIM:A", Events: []proto.Event{{Kind: proto.EventClear, SessionStart: true},
					{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: 100, Qty: 5}}, Asks: []proto.Level{{Price: 101, Qty: 5}}}}}
				apply := func() {
					if _, err := e.Apply(r); err != nil {
						b.Fatal(err)
					}
					r.Seq++
				}
				apply()
				if viewed {
					if _, err := e.Open(proto.TopicKey{Symbol: "SIM:A", Channel: proto.ChannelTicker}, &silent{}); err != nil {
						b.Fatal(err)
					}
				}
				r.Events = []proto.Event{{Kind: proto.EventTrade, Trade: proto.Trade{Price: 100, Qty: 1}}}
				if record == "level" {
					r.Events = []proto.Event{{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: 100, Qty: 5}}}}
				}
				b.ReportAllocs()
				for b.Loop() {
					if record == "level" {
						r.Events[0].Bids[0].Qty ^= 3
					}
					apply()
				}
			})
		}
	}
}
