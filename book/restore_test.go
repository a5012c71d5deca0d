package book

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
)

// stateOfEvents is the state that records of one event each lead to, in an engine
// of epoch 7.
func stateOfEvents(t fataler, events ...proto.Event) *proto.SymbolState {
	e := engineOfSeven(t)
	for i := range events {
		if _, err := e.Apply(&proto.Batch{Symbol: "SIM:A", Feed: "f", Seq: int64(i), KafkaTime: 5, Events: events[i : i+1]}); err != nil {
			t.Fatalf("%v", err)
		}
	}
	s := &proto.SymbolState{Symbol: "SIM:A", Offset: int64(len(events)) - 1}
	e.Save("SIM:A", s)
	return throughBytes(t, s)
}

func engineOfSeven(t fataler) *Engine {
	e, err := New(Config{MaxLevels: 4, MaxOrders: 4, MaxFeeds: 1, HeldRecords: 2})
	if err != nil {
		t.Fatalf("%v", err)
	}
	e.Begin(7, true)
	e.CatchingUp(false)
	return e
}

func throughBytes(t fataler, s *proto.SymbolState) *proto.SymbolState {
	got := &proto.SymbolState{}
	if err := proto.DecodeSymbolState(proto.AppendSymbolState(nil, s), got); err != nil {
		t.Fatalf("%v", err)
	}
	return got
}

func byLevel(t fataler) *proto.SymbolState {
	return stateOfEvents(t,
		proto.Event{Kind: proto.EventTrade, Trade: proto.Trade{Price: 100, Qty: 1}},
		proto.Event{Kind: proto.EventTrade, Trade: proto.Trade{Price: 101, Qty: 1}},
		proto.Event{Kind: proto.EventSnapshot, MaxLevels: 3,
			Bids: []proto.Level{{Price: 99, Qty: 5}, {Price: 98, Qty: 6}}, Asks: []proto.Level{{Price: 101, Qty: 7}, {Price: 102, Qty: 8}}},
	)
}

func byOrders(t fataler) *proto.SymbolState {
	return stateOfEvents(t, proto.Event{Kind: proto.EventSnapshot, ByOrder: true,
		BidOrders: []proto.Order{{ID: 1, Price: 99, Qty: 5}, {ID: 2, Price: 99, Qty: 6}}, AskOrders: []proto.Order{{ID: 3, Price: 101, Qty: 7}}})
}

