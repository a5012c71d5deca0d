package book

import "github.com/depthcast/depthcast/proto"

// kept says how a book is kept. It is decided by the first event that needs it,
// and anew by each snapshot and clear.
type kept uint8

const (
	keptUndecided kept = iota
	keptByLevel
	keptByOrder
)

// book is one symbol's book, with its state and its views.
//
// Invariants: a book that is not whole is empty. In a book by order each level's
// quantity and count are those of its orders. Views are told of a batch only
// after all of it was applied.
//
// What every record needs stands together, what few need at the end: with
// thousands of books each line of the cache that a record touches is a wait. A
// line is 64 bytes; chain, seq and both sides begin one, as layout_test.go holds.
type book struct {
	engine *Engine
	parts  *parts    // the engine's
	told   condition // what views were last told

	// Where the book stands.
	chain    chain
	kind     kept
	whole    bool
	fresh    bool         // the first record makes it whole
	ended    bool         // nothing is applied any more
	unlisted bool         // its listing has changed since lists were told
	reason   proto.Reason // why it is not whole
	phase    proto.Phase

	// Why the next thing that views see must be a reset; 0: it need not.
	broken       proto.SnapshotReason // views of the book
	tradesBroken proto.SnapshotReason // views of its trades

	exponents  proto.Exponents
	tracking   bool              // views follow: note what the batch in hand touches
	drafting   bool              // the engine's draft is what the batch in hand makes of the session
	kinds      uint32            // of the batch in hand: a bit for each kind of event in it
	limit      uint32            // levels a side that the source keeps, by its last snapshot; 0: all
	instrument *proto.Instrument // nil: not defined
	epoch      uint64

	seq     int64  // of the last record applied; -1: none
	feed    *feed  // that the book's levels come through; nil: not known yet
	from    *feed  // of the record in hand
	need    uint64 // of the batch in hand; see verdict
	applied int    // how many of its events changed something
	views   []*View

	bids       side
	indicative proto.Indicative
	times      proto.Times
	asks       side

	held       held // the batch in hand but for its last record
	trades     trades
	groupings  []*grouping // that views have
	orderViews int         // of views: those of orders
	orders     orders
	symbol     string
	restored   int64        // offset that it was restored as of; -1: it was not
	endReason  proto.Reason // why it ended
	endedAt    int64        // offset of the record that ended it
	newSymbol  string       // what it was renamed to
	session    session
}

func newBook(e *Engine, symbol string) *book {
	b := &book{
		engine: e, symbol: symbol,
		bids: newSide(proto.Bid, e.config.MaxLevels), asks: newSide(proto.Ask, e.config.MaxLevels),
		orders: orders{most: e.config.MaxOrders}, parts: &e.parts, trades: newTrades(e.config.KeptTrades),
		exponents: proto.DefaultExponents, chain: newChain(), seq: -1, epoch: e.epoch,
		reason: proto.ReasonNoSnapshot, told: condition{state: proto.Recovering}, unlisted: true, restored: -1,
	}
	if e.catchingUp {
		b.tradesBroken = proto.SnapshotRecovered
	}
	return b
}

// take judges one record of the symbol and applies it, or holds it back.
func (b *book) take(r *proto.Batch) (proto.Outcome, error) {
	seen := b.chain.offset >= 0 || b.seq >= 0
	// A producer that sends it again sends it with `more`, as before.
	lastPart := len(b.held.records) > 0 && !r.More && r.Seq > b.chain.offset && b.held.numberedAs(r)
	if !seen {
		b.unlisted = true // what lists were told of it may be of another log
	}
	var v verdict
	b.chain.admit(r, b.heals(r), &v)
	if v.anew && seen {
		b.restart(v.lost)
	}
	if v.turned && len(b.held.records) > 0 {
		v.lost = proto.ReasonSourceGap // its end never came
	}
	if v.anew {
		b.epoch = b.epochOf(r)
	}
	if v.lost != proto.ReasonNone {
		b.drop()
		b.lose(v.lost)
		b.session.forget()
	}
	kinds := kindsOf(r)
	switch {
	case v.outcome == proto.Duplicate && lastPart:
		b.kinds |= kinds
		return b.refuse(r, errPartNumber, -1)
	case v.outcome != proto.Applied:
		b.finish()
		return v.outcome, nil
	}
	if len(b.held.records) == 0 {
		b.kinds, b.need = 0, v.need
	}
	b.kinds, b.need = b.kinds|kinds, min(b.need, v.need)
	if v.overlap && kinds&(tradeKinds|1<<proto.EventExecute) != 0 {
		b.session.miss() // some come again
	}
	switch {
	case kinds&(1<<proto.EventNone) != 0:
		return b.refuse(r, errUnset, -1)
	case v.overlap && kinds&orderKinds != 0 && b.whole:
		return b.refuse(r, errPartialOverlap, -1)
	case r.More:
		if err := b.hold(r); err != nil {
			return b.refuse(r, err, -1)
		}
		b.finish()
		return proto.Held, nil
	}
	return b.apply(r)
}

// heals reports whether r counts though its source sequence is known already: it
// is a snapshot that a book needs, or a further part of one that is held.
func (b *book) heals(r *proto.Batch) bool {
	switch {
	case len(r.Events) == 0 || r.Events[0].Kind != proto.EventSnapshot:
		return false
	case r.Events[0].Continued:
		return len(b.held.records) > 0
	}
	return !b.whole
}

// epochOf returns the history that r's seq belongs to.
func (b *book) epochOf(r *proto.Batch) uint64 {
	if r.OriginEpoch != 0 {
		return r.OriginEpoch
	}
	return b.engine.epoch
}

