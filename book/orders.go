package book

import (
	"math"

	"github.com/depthcast/depthcast/proto"
)

// order is one live order, in a slot of its book's slab. next and prev are the
// slots of its neighbours in the queue of its level, oldest first; 0: none. Free
// slots are chained by next.
type order struct {
	id         uint64
	key        int64
	qty        int64
	next, prev uint32
	side       proto.Side
}

// orders are the live orders of a book.
type orders struct {
	slab  []order // slot 0 is never used
	free  uint32  // first free slot; 0: none
	index index
	most  int
}

func (o *orders) clear() {
	o.slab, o.free = o.slab[:0], 0
	o.index.clear()
}

// take returns a slot that holds v.
func (o *orders) take(v order) uint32 {
	slot := o.free
	if slot != 0 {
		o.free = o.slab[slot].next
		o.slab[slot] = v
	} else {
		if len(o.slab) == 0 {
			o.slab = append(o.slab, order{})
		}
		slot = uint32(len(o.slab))
		o.slab = append(o.slab, v)
	}
	o.index.put(v.id, slot)
	return slot
}

// give frees a slot that no queue holds any more.
func (o *orders) give(slot uint32) {
	v := &o.slab[slot]
	o.index.remove(v.id)
	*v = order{next: o.free}
	o.free = slot
}

// side returns the side of that name; nil for none.
func (b *book) side(which proto.Side) *side {
	switch which {
	case proto.Bid:
		return &b.bids
	case proto.Ask:
		return &b.asks
	}
	return nil
}

// add puts a new order behind all others at its price.
func (b *book) add(which proto.Side, id uint64, price, qty int64) *refusal {
	s := b.side(which)
	switch {
	case s == nil:
		return errBadSide
	case id == 0:
		return errZeroOrder
	case qty <= 0:
		return errBadQty
	case b.orders.index.get(id) != 0:
		return errDuplicateOrder
	case b.orders.index.n >= b.orders.most:
		return errTooManyOrders
	}
	key := price ^ s.mask
	at, err := b.room(s, key, qty)
	if err != nil {
		return err
	}
	b.enqueue(s, at, b.orders.take(order{id: id, key: key, qty: qty, side: which}))
	return nil
}

// room returns the place of the level of key, which it makes if need be, once it
// is sure that qty fits in.
func (b *book) room(s *side, key, qty int64) (int, *refusal) {
	at, found := s.find(key)
	if !found {
		if len(s.levels) >= s.most {
			return 0, errTooManyLevels
		}
		s.touch(key, 0)
		s.insert(at, level{key: key})
		return at, nil
	}
	if s.levels[at].qty > math.MaxInt64-qty {
		return 0, errOverflow
	}
	s.touch(key, s.levels[at].qty)
	return at, nil
}

// enqueue puts the order of slot at the end of the queue of the level at.
func (b *book) enqueue(s *side, at int, slot uint32) {
	l, v := &s.levels[at], &b.orders.slab[slot]
	v.next, v.prev = 0, l.tail
	if l.tail != 0 {
		b.orders.slab[l.tail].next = slot
	} else {
		l.head = slot
	}
	l.tail = slot
	l.qty += v.qty
	l.count++
}

// dequeue takes the order of slot out of its level, and the level away if it was
// the last, unless keep is set.
func (b *book) dequeue(slot uint32, keep bool) {
	v := &b.orders.slab[slot]
	s := b.side(v.side)
	at, _ := s.find(v.key)
	l := &s.levels[at]
	s.touch(v.key, l.qty)
	if v.prev != 0 {
		b.orders.slab[v.prev].next = v.next
	} else {
		l.head = v.next
	}
	if v.next != 0 {
		b.orders.slab[v.next].prev = v.prev
	} else {
		l.tail = v.prev
	}
	l.qty -= v.qty
	l.count--
	if l.count == 0 && !keep {
		s.remove(at)
	}
}

// modify gives an order another price and quantity. It goes to the end of the
// queue unless keep is set, which needs the same price.
func (b *book) modify(id uint64, price, qty int64, keep bool) *refusal {
	slot := b.orders.index.get(id)
	if slot == 0 {
		return errUnknownOrder
	}
	if qty <= 0 {
		return errBadQty
	}
	v := &b.orders.slab[slot]
	s := b.side(v.side)
	key := price ^ s.mask
	if key != v.key {
		if keep {
			return errPriorityPrice
		}
		b.dequeue(slot, false)
		v.key, v.qty = key, qty
		at, err := b.room(s, key, qty)
		if err != nil {
			return err
		}
		b.enqueue(s, at, slot)
		return nil
	}
	at, _ := s.find(key)
	if l := &s.levels[at]; l.qty-v.qty > math.MaxInt64-qty {
		return errOverflow
	}
	if !keep {
		b.dequeue(slot, true)
		v.qty = qty
		b.enqueue(s, at, slot)
		return nil
	}
	s.touch(key, s.levels[at].qty)
	s.levels[at].qty += qty - v.qty
	v.qty = qty
	return nil
}

// reduce takes qty off an order, which is gone at 0, and returns what the order
// was before.
func (b *book) reduce(e *proto.Event) (order, *refusal) {
	slot := b.orders.index.get(e.OrderID)
	if slot == 0 {
		return order{}, errUnknownOrder
	}
	v := &b.orders.slab[slot]
	was := *v
	switch {
	case e.Qty <= 0:
		return was, errBadQty
	case e.Qty > v.qty:
		return was, errBelowZero
	case e.HasQtyAfter && e.QtyAfter != v.qty-e.Qty:
		return was, errQtyMismatch
	case e.Qty == v.qty:
		b.dequeue(slot, false)
		b.orders.give(slot)
		return was, nil
	}
	s := b.side(v.side)
	at, _ := s.find(v.key)
	s.touch(v.key, s.levels[at].qty)
	s.levels[at].qty -= e.Qty
	v.qty -= e.Qty
	return was, nil
}

// replace ends the order old and adds another on its side.
func (b *book) replace(old, id uint64, price, qty int64) *refusal {
	slot := b.orders.index.get(old)
	if slot == 0 {
		return errUnknownOrder
	}
	if b.orders.index.get(id) != 0 {
		return errDuplicateOrder
	}
	which := b.orders.slab[slot].side
	b.dequeue(slot, false)
	b.orders.give(slot)
	return b.add(which, id, price, qty)
}

func (b *book) delete(id uint64) *refusal {
	slot := b.orders.index.get(id)
	if slot == 0 {
		return errUnknownOrder
	}
	b.dequeue(slot, false)
	b.orders.give(slot)
	return nil
}

// trim takes the worst levels of a side away until most are left, with their orders.
func (b *book) trim(s *side, most int) {
	if most == 0 || len(s.levels) <= most {
		return
	}
	gone := len(s.levels) - most
	for i := gone - 1; i >= 0; i-- {
		l := &s.levels[i]
		s.touch(l.key, l.qty)
		for slot := l.head; slot != 0; {
			next := b.orders.slab[slot].next
			b.orders.give(slot)
			slot = next
		}
	}
	s.levels = s.levels[:copy(s.levels, s.levels[gone:])]
}
