package ingest

import (
	"errors"

	"github.com/depthcast/depthcast/proto"
)

// okxKind says which of OKX's messages one is.
type okxKind uint8

const (
	okxOther okxKind = iota // concerns neither book nor trades
	okxBook
	okxTrade
)

// okxMessage is one of OKX's messages taken apart.
type okxMessage struct {
	kind    okxKind
	channel []byte
	symbol  []byte // instId; nil in messages that concern no instrument
	time    int64  // latest of its book or trades, ns since 1970

	snapshot            bool
	depth               uint32 // levels a side that the channel keeps
	previous, last      int64  // prevSeqId, -1 in snapshots, and seqId
	withPrev, withSeqID bool
	bids, asks          []proto.Level

	trades []proto.Trade

	text      jsonText
	exponents proto.Exponents
}

var (
	errOKXAction = errors.New("neither snapshot nor update")
	errOKXData   = errors.New("not one book with its sequence ids")
	errOKXTrade  = errors.New("trade without id, price or quantity")
	errOKXSymbol = errors.New("of several instruments")
)

// parse reads value with the exponents of its symbol, reusing m's slices.
func (m *okxMessage) parse(value []byte, x proto.Exponents) error {
	*m = okxMessage{bids: m.bids[:0], asks: m.asks[:0], trades: m.trades[:0], exponents: x, text: m.text}
	action, err := m.outline(value)
	if err != nil || m.kind == okxOther {
		return err
	}
	if m.kind == okxBook {
		m.snapshot = string(action) == "snapshot"
		if !m.snapshot && string(action) != "update" {
			return errOKXAction
		}
	}
	// The channel, which says how to read the data, may come after it.
	s := &m.text
	s.reset(value)
	n := 0
	for s.open('{'); s.more('}'); {
		if string(s.key()) != "data" {
			s.skip()
			continue
		}
		for s.open('['); s.more(']'); n++ {
			if m.kind == okxBook {
				m.book()
			} else {
				m.trade()
			}
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	if m.kind == okxBook && (n != 1 || !m.withPrev || !m.withSeqID || m.symbol == nil) {
		return errOKXData
	}
	return nil
}

// outline finds channel, instrument and action, and whether there is data: the
// answer to subscribing has none.
func (m *okxMessage) outline(value []byte) (action []byte, err error) {
	s := &m.text
	s.reset(value)
	data := false
	for s.open('{'); s.more('}'); {
		switch key := s.key(); {
		case string(key) == "arg" && s.peek() == '{':
			m.arg()
		case string(key) == "action" && s.peek() == '"':
			action = s.str()
		default:
			data = data || string(key) == "data"
			s.skip()
		}
	}
	if err := s.end(); err != nil || !data {
		return nil, err
	}
	switch string(m.channel) {
	case "books", "books-l2-tbt":
		m.kind, m.depth = okxBook, 400
	case "books50-l2-tbt":
		m.kind, m.depth = okxBook, 50
	case okxTrades, okxTradesAll:
		m.kind = okxTrade
	}
	return action, nil
}

// The channels of trades.
const (
	okxTrades    = "trades"
	okxTradesAll = "trades-all"
)

func (m *okxMessage) arg() {
	s := &m.text
	for s.open('{'); s.more('}'); {
		switch key := s.key(); {
		case string(key) == "channel" && s.peek() == '"':
			m.channel = s.str()
		case string(key) == "instId" && s.peek() == '"':
			m.symbol = s.str()
		default:
			s.skip()
		}
	}
}

// book reads a book: levels are [price, quantity, "0", number of orders].
func (m *okxMessage) book() {
	s := &m.text
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "bids":
			m.bids = s.levels(m.bids, m.exponents, nil)
		case "asks":
			m.asks = s.levels(m.asks, m.exponents, nil)
		case "ts":
			m.time = s.milliseconds()
		case "prevSeqId":
			m.previous, m.withPrev = s.whole(), true
		case "seqId":
			m.last, m.withSeqID = s.whole(), true
		default:
			s.skip()
		}
	}
}

// trade reads a trade; its side is the taker's, its quantity in contracts where
// the book's are.
func (m *okxMessage) trade() {
	s := &m.text
	if len(m.trades) >= maxVenueLevels {
		s.fail(errTooManyLevels)
		return
	}
	var t proto.Trade
	price, qty := false, false
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "instId":
			if symbol := s.str(); m.symbol != nil && string(symbol) != string(m.symbol) {
				s.fail(errOKXSymbol)
			}
		case "tradeId":
			t.ID = uint64(max(0, s.whole()))
		case "px":
			t.Price, price = s.decimal(m.exponents.Price), true
		case "sz":
			t.Qty, qty = s.quantity(m.exponents.Qty), true
		case "side":
			t.Aggressor = aggressor(s.str(), "buy", "sell")
		case "ts":
			t.VenueTime = s.milliseconds()
			m.time = max(m.time, t.VenueTime)
		default:
			s.skip()
		}
	}
	if t.ID == 0 || !price || !qty {
		s.fail(errOKXTrade)
		return
	}
	if t.Qty > 0 {
		m.trades = append(m.trades, t)
	}
}
