package book

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// A view of orders shows whole orders of the best levels. It exists in a book by
// order only: one kept by level refuses it, and where a book becomes one its views
// of orders are told that it is recovering, by_level, until it is by order again.
// While none is open nothing is noted of orders.

// orderTouch is an order that the batch in hand has changed, on one side.
type orderTouch struct {
	before order  // when the batch began; quantity 0: it was not there
	slot   uint32 // after it, 0: it is not there; filled in by settle
	nth    uint32 // in order of change: the first of an identifier is the one that counts
}

// orderTouches are what the batch in hand touches of the orders of its book. The
// engine lends them to a book that has views of orders.
type orderTouches struct {
	bids, asks []orderTouch
	replaced   bool // by a snapshot: untouched orders are new
}

func (t *orderTouches) of(which proto.Side) *[]orderTouch {
	if which == proto.Bid {
		return &t.bids
	}
	return &t.asks
}

// note notes an order that is about to change; of quantity 0, one that is about to
// come. One that has its rank from the batch in hand and was not noted before came
// with it.
func (o *orders) note(before *order) {
	if o.touches != nil {
		o.touches.add(before, o.rankSeq)
	}
}

// add is note, where rankSeq is that of the batch in hand.
func (t *orderTouches) add(before *order, rankSeq int64) {
	list := t.of(before.side)
	n := len(*list)
	if n > 0 && (*list)[n-1].before.id == before.id {
		return
	}
	touch := orderTouch{before: *before, nth: uint32(n)}
	if before.rankSeq == rankSeq {
		touch.before.qty = 0
	}
	*list = append(*list, touch)
}

// noteOld notes what views show of the orders of a book that is about to be
// exchanged for another. Those of the other are not noted: all of them are new.
func (b *book) noteOld() {
	t := b.orders.touches
	if t == nil || t.replaced {
		return
	}
	t.replaced = true
	bids, asks := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, v := range b.views {
		if v.key.Channel == proto.ChannelOrders {
			bids, asks = min(bids, v.bidEdge), min(asks, v.askEdge)
		}
	}
	b.noteFrom(&b.bids, bids)
	b.noteFrom(&b.asks, asks)
}

func (b *book) noteFrom(s *side, least int64) {
	q := b.orders.walk(s, math.MaxInt64, least)
	for o := q.next(); o != nil; o = q.next() {
		b.orders.note(o)
	}
}

// queueWalk goes over orders, best level first, oldest first within a level. It
// ends when the side changes.
type queueWalk struct {
	slab   []order
	levels walk
	least  int64  // key of the last level to go to
	slot   uint32 // of the next order; 0: the first of the next level
}

// walk begins at the best level of s whose key is at most from.
func (o *orders) walk(s *side, from, least int64) queueWalk {
	return queueWalk{slab: o.slab, levels: s.walk(from), least: least}
}

// next returns the next order, nil after the last.
func (q *queueWalk) next() *order {
	for q.slot == 0 {
		l := q.levels.next()
		if l == nil || q.levels.key < q.least {
			return nil
		}
		q.slot = l.head
	}
	o := &q.slab[q.slot]
	q.slot = o.next
	return o
}

// trackOrders begins or ends noting which orders are touched.
func (b *book) trackOrders(on bool) {
	b.orders.touches = nil
	if !on || b.orderViews == 0 {
		return
	}
	t := &b.engine.orderTouches
	if cap(t.bids)+cap(t.asks) > maxIdleTouches {
		*t, b.engine.ordersDelta = orderTouches{}, proto.Orders{}
	}
	*t = orderTouches{bids: t.bids[:0], asks: t.asks[:0]}
	b.orders.touches = t
}

// maxIdleTouches is how many touched orders there is room for after a batch. Only
// a snapshot of a live book touches more.
const maxIdleTouches = 1 << 16

// noOrders says why b cannot be seen by order: another kind of book, as far as the
// log was read.
func (e *Engine) noOrders(b *book) error {
	if e.catchingUp {
		return fmt.Errorf("book: %s: by level so far: %w", b.symbol, proto.ErrNotReady)
	}
	return fmt.Errorf("book: %s is kept by level: %w", b.symbol, proto.ErrUnknownChannel)
}

