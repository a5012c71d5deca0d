package book

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"pgregory.net/rapid"
)

func bookKey(depth uint32) proto.TopicKey {
	return proto.TopicKey{Symbol: "SIM:A", Channel: proto.ChannelBook, View: proto.View{Depth: depth}}
}

func TestFollowingViewsAllocatesNothing(t *testing.T) {
	if verifying {
		t.Skip("verification allocates")
	}
	e := liveEngine(t)
	changes := levelChanges(t, e, 1, 328, false)
	heard := &silent{}
	for _, depth := range []uint32{1, 10, 1000, 0} {
		key := bookKey(depth)
		key.Symbol = name(0)
		if _, err := e.Open(key, heard); err != nil {
			t.Fatal(err)
		}
	}
	r := &proto.Batch{Symbol: name(0), Events: make([]proto.Event, 1)}
	step := func() {
		r.Seq++
		changes[r.Seq%drawn].put(&r.Events[0])
		must(t, e, r)
	}
	for range drawn {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Fatalf("%v allocations a record", n)
	}
	if heard.deltas < drawn {
		t.Fatalf("only %d deltas were heard", heard.deltas)
	}
}

func TestALevelIsFoundAmongAnyNumber(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for n := range 600 {
		var s sorted
		for i := range n {
			s.rungs = append(s.rungs, rung{key: math.MinInt64 + int64(i)*(math.MaxInt64/300)})
		}
		for range 60 {
			key := int64(random.Uint64())
			if n > 0 && random.IntN(2) == 0 {
				key = s.rungs[random.IntN(n)].key
			}
			at, found := s.find(key)
			wantAt, wantFound := slices.BinarySearchFunc(s.rungs, key, func(r rung, key int64) int { return cmp.Compare(r.key, key) })
			if at != wantAt || found != wantFound {
				t.Fatalf("%d levels: %d found at %d, %v; it belongs at %d, %v", n, key, at, found, wantAt, wantFound)
			}
		}
	}
}

// Prices may be negative, zero, and as far apart as 64 bits allow.
func TestPricesOfAllSixtyFourBitsKeepTheirOrder(t *testing.T) {
	prices := []int64{math.MinInt64, math.MinInt64 + 1, -5, -1, 0, 1, 7, math.MaxInt64 - 1, math.MaxInt64}
	for _, depth := range []uint32{0, 1, 3, 9} {
		for _, side := range []proto.Side{proto.Bid, proto.Ask} {
			e := liveEngine(t)
			m := &market{fatalf: t.Fatalf, choose: func(int) int { return 0 }, engine: e}
			must(t, e, &proto.Batch{Symbol: "SIM:A", Seq: 0})
			views := []proto.View{{Depth: depth}, {Depth: depth, Group: groupOf(3)}, {Depth: depth, Group: groupOf(1 << 62)}}
			for _, v := range views {
				m.join(v)
			}
			n := &naive{whole: true, levels: map[naiveKey]proto.Level{}}
			random := rand.New(rand.NewPCG(3, 4))
			for seq := int64(1); seq < 300; seq++ {
				ev := proto.Event{Kind: proto.EventSetLevels}
				levels := []proto.Level{{Price: prices[random.IntN(len(prices))], Qty: random.Int64N(3)}}
				if side == proto.Bid {
					ev.Bids = levels
				} else {
					ev.Asks = levels
				}
				must(t, e, &proto.Batch{Symbol: "SIM:A", Seq: seq, Events: []proto.Event{ev}})
				n.event(&ev)
				for i, v := range views {
					bids, bidsFit := n.view(proto.Bid, v)
					asks, asksFit := n.view(proto.Ask, v)
					m.clients[i].compare(bids, asks, bidsFit && asksFit)
				}
			}
		}
	}
}

