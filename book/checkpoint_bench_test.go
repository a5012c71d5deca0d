package book

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// fullEngine has one book of so many orders, or levels, on both sides together,
// come and gone in any order.
func fullEngine(tb testing.TB, byOrder bool, size int) *Engine {
	e, err := New(Config{})
	if err != nil {
		tb.Fatal(err)
	}
	e.Begin(7, true)
	e.CatchingUp(false)
	random := rand.New(rand.NewPCG(1, 2))
	seq := int64(0)
	apply := func(ev proto.Event) {
		if _, err := e.Apply(&proto.Batch{Symbol: "SIM:A", Feed: "f", Seq: seq, Events: []proto.Event{ev}}); err != nil {
			tb.Fatal(err)
		}
		seq++
	}
	apply(proto.Event{Kind: proto.EventPhase, Phase: proto.Continuous})
	for i := range size {
		which := proto.Side(1 + i%2)
		price := int64(1_000_000) + (int64(which)*2-3)*(1+random.Int64N(25_000))
		switch {
		case byOrder:
			apply(proto.Event{Kind: proto.EventAdd, OrderID: 1 + uint64(i), Side: which, Price: price, Qty: 1 + random.Int64N(100)})
		case which == proto.Bid:
			apply(proto.Event{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: 1_000_000 - int64(i), Qty: 5, Count: 1}}})
		default:
			apply(proto.Event{Kind: proto.EventSetLevels, Asks: []proto.Level{{Price: 1_000_000 + int64(i), Qty: 5, Count: 1}}})
		}
	}
	return e
}

// BenchmarkSave is how long a partition's lock is held for one symbol, with memory
// that is used again; beside it, copying 1,048,576 orders from one place to another.
func BenchmarkSave(b *testing.B) {
	for _, c := range []struct {
		what    string
		byOrder bool
		size    int
	}{{"levels", false, 20}, {"levels", false, 2_000}, {"levels", false, 100_000}, {"orders", true, 1_000}, {"orders", true, 20_000}, {"orders", true, 1 << 20}} {
		b.Run(fmt.Sprintf("%s=%d", c.what, c.size), func(b *testing.B) {
			e := fullEngine(b, c.byOrder, c.size)
			var s proto.SymbolState
			e.Save("SIM:A", &s)
			b.ReportAllocs()
			for b.Loop() {
				e.Save("SIM:A", &s)
			}
			bytes := 24*(len(s.Book.Bids)+len(s.Book.Asks)) + 40*(len(s.Book.BidOrders)+len(s.Book.AskOrders))
			b.SetBytes(int64(bytes))
		})
	}
	b.Run("copying as much", func(b *testing.B) {
		from, to := make([]proto.RankedOrder, 1<<20), make([]proto.RankedOrder, 1<<20)
		for b.Loop() {
			copy(to, from)
		}
		b.SetBytes(40 << 20)
	})
}

// BenchmarkCheckpoint is what comes beside Save, off the hot path: putting a state
// into bytes, reading it, and making a book of it.
func BenchmarkCheckpoint(b *testing.B) {
	for _, size := range []int{20_000, 1 << 20} {
		e := fullEngine(b, true, size)
		var s, got proto.SymbolState
		e.Save("SIM:A", &s)
		s.Symbol, s.Offset = "SIM:A", 1<<40
		var data []byte
		b.Run(fmt.Sprintf("append/orders=%d", size), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				e.Save("SIM:A", &s)
				s.Symbol, s.Offset = "SIM:A", 1<<40
				b.StartTimer()
				data = proto.AppendSymbolState(data[:0], &s)
			}
			b.SetBytes(int64(len(data)))
		})
		b.Run(fmt.Sprintf("decode/orders=%d", size), func(b *testing.B) {
			for b.Loop() {
				if err := proto.DecodeSymbolState(data, &got); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(len(data)))
		})
		b.Run(fmt.Sprintf("restore/orders=%d", size), func(b *testing.B) {
			for b.Loop() {
				fresh, _ := New(Config{})
				fresh.Begin(7, true)
				if err := fresh.Restore(&got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
