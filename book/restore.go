package book

import (
	"errors"
	"fmt"
	"strings"

	"github.com/depthcast/depthcast/proto"
)

// Restore makes the book that Save copied, as it was. From then on Refuse passes
// over what lies at or before s.Offset, as it is in the state. The state is judged
// like records are, and more: what no engine could have come to is refused
// (proto.ErrBadValue), and the engine is left without that symbol. Where there was
// no book to save, there is none to come either, but it may be one not to begin
// whole.
func (e *Engine) Restore(s *proto.SymbolState) error {
	if e.books[s.Symbol] != nil || !proto.ValidSymbol(s.Symbol) {
		return unfit(s.Symbol, errDuplicateBook)
	}
	if !s.HasBook {
		if s.Tainted {
			e.taint(s.Symbol)
		}
		return nil
	}
	if len(e.list) >= e.config.MaxSymbols {
		return unfit(s.Symbol, errTooManySymbols)
	}
	if err := e.judge(s); err != nil {
		return unfit(s.Symbol, err)
	}
	b := newBook(e, strings.Clone(s.Symbol))
	if err := b.restore(s); err != nil {
		b.drop() // what is held counts in the engine
		return unfit(s.Symbol, err)
	}
	e.books[b.symbol] = b
	e.list = append(e.list, b)
	delete(e.tainted, b.symbol)
	if b.ended {
		e.noteEnded(b)
	}
	b.finish()
	return nil
}

// restore fills a new book.
func (b *book) restore(symbol *proto.SymbolState) error {
	s := &symbol.Book
	b.restored = symbol.Offset
	b.chain, b.epoch, b.seq = restoredChain(&s.Chain), s.Epoch, s.Seq
	b.kind, b.whole, b.fresh, b.reason, b.phase = kept(s.Kind), s.Whole, s.Fresh, s.Reason, s.Phase
	b.indicative, b.exponents, b.limit = s.Indicative, s.Exponents, s.Limit
	b.instrument, b.times, b.session = s.Instrument, s.Times, session(s.Session)
	b.ended, b.endReason, b.newSymbol, b.endedAt = s.EndReason != proto.ReasonNone, s.EndReason, s.NewSymbol, s.EndedAt
	if s.Feed != "" {
		if b.feed = b.engine.sawFeed(s.Feed, s.FeedTime); b.feed == nil {
			return errTooManyFeeds
		}
	}
	b.bids.setKnown(s.KnownBid)
	b.asks.setKnown(s.KnownAsk)
	b.trades.ordinal = s.TradeOrdinal
	b.trades.kept = append(b.trades.kept, s.Trades[max(0, len(s.Trades)-b.trades.most):]...)
	for i := range s.Held {
		if err := b.hold(&s.Held[i]); err != nil {
			return err
		}
		b.kinds |= kindsOf(&s.Held[i])
	}
	b.need = s.Need
	if err := b.restoreLevels(s); err != nil {
		return err
	}
	b.bids.offTick, b.asks.offTick = 0, 0 // counted when they came
	b.retick()
	return b.judge(s)
}

