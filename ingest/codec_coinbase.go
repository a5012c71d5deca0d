package ingest

import "github.com/depthcast/depthcast/proto"

// coinbaseCodec reads what Coinbase sends, as received: of Advanced Trade the
// channels level2 (l2_data) and market_trades; of Exchange snapshot, l2update,
// match and last_match. Other messages are signs of life.
//
// Messages of Advanced Trade are chained by sequence_num, as of the section
// "Sequence Numbers" of "Advanced Trade WebSocket Overview": each is one more than
// that of the product's message before, whatever its channel. So all messages of
// a connection must lie in the log under its one product's symbol, those that name
// no product (heartbeats, subscriptions) included. A break is refused, and a
// snapshot needed from then on. Exchange's level2 carries no numbers; its
// document, "Exchange WebSocket Channels", guarantees delivery.
type coinbaseCodec struct {
	instruments Instruments
	symbols     venueSymbols[coinbaseState]
	message     coinbaseMessage
	batch       proto.Batch
}

// coinbaseState is what the codec keeps of one symbol.
type coinbaseState struct {
	whole     bool   // a snapshot was given out, and no message was lost since
	sequenced bool   // sequence is set
	sequence  uint64 // sequence_num of the message before
	lastTrade uint64
}

func newCoinbaseCodec(instruments Instruments) Codec {
	return &coinbaseCodec{instruments: instruments, symbols: newVenueSymbols[coinbaseState]()}
}

func (c *coinbaseCodec) Decode(rec *Record) (*proto.Batch, error) {
	s, refused := c.symbols.find(rec.Key)
	if refused != nil {
		return nil, refused
	}
	m := &c.message
	x := c.instruments.Exponents(s.symbol)
	err := m.parse(rec.Value, x)
	if err != nil && m.kind != coinbaseTrade {
		s.state.whole = false
		return nil, refusal(s.symbol, err)
	}
	if m.product != nil && string(m.product) != s.name {
		s.state.whole = false
		return nil, s.mismatch(m.product)
	}
	repeated, gap := s.state.follow(s.symbol, m)
	switch {
	case gap != nil:
		return nil, gap
	case repeated:
		return nil, nil
	case err != nil:
		r := refusal(s.symbol, err)
		r.Reason = proto.ReasonNone
		return nil, r
	}
	s.begin(&c.batch, m.time, x)
	switch m.kind {
	case coinbaseBook:
		c.book(&s.state)
	case coinbaseTrade:
		c.trades(&s.state)
	default:
		return heartbeat(&c.batch), nil
	}
	if len(c.batch.Events) == 0 {
		return nil, nil
	}
	return &c.batch, nil
}

// follow moves the chain on to m, and reports whether m is the message before once
// more, or that messages are missing. A lower number is no less a break: what it
// counts is not what was counted before. Snapshots begin a chain.
func (s *coinbaseState) follow(symbol string, m *coinbaseMessage) (repeated bool, gap *proto.RecordError) {
	if !m.sequenced {
		return false, nil
	}
	last, chained := s.sequence, s.sequenced && s.whole && !m.startsWithSnapshot()
	if chained && m.sequence == last {
		return true, nil
	}
	s.sequence, s.sequenced = m.sequence, true
	if chained && m.sequence != last+1 {
		s.whole = false
		return false, refuse(CodeSourceGap, symbol, proto.ReasonSourceGap, "message %d does not follow %d", m.sequence, last)
	}
	return false, nil
}

// book adds the message's snapshots and updates to the batch.
func (c *coinbaseCodec) book(s *coinbaseState) {
	for i := range c.message.books {
		b := &c.message.books[i]
		kind := proto.EventSetLevels
		if b.snapshot {
			kind = proto.EventSnapshot
			s.whole = true
		}
		if !s.whole {
			continue
		}
		e := addEvent(&c.batch, kind)
		e.Bids = append(e.Bids, b.bids...)
		e.Asks = append(e.Asks, b.asks...)
	}
}

// trades adds the message's trades to the batch, each once: subscribing brings
// some of the past.
func (c *coinbaseCodec) trades(s *coinbaseState) {
	for _, t := range c.message.trades {
		if t.ID != 0 {
			if t.ID <= s.lastTrade {
				continue
			}
			s.lastTrade = t.ID
		}
		addEvent(&c.batch, proto.EventTrade).Trade = t
	}
}

func (s *coinbaseState) appendTo(to []byte) []byte {
	to = appendStateBool(appendStateBool(to, s.whole), s.sequenced)
	return appendStateUint(appendStateUint(to, s.sequence), s.lastTrade)
}

func (s *coinbaseState) readFrom(r *stateReader) {
	*s = coinbaseState{whole: r.bool(), sequenced: r.bool(), sequence: r.uint(), lastTrade: r.uint()}
	r.check(s.sequenced || s.sequence == 0, "a sequence that is not set")
}

func (c *coinbaseCodec) save(symbol string, to []byte) []byte {
	return saveVenue(&c.symbols, symbol, to)
}
func (c *coinbaseCodec) restore(symbol string, state []byte) error {
	return restoreVenue(&c.symbols, symbol, state)
}
func (c *coinbaseCodec) forget(symbol string) { delete(c.symbols.of, symbol) }
