package book

import (
	"cmp"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// parts collects a snapshot, which may come in several events. It is installed
// when the next event is no part of it, at the latest at the end of the batch: so
// all books of an engine share one.
type parts struct {
	active               bool // a first part was seen
	old                  bool // behind the book: its parts are passed over
	byOrder              bool
	limit, known         uint32
	source               uint64
	bids, asks           []proto.Level
	bidOrders, askOrders []proto.Order
	wasBids, wasAsks     []rung // the levels before it, best first, where views must learn the difference
}

// begin starts anew, keeping the memory.
func (p *parts) begin(e *proto.Event) {
	*p = parts{
		active: true, byOrder: byOrder(e), limit: e.MaxLevels, known: e.KnownLevels, source: e.SourceSeq,
		bids: p.bids[:0], asks: p.asks[:0], bidOrders: p.bidOrders[:0], askOrders: p.askOrders[:0],
		wasBids: p.wasBids, wasAsks: p.wasAsks,
	}
}

func byOrder(e *proto.Event) bool {
	return e.ByOrder || len(e.BidOrders)+len(e.AskOrders) > 0
}

// snapshot takes one part of a snapshot.
func (b *book) snapshot(e *proto.Event) *refusal {
	p := b.parts
	switch {
	case !e.Continued:
		p.begin(e)
		p.old = e.SourceSeq != 0 && e.SourceSeq < b.need
	case !p.active:
		if !b.whole {
			// Its first part was lost with the book.
			b.engine.skipped++
			return nil
		}
		return errContinued
	}
	most := b.engine.config
	switch {
	case p.old:
		return nil
	case p.byOrder && len(e.Bids)+len(e.Asks) > 0, !p.byOrder && byOrder(e):
		return errMixedBook
	case len(p.bids)+len(e.Bids) > most.MaxLevels, len(p.asks)+len(e.Asks) > most.MaxLevels:
		return errTooManyLevels
	case len(p.bidOrders)+len(e.BidOrders)+len(p.askOrders)+len(e.AskOrders) > most.MaxOrders:
		return errTooManyOrders
	}
	p.bids, p.asks = append(p.bids, e.Bids...), append(p.asks, e.Asks...)
	p.bidOrders, p.askOrders = append(p.bidOrders, e.BidOrders...), append(p.askOrders, e.AskOrders...)
	return nil
}

// install makes the snapshot collected the book. A live book sees it as a change
// of every level that differs.
func (b *book) install() *refusal {
	p := b.parts
	p.active = false
	if p.old {
		return nil
	}
	differences := b.tracking && b.whole && b.broken == 0
	touches := b.orders.touches
	if differences {
		b.noteOld()
		p.wasBids, p.wasAsks = b.bids.copyTo(p.wasBids[:0]), b.asks.copyTo(p.wasAsks[:0])
	}
	b.empty(len(p.bidOrders) + len(p.askOrders))
	b.orders.touches = nil // none of the new ones is noted
	b.applied++
	b.whole, b.fresh, b.limit = true, false, p.limit
	if p.byOrder {
		b.kind = keptByOrder
		if err := b.fillOrders(&b.bids, p.bidOrders); err != nil {
			return err
		}
		if err := b.fillOrders(&b.asks, p.askOrders); err != nil {
			return err
		}
	} else {
		b.kind = keptByLevel
		if err := b.bids.fill(p.bids); err != nil {
			return err
		}
		if err := b.asks.fill(p.asks); err != nil {
			return err
		}
	}
	b.orders.touches = touches
	b.bids.floor, b.asks.floor = b.bids.floorOf(p.known), b.asks.floorOf(p.known)
	if differences {
		b.bids.touchDifferences(p.wasBids)
		b.asks.touchDifferences(p.wasAsks)
	}
	return nil
}

// fill puts levels into an empty side. It sorts them in place if need be.
func (s *side) fill(levels []proto.Level) *refusal {
	bestFirst := func(x, y proto.Level) int { return cmp.Compare(y.Price^s.mask, x.Price^s.mask) }
	if !slices.IsSortedFunc(levels, bestFirst) {
		slices.SortFunc(levels, bestFirst)
	}
	for i := len(levels) - 1; i >= 0; i-- { // from the worst on, as sides grow best
		from := &levels[i]
		if from.Qty < 0 {
			return errBadQty
		}
		if from.Qty == 0 {
			continue
		}
		key := from.Price ^ s.mask
		if best, ok := s.levels.best(); ok && best == key {
			return errDuplicateLevel
		}
		l := s.place(key)
		l.qty, l.count = from.Qty, from.Count
	}
	s.levels.settle()
	return nil
}

// fillOrders puts orders, oldest first within a price, into an empty side. It
// sorts them in place if need be. Their ranks count them best first.
func (b *book) fillOrders(s *side, list []proto.Order) *refusal {
	bestFirst := func(x, y proto.Order) int { return cmp.Compare(y.Price^s.mask, x.Price^s.mask) }
	if !slices.IsSortedFunc(list, bestFirst) {
		slices.SortStableFunc(list, bestFirst)
	}
	first := b.orders.rankIndex
	for end := len(list); end > 0; { // from the worst level on, as sides grow best
		at := end - 1
		for at > 0 && list[at-1].Price == list[at].Price {
			at--
		}
		if s.len() >= s.most {
			return errTooManyLevels
		}
		key := list[at].Price ^ s.mask
		l := s.place(key)
		b.orders.rankIndex = first + uint32(at)
		for _, o := range list[at:end] {
			if err := b.orders.join(l, s.which, key, o.ID, o.Qty); err != nil {
				return err
			}
		}
		end = at
	}
	b.orders.rankIndex = first + uint32(len(list))
	s.levels.settle()
	return nil
}
