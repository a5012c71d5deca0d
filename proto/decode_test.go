package proto

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	googleproto "google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto/pb"
)

func TestEveryBatchIsDecodedAsItWasAppended(t *testing.T) {
	defer moreChecks(2000)()
	var got Batch // one for all, as in use
	rapid.Check(t, func(t *rapid.T) {
		want := drawBatch(t)
		value := AppendEvents(nil, want)
		got.Seq, got.KafkaTime = 5, 6
		if err := DecodeEvents(value, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(plain(&got), plain(want)) {
			t.Fatalf(" got %+v\nwant %+v", plain(&got), plain(want))
		}
		if got.Bytes != len(value) || got.Seq != 5 || got.KafkaTime != 6 {
			t.Fatalf("bytes %d of %d, seq %d, Kafka time %d", got.Bytes, len(value), got.Seq, got.KafkaTime)
		}
	})
}

// decodesLikeGenerated holds DecodeEvents to the generated decoder on any bytes.
func decodesLikeGenerated(t interface {
	Helper()
	Fatalf(string, ...any)
}, value []byte, reused *Batch) {
	t.Helper()
	err := DecodeEvents(value, reused)
	if errors.Is(err, ErrTooLarge) {
		return // an early judgement: a later field may have replaced what is too large
	}
	var events pb.Events
	wantErr := googleproto.Unmarshal(value, &events)
	var want *Batch
	if wantErr == nil {
		want, wantErr = batchOf(&events)
	}
	switch {
	case (err == nil) != (wantErr == nil):
		t.Fatalf("%x\n got error %v\nwant error %v\n%v", value, err, wantErr, &events)
	case err == nil && !reflect.DeepEqual(plain(reused), plain(want)):
		t.Fatalf("%x\n got %+v\nwant %+v", value, plain(reused), plain(want))
	case errors.Is(err, ErrMalformed) && errors.Is(wantErr, errReference):
		t.Fatalf("%x\nrefused by %v, the reference by %v", value, err, wantErr)
	}
}

func FuzzDecodeEvents(f *testing.F) {
	for seed := range 40 {
		f.Add(AppendEvents(nil, rapid.Custom(drawBatch).Example(seed)))
	}
	for _, v := range oddRecords() {
		f.Add(v)
	}
	var reused Batch
	f.Fuzz(func(t *testing.T, value []byte) { decodesLikeGenerated(t, value, &reused) })
}

// oddRecords are records that no encoder of ours makes, but that are protobuf.
func oddRecords() map[string][]byte {
	nested := func(number protowire.Number, body ...[]byte) []byte {
		b := protowire.AppendTag(nil, number, protowire.BytesType)
		return protowire.AppendBytes(b, join(body))
	}
	number := func(number protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
	}
	fixed := func(number protowire.Number, v uint64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(nil, number, protowire.Fixed64Type), v)
	}
	symbol := nested(1, []byte("X"))
	return map[string][]byte{
		"unpacked arrays":    join([][]byte{symbol, nested(16, nested(1, nested(1, number(1, 4), number(1, 2), number(2, 7), number(2, 8))))}),
		"arrays in pieces":   join([][]byte{symbol, nested(16, nested(1, nested(1, nested(1, []byte{4}), number(2, 7))), nested(1, nested(1, nested(1, []byte{2, 2}), nested(2, []byte{8, 9}))))}),
		"kinds in a row":     join([][]byte{symbol, nested(16, nested(1, nested(1, nested(1, []byte{4}), number(2, 7))), nested(7, fixed(1, 9)))}),
		"kind, other, kind":  join([][]byte{symbol, nested(16, nested(2, fixed(1, 5)), nested(7, fixed(1, 9)), nested(2, number(2, 1), number(4, 3), fixed(1, 6)))}),
		"unknown fields":     join([][]byte{number(99, 5), symbol, nested(200, []byte("?")), nested(16, nested(50, []byte("newer"))), nested(16, nested(7, fixed(1, 9), number(40, 1)))}),
		"wrong wire type":    join([][]byte{number(1, 5), symbol, nested(8, []byte("late")), nested(16, number(7, 1))}),
		"group":              join([][]byte{symbol, {0xf3, 0x01, 0x08, 0x01, 0xf4, 0x01}}),
		"stray end of group": join([][]byte{symbol, {0xf4, 0x01}}),
		"last of many":       join([][]byte{nested(1, []byte("A B")), number(6, 200), number(7, 3), number(6, 4), symbol, nested(16, nested(2, fixed(1, 1), number(2, 9), number(2, 2), number(4, 1)))}),
		"truncated array":    join([][]byte{symbol, nested(16, nested(1, nested(1, nested(1, []byte{0x80}))))}),
		"lengths differ":     join([][]byte{symbol, nested(16, nested(1, nested(1, nested(1, []byte{2, 2}), nested(2, []byte{1}))))}),
		"field beyond kind":  join([][]byte{symbol, nested(16, nested(2, fixed(1, 1), number(2, 1), number(4, 1), number(34, 7)))}),
		"wide enums":         join([][]byte{symbol, nested(16, nested(2, fixed(1, 1), number(2, 1<<32|1), number(4, 1))), nested(16, nested(16, number(1, 256)))}),
	}
}

