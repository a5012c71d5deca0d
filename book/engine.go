package book

import (
	"cmp"
	"slices"
	"strings"

	"github.com/depthcast/depthcast/proto"
)

// Engine holds the books of one partition. All its methods, and those of its
// views, are called under the partition's lock.
type Engine struct {
	config     Config
	epoch      uint64
	begun      bool
	complete   bool                // books start whole
	tainted    map[string]struct{} // symbols not listed that do not start whole: a record was refused, or they were given up
	catchingUp bool
	stale      uint32 // a bit for each reason, for every feed

	books map[string]*book
	list  []*book // in order of their first record; before them those that were restored
	ended []*book // those of list that have ended, in order of their end
	feeds map[string]*feed
	views []*View // open
	lists []*List // open
	parts parts   // of the snapshot in hand

	// Of the batch in hand, lent to its book and views, so that they stay in the
	// cache: who is told of them keeps nothing.
	touchedBids, touchedAsks []touch
	orderTouches             orderTouches
	delta                    proto.Delta
	ordersDelta              proto.Orders
	newTrades                proto.Trades
	newTicker                proto.Ticker
	newListing               proto.Instruments
	draft                    session
	status                   proto.Status

	heldBytes int // of all books
	skipped   uint64
	offTick   uint64
}

// feed is one source of records.
type feed struct {
	name  string
	time  int64  // Kafka time of its last record or heartbeat
	stale uint32 // a bit for each reason
}

// New returns an engine without books. It is catching up until CatchingUp(false).
func New(c Config) (*Engine, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &Engine{
		config: c, catchingUp: true, books: map[string]*book{}, feeds: map[string]*feed{},
		tainted: map[string]struct{}{},
	}, nil
}

// Begin says which history the records to come belong to. complete: the log is
// read from offset 0 of a source declared complete from there, so that books are
// whole from their first record on. Another epoch than before makes every book
// recovering, recreated; the same one again changes nothing.
func (e *Engine) Begin(epoch uint64, complete bool) {
	if e.begun && epoch == e.epoch {
		return
	}
	again := e.begun
	e.begun, e.epoch, e.complete = true, epoch, complete
	clear(e.tainted)
	if !again {
		return
	}
	for len(e.ended) > 0 {
		e.forgetEnded()
	}
	for _, l := range e.lists {
		l.to.Restarted()
	}
	for _, b := range e.list {
		b.restart(proto.ReasonRecreated)
		b.chain, b.epoch, b.fresh, b.restored = newChain(), epoch, complete, -1
		b.finish()
	}
}

// Apply applies one record. An error is a *proto.RecordError; the book that it
// concerns, if any, is recovering then. With an error the outcome means nothing.
func (e *Engine) Apply(r *proto.Batch) (proto.Outcome, error) {
	b := e.books[r.Symbol]
	f, err := e.feed(r.Feed, b)
	if err != nil {
		return e.refuse(r, err)
	}
	f.time = max(f.time, r.KafkaTime)
	if b != nil && b.ended {
		e.giveUpEnded(r.Seq)
		b = e.books[r.Symbol]
	}
	switch {
	case r.Symbol == "":
		if kindsOf(r)&^(1<<proto.EventHeartbeat) != 0 {
			return e.refuse(r, errNoSymbol)
		}
		return proto.Applied, nil
	case b == nil:
		if b, err = e.enlist(r.Symbol); err != nil {
			return e.refuse(r, err)
		}
	case b.ended:
		if kindsOf(r)&(1<<proto.EventInstrument) == 0 {
			return e.refuse(r, errEnded)
		}
		ahead := b.chain
		var v verdict
		if ahead.admit(r, false, &v); v.outcome != proto.Applied {
			b.chain = ahead
			return v.outcome, nil
		}
		b = e.relist(b)
	}
	b.from = f
	outcome, fault := b.take(r)
	if b.ended {
		b.endedAt = r.Seq
		e.noteEnded(b)
		e.giveUpEnded(r.Seq + 1)
	}
	return outcome, fault
}

