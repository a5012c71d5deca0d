package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/depthcast/depthcast/proto"
)

// Lengths and places of this file are those of "Nasdaq TotalView-ITCH 5.0",
// section 4. Every message begins with its type (1 byte), stock locate (2),
// tracking number (2) and time (6 bytes, ns since midnight); numbers are
// big-endian and without sign, prices in units of 1/10,000.

// itchLayout is a message type: its length and where the stock's name of 8 bytes
// is; 0: it carries none.
type itchLayout struct{ length, stock int }

var itchLayouts = [256]itchLayout{
	'S': {12, 0},  // system event
	'R': {39, 11}, // stock directory
	'H': {25, 11}, // stock trading action
	'Y': {20, 11}, // Reg SHO restriction
	'L': {26, 15}, // market participant position
	'V': {35, 0},  // market-wide circuit breaker levels
	'W': {12, 0},  // market-wide circuit breaker status
	'K': {28, 11}, // quoting period update
	'J': {35, 11}, // LULD auction collar
	'h': {21, 11}, // operational halt
	'A': {36, 24}, // add order
	'F': {40, 24}, // add order, with the participant's MPID
	'E': {31, 0},  // order executed
	'C': {36, 0},  // order executed with price
	'X': {23, 0},  // order cancel: a part of it
	'D': {19, 0},  // order delete
	'U': {35, 0},  // order replace
	'P': {44, 24}, // trade, not of a displayed order
	'Q': {40, 19}, // cross trade
	'B': {19, 0},  // broken trade
	'I': {50, 28}, // net order imbalance indicator
	'N': {20, 11}, // retail price improvement indicator
	'O': {48, 11}, // direct listing with capital raise
}

// itchDay is the greatest time of a message: no message is later in its day.
const itchDay = 24 * 3600 * 1_000_000_000

var (
	errITCHForm  = errors.New("not an ITCH record")
	errITCHValue = errors.New("a field is out of range")
)

// itchMessage is one message, whose length is that of its type.
type itchMessage []byte

// nextITCH takes the first message off a record's value, which is not empty.
func nextITCH(value []byte) (m itchMessage, rest []byte, err error) {
	if len(value) < 3 {
		return nil, nil, fmt.Errorf("%w: %d bytes where length and type are wanted", errITCHForm, len(value))
	}
	length := int(binary.BigEndian.Uint16(value))
	switch want := itchLayouts[value[2]].length; {
	case want == 0:
		return nil, nil, fmt.Errorf("%w: message type %q", errITCHForm, value[2])
	case length != want:
		return nil, nil, fmt.Errorf("%w: a message %q of %d bytes, not %d", errITCHForm, value[2], length, want)
	case len(value) < 2+length:
		return nil, nil, fmt.Errorf("%w: %d bytes of a message %q of %d", errITCHForm, len(value)-2, value[2], length)
	}
	m = itchMessage(value[2 : 2+length])
	if m.time() >= itchDay {
		return nil, nil, fmt.Errorf("%w: time of day %d ns", errITCHForm, m.time())
	}
	return m, value[2+length:], nil
}

func (m itchMessage) kind() byte          { return m[0] }
func (m itchMessage) locate() uint16      { return binary.BigEndian.Uint16(m[1:]) }
func (m itchMessage) u32(at int) int64    { return int64(binary.BigEndian.Uint32(m[at:])) }
func (m itchMessage) u64(at int) uint64   { return binary.BigEndian.Uint64(m[at:]) }
func (m itchMessage) time() int64         { return int64(m.u64(3) & (1<<48 - 1)) } // bytes 5 to 10
func (m itchMessage) order() uint64       { return m.u64(11) }
func (m itchMessage) marketWide() bool    { return m[0] == 'S' || m[0] == 'V' || m[0] == 'W' }
func (m itchMessage) changesOrders() bool { return orderMessages[m[0]] }

var orderMessages = [256]bool{'A': true, 'F': true, 'E': true, 'C': true, 'X': true, 'D': true, 'U': true}