func join(parts [][]byte) (out []byte) {
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func TestOddButValidProtobufIsDecodedLikeTheGeneratedCode(t *testing.T) {
	var reused Batch
	for name, value := range oddRecords() {
		t.Run(name, func(t *testing.T) { decodesLikeGenerated(t, value, &reused) })
	}
}

func TestBadRecordsAreRefusedWithTheirReason(t *testing.T) {
	levels := func(qty ...int64) *pb.Levels { return &pb.Levels{Price: make([]int64, len(qty)), Qty: qty} }
	event := func(kind *pb.Event) []*pb.Event { return []*pb.Event{kind} }
	price := func(e int32) *int32 { return &e }
	for name, c := range map[string]struct {
		events *pb.Events
		class  error
		says   string
	}{
		"long symbol":    {&pb.Events{Symbol: strings.Repeat("x", 65)}, ErrTooLarge, "symbol of 65 bytes"},
		"space":          {&pb.Events{Symbol: "A B"}, ErrBadValue, "symbol"},
		"control":        {&pb.Events{Symbol: "A\x7f"}, ErrBadValue, "symbol"},
		"no symbol":      {&pb.Events{Events: event(&pb.Event{})}, ErrBadValue, "no symbol"},
		"long feed":      {&pb.Events{Symbol: "X", Feed: strings.Repeat("x", 65)}, ErrTooLarge, "feed"},
		"exponent":       {&pb.Events{Symbol: "X", PriceExponent: price(-19), QtyExponent: price(0)}, ErrBadValue, "price_exponent -19"},
		"one exponent":   {&pb.Events{Symbol: "X", PriceExponent: price(-2)}, ErrBadValue, "without the other"},
		"source seq":     {&pb.Events{Symbol: "X", FirstSourceSeq: 5, LastSourceSeq: 4}, ErrBadValue, "source sequence 5 to 4"},
		"negative qty":   {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_SetLevels{SetLevels: &pb.SetLevels{Asks: levels(1, -1)}}})}, ErrBadValue, "event 0: value out of range: asks: quantity -1"},
		"array lengths":  {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_SetLevels{SetLevels: &pb.SetLevels{Bids: &pb.Levels{Price: []int64{1, 2}, Qty: []int64{1}}}}})}, ErrBadValue, "2 prices, 1 quantities"},
		"side":           {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_Add{Add: &pb.OrderAdd{OrderId: 1, Qty: 1}}})}, ErrBadValue, "no side"},
		"order 0":        {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_Reduce{Reduce: &pb.OrderReduce{Qty: 1}}})}, ErrBadValue, "order 0"},
		"clear":          {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_Clear{Clear: &pb.Clear{}}})}, ErrBadValue, "clear of kind 0"},
		"phase":          {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_Phase{Phase: &pb.PhaseChange{Phase: 9}}})}, ErrBadValue, "phase 9"},
		"levels, orders": {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_Snapshot{Snapshot: &pb.BookSnapshot{ByOrder: true, Bids: levels(1)}}})}, ErrBadValue, "by order with levels"},
		"dead order":     {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_Snapshot{Snapshot: &pb.BookSnapshot{AskOrders: &pb.Orders{OrderId: []int64{4}, Price: []int64{1}, Qty: []int64{0}}}}})}, ErrBadValue, "ask_orders: order 4 of quantity 0"},
		"new symbol":     {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_InstrumentEnd{InstrumentEnd: &pb.InstrumentEnd{NewSymbol: "A B"}}})}, ErrBadValue, "new symbol"},
		"many events":    {&pb.Events{Symbol: "X", Events: make([]*pb.Event, MaxEvents+1)}, ErrTooLarge, "65536 events"},
		"many levels":    {&pb.Events{Symbol: "X", Events: event(&pb.Event{Kind: &pb.Event_SetLevels{SetLevels: &pb.SetLevels{Bids: levels(make([]int64, MaxRecordLevels+1)...)}}})}, ErrTooLarge, "levels and orders"},
	} {
		t.Run(name, func(t *testing.T) {
			for i, e := range c.events.Events {
				if e == nil {
					c.events.Events[i] = &pb.Event{}
				}
			}
			var b Batch
			err := DecodeEvents(generated(t, c.events), &b)
			if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v; want %v saying %q", err, c.class, c.says)
			}
		})
	}
}

