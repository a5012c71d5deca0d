package book

import (
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// naive is one symbol's book in the plainest way: a list of orders, a map of
// levels, and a copy of everything before each record.
type naive struct {
	whole   bool
	byOrder int // 0: undecided, 1: by level, 2: by order
	orders  []naiveOrder
	levels  map[naiveKey]proto.Level
	limit   uint32               // levels a side that the source keeps, by its snapshot; 0: all
	defined uint32               // likewise, by the instrument's definition
	floor   map[proto.Side]int64 // worst price of a snapshot of a deeper book
	phase   proto.Phase
	source  uint64 // newest source sequence
	next    rank   // of the batch in hand
}

type naiveOrder struct {
	id    uint64
	side  proto.Side
	price int64
	qty   int64
	rank  rank
}

type rank struct {
	seq   int64
	index uint32
}

type naiveKey struct {
	side  proto.Side
	price int64
}

// copy returns a book that shares nothing with n.
func (n *naive) copy() *naive {
	c := *n
	c.orders = slices.Clone(n.orders)
	c.levels = map[naiveKey]proto.Level{}
	for k, l := range n.levels {
		c.levels[k] = l
	}
	return &c
}

func (n *naive) empty() {
	n.orders, n.levels, n.byOrder, n.floor = nil, map[naiveKey]proto.Level{}, 0, nil
}

// apply returns the book after r, and whether r was refused.
func (n *naive) apply(r *proto.Batch) (*naive, bool) {
	c := n.copy()
	heals := !n.whole && r.LastSourceSeq == n.source && r.Events[0].Kind == proto.EventSnapshot
	if r.LastSourceSeq <= n.source && !heals {
		return c, false
	}
	if r.FirstSourceSeq > n.source+1 && n.source > 0 {
		c.whole = false
		c.empty()
	}
	c.source, c.next = r.LastSourceSeq, rank{seq: r.Seq}
	overlap := r.FirstSourceSeq <= n.source && !heals
	before, touching, ok := c.copy(), false, true
	for i := range r.Events {
		k := r.Events[i].Kind
		touching = touching || k.TouchesBook()
		if overlap && c.whole && k >= proto.EventAdd && k <= proto.EventDelete {
			ok = false
		}
	}
	for i := range r.Events {
		if ok {
			ok = c.event(&r.Events[i])
		}
	}
	if !ok && !touching {
		return before, true
	}
	c.trim()
	bids, asks := c.side(proto.Bid), c.side(proto.Ask)
	if ok && len(bids) > 0 && len(asks) > 0 && bids[0].Price > asks[0].Price {
		ok = c.phase != proto.Continuous && c.phase != proto.PhaseUnknown
	}
	if !ok {
		c.whole = false
		c.empty()
		for i := range r.Events {
			switch e := &r.Events[i]; e.Kind {
			case proto.EventPhase:
				c.phase = e.Phase
			case proto.EventInstrument:
				c.defined = e.Instrument.MaxLevels
			}
		}
	}
	return c, !ok
}

// event applies one event; false if it must be refused.
func (n *naive) event(e *proto.Event) bool {
	switch e.Kind {
	case proto.EventNone:
		return false
	case proto.EventHeartbeat:
		return true
	case proto.EventTrade:
		return e.Trade.Qty > 0
	case proto.EventPhase:
		n.phase = e.Phase
		return true
	case proto.EventInstrument:
		n.define(e.Instrument.MaxLevels)
		return true
	case proto.EventClear:
		n.empty()
		n.whole = e.SessionStart
		return true
	case proto.EventSnapshot:
		return n.snapshot(e)
	}
	if !n.whole {
		return true
	}
	mode := 2
	if e.Kind == proto.EventSetLevels {
		mode = 1
	}
	if n.byOrder == 0 {
		n.byOrder = mode
	}
	if n.byOrder != mode {
		return false
	}
	if mode == 1 {
		return n.set(proto.Bid, e.Bids) && n.set(proto.Ask, e.Asks)
	}
	return n.order(e)
}

func (n *naive) set(side proto.Side, levels []proto.Level) bool {
	for _, l := range levels {
		if l.Qty < 0 {
			return false
		}
		if l.Qty == 0 {
			delete(n.levels, naiveKey{side, l.Price})
		} else {
			n.levels[naiveKey{side, l.Price}] = l
		}
	}
	return true
}

func (n *naive) snapshot(e *proto.Event) bool {
	n.empty()
	n.whole, n.byOrder, n.limit = true, 1, e.MaxLevels
	if !e.ByOrder {
		count := len(e.Bids) + len(e.Asks)
		if !n.set(proto.Bid, e.Bids) || !n.set(proto.Ask, e.Asks) || len(n.levels) != count {
			return false
		}
		n.setFloor(int(e.KnownLevels))
		return true
	}
	n.byOrder = 2
	for i, list := range [][]proto.Order{e.BidOrders, e.AskOrders} {
		side := []proto.Side{proto.Bid, proto.Ask}[i]
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b proto.Order) int { return bestFirst(side, a.Price, b.Price) })
		for _, o := range list {
			if !n.add(naiveOrder{id: o.ID, side: side, price: o.Price, qty: o.Qty}) {
				return false
			}
		}
	}
	n.setFloor(int(e.KnownLevels))
	return true
}