func TestAStateThatNoBookCanHaveIsRefusedAndLeavesNothing(t *testing.T) {
	type state = proto.SymbolState
	for name, c := range map[string]struct {
		of     func(fataler) *state
		change func(s *state, b *proto.BookState)
	}{
		"no symbol":             {byLevel, func(s *state, _ *proto.BookState) { s.Symbol = "A B" }},
		"levels out of order":   {byLevel, func(_ *state, b *proto.BookState) { slices.Reverse(b.Bids) }},
		"a level twice":         {byLevel, func(_ *state, b *proto.BookState) { b.Asks[1] = b.Asks[0] }},
		"a level of nothing":    {byLevel, func(_ *state, b *proto.BookState) { b.Asks[1].Qty = 0 }},
		"another level":         {byLevel, func(_ *state, b *proto.BookState) { b.Asks[1].Qty++ }},
		"a level too few":       {byLevel, func(_ *state, b *proto.BookState) { b.Bids = b.Bids[:1] }},
		"too many levels":       {byLevel, func(_ *state, b *proto.BookState) { b.Bids = make([]proto.Level, 5) }},
		"beyond what is known":  {byLevel, func(_ *state, b *proto.BookState) { b.Limit = 1 }},
		"another hash":          {byLevel, func(_ *state, b *proto.BookState) { b.Hash++ }},
		"levels by order":       {byLevel, func(_ *state, b *proto.BookState) { b.Kind = proto.BookByOrder }},
		"levels undecided":      {byLevel, func(_ *state, b *proto.BookState) { b.Kind = proto.BookUndecided }},
		"not whole":             {byLevel, func(_ *state, b *proto.BookState) { b.Whole = false }},
		"whole and yet to be":   {byLevel, func(_ *state, b *proto.BookState) { b.Fresh = true }},
		"another epoch":         {byLevel, func(_ *state, b *proto.BookState) { b.Epoch = 8 }},
		"an origin's epoch":     {byLevel, func(_ *state, b *proto.BookState) { b.Chain.Epoch = 9 }},
		"seen later than saved": {byLevel, func(s *state, _ *proto.BookState) { s.Offset = 1 }},
		"a seq before all":      {byLevel, func(_ *state, b *proto.BookState) { b.Seq = -2 }},
		"crossed":               {byLevel, func(_ *state, b *proto.BookState) { b.Bids[0].Price = 150; b.Hash = proto.HashLevels(b.Bids, b.Asks) }},
		"ended but alive":       {byLevel, func(_ *state, b *proto.BookState) { b.EndReason = proto.ReasonDelisted }},
		"exponents":             {byLevel, func(_ *state, b *proto.BookState) { b.Exponents.Price = 10 }},
		"instrument": {byLevel, func(_ *state, b *proto.BookState) {
			b.Instrument = &proto.Instrument{Exponents: proto.Exponents{Qty: 10}}
		}},
		"a trade too many":   {byLevel, func(_ *state, b *proto.BookState) { b.TradeOrdinal++ }},
		"a trade left out":   {byLevel, func(_ *state, b *proto.BookState) { b.Trades[0].Ordinal-- }},
		"held, of another":   {byLevel, holding(proto.Batch{Symbol: "SIM:B", More: true, Seq: 1})},
		"held, the last":     {byLevel, holding(proto.Batch{Symbol: "SIM:A", Seq: 1})},
		"held, unset":        {byLevel, holding(proto.Batch{Symbol: "SIM:A", More: true, Seq: 1, Events: []proto.Event{{}}})},
		"held, not seen yet": {byLevel, holding(proto.Batch{Symbol: "SIM:A", More: true, Seq: 9})},
		"held, out of order": {byLevel, holding(proto.Batch{Symbol: "SIM:A", More: true, Seq: 1}, proto.Batch{Symbol: "SIM:A", More: true, Seq: 1})},
		"held, too many": {byLevel, holding(proto.Batch{Symbol: "SIM:A", More: true, Seq: 0}, proto.Batch{Symbol: "SIM:A", More: true, Seq: 1},
			proto.Batch{Symbol: "SIM:A", More: true, Seq: 2})},
		"orders out of order": {byOrders, func(_ *state, b *proto.BookState) { slices.Reverse(b.BidOrders) }},
		"an order twice":      {byOrders, func(_ *state, b *proto.BookState) { b.AskOrders[0].ID = 1 }},
		"order 0":             {byOrders, func(_ *state, b *proto.BookState) { b.AskOrders[0].ID = 0 }},
		"an order of nothing": {byOrders, func(_ *state, b *proto.BookState) { b.AskOrders[0].Qty = 0 }},
		"ranks that are one":  {byOrders, func(_ *state, b *proto.BookState) { b.BidOrders[1].RankIndex = b.BidOrders[0].RankIndex }},
		"a rank to come":      {byOrders, func(_ *state, b *proto.BookState) { b.AskOrders[0].RankSeq = 1 }},
		"a level too great":   {byOrders, func(_ *state, b *proto.BookState) { b.BidOrders[0].Qty = math.MaxInt64 }},
		"another order":       {byOrders, func(_ *state, b *proto.BookState) { b.AskOrders[0].Qty++ }},
		"too many orders":     {byOrders, func(_ *state, b *proto.BookState) { b.BidOrders = make([]proto.RankedOrder, 4) }},
		"orders by level":     {byOrders, func(_ *state, b *proto.BookState) { b.Kind = proto.BookByLevel }},
		"a kind of its own":   {byOrders, func(_ *state, b *proto.BookState) { b.Kind = 3 }},
		"one feed too many":   {byOrders, func(_ *state, b *proto.BookState) { b.Feed = "one more" }},
	} {
		t.Run(name, func(t *testing.T) {
			e := engineOfSeven(t)
			if err := e.RestoreShared(&proto.SharedState{Feeds: []proto.FeedState{{Name: "f", Time: 5}}}); err != nil {
				t.Fatal(err)
			}
			s := c.of(t)
			c.change(s, &s.Book)
			if err := e.Restore(s); !errors.Is(err, proto.ErrBadValue) {
				t.Fatalf("%v", err)
			}
			if len(e.books)+len(e.list)+len(e.ended)+e.heldBytes > 0 {
				t.Fatalf("something is left: %+v", e.Stats())
			}
			if err := e.Restore(c.of(t)); err != nil {
				t.Fatalf("the state as it was: %v", err)
			}
			if err := e.Restore(c.of(t)); !errors.Is(err, proto.ErrBadValue) {
				t.Fatalf("a second time: %v", err)
			}
		})
	}
}

func holding(records ...proto.Batch) func(*proto.SymbolState, *proto.BookState) {
	return func(_ *proto.SymbolState, b *proto.BookState) { b.Held = records }
}

