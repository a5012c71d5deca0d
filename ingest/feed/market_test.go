package feed

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// plainBook is the simplest book by order. Any contradiction fails the test.
type plainBook struct {
	t      *testing.T
	symbol string
	orders map[uint64]plainOrder
	rank   uint64
	phase  proto.Phase
	opened bool
	source uint64
	parts  []proto.Order // of a snapshot that continues
	sides  []proto.Side
	held   bool

	snapshots, auctioned, uncrossed int
	trades                          uint64
}

type plainOrder struct {
	proto.Order
	side proto.Side
	rank uint64
}

func (p *plainBook) fail(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf(p.symbol+": "+format, args...)
}

func (p *plainBook) add(id uint64, side proto.Side, price, qty int64) {
	if _, live := p.orders[id]; live || id == 0 || qty <= 0 || side != proto.Bid && side != proto.Ask {
		p.fail("order %d of side %d with %d is live already, or none", id, side, qty)
	}
	p.rank++
	p.orders[id] = plainOrder{proto.Order{ID: id, Price: price, Qty: qty}, side, p.rank}
}

func (p *plainBook) take(e *proto.Event) {
	o, live := p.orders[e.OrderID]
	if !live || e.Qty <= 0 || o.Qty < e.Qty || e.HasQtyAfter && o.Qty-e.Qty != e.QtyAfter {
		p.fail("%d is taken from order %+v (live: %v), %d left", e.Qty, o, live, e.QtyAfter)
	}
	if o.Qty -= e.Qty; o.Qty == 0 {
		delete(p.orders, e.OrderID)
	} else {
		p.orders[e.OrderID] = o
	}
}

// best returns the orders of a side in priority.
func (p *plainBook) best(side proto.Side) []plainOrder {
	var out []plainOrder
	for _, o := range p.orders {
		if o.side == side {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b plainOrder) int {
		switch {
		case a.Price == b.Price:
			return int(a.rank) - int(b.rank)
		case (a.Price > b.Price) == (side == proto.Bid):
			return -1
		}
		return 1
	})
	return out
}

func (p *plainBook) apply(b *proto.Batch) {
	if len(b.Events) == 1 && b.Events[0].Kind == proto.EventHeartbeat {
		return
	}
	if b.FirstSourceSeq != p.source+1 || b.LastSourceSeq != p.source+uint64(len(b.Events)) {
		p.fail("source sequence %d to %d with %d events after %d", b.FirstSourceSeq, b.LastSourceSeq, len(b.Events), p.source)
	}
	for i := range b.Events {
		p.event(&b.Events[i])
	}
	p.source = b.LastSourceSeq
	p.held = b.More
	if p.parts != nil && !b.More {
		p.compare()
	}
}

func (p *plainBook) event(e *proto.Event) {
	if !p.opened && e.Kind != proto.EventInstrument && e.Kind != proto.EventClear || p.held && !e.Continued {
		p.fail("event of kind %d before the session or inside another", e.Kind)
	}
	o := p.orders[e.OrderID]
	switch e.Kind {
	case proto.EventClear:
		p.opened = e.SessionStart
	case proto.EventAdd:
		p.add(e.OrderID, e.Side, e.Price, e.Qty)
	case proto.EventReduce, proto.EventExecute:
		p.take(e)
		if e.Kind == proto.EventExecute && !e.Unprintable {
			if p.trades++; e.TradeID != p.trades {
				p.fail("trade %d after %d", e.TradeID, p.trades-1)
			}
			if p.phase != proto.Continuous {
				p.fail("an execution in phase %d", p.phase)
			}
		}
	case proto.EventModify:
		if o.Qty == 0 || e.KeepPriority && (e.Price != o.Price || e.Qty > o.Qty) {
			p.fail("modify %+v of %+v", e, o)
		}
		if !e.KeepPriority {
			p.rank++
			o.rank = p.rank
		}
		o.Price, o.Qty = e.Price, e.Qty
		p.orders[e.OrderID] = o
	case proto.EventReplace:
		p.take(&proto.Event{OrderID: e.OrderID, Qty: o.Qty})
		p.add(e.NewOrderID, o.side, e.Price, e.Qty)
	case proto.EventDelete:
		p.take(&proto.Event{OrderID: e.OrderID, Qty: o.Qty})
	case proto.EventTrade:
		if p.trades++; e.Trade.Flags != proto.TradeAuction || e.Trade.Qty <= 0 || e.Trade.ID != p.trades || p.phase != proto.Auction {
			p.fail("trade %+v in phase %d", e.Trade, p.phase)
		}
		p.uncrossed++
	case proto.EventPhase:
		p.phase = e.Phase
		if e.Indicative.HasPrice {
			p.auctioned++
		}
	case proto.EventSnapshot:
		if !e.Continued {
			p.parts, p.sides = []proto.Order{}, nil
			if e.SourceSeq != p.source {
				p.fail("a snapshot of %d at %d", e.SourceSeq, p.source)
			}
		}
		p.parts = append(append(p.parts, e.BidOrders...), e.AskOrders...)
	case proto.EventInstrument, proto.EventStatistics:
	default:
		p.fail("event of kind %d", e.Kind)
	}
}

