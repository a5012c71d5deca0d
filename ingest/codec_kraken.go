package ingest

import (
	"github.com/depthcast/depthcast/proto"
)

// krakenCodec reads Kraken's public WebSocket as received: of version 1, whose
// messages are arrays, the channels book-N and trade; of version 2, whose
// messages are objects, the channels book and trade. Heartbeats, status messages
// and other channels are signs of life. The book is kept to its channel's N
// levels a side, and its checksum is compared wherever the venue sends one.
type krakenCodec struct {
	instruments Instruments
	symbols     venueSymbols[krakenState]
	message     krakenMessage
	batch       proto.Batch
}

// krakenState is what the codec keeps of one symbol.
type krakenState struct {
	whole      bool // a snapshot was given out, and no update was lost since
	exponents  proto.Exponents
	mirror     krakenMirror
	depth      int    // levels a side that the channel keeps
	supposed   bool   // depth is what the snapshot let suppose
	subscribed uint32 // depth as the answer to subscribing said, version 2; 0: none was seen
	lastTrade  uint64 // id, version 2
}

func newKrakenCodec(instruments Instruments) Codec {
	return &krakenCodec{instruments: instruments, symbols: newVenueSymbols[krakenState]()}
}

func (c *krakenCodec) Decode(rec *Record) (*proto.Batch, error) {
	s, refused := c.symbols.find(rec.Key)
	if refused != nil {
		return nil, refused
	}
	m := &c.message
	x := c.instruments.Exponents(s.symbol)
	if err := m.parse(rec.Value, x); err != nil {
		r := refusal(s.symbol, err)
		if m.kind == krakenTrade {
			r.Reason = proto.ReasonNone
			return nil, r
		}
		s.state.drop()
		return nil, r
	}
	if m.pair != nil && string(m.pair) != s.name {
		s.state.drop()
		return nil, s.mismatch(m.pair)
	}
	s.begin(&c.batch, m.time, x)
	switch m.kind {
	case krakenTrade:
		return c.trades(&s.state)
	case krakenBook:
		return c.book(&s.state)
	case krakenSubscribed:
		s.state.subscribed = m.depth
	}
	return heartbeat(&c.batch), nil
}

// drop forgets the book: from here on a snapshot is needed.
func (s *krakenState) drop() {
	s.whole = false
	s.mirror = krakenMirror{}
}

func (c *krakenCodec) trades(s *krakenState) (*proto.Batch, error) {
	for _, t := range c.message.trades {
		if t.ID != 0 {
			if t.ID <= s.lastTrade {
				continue // in the snapshot that follows a new subscription
			}
			s.lastTrade = t.ID
		}
		addEvent(&c.batch, proto.EventTrade).Trade = t
	}
	if len(c.batch.Events) == 0 {
		return nil, nil
	}
	return &c.batch, nil
}

// book makes the batch of the message, which is of a book channel, and compares
// the venue's checksum.
func (c *krakenCodec) book(s *krakenState) (*proto.Batch, error) {
	m := &c.message
	switch {
	case m.snapshot:
		s.drop()
		s.whole, s.exponents = true, c.batch.Exponents
		s.depth, s.supposed = int(m.depth), false
		if s.depth == 0 {
			s.depth, s.supposed = krakenDepth(max(len(m.bids), len(m.asks)), s.subscribed)
		}
	case s.whole && s.exponents != c.batch.Exponents:
		s.drop() // so does the book
		return nil, nil
	case !s.whole:
		return nil, nil
	}
	s.mirror.bids = s.mirror.bids.set(m.bids, betterBid)
	s.mirror.asks = s.mirror.asks.set(m.asks, betterAsk)
	if s.supposed && max(len(s.mirror.bids), len(s.mirror.asks)) > s.depth {
		depth := s.depth
		s.drop()
		return nil, refuse(CodeDepth, c.batch.Symbol, proto.ReasonContradiction,
			"the book outgrew the %d levels that its snapshot let suppose; the answer to subscribing, which tells the depth, is not in the log", depth)
	}
	s.mirror.trim(s.depth)
	if m.hasChecksum {
		if sum := s.mirror.checksum(); sum != m.checksum {
			s.drop()
			return nil, refuse(CodeChecksum, c.batch.Symbol, proto.ReasonChecksum, "the venue's checksum is %d, the book's %d", m.checksum, sum)
		}
	}
	kind := proto.EventSetLevels
	if m.snapshot {
		kind = proto.EventSnapshot
	}
	e := addEvent(&c.batch, kind)
	for _, l := range m.bids {
		e.Bids = append(e.Bids, l.Level)
	}
	for _, l := range m.asks {
		e.Asks = append(e.Asks, l.Level)
	}
	if m.snapshot {
		e.MaxLevels = uint32(s.depth)
	}
	return &c.batch, nil
}

// krakenDepths are those that can be subscribed to.
var krakenDepths = []int{10, 25, 100, 500, 1000}

// krakenDepth tells the depth of a channel, which books of version 2 do not name:
// as the answer to subscribing said, if it is in the log; else the least that
// holds the snapshot's levels. That is certain where a side is full. Where it is
// supposed, a book of 10 levels needs no more, as the checksum covers all of it;
// a deeper one must not outgrow it.
func krakenDepth(levels int, subscribed uint32) (depth int, supposed bool) {
	if int(subscribed) >= max(levels, 1) {
		return int(subscribed), false
	}
	for _, d := range krakenDepths {
		if levels <= d {
			return d, levels < d && d > 10
		}
	}
	return levels, false
}
