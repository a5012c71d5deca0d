package book

import (
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/depthcast/depthcast/proto"
)

// SaveShared copies what the books have in common.
func (e *Engine) SaveShared(to *proto.SharedState) {
	to.Whole = e.complete
	to.Tainted = slices.AppendSeq(to.Tainted[:0], maps.Keys(e.tainted))
	slices.Sort(to.Tainted)
	to.Feeds = to.Feeds[:0]
	for _, f := range e.feeds {
		to.Feeds = append(to.Feeds, proto.FeedState{Name: f.name, Time: f.time})
	}
	slices.SortFunc(to.Feeds, func(a, b proto.FeedState) int { return strings.Compare(a.Name, b.Name) })
}

// RestoreShared puts back what SaveShared copied, in place of what there was, but
// for feeds. It comes after Begin, before any Restore; the rest of the log follows.
// Before that it may come once more, with what there was at an earlier offset from
// which symbols without a book are read anew. An error (proto.ErrBadValue) leaves
// the engine as it was.
func (e *Engine) RestoreShared(s *proto.SharedState) error {
	if len(s.Feeds) > e.config.MaxFeeds || len(s.Tainted) > maxTainted {
		return unfit("", errTooManyFeeds)
	}
	e.complete = s.Whole
	clear(e.tainted)
	for _, name := range s.Tainted {
		if e.books[name] == nil {
			e.tainted[name] = struct{}{}
		}
	}
	for _, f := range s.Feeds {
		e.sawFeed(f.Name, f.Time)
	}
	return nil
}

// sawFeed notes a feed; nil if there is no room for it.
func (e *Engine) sawFeed(name string, at int64) *feed {
	f, err := e.feed(name, nil)
	if err != nil {
		return nil
	}
	f.time = max(f.time, at)
	return f
}

// Save copies all that decides what later records do to the symbol's book into
// to.Book, and sets HasBook; false if there is no such book, of which it says only
// whether it will begin whole (Tainted). Of an instrument that has ended there are
// no trades and no session, as nobody can ask for them any more. It reuses the
// memory of to, and takes about as long as copying that takes: levels and orders in
// the order in which they are stored. What never changes once it is made (a
// definition, records held back) is shared, so that to may be read outside the lock.
func (e *Engine) Save(symbol string, to *proto.SymbolState) bool {
	b := e.books[symbol]
	to.HasBook, to.Tainted = b != nil, false
	if b == nil {
		_, to.Tainted = e.tainted[symbol]
		return false
	}
	s := &to.Book
	clear(s.Held[:cap(s.Held)])
	*s = proto.BookState{
		Epoch: b.epoch, Seq: b.seq, Chain: b.chain.save(),
		Kind: proto.BookKind(b.kind), Whole: b.whole, Fresh: b.fresh, Reason: b.reason, Phase: b.phase,
		Indicative: b.indicative, Exponents: b.exponents, Limit: b.limit, KnownBid: b.bids.known(), KnownAsk: b.asks.known(), Instrument: b.instrument,
		Times:        b.times,
		TradeOrdinal: b.trades.ordinal, Trades: s.Trades[:0],
		EndReason: b.endReason, NewSymbol: b.newSymbol, EndedAt: b.endedAt,
		Held: append(s.Held[:0], b.held.records...),
		Bids: s.Bids[:0], Asks: s.Asks[:0], BidOrders: s.BidOrders[:0], AskOrders: s.AskOrders[:0],
	}
	if !b.ended {
		s.Session, s.Trades = proto.Session(b.session), b.trades.last(s.Trades)
	}
	if b.feed != nil {
		s.Feed, s.FeedTime = b.feed.name, b.feed.time
	}
	if len(s.Held) > 0 {
		s.Need = b.need
	}
	if b.kind == keptByOrder {
		bidHash, bidOrders := b.bids.sums()
		askHash, askOrders := b.asks.sums()
		s.Hash = bidHash + askHash
		s.BidOrders = slices.Grow(s.BidOrders, bidOrders)[:bidOrders]
		s.AskOrders = slices.Grow(s.AskOrders, askOrders)[:askOrders]
		b.orders.save(s.BidOrders, s.AskOrders)
		return true
	}
	s.Bids, s.Asks = b.bids.save(s.Bids), b.asks.save(s.Asks)
	s.Hash = proto.HashLevels(s.Bids, s.Asks)
	return true
}

// save appends all levels, best first.
func (s *side) save(to []proto.Level) []proto.Level {
	to = slices.Grow(to, s.len())
	w := s.walk(math.MaxInt64)
	for l := w.next(); l != nil; l = w.next() {
		to = append(to, proto.Level{Price: w.key ^ s.mask, Qty: l.qty, Count: l.count})
	}
	return to
}

// save fills bids and asks, which have room for just them, with all orders in the
// order of their slots. The sides are mixed: to branch on them would be to wait for
// every other one.
func (o *orders) save(bids, asks []proto.RankedOrder) {
	to := [...][]proto.RankedOrder{proto.Bid: bids, proto.Ask: asks}
	masks := [...]int64{proto.Ask: -1}
	for i := range o.slab {
		v := &o.slab[i]
		if v.id == 0 { // a free slot
			continue
		}
		list := &to[v.side]
		(*list)[0] = proto.RankedOrder{ID: v.id, Price: v.key ^ masks[v.side], Qty: v.qty, RankSeq: v.rankSeq, RankIndex: v.rankIndex}
		*list = (*list)[1:]
	}
}

// sums returns the state hash of all levels, and how many orders they have.
func (s *side) sums() (hash uint32, orders int) {
	w := s.walk(math.MaxInt64)
	for l := w.next(); l != nil; l = w.next() {
		hash += proto.Mix(s.which, w.key^s.mask, l.qty)
		orders += int(l.count)
	}
	return hash, orders
}

func (c *chain) save() proto.ChainState {
	return proto.ChainState{
		Offset: c.offset, Epoch: c.epoch, Origin: c.origin, Generation: c.generation, Session: c.session, Source: c.source,
		Former: c.former, FormerSource: c.formerSource, Venue: c.venue,
	}
}

func restoredChain(c *proto.ChainState) chain {
	return chain{
		offset: c.Offset, epoch: c.Epoch, origin: c.Origin, generation: c.Generation, session: c.Session, source: c.Source,
		former: c.Former, formerSource: c.FormerSource, venue: c.Venue,
	}
}
