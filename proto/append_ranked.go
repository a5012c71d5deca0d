package proto

import "strconv"

// The frames of the orders channel: RankedOrders in protobuf and in JSON.

// rankedSize holds the sizes of the arrays within one RankedOrders message.
type rankedSize struct {
	id, price, qty, seq, index int
	total                      int // of the message; 0: no orders, so it is left out
}

func sizeRanked(orders []RankedOrder) rankedSize {
	var s rankedSize
	if len(orders) == 0 {
		return s
	}
	var last RankedOrder
	for i := range orders {
		o := &orders[i]
		s.id += sizeVarint(zigzag(int64(o.ID - last.ID)))
		s.price += sizeVarint(zigzag(o.Price - last.Price))
		s.qty += sizeVarint(uint64(o.Qty))
		s.seq += sizeVarint(zigzag(o.RankSeq - last.RankSeq))
		s.index += sizeVarint(uint64(o.RankIndex))
		last = *o
	}
	s.total = sizeNested(1, s.id) + sizeNested(2, s.price) + sizeNested(3, s.qty) +
		sizeNested(4, s.seq) + sizeNested(5, s.index)
	return s
}

// outerSize returns the size that a RankedOrders message adds to the one around it.
func (s rankedSize) outerSize(field uint32) int {
	if s.total == 0 {
		return 0
	}
	return sizeNested(field, s.total)
}

// appendOrders appends a RankedOrders message as the given field, unless it is empty.
func appendRanked(dst []byte, field uint32, orders []RankedOrder, s rankedSize) []byte {
	if s.total == 0 {
		return dst
	}
	dst = appendNested(dst, field, s.total)
	dst = appendNested(dst, 1, s.id)
	var last RankedOrder
	for i := range orders {
		dst = appendVarint(dst, zigzag(int64(orders[i].ID-last.ID)))
		last.ID = orders[i].ID
	}
	dst = appendNested(dst, 2, s.price)
	for i := range orders {
		dst = appendVarint(dst, zigzag(orders[i].Price-last.Price))
		last.Price = orders[i].Price
	}
	dst = appendNested(dst, 3, s.qty)
	for i := range orders {
		dst = appendVarint(dst, uint64(orders[i].Qty))
	}
	dst = appendNested(dst, 4, s.seq)
	for i := range orders {
		dst = appendVarint(dst, zigzag(orders[i].RankSeq-last.RankSeq))
		last.RankSeq = orders[i].RankSeq
	}
	dst = appendNested(dst, 5, s.index)
	for i := range orders {
		dst = appendVarint(dst, uint64(orders[i].RankIndex))
	}
	return dst
}

// appendOrdersDelta is AppendDelta for the orders channel.
func appendOrdersDelta(dst []byte, form TopicForm, d *Delta) []byte {
	bids, asks := sizeRanked(d.Orders.Bids), sizeRanked(d.Orders.Asks)
	times := sizeTimes(d.Times)
	merged := wireMerged(d.Merged)
	size := sizeUint(1, uint64(form.Topic)) + sizeUint(2, uint64(d.PrevSeq)) + sizeUint(3, uint64(d.Seq)) +
		bids.outerSize(4) + asks.outerSize(5) + sizeFixed32(6, d.Hash) +
		sizeTimesField(7, times) + sizeUint(8, uint64(merged))

	dst = appendNested(dst, frameOrders, size)
	dst = appendUint(dst, 1, uint64(form.Topic))
	dst = appendUint(dst, 2, uint64(d.PrevSeq))
	dst = appendUint(dst, 3, uint64(d.Seq))
	dst = appendRanked(dst, 4, d.Orders.Bids, bids)
	dst = appendRanked(dst, 5, d.Orders.Asks, asks)
	dst = appendFixed32(dst, 6, d.Hash)
	dst = appendTimes(dst, 7, d.Times, times)
	return appendUint(dst, 8, uint64(merged))
}

// appendJSONOrdersDelta appends the members in which a delta of orders differs
// from one of levels.
func appendJSONOrdersDelta(dst []byte, form TopicForm, d *Delta) []byte {
	dst = appendJSONHead(dst, `{"type":"orders","topic":`, form.Topic)
	dst = appendJSONSeqs(dst, d.PrevSeq, d.Seq)
	dst = appendJSONOrders(append(dst, `,"bids":`...), d.Orders.Bids, form.Exponents)
	return appendJSONOrders(append(dst, `,"asks":`...), d.Orders.Asks, form.Exponents)
}

func appendJSONOrders(dst []byte, orders []RankedOrder, x Exponents) []byte {
	dst = append(dst, '[')
	for i := range orders {
		o := &orders[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendJSONUint(append(dst, '['), o.ID), ',')
		dst = append(appendJSONDecimal(dst, o.Price, x.Price), ',')
		dst = append(appendJSONQty(dst, o.Qty, x.Qty), ',')
		dst = append(appendJSONInt(dst, o.RankSeq), ',')
		dst = append(strconv.AppendUint(dst, uint64(o.RankIndex), 10), ']')
	}
	return append(dst, ']')
}
