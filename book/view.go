package book

import (
	"math"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// Publisher is told what an open view shows: entries in order, each with the
// book's seq. What it is given is valid only during the call; it may read
// View.Snapshot then, but must not close the view.
type Publisher interface {
	Delta(d *proto.Delta)
	Trades(t *proto.Trades)
	Ticker(t *proto.Ticker)
	Instruments(i *proto.Instruments)
	Status(s *proto.Status)
	// Reset says that what was shown is void: View.Snapshot has the new state.
	Reset(r proto.SnapshotReason)
	// Mark says what a keepalive may say now; never while recovering.
	Mark(m proto.Mark)
}

// maxDepth is the deepest view that is not full.
const maxDepth = 1000

// View is what one publisher follows of a book: the best levels of both sides, or
// the orders of those, the trades, the ticker, or how it is listed. It keeps no
// levels: only how far its window reached and the hash of what it shows.
//
// Invariant, while shown: hash and edges are those of the best levels of its sides.
type View struct {
	book       *book
	bids, asks *side     // of the book, or of its grouping; nil for trades
	grouping   *grouping // nil: not grouped
	to         Publisher
	depth      int
	closed     bool

	// As last told. A view may have to say less than its book: void is why, where the
	// book is shown and the view is not.
	shown   bool
	void    proto.Reason
	partial bool
	over    bool // the final status was said

	last             int64  // seq of the entry before
	hash             uint32 // of what has one
	bidEdge, askEdge int64  // keys; see side.edge

	ticker *proto.Ticker // ticker channel: as last told
	key    proto.TopicKey
}

// rebuild makes hash, edges and what hangs on them anew.
func (v *View) rebuild() {
	v.hash = 0
	v.bidEdge, v.askEdge = v.bids.edge(v.depth), v.asks.edge(v.depth)
	v.partial = v.reaches()
	if v.key.Channel == proto.ChannelOrders {
		v.rebuildOrders()
		return
	}
	for _, s := range [...]*side{v.bids, v.asks} {
		edge, w := s.edge(v.depth), s.walk(math.MaxInt64)
		for l := w.next(); l != nil && w.key >= edge; l = w.next() {
			v.hash += proto.Mix(s.which, w.key^s.mask, l.qty)
		}
	}
}

// delta tells the publisher what the batch changed in the view: the final state
// of every level touched that was in the window before or is in it now, and the
// levels that left or entered it. Nothing if there is none.
func (v *View) delta() {
	b, d := v.book, &v.book.engine.delta
	if v.key.Channel == proto.ChannelOrders {
		v.ordersDelta()
		return
	}
	if len(v.bids.touched)+len(v.asks.touched) == 0 {
		return
	}
	d.Bids, d.Asks = d.Bids[:0], d.Asks[:0]
	if len(v.bids.touched) > 0 {
		d.Bids = v.window(v.bids, &v.bidEdge, d.Bids)
	}
	if len(v.asks.touched) > 0 {
		d.Asks = v.window(v.asks, &v.askEdge, d.Asks)
	}
	if len(d.Bids)+len(d.Asks) == 0 {
		return
	}
	d.PrevSeq, d.Seq, d.Hash, d.Times = v.last, b.seq, v.hash, b.times
	v.last = b.seq
	v.to.Delta(d)
}

// window appends one side's part of a delta, best first, and moves edge and hash on.
func (v *View) window(s *side, edge *int64, out []proto.Level) []proto.Level {
	if v.depth > 0 && s.reshaped(*edge) {
		return v.slide(s, edge, out)
	}
	for i := range s.touched {
		t := &s.touched[i]
		if t.key < *edge || t.before == 0 && t.after == 0 {
			continue
		}
		v.hash += proto.Mix(s.which, t.key^s.mask, t.after) - proto.Mix(s.which, t.key^s.mask, t.before)
		out = append(out, s.public(t.key, t.after, t.count, v.key.View.Counts))
	}
	return out
}

// reshaped reports whether a level has come or gone at edge or above, so that the
// edge may be elsewhere now.
func (s *side) reshaped(edge int64) bool {
	for i := range s.touched {
		if t := &s.touched[i]; t.key >= edge && (t.before == 0) != (t.after == 0) {
			return true
		}
	}
	return false
}

// slide is window where the edge may move.
//
// Levels that nobody touched change sides of the window only between its old and
// its new edge. They are walked downwards along with the touched ones.
func (v *View) slide(s *side, edge *int64, out []proto.Level) []proto.Level {
	before, after := *edge, s.edge(v.depth)
	*edge = after
	var w walk
	var l *level // the next to walk to, down to floor
	floor := min(before, after)
	if before != after {
		w = s.walk(max(before, after) - 1)
		l = w.next()
	}
	entering := after < before
	shift := func() {
		if entering {
			v.hash += proto.Mix(s.which, w.key^s.mask, l.qty)
			out = append(out, s.public(w.key, l.qty, l.count, v.key.View.Counts))
		} else {
			v.hash -= proto.Mix(s.which, w.key^s.mask, l.qty)
			out = append(out, s.public(w.key, 0, 0, false))
		}
		l = w.next()
	}
	for i := range s.touched {
		t := &s.touched[i]
		for l != nil && w.key >= floor && w.key > t.key {
			shift()
		}
		if l != nil && w.key == t.key {
			l = w.next()
		}
		was, is := t.before, t.after
		if t.key < before {
			was = 0
		}
		if t.key < after {
			is = 0
		}
		if was == 0 && is == 0 {
			continue
		}
		v.hash += proto.Mix(s.which, t.key^s.mask, is) - proto.Mix(s.which, t.key^s.mask, was)
		out = append(out, s.public(t.key, is, t.count, v.key.View.Counts))
	}
	for l != nil && w.key >= floor {
		shift()
	}
	return out
}

// Snapshot fills s with what the view shows, reusing its slices. While the book
// is recovering it shows no levels.
func (v *View) Snapshot(s *proto.Snapshot) {
	b, c := v.book, v.condition()
	*s = proto.Snapshot{
		Symbol: b.symbol, Epoch: b.epoch, Seq: b.seq,
		State: c.state, Reason: c.reason, Phase: c.phase, Indicative: c.indicative,
		Locked: c.locked, Crossed: c.crossed, Exponents: b.exponents, Times: b.times,
		Bids: s.Bids[:0], Asks: s.Asks[:0], Trades: s.Trades[:0],
		Orders: proto.Orders{Bids: s.Orders.Bids[:0], Asks: s.Orders.Asks[:0]},
	}
	if v.key.Channel == proto.ChannelTrades {
		s.Trades = b.trades.last(s.Trades)
		return
	}
	switch v.key.Channel {
	case proto.ChannelTicker:
		b.ticker(&s.Ticker)
		return
	case proto.ChannelInstruments:
		s.Listings = []*proto.Listing{b.listing()}
		return
	}
	s.Partial = v.partial
	if !v.shown {
		return
	}
	s.Hash = v.hash
	if v.key.Channel == proto.ChannelOrders {
		s.Orders.Bids = v.showOrders(&b.bids, s.Orders.Bids)
		s.Orders.Asks = v.showOrders(&b.asks, s.Orders.Asks)
		return
	}
	s.Bids = v.show(v.bids, s.Bids)
	s.Asks = v.show(v.asks, s.Asks)
}

// show appends the window of one side, best first.
func (v *View) show(s *side, out []proto.Level) []proto.Level {
	edge, w := s.edge(v.depth), s.walk(math.MaxInt64)
	for l := w.next(); l != nil && w.key >= edge; l = w.next() {
		out = append(out, s.public(w.key, l.qty, l.count, v.key.View.Counts))
	}
	return out
}

// mark tells the publisher what a keepalive may say now.
func (v *View) mark() {
	b := v.book
	if v.condition().state == proto.Recovering {
		return
	}
	m := proto.Mark{Seq: b.seq, Hash: v.hash, SymbolTime: b.times.Kafka}
	if b.feed != nil {
		m.FeedTime = b.feed.time
	}
	v.to.Mark(m)
}

// Close ends the view; its publisher hears no more. Closing again does nothing.
func (v *View) Close() {
	if v.closed {
		return
	}
	v.closed = true
	if v.key.Channel == proto.ChannelOrders {
		v.book.orderViews--
	}
	e := v.book.engine
	e.views = slices.DeleteFunc(e.views, func(o *View) bool { return o == v })
	v.book.views = slices.DeleteFunc(v.book.views, func(o *View) bool { return o == v })
	v.ungroup()
}