// setFloor notes how far down a snapshot shows a deeper book.
func (n *naive) setFloor(known int) {
	n.floor = map[proto.Side]int64{}
	for _, side := range []proto.Side{proto.Bid, proto.Ask} {
		if levels := n.side(side); known > 0 && len(levels) >= known {
			n.floor[side] = levels[len(levels)-1].Price
		}
	}
}

func (n *naive) find(id uint64) int {
	return slices.IndexFunc(n.orders, func(o naiveOrder) bool { return o.id == id })
}

func (n *naive) add(o naiveOrder) bool {
	if o.id == 0 || o.qty <= 0 || n.find(o.id) >= 0 || o.side == 0 {
		return false
	}
	n.enqueue(o)
	return true
}

// enqueue puts an order behind all others.
func (n *naive) enqueue(o naiveOrder) {
	o.rank = n.next
	n.next.index++
	n.orders = append(n.orders, o)
}

func (n *naive) order(e *proto.Event) bool {
	if e.Kind == proto.EventAdd {
		return n.add(naiveOrder{id: e.OrderID, side: e.Side, price: e.Price, qty: e.Qty})
	}
	i := n.find(e.OrderID)
	if i < 0 {
		return false
	}
	o := n.orders[i]
	switch e.Kind {
	case proto.EventDelete:
		n.orders = slices.Delete(n.orders, i, i+1)
	case proto.EventReplace:
		if n.find(e.NewOrderID) >= 0 {
			return false
		}
		n.orders = slices.Delete(n.orders, i, i+1)
		return n.add(naiveOrder{id: e.NewOrderID, side: o.side, price: e.Price, qty: e.Qty})
	case proto.EventModify:
		if e.Qty <= 0 || e.KeepPriority && e.Price != o.price {
			return false
		}
		o.price, o.qty = e.Price, e.Qty
		if e.KeepPriority {
			n.orders[i] = o
			return true
		}
		n.orders = slices.Delete(n.orders, i, i+1)
		n.enqueue(o)
	default:
		if e.Qty <= 0 || e.Qty > o.qty || e.HasQtyAfter && e.QtyAfter != o.qty-e.Qty {
			return false
		}
		n.orders[i].qty -= e.Qty
		if n.orders[i].qty == 0 {
			n.orders = slices.Delete(n.orders, i, i+1)
		}
	}
	return true
}

// known is how many levels a side the source keeps; 0: all.
func (n *naive) known() uint32 {
	if n.limit == 0 || n.defined == 0 {
		return max(n.limit, n.defined)
	}
	return min(n.limit, n.defined)
}

// define takes another limit. Levels that a smaller one had cut off are not known.
func (n *naive) define(limit uint32) {
	knew := n.known()
	n.defined = limit
	if knew != 0 && (n.known() == 0 || n.known() > knew) && n.whole && len(n.levels)+len(n.orders) > 0 {
		n.whole = false
		n.empty()
	}
}

// queue returns the orders of a side, best first, oldest first within a price.
func (n *naive) queue(side proto.Side) []naiveOrder {
	var list []naiveOrder
	for _, o := range n.orders {
		if o.side == side {
			list = append(list, o)
		}
	}
	slices.SortStableFunc(list, func(a, b naiveOrder) int { return bestFirst(side, a.price, b.price) })
	return list
}

// side returns the levels of a side, best first.
func (n *naive) side(side proto.Side) []proto.Level {
	var list []proto.Level
	for k, l := range n.levels {
		if k.side == side {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b proto.Level) int { return bestFirst(side, a.Price, b.Price) })
	for _, o := range n.queue(side) {
		if last := len(list) - 1; last >= 0 && list[last].Price == o.price {
			list[last].Qty += o.qty
			list[last].Count++
		} else {
			list = append(list, proto.Level{Price: o.price, Qty: o.qty, Count: 1})
		}
	}
	return list
}

func bestFirst(side proto.Side, a, b int64) int {
	switch {
	case a == b:
		return 0
	case (a > b) == (side == proto.Bid):
		return -1
	}
	return 1
}

func (n *naive) trim() {
	for _, side := range []proto.Side{proto.Bid, proto.Ask} {
		levels := n.side(side)
		if n.known() == 0 || len(levels) <= int(n.known()) {
			continue
		}
		for _, l := range levels[n.known():] {
			delete(n.levels, naiveKey{side, l.Price})
			n.orders = slices.DeleteFunc(n.orders, func(o naiveOrder) bool { return o.side == side && o.price == l.Price })
		}
	}
}
