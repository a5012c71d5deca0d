package proto

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/depthcast/depthcast/proto/pb"
)

// levels decodes an array of levels; nil for an empty one.
func (d *jsonDecoder) levels(text []byte) (*pb.Levels, error) {
	var out *pb.Levels
	last := int64(0)
	err := eachItem(text, d.most, func(index int, item []byte) error {
		x, err := d.exponents()
		if err != nil {
			return err
		}
		if out == nil {
			// Ten a side is what most views send.
			out = &pb.Levels{Price: make([]int64, 0, 10), Qty: make([]int64, 0, 10)}
		}
		var cells [3][]byte
		n, err := cellsOf(cells[:], item)
		if err != nil {
			return fmt.Errorf("level %d: %w", index, err)
		}
		if n < 2 || (n == 3) != (len(out.Count) > 0) && index > 0 {
			return fmt.Errorf("level %d: of %d members", index, n)
		}
		price, qty, err := priceAndQty(cells[0], cells[1], x)
		if err != nil {
			return fmt.Errorf("level %d: %w", index, err)
		}
		if n == 3 {
			count, err := strconv.ParseUint(string(cells[2]), 10, 32)
			if err != nil {
				return fmt.Errorf("level %d: count: %w", index, asNumber(err))
			}
			out.Count = append(out.Count, uint32(count))
		}
		out.Price = append(out.Price, price-last)
		out.Qty = append(out.Qty, qty)
		last = price
		return nil
	})
	return out, err
}

func priceAndQty(priceText, qtyText []byte, x Exponents) (price, qty int64, err error) {
	if price, err = parseJSONDecimal(priceText, x.Price); err != nil {
		return 0, 0, fmt.Errorf("price: %w", err)
	}
	if qty, err = parseJSONDecimal(qtyText, x.Qty); err != nil {
		return 0, 0, fmt.Errorf("quantity: %w", err)
	}
	if qty < 0 {
		return 0, 0, errors.New("quantity below zero")
	}
	return price, qty, nil
}

// cellsOf takes the members of a short array into cells and returns their number.
func cellsOf(cells [][]byte, text []byte) (n int, err error) {
	err = eachItem(text, len(cells), func(index int, item []byte) error {
		cells[index] = item
		n = index + 1
		return nil
	})
	return n, err
}

// orders decodes an array of orders with ranks; nil for an empty one.
func (d *jsonDecoder) orders(text []byte) (*pb.RankedOrders, error) {
	var out *pb.RankedOrders
	var lastID, lastPrice, lastRank int64
	err := eachItem(text, d.most, func(index int, item []byte) error {
		x, err := d.exponents()
		if err != nil {
			return err
		}
		if out == nil {
			out = &pb.RankedOrders{}
		}
		var cells [5][]byte
		n, err := cellsOf(cells[:], item)
		if err != nil || n != len(cells) {
			return fmt.Errorf("order %d: of %d members, want %d", index, n, len(cells))
		}
		id, idErr := strconv.ParseUint(bareNumber(cells[0]), 10, 64)
		rank, rankErr := strconv.ParseInt(bareNumber(cells[3]), 10, 64)
		rankIndex, indexErr := strconv.ParseUint(string(cells[4]), 10, 32)
		if err := errors.Join(idErr, rankErr, indexErr); err != nil {
			return fmt.Errorf("order %d: %w", index, asNumber(err))
		}
		price, qty, err := priceAndQty(cells[1], cells[2], x)
		if err != nil {
			return fmt.Errorf("order %d: %w", index, err)
		}
		out.OrderId = append(out.OrderId, int64(id)-lastID)
		out.Price = append(out.Price, price-lastPrice)
		out.Qty = append(out.Qty, qty)
		out.RankSeq = append(out.RankSeq, rank-lastRank)
		out.RankIndex = append(out.RankIndex, uint32(rankIndex))
		lastID, lastPrice, lastRank = int64(id), price, rank
		return nil
	})
	return out, err
}
