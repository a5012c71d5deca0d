package client

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// threeOrders is a snapshot at seq 10 with two bids at 100 and an ask at 101.
func threeOrders() *proto.Snapshot {
	s := &proto.Snapshot{Epoch: 7, Seq: 10, State: proto.Live, Phase: proto.Continuous, Orders: proto.Orders{
		Bids: []proto.RankedOrder{{ID: 1, Price: 100, Qty: 5, RankSeq: 3}, {ID: 2, Price: 100, Qty: 7, RankSeq: 3, RankIndex: 1}},
		Asks: []proto.RankedOrder{{ID: 3, Price: 101, Qty: 6, RankSeq: 4}},
	}}
	s.Hash = proto.HashOrders(&s.Orders)
	return s
}

func bookOfThree(t *testing.T) *Book {
	t.Helper()
	b := NewBookByOrder()
	if got := b.ApplySnapshot(threeOrders()); got != Applied || b.State() != proto.Live {
		t.Fatalf("snapshot: %v, %v", got, b.State())
	}
	return b
}

func TestBookByOrderHasLevelsQueuesAndPlaces(t *testing.T) {
	b := bookOfThree(t)
	d := &proto.Delta{PrevSeq: 10, Seq: 11, Orders: &proto.Orders{
		// The first loses its place by a new rank, and one comes between by its.
		Bids: []proto.RankedOrder{{ID: 1, Price: 100, Qty: 5, RankSeq: 11}, {ID: 9, Price: 100, Qty: 1, RankSeq: 5}},
		Asks: []proto.RankedOrder{{ID: 3, Price: 101}, {ID: 4, Price: 102, Qty: 2, RankSeq: 11, RankIndex: 1}},
	}}
	d.Hash = proto.HashOrders(&proto.Orders{
		Bids: []proto.RankedOrder{d.Orders.Bids[0], d.Orders.Bids[1], threeOrders().Orders.Bids[1]}, Asks: d.Orders.Asks[1:]})
	if got := b.ApplyDelta(d); got != Applied {
		t.Fatal(got)
	}
	var ids []uint64
	for o := range b.Orders(proto.Bid) {
		ids = append(ids, o.ID)
	}
	if !slices.Equal(ids, []uint64{2, 9, 1}) {
		t.Errorf("queue %v", ids)
	}
	if l, _ := b.Best(proto.Bid); l != (proto.Level{Price: 100, Qty: 13, Count: 3}) {
		t.Errorf("best bid %+v", l)
	}
	if l, _ := b.Best(proto.Ask); l != (proto.Level{Price: 102, Qty: 2, Count: 1}) || b.Len(proto.Ask) != 1 {
		t.Errorf("best ask %+v of %d", l, b.Len(proto.Ask))
	}
	for id, want := range map[uint64]string{2: "0 0 true", 9: "1 7 true", 1: "2 8 true", 4: "0 0 true", 3: "0 0 false"} {
		orders, qty, there := b.Ahead(id)
		if got := fmt.Sprint(orders, qty, there); got != want {
			t.Errorf("ahead of %d: %s, want %s", id, got, want)
		}
	}
	if o, side, there := b.Order(4); !there || side != proto.Ask || o.Price != 102 {
		t.Errorf("order 4: %+v, %d, %v", o, side, there)
	}
	d.PrevSeq, d.Seq, d.Orders = 11, 12, &proto.Orders{
		Bids: []proto.RankedOrder{{ID: 2, Price: 100}}, Asks: []proto.RankedOrder{{ID: 2, Price: 101, Qty: 7, RankSeq: 12}},
	}
	was := threeOrders().Orders.Bids[1]
	d.Hash += proto.MixOrder(proto.Ask, &d.Orders.Asks[0]) - proto.MixOrder(proto.Bid, &was)
	if got := b.ApplyDelta(d); got != Applied {
		t.Fatal(got)
	}
	if o, side, there := b.Order(2); !there || side != proto.Ask || o.Price != 101 {
		t.Errorf("order 2, which has changed sides: %+v, %d, %v", o, side, there)
	}
	b.Void()
	if _, _, there := b.Order(1); there || len(b.Queue(proto.Bid, 100)) > 0 || b.Len(proto.Bid) > 0 {
		t.Error("a void book shows orders")
	}
}