// feed returns the feed of that name, first looking where the book of the record is.
func (e *Engine) feed(name string, b *book) (*feed, *refusal) {
	if b != nil && b.feed != nil && b.feed.name == name {
		return b.feed, nil
	}
	if f := e.feeds[name]; f != nil {
		return f, nil
	}
	if len(e.feeds) >= e.config.MaxFeeds {
		return nil, errTooManyFeeds
	}
	f := &feed{name: strings.Clone(name)}
	e.feeds[f.name] = f
	return f, nil
}

// refuse refuses a record before its book has seen it.
func (e *Engine) refuse(r *proto.Batch, why *refusal) (proto.Outcome, error) {
	reason := why.reason
	if kindsOf(r)&^noBookKinds == 0 {
		reason = proto.ReasonNone
	}
	if reason != proto.ReasonNone {
		e.Refuse(r.Symbol, r.Seq, reason)
	}
	return proto.Ignored, why.record(r.Symbol, -1, reason)
}

// enlist makes the book of a symbol, giving up the one that ended longest ago if
// there is no room.
func (e *Engine) enlist(symbol string) (*book, *refusal) {
	if len(e.list) >= e.config.MaxSymbols && len(e.ended) > 0 {
		e.giveUp()
	}
	if len(e.list) >= e.config.MaxSymbols {
		return nil, errTooManySymbols
	}
	symbol = strings.Clone(symbol)
	b := newBook(e, symbol)
	_, tainted := e.tainted[symbol]
	b.fresh = e.complete && !tainted
	delete(e.tainted, symbol)
	e.books[symbol] = b
	e.list = append(e.list, b)
	return b, nil
}

// relist makes a new book for a symbol whose instrument had ended. It goes on in
// the log and in the count of trades, but knows nothing of the book.
func (e *Engine) relist(old *book) *book {
	b := newBook(e, old.symbol)
	b.chain, b.epoch, b.seq, b.trades.ordinal = old.chain, old.epoch, old.seq, old.trades.ordinal
	b.feed = old.feed
	e.books[b.symbol] = b
	e.list[slices.Index(e.list, old)] = b
	e.ended = slices.DeleteFunc(e.ended, func(o *book) bool { return o == old })
	return b
}

// noteEnded adds b to those that have ended. One that was restored may have ended
// later than the record in hand.
func (e *Engine) noteEnded(b *book) {
	at, _ := slices.BinarySearchFunc(e.ended, b.endedAt, func(o *book, at int64) int { return cmp.Compare(o.endedAt, at) })
	e.ended = slices.Insert(e.ended, at, b)
}

// giveUpEnded gives up what ended before the record at seq, but for the newest. So
// what is remembered of a symbol that ended depends on the log alone, also where
// books were restored that have ended later.
func (e *Engine) giveUpEnded(seq int64) {
	n, _ := slices.BinarySearchFunc(e.ended, seq, func(o *book, at int64) int { return cmp.Compare(o.endedAt, at) })
	for ; n > e.config.KeptEnded; n-- {
		e.giveUp()
	}
}

// giveUp gives up the book that ended longest ago. How far its log was read is not
// known any more, so it does not begin whole again.
func (e *Engine) giveUp() {
	symbol := e.ended[0].symbol
	e.forgetEnded()
	e.taint(symbol)
}

// forgetEnded forgets the book that ended longest ago.
func (e *Engine) forgetEnded() {
	b := e.ended[0]
	if b.unlisted {
		b.tellLists()
	}
	e.ended = e.ended[1:]
	e.list = slices.DeleteFunc(e.list, func(o *book) bool { return o == b })
	delete(e.books, b.symbol)
}

// maxTainted bounds the symbols without a book that will not begin whole. Where
// there are more, no symbol will.
const maxTainted = proto.MaxTainted

