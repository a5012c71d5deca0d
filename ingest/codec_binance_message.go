package ingest

import (
	"bytes"
	"errors"

	"github.com/depthcast/depthcast/proto"
)

// binanceKind says which of Binance's messages one is.
type binanceKind uint8

const (
	binanceOther    binanceKind = iota // concerns no book: an answer to a request, a stream that is not read
	binanceDiff                        // depthUpdate
	binanceSnapshot                    // the answer to a REST request for the depth
	binanceTrade                       // trade
	binanceAggTrade                    // aggTrade
	binanceTicker                      // bookTicker
)

// binanceMessage is one of Binance's messages taken apart, spot or USD-M
// futures, bare or in the combined-stream form {"stream":…,"data":{…}}.
type binanceMessage struct {
	kind   binanceKind
	symbol []byte // absent (nil) in snapshots
	time   int64  // "E", ns since 1970; 0: none

	// Diffs carry the update ids first ≤ id ≤ last. previous, futures only, is
	// the last of the diff before.
	first, last, previous uint64
	chained               bool // previous is given
	bids, asks            []proto.Level

	trade      uint64 // id
	tradeTime  int64  // "T", ns since 1970; 0: none
	price, qty int64
	maker      bool // the buyer's order was the resting one

	quoted [4][]byte // "b", "B", "a" and "A" as text: of a bookTicker best bid, its quantity, best ask, its quantity

	text               jsonText
	exponents          proto.Exponents
	event              []byte // "e", else from the name of the stream
	streamed           bool   // in the combined form
	channel            []byte // what its stream is of, by its name; nil: the name does not say
	rest               bool   // with "lastUpdateId"
	aggregate          uint64 // "a" of an aggTrade
	withPrice, withQty bool
}

var errBinanceTime = errors.New("time out of range")

// maxMilliseconds is the greatest time in ms that 64 bits hold in ns.
const maxMilliseconds = 9_223_372_036_854

// parse reads value with the exponents of its symbol, reusing m's slices.
func (m *binanceMessage) parse(value []byte, x proto.Exponents) error {
	*m = binanceMessage{bids: m.bids[:0], asks: m.asks[:0], exponents: x, text: m.text}
	m.text.reset(value)
	m.object(true)
	if err := m.text.end(); err != nil {
		return err
	}
	return m.classify()
}

// object reads the members of a message; outer: it may be the combined form.
func (m *binanceMessage) object(outer bool) {
	s := &m.text
	for s.open('{'); s.more('}'); {
		key := s.key()
		switch {
		case outer && string(key) == "data" && s.peek() == '{':
			m.object(false)
		case outer && string(key) == "stream" && s.peek() == '"':
			m.stream(s.str())
		default:
			m.member(key)
		}
	}
}

// stream takes the kind from a stream's name, SYMBOL@KIND or SYMBOL@KIND@SPEED, for
// messages without "e".
func (m *binanceMessage) stream(name []byte) {
	m.streamed = true
	if _, kind, ok := bytes.Cut(name, []byte{'@'}); ok {
		m.channel, _, _ = bytes.Cut(kind, []byte{'@'})
		if m.event == nil {
			m.event = m.channel
		}
	}
}

// member reads one member. The same letter means different things in different
// messages, which the kind of value tells apart.
func (m *binanceMessage) member(key []byte) {
	s := &m.text
	next := s.peek()
	array, text, number := next == '[', next == '"', next >= '0' && next <= '9'
	switch string(key) {
	case "e":
		m.event = s.str()
		return
	case "s":
		m.symbol = s.str()
		return
	case "b", "bids":
		if array {
			m.bids = s.levels(m.bids, m.exponents, nil)
			return
		}
		if text {
			m.quoted[0], _ = s.quoted()
			return
		}
	case "B":
		if text {
			m.quoted[1], _ = s.quoted()
			return
		}
	case "A":
		if text {
			m.quoted[3], _ = s.quoted()
			return
		}
	case "a", "asks":
		if array {
			m.asks = s.levels(m.asks, m.exponents, nil)
			return
		}
		if text {
			m.quoted[2], _ = s.quoted()
			return
		}
		if number {
			m.aggregate = s.uint()
			return
		}
	case "p":
		if text {
			m.price, m.withPrice = s.decimal(m.exponents.Price), true
			return
		}
	case "q":
		if text {
			m.qty, m.withQty = s.quantity(m.exponents.Qty), true
			return
		}
	case "m":
		m.maker = s.boolean()
		return
	}
	if number {
		m.number(key)
		return
	}
	s.skip()
}

func (m *binanceMessage) number(key []byte) {
	s := &m.text
	switch string(key) {
	case "E":
		m.time = m.milliseconds()
	case "T":
		m.tradeTime = m.milliseconds()
	case "U":
		m.first = s.uint()
	case "u":
		m.last = s.uint()
	case "pu":
		m.previous, m.chained = s.uint(), true
	case "lastUpdateId":
		m.rest, m.last = true, s.uint()
	case "t":
		m.trade = s.uint()
	default:
		s.skip()
	}
}

// milliseconds returns the time in ms that must come next in ns.
func (m *binanceMessage) milliseconds() int64 {
	ms := m.text.uint()
	if ms > maxMilliseconds {
		m.text.fail(errBinanceTime)
		return 0
	}
	return int64(ms) * 1e6
}

var (
	errBinanceDiff  = errors.New("depthUpdate without a range of update ids")
	errBinanceTrade = errors.New("trade without id, price or quantity")
)

// classify names the kind and checks that what it needs is there.
func (m *binanceMessage) classify() error {
	if m.rest {
		// In the combined form it is a stream of the best few levels, which would
		// cut the book.
		if !m.streamed {
			m.kind = binanceSnapshot
		}
		return nil
	}
	switch string(m.event) {
	case "depthUpdate":
		if m.channel != nil && string(m.channel) != "depth" {
			return nil // a stream of futures' best few levels, or of a book with RPI orders: told in the same words
		}
		m.kind = binanceDiff
		if m.first == 0 || m.last < m.first || m.symbol == nil {
			return errBinanceDiff
		}
	case "trade", "aggTrade":
		m.kind = binanceTrade
		if string(m.event) == "aggTrade" {
			m.kind, m.trade = binanceAggTrade, m.aggregate
		}
		if m.trade == 0 || !m.withPrice || !m.withQty || m.symbol == nil {
			return errBinanceTrade
		}
	case "bookTicker":
		m.kind = binanceTicker
	case "": // spot ones say what they are only by their stream's name
		if m.symbol != nil && m.last != 0 && m.first == 0 && m.quoted[0] != nil && m.quoted[1] != nil && m.quoted[2] != nil && m.quoted[3] != nil {
			m.kind = binanceTicker
		}
	}
	return nil
}
