package book

import "github.com/depthcast/depthcast/proto"

// trades are a symbol's trades: the last ones, and those of the batch in hand.
type trades struct {
	staged []proto.Trade // of the batch in hand, without ordinals yet
	fresh  []proto.Trade // of the batch that was applied, until the views are told

	ordinal uint64        // of the last one counted
	kept    []proto.Trade // a ring once full: the oldest at next
	next    int
	most    int
}

func newTrades(most int) trades { return trades{most: most} }

// trade stages a trade of the record r. Corrections need an id and a quantity,
// cancellations an id.
func (t *trades) trade(v proto.Trade, flag proto.TradeFlags, r *proto.Batch) *refusal {
	if flag != 0 && v.ID == 0 || flag != proto.TradeCancellation && v.Qty <= 0 {
		return errBadTrade
	}
	v.Flags = v.Flags&^(proto.TradeCorrection|proto.TradeCancellation) | flag
	if v.VenueTime == 0 {
		v.VenueTime = r.VenueTime
	}
	t.staged = append(t.staged, v)
	return nil
}

// commit counts and keeps what is staged.
func (t *trades) commit() {
	if len(t.staged)+len(t.fresh) == 0 {
		return
	}
	for i := range t.staged {
		t.ordinal++
		t.staged[i].Ordinal = t.ordinal
		if len(t.kept) < t.most {
			t.kept = append(t.kept, t.staged[i])
			continue
		}
		t.kept[t.next] = t.staged[i]
		t.next = (t.next + 1) % t.most
	}
	t.fresh, t.staged = t.staged, t.fresh[:0]
}

func (t *trades) discard() { t.staged = t.staged[:0] }

// told forgets the trades that the views were told of.
func (t *trades) told() {
	if len(t.fresh) > 0 {
		t.fresh = t.fresh[:0]
	}
}

// forget drops what is in other exponents than those to come. Trades staged
// before the change are counted, but never shown.
func (t *trades) forget() {
	t.ordinal += uint64(len(t.staged))
	t.staged, t.kept, t.next = t.staged[:0], t.kept[:0], 0
}

// restart forgets all, the count too.
func (t *trades) restart() {
	t.discard()
	t.forget()
	t.ordinal = 0
}

// last appends the trades kept, oldest first.
func (t *trades) last(to []proto.Trade) []proto.Trade {
	to = append(to, t.kept[t.next:]...)
	return append(to, t.kept[:t.next]...)
}
