package ingest

import (
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
)

// restingOrder is an order of a naive book; on its own it is comparable.
type restingOrder struct {
	side       proto.Side
	price, qty int64
}

// naiveOrders is a book by order as simple as can be.
type naiveOrders map[uint64]restingOrder

func (n naiveOrders) take(id uint64, qty int64) {
	o := n[id]
	if o.qty -= qty; o.qty == 0 {
		delete(n, id)
	} else {
		n[id] = o
	}
}

// apply follows events of a codec; trades are what executions and trades print.
func (n naiveOrders) apply(t *rapid.T, b *proto.Batch) (printed int64) {
	for i := range b.Events {
		e := &b.Events[i]
		o, known := n[e.OrderID]
		switch e.Kind {
		case proto.EventAdd:
			if known {
				t.Fatalf("order %d added twice", e.OrderID)
			}
			n[e.OrderID] = restingOrder{e.Side, e.Price, e.Qty}
			continue
		case proto.EventClear:
			clear(n)
			continue
		case proto.EventTrade:
			printed += e.Trade.Qty
			continue
		case proto.EventExecute, proto.EventReduce, proto.EventReplace, proto.EventDelete:
			if !known || e.Qty > o.qty && e.Kind != proto.EventReplace {
				t.Fatalf("order %d: %+v of %+v", e.OrderID, e, o)
			}
		}
		switch e.Kind {
		case proto.EventExecute:
			n.take(e.OrderID, e.Qty)
			if !e.Unprintable {
				printed += e.Qty
			}
		case proto.EventReduce:
			n.take(e.OrderID, e.Qty)
		case proto.EventDelete:
			delete(n, e.OrderID)
		case proto.EventReplace:
			delete(n, e.OrderID)
			n[e.NewOrderID] = restingOrder{o.side, e.Price, e.Qty}
		}
	}
	return printed
}

// itchFlow makes a random but possible day of one stock, and keeps its book.
type itchFlow struct {
	text    itchText
	orders  naiveOrders
	ids     []uint64 // of orders, live or not
	next    uint64
	printed int64
}

// draw returns the next message.
func (f *itchFlow) draw(t *rapid.T) []byte {
	f.text.now += time.Duration(rapid.IntRange(0, 3).Draw(t, "ns"))
	f.next += uint64(rapid.IntRange(1, 1<<20).Draw(t, "step"))
	shares := rapid.Uint32Range(1, 1<<32-1).Draw(t, "shares")
	price := rapid.Uint32().Draw(t, "price")
	var live []uint64
	for _, id := range f.ids {
		if _, ok := f.orders[id]; ok {
			live = append(live, id)
		}
	}
	f.ids = live
	kinds := "AAAFPQH"
	if len(live) > 0 {
		kinds += "ECXDUECXDU"
	}
	kind := kinds[rapid.IntRange(0, len(kinds)-1).Draw(t, "kind")]
	switch kind {
	case 'P':
		f.printed += int64(shares)
		return f.text.message('P', uint64(0), byte('B'), shares, f.text.name(), price, f.next)
	case 'Q':
		f.printed += int64(shares)
		return f.text.message('Q', uint64(shares), f.text.name(), price, f.next, byte('O'))
	case 'H':
		f.text.now++ // two alike within a nanosecond are one that came again
		return f.text.action("HPQT"[rapid.IntRange(0, 3).Draw(t, "state")])
	case 'A', 'F':
		side, letter := proto.Bid, byte('B')
		if rapid.Bool().Draw(t, "sell") {
			side, letter = proto.Ask, 'S'
		}
		f.orders[f.next] = restingOrder{side, int64(price), int64(shares)}
		f.ids = append(f.ids, f.next)
		if kind == 'F' {
			return f.text.message('F', f.next, letter, shares, f.text.name(), price, "GSCO")
		}
		return f.text.add(f.next, letter, shares, price)
	}
	return f.change(t, kind, live[rapid.IntRange(0, len(live)-1).Draw(t, "order")], shares, price)
}