// TestWhatIsRestoredIsWhatTheStateSays changes any one number of a state: the book
// is refused, or is saved as just that.
func TestWhatIsRestoredIsWhatTheStateSays(t *testing.T) {
	refused, taken := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom([]func(fataler) *proto.SymbolState{byLevel, byOrders}).Draw(t, "of")(t)
		changeOne(t, reflect.ValueOf(&s.Book).Elem())
		s = throughBytes(t, s)
		want := proto.AppendSymbolState(nil, s)
		e := engineOfSeven(t)
		if e.Restore(s) != nil {
			refused++
			return
		}
		taken++
		got := proto.SymbolState{Symbol: s.Symbol, Offset: s.Offset}
		e.Save("SIM:A", &got)
		if again := proto.AppendSymbolState(nil, &got); string(again) != string(want) {
			t.Fatalf("given %+v\nsaved %+v", s.Book, got.Book)
		}
	})
	if refused == 0 || taken == 0 {
		t.Errorf("%d refused, %d taken", refused, taken)
	}
}

// changeOne changes a number or flag somewhere in v, if it finds one.
func changeOne(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		changeOne(t, v.Field(rapid.IntRange(0, v.NumField()-1).Draw(t, "field")))
	case reflect.Slice:
		if v.Len() > 0 && v.Type().Elem() != reflect.TypeFor[proto.Batch]() {
			changeOne(t, v.Index(rapid.IntRange(0, v.Len()-1).Draw(t, "index")))
		}
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int64:
		v.SetInt(v.Int() + rapid.SampledFrom([]int64{-1, 1, 2}).Draw(t, "by"))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	}
}

func TestARefusalThatIsInTheRestoredStateIsPassedOver(t *testing.T) {
	for _, c := range []struct {
		symbol string
		seq    int64
		reason proto.Reason
		live   bool
	}{
		{"SIM:A", 2, proto.ReasonBadRecord, true},
		{"SIM:A", 3, proto.ReasonBadRecord, false},
		{"", 2, proto.ReasonOffsetGap, true},
		{"", 3, proto.ReasonOffsetGap, false},
		{"", 1, proto.ReasonTruncated, false}, // offsets may come a second time
		{"", 1, proto.ReasonRecreated, false},
		{"", math.MaxInt64, proto.ReasonOffsetGap, false},
	} {
		e := engineOfSeven(t)
		if err := e.Restore(byLevel(t)); err != nil {
			t.Fatal(err)
		}
		e.Refuse(c.symbol, c.seq, c.reason)
		if live := e.Symbols()[0].State == proto.Live; live != c.live {
			t.Errorf("%+v: live %v", c, live)
		}
	}
}

func TestOfEndedSymbolsTheNewestAreRememberedWhateverIsRestored(t *testing.T) {
	e, err := New(Config{KeptEnded: 2})
	if err != nil {
		t.Fatal(err)
	}
	e.Begin(7, true)
	for seq, symbol := range []string{"A", "B", "C", "D"} {
		must(t, e, &proto.Batch{Symbol: symbol, Seq: int64(seq), Events: []proto.Event{{Kind: proto.EventInstrumentEnd, EndReason: proto.ReasonExpired}}})
	}
	var s proto.SymbolState
	for symbol, kept := range map[string]bool{"A": false, "B": false, "C": true, "D": true} {
		if e.Save(symbol, &s) != kept || s.HasBook != kept || kept && s.Book.EndReason != proto.ReasonExpired {
			t.Errorf("%s: %+v", symbol, s)
		}
	}
	if e.Stats().Ended != 2 {
		t.Errorf("%+v", e.Stats())
	}
	// What is forgotten is a symbol like any other; what is not, must be listed anew.
	must(t, e, &proto.Batch{Symbol: "A", Seq: 4, Events: []proto.Event{{Kind: proto.EventHeartbeat}}})
	if _, err := e.Apply(&proto.Batch{Symbol: "C", Seq: 5, Events: []proto.Event{{Kind: proto.EventPhase}}}); err == nil {
		t.Error("a record of an instrument that has ended was taken")
	}
}

func TestTooManyTaintedSymbolsMakeNoneBeginWhole(t *testing.T) {
	e := engineOfSeven(t)
	for i := range maxTainted + 1 {
		e.Refuse(fmt.Sprintf("T%d", i), int64(i), proto.ReasonBadRecord)
	}
	var s proto.SharedState
	if e.SaveShared(&s); s.Whole || len(s.Tainted) != maxTainted {
		t.Errorf("whole %v, %d tainted", s.Whole, len(s.Tainted))
	}
	if err := engineOfSeven(t).RestoreShared(&proto.SharedState{Feeds: make([]proto.FeedState, 2)}); !errors.Is(err, proto.ErrBadValue) {
		t.Errorf("more feeds than there is room for: %v", err)
	}
}
