package proto

import (
	"bytes"
	"fmt"
	"testing"

	googleproto "google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func generated(t interface{ Fatal(...any) }, m googleproto.Message) []byte {
	out, err := googleproto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// appended makes every hot frame and an Events record by hand and holds it to
// the generated code.
func appended(t *rapid.T) {
	form := drawForm(t)
	prefix := []byte("before")
	check := func(name string, got []byte, m googleproto.Message) {
		want := append(bytes.Clone(prefix), generated(t, m)...)
		if !bytes.Equal(got, want) {
			t.Fatalf("%s\n got %x\nwant %x\n%v", name, got, want, m)
		}
	}
	switch rapid.IntRange(0, 9).Draw(t, "frame") {
	case 0:
		d := drawDelta(t, form.Counts)
		check("delta", AppendDelta(bytes.Clone(prefix), form, d), pbDelta(form, d))
	case 1:
		s, reason := drawSnapshot(t, form), SnapshotReason(rapid.Uint8Range(0, 6).Draw(t, "why"))
		check("snapshot", AppendSnapshot(bytes.Clone(prefix), form, reason, s), pbSnapshot(form, reason, s))
	case 2:
		trades := drawTrades(t)
		check("trades", AppendTrades(bytes.Clone(prefix), form, trades), pbTrades(form, trades))
	case 3:
		s := drawStatus(t)
		check("status", AppendStatus(bytes.Clone(prefix), form, s), pbStatus(form, s))
	case 4:
		k := drawKeepalive(t)
		check("keepalive", AppendKeepalive(bytes.Clone(prefix), form, k), pbKeepalive(form, k))
	case 5:
		b := drawBatch(t)
		check("events", AppendEvents(bytes.Clone(prefix), b), pbEvents(b))
	case 8:
		ticker := drawTicker(t)
		check("ticker", AppendTicker(bytes.Clone(prefix), form, ticker), pbTicker(form, ticker))
	case 9:
		in := drawInstruments(t)
		check("instruments", AppendInstruments(bytes.Clone(prefix), form, in), pbInstruments(form, in))
	case 6:
		d := drawOrdersDelta(t)
		check("orders", AppendDelta(bytes.Clone(prefix), form, d), pbOrdersDelta(form, d))
	case 7:
		s := drawOrdersSnapshot(t, form)
		check("snapshot of orders", AppendSnapshot(bytes.Clone(prefix), form, SnapshotInitial, s), pbSnapshot(form, SnapshotInitial, s))
	}
}

func TestAppendedBytesEqualTheGeneratedCodes(t *testing.T) {
	defer moreChecks(2000)()
	rapid.Check(t, appended)
}

func FuzzAppendedBytesEqualTheGeneratedCodes(f *testing.F) { f.Fuzz(rapid.MakeFuzz(appended)) }

// tenLevels is the delta of the benchmarks: five levels a side.
func tenLevels() *Delta {
	d := &Delta{PrevSeq: 120_034, Seq: 120_035, Hash: 0x9c6f3f40, Times: Times{
		Venue: 1_723_123_456_789_000_000, Kafka: 1_723_123_456_790_000_000, Published: 1_723_123_456_791_234_567}}
	for i := range int64(5) {
		d.Bids = append(d.Bids, Level{Price: 6_160_201 - 3*i, Qty: 167_177_000 + i, Count: 3})
		d.Asks = append(d.Asks, Level{Price: 6_160_202 + 3*i, Qty: 266_795_000 + i, Count: 4})
	}
	return d
}

var benchForm = TopicForm{Topic: 7, Exponents: Exponents{Price: -2, Qty: -8}}

func TestAppendingToABufferWithRoomDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 4096)
	d := tenLevels()
	orders := &Delta{Orders: &Orders{Bids: make([]RankedOrder, 5), Asks: make([]RankedOrder, 5)}}
	s := &Snapshot{Symbol: "SIM:BTC-USD", Bids: d.Bids, Asks: d.Asks, Orders: *orders.Orders, Seq: -1, Exponents: benchForm.Exponents}
	trades := &Trades{Trades: make([]Trade, 3), Times: d.Times}
	status, keepalive := &Status{State: Live}, &Keepalive{Seq: 5}
	ticker := &Ticker{Last: Optional{Value: 5, Set: true}, Times: d.Times}
	instruments := &Instruments{Listings: []*Listing{{Symbol: "SIM:BTC-USD", Instrument: &Instrument{Tick: 1}}}}
	batch := &Batch{Symbol: "SIM:BTC-USD", Events: []Event{{Kind: EventSetLevels, Bids: d.Bids}, {Kind: EventAdd, OrderID: 1}}}
	for _, codec := range []Codec{CodecProto, CodecJSON} {
		if n := testing.AllocsPerRun(100, func() {
			codec.AppendDelta(buf, benchForm, d)
			codec.AppendDelta(buf, benchForm, orders)
			codec.AppendSnapshot(buf, benchForm, SnapshotInitial, s)
			codec.AppendTrades(buf, benchForm, trades)
			codec.AppendStatus(buf, benchForm, status)
			codec.AppendKeepalive(buf, benchForm, keepalive)
			codec.AppendTicker(buf, benchForm, ticker)
			codec.AppendInstruments(buf, benchForm, instruments)
			AppendEvents(buf, batch)
		}); n != 0 {
			t.Errorf("%v: %v allocations", codec, n)
		}
	}
}

func BenchmarkDelta10Levels(b *testing.B) {
	d := tenLevels()
	buf := make([]byte, 0, 4096)
	run := func(name string, encode func() []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = len(encode())
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
	run("hand", func() []byte { return AppendDelta(buf, benchForm, d) })
	reused := pbDelta(benchForm, d)
	run("generated-reused", func() []byte {
		out, _ := googleproto.MarshalOptions{}.MarshalAppend(buf, reused)
		return out
	})
	run("generated-built", func() []byte {
		out, _ := googleproto.MarshalOptions{}.MarshalAppend(buf, pbDelta(benchForm, d))
		return out
	})
	run("json", func() []byte { return AppendJSONDelta(buf, benchForm, d) })
}

func BenchmarkSnapshot(b *testing.B) {
	for _, depth := range []int{10, 100, 1000} {
		s := &Snapshot{Symbol: "SIM:BTC-USD", Exponents: benchForm.Exponents, State: Live}
		for i := range int64(depth) {
			s.Bids = append(s.Bids, Level{Price: 6_160_201 - 3*i, Qty: 167_177_000 + i})
			s.Asks = append(s.Asks, Level{Price: 6_160_202 + 3*i, Qty: 167_177_000 + i})
		}
		buf := make([]byte, 0, 1<<20)
		for _, codec := range []Codec{CodecProto, CodecJSON} {
			b.Run(fmt.Sprintf("%v/depth=%d", codec, depth), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					codec.AppendSnapshot(buf, benchForm, SnapshotInitial, s)
				}
			})
		}
	}
}