func TestFrameOfOrdersThatIsWrongVoidsTheBook(t *testing.T) {
	level := []proto.Level{{Price: 100, Qty: 12}}
	for name, spoil := range map[string]func(*proto.Snapshot){
		"hash":              func(s *proto.Snapshot) { s.Hash++ },
		"rank not rising":   func(s *proto.Snapshot) { s.Orders.Bids[0].RankSeq = 9 },
		"price not falling": func(s *proto.Snapshot) { s.Orders.Bids[1].Price = 101 },
		"twice":             func(s *proto.Snapshot) { s.Orders.Bids[1].ID = 1 },
		"quantity 0":        func(s *proto.Snapshot) { s.Orders.Asks[0].Qty = 0 },
		"levels": func(s *proto.Snapshot) {
			s.Bids, s.Orders = level, proto.Orders{}
		},
	} {
		s := threeOrders()
		s.Hash = 0
		if spoil(s); name != "hash" {
			s.Hash = proto.HashLevels(s.Bids, nil) + proto.HashOrders(&s.Orders)
		}
		b := bookOfThree(t)
		if got := b.ApplySnapshot(s); got != Mismatch || b.State() != proto.Recovering || b.Len(proto.Bid) != 0 {
			t.Errorf("snapshot, %s: %v", name, got)
		}
	}
	b := bookOfThree(t)
	if got := b.ApplyDelta(&proto.Delta{PrevSeq: 10, Seq: 11, Bids: level, Hash: b.Hash()}); got != Mismatch || b.State() != proto.Recovering {
		t.Errorf("a delta of levels: %v", got)
	}
	b = wholeBook(t)
	if got := b.ApplyDelta(&proto.Delta{PrevSeq: 10, Seq: 11, Orders: &proto.Orders{}, Hash: b.Hash()}); got != Mismatch {
		t.Errorf("a delta of orders for a book by level: %v", got)
	}
	b = wholeBook(t)
	if got := b.ApplySnapshot(threeOrders()); got != Mismatch {
		t.Errorf("a snapshot of orders for a book by level: %v", got)
	}
}

// naiveOrders is the plainest form of one side.
type naiveOrders map[uint64]proto.RankedOrder

func (n naiveOrders) list(side proto.Side) []proto.RankedOrder {
	var list []proto.RankedOrder
	for _, o := range n {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b proto.RankedOrder) int {
		price := cmp.Compare(a.Price, b.Price)
		if side == proto.Bid {
			price = -price
		}
		return cmp.Or(price, cmp.Compare(a.RankSeq, b.RankSeq), cmp.Compare(a.RankIndex, b.RankIndex))
	})
	return list
}

func TestBookByOrderEqualsTheNaiveOneAfterAnyFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sides := map[proto.Side]naiveOrders{proto.Bid: {}, proto.Ask: {}}
		b := NewBookByOrder()
		seq := int64(0)
		for step := range rapid.IntRange(1, 30).Draw(t, "steps") {
			prev := seq
			seq += rapid.Int64Range(1, 3).Draw(t, "seq")
			d := &proto.Delta{PrevSeq: prev, Seq: seq, Orders: &proto.Orders{}}
			for side, changes := range map[proto.Side]*[]proto.RankedOrder{proto.Bid: &d.Orders.Bids, proto.Ask: &d.Orders.Asks} {
				ids := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 12), 0, 5, rapid.ID[uint64]).Draw(t, "ids")
				for i, id := range ids {
					id += 100 * uint64(side)
					o := proto.RankedOrder{ID: id, Price: rapid.Int64Range(-3, 3).Draw(t, "price"), Qty: rapid.Int64Range(0, 3).Draw(t, "qty"),
						RankSeq: seq, RankIndex: uint32(i)}
					if old, there := sides[side][id]; there && rapid.Bool().Draw(t, "keeps its rank") {
						o.Price, o.RankSeq, o.RankIndex = old.Price, old.RankSeq, old.RankIndex
					}
					*changes = append(*changes, o)
					if sides[side][id] = o; o.Qty == 0 {
						delete(sides[side], id)
					}
				}
			}
			now := &proto.Orders{Bids: sides[proto.Bid].list(proto.Bid), Asks: sides[proto.Ask].list(proto.Ask)}
			if d.Hash = proto.HashOrders(now); step == 0 || rapid.IntRange(0, 5).Draw(t, "snapshot") == 0 {
				s := &proto.Snapshot{Seq: seq, State: proto.Live, Orders: *now, Hash: d.Hash}
				if got := b.ApplySnapshot(s); got != Applied {
					t.Fatalf("snapshot: %v", got)
				}
			} else if got := b.ApplyDelta(d); got != Applied {
				t.Fatalf("delta: %v", got)
			}
			compareOrders(t, b, now)
		}
	})
}

func compareOrders(t *rapid.T, b *Book, want *proto.Orders) {
	for side, orders := range map[proto.Side][]proto.RankedOrder{proto.Bid: want.Bids, proto.Ask: want.Asks} {
		if got := slices.Collect(b.Orders(side)); !slices.Equal(got, orders) {
			t.Fatalf("orders %v, want %v", got, orders)
		}
		var levels []proto.Level
		for i, o := range orders {
			if i == 0 || orders[i-1].Price != o.Price {
				levels = append(levels, proto.Level{Price: o.Price})
			}
			l := &levels[len(levels)-1]
			if ahead, qty, there := b.Ahead(o.ID); !there || ahead != int(l.Count) || qty != l.Qty || b.Queue(side, o.Price)[ahead] != o {
				t.Fatalf("order %d: %d of %d ahead, %v; want %d of %d", o.ID, ahead, qty, there, l.Count, l.Qty)
			}
			l.Qty += o.Qty
			l.Count++
		}
		if got := levelsOf(b, side); !slices.Equal(got, levels) {
			t.Fatalf("levels %v, want %v", got, levels)
		}
	}
}