// settle leaves each touched order once, by rising identifier, with its slot.
func (o *orders) settle() {
	for _, which := range []proto.Side{proto.Bid, proto.Ask} {
		list := o.touches.of(which)
		t := *list
		if len(t) > 1 {
			slices.SortFunc(t, func(a, b orderTouch) int {
				return cmp.Or(cmp.Compare(a.before.id, b.before.id), cmp.Compare(a.nth, b.nth))
			})
			t = slices.CompactFunc(t, func(a, b orderTouch) bool { return a.before.id == b.before.id })
		}
		for i := range t {
			if slot := o.index.get(t[i].before.id); slot != 0 && o.slab[slot].side == which {
				t[i].slot = slot
			}
		}
		*list = t
	}
}

// public returns o as others see it.
func (o *order) public(mask int64) proto.RankedOrder {
	return proto.RankedOrder{ID: o.id, Price: o.key ^ mask, Qty: o.qty, RankSeq: o.rankSeq, RankIndex: o.rankIndex}
}

// ordersDelta is delta for a view of orders.
func (v *View) ordersDelta() {
	b, e := v.book, v.book.engine
	touched := b.orders.touches
	if touched == nil || len(touched.bids)+len(touched.asks) == 0 && !touched.replaced {
		return
	}
	d, orders := &e.delta, &e.ordersDelta
	orders.Bids = v.ordersWindow(&b.bids, touched.bids, &v.bidEdge, orders.Bids[:0])
	orders.Asks = v.ordersWindow(&b.asks, touched.asks, &v.askEdge, orders.Asks[:0])
	if orders.Len() == 0 {
		return
	}
	*d = proto.Delta{
		PrevSeq: v.last, Seq: b.seq, Hash: v.hash, Times: b.times, Orders: orders,
		Bids: d.Bids[:0], Asks: d.Asks[:0],
	}
	v.last = b.seq
	v.to.Delta(d)
	d.Orders = nil
}

// ordersWindow appends one side's part of a delta, by rising identifier, and moves
// edge and hash on.
func (v *View) ordersWindow(s *side, touched []orderTouch, edge *int64, out []proto.RankedOrder) []proto.RankedOrder {
	before, after := *edge, s.edge(v.depth)
	*edge = after
	for i := range touched {
		t := &touched[i]
		was := t.before.qty > 0 && t.before.key >= before
		is := t.slot != 0 && v.book.orders.slab[t.slot].key >= after
		if was {
			v.addHash(s, &t.before, false)
		}
		switch {
		case is:
			o := &v.book.orders.slab[t.slot]
			v.addHash(s, o, true)
			out = append(out, o.public(s.mask))
		case was:
			out = append(out, gone(t.before.public(s.mask)))
		}
	}
	// Orders that nobody touched change sides of the window with their level, if
	// that lies between its old and its new edge.
	from, least, entering := max(before, after)-1, min(before, after), after < before
	switch {
	case v.book.orders.touches.replaced:
		from, least, entering = math.MaxInt64, after, true
	case before == after:
		return out
	}
	n := len(out)
	q := v.book.orders.walk(s, from, least)
	for o := q.next(); o != nil; o = q.next() {
		_, found := slices.BinarySearchFunc(touched, o.id, func(t orderTouch, id uint64) int { return cmp.Compare(t.before.id, id) })
		if found {
			continue
		}
		v.addHash(s, o, entering)
		p := o.public(s.mask)
		if !entering {
			p = gone(p)
		}
		out = append(out, p)
	}
	if len(out) > n {
		slices.SortFunc(out, func(a, b proto.RankedOrder) int { return cmp.Compare(a.ID, b.ID) })
	}
	return out
}

func gone(o proto.RankedOrder) proto.RankedOrder {
	o.Qty = 0
	return o
}

// showOrders appends the window of one side, in order.
func (v *View) showOrders(s *side, out []proto.RankedOrder) []proto.RankedOrder {
	q := v.book.orders.walk(s, math.MaxInt64, s.edge(v.depth))
	for o := q.next(); o != nil; o = q.next() {
		out = append(out, o.public(s.mask))
	}
	return out
}

// rebuildOrders makes the hash of a view of orders anew.
func (v *View) rebuildOrders() {
	for _, s := range [...]*side{&v.book.bids, &v.book.asks} {
		q := v.book.orders.walk(s, math.MaxInt64, s.edge(v.depth))
		for o := q.next(); o != nil; o = q.next() {
			v.addHash(s, o, true)
		}
	}
}

// addHash adds an order of s to the hash, or takes it off.
func (v *View) addHash(s *side, o *order, on bool) {
	p := o.public(s.mask)
	if on {
		v.hash += proto.MixOrder(s.which, &p)
	} else {
		v.hash -= proto.MixOrder(s.which, &p)
	}
}
