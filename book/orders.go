package book

import (
	"math"

	"github.com/depthcast/depthcast/proto"
)

// order is one live order, in a slot of its book's slab. next and prev are the
// slots of its neighbours in the queue of its level, oldest first; 0: none. Free
// slots are chained by next.
//
// Its rank says when it got its priority: rankSeq is the book's seq after that
// batch, rankIndex counts the orders that got a rank in it, from 0. An add, a
// replacement, a modification that does not keep priority, and a snapshot (bids
// before asks) give a rank; what reduces an order leaves it. So within a queue
// ranks rise.
type order struct {
	id         uint64
	key        int64
	qty        int64
	rankSeq    int64
	rankIndex  uint32
	next, prev uint32
	side       proto.Side
}

// orders are the live orders of a book.
type orders struct {
	slab  []order // slot 0 is never used
	free  uint32  // first free slot; 0: none
	index index
	most  int

	// Of the batch in hand: the rank of the next order to get one.
	rankSeq   int64
	rankIndex uint32

	touches *orderTouches // of the batch in hand; nil: nobody asks
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
	return b.enter(s, id, price, qty)
}

// enter is add, where side, identifier and quantity are known to be right.
func (b *book) enter(s *side, id uint64, price, qty int64) *refusal {
	key := price ^ s.mask
	l, err := s.room(key, qty)
	if err != nil {
		return err
	}
	b.orders.enqueue(l, b.orders.take(id, s.which, key, qty))
	return nil
}

// room returns the level of key, made if need be, touched, once it is sure that
// qty fits in.
func (s *side) room(key, qty int64) (*level, *refusal) {
	l := s.get(key)
	if l == nil {
		return s.put(key)
	}
	if l.qty > math.MaxInt64-qty {
		return nil, errOverflow
	}
	s.touch(key, l.qty, l.count)
	return l, nil
}

// join puts an order of a snapshot or checkpoint behind those of l, which is on
// that side at key.
func (o *orders) join(l *level, which proto.Side, key int64, id uint64, qty int64) *refusal {
	switch {
	case id == 0:
		return errZeroOrder
	case qty <= 0:
		return errBadQty
	case o.index.get(id) != 0:
		return errDuplicateOrder
	case l.qty > math.MaxInt64-qty:
		return errOverflow
	}
	o.enqueue(l, o.take(id, which, key, qty))
	return nil
}

// enqueue puts the order of slot at the end of the queue of l, which gives it a rank.
func (o *orders) enqueue(l *level, slot uint32) {
	v := &o.slab[slot]
	v.rankSeq, v.rankIndex = o.rankSeq, o.rankIndex
	o.rankIndex++
	l.qty += v.qty
	l.count++
	o.link(l, slot)
}

// link puts the order of slot at the end of the queue of l, whose sums have it.
func (o *orders) link(l *level, slot uint32) {
	v := &o.slab[slot]
	v.next, v.prev = 0, l.tail
	if l.tail != 0 {
		o.slab[l.tail].next = slot
	} else {
		l.head = slot
	}
	l.tail = slot
}

// dequeue takes the order of v out of the queue of l.
func (o *orders) dequeue(l *level, v *order) {
	if v.prev != 0 {
		o.slab[v.prev].next = v.next
	} else {
		l.head = v.next
	}
	if v.next != 0 {
		o.slab[v.next].prev = v.prev
	} else {
		l.tail = v.prev
	}
	l.qty -= v.qty
	l.count--
}

// withdraw takes the order of slot out of its level, and the level away if it was
// the last. The slot is still taken.
func (b *book) withdraw(slot uint32) {
	v := &b.orders.slab[slot]
	s := b.side(v.side)
	l := s.get(v.key)
	s.touch(v.key, l.qty, l.count)
	b.orders.note(v)
	b.orders.dequeue(l, v)
	if l.count == 0 {
		s.remove(v.key)
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
		b.withdraw(slot)
		v.key, v.qty = key, qty
		l, err := s.room(key, qty)
		if err != nil {
			return err
		}
		b.orders.enqueue(l, slot)
		return nil
	}
	l := s.get(key)
	if l.qty-v.qty > math.MaxInt64-qty {
		return errOverflow
	}
	s.touch(key, l.qty, l.count)
	b.orders.note(v)
	if keep {
		l.qty += qty - v.qty
		v.qty = qty
		return nil
	}
	b.orders.dequeue(l, v)
	v.qty = qty
	b.orders.enqueue(l, slot)
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
		b.withdraw(slot)
		b.orders.give(slot)
		return was, nil
	}
	s := b.side(v.side)
	l := s.get(v.key)
	s.touch(v.key, l.qty, l.count)
	b.orders.note(v)
	l.qty -= e.Qty
	v.qty -= e.Qty
	return was, nil
}

// replace ends the order old and adds another on its side.
func (b *book) replace(old, id uint64, price, qty int64) *refusal {
	slot := b.orders.index.get(old)
	switch {
	case slot == 0:
		return errUnknownOrder
	case b.orders.index.get(id) != 0:
		return errDuplicateOrder
	case id == 0:
		return errZeroOrder
	case qty <= 0:
		return errBadQty
	}
	s := b.side(b.orders.slab[slot].side)
	b.withdraw(slot)
	b.orders.give(slot)
	return b.enter(s, id, price, qty)
}

func (b *book) delete(id uint64) *refusal {
	slot := b.orders.index.get(id)
	if slot == 0 {
		return errUnknownOrder
	}
	b.withdraw(slot)
	b.orders.give(slot)
	return nil
}

// trim takes the worst levels of a side away until most are left, with their orders.
func (b *book) trim(s *side, most int) {
	if s.len() <= most {
		return
	}
	least := s.edge(most)
	w := s.walk(least - 1)
	for l := w.next(); l != nil; l = w.next() {
		s.touch(w.key, l.qty, l.count)
		for slot := l.head; slot != 0; {
			next := b.orders.slab[slot].next
			b.orders.note(&b.orders.slab[slot])
			b.orders.give(slot)
			slot = next
		}
	}
	s.cut(least)
}
