package book

import (
	"math/bits"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// condition is all that a status says beside seq and times. A status goes out
// whenever it changes.
//
// The state is decided by the first that holds:
//
//	ended                 recovering, with the reason of the end; final
//	engine catching up    recovering, catching_up
//	not whole             recovering, with the most recent reason
//	engine or feed stale  stale: kafka_unreachable before behind before source_silent
//	else                  live
type condition struct {
	state           proto.State
	reason          proto.Reason
	phase           proto.Phase
	indicative      proto.Indicative
	locked, crossed bool
	final           bool
}

// renew brings what is told up to date, and reports whether it changed. It hardly
// ever does, so it is compared field by field before anything is written.
func (b *book) renew() bool {
	state, reason, crossed, locked := proto.Live, proto.ReasonNone, false, false
	switch {
	case b.ended:
		state, reason = proto.Recovering, b.endReason
	case b.engine.catchingUp:
		state, reason = proto.Recovering, proto.ReasonCatchingUp
	case !b.whole:
		state, reason = proto.Recovering, b.reason
	default:
		crossed, locked = b.crossing()
		stale := b.engine.stale
		if b.feed != nil {
			stale |= b.feed.stale
		}
		if stale != 0 {
			state, reason = proto.Stale, proto.Reason(bits.TrailingZeros32(stale))
		}
	}
	c := &b.told
	if c.state == state && c.reason == reason && c.phase == b.phase && c.indicative == b.indicative &&
		c.crossed == crossed && c.locked == locked && c.final == b.ended {
		return false
	}
	b.unlisted = b.unlisted || c.phase != b.phase || c.final != b.ended
	*c = condition{state, reason, b.phase, b.indicative, locked, crossed, b.ended}
	return true
}

// shown reports whether views were last told of a book with levels to show.
func (b *book) shown() bool { return b.told.state != proto.Recovering }

// finish tells the views what has become of the book: a reset where the chain is
// broken, else the deltas; then the status, if it changed. It is called after
// every batch and after every change of what condition depends on.
func (b *book) finish() {
	was := b.shown()
	changed := b.renew()
	if len(b.views) > 0 {
		b.tell(was, changed)
	}
	if b.shown() {
		b.broken = 0
	}
	if !b.engine.catchingUp {
		b.tradesBroken = 0
	}
	if b.unlisted && !b.engine.catchingUp {
		b.tellLists()
	}
	if b.tracking {
		b.track(false)
	}
	b.trades.told()
	if verifying {
		b.verify()
	}
	if b.told.final {
		b.views = nil
	}
}

// track begins or ends noting what is touched, in memory that the engine lends.
func (b *book) track(on bool) {
	b.tracking, b.bids.tracking, b.asks.tracking = on, on, on
	b.trackOrders(on)
	e := b.engine
	if on {
		b.bids.touched, b.asks.touched = e.touchedBids, e.touchedAsks
		return
	}
	e.touchedBids, e.touchedAsks = b.bids.touched[:0], b.asks.touched[:0]
	b.bids.touched, b.asks.touched = nil, nil
}

// settle settles what the batch touched.
func (b *book) settle() {
	if len(b.bids.touched) > 0 {
		b.bids.settle()
	}
	if len(b.asks.touched) > 0 {
		b.asks.settle()
	}
	if b.orders.touches != nil {
		b.orders.settle()
	}
}

// tell tells the views of a batch; was: they were shown a book before it.
func (b *book) tell(was, changed bool) {
	visible := b.shown()
	reset := visible && (b.broken != 0 || !was)
	if b.tracking && visible && !reset {
		b.settle()
	}
	if len(b.groupings) > 0 {
		b.regroup(visible, reset)
	}
	over := false
	for _, v := range b.views {
		told, changed := false, changed
		if v.key.Channel == proto.ChannelBook || v.key.Channel == proto.ChannelOrders {
			told, changed = v.tellLevels(visible, reset, changed)
			over = over || v.over
		} else {
			told = v.tellApart()
		}
		if changed && !told {
			v.status()
		}
	}
	if over {
		b.views = slices.DeleteFunc(b.views, func(v *View) bool {
			if v.over {
				v.ungroup()
			}
			return v.over
		})
	}
}

// tellLevels publishes what the batch changed in a view of the book, or resets it.
// told: it was reset; say: there is more to say than that, by a status, which is so
// already if changed.
func (v *View) tellLevels(visible, reset, changed bool) (told, say bool) {
	b, shown, partial := v.book, v.shown, v.partial
	changed = v.judge(visible) || changed
	if v.shown && (reset || !shown) {
		v.rebuild()
		v.last = b.seq
		v.to.Reset(max(b.broken, proto.SnapshotRecovered))
		return true, changed
	}
	if v.shown {
		v.delta()
	}
	v.partial = v.reaches()
	return false, changed || v.partial != partial
}

// judge decides whether the view is shown, where visible says that its book is,
// and reports whether the reason why not has changed.
func (v *View) judge(visible bool) (changed bool) {
	was, g := v.void, v.grouping
	v.void = proto.ReasonNone
	switch {
	case visible && v.key.Channel == proto.ChannelOrders && v.book.kind == keptByLevel:
		v.void = proto.ReasonByLevel
	case g == nil:
	case g.err != nil:
		v.void, v.over = proto.ReasonBadView, true
	case visible && !g.fits():
		v.void = proto.ReasonOverflow
	}
	v.shown = visible && v.void == proto.ReasonNone
	return v.void != was
}

// condition is what the view was last told: its book's, unless it has to say less.
func (v *View) condition() condition {
	c := v.book.told
	switch {
	case c.final || v.void == proto.ReasonNone:
		return c
	case c.state != proto.Recovering || v.over:
		c.state, c.reason, c.locked, c.crossed = proto.Recovering, v.void, false, false
	}
	c.final = v.over
	return c
}

// tellApart publishes what the batch changed in a view that stands apart from the
// levels, or resets it; true if it was reset.
func (v *View) tellApart() bool {
	b := v.book
	switch {
	case b.engine.catchingUp:
		return false
	case b.tradesBroken != 0:
		v.last = b.seq
		if v.ticker != nil {
			b.ticker(v.ticker)
		}
		v.to.Reset(b.tradesBroken)
		return true
	}
	switch v.key.Channel {
	case proto.ChannelTrades:
		v.tellTrades()
	case proto.ChannelTicker:
		v.tellTicker()
	case proto.ChannelInstruments:
		v.tellListing()
	}
	return false
}

// tellTrades publishes the trades of the batch.
func (v *View) tellTrades() {
	b := v.book
	if len(b.trades.fresh) == 0 {
		return
	}
	t := &b.engine.newTrades
	*t = proto.Trades{PrevSeq: v.last, Seq: b.seq, Trades: b.trades.fresh, Times: b.times}
	v.last = b.seq
	v.to.Trades(t)
}

func (v *View) status() {
	b, c := v.book, v.condition()
	v.last = b.seq
	s := &b.engine.status
	*s = proto.Status{
		Seq: b.seq, State: c.state, Reason: c.reason, Phase: c.phase, Indicative: c.indicative,
		Final: c.final, NewSymbol: b.newSymbol, Locked: c.locked, Crossed: c.crossed,
		Partial: v.partial, Times: b.times,
	}
	v.to.Status(s)
}
