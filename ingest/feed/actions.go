package feed

import (
	"github.com/depthcast/depthcast/proto"
)

// trade lets b's market do what fits one record of a gateway: a few actions,
// most often one.
func (m *Market) trade(b *marketBook, r *proto.Batch) {
	m.drift(b)
	for range 1 + m.rand.IntN(1+m.rand.IntN(6)) {
		switch {
		case b.phase == proto.Auction:
			m.gather(b, r)
		case b.phase == proto.Halted:
			m.cancel(b, r)
		default:
			m.act(b, r)
		}
	}
	m.tidy(b, r)
}

// drift moves the fair price: a random walk, drawn back to the anchor, within
// reach of it.
func (m *Market) drift(b *marketBook) {
	b.fair += m.rand.Int64N(2*b.wander+1) - b.wander
	b.fair += (b.anchor*256 - b.fair) / 65536
	b.fair = min(max(b.fair, (b.anchor-b.reach)*256), (b.anchor+b.reach)*256)
}

// fairTick is the fair price in ticks, also below zero.
func (b *marketBook) fairTick() int64 { return b.fair >> 8 }

// act does one thing of continuous trading.
func (m *Market) act(b *marketBook, r *proto.Batch) {
	// What stands on the wrong side of the fair price is taken.
	if ask := b.asks.levels; len(ask) > b.depth/4 && ask[0].price <= b.fairTick() {
		m.sweep(b, r, proto.Ask)
		return
	}
	if bid := b.bids.levels; len(bid) > b.depth/4 && bid[0].price > b.fairTick() {
		m.sweep(b, r, proto.Bid)
		return
	}
	switch n := m.rand.IntN(100); {
	case n < 44:
		m.place(b, r)
	case n < 72:
		m.cancel(b, r)
	case n < 80:
		m.reduce(b, r)
	case n < 87:
		m.modify(b, r)
	case n < 94:
		m.replace(b, r)
	default:
		m.sweep(b, r, m.side())
	}
}

func (m *Market) side() proto.Side {
	if m.rand.IntN(2) == 0 {
		return proto.Bid
	}
	return proto.Ask
}

// size draws a quantity in lots: mostly around the instrument's clip, sometimes
// far above.
func (m *Market) size(b *marketBook) int64 {
	n := 1 + m.rand.Int64N(2*b.clip)
	if m.rand.IntN(50) == 0 {
		n *= 1 + m.rand.Int64N(20)
	}
	return n
}

// quote draws a price in ticks where an order of the side rests without crossing
// the book or the fair price.
func (m *Market) quote(b *marketBook, side proto.Side) int64 {
	distance := m.rand.Int64N(1 + m.rand.Int64N(int64(b.depth)*5/4))
	if side == proto.Bid {
		price := b.fairTick() - distance
		if len(b.asks.levels) > 0 {
			price = min(price, b.asks.levels[0].price-1)
		}
		return price
	}
	price := b.fairTick() + 1 + distance
	if len(b.bids.levels) > 0 {
		price = max(price, b.bids.levels[0].price+1)
	}
	return price
}

// place adds an order.
func (m *Market) place(b *marketBook, r *proto.Batch) {
	if len(b.live) >= maxLiveOrders {
		m.cancel(b, r)
		return
	}
	side := m.side()
	if len(b.bids.levels) < b.depth/2 {
		side = proto.Bid
	} else if len(b.asks.levels) < b.depth/2 {
		side = proto.Ask
	}
	m.add(b, r, side, m.quote(b, side), m.size(b))
}

func (m *Market) add(b *marketBook, r *proto.Batch, side proto.Side, price, qty int64) {
	b.nextOrder++
	x := &order{id: b.nextOrder, side: side, price: price, qty: qty}
	b.add(x)
	e := event(r, proto.EventAdd)
	e.OrderID, e.Side, e.Price, e.Qty = x.id, side, price*b.def.Tick, qty*b.def.Lot
}

// draw returns a live order, or nil. An order on a side that has become thin is
// spared.
func (m *Market) draw(b *marketBook) *order {
	if len(b.live) == 0 {
		return nil
	}
	x := b.live[m.rand.IntN(len(b.live))]
	if len(b.of(x.side).levels) <= b.depth/4 {
		return nil
	}
	return x
}

