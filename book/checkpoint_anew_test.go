package book

import (
	"slices"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// A symbol whose state is damaged is read anew from the log's start, by an engine
// that was told of the floor first.
func TestASymbolMadeAnewComesToWhatTheWholeLogSays(t *testing.T) {
	order := proto.Event{Kind: proto.EventAdd, Side: proto.Bid, OrderID: 1, Price: 10, Qty: 5}
	log := func(e *Engine, symbols ...string) {
		for _, symbol := range symbols {
			for seq, events := range [][]proto.Event{
				{order}, {{Kind: proto.EventExecute, OrderID: 1, Qty: 2}}, nil, {{Kind: proto.EventSnapshot, ByOrder: true}, tradeOf(7)},
			} {
				if events == nil { // a record of no known symbol
					e.Refuse("", int64(seq), proto.ReasonBadRecord)
				} else if _, err := e.Apply(&proto.Batch{Symbol: symbol, Feed: "f", Seq: int64(seq), KafkaTime: 5, Events: events}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	a := engineOfSeven(t)
	a.taint("SIM:B")
	log(a, "SIM:A")
	var shared proto.SharedState
	a.SaveShared(&shared)
	other := byLevel(t)
	other.Symbol = "SIM:C"
	b := engineOfSeven(t)
	if err := b.RestoreShared(&shared); err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(other); err != nil {
		t.Fatal(err)
	}
	shared.Whole, shared.Tainted = true, []string{"SIM:C", "SIM:D"}
	if err := b.RestoreShared(&shared); err != nil {
		t.Fatal(err)
	}
	if b.SaveShared(&shared); !slices.Equal(shared.Tainted, []string{"SIM:D"}) {
		t.Errorf("%q will not begin whole, want SIM:D only: SIM:C has a book, SIM:B is made anew", shared.Tainted)
	}
	log(b, "SIM:A")
	if x, y := a.books["SIM:A"].trades.ordinal, b.books["SIM:A"].trades.ordinal; x != y {
		t.Errorf("%d trades by the whole log, %d made anew", x, y)
	}
}
