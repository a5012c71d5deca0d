package book

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// BenchmarkMemory: what a book takes of the heap, by its levels a side and its
// orders, dense or thin; as the difference that many such books make.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		name            string
		levels, orders  int
		apart           int64 // ticks between levels, on average
		books, perLevel int
	}{
		{"empty", 0, 0, 1, 2000, 0},
		{"levels=10/dense", 10, 0, 1, 2000, 20},
		{"levels=10/thin", 10, 0, 50, 2000, 20},
		{"levels=328/dense", 328, 0, 1, 500, 656},
		{"levels=1000/dense", 1000, 0, 1, 200, 2000},
		{"levels=1000/thin", 1000, 0, 15, 200, 2000},
		{"levels=10000/thin", 10_000, 0, 15, 20, 20_000},
		{"orders=20000", 328, 20_000, 1, 20, 656},
	} {
		b.Run(c.name, func(b *testing.B) {
			random := rand.New(rand.NewPCG(1, 2))
			fill := proto.Event{Kind: proto.EventSnapshot, ByOrder: c.orders > 0}
			price := int64(0)
			var bids, asks []int64
			for range c.levels {
				price += 1 + random.Int64N(2*c.apart-1)
				bids, asks = append(bids, 1_000_000-price), append(asks, 1_000_000+price)
			}
			for i := range max(c.levels, c.orders) {
				bid, ask := bids[i%len(bids)], asks[i%len(asks)]
				if c.orders == 0 {
					fill.Bids, fill.Asks = append(fill.Bids, proto.Level{Price: bid, Qty: 1}), append(fill.Asks, proto.Level{Price: ask, Qty: 1})
					continue
				}
				if i%2 == 0 {
					fill.BidOrders = append(fill.BidOrders, proto.Order{ID: uint64(i + 1), Price: bid, Qty: 1})
				} else {
					fill.AskOrders = append(fill.AskOrders, proto.Order{ID: uint64(i + 1), Price: ask, Qty: 1})
				}
			}
			for b.Loop() {
				e := liveEngine(b)
				must(b, e, &proto.Batch{Symbol: "SIM:FIRST", Events: []proto.Event{fill}}) // what all share
				before := heap()
				for i := range c.books {
					must(b, e, &proto.Batch{Symbol: name(i), Events: []proto.Event{fill}})
				}
				each := float64(heap()-before) / float64(c.books)
				runtime.KeepAlive(e)
				b.ReportMetric(each, "B/book")
				if c.orders > 0 {
					b.ReportMetric(each/float64(c.orders), "B/order")
				} else if c.levels > 0 {
					b.ReportMetric(each/float64(c.perLevel), "B/level")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// heap is how many bytes of it are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