func TestClientFollowsOrdersAndAsksAnewAfterAMismatch(t *testing.T) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			s := newFakeServer(t, codec)
			c, err := New(Config{URL: s.url(), Codec: codec})
			if err != nil {
				t.Fatal(err)
			}
			sub, err := c.Subscribe(Item{Symbol: "SIM:A", Channel: proto.ChannelOrders, Depth: 10})
			if err != nil {
				t.Fatal(err)
			}
			snapshot := threeOrders()
			wait := script(func() {
				p := s.greet()
				item := p.request().GetSubscribe().GetItems()[0]
				if item.Channel != pb.Channel_CHANNEL_ORDERS {
					t.Errorf("asked for %v", item)
				}
				p.frame(&pb.Frame{Body: &pb.Frame_Ack{Ack: &pb.Ack{Id: 1, Topic: 3, Symbol: "SIM:A", Channel: item.Channel, Depth: 10,
					Epoch: 7, State: pb.State_STATE_LIVE, Phase: pb.Phase_PHASE_CONTINUOUS}}})
				whole := &pb.Frame{Body: &pb.Frame_Snapshot{Snapshot: &pb.Snapshot{Topic: 3, Symbol: "SIM:A", Epoch: 7, Seq: 10,
					State: pb.State_STATE_LIVE, Hash: snapshot.Hash,
					BidOrders: &pb.RankedOrders{OrderId: []int64{1, 1}, Price: []int64{100, 0}, Qty: []int64{5, 7}, RankSeq: []int64{3, 0}, RankIndex: []uint32{0, 1}},
					AskOrders: &pb.RankedOrders{OrderId: []int64{3}, Price: []int64{101}, Qty: []int64{6}, RankSeq: []int64{4}, RankIndex: []uint32{0}}}}}
				p.frame(whole)
				gone := &pb.OrdersDelta{Topic: 3, PrevSeq: 10, Seq: 11,
					Bids: &pb.RankedOrders{OrderId: []int64{1}, Price: []int64{100}, Qty: []int64{0}, RankSeq: []int64{3}, RankIndex: []uint32{0}}}
				gone.Hash = snapshot.Hash - proto.MixOrder(proto.Bid, &snapshot.Orders.Bids[0])
				p.frame(&pb.Frame{Body: &pb.Frame_Orders{Orders: gone}})
				wrong := &pb.OrdersDelta{Topic: 3, PrevSeq: 11, Seq: 12, Hash: gone.Hash + 1}
				p.frame(&pb.Frame{Body: &pb.Frame_Orders{Orders: wrong}})
				if m := p.request().GetMismatch(); m.GetTopic() != 3 || m.GetSeq() != 12 || m.GetHash() != gone.Hash {
					t.Errorf("after a wrong hash: %v", m)
				}
				p.frame(whole)
			})
			var told []string
			for event, err := range c.Events(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				switch e := event.(type) {
				case *BookSet:
					told = append(told, fmt.Sprintf("set %d", len(slices.Collect(e.Book.Orders(proto.Bid)))))
				case *BookChanged:
					told = append(told, fmt.Sprintf("changed %d", e.Delta.Orders.Len()))
				case *BookLost:
					told = append(told, e.Cause.String())
				}
				if len(told) == 4 {
					break
				}
			}
			wait()
			if want := []string{"set 2", "changed 1", "mismatch", "set 2"}; !slices.Equal(told, want) || !sub.Book().ByOrder() {
				t.Errorf("told %v, want %v", told, want)
			}
		})
	}
}

func BenchmarkBookByOrderDelta(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	book := NewBookByOrder()
	s := &proto.Snapshot{State: proto.Live}
	for i := range int64(1000) {
		s.Orders.Bids = append(s.Orders.Bids, proto.RankedOrder{ID: uint64(i), Price: 10_000 - i/10, Qty: 5, RankSeq: i})
	}
	s.Hash = proto.HashOrders(&s.Orders)
	if book.ApplySnapshot(s) != Applied {
		b.Fatal("the snapshot is wrong")
	}
	d := &proto.Delta{Orders: &proto.Orders{Bids: make([]proto.RankedOrder, 1)}}
	hash := s.Hash
	b.ReportAllocs()
	for b.Loop() {
		d.PrevSeq, d.Seq = d.Seq, d.Seq+1
		id := r.Uint64N(1000)
		old := book.bids.queues.byID[id]
		o := proto.RankedOrder{ID: id, Price: 10_000 - r.Int64N(100), Qty: 5, RankSeq: 1000 + d.Seq}
		d.Orders.Bids[0] = o
		hash += proto.MixOrder(proto.Bid, &o) - proto.MixOrder(proto.Bid, &old)
		d.Hash = hash
		if book.ApplyDelta(d) != Applied {
			b.Fatal("mismatch")
		}
	}
}
