package client

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
)

// levelsOf are the levels of a side, best first.
func levelsOf(b *Book, side proto.Side) []proto.Level { return slices.Collect(b.Levels(side)) }

// wholeBook returns a live book at seq 10 of epoch 7 with one level a side.
func wholeBook(t *testing.T) *Book {
	t.Helper()
	b := NewBook()
	s := &proto.Snapshot{
		Epoch: 7, Seq: 10, State: proto.Live, Phase: proto.Continuous, Exponents: proto.Exponents{Price: -2, Qty: -3},
		Bids: []proto.Level{{Price: 100, Qty: 5}}, Asks: []proto.Level{{Price: 101, Qty: 6}},
	}
	s.Hash = proto.HashLevels(s.Bids, s.Asks)
	if got := b.ApplySnapshot(s); got != Applied {
		t.Fatalf("snapshot: %v", got)
	}
	return b
}

// moreBid is a delta that sets the bid at 100, with the hash that a right book has
// after it.
func moreBid(prev, seq, qty int64) *proto.Delta {
	d := &proto.Delta{PrevSeq: prev, Seq: seq, Bids: []proto.Level{{Price: 100, Qty: qty}}}
	d.Hash = proto.HashLevels(d.Bids, []proto.Level{{Price: 101, Qty: 6}})
	return d
}

func TestDeltaIsAppliedByTheRuleOfPrevSeqAndSeq(t *testing.T) {
	tests := []struct {
		name      string
		prev, seq int64
		want      Outcome
		seqAfter  int64
	}{
		{"follows exactly", 10, 11, Applied, 11},
		{"begins before mine", 3, 12, Applied, 12},
		{"begins before any record", -1, 11, Applied, 11},
		{"ends at mine", 5, 10, Ignored, 10},
		{"ends before mine", 5, 9, Ignored, 10},
		{"begins after mine", 11, 12, Gap, 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := wholeBook(t)
			if got := b.ApplyDelta(moreBid(tt.prev, tt.seq, 9)); got != tt.want {
				t.Fatalf("outcome %v, want %v", got, tt.want)
			}
			if b.Seq() != tt.seqAfter {
				t.Errorf("seq %d, want %d", b.Seq(), tt.seqAfter)
			}
			wantQty := map[Outcome]int64{Applied: 9, Ignored: 5, Gap: 0}[tt.want]
			if got := b.Qty(proto.Bid, 100); got != wantQty {
				t.Errorf("quantity %d, want %d", got, wantQty)
			}
		})
	}
}

func TestVoidBookIsNeverLiveAndWaitsForASnapshot(t *testing.T) {
	wrong := moreBid(10, 11, 9)
	wrong.Hash++
	ways := map[string]func(*Book){
		"gap":                func(b *Book) { b.ApplyDelta(moreBid(11, 12, 9)) },
		"mismatch":           func(b *Book) { b.ApplyDelta(wrong) },
		"keepalive mismatch": func(b *Book) { b.ApplyKeepalive(&proto.Keepalive{Seq: 10, Hash: b.Hash() + 1}) },
		"recovering": func(b *Book) {
			b.ApplyStatus(&proto.Status{State: proto.Recovering, Reason: proto.ReasonSourceGap})
		},
		"recovering, then live without a snapshot": func(b *Book) {
			b.ApplyStatus(&proto.Status{State: proto.Recovering, Reason: proto.ReasonSourceGap})
			b.ApplyStatus(&proto.Status{State: proto.Live})
		},
		"snapshot with another hash":     func(b *Book) { b.ApplySnapshot(&proto.Snapshot{State: proto.Live, Hash: 1}) },
		"snapshot of a recovering book":  func(b *Book) { b.ApplySnapshot(&proto.Snapshot{State: proto.Recovering}) },
		"snapshot with a price twice":    func(b *Book) { b.ApplySnapshot(twice()) },
		"voided":                         func(b *Book) { b.Void() },
		"voided while marked as stale":   func(b *Book) { b.Stale(); b.Void() },
		"voided, then marked as stale":   func(b *Book) { b.Void(); b.Stale() },
		"new book, then a status: live ": func(b *Book) { *b = *NewBook(); b.ApplyStatus(&proto.Status{State: proto.Live}) },
	}
	for name, spoil := range ways {
		t.Run(name, func(t *testing.T) {
			b := wholeBook(t)
			spoil(b)
			if b.State() != proto.Recovering || b.Reason() == proto.ReasonNone && name != "snapshot of a recovering book" {
				t.Errorf("state %s, reason %s", proto.StateWord(b.State()), proto.ReasonWord(b.Reason()))
			}
			if b.Len(proto.Bid)+b.Len(proto.Ask) != 0 {
				t.Error("a void book shows levels")
			}
			if got := b.ApplyDelta(moreBid(-1, 99, 9)); got != Ignored {
				t.Errorf("a delta before the snapshot: %v", got)
			}
			if got := b.ApplyKeepalive(&proto.Keepalive{Seq: 99}); got != Ignored {
				t.Errorf("a keepalive before the snapshot: %v", got)
			}
			*b = *wholeBook(t)
			if b.State() != proto.Live || b.Qty(proto.Ask, 101) != 6 {
				t.Error("a snapshot did not make it live again")
			}
		})
	}
}

