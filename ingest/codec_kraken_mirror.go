package ingest

import (
	"hash/crc32"
	"slices"
	"strconv"

	"github.com/depthcast/depthcast/proto"
)

// krakenLevel is a level with what the checksum takes of it: the digits of the
// venue's own texts, without point and leading zeros, so "0.00100000" is 100000
// whatever the symbol's exponents are.
type krakenLevel struct {
	proto.Level
	priceDigits, qtyDigits int64
}

func (l *krakenLevel) setPrice(m *krakenMessage, text []byte) {
	l.Price = m.text.decimalOf(text, m.exponents.Price)
	l.priceDigits = m.text.digitsOf(text, l.Price, m.exponents.Price)
}

func (l *krakenLevel) setQty(m *krakenMessage, text []byte) {
	l.Qty = m.text.quantityOf(text, m.exponents.Qty)
	l.qtyDigits = m.text.digitsOf(text, l.Qty, m.exponents.Qty)
}

// digitsOf returns all digits of a decimal as one number; mantissa is its value
// under exponent.
func (s *jsonText) digitsOf(text []byte, mantissa int64, exponent int8) int64 {
	if s.err != nil || s.seen != nil {
		return 0
	}
	decimals := proto.Decimals(text)
	if decimals == -int(exponent) {
		return mantissa
	}
	if decimals > -proto.MinExponent {
		s.fail(proto.ErrDecimalTooFine)
		return 0
	}
	digits, err := proto.ParseDecimal(text, int8(-decimals))
	if err != nil {
		s.err = err
	}
	return digits
}

// krakenMirror is the book as the codec knows it, for checksums: as many levels a
// side as the channel keeps.
type krakenMirror struct {
	bids, asks krakenSide
	text       []byte
}

// krakenSide is one side, best level first, without empty levels.
type krakenSide []krakenLevel

func betterBid(a, b krakenLevel) int { return compareInt(b.Price, a.Price) }
func betterAsk(a, b krakenLevel) int { return compareInt(a.Price, b.Price) }

func compareInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// maxSingleSets is up to how many changes are worth inserting one by one.
const maxSingleSets = 64

// set returns the side after changes, of which the last for a price counts; it
// reuses the side. better orders levels.
func (k krakenSide) set(changes []krakenLevel, better func(a, b krakenLevel) int) krakenSide {
	if len(changes) > maxSingleSets {
		return k.setMany(changes, better)
	}
	for _, l := range changes {
		i, found := slices.BinarySearchFunc(k, l, better)
		switch {
		case found && l.Qty == 0:
			k = slices.Delete(k, i, i+1)
		case found:
			k[i] = l
		case l.Qty != 0:
			k = slices.Insert(k, i, l)
		}
	}
	return k
}

// setMany does what set does, in time that hardly depends on the order of changes.
func (k krakenSide) setMany(changes []krakenLevel, better func(a, b krakenLevel) int) krakenSide {
	k = append(k, changes...)
	slices.SortStableFunc(k, better)
	n := 0
	for i, l := range k {
		if i+1 < len(k) && k[i+1].Price == l.Price || l.Qty == 0 {
			continue
		}
		k[n] = l
		n++
	}
	return k[:n]
}

// trim cuts off what lies behind the depth best levels of each side, which the
// venue does not delete.
func (b *krakenMirror) trim(depth int) {
	b.bids = b.bids[:min(len(b.bids), depth)]
	b.asks = b.asks[:min(len(b.asks), depth)]
}

// checksum is the venue's: CRC32 over the 10 best asks, then the 10 best bids,
// each with its price and quantity without point and leading zeros. Kraken,
// "Book checksum (WebSocket v1)" and "(WebSocket v2)".
func (b *krakenMirror) checksum() uint32 {
	text := b.text[:0]
	for _, side := range []krakenSide{b.asks, b.bids} {
		for _, l := range side[:min(len(side), 10)] {
			if l.priceDigits != 0 { // else nothing is left of it
				text = strconv.AppendInt(text, l.priceDigits, 10)
			}
			text = strconv.AppendInt(text, l.qtyDigits, 10)
		}
	}
	b.text = text
	return crc32.ChecksumIEEE(text)
}
