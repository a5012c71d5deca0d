package ingest

import "github.com/depthcast/depthcast/proto"

// binanceCodec reads what Binance sends for spot and USD-M futures: depthUpdate,
// trade, aggTrade, bookTicker, and the REST depth snapshot, each as received.
//
// Diffs are chained by update ids. Until a snapshot lies in the log they are
// buffered. A snapshot makes one batch with the diff that bridges it and those that
// follow, wherever that diff lies in the log, at the seq of the record being
// processed: without it nothing says that the snapshot is no older than what was
// lost. A break in the chain is refused, and buffering begins again. Sections "How to manage a local order book correctly" of
// Binance's documents for both markets.
type binanceCodec struct {
	instruments Instruments
	symbols     venueSymbols[binanceState]
	buffered    int // bytes of diffs, of all symbols
	message     binanceMessage
	batch       proto.Batch
}

// binanceState is what the codec keeps of one symbol.
type binanceState struct {
	chained bool // a snapshot was given out, and the diffs follow it without a gap
	bridged bool // one of these diffs was used
	last    uint64
	waiting []binanceWaiting // while not chained: a chain without gaps, oldest first
	held    []byte           // while not chained: the snapshot of last, which none of the diffs so far bridges; none wait then
	bytes   int              // of waiting and held
	lost    uint64           // last id of the diffs that were let go unused: nothing older can be made whole

	quotes binanceQuotes

	trades    binanceKind // trade or aggTrade, whichever came first: the other tells the same trades again
	lastTrade uint64
}

func newBinanceCodec(instruments Instruments) Codec {
	return &binanceCodec{instruments: instruments, symbols: newVenueSymbols[binanceState]()}
}

func (c *binanceCodec) Decode(rec *Record) (*proto.Batch, error) {
	s, refused := c.symbols.find(rec.Key)
	if refused != nil {
		return nil, refused
	}
	m := &c.message
	x := c.instruments.Exponents(s.symbol)
	if err := m.parse(rec.Value, x); err != nil {
		r := refusal(s.symbol, err)
		if m.aboutTrades() {
			r.Reason = proto.ReasonNone
			return nil, r
		}
		c.restart(&s.state)
		return nil, r
	}
	if m.symbol != nil && string(m.symbol) != s.name {
		c.restart(&s.state)
		return nil, s.mismatch(m.symbol)
	}
	s.begin(&c.batch, m.time, x)
	switch m.kind {
	case binanceDiff:
		b, err := c.diff(&s.state, rec.Value)
		c.trim(&s.state)
		return b, err
	case binanceSnapshot:
		return c.snapshot(&s.state, rec.Value)
	case binanceTrade, binanceAggTrade:
		return c.trade(&s.state)
	case binanceTicker:
		s.state.quotes.add(m)
		return heartbeat(&c.batch), nil
	}
	return nil, nil
}

// aboutTrades reports whether a message that could not be read in full is known
// to be one that changes no book.
func (m *binanceMessage) aboutTrades() bool {
	switch string(m.event) {
	case "trade", "aggTrade", "bookTicker":
		return !m.rest && len(m.bids)+len(m.asks) == 0
	}
	return false
}

// diff applies or buffers the message, which is a depthUpdate.
func (c *binanceCodec) diff(s *binanceState, value []byte) (*proto.Batch, error) {
	m := &c.message
	if !s.chained {
		if err := c.wait(s, value); err != nil || s.held == nil {
			return nil, err
		}
		return c.bridge(s, s.held)
	}
	if covered(s, m) {
		return nil, nil
	}
	if !follows(s, m) {
		last := s.last
		c.restart(s)
		c.keep(s, value)
		return nil, refuse(CodeSourceGap, c.batch.Symbol, proto.ReasonSourceGap,
			"updates %d to %d (previous %d) do not follow %d", m.first, m.last, m.previous, last)
	}
	c.setLevels(s)
	c.batch.Quote = s.quotes.next(s.last)
	return &c.batch, nil
}

// covered reports whether the book holds all of m already. Spot: u ≤ last; USD-M,
// until the first diff is used: u < last.
func covered(s *binanceState, m *binanceMessage) bool {
	if m.chained && !s.bridged {
		return m.last < s.last
	}
	return m.last <= s.last
}

