package book

import "github.com/depthcast/depthcast/proto"

// terms is what had been said of a trade when it was taken back or put right.
type terms struct {
	trade proto.Trade // as put right last
	found bool        // it is among the trades kept
	gone  bool        // it was taken back before
	known bool        // all trades of the session are kept: one that is not found is none of it
}

// termsOf looks for a trade among those kept and staged, first those that came
// last; first is the ordinal of the last trade before the session.
func (t *trades) termsOf(id, first uint64) (was terms) {
	amended := false
	for i := len(t.kept) + len(t.staged) - 1; i >= 0; i-- {
		var x proto.Trade
		if at := i - len(t.kept); at >= 0 {
			x = t.staged[at]
			x.Ordinal = t.ordinal + uint64(at) + 1
		} else {
			x = t.kept[(t.next+i)%len(t.kept)]
		}
		switch {
		case x.ID != id:
			continue
		case x.Flags&proto.TradeCancellation != 0:
			was.gone = true
			continue
		case !amended:
			was.trade = x
			amended = true
		}
		if x.Flags&proto.TradeCorrection == 0 {
			was.trade.Flags, was.trade.Ordinal, was.found = x.Flags, x.Ordinal, true
			return was
		}
	}
	oldest := t.ordinal + 1 // that is kept
	if len(t.kept) > 0 {
		oldest = t.kept[t.next%len(t.kept)].Ordinal
	}
	was.known = oldest <= first+1
	return was
}

// sessionInHand returns the session as the batch in hand leaves it: a draft, until
// the batch is applied.
func (b *book) sessionInHand() *session {
	if !b.drafting {
		b.drafting = true
		b.engine.draft = b.session
	}
	return &b.engine.draft
}

// settleSession makes the draft the session, or gives it up.
func (b *book) settleSession(applied bool) {
	if b.drafting && applied {
		b.session = b.engine.draft
	}
	b.drafting = false
}

// lastOrdinal is that of the last trade, of those staged too.
func (t *trades) lastOrdinal() uint64 { return t.ordinal + uint64(len(t.staged)) }

// addTrade takes a trade, or what is said of an earlier one.
func (b *book) addTrade(t proto.Trade, flag proto.TradeFlags, r *proto.Batch) *refusal {
	s := b.sessionInHand()
	var was terms
	if flag != 0 {
		was = b.trades.termsOf(t.ID, s.First)
	}
	if err := b.trades.trade(t, flag, r); err != nil {
		return err
	}
	switch flag {
	case 0:
		s.trade(&t)
	case proto.TradeCancellation:
		s.amend(t.ID, was, nil)
	case proto.TradeCorrection:
		s.amend(t.ID, was, &t)
	}
	return nil
}

// addStatistics takes over what is given.
func (b *book) addStatistics(v *proto.Statistics) *refusal {
	if v == nil || v.Volume.Value < 0 || v.OpenInterest.Value < 0 {
		return errBadStatistics
	}
	b.sessionInHand().state(v)
	return nil
}

// missTrades says that trades of the batch in hand are lost, and what else may be,
// by the kinds of its events.
func (b *book) missTrades() {
	switch s := b.sessionInHand(); {
	case b.kinds&(1<<proto.EventNone) != 0:
		s.forget()
	case b.kinds&(tradeKinds|1<<proto.EventExecute) != 0:
		s.miss()
	}
}

// ticker fills t with what views of it show.
func (b *book) ticker(t *proto.Ticker) {
	*t = proto.Ticker{Seq: b.seq, Times: b.times}
	b.session.ticker(t)
	if !b.shown() {
		return
	}
	t.Partial = !b.bids.bestKnown() || !b.asks.bestKnown()
	if l := b.bids.first(); l.Qty > 0 {
		t.Bid, t.BidQty = set(l.Price), set(l.Qty)
	}
	if l := b.asks.first(); l.Qty > 0 {
		t.Ask, t.AskQty = set(l.Price), set(l.Qty)
	}
}

// tellTicker publishes the ticker if it has changed.
func (v *View) tellTicker() {
	b := v.book
	t := &b.engine.newTicker
	b.ticker(t)
	if sameTicker(t, v.ticker) {
		return
	}
	t.PrevSeq = v.last
	v.last, *v.ticker = b.seq, *t
	v.to.Ticker(t)
}

// sameTicker reports whether two tickers differ at most in when they were made.
func sameTicker(a, b *proto.Ticker) bool {
	x := *a
	x.PrevSeq, x.Seq, x.Times = b.PrevSeq, b.Seq, b.Times
	return x == *b
}
