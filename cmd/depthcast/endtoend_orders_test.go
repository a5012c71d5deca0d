package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// Whoever reads the orders of an ITCH feed, at any depth and interval, has the
// plainest book's orders in the order of their queues, and the same book by level.
func TestEndToEndOrdersOfAFeedAreThoseOfTheNaiveBook(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	f := newOrderFlow(l, 1)
	for range 50 {
		f.trade(20)
	}
	server := l.serve(nil)
	server.caughtUpTo(l)
	every := client.Item{Policy: pb.Policy_POLICY_DROP}
	with := func(change func(*client.Item)) client.Item {
		item := every
		change(&item)
		return item
	}
	readers := []*orderReader{
		f.read(server, server.dial(proto.CodecProto), with(func(i *client.Item) { i.Channel, i.Depth = proto.ChannelOrders, 5 })),
		f.read(server, server.dial(proto.CodecJSON), with(func(i *client.Item) { i.Channel = proto.ChannelOrders })),
		f.read(server, server.dial(proto.CodecJSON), with(func(i *client.Item) { i.Channel, i.Depth = proto.ChannelOrders, 1 })),
		f.read(server, server.dial(proto.CodecProto), with(func(i *client.Item) { i.Depth, i.Counts = 5, true })),
		f.read(server, server.dial(proto.CodecProto), client.Item{Channel: proto.ChannelOrders, Depth: 10, Interval: 10 * time.Millisecond}),
	}
	var last int64
	for i := range 300 {
		last = f.trade(1 + i%4)
	}
	for i, w := range readers {
		w.at(server, last)
		w.mu.Lock()
		if w.lost+w.cut > 0 || w.sets != 1 || i < 4 && (w.merged > 0 || w.deltas < 20) || i < 3 && w.ahead < 50 {
			t.Errorf("reader %d: %d lost, %d cut, %d snapshots, %d deltas, %d merged, %d places compared", i, w.lost, w.cut, w.sets, w.deltas, w.merged, w.ahead)
		}
		w.mu.Unlock()
	}
}

// A reader of orders that falls behind gets net deltas or a snapshot, and has the
// orders of its seq after each.
func TestEndToEndSlowReaderOfOrdersIsNeverWrong(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	f := newOrderFlow(l, 2)
	f.trade(500)
	server := l.serve(func(_ *readFlags, s *serverFlags) {
		s.SendBuffer, s.RingEntries, s.StallTimeout, s.Shards = 4096, 16, patience, 1
	})
	server.caughtUpTo(l)
	w := f.read(server, server.dial(proto.CodecJSON), client.Item{Channel: proto.ChannelOrders})
	w.at(server, 1)
	for stalls := 0; ; stalls++ {
		w.mu.Lock() // it stops reading at the next event
		if w.merged > 0 && w.sets > 1 {
			break
		}
		again := server.hub.Stats().Again
		var last int64
		for server.hub.Stats().Again == again {
			if l.ctx.Err() != nil {
				t.Fatal("its socket never filled")
			}
			last = f.trade(1000)
			server.caughtUpTo(l)
		}
		for range 4 + 20*(stalls%2) { // within the ring, then beyond it
			last = f.trade(1)
		}
		server.caughtUpTo(l)
		w.mu.Unlock()
		w.at(server, last)
	}
	defer w.mu.Unlock()
	if w.lost+w.cut > 0 || int64(w.deltas) >= w.seq {
		t.Errorf("%d lost, %d cut, %d deltas up to %d", w.lost, w.cut, w.deltas, w.seq)
	}
}

// A reader of orders whose connection was cut goes on without a snapshot, on the
// same server or another.
func TestEndToEndReaderOfOrdersGoesOnWhereItsConnectionWasCut(t *testing.T) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 1)
			f := newOrderFlow(l, 3)
			f.trade(300)
			first, second := l.serve(nil), l.serve(nil)
			first.caughtUpTo(l)
			second.caughtUpTo(l)
			// Somebody keeps the other server's view open, so that its ring reaches back.
			item := client.Item{Channel: proto.ChannelOrders, Depth: 10}
			beside := f.read(second, second.dial(proto.CodecProto), item)
			wire := newWire(first)
			w := f.read(first, first.dialAt("ws://"+wire.listener.Addr().String()+"/v1/stream", codec), item)
			w.at(first, 1)
			beside.at(second, 1)
			last := int64(1)
			for i, next := range []*running{first, second} {
				last = f.trade(3)
				w.at(first, last)
				wire.sever(true)
				first.until("cut", func() bool {
					w.mu.Lock()
					defer w.mu.Unlock()
					return w.cut > i
				})
				for range 5 {
					last = f.trade(2)
				}
				next.caughtUpTo(l)
				beside.at(second, last)
				wire.mend(next)
				w.at(next, last)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.resumed != 2 || w.sets != 1 || w.lost > 0 {
				t.Errorf("%d resumed, %d snapshots, %d lost", w.resumed, w.sets, w.lost)
			}
		})
	}
}

// The orders of a book by level are refused for good; a book that becomes one by
// level says so to those who watch its orders, and shows them again later.
func TestEndToEndOrdersOfABookByLevelAreNotShown(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	g := newLedger(l, 1)
	orders := proto.Event{Kind: proto.EventSnapshot, BidOrders: []proto.Order{{ID: 1, Price: 99, Qty: 1}}}
	levels := proto.Event{Kind: proto.EventSnapshot, Bids: []proto.Level{{Price: 99, Qty: 1}}}
	send := func(symbol string, e proto.Event) { g.batch(&proto.Batch{Symbol: symbol, Events: []proto.Event{e}}) }
	send(victim, levels)
	send(bystander, orders)
	server := l.serve(nil)
	server.caughtUpTo(l)
	c := server.dial(proto.CodecJSON)
	byLevel := subscribe(t, c, client.Item{Symbol: victim, Channel: proto.ChannelOrders})
	for _, err := range c.Events(l.ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if byLevel.Ended() {
			break
		}
	}
	refused, ok := byLevel.Err().(*client.RefusedError)
	if !ok || refused.Code != pb.ErrorCode_ERROR_CODE_UNKNOWN_CHANNEL {
		t.Fatalf("ended by %v", byLevel.Err())
	}

	sub := subscribe(t, c, client.Item{Symbol: bystander, Channel: proto.ChannelOrders})
	var got []string
	for event, err := range c.Events(l.ctx) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case *client.BookSet:
			got = append(got, proto.SnapshotReasonWord(e.Reason)+" "+proto.StateWord(sub.Book().State()))
			if len(got) == 1 {
				send(bystander, levels)
			}
		case *client.StatusChanged:
			got = append(got, proto.StateWord(sub.Book().State())+" "+proto.ReasonWord(sub.Book().Reason()))
			send(bystander, orders)
		}
		if len(got) == 3 {
			break
		}
	}
	if want := "[initial live recovering by_level recovered live]"; want != fmt.Sprint(got) {
		t.Errorf("told %v, want %s", got, want)
	}
}
