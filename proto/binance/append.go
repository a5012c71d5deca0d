package binance

import (
	"strconv"

	"github.com/depthcast/depthcast/proto"
)

// ID returns the name that Binance's clients know a pair by.
func ID(p proto.Pair) string { return p.Base + p.Quote }

// millis returns when a change happened, as far as is known, in ms since 1970.
func millis(t proto.Times) int64 {
	at := t.Published
	switch {
	case t.Venue != 0:
		at = t.Venue
	case t.Kafka != 0:
		at = t.Kafka
	}
	return at / 1e6
}

// zeros are the least decimals that a number has.
const zeros = "00000000"

// appendNumber appends a number with eight decimals, or more where its exponent has
// more. None is always 0.00000000: clients know a level that is taken away by that text.
func appendNumber(dst []byte, mantissa int64, exponent int8) []byte {
	switch {
	case mantissa == 0:
		return append(append(dst, "0."...), zeros...)
	case exponent >= 0:
		return append(append(proto.AppendDecimal(dst, mantissa, exponent), '.'), zeros...)
	}
	return append(proto.AppendDecimal(dst, mantissa, exponent), zeros[min(len(zeros), int(-exponent)):]...)
}

func appendQuoted(dst []byte, mantissa int64, exponent int8) []byte {
	return append(appendNumber(append(dst, '"'), mantissa, exponent), '"')
}

func appendLevels(dst []byte, levels []proto.Level, x proto.Exponents) []byte {
	dst = append(dst, '[')
	for i := range levels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendQuoted(append(dst, '['), levels[i].Price, x.Price)
		dst = append(appendQuoted(append(dst, ','), levels[i].Qty, x.Qty), ']')
	}
	return append(dst, ']')
}

// AppendDiff appends a change of a book: depthUpdate.
func AppendDiff(dst []byte, id string, x proto.Exponents, d *proto.Delta) []byte {
	dst = strconv.AppendInt(append(dst, `{"e":"depthUpdate","E":`...), millis(d.Times), 10)
	dst = append(append(dst, `,"s":"`...), id...)
	dst = strconv.AppendInt(append(dst, `","U":`...), d.PrevSeq+1, 10)
	dst = strconv.AppendInt(append(dst, `,"u":`...), d.Seq, 10)
	dst = appendLevels(append(dst, `,"b":`...), d.Bids, x)
	dst = appendLevels(append(dst, `,"a":`...), d.Asks, x)
	return append(dst, '}')
}

// AppendDepth appends the best levels of a book: what a partial depth stream sends
// and /api/v3/depth answers.
func AppendDepth(dst []byte, seq int64, bids, asks []proto.Level, x proto.Exponents) []byte {
	dst = strconv.AppendInt(append(dst, `{"lastUpdateId":`...), seq, 10)
	dst = appendLevels(append(dst, `,"bids":`...), bids, x)
	dst = appendLevels(append(dst, `,"asks":`...), asks, x)
	return append(dst, '}')
}

// AppendQuote appends the best bid and offer: bookTicker. A side without levels has
// price and quantity 0.
func AppendQuote(dst []byte, id string, seq int64, bids, asks []proto.Level, x proto.Exponents) []byte {
	var bid, ask proto.Level
	if len(bids) > 0 {
		bid = bids[0]
	}
	if len(asks) > 0 {
		ask = asks[0]
	}
	dst = strconv.AppendInt(append(dst, `{"u":`...), seq, 10)
	dst = append(append(append(dst, `,"s":"`...), id...), '"')
	dst = appendQuoted(append(dst, `,"b":`...), bid.Price, x.Price)
	dst = appendQuoted(append(dst, `,"B":`...), bid.Qty, x.Qty)
	dst = appendQuoted(append(dst, `,"a":`...), ask.Price, x.Price)
	dst = appendQuoted(append(dst, `,"A":`...), ask.Qty, x.Qty)
	return append(dst, '}')
}

// Tells reports whether a trade can be told: corrections and cancellations have no
// word here.
func Tells(t *proto.Trade) bool {
	return t.Flags&(proto.TradeCorrection|proto.TradeCancellation) == 0
}

// AppendTrade appends one trade; its id is the ordinal, so that a gap tells of
// trades that are not told.
func AppendTrade(dst []byte, id string, x proto.Exponents, t *proto.Trade, times proto.Times) []byte {
	dst = strconv.AppendInt(append(dst, `{"e":"trade","E":`...), millis(times), 10)
	dst = append(append(dst, `,"s":"`...), id...)
	dst = strconv.AppendUint(append(dst, `","t":`...), t.Ordinal, 10)
	dst = appendQuoted(append(dst, `,"p":`...), t.Price, x.Price)
	dst = appendQuoted(append(dst, `,"q":`...), t.Qty, x.Qty)
	at := t.VenueTime / 1e6
	if at == 0 {
		at = millis(times)
	}
	dst = strconv.AppendInt(append(dst, `,"T":`...), at, 10)
	dst = strconv.AppendBool(append(dst, `,"m":`...), t.Aggressor == proto.AggressorSell)
	return append(dst, `,"M":true}`...)
}
