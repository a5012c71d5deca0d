package book

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
)

// TestEveryViewOfOrdersEqualsTheNaiveBookThroughChangesOfKind drives a book whose
// snapshots make it by order or by level, with views of orders of several depths.
func TestEveryViewOfOrdersEqualsTheNaiveBookThroughChangesOfKind(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	m := newMarket(t, random.IntN, true)
	m.flips = true
	byLevel := 0
	for m.events < 30_000 {
		m.step()
		if m.naive.byOrder == 1 {
			byLevel++
		}
	}
	if m.live < m.records/3 || byLevel < m.records/10 || byLevel > m.records*9/10 || m.refusedViews < 20 {
		t.Fatalf("the run proves little: %d records, live after %d, by level after %d, %d views refused", m.records, m.live, byLevel, m.refusedViews)
	}
}

func TestAnyRunOfRecordsKeepsViewsOfOrdersRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "") }
		m := newMarket(t, draw, true)
		m.wide, m.flips = draw(2) == 1, draw(2) == 1
		for range 1 + draw(40) {
			m.step()
		}
	})
}

func TestFollowingViewsOfOrdersAllocatesNothing(t *testing.T) {
	if verifying {
		t.Skip("verification allocates")
	}
	heard := &silent{}
	orders := proto.TopicKey{Channel: proto.ChannelOrders}
	top := orders
	top.View.Depth = 10
	round := orderRecords(t, heard, orders, top)
	i, before := 0, heard.deltas
	if n := testing.AllocsPerRun(1000, func() { round(i); i++ }); n != 0 {
		t.Fatalf("%v allocations a record", n)
	}
	if heard.deltas < before+1000 {
		t.Fatalf("only %d deltas were heard", heard.deltas-before)
	}
}

var orderViews = []proto.View{{Depth: 1}, {Depth: 2}, {Depth: 3}, {Depth: 5}, {}}

type orderKey struct {
	side proto.Side
	id   uint64
}

// orderClient is client for a view of orders, with its slow twin.
type orderClient struct {
	m      *market
	view   *View
	live   bool
	reason proto.Reason
	mine   int64
	entry  int64
	book   map[orderKey]proto.RankedOrder
	slow   map[orderKey]proto.RankedOrder
	net    map[orderKey]proto.RankedOrder
}

// joinOrders opens a view of orders; a book by level refuses it.
func (m *market) joinOrders(v proto.View) {
	c := &orderClient{m: m}
	view, err := m.engine.Open(proto.TopicKey{Symbol: "SIM:A", Channel: proto.ChannelOrders, View: v}, c)
	if m.naive.byOrder == 1 {
		want := proto.ErrUnknownChannel
		if m.old {
			want = proto.ErrNotReady
		}
		if !errors.Is(err, want) {
			m.fatalf("a view of the orders of a book by level: %v", err)
		}
		m.refusedViews++
		return
	}
	if err != nil {
		m.fatalf("open: %v", err)
	}
	c.view = view
	m.orderClients = append(m.orderClients, c)
	c.replace()
}

func (c *orderClient) replace() {
	var s proto.Snapshot
	c.view.Snapshot(&s)
	c.book, c.slow, c.net = map[orderKey]proto.RankedOrder{}, map[orderKey]proto.RankedOrder{}, map[orderKey]proto.RankedOrder{}
	c.apply(proto.Bid, s.Orders.Bids)
	c.apply(proto.Ask, s.Orders.Asks)
	mergeOrders(c.slow, c.net)
	clear(c.net)
	c.mine, c.entry, c.live, c.reason = s.Seq, s.Seq, s.State != proto.Recovering, s.Reason
}

func (c *orderClient) apply(side proto.Side, orders []proto.RankedOrder) {
	for _, o := range orders {
		k := orderKey{side, o.ID}
		if _, there := c.book[k]; o.Qty == 0 && !there {
			c.m.fatalf("view %+v: order %d, which it does not show, is gone", c.view.key.View, o.ID)
		}
		c.net[k] = o
		mergeOrders(c.book, map[orderKey]proto.RankedOrder{k: o})
	}
}

func mergeOrders(to, changes map[orderKey]proto.RankedOrder) {
	for k, o := range changes {
		if o.Qty == 0 {
			delete(to, k)
		} else {
			to[k] = o
		}
	}
}

