package proto

import (
	"fmt"

	"github.com/depthcast/depthcast/proto/pb"
)

// RankedOrder is one order of a book by order. Of the orders at one price that of
// the lowest rank is served first: the rank is the seq of the record that gave the
// order its priority, and among the orders of one record their index in it.
//
// Qty 0 in a delta means that the order is gone. Price and rank then say where it
// was last; only the identifier counts.
type RankedOrder struct {
	ID        uint64
	Price     int64
	Qty       int64
	RankSeq   int64
	RankIndex uint32
}

// Before reports whether o is served before p, which is at the same price.
func (o *RankedOrder) Before(p *RankedOrder) bool {
	return o.RankSeq < p.RankSeq || o.RankSeq == p.RankSeq && o.RankIndex < p.RankIndex
}

// Orders are what the orders channel has in place of levels. In a snapshot they
// are in order: by level, best first, and by rank within a level. In a delta they
// are by rising identifier, none twice on a side; an order that changes sides is
// gone on one and set on the other.
type Orders struct {
	Bids, Asks []RankedOrder
}

// Len returns how many orders o holds; 0 for nil.
func (o *Orders) Len() int {
	if o == nil {
		return 0
	}
	return len(o.Bids) + len(o.Asks)
}

// MixOrder returns what an order contributes to the hash of a view of orders; 0
// where its quantity is 0. It is Mix over more numbers.
func MixOrder(side Side, o *RankedOrder) uint32 {
	if o.Qty == 0 {
		return 0
	}
	return scramble(mixLevel(side, o.Price, o.Qty) +
		uint32(o.ID)*0xCC9E2D51 + uint32(o.ID>>32)*0x1B873593 +
		uint32(o.RankSeq)*0x7FEB352D + uint32(uint64(o.RankSeq)>>32)*0x846CA68B +
		o.RankIndex*0xB5297A4D)
}

// HashOrders returns the hash of a view with these orders, in any order.
func HashOrders(orders *Orders) uint32 {
	var h uint32
	for i := range orders.Bids {
		h += MixOrder(Bid, &orders.Bids[i])
	}
	for i := range orders.Asks {
		h += MixOrder(Ask, &orders.Asks[i])
	}
	return h
}

// AppendOrders appends the orders of o, as the generated code decoded it, to dst.
// Arrays of different lengths and negative quantities are refused.
func AppendOrders(dst []RankedOrder, o *pb.RankedOrders) ([]RankedOrder, error) {
	ids, prices, qtys, seqs, indices := o.GetOrderId(), o.GetPrice(), o.GetQty(), o.GetRankSeq(), o.GetRankIndex()
	n := len(ids)
	if len(prices) != n || len(qtys) != n || len(seqs) != n || len(indices) != n {
		return dst, fmt.Errorf("%w: %d orders, %d prices, %d quantities and %d, %d ranks",
			ErrBadValue, n, len(prices), len(qtys), len(seqs), len(indices))
	}
	var last RankedOrder
	for i := range ids {
		last = RankedOrder{
			ID: last.ID + uint64(ids[i]), Price: last.Price + prices[i], Qty: qtys[i],
			RankSeq: last.RankSeq + seqs[i], RankIndex: indices[i],
		}
		if last.Qty < 0 {
			return dst, fmt.Errorf("%w: quantity %d", ErrBadValue, last.Qty)
		}
		dst = append(dst, last)
	}
	return dst, nil
}
