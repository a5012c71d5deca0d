package proto

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/depthcast/depthcast/proto/pb"
)

// This file and decode_*.go decode records and requests. The decoder of records
// is written by hand: it takes what the generated code takes (fields in any
// order, packed or not, repeated, unknown), with the same result, and checks each
// bound before it allocates.

// Errors of DecodeEvents; they come wrapped with what is wrong where.
var (
	ErrMalformed = errors.New("not a valid protobuf message")
	ErrBadValue  = errors.New("value out of range")
	ErrTooLarge  = errors.New("too large")
)

// wireField is one field as on the wire.
type wireField struct {
	key   uint32 // number << 3 | wire type, as the tag has it
	value uint64 // of a number
	bytes []byte // of a string, message or packed array
}

// Keys of fields, for switches: a field of another wire type than expected is
// unknown.
const (
	varintKey  = uint32(protowire.VarintType)
	fixed64Key = uint32(protowire.Fixed64Type)
	fixed32Key = uint32(protowire.Fixed32Type)
	bytesKey   = uint32(protowire.BytesType)
)

// nextField takes the first field off b, which is not empty.
func nextField(b []byte, f *wireField) (rest []byte, err error) {
	tag, n := consumeVarint(b)
	number := tag >> 3
	if n < 0 || number < uint64(protowire.MinValidNumber) || number > uint64(protowire.MaxValidNumber) {
		return nil, ErrMalformed
	}
	b = b[n:]
	f.key = uint32(tag)
	switch protowire.Type(tag & 7) {
	case protowire.VarintType:
		f.value, n = consumeVarint(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(b)
	case protowire.Fixed32Type:
		var value uint32
		value, n = protowire.ConsumeFixed32(b)
		f.value = uint64(value)
	default:
		n = protowire.ConsumeFieldValue(protowire.Number(number), protowire.Type(tag&7), b)
	}
	if n < 0 {
		return nil, ErrMalformed
	}
	return b[n:], nil
}

// consumeVarint is protowire's, with the shortest form first.
func consumeVarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return protowire.ConsumeVarint(b)
}

func unzigzag(v uint64) int64 { return protowire.DecodeZigZag(v) }

// unzigzag32 is the value of a sint32 field.
func unzigzag32(v uint64) int32 { return int32(protowire.DecodeZigZag(v & math.MaxUint32)) }

// DecodeEvents decodes the value of a Kafka record into b, reusing its slices; Seq
// and KafkaTime stay as they are. It refuses what is malformed, beyond a bound of
// limits.go, or not what marketdata.proto says of a field. Two things it leaves to
// the books: an event with nothing set (EventNone), and the values of events that
// do not touch a book, whose errors do not concern it. After an error b.Symbol is
// the record's if it had come that far, else empty; the rest is not to be used.
func DecodeEvents(value []byte, b *Batch) error {
	d := eventsDecoder{batch: b, oldSymbol: b.Symbol, oldFeed: b.Feed, oldSession: b.Session, levelsLeft: MaxRecordLevels}
	*b = Batch{Seq: b.Seq, KafkaTime: b.KafkaTime, Bytes: len(value), Events: b.Events[:0]}
	var f wireField
	var err error
	for len(value) > 0 {
		if value, err = nextField(value, &f); err != nil {
			return err
		}
		if err = d.field(&f, value); err != nil {
			return err
		}
	}
	return d.check()
}

// eventsDecoder is the state of one DecodeEvents.
type eventsDecoder struct {
	batch                          *Batch
	oldSymbol, oldFeed, oldSession string // of the record before: often the same
	price, qty                     int32  // exponents as on the wire
	hasPrice, hasQty               bool
	levelsLeft                     int // levels and orders that may still come
	eventState
}

