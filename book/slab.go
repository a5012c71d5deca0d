package book

import (
	"math"

	"github.com/depthcast/depthcast/proto"
)

// leastSlab is how many slots a slab may have whatever is in use of them.
const leastSlab = 1024

// loose reports whether a slab for n orders has far more slots than they need.
func (o *orders) loose(n int) bool { return len(o.slab) > 8*n+leastSlab }

// clear takes all orders away. Memory stays for about so many as are to come.
func (o *orders) clear(toCome int) {
	if o.loose(toCome) {
		o.slab, o.index = nil, index{}
	}
	o.slab, o.free = o.slab[:0], 0
	o.index.clear()
}

// take returns a slot that holds an order without its place in a queue and its
// rank: both are for enqueue to set.
func (o *orders) take(id uint64, side proto.Side, key, qty int64) uint32 {
	if o.touches != nil {
		o.note(&order{id: id, side: side})
	}
	slot := o.free
	if slot != 0 {
		o.free = o.slab[slot].next
	} else {
		if len(o.slab) == 0 {
			o.slab = append(o.slab, order{})
		}
		slot = uint32(len(o.slab))
		o.slab = append(o.slab, order{})
	}
	v := &o.slab[slot]
	v.id, v.side, v.key, v.qty = id, side, key, qty
	o.index.put(id, slot)
	return slot
}

// give frees a slot that no queue holds any more. But for id and next it keeps what
// it held.
func (o *orders) give(slot uint32) {
	v := &o.slab[slot]
	o.index.remove(v.id)
	v.id, v.next = 0, o.free
	o.free = slot
}

// packOrders makes slab and index anew, without what is free. It comes between
// batches, as every order then has another slot. What it costs was paid for by the
// seven orders in eight that went.
func (b *book) packOrders() {
	o := &b.orders
	old := o.slab
	o.slab, o.free, o.index = make([]order, 1, 1+o.index.n+o.index.n/4), 0, index{}
	for _, s := range [...]*side{&b.bids, &b.asks} {
		w := s.walk(math.MaxInt64)
		for l := w.next(); l != nil; l = w.next() {
			slot := l.head
			l.head, l.tail = 0, 0
			for slot != 0 {
				at := uint32(len(o.slab))
				o.slab = append(o.slab, old[slot])
				o.index.put(old[slot].id, at)
				slot = old[slot].next
				o.link(l, at)
			}
		}
	}
}
