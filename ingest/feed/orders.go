package feed

import "github.com/depthcast/depthcast/proto"

// order is a live order of the simulated market.
type order struct {
	id    uint64
	side  proto.Side
	price int64 // ticks
	qty   int64 // lots
	at    int   // place in orders.live
}

// ladder is one side, best first.
type ladder struct {
	side   proto.Side
	levels []rung
}

type rung struct {
	price  int64
	orders []*order // oldest first; never empty
}

// better reports whether price p comes before q.
func (l *ladder) better(p, q int64) bool {
	if l.side == proto.Bid {
		return p > q
	}
	return p < q
}

// find returns where the level of price is, or would be.
func (l *ladder) find(price int64) (int, bool) {
	low, high := 0, len(l.levels)
	for low < high {
		mid := (low + high) / 2
		if l.better(l.levels[mid].price, price) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low, low < len(l.levels) && l.levels[low].price == price
}

// orders are the live orders of one instrument.
type orders struct {
	bids, asks ladder
	live       []*order // in no order of meaning
}

func newOrders() orders {
	return orders{bids: ladder{side: proto.Bid}, asks: ladder{side: proto.Ask}}
}

func (o *orders) of(side proto.Side) *ladder {
	if side == proto.Bid {
		return &o.bids
	}
	return &o.asks
}

// add puts x behind all others at its price.
func (o *orders) add(x *order) {
	x.at = len(o.live)
	o.live = append(o.live, x)
	o.queue(x)
}

func (o *orders) queue(x *order) {
	l := o.of(x.side)
	i, found := l.find(x.price)
	if !found {
		l.levels = append(l.levels, rung{})
		copy(l.levels[i+1:], l.levels[i:])
		l.levels[i] = rung{price: x.price}
	}
	l.levels[i].orders = append(l.levels[i].orders, x)
}

func (o *orders) unqueue(x *order) {
	l := o.of(x.side)
	i, _ := l.find(x.price)
	queue := l.levels[i].orders
	for j := range queue {
		if queue[j] == x {
			l.levels[i].orders = append(queue[:j], queue[j+1:]...)
			break
		}
	}
	if len(l.levels[i].orders) == 0 {
		l.levels = append(l.levels[:i], l.levels[i+1:]...)
	}
}

// remove ends x.
func (o *orders) remove(x *order) {
	o.unqueue(x)
	last := o.live[len(o.live)-1]
	last.at = x.at
	o.live[x.at] = last
	o.live[len(o.live)-1] = nil
	o.live = o.live[:len(o.live)-1]
}

// move gives x another price, behind all others there.
func (o *orders) move(x *order, price int64) {
	o.unqueue(x)
	x.price = price
	o.queue(x)
}
