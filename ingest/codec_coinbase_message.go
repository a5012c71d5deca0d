package ingest

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strconv"

	"github.com/depthcast/depthcast/proto"
)

// coinbaseKind says which of Coinbase's messages one is.
type coinbaseKind uint8

const (
	coinbaseOther coinbaseKind = iota // concerns neither book nor trades
	coinbaseBook                      // l2_data; snapshot, l2update
	coinbaseTrade                     // market_trades; match, last_match
)

// coinbaseLevels is a snapshot or an update.
type coinbaseLevels struct {
	snapshot   bool
	bids, asks []proto.Level
}

// coinbaseMessage is one of Coinbase's messages taken apart.
type coinbaseMessage struct {
	kind      coinbaseKind
	product   []byte // nil in messages that name none
	time      int64  // latest of its levels or trades, else the message's; ns since 1970
	sequence  uint64
	sequenced bool // sequence is given

	books  []coinbaseLevels
	trades []proto.Trade // by id

	text      jsonText
	exponents proto.Exponents
	sent      int64  // the message's own time
	timeText  []byte // of the last time read, which often is that of the next level
	timeRead  int64
}

var (
	errCoinbaseSide    = errors.New("neither side")
	errCoinbaseType    = errors.New("neither snapshot nor update")
	errCoinbaseTrade   = errors.New("trade without price or quantity")
	errCoinbaseProduct = errors.New("of several products, or of none")
	errCoinbaseEvents  = errors.New("too many events")
)

// maxCoinbaseEvents bounds the events of a message.
const maxCoinbaseEvents = 1024

// parse reads value with the exponents of its symbol, reusing m's slices.
func (m *coinbaseMessage) parse(value []byte, x proto.Exponents) error {
	*m = coinbaseMessage{books: m.books[:0], trades: m.trades[:0], exponents: x, text: m.text}
	kind, err := m.outline(value)
	if err != nil || m.kind == coinbaseOther {
		return err
	}
	s := &m.text
	s.reset(value)
	switch {
	case kind == nil:
		m.events()
	case m.kind == coinbaseBook:
		m.exchangeBook(string(kind) == "snapshot")
	default:
		m.trade()
	}
	if err := s.end(); err != nil {
		return err
	}
	if m.product == nil && len(m.books)+len(m.trades) > 0 {
		return errCoinbaseProduct
	}
	slices.SortStableFunc(m.trades, func(a, b proto.Trade) int { return cmp.Compare(a.ID, b.ID) })
	if m.time == 0 {
		m.time = m.sent
	}
	return nil
}

// outline finds what a message is, and its number. kind is the type of one of
// Exchange, else nil.
func (m *coinbaseMessage) outline(value []byte) (kind []byte, err error) {
	s := &m.text
	s.reset(value)
	var channel []byte
	for s.open('{'); s.more('}'); {
		switch key := s.key(); {
		case string(key) == "channel" && s.peek() == '"':
			channel = s.str()
		case string(key) == "type" && s.peek() == '"':
			kind = s.str()
		case string(key) == "sequence_num":
			m.sequence, m.sequenced = s.uint(), true
		default:
			s.skip()
		}
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	switch string(channel) {
	case "l2_data":
		m.kind = coinbaseBook
		return nil, nil
	case "market_trades":
		m.kind = coinbaseTrade
		return nil, nil
	case "":
		switch string(kind) {
		case "snapshot", "l2update":
			m.kind = coinbaseBook
		case "match", "last_match":
			m.kind = coinbaseTrade
		}
	}
	return kind, nil
}

func (m *coinbaseMessage) startsWithSnapshot() bool {
	return len(m.books) > 0 && m.books[0].snapshot
}

// productOf takes the product of a part of the message.
func (m *coinbaseMessage) productOf(product []byte) {
	if m.product != nil && !bytes.Equal(m.product, product) {
		m.text.fail(errCoinbaseProduct)
	}
	m.product = product
}

// at reads the time that must come next, in ns since 1970.
func (m *coinbaseMessage) at() int64 {
	s := &m.text
	from := s.i
	text := s.str()
	if m.timeText == nil || !bytes.Equal(text, m.timeText) {
		s.i = from
		m.timeText, m.timeRead = text, s.timestamp()
	}
	return m.timeRead
}

// addBook appends an empty part, reusing slices.
func (m *coinbaseMessage) addBook() *coinbaseLevels {
	if n := len(m.books); n < cap(m.books) {
		m.books = m.books[:n+1]
	} else {
		m.books = append(m.books, coinbaseLevels{})
	}
	b := &m.books[len(m.books)-1]
	*b = coinbaseLevels{bids: b.bids[:0], asks: b.asks[:0]}
	return b
}

// events reads a message of Advanced Trade.
func (m *coinbaseMessage) events() {
	s := &m.text
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "timestamp":
			m.sent = m.at()
		case "events":
			n := 0
			for s.open('['); s.more(']'); n++ {
				if n >= maxCoinbaseEvents {
					s.fail(errCoinbaseEvents)
				}
				m.event()
			}
		default:
			s.skip()
		}
	}
}

