package book

import (
	"testing"

	"github.com/depthcast/depthcast/proto"
)

func tradeOf(id uint64) proto.Event {
	return proto.Event{Kind: proto.EventTrade, Trade: proto.Trade{ID: id, Price: 100, Qty: 1}}
}

func TestAnEndedInstrumentIsSavedInFewBytesAndListedAgainGoesOn(t *testing.T) {
	events := []proto.Event{{Kind: proto.EventClear, SessionStart: true}}
	for id := range uint64(100) {
		events = append(events, tradeOf(id+1))
	}
	s := stateOfEvents(t, append(events, proto.Event{Kind: proto.EventInstrumentEnd, EndReason: proto.ReasonDelisted})...)
	if n := len(proto.AppendSymbolState(nil, s)); n > 250 {
		t.Errorf("its state has %d bytes", n)
	}
	e := engineOfSeven(t)
	if err := e.Restore(s); err != nil {
		t.Fatal(err)
	}
	again := &proto.Batch{Symbol: "SIM:A", Feed: "f", Seq: 200, KafkaTime: 5, Events: []proto.Event{
		{Kind: proto.EventInstrument, Instrument: &proto.Instrument{Exponents: proto.Exponents{Price: -2}}}, tradeOf(101)}}
	if _, err := e.Apply(again); err != nil {
		t.Fatal(err)
	}
	if got := e.books["SIM:A"].trades.ordinal; got != 101 {
		t.Errorf("listed again, its first trade has the ordinal %d, want 101", got)
	}
}

// What is forgotten of a symbol is how far its log was read: a record of it may go on
// with orders that its book does not know.
func TestASymbolThatWasForgottenDoesNotBeginWhole(t *testing.T) {
	e, err := New(Config{KeptEnded: 1})
	if err != nil {
		t.Fatal(err)
	}
	e.Begin(7, true)
	seq := int64(-1)
	apply := func(e *Engine, symbol string, ev proto.Event) {
		t.Helper()
		seq++
		if _, err := e.Apply(&proto.Batch{Symbol: symbol, Feed: "f", Seq: seq, KafkaTime: 5, Events: []proto.Event{ev}}); err != nil {
			t.Fatal(err)
		}
	}
	level := proto.Event{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: 10, Qty: 5}}}
	end := proto.Event{Kind: proto.EventInstrumentEnd, EndReason: proto.ReasonExpired}
	for _, symbol := range []string{"SIM:A", "SIM:B", "SIM:C"} {
		apply(e, symbol, level)
		apply(e, symbol, end)
	}
	var shared proto.SharedState
	e.SaveShared(&shared)
	restarted := engineOfSeven(t)
	if err := restarted.RestoreShared(&shared); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*Engine{e, restarted} {
		apply(e, "SIM:A", level)
		apply(e, "SIM:D", level)
		if e.books["SIM:A"].whole || !e.books["SIM:D"].whole {
			t.Errorf("SIM:A, forgotten, is whole: %v; SIM:D, new, is whole: %v", e.books["SIM:A"].whole, e.books["SIM:D"].whole)
		}
	}
	e.Begin(8, true)
	apply(e, "SIM:B", level)
	if !e.books["SIM:B"].whole {
		t.Error("in another history a symbol that is new there does not begin whole")
	}
}

func TestSymbolsThatHaveEndedDoNotCountAsLiving(t *testing.T) {
	e := liveEngine(t)
	seq := int64(0)
	send := func(symbol string, event proto.Event, living int) {
		t.Helper()
		seq++
		must(t, e, &proto.Batch{Symbol: symbol, Seq: seq, Events: []proto.Event{event}})
		if e.Living() != living {
			t.Fatalf("%d symbols live, want %d", e.Living(), living)
		}
	}
	beat := proto.Event{Kind: proto.EventHeartbeat}
	end := proto.Event{Kind: proto.EventInstrumentEnd, EndReason: proto.ReasonExpired}
	send("SIM:A", beat, 1)
	send("SIM:B", beat, 2)
	send("SIM:C", end, 2)
	send("SIM:B", end, 1)
	send("SIM:D", beat, 2)
}
