package kraken

import (
	"hash/crc32"
	"strconv"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// checksumLevels is how many levels a side the checksum covers.
const checksumLevels = 10

// Checksum is Kraken's: CRC32 (IEEE) over the ten best asks, then the ten best bids,
// each with its price and quantity as they are written, without point and leading
// zeros. Sides are best first.
func Checksum(bids, asks []proto.Level, x proto.Exponents) uint32 {
	var room [4 * checksumLevels * 24]byte
	text := room[:0]
	for _, side := range [2][]proto.Level{asks, bids} {
		for _, l := range side[:min(len(side), checksumLevels)] {
			text = appendDigits(text, l.Price, x.Price)
			text = appendDigits(text, l.Qty, x.Qty)
		}
	}
	return crc32.ChecksumIEEE(text)
}

// appendDigits appends a number as AppendDecimal writes it, without its point and
// what zeros it begins with.
func appendDigits(dst []byte, mantissa int64, exponent int8) []byte {
	if mantissa > 0 {
		dst = strconv.AppendInt(dst, mantissa, 10)
		for ; exponent > 0; exponent-- {
			dst = append(dst, '0')
		}
		return dst
	}
	if mantissa == 0 {
		return dst
	}
	begin := len(dst)
	dst = proto.AppendDecimal(dst, mantissa, exponent)
	n := begin
	for _, c := range dst[begin:] {
		if c != '.' {
			dst[n] = c
			n++
		}
	}
	return dst[:n]
}

// timeForm is RFC 3339 with microseconds, as Kraken writes times.
const timeForm = "2006-01-02T15:04:05.000000Z"

// appendTime appends a time, given in ns since 1970, as a string.
func appendTime(dst []byte, ns int64) []byte {
	dst = append(dst, '"')
	return append(time.Unix(0, ns).UTC().AppendFormat(dst, timeForm), '"')
}

// eventTime is when a change happened, as far as is known.
func eventTime(t proto.Times) int64 {
	switch {
	case t.Venue != 0:
		return t.Venue
	case t.Kafka != 0:
		return t.Kafka
	}
	return t.Published
}

// appendLevels appends a side, levels that are deleted first: a client may cut its
// book to depth after every level, and would lose its last one to an insertion that
// comes before the deletion beside it.
func appendLevels(dst []byte, levels []proto.Level, x proto.Exponents) []byte {
	dst = append(dst, '[')
	begin := len(dst)
	for _, deleted := range [2]bool{true, false} {
		for i := range levels {
			if (levels[i].Qty == 0) != deleted {
				continue
			}
			if len(dst) > begin {
				dst = append(dst, ',')
			}
			dst = proto.AppendDecimal(append(dst, `{"price":`...), levels[i].Price, x.Price)
			dst = append(proto.AppendDecimal(append(dst, `,"qty":`...), levels[i].Qty, x.Qty), '}')
		}
	}
	return append(dst, ']')
}

// appendBook appends a message of the channel book.
func appendBook(dst []byte, kind, symbol string, bids, asks []proto.Level, x proto.Exponents, sum uint32, t proto.Times) []byte {
	dst = append(append(dst, `{"channel":"book","type":"`...), kind...)
	dst = append(append(dst, `","data":[{"symbol":"`...), symbol...)
	dst = appendLevels(append(dst, `","bids":`...), bids, x)
	dst = appendLevels(append(dst, `,"asks":`...), asks, x)
	dst = strconv.AppendUint(append(dst, `,"checksum":`...), uint64(sum), 10)
	dst = appendTime(append(dst, `,"timestamp":`...), eventTime(t))
	return append(dst, `}]}`...)
}

// AppendSnapshot appends the snapshot of a book under its own exponents.
func AppendSnapshot(dst []byte, symbol string, s *proto.Snapshot) []byte {
	return appendBook(dst, "snapshot", symbol, s.Bids, s.Asks, s.Exponents, Checksum(s.Bids, s.Asks, s.Exponents), s.Times)
}

// AppendVoid appends the snapshot of a book without levels: what is shown of one
// that is not known to be whole and current.
func AppendVoid(dst []byte, symbol string, t proto.Times) []byte {
	return appendBook(dst, "snapshot", symbol, nil, nil, proto.Exponents{}, 0, t)
}

// AppendUpdate appends a change of a book. sum is the checksum of the book after it.
func AppendUpdate(dst []byte, symbol string, x proto.Exponents, d *proto.Delta, sum uint32) []byte {
	return appendBook(dst, "update", symbol, d.Bids, d.Asks, x, sum, d.Times)
}

// AppendTrades appends trades, oldest first; trade_id is the ordinal, so that a gap
// tells of trades that are not told. Corrections and cancellations have no word
// here. It appends nothing if there is no trade to tell.
func AppendTrades(dst []byte, symbol string, x proto.Exponents, t *proto.Trades) []byte {
	kind, begin, any := "update", len(dst), false
	if t.History {
		kind = "snapshot"
	}
	dst = append(append(append(dst, `{"channel":"trade","type":"`...), kind...), `","data":[`...)
	for i := range t.Trades {
		trade := &t.Trades[i]
		if trade.Flags&(proto.TradeCorrection|proto.TradeCancellation) != 0 {
			continue
		}
		if any {
			dst = append(dst, ',')
		}
		any = true
		dst = appendTrade(dst, symbol, x, trade, t.Times)
	}
	if !any {
		return dst[:begin]
	}
	return append(dst, `]}`...)
}

func appendTrade(dst []byte, symbol string, x proto.Exponents, trade *proto.Trade, t proto.Times) []byte {
	dst = append(append(append(dst, `{"symbol":"`...), symbol...), '"')
	switch trade.Aggressor {
	case proto.AggressorBuy:
		dst = append(dst, `,"side":"buy"`...)
	case proto.AggressorSell:
		dst = append(dst, `,"side":"sell"`...)
	}
	dst = proto.AppendDecimal(append(dst, `,"price":`...), trade.Price, x.Price)
	dst = proto.AppendDecimal(append(dst, `,"qty":`...), trade.Qty, x.Qty)
	dst = append(dst, `,"ord_type":"market","trade_id":`...)
	dst = strconv.AppendUint(dst, trade.Ordinal, 10)
	at := trade.VenueTime
	if at == 0 {
		at = eventTime(t)
	}
	return append(appendTime(append(dst, `,"timestamp":`...), at), '}')
}

// AppendTicker appends a ticker. Its quote is there whatever is known: 0 is none.
func AppendTicker(dst []byte, symbol string, x proto.Exponents, t *proto.Ticker, snapshot bool) []byte {
	kind := "update"
	if snapshot {
		kind = "snapshot"
	}
	dst = append(append(dst, `{"channel":"ticker","type":"`...), kind...)
	dst = append(append(append(dst, `","data":[{"symbol":"`...), symbol...), '"')
	for _, f := range [...]struct {
		name     string
		value    proto.Optional
		exponent int8
		always   bool
	}{
		{`,"bid":`, t.Bid, x.Price, true},
		{`,"bid_qty":`, t.BidQty, x.Qty, true},
		{`,"ask":`, t.Ask, x.Price, true},
		{`,"ask_qty":`, t.AskQty, x.Qty, true},
		{`,"last":`, t.Last, x.Price, false},
		{`,"volume":`, t.Volume, x.Qty, false},
		{`,"low":`, t.Low, x.Price, false},
		{`,"high":`, t.High, x.Price, false},
		{`,"change":`, t.Change, x.Price, false},
	} {
		if f.value.Set || f.always {
			dst = proto.AppendDecimal(append(dst, f.name...), f.value.Value, f.exponent)
		}
	}
	if reference := t.Last.Value - t.Change.Value; t.Change.Set && t.Last.Set && reference > 0 {
		dst = append(dst, `,"change_pct":`...)
		dst = strconv.AppendFloat(dst, 100*float64(t.Change.Value)/float64(reference), 'f', 2, 64)
	}
	dst = appendTime(append(dst, `,"timestamp":`...), eventTime(t.Times))
	return append(dst, `}]}`...)
}