// stock is the name that the message carries, without the spaces that fill it up;
// nil if it carries none.
func (m itchMessage) stock() []byte {
	at := itchLayouts[m[0]].stock
	if at == 0 {
		return nil
	}
	name := m[at : at+8]
	for len(name) > 0 && name[len(name)-1] == ' ' {
		name = name[:len(name)-1]
	}
	return name
}

// appendTo adds what m says to b. Stock directories are left to the codec, which
// knows whether a day begins; what says nothing of books and trades adds nothing.
func (m itchMessage) appendTo(b *proto.Batch, time int64) error {
	switch m.kind() {
	case 'S':
		if code := m[11]; code == 'E' || code == 'C' { // end of system hours, end of messages
			addEvent(b, proto.EventPhase).Phase = proto.Closed
		}
	case 'H':
		phase, known := itchPhases[m[19]]
		if !known {
			return fmt.Errorf("%w: trading state %q", errITCHValue, m[19])
		}
		addEvent(b, proto.EventPhase).Phase = phase
	case 'P', 'Q', 'B':
		return m.trade(b, time)
	case 'A', 'F', 'E', 'C', 'X', 'D', 'U':
		return m.change(b)
	}
	return nil
}

// itchPhases are the phases of trading states: halted, paused, quotation only
// (orders gather for the cross that ends a halt or an IPO), trading.
var itchPhases = map[byte]proto.Phase{'H': proto.Halted, 'P': proto.Halted, 'Q': proto.Auction, 'T': proto.Continuous}

// change adds the event of a message that changes the orders.
func (m itchMessage) change(b *proto.Batch) error {
	e := addEvent(b, proto.EventDelete)
	e.OrderID = m.order()
	switch m.kind() {
	case 'A', 'F':
		e.Kind, e.Qty, e.Price = proto.EventAdd, m.u32(20), m.u32(32)
		switch m[19] {
		case 'B':
			e.Side = proto.Bid
		case 'S':
			e.Side = proto.Ask
		default:
			return fmt.Errorf("%w: order %d: side %q", errITCHValue, e.OrderID, m[19])
		}
	case 'E':
		e.Kind, e.Qty, e.TradeID = proto.EventExecute, m.u32(19), m.u64(23)
	case 'C':
		e.Kind, e.Qty, e.TradeID = proto.EventExecute, m.u32(19), m.u64(23)
		e.HasPrice, e.Price = true, m.u32(32)
		if m[31] != 'Y' && m[31] != 'N' {
			return fmt.Errorf("%w: order %d: printable %q", errITCHValue, e.OrderID, m[31])
		}
		e.Unprintable = m[31] == 'N'
	case 'X':
		e.Kind, e.Qty = proto.EventReduce, m.u32(19)
	case 'U':
		e.Kind, e.NewOrderID, e.Qty, e.Price = proto.EventReplace, m.u64(19), m.u32(27), m.u32(31)
	}
	if e.OrderID == 0 || e.Kind == proto.EventReplace && e.NewOrderID == 0 {
		return fmt.Errorf("%w: order 0", errITCHValue)
	}
	if e.Kind != proto.EventDelete && e.Qty == 0 {
		return fmt.Errorf("%w: order %d: no shares", errITCHValue, e.OrderID)
	}
	return nil
}

// trade adds the event of a message that concerns trades only. A trade's side is
// "B" whatever it was (section 4.5.1), so who took liquidity is not known.
func (m itchMessage) trade(b *proto.Batch, time int64) error {
	t := proto.Trade{VenueTime: time}
	kind := proto.EventTrade
	switch m.kind() {
	case 'P':
		t.Qty, t.Price, t.ID, t.Flags = m.u32(20), m.u32(32), m.u64(36), proto.TradeHidden
	case 'Q':
		shares := m.u64(11)
		if shares > math.MaxInt64 {
			return fmt.Errorf("%w: a cross of %d shares", errITCHValue, shares)
		}
		t.Qty, t.Price, t.ID, t.Flags = int64(shares), m.u32(27), m.u64(31), proto.TradeAuction
		if t.Qty == 0 {
			return nil // a cross in which nothing matched
		}
	case 'B':
		kind, t = proto.EventTradeCancel, proto.Trade{ID: m.u64(11)}
	}
	addEvent(b, kind).Trade = t
	return nil
}
