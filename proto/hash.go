package proto

// The state hash of a view is the sum modulo 2^32 of Mix over its levels; 0 for
// an empty book. A change of one level is therefore O(1):
//
//	hash += Mix(side, price, new) - Mix(side, price, old)
//
// where a quantity of 0 (no level) contributes 0. It finds accidental
// differences between books; it is no security check, and it says nothing about
// counts, exponents or state. A view of orders has the sum of MixOrder instead.

// Mix returns what a level of qty at price contributes to the hash; 0 where qty
// is 0.
func Mix(side Side, price, qty int64) uint32 {
	if qty == 0 {
		return 0
	}
	return scramble(mixLevel(side, price, qty))
}

// mixLevel is the sum that Mix scrambles.
func mixLevel(side Side, price, qty int64) uint32 {
	return uint32(price)*0x9E3779B1 + uint32(uint64(price)>>32)*0x85EBCA77 +
		uint32(qty)*0xC2B2AE3D + uint32(uint64(qty)>>32)*0x27D4EB2F +
		uint32(side)*0x165667B1
}

func scramble(v uint32) uint32 {
	v ^= v >> 16
	v *= 0x85EBCA6B
	v ^= v >> 13
	v *= 0xC2B2AE35
	v ^= v >> 16
	return v
}

// HashLevels returns the hash of a book with these levels, in any order.
func HashLevels(bids, asks []Level) uint32 {
	var h uint32
	for i := range bids {
		h += Mix(Bid, bids[i].Price, bids[i].Qty)
	}
	for i := range asks {
		h += Mix(Ask, asks[i].Price, asks[i].Qty)
	}
	return h
}