// change returns a message that changes the live order id.
func (f *itchFlow) change(t *rapid.T, kind byte, id uint64, shares, price uint32) []byte {
	o := f.orders[id]
	part := rapid.Int64Range(1, o.qty).Draw(t, "part")
	switch kind {
	case 'E':
		f.orders.take(id, part)
		f.printed += part
		return f.text.execute(id, uint32(part), f.next)
	case 'C':
		f.orders.take(id, part)
		if rapid.Bool().Draw(t, "unprinted") {
			return f.text.executeAt(id, uint32(part), f.next, 'N', price)
		}
		f.printed += part
		return f.text.executeAt(id, uint32(part), f.next, 'Y', price)
	case 'X':
		f.text.now++ // as above
		f.orders.take(id, part)
		return f.text.cancel(id, uint32(part))
	case 'D':
		delete(f.orders, id)
		return f.text.delete(id)
	}
	delete(f.orders, id)
	f.orders[f.next] = restingOrder{o.side, int64(price), int64(shares)}
	f.ids = append(f.ids, f.next)
	return f.text.replace(id, f.next, shares, price)
}

func TestITCHOrderFlowLeadsToItsBook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		codec := newITCHCodec(nil)
		got := naiveOrders{}
		var printed int64
		flow := itchFlow{text: aapl.at(3 * time.Hour), orders: naiveOrders{}}
		pending := [][]byte{flow.text.directory()}
		flow.text.now = 4 * time.Hour
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			for range rapid.IntRange(1, 4).Draw(t, "messages") {
				pending = append(pending, flow.draw(t))
			}
			b, err := codec.Decode(itchRecord(0, pending...))
			if err != nil {
				t.Fatal(err)
			}
			printed += got.apply(t, b)
			if !maps.Equal(got, flow.orders) || printed != flow.printed {
				t.Fatalf(" got %v, %d traded\nwant %v, %d traded", got, printed, flow.orders, flow.printed)
			}
			pending = pending[:0]
		}
	})
}

func FuzzITCH(f *testing.F) {
	f.Add(itchFrames(aapl.at(time.Hour).directory(), aapl.add(1, 'B', 5, 1), aapl.execute(1, 2, 3), aapl.cancel(1, 1), aapl.delete(1)), int64(0))
	f.Add(itchFrames(aapl.add(1, 'S', 5, 1), aapl.replace(1, 2, 3, 4), aapl.action('T')), int64(3600))
	f.Add(itchFrames(itchText{}.message('S', byte('C'))), int64(-3600))
	codec := newITCHCodec(nil) // one for all: its state must take anything
	f.Fuzz(func(t *testing.T, value []byte, seconds int64) {
		rec := itchRecord(0)
		rec.Value, rec.Time = value, rec.Time+seconds%(30*24*3600)*1_000_000_000
		for _, c := range []Codec{codec, newITCHCodec(nil)} {
			b, err := c.Decode(rec)
			keepsItsState(t, c, string(rec.Key))
			switch {
			case b != nil && err != nil, b != nil && len(b.Events) == 0:
				t.Fatalf("%v, %v", b, err)
			case err != nil:
				if r := recordError(err); r.Code == "" || r.Reason == proto.ReasonNone {
					t.Fatal(err)
				}
			case b != nil:
				// Re-encoding says the same: what the codec gives out is what the project's own format can say.
				var again proto.Batch
				if err := proto.DecodeEvents(proto.AppendEvents(nil, b), &again); err != nil {
					t.Fatalf("%+v: %v", b, err)
				}
			}
		}
	})
}

func BenchmarkITCHDecode(b *testing.B) {
	codec := newITCHCodec(nil)
	records := []*Record{itchRecord(0, aapl.add(1, 'B', 100, 1_500_000)), itchRecord(0, aapl.delete(1))}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if batch, err := codec.Decode(records[i%2]); batch == nil || err != nil {
			b.Fatal(batch, err)
		}
	}
}