func (m *coinbaseMessage) event() {
	s := &m.text
	var b *coinbaseLevels
	if m.kind == coinbaseBook {
		b = m.addBook()
	}
	var kind, product []byte
	for s.open('{'); s.more('}'); {
		switch key := s.key(); {
		case string(key) == "type":
			kind = s.str()
		case string(key) == "product_id":
			product = s.str()
			m.productOf(product)
		case string(key) == "updates" && b != nil:
			for s.open('['); s.more(']'); {
				m.update(b)
			}
		case string(key) == "trades" && b == nil:
			for s.open('['); s.more(']'); {
				m.trade()
			}
		default:
			s.skip()
		}
	}
	if b == nil {
		return
	}
	b.snapshot = string(kind) == "snapshot"
	if !b.snapshot && string(kind) != "update" {
		s.fail(errCoinbaseType)
	}
	if product == nil {
		s.fail(errCoinbaseProduct)
	}
}

// update reads a level of Advanced Trade.
func (m *coinbaseMessage) update(b *coinbaseLevels) {
	s := &m.text
	var side []byte
	var l proto.Level
	price, qty := false, false
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "side":
			side = s.str()
		case "price_level":
			l.Price, price = s.decimal(m.exponents.Price), true
		case "new_quantity":
			l.Qty, qty = s.quantity(m.exponents.Qty), true
		case "event_time":
			m.time = max(m.time, m.at())
		default:
			s.skip()
		}
	}
	if !price || !qty {
		s.fail(errJSON)
		return
	}
	m.put(b, l, side, "bid", "offer")
}

// put adds a level to its side, by the words of the message.
func (m *coinbaseMessage) put(b *coinbaseLevels, l proto.Level, side []byte, bid, ask string) {
	switch {
	case max(len(b.bids), len(b.asks)) >= maxVenueLevels:
		m.text.fail(errTooManyLevels)
	case string(side) == bid:
		b.bids = append(b.bids, l)
	case string(side) == ask:
		b.asks = append(b.asks, l)
	default:
		m.text.fail(errCoinbaseSide)
	}
}

// exchangeBook reads a snapshot or l2update of Exchange.
func (m *coinbaseMessage) exchangeBook(snapshot bool) {
	s := &m.text
	b := m.addBook()
	b.snapshot = snapshot
	for s.open('{'); s.more('}'); {
		switch key := s.key(); {
		case string(key) == "product_id":
			m.productOf(s.str())
		case string(key) == "time":
			m.time = m.at()
		case string(key) == "bids" && snapshot:
			b.bids = s.levels(b.bids, m.exponents, nil)
		case string(key) == "asks" && snapshot:
			b.asks = s.levels(b.asks, m.exponents, nil)
		case string(key) == "changes" && !snapshot:
			for s.open('['); s.more(']'); {
				m.change(b)
			}
		default:
			s.skip()
		}
	}
}

// change reads a level [side, price, size] of Exchange.
func (m *coinbaseMessage) change(b *coinbaseLevels) {
	s := &m.text
	var side []byte
	var l proto.Level
	n := 0
	for s.open('['); s.more(']'); n++ {
		switch n {
		case 0:
			side = s.str()
		case 1:
			l.Price = s.decimal(m.exponents.Price)
		case 2:
			l.Qty = s.quantity(m.exponents.Qty)
		default:
			s.skip()
		}
	}
	if n < 3 {
		s.fail(errJSON)
		return
	}
	m.put(b, l, side, "buy", "sell")
}

// trade reads a trade of either kind. Its side is the maker's.
func (m *coinbaseMessage) trade() {
	s := &m.text
	if len(m.trades) >= maxVenueLevels {
		s.fail(errTooManyLevels)
		return
	}
	var t proto.Trade
	price, qty := false, false
	for s.open('{'); s.more('}'); {
		switch string(s.key()) {
		case "product_id":
			m.productOf(s.str())
		case "trade_id":
			// Not every product's need be a number.
			t.ID, _ = strconv.ParseUint(string(s.number()), 10, 64)
		case "price":
			t.Price, price = s.decimal(m.exponents.Price), true
		case "size":
			t.Qty, qty = s.quantity(m.exponents.Qty), true
		case "side":
			t.Aggressor = aggressor(bytes.ToLower(s.str()), "sell", "buy")
		case "time":
			t.VenueTime = m.at()
			m.time = max(m.time, t.VenueTime)
		default:
			s.skip()
		}
	}
	if !price || !qty {
		s.fail(errCoinbaseTrade)
		return
	}
	if t.Qty > 0 {
		m.trades = append(m.trades, t)
	}
}