// field takes a field of the record; rest is what follows it.
func (d *eventsDecoder) field(f *wireField, rest []byte) (err error) {
	b := d.batch
	switch f.key {
	case eventsSymbol<<3 | bytesKey:
		b.Symbol, err = decodeString("symbol", f.bytes, MaxSymbolBytes, d.oldSymbol)
	case eventsFeed<<3 | bytesKey:
		b.Feed, err = decodeString("feed", f.bytes, MaxFeedBytes, d.oldFeed)
	case eventsSession<<3 | bytesKey:
		b.Session, err = decodeString("session", f.bytes, MaxSessionBytes, d.oldSession)
	case eventsFirstSourceSeq<<3 | varintKey:
		b.FirstSourceSeq = f.value
	case eventsLastSourceSeq<<3 | varintKey:
		b.LastSourceSeq = f.value
	case eventsPriceExponent<<3 | varintKey:
		d.price, d.hasPrice = unzigzag32(f.value), true
	case eventsQtyExponent<<3 | varintKey:
		d.qty, d.hasQty = unzigzag32(f.value), true
	case eventsVenueTime<<3 | fixed64Key:
		b.VenueTime = int64(f.value)
	case eventsMore<<3 | varintKey:
		b.More = f.value != 0
	case eventsOriginEpoch<<3 | fixed64Key:
		b.OriginEpoch = f.value
	case eventsOriginSeq<<3 | varintKey:
		b.OriginSeq = int64(f.value)
	case eventsOriginPrevSeq<<3 | varintKey:
		b.OriginPrevSeq = int64(f.value)
	case eventsGeneration<<3 | varintKey:
		b.Generation = f.value
	case eventsEvents<<3 | bytesKey:
		err = d.event(f.bytes, rest)
	}
	return err
}

// check judges what only the whole record can tell.
func (d *eventsDecoder) check() error {
	b := d.batch
	if d.hasPrice != d.hasQty {
		return fmt.Errorf("%w: one of price_exponent and qty_exponent without the other", ErrBadValue)
	}
	b.HasExponents = d.hasPrice
	var err error
	if b.Exponents.Price, err = checkExponent("price_exponent", d.price); err != nil {
		return err
	}
	if b.Exponents.Qty, err = checkExponent("qty_exponent", d.qty); err != nil {
		return err
	}
	if b.LastSourceSeq < b.FirstSourceSeq || (b.FirstSourceSeq == 0 && b.LastSourceSeq != 0) {
		return fmt.Errorf("%w: source sequence %d to %d", ErrBadValue, b.FirstSourceSeq, b.LastSourceSeq)
	}
	if b.Symbol != "" {
		if !ValidSymbol(b.Symbol) {
			return fmt.Errorf("%w: symbol %q", ErrBadValue, b.Symbol)
		}
		return nil
	}
	for i := range b.Events {
		if b.Events[i].Kind != EventHeartbeat {
			return fmt.Errorf("%w: no symbol, but more than heartbeats", ErrBadValue)
		}
	}
	return nil
}

// ValidSymbol reports whether s can be a symbol: 1 to MaxSymbolBytes bytes of
// UTF-8 without spaces or control characters.
func ValidSymbol(s string) bool {
	if s == "" || len(s) > MaxSymbolBytes || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r <= ' ' || (r >= 0x7f && r <= 0xa0) {
			return false
		}
	}
	return true
}

// decodeString returns old where the bytes are the same, which saves a copy.
func decodeString(name string, b []byte, most int, old string) (string, error) {
	if len(b) > most {
		return "", fmt.Errorf("%w: %s of %d bytes, at most %d", ErrTooLarge, name, len(b), most)
	}
	if string(b) == old {
		return old, nil
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("%w: %s is not UTF-8", ErrMalformed, name)
	}
	return string(b), nil
}

func checkExponent(name string, e int32) (int8, error) {
	if e < MinExponent || e > MaxExponent {
		return 0, fmt.Errorf("%w: %s %d, not within %d and %d", ErrBadValue, name, e, MinExponent, MaxExponent)
	}
	return int8(e), nil
}

// AppendLevels appends the levels of l, as the generated code decoded it, to dst.
// Arrays of different lengths and negative quantities are refused.
func AppendLevels(dst []Level, l *pb.Levels) ([]Level, error) {
	prices, qtys, counts := l.GetPrice(), l.GetQty(), l.GetCount()
	if len(qtys) != len(prices) || (len(counts) != 0 && len(counts) != len(prices)) {
		return dst, fmt.Errorf("%w: %d prices, %d quantities and %d counts", ErrBadValue, len(prices), len(qtys), len(counts))
	}
	price := int64(0)
	for i := range prices {
		price += prices[i]
		level := Level{Price: price, Qty: qtys[i]}
		if level.Qty < 0 {
			return dst, fmt.Errorf("%w: quantity %d", ErrBadValue, level.Qty)
		}
		if len(counts) > 0 {
			level.Count = counts[i]
		}
		dst = append(dst, level)
	}
	return dst, nil
}
