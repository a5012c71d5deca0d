package proto

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto/pb"
)

type orderHashVectors struct {
	Mix []struct {
		Side           Side
		ID, Price, Qty string
		RankSeq        string `json:"rank_seq"`
		RankIndex      uint32 `json:"rank_index"`
		Mix            string
	}
	Books []struct {
		Name       string
		Bids, Asks [][5]string
		Hash       string
	}
}

func TestHashOfOrdersMatchesThePublishedVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/order-hash.json")
	if err != nil {
		t.Fatal(err)
	}
	var v orderHashVectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Mix) < 13 || len(v.Books) < 5 {
		t.Fatalf("%d mix and %d book vectors: some are missing", len(v.Mix), len(v.Books))
	}
	order := func(cells [5]string) RankedOrder {
		id, err := strconv.ParseUint(cells[0], 10, 64)
		price, err1 := strconv.ParseInt(cells[1], 10, 64)
		qty, err2 := strconv.ParseInt(cells[2], 10, 64)
		seq, err3 := strconv.ParseInt(cells[3], 10, 64)
		index, err4 := strconv.ParseUint(cells[4], 10, 32)
		if err := errors.Join(err, err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		return RankedOrder{ID: id, Price: price, Qty: qty, RankSeq: seq, RankIndex: uint32(index)}
	}
	check := func(name string, got uint32, want string) {
		if text := strconv.FormatUint(uint64(got)|1<<32, 16)[1:]; text != want {
			t.Errorf("%s: %s, want %s", name, text, want)
		}
	}
	for i, m := range v.Mix {
		o := order([5]string{m.ID, m.Price, m.Qty, m.RankSeq, strconv.Itoa(int(m.RankIndex))})
		check("mix "+strconv.Itoa(i), MixOrder(m.Side, &o), m.Mix)
	}
	for _, b := range v.Books {
		var orders Orders
		for _, cells := range b.Bids {
			orders.Bids = append(orders.Bids, order(cells))
		}
		for _, cells := range b.Asks {
			orders.Asks = append(orders.Asks, order(cells))
		}
		check(b.Name, HashOrders(&orders), b.Hash)
	}
}

func TestHashOfOrdersSeesEveryNumberOfAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := RankedOrder{ID: anyUint64.Draw(t, "id"), Price: anyPrice.Draw(t, "price"), Qty: someQty.Draw(t, "qty"),
			RankSeq: anySeq.Draw(t, "seq"), RankIndex: rapid.Uint32().Draw(t, "index")}
		hash := MixOrder(Bid, &o)
		bit := rapid.IntRange(0, 31).Draw(t, "bit")
		for name, change := range map[string]func(*RankedOrder){
			"id": func(o *RankedOrder) { o.ID ^= 1 << (2 * bit) }, "price": func(o *RankedOrder) { o.Price ^= 1 << (2 * bit) },
			"qty": func(o *RankedOrder) { o.Qty++ }, "rank_seq": func(o *RankedOrder) { o.RankSeq ^= 1 << (2 * bit) },
			"rank_index": func(o *RankedOrder) { o.RankIndex ^= 1 << bit },
		} {
			other := o
			if change(&other); MixOrder(Bid, &other) == hash {
				t.Fatalf("%s of %+v does not count", name, o)
			}
		}
		if MixOrder(Ask, &o) == hash {
			t.Fatal("the side does not count")
		}
	})
}

// drawOrderSide draws orders by rising identifier, none twice; gone is likely.
func drawOrderSide(t *rapid.T, label string) []RankedOrder {
	id := rapid.OneOf(rapid.Uint64Range(0, 20), rapid.SampledFrom([]uint64{math.MaxUint64, 1 << 63}))
	ids := rapid.SliceOfNDistinct(id, 0, 8, rapid.ID[uint64]).Draw(t, label)
	slices.Sort(ids)
	var orders []RankedOrder
	for _, id := range ids {
		orders = append(orders, RankedOrder{ID: id, Price: anyPrice.Draw(t, "price"), Qty: anyQty.Draw(t, "qty"),
			RankSeq: anySeq.Draw(t, "seq"), RankIndex: rapid.Uint32().Draw(t, "index")})
	}
	return orders
}