func (c *orderClient) Delta(d *proto.Delta) {
	c.m.deltas++
	switch {
	case !c.live:
		c.m.fatalf("a delta to a book that is not live")
	case d.PrevSeq != c.entry || d.PrevSeq > c.mine || c.mine >= d.Seq:
		c.m.fatalf("delta %d->%d after an entry of seq %d, the client being at %d", d.PrevSeq, d.Seq, c.entry, c.mine)
	case d.Orders.Len() == 0 || len(d.Bids)+len(d.Asks) > 0:
		c.m.fatalf("a delta without orders, or with levels, at %d", d.Seq)
	}
	for _, side := range [][]proto.RankedOrder{d.Orders.Bids, d.Orders.Asks} {
		for i := 1; i < len(side); i++ {
			if side[i-1].ID >= side[i].ID {
				c.m.fatalf("a delta is not by rising identifier: %v", side)
			}
		}
	}
	c.apply(proto.Bid, d.Orders.Bids)
	c.apply(proto.Ask, d.Orders.Asks)
	c.mine, c.entry = d.Seq, d.Seq
	if c.m.choose(4) == 0 {
		mergeOrders(c.slow, c.net)
		clear(c.net)
	}
}

func (c *orderClient) Trades(*proto.Trades)           { c.m.fatalf("trades on a view of orders") }
func (c *orderClient) Ticker(*proto.Ticker)           { c.m.fatalf("a ticker on a view of orders") }
func (c *orderClient) Instruments(*proto.Instruments) { c.m.fatalf("a listing on a view of orders") }

func (c *orderClient) Status(s *proto.Status) {
	live := s.State != proto.Recovering
	if live && !c.live {
		c.m.fatalf("live again without a snapshot, at %d", s.Seq)
	}
	c.live, c.reason, c.entry, c.mine = live, s.Reason, s.Seq, max(c.mine, s.Seq)
}

func (c *orderClient) Reset(proto.SnapshotReason) {
	c.m.resets++
	c.replace()
	if !c.live {
		c.m.fatalf("a reset to a book that is not live")
	}
}

func (c *orderClient) Mark(m proto.Mark) {
	if !c.live || m.Hash != c.view.hash {
		c.m.fatalf("a mark with hash %08x: live %v, %08x", m.Hash, c.live, c.view.hash)
	}
}

// orders returns what a view of orders shows of one side.
func (n *naive) orderView(side proto.Side, depth uint32) []proto.RankedOrder {
	var list []proto.RankedOrder
	levels := uint32(0)
	for _, o := range n.queue(side) {
		if len(list) == 0 || list[len(list)-1].Price != o.price {
			levels++
		}
		if depth > 0 && levels > depth {
			break
		}
		list = append(list, proto.RankedOrder{ID: o.id, Price: o.price, Qty: o.qty, RankSeq: o.rank.seq, RankIndex: o.rank.index})
	}
	return list
}

// compareOrders fails if a view of orders, or who follows it, shows what is not the
// book.
func (m *market) compareOrders(shown bool) {
	var s proto.Snapshot
	for _, c := range m.orderClients {
		want := proto.Orders{}
		live := shown && m.naive.byOrder != 1
		if live {
			want.Bids, want.Asks = m.naive.orderView(proto.Bid, c.view.key.View.Depth), m.naive.orderView(proto.Ask, c.view.key.View.Depth)
		}
		c.view.Snapshot(&s)
		if !slices.Equal(s.Orders.Bids, want.Bids) || !slices.Equal(s.Orders.Asks, want.Asks) || len(s.Bids)+len(s.Asks) > 0 {
			m.fatalf("view %+v shows\n%v\nthe naive book has\n%v", c.view.key.View, s.Orders, want)
		}
		if hash := proto.HashOrders(&want); s.Hash != hash {
			m.fatalf("view %+v has hash %08x, want %08x", c.view.key.View, s.Hash, hash)
		}
		if c.live != live || live != (s.State != proto.Recovering) || shown && !live && (c.reason != proto.ReasonByLevel || s.Reason != c.reason) {
			m.fatalf("the client believes that the book is live: %v, reason %d; it is %v, the snapshot says %d, %d", c.live, c.reason, live, s.State, s.Reason)
		}
		if live {
			c.compare(&want)
		}
	}
}

func (c *orderClient) compare(orders *proto.Orders) {
	twin := map[orderKey]proto.RankedOrder{}
	mergeOrders(twin, c.slow)
	mergeOrders(twin, c.net)
	for _, got := range []map[orderKey]proto.RankedOrder{c.book, twin} {
		if len(got) != orders.Len() {
			c.m.fatalf("view %+v: the client has\n%v\nthe book is\n%v", c.view.key.View, got, orders)
		}
		for i, side := range [][]proto.RankedOrder{orders.Bids, orders.Asks} {
			for _, o := range side {
				if got[orderKey{proto.Bid + proto.Side(i), o.ID}] != o {
					c.m.fatalf("view %+v: the client has\n%v\nthe book is\n%v", c.view.key.View, got, orders)
				}
			}
		}
	}
}
