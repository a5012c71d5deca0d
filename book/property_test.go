package book

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"pgregory.net/rapid"
)

// chooser makes the choices of a run: a seeded generator, or rapid, which shrinks.
type chooser func(n int) int

// TestEveryViewEqualsTheNaiveBookAfterEveryEvent drives a book and the naive one
// with the same seeded records, by level and by order, good and bad: 100,000 events.
func TestEveryViewEqualsTheNaiveBookAfterEveryEvent(t *testing.T) {
	for _, byOrder := range []bool{false, true} {
		t.Run(fmt.Sprintf("byOrder=%v", byOrder), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			m := newMarket(t, random.IntN, byOrder)
			for m.events < 50_000 {
				m.step()
			}
			if m.live < m.records/3 || m.refused < 100 || m.resets < 100 || m.deltas < 10_000 {
				t.Fatalf("the run proves little: %d records, live after %d, %d refused, %d resets, %d deltas", m.records, m.live, m.refused, m.resets, m.deltas)
			}
		})
	}
}

// TestWideAndJumpingBooksKeepViewsRight does the same where prices lie far apart
// and jump, so that sides hold hundreds of levels and all views reach their edges.
func TestWideAndJumpingBooksKeepViewsRight(t *testing.T) {
	for _, byOrder := range []bool{false, true} {
		t.Run(fmt.Sprintf("byOrder=%v", byOrder), func(t *testing.T) {
			random := rand.New(rand.NewPCG(7, 8))
			m := newMarket(t, random.IntN, byOrder)
			m.wide = true
			deepest, least := 0, 50
			if byOrder {
				least = 20 // which come and go with their orders
			}
			for m.events < 50_000 {
				m.step()
				deepest = max(deepest, m.engine.books["SIM:A"].bids.len())
			}
			if m.live < m.records/3 || deepest < least || m.middle == 0 {
				t.Fatalf("the run proves little: %d records, live after %d, %d levels at most, middle %d", m.records, m.live, deepest, m.middle)
			}
		})
	}
}

func TestAnyRunOfRecordsKeepsViewsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "") }
		m := newMarket(t, draw, draw(2) == 1)
		m.wide = draw(2) == 1
		for range 1 + draw(40) {
			m.step()
		}
	})
}

var marketViews = []proto.View{
	{Depth: 1}, {Depth: 2}, {Depth: 3, Counts: true}, {Depth: 5}, {Depth: 10, Counts: true}, {}, {Counts: true},
	{Depth: 1, Group: groupOf(7)}, {Depth: 3, Group: groupOf(2), Counts: true}, {Depth: 5, Group: groupOf(7), Counts: true},
	{Group: groupOf(3), Counts: true}, {Depth: 2, Group: groupOf(1 << 20)}, {Group: groupOf(1<<62 - 3)}, {Depth: 1, Group: groupOf(1<<63 - 1)},
}

// groupOf is the group of a price mantissa under the default exponents.
func groupOf(mantissa int64) proto.Group {
	g, err := proto.ParseGroup(string(proto.AppendDecimal(nil, mantissa, proto.DefaultExponents.Price)))
	if err != nil {
		panic(err)
	}
	return g
}

// market feeds one symbol's book and compares it after every record.
type market struct {
	fatalf  func(string, ...any)
	choose  chooser
	byOrder bool
	wide    bool  // see price
	middle  int64 // of its prices
	engine  *Engine
	naive   *naive
	seq     int64
	source  uint64 // newest source sequence sent
	nextID  uint64
	clients []*client
	flips   bool // snapshots make the book by order or by level

	orderClients []*orderClient // of a book that is or may be by order
	refusedViews int
	held         []proto.Event // of an event that continues
	old          bool          // catching up
	stale        bool

	records, events, live, refused, resets, deltas int
}

type fataler interface{ Fatalf(string, ...any) }

