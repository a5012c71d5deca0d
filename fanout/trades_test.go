package fanout

import (
	"testing"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func TestTradesBeginWithTheLastAndCountWhatIsMissed(t *testing.T) {
	r := newRig(t, small, btc)
	b := r.book(btc)
	for range 10 {
		b.trade(1)
	}
	c := r.dial(proto.CodecProto)
	c.subscribe(&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TRADES, Last: 3})
	f := c.next().GetTrades()
	if f == nil || !f.History || len(f.Trades) != 3 || f.Trades[2].Ordinal != 10 {
		t.Fatalf("begins with %v", f)
	}
	r.hold(func() {
		for range 300 {
			b.trade(1)
		}
	})
	last, missed := uint64(10), uint64(0)
	for last < 310 {
		f := c.next().GetTrades()
		if f.History {
			t.Fatal("history in the middle")
		}
		if f.Missed > 0 {
			if f.MissedFirst != last+1 || f.MissedLast-f.MissedFirst+1 != f.Missed {
				t.Fatalf("missed %d: %d to %d, after %d", f.Missed, f.MissedFirst, f.MissedLast, last)
			}
			last, missed = f.MissedLast, missed+f.Missed
		}
		for _, trade := range f.Trades {
			if trade.Ordinal != last+1 {
				t.Fatalf("trade %d after %d", trade.Ordinal, last)
			}
			last = trade.Ordinal
		}
	}
	if missed == 0 || r.hub.Stats().Laps == 0 {
		t.Error("nothing was missed, so this shows nothing")
	}
}

func TestTradesAfterResetBeginWithItsExponents(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.trade(3)
	c := r.dial(proto.CodecProto)
	c.subscribe(&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TRADES, Last: 10})
	if f := c.next().GetTrades(); f == nil || len(f.Trades) != 3 {
		t.Fatalf("begins with %v", f)
	}
	b.restart(proto.SnapshotInstrument, proto.Exponents{Price: -4, Qty: -1}, false)
	if s := c.next().GetSnapshot(); s == nil || s.PriceExponent != -4 || s.QtyExponent != -1 {
		t.Fatalf("after the reset: %v", s)
	}
	b.trade(1)
	if f := c.next().GetTrades(); f == nil || f.History || f.Missed > 0 || f.Trades[0].Ordinal != 4 {
		t.Fatalf("after the reset: %v", f)
	}
	// A reset in the same turn as trades before it repeats none of them.
	r.hold(func() {
		b.trade(1)
		b.restart(proto.SnapshotInstrument, proto.Exponents{Price: -4, Qty: -1}, false)
		b.trade(1)
	})
	if f := c.next().GetTrades(); f == nil || f.Trades[0].Ordinal != 5 {
		t.Fatalf("before the second reset: %v", f)
	}
	if s := c.next().GetSnapshot(); s == nil {
		t.Fatalf("at the second reset: %v", s)
	}
	if f := c.next().GetTrades(); f == nil || len(f.Trades) != 1 || f.Trades[0].Ordinal != 6 {
		t.Fatalf("after the second reset: %v", f)
	}
	b.restart(proto.SnapshotReset, proto.Exponents{Price: -4, Qty: -1}, true)
	if s := c.next().GetSnapshot(); s == nil || s.Reason != pb.SnapshotReason_SNAPSHOT_REASON_RESET {
		t.Fatalf("after the restart: %v", s)
	}
	if f := c.next().GetTrades(); f == nil || !f.History || len(f.Trades) != 0 {
		t.Fatalf("after the restart: %v", f)
	}
	b.trade(1)
	if f := c.next().GetTrades(); f == nil || f.Missed > 0 || f.Trades[0].Ordinal != 1 {
		t.Fatalf("after the restart: %v", f)
	}
}

func TestTradesResumeByOrdinal(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	keep := r.dial(proto.CodecProto)
	keep.subscribe(&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TRADES})
	for range 20 {
		b.trade(1)
	}
	c := r.dial(proto.CodecProto)
	ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TRADES, Last: 5,
		Resume: &pb.Resume{Epoch: 7, Seq: 11, Ordinal: 12}})
	if !ack.Resumed {
		t.Fatalf("acknowledged with %v", ack)
	}
	for want := uint64(13); want <= 20; want++ {
		if f := c.next().GetTrades(); f == nil || f.History || f.Missed > 0 || f.Trades[0].Ordinal != want {
			t.Fatalf("got %v, want trade %d", f, want)
		}
	}
}