// cancel deletes an order.
func (m *Market) cancel(b *marketBook, r *proto.Batch) {
	if x := m.draw(b); x != nil {
		b.remove(x)
		event(r, proto.EventDelete).OrderID = x.id
	}
}

// reduce takes a part off an order.
func (m *Market) reduce(b *marketBook, r *proto.Batch) {
	x := m.draw(b)
	if x == nil || x.qty < 2 {
		return
	}
	n := 1 + m.rand.Int64N(x.qty-1)
	x.qty -= n
	e := event(r, proto.EventReduce)
	e.OrderID, e.Qty = x.id, n*b.def.Lot
	e.HasQtyAfter, e.QtyAfter = true, x.qty*b.def.Lot
}

// modify makes an order smaller in its place, or gives it another price.
func (m *Market) modify(b *marketBook, r *proto.Batch) {
	x := m.draw(b)
	if x == nil {
		return
	}
	e := event(r, proto.EventModify)
	if m.rand.IntN(2) == 0 {
		x.qty = 1 + m.rand.Int64N(x.qty)
		e.KeepPriority = true
	} else {
		x.qty = m.size(b)
		b.move(x, m.quote(b, x.side))
	}
	e.OrderID, e.Price, e.Qty = x.id, x.price*b.def.Tick, x.qty*b.def.Lot
}

// replace ends an order and adds another in its stead.
func (m *Market) replace(b *marketBook, r *proto.Batch) {
	x := m.draw(b)
	if x == nil {
		return
	}
	b.remove(x)
	b.nextOrder++
	y := &order{id: b.nextOrder, side: x.side, price: m.quote(b, x.side), qty: m.size(b)}
	b.add(y)
	e := event(r, proto.EventReplace)
	e.OrderID, e.NewOrderID, e.Price, e.Qty = x.id, y.id, y.price*b.def.Tick, y.qty*b.def.Lot
}

// sweep lets a market order take from the best resting orders of the side. It
// leaves the side at least a quarter of its depth.
func (m *Market) sweep(b *marketBook, r *proto.Batch, side proto.Side) {
	want := m.size(b)
	l := b.of(side)
	for want > 0 && len(l.levels) > b.depth/4 {
		x := l.levels[0].orders[0]
		n := min(want, x.qty)
		want -= n
		e := m.execute(b, r, x, n)
		b.nextTrade++
		e.TradeID = b.nextTrade
		b.count(x.price*b.def.Tick, n*b.def.Lot)
	}
}

// execute takes n lots off a resting order by a trade.
func (m *Market) execute(b *marketBook, r *proto.Batch, x *order, n int64) *proto.Event {
	x.qty -= n
	e := event(r, proto.EventExecute)
	e.OrderID, e.Qty = x.id, n*b.def.Lot
	e.HasQtyAfter, e.QtyAfter = true, x.qty*b.def.Lot
	if x.qty == 0 {
		b.remove(x)
	}
	return e
}

// tidy deletes the orders of levels beyond the depth that the market keeps.
func (m *Market) tidy(b *marketBook, r *proto.Batch) {
	for _, l := range []*ladder{&b.bids, &b.asks} {
		for len(l.levels) > b.depth {
			queue := l.levels[len(l.levels)-1].orders
			x := queue[len(queue)-1]
			b.remove(x)
			event(r, proto.EventDelete).OrderID = x.id
		}
	}
}

// count notes a trade in the session's statistics, in mantissas.
func (b *marketBook) count(price, qty int64) {
	s := &b.statistics
	set := func(o *proto.Optional, v int64) { *o = proto.Optional{Value: v, Set: true} }
	if !s.Open.Set {
		set(&s.Open, price)
	}
	if !s.High.Set || price > s.High.Value {
		set(&s.High, price)
	}
	if !s.Low.Set || price < s.Low.Value {
		set(&s.Low, price)
	}
	set(&s.Last, price)
	set(&s.Volume, s.Volume.Value+qty)
	b.traded = true
}
