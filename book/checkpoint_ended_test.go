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