func newMarket(t fataler, choose chooser, byOrder bool) *market {
	e, err := New(Config{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	e.Begin(7, true)
	e.CatchingUp(false)
	m := &market{fatalf: t.Fatalf, choose: choose, byOrder: byOrder, engine: e, nextID: 1}
	m.naive = &naive{whole: true, levels: map[naiveKey]proto.Level{}}
	// The first record makes the symbol known.
	m.send([]proto.Event{{Kind: proto.EventHeartbeat}}, 1, 1, false)
	for range 8 {
		m.join(marketViews[m.choose(len(marketViews))])
	}
	for _, v := range orderViews {
		if byOrder {
			m.joinOrders(v)
		}
	}
	return m
}

// step sends one record and compares everything.
func (m *market) step() {
	var events []proto.Event
	for range 1 + m.choose(3) {
		events = append(events, m.event())
	}
	first := m.source + 1
	last := first + uint64(m.choose(3))
	more := m.choose(20) == 0
	if len(m.held) == 0 && !more {
		switch m.choose(60) {
		case 0: // a hole
			first, last = first+1, last+1
		case 1: // seen before
			first, last = 1, m.source
		case 2: // seen in part
			first = m.source
		}
	}
	if m.seq%8 == 0 { // as after many orders have gone
		m.engine.books["SIM:A"].packOrders()
	}
	m.send(events, first, last, more)
	m.disturb()
	if m.choose(30) == 0 {
		i := m.choose(len(m.clients))
		m.clients[i].view.Close()
		m.clients = slices.Delete(m.clients, i, i+1)
		m.join(marketViews[m.choose(len(marketViews))])
		if m.byOrder || m.flips {
			m.rejoinOrders()
		}
	}
}

// disturb tells the engine what no record says.
func (m *market) disturb() {
	switch m.choose(300) {
	case 0, 1, 2:
		m.stale = !m.stale
		m.engine.SetStale("f", proto.ReasonSourceSilent, m.stale)
	case 3, 4, 5:
		m.engine.Refuse([]string{"", "SIM:A"}[m.choose(2)], m.seq, proto.ReasonBadRecord)
		m.naive.empty()
		m.naive.whole, m.held = false, nil
		m.naive.source = m.source
	case 6:
		m.old = true
		m.engine.CatchingUp(true)
	default:
		if !m.old || m.choose(10) > 0 {
			return
		}
		m.old = false
		m.engine.CatchingUp(false)
	}
	m.compare()
}

// send applies a record to both books. The naive one gets the records of an event
// that continues as one.
func (m *market) send(events []proto.Event, first, last uint64, more bool) {
	if slices.ContainsFunc(events, func(e proto.Event) bool { return e.Kind == proto.EventNone }) {
		more = false // refused as soon as it is seen
	}
	r := &proto.Batch{Symbol: "SIM:A", Feed: "f", Seq: m.seq, FirstSourceSeq: first, LastSourceSeq: last, Events: slices.Clone(events), More: more}
	m.seq += 1 + int64(m.choose(2))
	m.source = max(m.source, last)
	m.records++
	m.events += len(events)
	outcome, err := m.engine.Apply(r)
	clear(r.Events)
	m.held = append(m.held, events...)
	if more {
		if outcome != proto.Held || err != nil {
			m.fatalf("a record that continues: outcome %d, %v", outcome, err)
		}
		m.compare()
		return
	}
	if len(m.held) > len(events) {
		first = m.naive.source + 1
	}
	next, refused := m.naive.apply(&proto.Batch{Seq: r.Seq, Events: m.held, FirstSourceSeq: first, LastSourceSeq: last})
	m.naive, m.held = next, nil
	if refused != (err != nil) {
		m.fatalf("seq %d: refused by the naive book: %v; engine says %d, %v", r.Seq, refused, outcome, err)
	}
	if refused {
		m.refused++
	}
	m.compare()
}

// event makes an event, for the most part a good one.
func (m *market) event() proto.Event {
	levels := func(side proto.Side, n int, least int64) []proto.Level {
		var list []proto.Level
		for range n {
			l := proto.Level{Price: m.price(side), Qty: least + int64(m.choose(6)), Count: uint32(m.choose(3))}
			if least == 0 && m.choose(300) == 0 {
				l.Qty, l.Count = 1<<62+int64(m.choose(3)), 1<<32-1-uint32(m.choose(3))
			}
			list = append(list, l)
		}
		return list
	}
	switch k := m.choose(200); {
	case k < 6 || k < 40 && !m.naive.whole:
		return m.snapshot()
	case k < 7:
		return proto.Event{Kind: proto.EventClear, SessionStart: m.choose(2) == 0}
	case k < 12:
		return proto.Event{Kind: proto.EventPhase, Phase: proto.Phase(m.choose(6))}
	case k < 14:
		return proto.Event{Kind: proto.EventTrade, Trade: proto.Trade{Price: 100, Qty: int64(m.choose(6))}}
	case k == 14:
		return proto.Event{Kind: proto.EventNone}
	case k == 17:
		return proto.Event{Kind: proto.EventInstrument, Instrument: &proto.Instrument{
			Exponents: proto.DefaultExponents, MaxLevels: uint32(m.choose(5) * 6),
		}}
	case k == 15: // of the other kind of book
		return proto.Event{Kind: proto.EventDelete, OrderID: 1 << 60}
	case k == 16:
		return proto.Event{Kind: proto.EventSetLevels, Bids: levels(proto.Bid, 1, -1)}
	case m.byOrder:
		return m.orderEvent()
	}
	return proto.Event{Kind: proto.EventSetLevels, Bids: levels(proto.Bid, m.choose(4), 0), Asks: levels(proto.Ask, m.choose(4), 0)}
}

// price is one of few, so that levels meet; a few cross. In a wide market it is
// dense near the middle, and beyond as far away as 64 bits allow; the middle jumps.
func (m *market) price(side proto.Side) int64 {
	away := int64(m.choose(16))
	switch {
	case m.choose(400) == 0:
		away = -2
	case m.wide && m.choose(3) == 0:
		away <<= m.choose(59)
	case m.wide && m.choose(2) == 0:
		away = int64(m.choose(300))
	}
	if m.wide && m.choose(1500) == 0 {
		m.middle = int64(m.choose(1<<20)) - 1<<19
	}
	if side == proto.Bid {
		return m.middle + 99 - away
	}
	return m.middle + 101 + away
}

// rejoinOrders closes a view of orders, if there are many, and opens another.
func (m *market) rejoinOrders() {
	if len(m.orderClients) >= len(orderViews) {
		i := m.choose(len(m.orderClients))
		m.orderClients[i].view.Close()
		m.orderClients = slices.Delete(m.orderClients, i, i+1)
	}
	m.joinOrders(orderViews[m.choose(len(orderViews))])
}

func (m *market) snapshot() proto.Event {
	if m.flips {
		m.byOrder = m.choose(2) == 0
	}
	e := proto.Event{Kind: proto.EventSnapshot, ByOrder: m.byOrder, MaxLevels: uint32(m.choose(4) * 6), KnownLevels: uint32(max(0, m.choose(24)-12))}
	for _, side := range []proto.Side{proto.Bid, proto.Ask} {
		var levels []proto.Level
		var orders []proto.Order
		for range m.choose(14) {
			price := m.price(side)
			m.nextID++
			orders = append(orders, proto.Order{ID: m.nextID, Price: price, Qty: 1 + int64(m.choose(5))})
			if m.choose(100) == 0 || !slices.ContainsFunc(levels, func(l proto.Level) bool { return l.Price == price }) {
				levels = append(levels, proto.Level{Price: price, Qty: 1 + int64(m.choose(5)), Count: uint32(m.choose(3))})
			}
		}
		switch {
		case m.byOrder && side == proto.Bid:
			e.BidOrders = orders
		case m.byOrder:
			e.AskOrders = orders
		case side == proto.Bid:
			e.Bids = levels
		default:
			e.Asks = levels
		}
	}
	return e
}

func (m *market) orderEvent() proto.Event {
	side := proto.Side(1 + m.choose(2))
	m.nextID++
	if len(m.naive.orders) == 0 || m.choose(3) == 0 || m.wide && m.choose(2) == 0 {
		id := m.nextID
		if m.choose(4) == 0 { // one that may have been there before, on either side
			id = 1 + uint64(m.choose(int(id)))
		}
		return proto.Event{Kind: proto.EventAdd, OrderID: id, Side: side, Price: m.price(side), Qty: 1 + int64(m.choose(5))}
	}
	o := m.naive.orders[m.choose(len(m.naive.orders))]
	e := proto.Event{Kind: proto.EventModify + proto.EventKind(m.choose(5)), OrderID: o.id, NewOrderID: m.nextID, Price: m.price(o.side), Qty: 1 + int64(m.choose(5))}
	switch {
	case e.Kind == proto.EventModify && m.choose(2) == 0:
		e.KeepPriority, e.Price = true, o.price
	case e.Kind == proto.EventModify && m.choose(3) == 0:
		e.Price = o.price
	case e.Kind == proto.EventReduce || e.Kind == proto.EventExecute:
		if m.choose(60) > 0 {
			e.Qty = min(e.Qty, o.qty)
		}
		e.HasQtyAfter, e.QtyAfter = m.choose(2) == 0, o.qty-e.Qty
	}
	switch m.choose(150) {
	case 0:
		e.OrderID = 1 << 50
	case 1:
		e.NewOrderID = o.id
	case 2:
		e.Qty = 0
	}
	return e
}

func (m *market) compare() {
	b := m.engine.books["SIM:A"]
	n := m.naive
	shown := n.whole && !m.old
	want := proto.Recovering
	switch {
	case shown && m.stale:
		want = proto.Stale
	case shown:
		want = proto.Live
	}
	if got := m.engine.Symbols()[0].State; got != want {
		m.fatalf("seq %d: state %d, want %d", b.seq, got, want)
	}
	if shown {
		m.live++
	}
	if b.kind == keptByOrder {
		m.compareQueue(&b.bids, b, n.queue(proto.Bid))
		m.compareQueue(&b.asks, b, n.queue(proto.Ask))
	}
	var s proto.Snapshot
	for _, c := range m.clients {
		bids, bidsFit := n.view(proto.Bid, c.view.key.View)
		asks, asksFit := n.view(proto.Ask, c.view.key.View)
		shown := shown && bidsFit && asksFit
		if !shown {
			bids, asks = nil, nil
		}
		c.view.Snapshot(&s)
		if partial := m.records%4 == 0 && shown && n.partial(c.view.key.View); m.records%4 == 0 && (s.Partial != partial || c.partial != partial) {
			m.fatalf("seq %d: view %+v says partial: %v, its client %v; want %v", b.seq, c.view.key.View, s.Partial, c.partial, partial)
		}
		if !slices.Equal(s.Bids, bids) || !slices.Equal(s.Asks, asks) {
			m.fatalf("seq %d: view %+v shows\n%v %v\nthe naive book has\n%v %v", b.seq, c.view.key.View, s.Bids, s.Asks, bids, asks)
		}
		if s.Hash != proto.HashLevels(bids, asks) {
			m.fatalf("seq %d: view %+v has hash %08x", b.seq, c.view.key.View, s.Hash)
		}
		c.compare(bids, asks, shown)
	}
	m.compareOrders(shown)
}

func (m *market) compareQueue(s *side, b *book, want []naiveOrder) {
	var got []naiveOrder
	w := s.walk(math.MaxInt64)
	for l := w.next(); l != nil; l = w.next() {
		for slot := l.head; slot != 0; slot = b.orders.slab[slot].next {
			o := b.orders.slab[slot]
			got = append(got, naiveOrder{o.id, o.side, o.key ^ s.mask, o.qty, rank{o.rankSeq, o.rankIndex}})
		}
	}
	if !slices.Equal(got, want) {
		m.fatalf("seq %d: queue\n%v\nnaive\n%v", b.seq, got, want)
	}
}