// restoreLevels fills both sides.
func (b *book) restoreLevels(s *proto.BookState) error {
	for _, err := range []error{
		b.bids.restore(s.Bids), b.asks.restore(s.Asks),
		b.restoreOrders(&b.bids, s.BidOrders), b.restoreOrders(&b.asks, s.AskOrders),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// restore puts levels, best first, into an empty side.
func (s *side) restore(levels []proto.Level) error {
	if len(levels) > s.most {
		return errTooManyLevels
	}
	for i := len(levels) - 1; i >= 0; i-- { // from the worst on, as sides grow best
		from := &levels[i]
		key := from.Price ^ s.mask
		if best, ok := s.best(); ok && best^s.mask >= key {
			return errUnsorted
		}
		if from.Qty <= 0 {
			return errEmptyLevel
		}
		l := s.place(key)
		l.qty, l.count = from.Qty, from.Count
	}
	return nil
}

// restoreOrders puts orders, best price first and then by rank, into an empty side.
func (b *book) restoreOrders(s *side, list []proto.RankedOrder) error {
	if b.orders.index.n+len(list) > b.orders.most {
		return errTooManyOrders
	}
	for end := len(list); end > 0; { // from the worst level on, as sides grow best
		at := end - 1
		for at > 0 && list[at-1].Price == list[at].Price {
			at--
		}
		key := list[at].Price ^ s.mask
		if best, ok := s.best(); ok && best^s.mask >= key {
			return errUnsorted
		}
		if s.len() >= s.most {
			return errTooManyLevels
		}
		l := s.place(key)
		for i := at; i < end; i++ {
			o := &list[i]
			if o.RankSeq > b.seq || i > at && !list[i-1].Before(o) {
				return errUnsorted
			}
			b.orders.rankSeq, b.orders.rankIndex = o.RankSeq, o.RankIndex
			if err := b.orders.join(l, s.which, key, o.ID, o.Qty); err != nil {
				return err
			}
		}
		end = at
	}
	return nil
}

var (
	errDuplicateBook = errors.New("there is a book already, or it is no symbol")
	errUnsorted      = errors.New("levels or orders are not in their order")
	errEmptyLevel    = errors.New("a level without quantity")
	errStateSum      = errors.New("its levels are not those that the state hash is of")
	errNotWhole      = errors.New("it is not whole, but holds something")
	errKind          = errors.New("it holds levels and orders, or what its kind has not")
	errEpoch         = errors.New("it is of another history")
	errOffsets       = errors.New("its offsets contradict one another")
	errEndedBook     = errors.New("its instrument has ended, but it lives")
	errTradeCount    = errors.New("its trades are not counted one by one up to its ordinal")
	errHeldRecord    = errors.New("a record held back is not one of an unfinished event of it")
	errFeedTime      = errors.New("the time of its feed is none")
	errBeyondKnown   = errors.New("it holds more levels than its source keeps")
)

// unfit makes the error of a state that cannot be restored.
func unfit(symbol string, err error) error {
	return fmt.Errorf("book: the state of %.64q: %w: %w", symbol, proto.ErrBadValue, err)
}

// judge says what is wrong with a state before anything is made of it.
func (e *Engine) judge(s *proto.SymbolState) error {
	b := &s.Book
	levels, orders := len(b.Bids)+len(b.Asks), len(b.BidOrders)+len(b.AskOrders)
	kind := kept(b.Kind)
	switch {
	case levels > 0 && kind != keptByLevel, orders > 0 && kind != keptByOrder, kind > keptByOrder:
		return errKind
	case !b.Whole && (levels+orders > 0 || kind != keptUndecided || b.Reason == proto.ReasonNone), b.Whole && b.Fresh:
		return errNotWhole
	case b.EndReason != proto.ReasonNone && (b.Whole || b.Fresh || len(b.Held) > 0 || b.EndedAt > s.Offset):
		return errEndedBook
	case b.Chain.Epoch == 0 && b.Epoch != e.epoch, b.Chain.Epoch != 0 && b.Epoch != b.Chain.Epoch:
		return errEpoch
	case b.Seq < -1, b.Chain.Offset < -1, b.Chain.Offset > s.Offset, b.Chain.Origin < -1:
		return errOffsets
	case b.Need != 0 && len(b.Held) == 0:
		return errHeldRecord
	case b.FeedTime < 0, b.FeedTime != 0 && b.Feed == "":
		return errFeedTime
	case !inRange(b.Exponents), b.Instrument != nil && !inRange(b.Instrument.Exponents):
		return errBadInstrument
	}
	if n := len(b.Trades); n > 0 && b.Trades[n-1].Ordinal != b.TradeOrdinal {
		return errTradeCount
	}
	for i := 1; i < len(b.Trades); i++ {
		if b.Trades[i].Ordinal != b.Trades[i-1].Ordinal+1 {
			return errTradeCount
		}
	}
	before := int64(-1)
	for i := range b.Held {
		h := &b.Held[i]
		if h.Symbol != s.Symbol || !h.More || h.Seq <= before || h.Seq > b.Chain.Offset || kindsOf(h)&(1<<proto.EventNone) != 0 {
			return errHeldRecord
		}
		before = h.Seq
	}
	return nil
}

// judge says what is wrong with a book that was filled from s.
func (b *book) judge(s *proto.BookState) error {
	most := int(b.known())
	bids, _ := b.bids.sums()
	asks, _ := b.asks.sums()
	switch {
	case bids+asks != s.Hash:
		return errStateSum
	case most != 0 && max(b.bids.len(), b.asks.len()) > most:
		return errBeyondKnown
	}
	if crossed, _ := b.crossing(); crossed && b.uncrossed() {
		return errCrossed
	}
	return nil
}
