package feed

import (
	"fmt"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// How often the things happen that time alone decides.
const (
	heartbeatEvery  = int64(time.Second)
	statisticsEvery = int64(5 * time.Second)
	continuousFor   = int64(90 * time.Second)
	haltedFor       = int64(4 * time.Second)
	auctionFor      = int64(8 * time.Second)
)

// open starts the session: the books are empty and whole, then the first orders
// arrive.
func (m *Market) open(now int64) {
	m.started, m.now = true, now
	m.session = fmt.Sprintf("%s/%d", time.Unix(0, now).UTC().Format(time.RFC3339Nano), m.cfg.Seed)
	for i, b := range m.books {
		r := m.record(b, now)
		event(r, proto.EventInstrument).Instrument = &b.def
		event(r, proto.EventClear).SessionStart = true
		event(r, proto.EventPhase).Phase = b.phase
		b.statistics.PreviousClose = proto.Optional{Value: b.anchor * b.def.Tick, Set: true}
		m.statistics(b, r)
		m.seal(b, r)
		for n := b.depth * 2; n > 0; n -= openingBatch {
			r = m.record(b, now)
			for range min(n, openingBatch) {
				m.place(b, r)
			}
			m.seal(b, r)
		}
		r = m.record(b, now)
		m.tidy(b, r)
		m.seal(b, r)
		// Staggered, so that snapshots do not come all at once.
		b.snapshotDue = now + int64(m.cfg.SnapshotEvery)*int64(i+1)/int64(len(m.books))
		b.secondDue = now + heartbeatEvery
		b.statisticDue = now + statisticsEvery*int64(i+1)/int64(len(m.books))
		b.phaseEnd = now + continuousFor/3
	}
}

// timers does what is due by now.
func (m *Market) timers(now int64) {
	for _, b := range m.books {
		if b.auctioned && now >= b.phaseEnd {
			m.nextPhase(b, now)
		}
		if now >= b.secondDue {
			b.secondDue = now + heartbeatEvery
			m.second(b, now)
		}
		if b.traded && now >= b.statisticDue {
			b.statisticDue = now + statisticsEvery
			r := m.record(b, now)
			m.statistics(b, r)
			m.seal(b, r)
		}
		if now >= b.snapshotDue {
			b.snapshotDue = now + int64(m.cfg.SnapshotEvery)
			m.snapshot(b, now)
		}
	}
}

// second sends a sign of life of the feed to b's partition, and in an auction
// where the price stands. A sign of life has no source sequence.
func (m *Market) second(b *marketBook, now int64) {
	r := m.record(b, now)
	r.HasExponents = false
	event(r, proto.EventHeartbeat)
	if b.phase != proto.Auction {
		return
	}
	r = m.record(b, now)
	e := event(r, proto.EventPhase)
	e.Phase = proto.Auction
	if price, qty := b.uncrossing(); qty > 0 {
		e.Indicative = proto.Indicative{Price: price * b.def.Tick, Qty: qty * b.def.Lot, HasPrice: true, HasQty: true}
	}
	m.seal(b, r)
}

func (m *Market) statistics(b *marketBook, r *proto.Batch) {
	s := b.statistics
	event(r, proto.EventStatistics).Statistics = &s
	b.traded = false
}

// nextPhase goes from continuous trading to a halt, to an auction, and back.
func (m *Market) nextPhase(b *marketBook, now int64) {
	r := m.record(b, now)
	switch b.phase {
	case proto.Continuous:
		b.phase, b.phaseEnd = proto.Halted, now+haltedFor
	case proto.Halted:
		b.phase, b.phaseEnd = proto.Auction, now+auctionFor
	default:
		m.uncross(b, r, now)
		b.phase, b.phaseEnd = proto.Continuous, now+continuousFor
	}
	event(r, proto.EventPhase).Phase = b.phase
	m.seal(b, r)
}

// gather does one thing of an auction: orders come at prices on both sides of
// the fair one, and some go.
func (m *Market) gather(b *marketBook, r *proto.Batch) {
	if m.rand.IntN(4) == 0 || len(b.live) >= maxLiveOrders {
		m.cancel(b, r)
		return
	}
	side, beyond := m.side(), m.rand.Int64N(12)-8
	price := b.fairTick() + beyond
	if side == proto.Bid {
		price = b.fairTick() - beyond
	}
	m.add(b, r, side, price, m.size(b))
}

// uncrossing returns the price, in ticks, at which the crossed part of the book
// trades: midway between the last two orders that match. qty is in lots, 0 where
// nothing matches.
func (b *marketBook) uncrossing() (price, qty int64) {
	bid, ask := walk{l: &b.bids}, walk{l: &b.asks}
	for {
		x, y := bid.order(), ask.order()
		if x == nil || y == nil || x.price < y.price {
			return price, qty
		}
		n := min(x.qty-bid.taken, y.qty-ask.taken)
		qty += n
		price = y.price + (x.price-y.price)/2
		bid.take(n)
		ask.take(n)
	}
}

// walk goes through the orders of a side in priority.
type walk struct {
	l        *ladder
	level, i int
	taken    int64 // lots of the order at hand
}

func (w *walk) order() *order {
	if w.level == len(w.l.levels) {
		return nil
	}
	return w.l.levels[w.level].orders[w.i]
}

func (w *walk) take(n int64) {
	if w.taken += n; w.taken < w.order().qty {
		return
	}
	w.taken = 0
	if w.i++; w.i == len(w.l.levels[w.level].orders) {
		w.level, w.i = w.level+1, 0
	}
}

// uncross ends an auction: what crosses trades at one price. The executions of
// both sides are not printed; the trade is.
func (m *Market) uncross(b *marketBook, r *proto.Batch, now int64) {
	price, _ := b.uncrossing()
	for len(b.bids.levels) > 0 && len(b.asks.levels) > 0 && b.bids.levels[0].price >= b.asks.levels[0].price {
		x, y := b.bids.levels[0].orders[0], b.asks.levels[0].orders[0]
		n := min(x.qty, y.qty)
		for _, o := range []*order{x, y} {
			e := m.execute(b, r, o, n)
			e.Unprintable = true
			e.HasPrice, e.Price = true, price*b.def.Tick
		}
		b.nextTrade++
		event(r, proto.EventTrade).Trade = proto.Trade{
			ID: b.nextTrade, Price: price * b.def.Tick, Qty: n * b.def.Lot, VenueTime: now, Flags: proto.TradeAuction,
		}
		b.count(price*b.def.Tick, n*b.def.Lot)
	}
}

// snapshot sends the whole book of b, in parts where it is large.
func (m *Market) snapshot(b *marketBook, now int64) {
	contained := b.sourceSeq
	r := m.record(b, now)
	event(r, proto.EventInstrument).Instrument = &b.def
	event(r, proto.EventPhase).Phase = b.phase
	m.statistics(b, r)
	e := m.snapshotPart(r, contained, false)
	left := snapshotPart
	for _, l := range []*ladder{&b.bids, &b.asks} {
		for _, level := range l.levels {
			for _, x := range level.orders {
				if left == 0 {
					r.More = true
					m.seal(b, r)
					r = m.record(b, now)
					e, left = m.snapshotPart(r, contained, true), snapshotPart
				}
				left--
				o := proto.Order{ID: x.id, Price: x.price * b.def.Tick, Qty: x.qty * b.def.Lot}
				if x.side == proto.Bid {
					e.BidOrders = append(e.BidOrders, o)
				} else {
					e.AskOrders = append(e.AskOrders, o)
				}
			}
		}
	}
	m.seal(b, r)
}

func (m *Market) snapshotPart(r *proto.Batch, contained uint64, continued bool) *proto.Event {
	e := event(r, proto.EventSnapshot)
	e.ByOrder, e.SourceSeq, e.Continued = true, contained, continued
	return e
}