// follows reports whether m, which is not covered, is the next diff of the chain.
// Spot: U ≤ last+1 ≤ u, where what it tells again of ids up to last is absolute.
// USD-M: after a snapshot U ≤ last ≤ u, after a diff pu = last.
func follows(s *binanceState, m *binanceMessage) bool {
	if !m.chained {
		return m.first <= s.last+1 && s.last+1 <= m.last
	}
	return m.previous == s.last || !s.bridged && m.first <= s.last && s.last <= m.last
}

// setLevels adds the message's levels to the batch and moves the chain on.
func (c *binanceCodec) setLevels(s *binanceState) {
	m := &c.message
	e := addEvent(&c.batch, proto.EventSetLevels)
	e.Bids = append(e.Bids, m.bids...)
	e.Asks = append(e.Asks, m.asks...)
	c.batch.VenueTime = m.time
	s.last, s.bridged = m.last, true
}

// unchain buffers from here on: the snapshot that the book needs may be older than
// the diffs that are still to come before it. What waits already goes on waiting.
func (c *binanceCodec) unchain(symbol string) {
	s := c.symbols.of[symbol]
	if s == nil {
		return
	}
	s.state.quotes = binanceQuotes{} // the exponents may have changed
	if s.state.chained {
		c.restart(&s.state)
	}
}

// snapshot takes the message, which is a REST snapshot. On a book that is whole it
// makes a batch of its own, if it is not older; else it is held until bridged.
func (c *binanceCodec) snapshot(s *binanceState, value []byte) (*proto.Batch, error) {
	m := &c.message
	switch {
	case m.last == 0:
		return nil, refuse(CodeMalformed, c.batch.Symbol, proto.ReasonNone, "a snapshot without lastUpdateId")
	case s.chained && m.last < s.last, s.held != nil && m.last < s.last:
		return nil, nil // older than the book, or than the snapshot that is held
	case s.chained:
		s.bridged = s.bridged && s.last == m.last
		c.setBook(s)
		return &c.batch, nil
	case len(s.waiting) == 0 && m.last < s.lost:
		return nil, refuse(CodeOldSnapshot, c.batch.Symbol, proto.ReasonNone,
			"the snapshot is of %d, updates up to %d are gone", m.last, s.lost)
	}
	if len(s.waiting) > 0 {
		if w := s.waiting[0]; w.first > m.last && w.previous != m.last {
			return nil, refuse(CodeOldSnapshot, c.batch.Symbol, proto.ReasonNone,
				"the snapshot is of %d, the oldest update that waits is %d to %d", m.last, w.first, w.last)
		}
	}
	c.letGo(s)
	s.last = m.last
	if b, err := c.bridge(s, value); b != nil || err != nil {
		return b, err
	}
	return nil, c.hold(s, value)
}

// setBook adds the message, which is a snapshot, to the batch, and begins a chain.
func (c *binanceCodec) setBook(s *binanceState) {
	m := &c.message
	e := addEvent(&c.batch, proto.EventSnapshot)
	e.Bids = append(e.Bids, m.bids...)
	e.Asks = append(e.Asks, m.asks...)
	// The venue sends its best levels, as many as were asked for, and of those
	// behind only what changes.
	e.KnownLevels = uint32(max(len(m.bids), len(m.asks)))
	s.chained, s.last = true, m.last
}

// trade makes the batch of the message, which is a trade. Futures report
// liquidations' fills against the insurance fund with quantity 0: no trades.
func (c *binanceCodec) trade(s *binanceState) (*proto.Batch, error) {
	m := &c.message
	if s.trades == binanceOther {
		s.trades = m.kind
	}
	if s.trades != m.kind || m.trade <= s.lastTrade || m.qty == 0 {
		return nil, nil
	}
	s.lastTrade = m.trade
	e := addEvent(&c.batch, proto.EventTrade)
	e.Trade = proto.Trade{ID: m.trade, Price: m.price, Qty: m.qty, VenueTime: m.tradeTime, Aggressor: proto.AggressorBuy}
	if m.maker {
		e.Trade.Aggressor = proto.AggressorSell
	}
	return &c.batch, nil
}