// lastOrders is the merge in its plainest form.
func lastOrders(runs [][]RankedOrder) []RankedOrder {
	last := map[uint64]RankedOrder{}
	for _, run := range runs {
		for _, o := range run {
			last[o.ID] = o
		}
	}
	var out []RankedOrder
	for _, o := range last {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b RankedOrder) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func TestMergeKeepsTheLastWriteOfEveryOrderTouched(t *testing.T) {
	var m Merger // one for all, as in use
	var got Delta
	rapid.Check(t, func(t *rapid.T) {
		var bids, asks [][]RankedOrder
		count := rapid.IntRange(1, 9).Draw(t, "deltas")
		for i := range count {
			d := Delta{PrevSeq: int64(i), Seq: int64(i + 1), Hash: uint32(i),
				Orders: &Orders{Bids: drawOrderSide(t, "bids"), Asks: drawOrderSide(t, "asks")}}
			bids, asks = append(bids, slices.Clone(d.Orders.Bids)), append(asks, slices.Clone(d.Orders.Asks))
			m.Add(&d)
		}
		m.Merge(&got)
		if got.Orders == nil || !slices.Equal(got.Orders.Bids, lastOrders(bids)) || !slices.Equal(got.Orders.Asks, lastOrders(asks)) {
			t.Fatalf("%+v\nwant %v %v", got.Orders, lastOrders(bids), lastOrders(asks))
		}
		if got.PrevSeq != 0 || got.Seq != int64(count) || got.Merged != uint32(count) || got.Hash != uint32(count-1) {
			t.Fatalf("%+v", got)
		}
		m.Add(&Delta{Bids: []Level{{1, 1, 0}}})
		if m.Merge(&got); got.Orders != nil || len(got.Bids) != 1 {
			t.Fatalf("a delta of levels merged to %+v", got)
		}
	})
}

func TestMergingOrdersDoesNotAllocateOnceItsBuffersHaveGrown(t *testing.T) {
	deltas := someOrdersDeltas(100)
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

// someOrdersDeltas makes count deltas of two orders a side among 500.
func someOrdersDeltas(count int) []Delta {
	r := rand.New(rand.NewPCG(7, 8))
	deltas := make([]Delta, count)
	for i := range deltas {
		deltas[i].Orders = &Orders{}
		for _, side := range []*[]RankedOrder{&deltas[i].Orders.Bids, &deltas[i].Orders.Asks} {
			id := 16_000_000 + r.Uint64N(400)
			for range 2 {
				id += 1 + r.Uint64N(50)
				*side = append(*side, RankedOrder{ID: id, Price: 5_794_000 + r.Int64N(2000), Qty: r.Int64N(500), RankSeq: r.Int64N(150_000)})
			}
		}
	}
	return deltas
}

func TestOrdersOfUnequalArraysAreRefused(t *testing.T) {
	good := func() *pb.RankedOrders {
		return &pb.RankedOrders{OrderId: []int64{1}, Price: []int64{1}, Qty: []int64{1}, RankSeq: []int64{1}, RankIndex: []uint32{1}}
	}
	if got, err := AppendOrders(nil, good()); err != nil || len(got) != 1 || got[0] != (RankedOrder{1, 1, 1, 1, 1}) {
		t.Fatalf("%v, %v", got, err)
	}
	for name, change := range map[string]func(*pb.RankedOrders){
		"order_id": func(o *pb.RankedOrders) { o.OrderId = nil }, "price": func(o *pb.RankedOrders) { o.Price = append(o.Price, 1) },
		"qty": func(o *pb.RankedOrders) { o.Qty = nil }, "rank_seq": func(o *pb.RankedOrders) { o.RankSeq = nil },
		"rank_index": func(o *pb.RankedOrders) { o.RankIndex = nil }, "below zero": func(o *pb.RankedOrders) { o.Qty[0] = -1 },
	} {
		o := good()
		change(o)
		if _, err := AppendOrders(nil, o); !errors.Is(err, ErrBadValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkMerge100DeltasOf4Orders(b *testing.B) {
	deltas := someOrdersDeltas(100)
	var m Merger
	var out Delta
	b.ReportAllocs()
	for b.Loop() {
		for i := range deltas {
			m.Add(&deltas[i])
		}
		m.Merge(&out)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/400, "ns/order")
}

func BenchmarkDelta4Orders(b *testing.B) {
	d := &someOrdersDeltas(1)[0]
	buf := make([]byte, 0, 4096)
	for _, codec := range []Codec{CodecProto, CodecJSON} {
		b.Run(codec.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buf = codec.AppendDelta(buf[:0], benchForm, d)
			}
			b.ReportMetric(float64(len(buf)), "bytes")
		})
	}
}
