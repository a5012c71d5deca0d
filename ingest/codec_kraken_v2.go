package ingest

import (
	"errors"
	"math"

	"github.com/depthcast/depthcast/proto"
)

var (
	errKrakenMany = errors.New("books or trades of several symbols in one message")
	errKrakenType = errors.New("neither snapshot nor update")
)

// parseObject reads a message of version 2, {"channel":…,"type":…,"data":[…]}, or
// the answer to subscribing, {"method":"subscribe","result":{…}}. Kraken's
// references of the channels "Book (Level 2)" and "Trade". An object of version 1
// concerns no book.
func (m *krakenMessage) parseObject(value []byte) error {
	s := &m.text
	var channel, kind, method []byte
	for s.open('{'); s.more('}'); {
		switch key := s.key(); {
		case string(key) == "channel" && s.peek() == '"':
			channel = s.str()
		case string(key) == "type" && s.peek() == '"':
			kind = s.str()
		case string(key) == "method" && s.peek() == '"':
			method = s.str()
		default:
			s.skip()
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	member := "data"
	switch {
	case string(channel) == "book":
		m.kind, m.snapshot = krakenBook, string(kind) == "snapshot"
		if !m.snapshot && string(kind) != "update" {
			return errKrakenType
		}
	case string(channel) == "trade":
		m.kind = krakenTrade
	case string(method) == "subscribe":
		member = "result"
	default:
		return nil
	}
	s.reset(value)
	for s.open('{'); s.more('}'); {
		switch {
		case string(s.key()) != member:
			s.skip()
		case member == "result":
			m.subscribed()
		default:
			m.data()
		}
	}
	if err := s.end(); err != nil {
		return err
	}
	if m.kind != krakenOther && m.pair == nil {
		return errJSON
	}
	return nil
}

// subscribed reads the result of subscribing to a channel.
func (m *krakenMessage) subscribed() {
	s := &m.text
	if s.peek() != '{' {
		s.skip()
		return
	}
	var channel, symbol []byte
	var depth uint64
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "channel":
			channel = s.str()
		case "symbol":
			symbol = s.str()
		case "depth":
			depth = s.uint()
		default:
			s.skip()
		}
	}
	if string(channel) == "book" && symbol != nil && depth > 0 && depth <= maxVenueLevels {
		m.kind, m.pair, m.depth = krakenSubscribed, symbol, uint32(depth)
	}
}

// data reads the array of books, of which a message has one, or trades.
func (m *krakenMessage) data() {
	s := &m.text
	n := 0
	for s.open('['); s.more(']'); n++ {
		switch {
		case m.kind == krakenTrade:
			m.trade()
		case n > 0:
			s.fail(errKrakenMany)
		default:
			m.bookObject()
		}
	}
}

// symbolOf takes the symbol of a book or trade.
func (m *krakenMessage) symbolOf(symbol []byte) {
	if m.pair != nil && string(m.pair) != string(symbol) {
		m.text.fail(errKrakenMany)
	}
	m.pair = symbol
}

func (m *krakenMessage) bookObject() {
	s := &m.text
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "symbol":
			m.symbolOf(s.str())
		case "bids":
			m.bids = m.levelObjects(m.bids)
		case "asks":
			m.asks = m.levelObjects(m.asks)
		case "checksum":
			sum := s.uint()
			if sum > math.MaxUint32 {
				s.fail(errKrakenChecksum)
			}
			m.checksum, m.hasChecksum = uint32(sum), true
		case "timestamp":
			m.time = max(m.time, s.timestamp())
		default:
			s.skip()
		}
	}
}

// levelObjects appends the levels {"price":…,"qty":…} of the array that must come
// next. Their numbers have all digits that the checksum takes.
func (m *krakenMessage) levelObjects(dst []krakenLevel) []krakenLevel {
	s := &m.text
	for s.open('['); s.more(']'); {
		if len(dst) >= maxVenueLevels {
			s.fail(errTooManyLevels)
			return dst
		}
		var l krakenLevel
		price, qty := false, false
		for s.open('{'); s.more('}'); {
			switch string(s.key()) {
			case "price":
				l.setPrice(m, s.number())
				price = true
			case "qty":
				l.setQty(m, s.number())
				qty = true
			default:
				s.skip()
			}
		}
		if !price || !qty {
			s.fail(errJSON)
			return dst
		}
		dst = append(dst, l)
	}
	return dst
}

func (m *krakenMessage) trade() {
	s := &m.text
	if len(m.trades) >= maxVenueLevels {
		s.fail(errTooManyLevels)
		return
	}
	var t proto.Trade
	price, qty := false, false
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "symbol":
			m.symbolOf(s.str())
		case "price":
			t.Price = s.decimalOf(s.number(), m.exponents.Price)
			price = true
		case "qty":
			t.Qty = s.quantityOf(s.number(), m.exponents.Qty)
			qty = true
		case "side": // the taker's
			t.Aggressor = aggressor(s.str(), "buy", "sell")
		case "trade_id":
			t.ID = s.uint()
		case "timestamp":
			t.VenueTime = s.timestamp()
			m.time = max(m.time, t.VenueTime)
		default:
			s.skip()
		}
	}
	if !price || !qty {
		s.fail(errJSON)
		return
	}
	if t.Qty > 0 {
		m.trades = append(m.trades, t)
	}
}
