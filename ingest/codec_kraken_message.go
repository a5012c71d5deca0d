package ingest

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/depthcast/depthcast/proto"
)

// krakenKind says which of Kraken's messages one is.
type krakenKind uint8

const (
	krakenOther krakenKind = iota
	krakenBook
	krakenTrade
	krakenSubscribed // the answer to subscribing to a book, version 2
)

// krakenMessage is one of Kraken's messages taken apart.
type krakenMessage struct {
	kind krakenKind
	pair []byte // nil in messages that concern no pair
	time int64  // latest of its levels or trades, ns since 1970

	depth       uint32 // of the channel; 0: the message does not say
	snapshot    bool
	bids, asks  []krakenLevel
	checksum    uint32 // of the book after the message
	hasChecksum bool

	trades []proto.Trade

	text      jsonText
	exponents proto.Exponents
}

var (
	errKrakenArray    = errors.New("not [channelID, payload…, channel, pair]")
	errKrakenChecksum = errors.New("checksum is not a number of 32 bits")
	errKrakenSnapshot = errors.New("snapshot and update in one message")
	errKrakenTime     = errors.New("time out of range")
)

// parse reads value with the exponents of its symbol, reusing m's slices.
func (m *krakenMessage) parse(value []byte, x proto.Exponents) error {
	*m = krakenMessage{bids: m.bids[:0], asks: m.asks[:0], trades: m.trades[:0], exponents: x, text: m.text}
	m.text.reset(value)
	if m.text.peek() != '[' {
		return m.parseObject(value)
	}
	payloads, err := m.outline()
	if err != nil {
		return err
	}
	// The channel's name, which says how to read the payload, comes after it.
	s := &m.text
	s.reset(value)
	s.open('[')
	for n := 0; s.more(']'); n++ {
		switch {
		case n == 0 || n > payloads || m.kind == krakenOther:
			s.skip()
		case m.kind == krakenBook:
			m.book()
		default:
			m.readTrades()
		}
	}
	return s.end()
}

// outline finds the number of payloads, the channel and the pair.
func (m *krakenMessage) outline() (payloads int, err error) {
	s := &m.text
	var channel []byte
	texts, n := 0, 0
	for s.open('['); s.more(']'); n++ {
		if s.peek() != '"' {
			if s.skip(); texts > 0 {
				return 0, errKrakenArray
			}
			continue
		}
		channel, m.pair = m.pair, s.str()
		texts++
	}
	if err := s.end(); err != nil {
		return 0, err
	}
	if texts != 2 || n < 4 || n > 5 {
		return 0, errKrakenArray
	}
	if depth, ok := bytes.CutPrefix(channel, []byte("book-")); ok {
		levels, err := strconv.ParseUint(string(depth), 10, 16)
		if err != nil || levels == 0 {
			return 0, errKrakenArray
		}
		m.kind, m.depth = krakenBook, uint32(levels)
	} else if string(channel) == "trade" {
		m.kind = krakenTrade
	}
	return n - 3, nil
}

// book reads one payload of a book channel.
func (m *krakenMessage) book() {
	s := &m.text
	updated := len(m.bids)+len(m.asks) > 0 && !m.snapshot
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "as", "bs":
			if updated {
				s.fail(errKrakenSnapshot)
			}
			m.snapshot = true
			m.side(key[0])
		case "a", "b":
			if m.snapshot {
				s.fail(errKrakenSnapshot)
			}
			updated = true
			m.side(key[0])
		case "c":
			sum, err := strconv.ParseUint(string(s.str()), 10, 32)
			if err != nil {
				s.fail(errKrakenChecksum)
			}
			m.checksum, m.hasChecksum = uint32(sum), true
		default:
			s.skip()
		}
	}
}

func (m *krakenMessage) side(letter byte) {
	if letter == 'a' {
		m.asks = m.levels(m.asks)
	} else {
		m.bids = m.levels(m.bids)
	}
}

// levels appends the levels [price, volume, time(, "r")] of the array that must
// come next; "r" marks one that is sent again unchanged.
func (m *krakenMessage) levels(dst []krakenLevel) []krakenLevel {
	s := &m.text
	for s.open('['); s.more(']'); {
		if len(dst) >= maxVenueLevels {
			s.fail(errTooManyLevels)
			return dst
		}
		var l krakenLevel
		n := 0
		for s.open('['); s.more(']'); n++ {
			switch text := s.str(); {
			case n == 0:
				l.setPrice(m, text)
			case n == 1:
				l.setQty(m, text)
			case string(text) != "r":
				m.at(text)
			}
		}
		if n < 2 {
			s.fail(errJSON)
			return dst
		}
		dst = append(dst, l)
	}
	return dst
}

// at takes a time in seconds, and returns it in ns.
func (m *krakenMessage) at(seconds []byte) int64 {
	if m.text.err != nil {
		return 0
	}
	ns, err := proto.ParseDecimal(seconds, -9)
	if err != nil || ns < 0 {
		m.text.fail(errKrakenTime)
		return 0
	}
	m.time = max(m.time, ns)
	return ns
}

// readTrades reads the payload of a trade channel: [[price, volume, time, side,
// type, misc], …].
func (m *krakenMessage) readTrades() {
	s := &m.text
	for s.open('['); s.more(']'); {
		if len(m.trades) >= maxVenueLevels {
			s.fail(errTooManyLevels)
			return
		}
		var t proto.Trade
		n := 0
		for s.open('['); s.more(']'); n++ {
			switch n {
			case 0:
				t.Price = s.decimal(m.exponents.Price)
			case 1:
				t.Qty = s.quantity(m.exponents.Qty)
			case 2:
				t.VenueTime = m.at(s.str())
			case 3:
				if side := s.str(); string(side) == "b" {
					t.Aggressor = proto.AggressorBuy
				} else if string(side) == "s" {
					t.Aggressor = proto.AggressorSell
				}
			default:
				s.skip()
			}
		}
		if n < 4 {
			s.fail(errJSON)
			return
		}
		if t.Qty > 0 {
			m.trades = append(m.trades, t)
		}
	}
}