// State at an offset is a function of the log: who looks on does not matter.
func TestTheSameLogGivesTheSameBooks(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	m := newMarket(t, random.IntN, true)
	watched, alone := m.engine, liveEngine(t)
	must(t, alone, &proto.Batch{Symbol: "SIM:A", Seq: 0, LastSourceSeq: 1})
	m.seq = 1
	for m.seq < 2000 {
		r := &proto.Batch{Symbol: "SIM:A", Seq: m.seq, Events: []proto.Event{m.event(), m.event()}, More: random.IntN(9) == 0}
		m.seq++
		got, err := watched.Apply(r)
		want, other := alone.Apply(r)
		if got != want || (err == nil) != (other == nil) {
			t.Fatalf("seq %d: %d, %v with views; %d, %v without", r.Seq, got, err, want, other)
		}
		if !reflect.DeepEqual(watched.Symbols(), alone.Symbols()) {
			t.Fatalf("seq %d: %+v with views; %+v without", r.Seq, watched.Symbols(), alone.Symbols())
		}
		var a, b proto.Snapshot
		if err := errors.Join(watched.Read(bookKey(0), &a), alone.Read(bookKey(0), &b)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Bids, b.Bids) || !slices.Equal(a.Asks, b.Asks) || a.Hash != b.Hash || a.Seq != b.Seq {
			t.Fatalf("seq %d: %+v with views; %+v without", r.Seq, a, b)
		}
	}
}

func TestTwoViewsOfOneKindAreClosedApart(t *testing.T) {
	e := liveEngine(t)
	must(t, e, &proto.Batch{Symbol: "SIM:A", Seq: 1})
	first, second := &silent{}, &silent{}
	v, err := e.Open(bookKey(5), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Open(bookKey(5), second); err != nil {
		t.Fatal(err)
	}
	set := func(seq int64) {
		must(t, e, &proto.Batch{Symbol: "SIM:A", Seq: seq, Events: []proto.Event{{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: 1, Qty: seq}}}}})
	}
	set(2)
	v.Close()
	v.Close()
	set(3)
	if first.deltas != 1 || second.deltas != 2 || e.Stats().Views != 1 {
		t.Fatalf("%d and %d deltas, %d views open", first.deltas, second.deltas, e.Stats().Views)
	}
}

func TestTheIndexFindsWhatWasPut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		model := map[uint64]uint32{}
		for i := range rapid.IntRange(1, 300).Draw(t, "steps") {
			id := rapid.Uint64Range(1, 64).Draw(t, "id") * 0x100000001
			switch _, there := model[id]; {
			case !there:
				x.put(id, uint32(i+1))
				model[id] = uint32(i + 1)
			default:
				x.remove(id)
				delete(model, id)
			}
			for id := range uint64(65) {
				if got := x.get(id * 0x100000001); got != model[id*0x100000001] {
					t.Fatalf("id %d: slot %d, want %d", id, got, model[id*0x100000001])
				}
			}
			if x.n != len(model) {
				t.Fatalf("%d, want %d", x.n, len(model))
			}
		}
	})
}

func TestABadConfigurationIsRefused(t *testing.T) {
	for _, c := range []Config{{MaxSymbols: -1}, {MaxOrders: math.MaxInt}, {KeptTrades: 1 << 20}} {
		if _, err := New(c); !errors.Is(err, ErrConfig) {
			t.Fatalf("%+v: %v", c, err)
		}
	}
}

// Each code is one way to be refused; clients of metrics rely on it.
func TestRefusalCodesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range []*refusal{errUnset, errNoSymbol, errBadSide, errBadQty, errBadPhase, errBadInstrument, errBadEnd, errBadTrade, errBadStatistics,
		errExponents, errZeroOrder, errUnknownOrder, errDuplicateOrder, errBelowZero, errQtyMismatch, errPriorityPrice, errMixedBook, errDuplicateLevel,
		errContinued, errPartialOverlap, errCrossed, errOverflow, errTooManyLevels, errTooManyOrders, errHeld, errTooManyFeeds, errTooManySymbols, errEnded} {
		if seen[r.code] {
			t.Errorf("two refusals with code %s", r.code)
		}
		seen[r.code] = true
	}
}