// compare checks a whole snapshot against the book.
func (p *plainBook) compare() {
	want := append(p.best(proto.Bid), p.best(proto.Ask)...)
	if len(want) != len(p.parts) {
		p.fail("a snapshot of %d orders of a book of %d", len(p.parts), len(want))
	}
	for i, o := range p.parts {
		if o != want[i].Order {
			p.fail("order %d of the snapshot is %+v, in the book %+v", i, o, want[i])
		}
	}
	p.parts = nil
	p.snapshots++
}

// levels returns the best price of a side and how many levels it has.
func (p *plainBook) levels(side proto.Side) (best int64, n int) {
	prices := map[int64]bool{}
	for _, o := range p.orders {
		if o.side == side {
			if len(prices) == 0 || (o.Price > best) == (side == proto.Bid) {
				best = o.Price
			}
			prices[o.Price] = true
		}
	}
	return best, len(prices)
}

// simulate runs a market for so many events, at 10 ms a step.
func simulate(t *testing.T, cfg MarketConfig, events int, each func(*proto.Batch)) {
	t.Helper()
	m, err := NewMarket(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano()
	for done := 0; done < events; now += int64(10 * time.Millisecond) {
		for _, b := range m.Step(now) {
			if len(b.Events) == 0 || b.VenueTime > now || b.VenueTime == 0 || b.Session == "" || b.Feed != SimFeed {
				t.Fatalf("a batch that lacks something: %+v", b)
			}
			done += len(b.Events)
			each(b)
		}
	}
}

func TestSimulatedMarketNeverContradictsItself(t *testing.T) {
	books := map[string]*plainBook{}
	total, negative, uncrossedChecks := 0, false, 0
	simulate(t, MarketConfig{Seed: 7, Rate: 1500, SnapshotEvery: 15 * time.Second}, 150_000, func(b *proto.Batch) {
		p := books[b.Symbol]
		if p == nil {
			p = &plainBook{t: t, symbol: b.Symbol, orders: map[uint64]plainOrder{}}
			books[b.Symbol] = p
		}
		p.apply(b)
		if total += len(b.Events); len(p.orders) > maxLiveOrders {
			t.Fatalf("%s has %d live orders", b.Symbol, len(p.orders))
		}
		if total%5 != 0 && p.phase == proto.Continuous && b.Symbol != "SIM:ACME" {
			return // the check is slow
		}
		bid, bids := p.levels(proto.Bid)
		ask, asks := p.levels(proto.Ask)
		if p.phase == proto.Continuous && bids > 0 && asks > 0 && bid >= ask {
			t.Fatalf("%s is crossed: %d, %d", b.Symbol, bid, ask)
		}
		uncrossedChecks++
		negative = negative || bids > 0 && bid < 0
		if bids > 310 || asks > 310 {
			t.Fatalf("%s has %d and %d levels", b.Symbol, bids, asks)
		}
	})
	if len(books) != 20 || !negative || uncrossedChecks < 10_000 {
		t.Fatalf("%d symbols, negative prices: %v, %d checks", len(books), negative, uncrossedChecks)
	}
	snapshots := 0
	for symbol, p := range books {
		snapshots += p.snapshots
		_, bids := p.levels(proto.Bid)
		_, asks := p.levels(proto.Ask)
		if p.trades == 0 || p.snapshots == 0 || bids < 5 || asks < 5 {
			t.Errorf("%s: %d trades, %d snapshots, %d bid and %d ask levels", symbol, p.trades, p.snapshots, bids, asks)
		}
	}
	if p := books["SIM:ACME"]; p.auctioned == 0 || p.uncrossed == 0 {
		t.Errorf("no auction stood or ended: %d, %d", p.auctioned, p.uncrossed)
	}
}

func TestLargeSnapshotsComeInParts(t *testing.T) {
	parts := 0
	books := map[string]*plainBook{}
	simulate(t, MarketConfig{Seed: 3, Instruments: 3, SnapshotEvery: 3 * time.Second}, 30_000, func(b *proto.Batch) {
		p := books[b.Symbol]
		if p == nil {
			p = &plainBook{t: t, symbol: b.Symbol, orders: map[uint64]plainOrder{}}
			books[b.Symbol] = p
		}
		p.apply(b)
		if b.More {
			parts++
		}
	})
	p := books["SIM:ETH-USD"]
	if parts == 0 || p.snapshots == 0 {
		t.Fatalf("%d records continue, %d snapshots of %d orders at last", parts, p.snapshots, len(p.orders))
	}
}

func TestSameSeedMakesTheSameRecords(t *testing.T) {
	sum := func(seed uint64) [32]byte {
		h := sha256.New()
		var buf []byte
		simulate(t, MarketConfig{Seed: seed, Rate: 5000}, 50_000, func(b *proto.Batch) {
			buf = proto.AppendEvents(buf[:0], b)
			h.Write(buf)
		})
		return [32]byte(h.Sum(nil))
	}
	first, again := sum(1), sum(1)
	if first != again {
		t.Error("the same seed made other records")
	}
	if first == sum(2) {
		t.Error("another seed made the same records")
	}
}

func TestRateIsKeptOnAverage(t *testing.T) {
	for _, rate := range []int{500, 20_000} {
		first, last, events := int64(0), int64(0), 0
		simulate(t, MarketConfig{Seed: 9, Rate: rate}, rate*20+20_000, func(b *proto.Batch) {
			if first == 0 {
				first = b.VenueTime
			}
			if last = b.VenueTime; last > first {
				events += len(b.Events)
			}
		})
		got := float64(events) / (float64(last-first) / 1e9)
		if got < float64(rate)*0.8 || got > float64(rate)*1.3 {
			t.Errorf("%.0f events/s, want about %d", got, rate)
		}
	}
}

func TestAPauseIsNotCaughtUpWithoutBound(t *testing.T) {
	m, err := NewMarket(MarketConfig{Rate: 5_000_000})
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1e18)
	m.Step(now)
	for range 20 {
		now += int64(time.Hour)
		events := 0
		for _, b := range m.Step(now) {
			events += len(b.Events)
		}
		// Less what came to nothing; beside what is owed one record too many,
		// snapshots and what else is due.
		if events < maxStepEvents*9/10 || events > maxStepEvents+10_000 {
			t.Fatalf("%d events after a pause", events)
		}
	}
}

func BenchmarkMarket(b *testing.B) {
	m, err := NewMarket(MarketConfig{Rate: 1_000_000})
	if err != nil {
		b.Fatal(err)
	}
	now := int64(1e18)
	var buf []byte
	b.ReportAllocs()
	for done := 0; done < b.N; now += 5e6 {
		for _, r := range m.Step(now) {
			done += len(r.Events)
			buf = proto.AppendEvents(buf[:0], r)
		}
	}
}
