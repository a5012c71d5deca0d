package main

import (
	"fmt"
	"testing"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// bySeven are the groups that the ledger of newGroupedLedger knows, under the
// default exponents.
const bySeven = "0.00000007"

func newGroupedLedger(l *lab) *ledger {
	g := newLedger(l, 1)
	g.unit = 7
	return g
}

// A book by groups is the whole book summed, after every frame, below zero too;
// and its client goes on where its connection was cut, with a net delta.
func TestEndToEndGroupedBookIsTheWholeBookSummed(t *testing.T) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, 1)
			g := newGroupedLedger(l)
			g.whole(victim, 5)
			server := l.serve(nil)
			server.caughtUpTo(l)
			wire := newWire(server)
			whole := g.follow(server, codec, victim)
			w := g.witnessOf(server, server.dialAt("ws://"+wire.listener.Addr().String()+"/v1/stream", codec),
				client.Item{Group: bySeven, Policy: pb.Policy_POLICY_DROP}, victim)
			w.live(victim, 0)
			for i := range int64(60) {
				g.change(victim, proto.Bid, 91-i, 1+i)
			}
			w.live(victim, g.changes(victim, 100))
			wire.sever(true)
			w.until("cut", victim, func(n *notes) bool { return n.cut > 0 })
			last := g.changes(victim, 20)
			server.caughtUpTo(l)
			wire.mend(server)
			w.until("back", victim, func(n *notes) bool {
				return n.connected == 2 && n.answered() == 2 && n.stand() == "live" && n.seq == last
			})
			last = g.change(victim, proto.Bid, -20, 1)
			w.live(victim, last)
			whole.live(victim, last)

			w.mu.Lock()
			defer w.mu.Unlock()
			if n := w.notes[victim]; n.resumed != 1 || len(n.sets) != 1 || n.lost != 0 || len(n.deltas) < 160 {
				t.Errorf("%+v", *n)
			}
		})
	}
}

// A reader of groups that falls behind gets net deltas or a snapshot, and its book
// is right after each; one beside it gets every frame.
func TestEndToEndSlowReaderOfGroupsIsNeverWrong(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	g := newGroupedLedger(l)
	g.whole(victim, 5)
	server := l.serve(func(_ *readFlags, s *serverFlags) {
		s.SendBuffer, s.RingEntries, s.StallTimeout, s.Shards = 4096, 16, patience, 1
	})
	server.caughtUpTo(l)
	fast := g.witnessOf(server, server.dial(proto.CodecProto), client.Item{Group: bySeven, Policy: pb.Policy_POLICY_DROP}, victim)
	slow := g.witnessOf(server, server.dial(proto.CodecJSON), client.Item{Group: bySeven}, victim)
	fast.live(victim, 0)
	slow.live(victim, 0)
	for stalls := range 2 {
		slow.mu.Lock() // it stops reading at the next event
		var last int64
		for round, stuck := 0, 0; stuck < 5; round++ {
			if l.ctx.Err() != nil {
				t.Fatal("its socket never filled")
			}
			before := server.hub.Stats().Frames
			last = g.sweep(victim, 1000*stalls+round, 2000)
			fast.live(victim, last)
			if stuck++; server.hub.Stats().Frames-before > 1 { // the slow one was sent it too
				stuck = 0
			}
		}
		for range 20 * stalls { // beyond the ring
			last = g.change(victim, proto.Bid, 99, 1)
			fast.live(victim, last)
		}
		slow.mu.Unlock()
		slow.live(victim, last)
		fast.live(victim, last)
	}
	slow.mu.Lock()
	defer slow.mu.Unlock()
	fast.mu.Lock()
	defer fast.mu.Unlock()
	s, f := slow.notes[victim], fast.notes[victim]
	if s.lost+s.cut+f.lost+f.cut != 0 || len(f.sets) != 1 || len(s.deltas) >= len(f.deltas) {
		t.Errorf("slow %+v\nfast %+v", *s, *f)
	}
}

// Other exponents give a group another mantissa, under the same topic; where its
// prices cannot be grouped so any more, the subscription ends and says why.
func TestEndToEndGroupOutlivesExponentsThatCanCarryIt(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(bystander, 7) // only to begin the log
	define := func(exponent int8) {
		x := proto.Exponents{Price: exponent, Qty: 0}
		g.batch(&proto.Batch{Symbol: victim, HasExponents: true, Exponents: x, Events: []proto.Event{
			{Kind: proto.EventInstrument, Instrument: &proto.Instrument{Exponents: x}},
			{Kind: proto.EventSnapshot, Bids: []proto.Level{{Price: 109, Qty: 1}, {Price: 101, Qty: 2}}},
		}})
	}
	define(-2)
	server := l.serve(nil)
	server.caughtUpTo(l)
	c := server.dial(proto.CodecJSON)
	sub := subscribe(t, c, client.Item{Symbol: victim, Group: "0.05"})
	var got []string
	for event, err := range c.Events(l.ctx) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case *client.Granted:
			got = append(got, "granted "+e.Ack.Group)
		case *client.BookSet:
			text := proto.SnapshotReasonWord(e.Reason)
			for level := range sub.Book().Levels(proto.Bid) {
				text += fmt.Sprintf(" %s:%d", decimal(level.Price, sub.Book().Exponents().Price), level.Qty)
			}
			got = append(got, text)
			define(sub.Book().Exponents().Price + map[int8]int8{-2: -1, -3: 2}[sub.Book().Exponents().Price])
		case *client.StatusChanged:
			if e.Status.Final {
				got = append(got, "final "+proto.ReasonWord(e.Status.Reason))
			}
		}
		if sub.Ended() {
			break
		}
	}
	want := []string{"granted 0.05", "initial 1.05:1 1.00:2", "instrument 0.100:3", "final bad_view"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}
