package proto

import (
	"cmp"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawSide draws levels best first, without a price twice; quantity 0 is likely.
func drawSide(t *rapid.T, side Side, label string, maxLevels int) []Level {
	price := rapid.OneOf(rapid.Int64Range(-20, 20), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64, 1 << 40}))
	prices := rapid.SliceOfNDistinct(price, 0, maxLevels, rapid.ID[int64]).Draw(t, label)
	levels := make([]Level, 0, len(prices))
	for _, p := range prices {
		l := Level{Price: p, Qty: rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, math.MaxInt64)).Draw(t, "qty")}
		if l.Qty > 0 {
			l.Count = rapid.Uint32().Draw(t, "count")
		}
		levels = append(levels, l)
	}
	sortBestFirst(levels, side)
	return levels
}

func sortBestFirst(levels []Level, side Side) {
	slices.SortFunc(levels, func(a, b Level) int {
		if side == Bid {
			a, b = b, a
		}
		return cmp.Compare(a.Price, b.Price)
	})
}

// lastWrites is the merge in its plainest form.
func lastWrites(side Side, runs [][]Level) []Level {
	last := map[int64]Level{}
	for _, run := range runs {
		for _, l := range run {
			last[l.Price] = l
		}
	}
	var out []Level
	for _, l := range last {
		out = append(out, l)
	}
	sortBestFirst(out, side)
	return out
}

func TestMergeKeepsTheLastWriteOfEveryLevelTouched(t *testing.T) {
	var m Merger // one for all, as in use
	var got Delta
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 17).Draw(t, "deltas")
		deltas := make([]Delta, count)
		var bids, asks [][]Level
		var merged uint32
		for i := range deltas {
			deltas[i] = Delta{
				PrevSeq: int64(i * 10), Seq: int64(i*10 + 10), Hash: rapid.Uint32().Draw(t, "hash"),
				Bids: drawSide(t, Bid, "bids", 8), Asks: drawSide(t, Ask, "asks", 8),
				Merged: rapid.Uint32Range(0, 5).Draw(t, "merged"),
				Times:  Times{Venue: int64(100 + i), Kafka: int64(200 + i), Published: int64(300 + i)},
			}
			if deltas[i].Merged > 1 {
				deltas[i].Times.VenueFirst = int64(50 + i)
			}
			bids, asks = append(bids, slices.Clone(deltas[i].Bids)), append(asks, slices.Clone(deltas[i].Asks))
			merged += max(1, deltas[i].Merged)
			m.Add(&deltas[i])
		}
		m.Merge(&got)

		first, last := deltas[0], deltas[count-1]
		want := Delta{PrevSeq: 0, Seq: last.Seq, Hash: last.Hash, Merged: merged, Times: last.Times}
		want.Times.VenueFirst = first.Times.VenueFirst
		if first.Times.VenueFirst == 0 {
			want.Times.VenueFirst = first.Times.Venue
		}
		if !slices.Equal(got.Bids, lastWrites(Bid, bids)) || !slices.Equal(got.Asks, lastWrites(Ask, asks)) {
			t.Fatalf("levels %v %v\nwant %v %v", got.Bids, got.Asks, lastWrites(Bid, bids), lastWrites(Ask, asks))
		}
		head := got
		head.Bids, head.Asks = nil, nil
		if !reflect.DeepEqual(head, want) {
			t.Fatalf("%+v\nwant %+v", head, want)
		}
		for i := range deltas {
			if !slices.Equal(deltas[i].Bids, bids[i]) || !slices.Equal(deltas[i].Asks, asks[i]) {
				t.Fatal("merging changed what was merged")
			}
		}
	})
}

func TestMergedDeltaLeadsFromAnySeqWithinItToTheSameBook(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	apply := func(book map[int64]int64, levels []Level) {
		for _, l := range levels {
			if l.Qty == 0 {
				delete(book, l.Price)
			} else {
				book[l.Price] = l.Qty
			}
		}
	}
	var m Merger
	for range 200 {
		deltas := make([]Delta, 12)
		states := []map[int64]int64{{}}
		for i := range deltas {
			next := map[int64]int64{}
			for p, q := range states[i] {
				next[p] = q
			}
			touched := map[int64]int64{}
			for range r.IntN(5) {
				touched[r.Int64N(10)] = max(0, r.Int64N(4)-1)
			}
			for p, q := range touched {
				deltas[i].Asks = append(deltas[i].Asks, Level{Price: p, Qty: q})
			}
			sortBestFirst(deltas[i].Asks, Ask)
			apply(next, deltas[i].Asks)
			states = append(states, next)
			m.Add(&deltas[i])
		}
		var net Delta
		m.Merge(&net)
		for from, state := range states {
			apply(state, net.Asks)
			if !reflect.DeepEqual(state, states[len(states)-1]) {
				t.Fatalf("from state %d: %v, want %v", from, state, states[len(states)-1])
			}
		}
	}
}

// someDeltas makes count deltas of a side of 5 levels each within 200 prices.
func someDeltas(count int) []Delta {
	r := rand.New(rand.NewPCG(5, 6))
	deltas := make([]Delta, count)
	for i := range deltas {
		side := map[int64]bool{}
		for len(side) < 5 {
			side[6160000+r.Int64N(200)] = true
		}
		for p := range side {
			deltas[i].Bids = append(deltas[i].Bids, Level{Price: p, Qty: r.Int64N(1e9)})
			deltas[i].Asks = append(deltas[i].Asks, Level{Price: p + 200, Qty: r.Int64N(1e9)})
		}
		sortBestFirst(deltas[i].Bids, Bid)
		sortBestFirst(deltas[i].Asks, Ask)
	}
	return deltas
}

func TestMergeDoesNotAllocateOnceItsBuffersHaveGrown(t *testing.T) {
	deltas := someDeltas(100)
	var m Merger
	var out Delta
	merge := func() {
		for i := range deltas {
			m.Add(&deltas[i])
		}
		m.Merge(&out)
	}
	merge()
	if n := testing.AllocsPerRun(100, merge); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkMerge100DeltasOf10Levels(b *testing.B) {
	deltas := someDeltas(100)
	var m Merger
	var out Delta
	b.ReportAllocs()
	for b.Loop() {
		for i := range deltas {
			m.Add(&deltas[i])
		}
		m.Merge(&out)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/level")
}