// twice is a snapshot whose hash is right but whose bids have one price two times.
func twice() *proto.Snapshot {
	s := &proto.Snapshot{State: proto.Live, Bids: []proto.Level{{Price: 5, Qty: 1}, {Price: 5, Qty: 1}}}
	s.Hash = proto.HashLevels(s.Bids, nil)
	return s
}

func TestMismatchKeepsTheHashThatDiffered(t *testing.T) {
	b := wholeBook(t)
	d := moreBid(10, 11, 9)
	mine := d.Hash
	d.Hash++
	if got := b.ApplyDelta(d); got != Mismatch || b.Hash() != mine || b.Seq() != 11 {
		t.Errorf("outcome %v, hash %08x at seq %d; want mismatch, %08x at 11", got, b.Hash(), b.Seq(), mine)
	}
}

func TestKeepaliveAdvancesSeq(t *testing.T) {
	b := wholeBook(t)
	if got := b.ApplyKeepalive(&proto.Keepalive{Seq: 9, Hash: 1}); got != Ignored {
		t.Errorf("an earlier keepalive: %v", got)
	}
	if got := b.ApplyKeepalive(&proto.Keepalive{Seq: 15, Hash: b.Hash()}); got != Applied || b.Seq() != 15 {
		t.Errorf("outcome %v at seq %d; want applied at 15", got, b.Seq())
	}
	if got := b.ApplyDelta(moreBid(15, 16, 9)); got != Applied {
		t.Errorf("the delta after the keepalive: %v", got)
	}
}

func TestStaleBookKeepsItsLevels(t *testing.T) {
	b := wholeBook(t)
	b.Stale()
	if b.State() != proto.Stale || b.Qty(proto.Bid, 100) != 5 {
		t.Errorf("state %s with %d at 100", proto.StateWord(b.State()), b.Qty(proto.Bid, 100))
	}
	b.ApplyStatus(&proto.Status{State: proto.Live, Phase: proto.Halted})
	if b.State() != proto.Live || b.Phase() != proto.Halted {
		t.Errorf("state %s, phase %s after the status", proto.StateWord(b.State()), proto.PhaseWord(b.Phase()))
	}
}

// naive is the obvious book that Book is held to.
type naive map[proto.Side]map[int64]proto.Level

func (n naive) set(side proto.Side, levels []proto.Level) {
	for _, l := range levels {
		if l.Qty == 0 {
			delete(n[side], l.Price)
		} else {
			n[side][l.Price] = l
		}
	}
}

// sorted are the levels of a side, best first.
func (n naive) sorted(side proto.Side) []proto.Level {
	var levels []proto.Level
	for _, l := range n[side] {
		levels = append(levels, l)
	}
	return bestFirst(side, levels)
}

func bestFirst(side proto.Side, levels []proto.Level) []proto.Level {
	slices.SortFunc(levels, func(a, b proto.Level) int {
		if (a.Price < b.Price) == (side == proto.Ask) {
			return -1
		}
		return 1
	})
	return levels
}

func (n naive) hash() uint32 { return proto.HashLevels(n.sorted(proto.Bid), n.sorted(proto.Ask)) }

func drawSide(t *rapid.T, side proto.Side, minQty int64) []proto.Level {
	price := rapid.OneOf(rapid.Int64Range(-20, 20), rapid.Int64())
	levels := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) proto.Level {
		return proto.Level{Price: price.Draw(t, "price"), Qty: rapid.Int64Range(minQty, 3).Draw(t, "qty"), Count: rapid.Uint32Range(0, 2).Draw(t, "count")}
	}), 0, 25, func(l proto.Level) int64 { return l.Price }).Draw(t, "levels")
	return bestFirst(side, levels)
}

func TestBookEqualsANaiveOneOverAnyFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBook()
		model := naive{proto.Bid: {}, proto.Ask: {}}
		seq := int64(0)
		// Deltas since the last frame given to b; merged into one by chance.
		var merger proto.Merger
		var held []*proto.Delta
		flush := func() {
			if len(held) == 0 {
				return
			}
			var net proto.Delta
			for _, d := range held {
				merger.Add(d)
			}
			merger.Merge(&net)
			held = nil
			if got := b.ApplyDelta(&net); got != Applied {
				t.Fatalf("delta %d..%d: %v", net.PrevSeq, net.Seq, got)
			}
		}
		for range rapid.IntRange(1, 20).Draw(t, "frames") {
			prev := seq
			seq += rapid.Int64Range(1, 3).Draw(t, "step")
			if prev == 0 || rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
				held = nil
				s := &proto.Snapshot{Seq: seq, State: proto.Live, Bids: drawSide(t, proto.Bid, 1), Asks: drawSide(t, proto.Ask, 1)}
				model = naive{proto.Bid: {}, proto.Ask: {}}
				model.set(proto.Bid, s.Bids)
				model.set(proto.Ask, s.Asks)
				s.Hash = model.hash()
				if got := b.ApplySnapshot(s); got != Applied {
					t.Fatalf("snapshot: %v", got)
				}
			} else {
				d := &proto.Delta{PrevSeq: prev, Seq: seq, Bids: drawSide(t, proto.Bid, 0), Asks: drawSide(t, proto.Ask, 0)}
				model.set(proto.Bid, d.Bids)
				model.set(proto.Ask, d.Asks)
				d.Hash = model.hash()
				held = append(held, d)
				if rapid.Bool().Draw(t, "merge with the next") {
					continue
				}
			}
			flush()
			for _, side := range []proto.Side{proto.Bid, proto.Ask} {
				want := model.sorted(side)
				if got := levelsOf(b, side); !slices.Equal(got, want) {
					t.Fatalf("side %d: got %v, want %v", side, got, want)
				}
				best, there := b.Best(side)
				if there != (len(want) > 0) || there && best != want[0] {
					t.Fatalf("best of side %d: %v, %t", side, best, there)
				}
			}
			if b.Hash() != model.hash() || b.Seq() != seq {
				t.Fatalf("hash %08x at %d, want %08x at %d", b.Hash(), b.Seq(), model.hash(), seq)
			}
		}
	})
}

// BenchmarkBookApplyDelta applies deltas of some changes to 10,000 levels a side,
// prices near the best more often than far ones.
func BenchmarkBookApplyDelta(bench *testing.B) {
	for _, changes := range []int{1, 34, 600} {
		bench.Run(fmt.Sprintf("%d changes a side", changes), func(bench *testing.B) {
			const levels = 10_000
			random := rand.New(rand.NewPCG(1, 2))
			s := &proto.Snapshot{State: proto.Live}
			for i := range int64(levels) {
				s.Bids = append(s.Bids, proto.Level{Price: -1 - 2*i, Qty: 1})
				s.Asks = append(s.Asks, proto.Level{Price: 1 + 2*i, Qty: 1})
			}
			s.Hash = proto.HashLevels(s.Bids, s.Asks)
			draw := func() []proto.Level {
				seen := map[int64]bool{}
				var out []proto.Level
				for len(out) < changes {
					price := 1 + int64(random.ExpFloat64()*levels/10)
					if !seen[price] {
						seen[price] = true
						out = append(out, proto.Level{Price: price, Qty: random.Int64N(3)})
					}
				}
				return bestFirst(proto.Ask, out)
			}
			deltas := make([]proto.Delta, 256)
			for i := range deltas {
				deltas[i].Asks = draw()
				for _, l := range draw() {
					deltas[i].Bids = append(deltas[i].Bids, proto.Level{Price: -l.Price, Qty: l.Qty})
				}
			}
			b := NewBook()
			if b.ApplySnapshot(s) != Applied {
				bench.Fatal("snapshot not applied")
			}
			bench.ReportAllocs()
			for i := 0; bench.Loop(); i++ {
				d := &deltas[i%len(deltas)]
				b.hash += b.bids.set(d.Bids) + b.asks.set(d.Asks)
			}
		})
	}
}