// Living is how many symbols have a book and have not ended.
func (e *Engine) Living() int { return len(e.list) - len(e.ended) }

// Best returns the best bid and offer of the symbol's book; false if there is none
// that is known to be whole.
func (e *Engine) Best(symbol string) (proto.Quote, bool) {
	b := e.books[symbol]
	if b == nil || !b.whole {
		return proto.Quote{}, false
	}
	return proto.Quote{Bid: b.bids.first(), Ask: b.asks.first()}, true
}

// Refuse says that the record at seq was refused by others, or that records are
// missing there: the symbol's book (every book, if symbol is empty) is recovering
// with that reason. Its seq stays, as nothing was applied. A book that was restored
// as of seq or later has that in its state: it is passed over, unless the reason
// says that offsets count anew. A symbol not known is not listed for that, but will
// not start whole. ReasonNone concerns no book, but trades may be missing.
func (e *Engine) Refuse(symbol string, seq int64, reason proto.Reason) {
	if reason == proto.ReasonNone {
		if b := e.books[symbol]; b != nil && !b.ended && seq > b.restored {
			b.session.miss()
			b.finish()
		}
		return
	}
	if symbol == "" {
		e.complete = false
		for _, b := range e.list {
			b.missed(seq, reason)
		}
		return
	}
	if b := e.books[symbol]; b != nil && b.ended {
		e.giveUpEnded(seq)
	}
	if b := e.books[symbol]; b != nil {
		b.missed(seq, reason)
		return
	}
	e.taint(symbol)
}

// taint sees to it that a symbol without a book will not begin with a whole one.
func (e *Engine) taint(symbol string) {
	if _, known := e.tainted[symbol]; known || !e.complete {
		return
	}
	if len(e.tainted) >= maxTainted {
		e.complete = false
		return
	}
	e.tainted[strings.Clone(symbol)] = struct{}{}
}

// missed says that a record of the book never came.
func (b *book) missed(seq int64, reason proto.Reason) {
	switch {
	case b.ended:
		return
	case reason == proto.ReasonTruncated || reason == proto.ReasonRecreated:
		// Offsets and source sequences may be used again.
		b.chain = chain{offset: -1, origin: -1, epoch: b.chain.epoch, generation: b.chain.generation}
		b.restored = -1
	case seq <= b.restored:
		return
	}
	b.drop()
	b.lose(reason)
	b.session.forget()
	b.finish()
}

// CatchingUp says whether records are read that are known to be old. While they
// are, every book is recovering, catching_up, and views hear of nothing else.
func (e *Engine) CatchingUp(on bool) {
	if on == e.catchingUp {
		return
	}
	e.catchingUp = on
	for _, b := range e.list {
		if on {
			b.breaks(proto.SnapshotRecovered)
			b.tradesBroken = max(b.tradesBroken, proto.SnapshotRecovered)
		}
		b.finish()
	}
}

// SetStale says that the books of a feed (of every feed, if it is empty) are or
// are no longer known to be current. The reason is kafka_unreachable, behind or
// source_silent. A feed not seen yet has no books.
func (e *Engine) SetStale(name string, reason proto.Reason, on bool) {
	set := &e.stale
	if name != "" {
		f := e.feeds[name]
		if f == nil {
			return
		}
		set = &f.stale
	}
	was := *set
	if on {
		*set |= 1 << reason
	} else {
		*set &^= 1 << reason
	}
	if *set == was {
		return
	}
	for _, b := range e.list {
		if !b.ended && (name == "" || b.feed != nil && b.feed.name == name) {
			b.finish()
		}
	}
}

// Tick renews the marks of lists and of the open views whose books have something to show. The
// time now (ns since 1970) is not needed: marks hold the times of records.
func (e *Engine) Tick(int64) {
	for _, v := range e.views {
		v.mark()
	}
	for _, l := range e.lists {
		l.to.Tick()
	}
}
