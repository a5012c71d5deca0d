package ingest

import (
	"errors"
	"strings"

	"github.com/depthcast/depthcast/proto"
)

// Codes of records that the codecs of raw venue formats refuse.
const (
	CodeBadDecimal  = "bad_decimal"  // a number that the instrument's exponents cannot carry
	CodeOldSnapshot = "old_snapshot" // the changes known do not reach back to the venue's snapshot
	CodeRowMismatch = "row_mismatch" // the book is not what the venue's own row says
	CodeChecksum    = "checksum"     // the book's checksum is not the venue's
	CodeDepth       = "depth"        // the book outgrew the depth that its snapshot let suppose
)

// maxVenueSymbols bounds how many symbols a codec keeps state of.
const maxVenueSymbols = 1 << 16

// venueSymbols is the state that the codec of a raw venue format keeps per
// symbol. A symbol gets one with its first record that is well formed.
type venueSymbols[T any] struct {
	of map[string]*venueSymbol[T]
}

// venueSymbol is one symbol of a raw format, "VENUE:NAME" or, for load, a clone
// "VENUE:NAME~7" that is fed with the payloads of VENUE:NAME.
type venueSymbol[T any] struct {
	symbol string // the record's key
	feed   string // "VENUE"
	name   string // as the payload has it
	state  T
}

func newVenueSymbols[T any]() venueSymbols[T] {
	return venueSymbols[T]{of: map[string]*venueSymbol[T]{}}
}

// find returns the symbol of a record's key.
func (v *venueSymbols[T]) find(key []byte) (*venueSymbol[T], *proto.RecordError) {
	if s := v.of[string(key)]; s != nil {
		return s, nil
	}
	if !proto.ValidSymbol(string(key)) {
		return nil, refuse(CodeBadSymbol, "", proto.ReasonBadRecord, "the key is no symbol")
	}
	symbol := string(key)
	feed, name, ok := SplitSymbol(symbol)
	if !ok {
		return nil, refuse(CodeBadSymbol, symbol, proto.ReasonBadRecord, "the key is not VENUE:NAME")
	}
	if len(v.of) >= maxVenueSymbols {
		return nil, refuse(CodeTooManySymbols, symbol, proto.ReasonBadRecord, "more than %d symbols", maxVenueSymbols)
	}
	s := &venueSymbol[T]{symbol: symbol, feed: feed, name: name}
	v.of[symbol] = s
	return s, nil
}

// begin empties b, keeping its memory, for a message of s at venueTime with prices
// and quantities in x.
func (s *venueSymbol[T]) begin(b *proto.Batch, venueTime int64, x proto.Exponents) {
	*b = proto.Batch{
		Symbol: s.symbol, Feed: s.feed, VenueTime: venueTime,
		Exponents: x, HasExponents: true, Events: b.Events[:0],
	}
}

// mismatch refuses a message under the key of s whose payload names another symbol.
func (s *venueSymbol[T]) mismatch(payload []byte) *proto.RecordError {
	return refuse(CodeKeyMismatch, s.symbol, proto.ReasonBadRecord, "the payload is of %q", payload)
}

// SplitSymbol takes a symbol of a raw venue format apart: the venue, which is
// also its feed, and the name that the venue's payloads carry. What follows a
// "~" tells clones apart and belongs to neither.
func SplitSymbol(symbol string) (venue, name string, ok bool) {
	venue, name, ok = strings.Cut(symbol, ":")
	name, _, _ = strings.Cut(name, "~")
	return venue, name, ok && venue != "" && name != ""
}

// addEvent appends an empty event of the kind to b, reusing slices of events
// that b held before.
func addEvent(b *proto.Batch, kind proto.EventKind) *proto.Event {
	n := len(b.Events)
	if n < cap(b.Events) {
		b.Events = b.Events[:n+1]
	} else {
		b.Events = append(b.Events, proto.Event{})
	}
	e := &b.Events[n]
	*e = proto.Event{
		Kind: kind,
		Bids: e.Bids[:0], Asks: e.Asks[:0],
		BidOrders: e.BidOrders[:0], AskOrders: e.AskOrders[:0],
	}
	return e
}

// heartbeat makes b nothing but a sign of life of its feed.
func heartbeat(b *proto.Batch) *proto.Batch {
	b.HasExponents = false
	addEvent(b, proto.EventHeartbeat)
	return b
}

var (
	errTooManyLevels = errors.New("too many levels")
	errNegativeQty   = errors.New("negative quantity")
)

// maxVenueLevels bounds the levels of one side in one message.
const maxVenueLevels = 1 << 16

// levels appends the levels [price, quantity, …] of the array that must come
// next; further elements of a level are passed to rest, if it is not nil.
func (s *jsonText) levels(dst []proto.Level, x proto.Exponents, rest func()) []proto.Level {
	for s.open('['); s.more(']'); {
		if len(dst) >= maxVenueLevels {
			s.fail(errTooManyLevels)
			return dst
		}
		var l proto.Level
		n := 0
		for s.open('['); s.more(']'); n++ {
			switch {
			case n == 0:
				l.Price = s.decimal(x.Price)
			case n == 1:
				l.Qty = s.quantity(x.Qty)
			case rest != nil:
				rest()
			default:
				s.skip()
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

// decimal returns the price, a decimal in quotes, that must come next.
func (s *jsonText) decimal(exponent int8) int64 { return s.decimalOf(s.str(), exponent) }

// decimalOf returns the price in text, which was read before.
func (s *jsonText) decimalOf(text []byte, exponent int8) int64 {
	if s.err != nil {
		return 0
	}
	if s.seen != nil {
		return s.see(&s.seen.price, text)
	}
	m, err := proto.ParseDecimal(text, exponent)
	if err != nil {
		s.err = err
	}
	return m
}

// quantity returns the quantity, a decimal in quotes that must not be negative,
// that must come next.
func (s *jsonText) quantity(exponent int8) int64 { return s.quantityOf(s.str(), exponent) }

// quantityOf returns the quantity in text, which was read before.
func (s *jsonText) quantityOf(text []byte, exponent int8) int64 {
	if s.err != nil {
		return 0
	}
	if s.seen != nil {
		return s.see(&s.seen.qty, text)
	}
	m, err := proto.ParseDecimal(text, exponent)
	if err != nil {
		s.err = err
	} else if m < 0 {
		s.fail(errNegativeQty)
	}
	return m
}

// refusal makes the error of a payload that err says is unusable.
func refusal(symbol string, err error) *proto.RecordError {
	code := CodeMalformed
	if errors.Is(err, proto.ErrDecimalTooFine) || errors.Is(err, proto.ErrDecimalTooGreat) {
		code = CodeBadDecimal
	}
	return &proto.RecordError{Code: code, Symbol: symbol, Reason: proto.ReasonBadRecord, Err: err}
}