func TestDecodingDoesNotAllocateOnceTheBatchHasGrown(t *testing.T) {
	d := tenLevels()
	value := AppendEvents(nil, &Batch{Symbol: "SIM:BTC-USD", Feed: "sim", Session: "s", Events: []Event{
		{Kind: EventSetLevels, Bids: d.Bids, Asks: d.Asks}, {Kind: EventAdd, OrderID: 1, Side: Bid, Qty: 1}, {Kind: EventTrade, Trade: Trade{ID: 1, Qty: 1}}}})
	var b Batch
	if n := testing.AllocsPerRun(100, func() {
		if err := DecodeEvents(value, &b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestAfterAHugeRecordABatchKeepsLittle(t *testing.T) {
	deep := AppendEvents(nil, &Batch{Symbol: "X", Events: []Event{{Kind: EventSetLevels, Bids: make([]Level, keptLarge*2)}}})
	long := AppendEvents(nil, &Batch{Symbol: "X", Events: make([]Event, keptEvents*2)})
	small := AppendEvents(nil, &Batch{Symbol: "X", Events: make([]Event, 1)})
	var b Batch
	for _, value := range [][]byte{deep, small, long, small} {
		if err := DecodeEvents(value, &b); err != nil {
			t.Fatal(err)
		}
		if c := cap(b.Events[0].Bids); &value[0] == &small[0] && c > keptLarge {
			t.Errorf("%d levels kept", c)
		}
	}
	if c := cap(b.Events); c > keptEvents {
		t.Errorf("%d events kept", c)
	}
}

// allocatedBy returns how many bytes f allocates.
func allocatedBy(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestEventsOfThreeBytesCostNoMoreThanTheirRoom(t *testing.T) {
	event := func(kind ...byte) []byte { return append([]byte{0x82, 0x01, byte(len(kind))}, kind...) }
	for name, c := range map[string]struct {
		event []byte
		most  uint64
	}{
		"empty":      {event(), 18 << 20},
		"heartbeat":  {event(0x8a, 0x01, 0), 18 << 20},
		"instrument": {event(13<<3&0x7f|2, 0), 28 << 20},
		"statistics": {event(0x7a, 0), 28 << 20},
		"levels":     {event(0x0a, 8, 0x0a, 6, 0x0a, 1, 2, 0x12, 1, 1), 24 << 20},
	} {
		value := append([]byte{0x0a, 1, 'X'}, bytes.Repeat(c.event, MaxEvents)...)
		var b Batch
		var err error
		if got := allocatedBy(func() { err = DecodeEvents(value, &b) }); err != nil || len(b.Events) != MaxEvents || got > c.most {
			t.Errorf("%s: %d events of %d bytes take %d bytes, %v; at most %d", name, len(b.Events), len(value), got, err, c.most)
		}
		value = append(value, c.event...)
		if got := allocatedBy(func() { err = DecodeEvents(value, &Batch{}) }); !errors.Is(err, ErrTooLarge) || got > 4096 {
			t.Errorf("%s: one event too many takes %d bytes, %v", name, got, err)
		}
	}
}

func TestABatchKeepsFourteenMebibytesWhateverItHasSeen(t *testing.T) {
	var b Batch
	for _, levels := range []int{keptLarge, keptSmall} {
		full := Event{Kind: EventSetLevels, Bids: make([]Level, levels), Asks: make([]Level, levels)}
		orders := Event{Kind: EventSnapshot, ByOrder: true, BidOrders: make([]Order, levels), AskOrders: make([]Order, levels)}
		for i := range levels {
			orders.BidOrders[i] = Order{ID: 1, Qty: 1}
			orders.AskOrders[i] = Order{ID: 1, Qty: 1}
		}
		for _, e := range []Event{full, orders} {
			events := slices.Repeat([]Event{e}, min(keptEvents, MaxRecordLevels/(2*levels)))
			if err := DecodeEvents(AppendEvents(nil, &Batch{Symbol: "X", Events: events}), &b); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := DecodeEvents(AppendEvents(nil, &Batch{Symbol: "X", Events: make([]Event, keptEvents)}), &b); err != nil {
		t.Fatal(err)
	}
	kept := uintptr(cap(b.Events)) * unsafe.Sizeof(Event{})
	for _, e := range b.Events[:cap(b.Events)] {
		kept += uintptr(cap(e.Bids)+cap(e.Asks))*unsafe.Sizeof(Level{}) + uintptr(cap(e.BidOrders)+cap(e.AskOrders))*unsafe.Sizeof(Order{})
	}
	if kept > 14<<20 {
		t.Errorf("%d bytes are kept", kept)
	}
	if kept < 10<<20 {
		t.Errorf("%d bytes are kept, which is less than this test fills", kept)
	}
}

func BenchmarkDecodeEvents(b *testing.B) {
	d := tenLevels()
	value := AppendEvents(nil, &Batch{Symbol: "SIM:BTC-USD", Feed: "sim", Events: []Event{{Kind: EventSetLevels, Bids: d.Bids, Asks: d.Asks}}})
	b.Run("hand", func(b *testing.B) {
		var batch Batch
		b.ReportAllocs()
		for b.Loop() {
			if err := DecodeEvents(value, &batch); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := googleproto.Unmarshal(value, &pb.Events{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Whatever comes as a binary request, it is refused by an error of the protocol in a
// few words, or means the same when it is written and read again; and it has no more
// items than there may be.
func FuzzDecodeRequest(f *testing.F) {
	for seed := range 30 {
		f.Add(generated(f, rapid.Custom(drawRequest).Example(seed)))
	}
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7))
	f.Add(protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("of a newer client")))
	f.Add(protowire.AppendBytes(protowire.AppendTag(nil, 3, protowire.BytesType), protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), make([]byte, 2*MaxRequestItems))))
	f.Fuzz(func(t *testing.T, msg []byte) {
		req, err := DecodeRequest(msg)
		var bad *RequestError
		switch {
		case err != nil && (!errors.As(err, &bad) || bad.Code == 0 || len(err.Error()) > 512):
			t.Fatalf("refused by %T %v", err, err)
		case err != nil:
			return
		}
		items := len(req.GetSubscribe().GetItems()) + len(req.GetModify().GetItems()) + len(req.GetUnsubscribe().GetTopics()) + len(req.GetResync().GetTopics())
		if items > MaxRequestItems {
			t.Fatalf("%d items", items)
		}
		text, err := googleproto.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeRequest(text); err != nil || !googleproto.Equal(again, req) {
			t.Fatalf("%v, %v\n%v", again, err, req)
		}
	})
}
