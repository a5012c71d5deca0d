package ingest

import (
	"fmt"

	"github.com/depthcast/depthcast/proto"
)

// Payload is what a raw record of a venue says of itself: what a producer must
// know to give it a key, and its symbol an instrument.
type Payload struct {
	// Symbol as the venue writes it, within the record; nil where it names none.
	Symbol []byte
	// Data is false where the record concerns no symbol's book or trades.
	Data bool
	// Futures tells a diff of Binance's USD-M futures from one of its spot market.
	Futures bool
	// MaxLevels is how many levels a side the venue keeps in this channel; 0: all.
	MaxLevels uint32
	// PriceDecimals and QtyDecimals are the most digits after the point; -1: the
	// record has no price, no quantity.
	PriceDecimals, QtyDecimals int
}

// Inspector reads raw records without state. Formats "binance" and "kraken".
type Inspector struct {
	seen    decimalsSeen
	binance *binanceMessage
	kraken  *krakenMessage
}

// decimalsSeen are the most digits after the point; -1: none seen.
type decimalsSeen struct{ price, qty int }

// see notes the decimals of text in most.
func (s *jsonText) see(most *int, text []byte) int64 {
	n := proto.Decimals(text)
	if n < 0 {
		s.fail(proto.ErrNotDecimal)
	}
	*most = max(*most, n)
	return 1 // any quantity but 0, which may mean that nothing is there
}

// NewInspector makes an inspector of a format.
func NewInspector(format string) (*Inspector, error) {
	i := &Inspector{}
	switch format {
	case "binance":
		i.binance = &binanceMessage{text: jsonText{seen: &i.seen}}
	case "kraken":
		i.kraken = &krakenMessage{text: jsonText{seen: &i.seen}}
	default:
		return nil, fmt.Errorf("ingest: format %q cannot be inspected", format)
	}
	return i, nil
}

// Inspect says what value is; the result is valid as long as value.
func (i *Inspector) Inspect(value []byte) (Payload, error) {
	i.seen = decimalsSeen{-1, -1}
	var p Payload
	var err error
	if m := i.binance; m != nil {
		err = m.parse(value, proto.Exponents{})
		p = Payload{Symbol: m.symbol, Data: m.kind != binanceOther, Futures: m.kind == binanceDiff && m.chained}
	} else {
		m := i.kraken
		err = m.parse(value, proto.Exponents{})
		p = Payload{Symbol: m.pair, Data: m.kind != krakenOther, MaxLevels: m.depth}
	}
	p.PriceDecimals, p.QtyDecimals = i.seen.price, i.seen.qty
	return p, err
}

// NewCodec makes a codec of a format of the table, as a partition does.
func NewCodec(format string, instruments Instruments) (Codec, error) {
	f, ok := formats[format]
	if !ok {
		return nil, fmt.Errorf("ingest: unknown format %q; there are %v", format, Formats())
	}
	return f.new(instruments), nil
}
