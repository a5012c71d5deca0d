package ingest

import "github.com/depthcast/depthcast/proto"

func (s *krakenState) appendTo(to []byte) []byte {
	to = appendStateBool(appendStateBool(to, s.whole), s.supposed)
	to = appendStateInt(appendStateInt(to, int64(s.exponents.Price)), int64(s.exponents.Qty))
	to = appendStateUint(appendStateUint(to, uint64(s.depth)), uint64(s.subscribed))
	to = appendStateUint(to, s.lastTrade)
	return s.mirror.asks.appendTo(s.mirror.bids.appendTo(to))
}

func (k krakenSide) appendTo(to []byte) []byte {
	to = appendStateUint(to, uint64(len(k)))
	for i := range k {
		l := &k[i]
		to = appendStateInt(appendStateInt(to, l.Price), l.Qty)
		to = appendStateInt(appendStateInt(to, l.priceDigits), l.qtyDigits)
	}
	return to
}

func (s *krakenState) readFrom(r *stateReader) {
	*s = krakenState{whole: r.bool(), supposed: r.bool()}
	price, qty := r.int(), r.int()
	s.exponents = proto.Exponents{Price: int8(price), Qty: int8(qty)}
	r.check(min(price, qty) >= proto.MinExponent && max(price, qty) <= proto.MaxExponent, "exponents")
	depth, subscribed := r.uint(), r.uint()
	r.check(max(depth, subscribed) <= maxVenueLevels, "a depth")
	s.depth, s.subscribed, s.lastTrade = int(depth), uint32(subscribed), r.uint()
	s.mirror.bids = readKrakenSide(r, s.depth, betterBid)
	s.mirror.asks = readKrakenSide(r, s.depth, betterAsk)
	r.check(s.whole || len(s.mirror.bids)+len(s.mirror.asks) == 0, "levels of a book that is not whole")
}

func readKrakenSide(r *stateReader, depth int, better func(a, b krakenLevel) int) krakenSide {
	n := r.count(depth, 4)
	k := make(krakenSide, 0, n)
	for i := range n {
		l := krakenLevel{Level: proto.Level{Price: r.int(), Qty: r.int()}, priceDigits: r.int(), qtyDigits: r.int()}
		r.check(l.Qty > 0 && (i == 0 || better(k[i-1], l) < 0), "a level")
		k = append(k, l)
	}
	return k
}

func (c *krakenCodec) save(symbol string, to []byte) []byte {
	return saveVenue(&c.symbols, symbol, to)
}
func (c *krakenCodec) restore(symbol string, state []byte) error {
	return restoreVenue(&c.symbols, symbol, state)
}
func (c *krakenCodec) forget(symbol string) { delete(c.symbols.of, symbol) }
