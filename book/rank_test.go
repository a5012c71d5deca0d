package book

import (
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// ranks returns the rank of every order of a side.
func ranks(b *book, s *side) map[uint64]rank {
	all := map[uint64]rank{}
	w := s.walk(math.MaxInt64)
	for l := w.next(); l != nil; l = w.next() {
		for slot := l.head; slot != 0; slot = b.orders.slab[slot].next {
			o := &b.orders.slab[slot]
			all[o.id] = rank{o.rankSeq, o.rankIndex}
		}
	}
	return all
}

func add(id uint64, side proto.Side, price int64) proto.Event {
	return proto.Event{Kind: proto.EventAdd, OrderID: id, Side: side, Price: price, Qty: 10}
}

// A rank is the seq of the batch, which for an aggregator's records is the
// origin's, and for an event in several records that of the last; and a count
// that runs over all of the batch.
func TestARankIsTheSeqOfTheBatchAndACountWithinIt(t *testing.T) {
	e := liveEngine(t)
	b := func() *book { return e.books["SIM:A"] }
	must(t, e, &proto.Batch{Symbol: "SIM:A", Seq: 3, OriginEpoch: 5, OriginSeq: 70, OriginPrevSeq: -1, Events: []proto.Event{
		{Kind: proto.EventClear, SessionStart: true}, add(1, proto.Bid, 10), add(2, proto.Ask, 20), add(3, proto.Bid, 10),
	}})
	want := map[uint64]rank{1: {70, 0}, 3: {70, 2}}
	if got := ranks(b(), &b().bids); !maps.Equal(got, want) {
		t.Fatalf("bids rank %v, want %v", got, want)
	}
	held := &proto.Batch{Symbol: "SIM:A", Seq: 4, OriginEpoch: 5, OriginSeq: 80, OriginPrevSeq: 70, More: true, Events: []proto.Event{add(4, proto.Bid, 10)}}
	must(t, e, held)
	must(t, e, &proto.Batch{Symbol: "SIM:A", Seq: 5, OriginEpoch: 5, OriginSeq: 90, OriginPrevSeq: 80, Events: []proto.Event{
		{Kind: proto.EventReduce, OrderID: 1, Qty: 4},
		{Kind: proto.EventModify, OrderID: 3, Price: 10, Qty: 99, KeepPriority: true},
		{Kind: proto.EventReplace, OrderID: 2, NewOrderID: 5, Price: 21, Qty: 1},
		{Kind: proto.EventModify, OrderID: 4, Price: 9, Qty: 10},
	}})
	want = map[uint64]rank{1: {70, 0}, 3: {70, 2}, 4: {90, 2}}
	if got := ranks(b(), &b().bids); !maps.Equal(got, want) {
		t.Fatalf("bids rank %v, want %v", got, want)
	}
	if got := ranks(b(), &b().asks); got[5] != (rank{90, 1}) {
		t.Fatalf("asks rank %v", got)
	}
}

// A snapshot ranks its orders best first, bids before asks, in whatever order and
// in however many parts they come.
func TestASnapshotRanksBidsBeforeAsksBestFirst(t *testing.T) {
	order := func(id uint64, price int64) proto.Order { return proto.Order{ID: id, Price: price, Qty: 1} }
	bids := []proto.Order{order(3, 9), order(1, 10), order(2, 10), order(4, 9)}
	asks := []proto.Order{order(6, 30), order(5, 20), order(7, 30)}
	e := liveEngine(t)
	must(t, e, &proto.Batch{Symbol: "SIM:A", Seq: 1, Events: []proto.Event{
		{Kind: proto.EventSnapshot, ByOrder: true, BidOrders: bids[:3], AskOrders: asks[:1]},
		{Kind: proto.EventSnapshot, ByOrder: true, Continued: true, BidOrders: bids[3:], AskOrders: asks[1:]},
		add(8, proto.Bid, 10),
	}})
	b := e.books["SIM:A"]
	for id := range uint64(8) {
		side := &b.bids
		if slices.Contains([]uint64{5, 6, 7}, id+1) {
			side = &b.asks
		}
		if got := ranks(b, side)[id+1]; got != (rank{1, uint32(id)}) {
			t.Errorf("order %d ranks %v, want %d", id+1, got, id)
		}
	}
}
