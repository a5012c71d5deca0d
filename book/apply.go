package book

import "github.com/depthcast/depthcast/proto"

// record applies the events of one record. On error it returns the event's place;
// -1: the record as a whole.
func (b *book) record(r *proto.Batch) (int, *refusal) {
	if err := b.denominate(r); err != nil {
		return -1, err
	}
	for i := range r.Events {
		if b.ended {
			break
		}
		if err := b.event(&r.Events[i], r); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// denominate makes sure that the book is in the exponents of r's mantissas: those
// that it names, else the instrument's, else those that the book is in.
func (b *book) denominate(r *proto.Batch) *refusal {
	x := b.exponents
	if b.instrument != nil {
		x = b.instrument.Exponents
	}
	if r.HasExponents {
		x = r.Exponents
	}
	if x == b.exponents {
		return nil
	}
	kinds := kindsOf(r)
	switch {
	case kinds&mantissaKinds == 0:
		return nil
	case b.whole && kinds&^noBookKinds == 0:
		return errExponents
	case !inRange(x):
		return errBadInstrument
	}
	b.rescale(x)
	return nil
}

func inRange(x proto.Exponents) bool {
	return x.Price >= proto.MinExponent && x.Price <= proto.MaxExponent &&
		x.Qty >= proto.MinExponent && x.Qty <= proto.MaxExponent
}

// rescale puts the book into other exponents. What it holds is void, and so is
// what was collected of a snapshot.
func (b *book) rescale(x proto.Exponents) {
	if b.parts.active || b.whole && b.bids.len()+b.asks.len() > 0 {
		b.lose(proto.ReasonNoSnapshot)
	}
	b.breaks(proto.SnapshotInstrument)
	b.tradesBroken = max(b.tradesBroken, proto.SnapshotInstrument)
	b.session.rescale() // for good, as all of this, even if the record is refused
	if b.drafting {
		b.engine.draft.rescale()
	}
	b.trades.forget()
	b.indicative = proto.Indicative{}
	b.exponents = x
	b.retick()
}

// retick tells the sides the tick: a price off it is accepted and counted.
func (b *book) retick() {
	b.bids.tick, b.asks.tick = 0, 0
	if i := b.instrument; i != nil && i.Exponents == b.exponents {
		b.bids.tick, b.asks.tick = i.Tick, i.Tick
	}
}

// event applies one event.
func (b *book) event(e *proto.Event, r *proto.Batch) *refusal {
	if e.Kind == proto.EventSnapshot && e.Continued {
		return b.snapshot(e)
	}
	if b.parts.active {
		if err := b.install(); err != nil {
			return err
		}
	}
	if 1<<e.Kind&orderKinds != 0 {
		return b.orderEvent(e, r)
	}
	switch e.Kind {
	case proto.EventSetLevels:
		return b.setLevels(e)
	case proto.EventSnapshot:
		return b.snapshot(e)
	case proto.EventClear:
		b.clear(e.SessionStart)
		return nil
	case proto.EventInstrument:
		return b.define(e.Instrument, r)
	case proto.EventInstrumentEnd:
		return b.finalize(e)
	case proto.EventPhase:
		return b.setPhase(e)
	case proto.EventStatistics:
		return b.addStatistics(e.Statistics)
	case proto.EventTrade:
		return b.addTrade(e.Trade, 0, r)
	case proto.EventTradeCancel:
		return b.addTrade(e.Trade, proto.TradeCancellation, r)
	case proto.EventTradeCorrect:
		return b.addTrade(e.Trade, proto.TradeCorrection, r)
	case proto.EventHeartbeat:
		return nil
	}
	return errUnset
}

// takes reports whether an event of a book kept in this way can be applied; false
// without error while the book is not whole.
func (b *book) takes(k kept) (bool, *refusal) {
	if !b.whole {
		b.engine.skipped++
		return false, nil
	}
	if b.kind == keptUndecided {
		b.kind = k
	}
	if b.kind != k {
		return false, errMixedBook
	}
	b.applied++
	return true, nil
}

func (b *book) setLevels(e *proto.Event) *refusal {
	if ok, err := b.takes(keptByLevel); !ok {
		return err
	}
	for i := range e.Bids {
		if err := b.bids.set(e.Bids[i].Price, e.Bids[i].Qty, e.Bids[i].Count); err != nil {
			return err
		}
	}
	for i := range e.Asks {
		if err := b.asks.set(e.Asks[i].Price, e.Asks[i].Qty, e.Asks[i].Count); err != nil {
			return err
		}
	}
	return nil
}

func (b *book) orderEvent(e *proto.Event, r *proto.Batch) *refusal {
	if ok, err := b.takes(keptByOrder); !ok {
		if err == nil && e.Kind == proto.EventExecute && !e.Unprintable {
			b.sessionInHand().miss()
		}
		return err
	}
	b.bids.levels.follow()
	b.asks.levels.follow()
	switch e.Kind {
	case proto.EventAdd:
		return b.add(e.Side, e.OrderID, e.Price, e.Qty)
	case proto.EventModify:
		return b.modify(e.OrderID, e.Price, e.Qty, e.KeepPriority)
	case proto.EventReduce:
		_, err := b.reduce(e)
		return err
	case proto.EventReplace:
		return b.replace(e.OrderID, e.NewOrderID, e.Price, e.Qty)
	case proto.EventDelete:
		return b.delete(e.OrderID)
	}
	was, err := b.reduce(e)
	if err != nil || e.Unprintable {
		return err
	}
	t := proto.Trade{ID: e.TradeID, Price: e.Price, Qty: e.Qty, Aggressor: proto.AggressorSell}
	if !e.HasPrice {
		t.Price = was.key ^ b.side(was.side).mask
	}
	if was.side == proto.Ask {
		t.Aggressor = proto.AggressorBuy
	}
	return b.addTrade(t, 0, r)
}

// clear empties the book: whole if a session starts, else until a snapshot.
func (b *book) clear(sessionStart bool) {
	b.applied++
	b.lose(proto.ReasonSourceReset)
	if !sessionStart {
		b.sessionInHand().forget()
		return
	}
	b.whole = true
	b.breaks(proto.SnapshotReset)
	b.sessionInHand().begin(b.trades.lastOrdinal())
}

// define takes the definition of the instrument, and its exponents.
func (b *book) define(i *proto.Instrument, r *proto.Batch) *refusal {
	switch {
	case i == nil || !inRange(i.Exponents):
		return errBadInstrument
	case r.HasExponents && r.Exponents != i.Exponents:
		return errExponents
	}
	knew := b.known()
	if b.instrument == nil || *b.instrument != *i {
		instrument := *i
		b.instrument, b.unlisted = &instrument, true
	}
	if knows := b.known(); knew != 0 && (knows == 0 || knows > knew) && b.whole && b.bids.len()+b.asks.len() > 0 {
		b.lose(proto.ReasonNoSnapshot) // the levels that were cut off are not known
	}
	if i.Exponents != b.exponents {
		b.rescale(i.Exponents)
	}
	b.retick()
	return nil
}

func (b *book) finalize(e *proto.Event) *refusal {
	switch e.EndReason {
	case proto.ReasonDelisted, proto.ReasonRenamed, proto.ReasonExpired:
	default:
		return errBadEnd
	}
	b.lose(e.EndReason)
	b.ended = true
	b.endReason, b.newSymbol = e.EndReason, e.NewSymbol
	return nil
}

func (b *book) setPhase(e *proto.Event) *refusal {
	if e.Phase > proto.Closed {
		return errBadPhase
	}
	b.phase, b.indicative = e.Phase, e.Indicative
	b.sessionInHand().enter(e.Phase, b.trades.lastOrdinal())
	return nil
}

// keepFacts takes from a refused record what stands for itself: definitions,
// phases, the beginning of a session and the instrument's end. One that is bad
// itself is passed over.
func (b *book) keepFacts(r *proto.Batch) {
	for i := range r.Events {
		e := &r.Events[i]
		switch e.Kind {
		case proto.EventInstrument:
			_ = b.define(e.Instrument, r)
		case proto.EventPhase:
			_ = b.setPhase(e)
		case proto.EventInstrumentEnd:
			_ = b.finalize(e)
		case proto.EventClear:
			if s := b.sessionInHand(); e.SessionStart {
				s.begin(b.trades.ordinal)
			} else {
				s.forget()
			}
		}
	}
}

// Bits of kinds.
const (
	orderKinds = 1<<proto.EventAdd | 1<<proto.EventModify | 1<<proto.EventReduce |
		1<<proto.EventExecute | 1<<proto.EventReplace | 1<<proto.EventDelete
	tradeKinds    = 1<<proto.EventTrade | 1<<proto.EventTradeCancel | 1<<proto.EventTradeCorrect
	noBookKinds   = tradeKinds | 1<<proto.EventStatistics | 1<<proto.EventHeartbeat
	changeKinds   = orderKinds | 1<<proto.EventSetLevels | 1<<proto.EventClear
	levelKinds    = changeKinds | 1<<proto.EventSnapshot
	mantissaKinds = orderKinds | tradeKinds | 1<<proto.EventSetLevels | 1<<proto.EventSnapshot |
		1<<proto.EventStatistics
)

// kindsOf returns a bit for each kind of event in r; unknown kinds count as unset.
func kindsOf(r *proto.Batch) uint32 {
	var kinds uint32
	for i := range r.Events {
		k := r.Events[i].Kind
		if k > proto.EventHeartbeat {
			k = proto.EventNone
		}
		kinds |= 1 << k
	}
	return kinds
}
