package book

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// The streams of the benchmarks are drawn before the clock runs.
const drawn = 1 << 16

// silent is a publisher that nobody listens to.
type silent struct{ deltas int }

func (p *silent) Delta(*proto.Delta)             { p.deltas++ }
func (p *silent) Trades(*proto.Trades)           {}
func (p *silent) Ticker(*proto.Ticker)           {}
func (p *silent) Instruments(*proto.Instruments) {}
func (p *silent) Status(*proto.Status)           {}
func (p *silent) Reset(proto.SnapshotReason)     {}
func (p *silent) Mark(proto.Mark)                {}

func liveEngine(tb testing.TB) *Engine {
	e, err := New(Config{})
	if err != nil {
		tb.Fatal(err)
	}
	e.Begin(7, true)
	e.CatchingUp(false)
	return e
}

// change is one level set, kept small so that reading it costs no cache misses.
type change struct {
	level proto.Level
	side  proto.Side
}

// put makes e the event of c, as a codec does: in place, reusing its slices.
func (c *change) put(e *proto.Event) {
	e.Kind = proto.EventSetLevels
	e.Bids, e.Asks = e.Bids[:0], e.Asks[:0]
	if c.side == proto.Bid {
		e.Bids = append(e.Bids, c.level)
	} else {
		e.Asks = append(e.Asks, c.level)
	}
}

// levelChanges fills books with levels each side and returns changes as a market
// makes them: mostly of quantity, some levels gone and back; near the best, or
// anywhere where uniform is set.
func levelChanges(tb testing.TB, e *Engine, books, levels int, uniform bool) []change {
	random := rand.New(rand.NewPCG(1, 2))
	fill := proto.Event{Kind: proto.EventSnapshot}
	for i := range int64(levels) {
		fill.Bids = append(fill.Bids, proto.Level{Price: 100_000 - 1 - i, Qty: 1 + random.Int64N(1000)})
		fill.Asks = append(fill.Asks, proto.Level{Price: 100_000 + 1 + i, Qty: 1 + random.Int64N(1000)})
	}
	for i := range books {
		must(tb, e, &proto.Batch{Symbol: name(i), Events: []proto.Event{fill}})
	}
	changes := make([]change, drawn)
	for i := range changes {
		away := min(int64(random.ExpFloat64()*10), int64(levels)-1)
		if uniform {
			away = random.Int64N(int64(levels))
		}
		c := change{level: proto.Level{Price: 100_000 - 1 - away, Qty: 1 + random.Int64N(1000)}, side: proto.Bid}
		if random.IntN(8) == 0 {
			c.level.Qty = 0
		}
		if random.IntN(2) == 0 {
			c.side, c.level.Price = proto.Ask, 200_000-c.level.Price
		}
		changes[i] = c
	}
	return changes
}

func name(i int) string { return fmt.Sprintf("SIM:%05d", i) }