// apply applies what is held and then r, the last record of the batch.
func (b *book) apply(r *proto.Batch) (proto.Outcome, error) {
	b.begin(r)
	first := r
	for i := range b.held.records {
		h := &b.held.records[i]
		if i == 0 {
			first = h
		}
		if at, err := b.record(h); err != nil {
			return b.refuse(r, err, at)
		}
	}
	if at, err := b.record(r); err != nil {
		return b.refuse(r, err, at)
	}
	if err := b.close(); err != nil {
		return b.refuse(r, err, -1)
	}
	b.drop()
	if !b.parts.old {
		b.chain.source = max(b.chain.source, b.parts.source)
	}
	if b.kinds == 1<<proto.EventSnapshot && b.applied == 0 && b.parts.old {
		b.settleSession(false)
		b.finish()
		return proto.Ignored, nil
	}
	if seq := seqOf(r); seq <= b.seq { // the log lost its end, and uses offsets anew
		b.tradesBroken = proto.SnapshotReset
	}
	b.seq = seqOf(r)
	b.times = proto.Times{VenueFirst: first.VenueTime, Venue: r.VenueTime, Kafka: r.KafkaTime}
	if b.feed == nil || b.kinds&levelKinds != 0 {
		b.feed = b.from
	}
	b.trades.commit()
	b.settleSession(true)
	b.finish()
	return proto.Applied, nil
}

// seqOf returns the seq of a book after a batch whose last record is r.
func seqOf(r *proto.Batch) int64 {
	if r.OriginEpoch != 0 {
		return r.OriginSeq
	}
	return r.Seq
}

// begin prepares for the events of a batch whose last record is r.
func (b *book) begin(r *proto.Batch) {
	if b.fresh {
		b.fresh, b.whole = false, true
	}
	b.applied, b.parts.old, b.parts.source = 0, false, 0
	if b.kinds&(orderKinds|1<<proto.EventSnapshot|1<<proto.EventInstrument) != 0 { // what may rank orders, or take some away
		b.orders.rankSeq, b.orders.rankIndex = seqOf(r), 0
		if b.orders.loose(b.orders.index.n) {
			b.packOrders()
		}
	}
	if len(b.views) > 0 && b.broken == 0 && b.shown() {
		b.track(true)
	}
}

// close ends a batch: what must hold after the whole of it, not within.
func (b *book) close() *refusal {
	if b.parts.active {
		if err := b.install(); err != nil {
			return err
		}
	}
	if n := b.bids.offTick + b.asks.offTick; n > 0 {
		b.engine.offTick += uint64(n)
		b.bids.offTick, b.asks.offTick = 0, 0
	}
	if most := int(b.known()); most != 0 {
		b.trim(&b.bids, most)
		b.trim(&b.asks, most)
	}
	if crossed, _ := b.crossing(); crossed && b.uncrossed() {
		return errCrossed
	}
	return nil
}

// uncrossed reports whether the phase is one in which the book must not be crossed.
func (b *book) uncrossed() bool {
	return b.phase == proto.Continuous || b.phase == proto.PhaseUnknown
}

// known is how many levels a side the source keeps; 0: all.
func (b *book) known() uint32 {
	switch {
	case b.instrument == nil || b.instrument.MaxLevels == 0:
		return b.limit
	case b.limit == 0:
		return b.instrument.MaxLevels
	}
	return min(b.limit, b.instrument.MaxLevels)
}

// crossing reports whether the best bid is above the best ask, or equal to it.
func (b *book) crossing() (crossed, locked bool) {
	bid, ok := b.bids.best()
	ask, too := b.asks.best()
	return ok && too && bid > ask, ok && too && bid == ask
}

// refuse ends a batch that cannot be applied: nothing of it is shown. It takes the
// book with it, unless no event of the batch touches the book.
func (b *book) refuse(r *proto.Batch, why *refusal, event int) (proto.Outcome, error) {
	reason := why.reason
	b.trades.discard()
	b.settleSession(false)
	if b.kinds&^noBookKinds == 0 {
		reason = proto.ReasonNone
	} else {
		b.lose(reason)
		for i := range b.held.records {
			b.keepFacts(&b.held.records[i])
		}
		b.keepFacts(r)
	}
	b.missTrades()
	b.settleSession(true)
	b.drop()
	b.finish()
	return proto.Ignored, why.record(b.symbol, event, reason)
}

// lose empties the book, which is no longer known to be whole.
func (b *book) lose(reason proto.Reason) {
	b.empty(0)
	b.parts.active = false
	b.whole, b.fresh, b.reason = false, false, reason
	b.breaks(proto.SnapshotRecovered)
}

// empty takes all levels and orders away; so many orders are to come.
func (b *book) empty(toCome int) {
	b.bids.clear()
	b.asks.clear()
	b.orders.clear(toCome)
	b.kind, b.bids.floor, b.asks.floor = keptUndecided, allKnown, allKnown
}

// breaks says that views must be reset before they see more of the book; of
// several reasons the weightiest stays.
func (b *book) breaks(r proto.SnapshotReason) { b.broken = max(b.broken, r) }

// restart begins another history, whose log says all anew.
func (b *book) restart(reason proto.Reason) {
	if reason == proto.ReasonNone {
		reason = proto.ReasonRecreated
	}
	b.drop()
	b.lose(reason)
	b.breaks(proto.SnapshotReset)
	b.tradesBroken = proto.SnapshotReset
	b.trades.restart()
	b.seq, b.times, b.unlisted = -1, proto.Times{}, true
	b.exponents, b.instrument, b.limit = proto.DefaultExponents, nil, 0
	b.retick()
	b.session, b.phase, b.indicative = session{}, proto.PhaseUnknown, proto.Indicative{}
}
