package ingest

import "github.com/depthcast/depthcast/proto"

// okxCodec reads OKX's public WebSocket, version 5, as received: the channels
// books, books-l2-tbt and books50-l2-tbt, trades and trades-all. A symbol's
// records are of one book channel. Other channels are signs of life: books5 and
// bbo-tbt repeat the best levels, books-elp holds what others do not see.
//
// Books are chained by sequence ids, as of the section "Sequence ID" of "WS /
// Order book channel": the prevSeqId of an update is the seqId of the message
// before. Neither need seqId grow (after maintenance it begins anew, smaller
// than prevSeqId), nor is it another (nothing has changed for a while: no
// levels). A break is refused, and a snapshot needed from then on. The field
// checksum is not looked at: OKX has sent 0 since June 2026 ("Order Book Channels
// Checksum Field Deprecation") and names the sequence ids as what to check.
type okxCodec struct {
	instruments Instruments
	symbols     venueSymbols[okxState]
	message     okxMessage
	batch       proto.Batch
}

// okxState is what the codec keeps of one symbol.
type okxState struct {
	whole          bool  // a snapshot was given out, and the updates follow it without a gap
	previous, last int64 // prevSeqId and seqId of the message before

	trades    string // trades or trades-all, whichever came first: the other tells the same trades again
	lastTrade uint64
}

func newOKXCodec(instruments Instruments) Codec {
	return &okxCodec{instruments: instruments, symbols: newVenueSymbols[okxState]()}
}

func (c *okxCodec) Decode(rec *Record) (*proto.Batch, error) {
	s, refused := c.symbols.find(rec.Key)
	if refused != nil {
		return nil, refused
	}
	m := &c.message
	x := c.instruments.Exponents(s.symbol)
	if err := m.parse(rec.Value, x); err != nil {
		r := refusal(s.symbol, err)
		if m.kind == okxTrade {
			r.Reason = proto.ReasonNone
			return nil, r
		}
		s.state.whole = false
		return nil, r
	}
	if m.symbol != nil && string(m.symbol) != s.name {
		s.state.whole = false
		return nil, s.mismatch(m.symbol)
	}
	s.begin(&c.batch, m.time, x)
	switch m.kind {
	case okxBook:
		return c.book(&s.state)
	case okxTrade:
		return c.trades(&s.state)
	}
	return heartbeat(&c.batch), nil
}

// book makes the batch of the message, which is of a book channel.
func (c *okxCodec) book(s *okxState) (*proto.Batch, error) {
	m := &c.message
	kind := proto.EventSetLevels
	switch {
	case m.snapshot:
		kind = proto.EventSnapshot
		s.whole = true
	case !s.whole:
		return nil, nil
	case m.previous == s.previous && m.last == s.last && m.previous != m.last:
		return nil, nil // the message before once more
	case m.previous != s.last:
		s.whole = false
		return nil, refuse(CodeSourceGap, c.batch.Symbol, proto.ReasonSourceGap,
			"update %d follows %d, the last one known is %d", m.last, m.previous, s.last)
	}
	s.previous, s.last = m.previous, m.last
	if !m.snapshot && len(m.bids)+len(m.asks) == 0 {
		return heartbeat(&c.batch), nil
	}
	e := addEvent(&c.batch, kind)
	e.Bids = append(e.Bids, m.bids...)
	e.Asks = append(e.Asks, m.asks...)
	if m.snapshot {
		e.MaxLevels = m.depth
	}
	return &c.batch, nil
}

func (c *okxCodec) trades(s *okxState) (*proto.Batch, error) {
	m := &c.message
	if s.trades == "" {
		s.trades = string(m.channel)
	}
	if s.trades != string(m.channel) {
		return nil, nil
	}
	for _, t := range m.trades {
		if t.ID <= s.lastTrade {
			continue
		}
		s.lastTrade = t.ID
		addEvent(&c.batch, proto.EventTrade).Trade = t
	}
	if len(c.batch.Events) == 0 {
		return nil, nil
	}
	return &c.batch, nil
}

func (s *okxState) appendTo(to []byte) []byte {
	to = appendStateInt(appendStateInt(appendStateBool(to, s.whole), s.previous), s.last)
	return appendStateUint(appendStateBytes(to, s.trades), s.lastTrade)
}

func (s *okxState) readFrom(r *stateReader) {
	*s = okxState{whole: r.bool(), previous: r.int(), last: r.int()}
	s.trades, s.lastTrade = string(r.bytes(len(okxTradesAll))), r.uint()
	r.check(s.trades == "" || s.trades == okxTrades || s.trades == okxTradesAll, "a channel of trades")
}

func (c *okxCodec) save(symbol string, to []byte) []byte { return saveVenue(&c.symbols, symbol, to) }
func (c *okxCodec) restore(symbol string, state []byte) error {
	return restoreVenue(&c.symbols, symbol, state)
}
func (c *okxCodec) forget(symbol string) { delete(c.symbols.of, symbol) }