func must(tb testing.TB, e *Engine, r *proto.Batch) {
	if _, err := e.Apply(r); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkSetLevel: one level of one side of 328 set, in place, without the
// record around it, near the best or anywhere; in the ladder, and in a sorted list
// alone.
func BenchmarkSetLevel(b *testing.B) {
	for _, where := range []string{"near", "anywhere"} {
		for _, books := range []int{1, 1000, 5000} {
			for _, kept := range []string{"ladder", "sorted"} {
				b.Run(fmt.Sprintf("%s/books=%d/%s", where, books, kept), func(b *testing.B) {
					benchmarkSetLevel(b, books, where == "anywhere", kept == "sorted")
				})
			}
		}
	}
}

func benchmarkSetLevel(b *testing.B, books int, uniform, sorted bool) {
	e := liveEngine(b)
	changes := levelChanges(b, e, books, 328, uniform)
	for _, one := range e.list {
		if sorted {
			one.bids.levels.flatten()
			one.asks.levels.flatten()
		}
	}
	turns := make([]uint16, drawn)
	for i := range turns {
		turns[i] = uint16(i * 7919 % books)
	}
	round := func(i int) {
		c := &changes[i%drawn]
		if err := e.list[turns[i%drawn]].side(c.side).set(c.level.Price, c.level.Qty, 0); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 2 * drawn {
		round(i)
	}
	m := measure(b)
	for i := range b.N {
		round(i)
	}
	m.stop()
}

// BenchmarkRecordSetLevel: a whole record with one level, by number of books and
// with or without a view of ten levels that gets its delta and hash.
func BenchmarkRecordSetLevel(b *testing.B) {
	for _, books := range []int{1, 1000, 5000} {
		for _, view := range []string{"none", "10", "full"} {
			b.Run(fmt.Sprintf("books=%d/view=%s", books, view), func(b *testing.B) {
				benchmarkRecords(b, books, view)
			})
		}
	}
}

func benchmarkRecords(b *testing.B, books int, view string) {
	e := liveEngine(b)
	changes := levelChanges(b, e, books, 328, false)
	heard := &silent{}
	names := make([]string, books)
	for i := range names {
		names[i] = name(i)
		key := proto.TopicKey{Symbol: names[i], Channel: proto.ChannelBook, View: proto.View{Depth: map[string]uint32{"10": 10}[view]}}
		if view == "none" {
			continue
		}
		if _, err := e.Open(key, heard); err != nil {
			b.Fatal(err)
		}
	}
	r := &proto.Batch{Feed: "f", Events: make([]proto.Event, 1)}
	round := func(i int) {
		r.Symbol = names[i*7919%books]
		r.Seq = int64(i) + 1
		changes[i%drawn].put(&r.Events[0])
		must(b, e, r)
	}
	for i := range 2 * drawn {
		round(i) // until the buffers have their size
	}
	m := measure(b)
	for i := range b.N {
		round(2*drawn + i)
	}
	m.stop()
	b.ReportMetric(float64(heard.deltas)/float64(b.N+2*drawn), "deltas/op")
}

// BenchmarkRecordOrders: a whole record with one order event on a book of about
// 20,000 live orders on 328 levels a side.
func BenchmarkRecordOrders(b *testing.B) {
	for _, view := range []struct {
		name string
		key  proto.TopicKey
	}{
		{name: "none"},
		{"book-10", proto.TopicKey{Channel: proto.ChannelBook, View: proto.View{Depth: 10}}},
		{"orders-10", proto.TopicKey{Channel: proto.ChannelOrders, View: proto.View{Depth: 10}}},
		{"orders-full", proto.TopicKey{Channel: proto.ChannelOrders}},
	} {
		b.Run("view="+view.name, func(b *testing.B) { benchmarkOrders(b, view.key) })
	}
}

// benchmarkOrders runs with a view of that key, or none where it has no channel.
func benchmarkOrders(b *testing.B, key proto.TopicKey) {
	var views []proto.TopicKey
	if key.Channel != 0 {
		views = append(views, key)
	}
	round := orderRecords(b, &silent{}, views...)
	m := measure(b)
	for i := range b.N {
		round(i)
	}
	m.stop()
}

// orderRecords returns what applies the ith record of a stream of order events,
// once the buffers have their size. heard hears the views of the book.
func orderRecords(b testing.TB, heard Publisher, views ...proto.TopicKey) (round func(i int)) {
	const orders = 20_000
	e := liveEngine(b)
	random := rand.New(rand.NewPCG(1, 2))
	price := func(side proto.Side) int64 {
		away := 1 + int64(random.ExpFloat64()*10)%328
		if side == proto.Bid {
			away = -away
		}
		return 100_000 + away
	}
	fill := proto.Event{Kind: proto.EventSnapshot, ByOrder: true}
	type placed struct {
		id   uint64
		side proto.Side
	}
	var live []placed
	for id := uint64(1); id <= orders; id++ {
		side := proto.Side(1 + id%2)
		live = append(live, placed{id, side})
		o := proto.Order{ID: id, Price: price(side), Qty: 1000}
		if side == proto.Bid {
			fill.BidOrders = append(fill.BidOrders, o)
		} else {
			fill.AskOrders = append(fill.AskOrders, o)
		}
	}
	must(b, e, &proto.Batch{Symbol: "SIM:A", Events: []proto.Event{fill}})
	for _, key := range views {
		key.Symbol = "SIM:A"
		if _, err := e.Open(key, heard); err != nil {
			b.Fatal(err)
		}
	}
	next := uint64(orders)
	r := &proto.Batch{Symbol: "SIM:A", Feed: "f", Events: make([]proto.Event, 1)}
	round = func(i int) {
		r.Seq++
		e1 := &r.Events[0]
		at := random.IntN(len(live))
		o := &live[at]
		next++
		switch i % 5 {
		case 0, 1:
			*e1 = proto.Event{Kind: proto.EventReplace, OrderID: o.id, NewOrderID: next, Price: price(o.side), Qty: 1000}
			o.id = next
		case 2:
			*e1 = proto.Event{Kind: proto.EventModify, OrderID: o.id, Price: price(o.side), Qty: 1000 + int64(i%1000)}
		case 3:
			*e1 = proto.Event{Kind: proto.EventDelete, OrderID: o.id}
			live[at] = live[len(live)-1]
			live = live[:len(live)-1]
		case 4:
			side := proto.Side(1 + i%2)
			*e1 = proto.Event{Kind: proto.EventAdd, OrderID: next, Side: side, Price: price(side), Qty: 1000}
			live = append(live, placed{next, side})
		}
		must(b, e, r)
	}
	for i := range 2 * drawn {
		round(i)
	}
	return round
}

func BenchmarkSnapshotOfView(b *testing.B) {
	e := liveEngine(b)
	levelChanges(b, e, 1, 328, false)
	v, err := e.Open(proto.TopicKey{Symbol: name(0), Channel: proto.ChannelBook}, &silent{})
	if err != nil {
		b.Fatal(err)
	}
	var s proto.Snapshot
	b.ReportAllocs()
	for b.Loop() {
		v.Snapshot(&s)
	}
}
