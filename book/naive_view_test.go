package book

import (
	"math"
	"math/big"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// view returns what a view shows of one side; false if it does not fit 64 bits.
func (n *naive) view(side proto.Side, v proto.View) ([]proto.Level, bool) {
	levels, fits := n.side(side), true
	if unit, err := v.Group.Under(proto.DefaultExponents.Price); err != nil {
		return nil, false
	} else if unit != 0 {
		levels, fits = naiveGroups(side, levels, unit)
	}
	if v.Depth > 0 && len(levels) > int(v.Depth) {
		levels = levels[:v.Depth]
	}
	if !v.Counts {
		for i := range levels {
			levels[i].Count = 0
		}
	}
	return levels, fits
}

// naiveGroups sums levels, best first, over an increment of the price.
func naiveGroups(side proto.Side, levels []proto.Level, unit int64) (groups []proto.Level, fits bool) {
	fits = true
	var sum, count *big.Int
	unknown := false
	for i := range levels {
		l := &levels[i]
		price := naiveGroup(side, l.Price, unit)
		if !price.IsInt64() {
			fits = false
			continue
		}
		last := len(groups) - 1
		if last < 0 || groups[last].Price != price.Int64() {
			groups = append(groups, proto.Level{Price: price.Int64()})
			last++
			sum, count, unknown = new(big.Int), new(big.Int), false
		}
		sum.Add(sum, big.NewInt(l.Qty))
		count.Add(count, big.NewInt(int64(l.Count)))
		unknown = unknown || l.Count == 0 || l.Count > math.MaxUint32/50_000
		fits = fits && sum.IsInt64()
		groups[last].Qty, groups[last].Count = sum.Int64(), uint32(count.Int64())
		if unknown {
			groups[last].Count = 0
		}
	}
	return groups, fits
}

// naiveGroup rounds a bid down and an ask up to a multiple of unit.
func naiveGroup(side proto.Side, price, unit int64) *big.Int {
	p, u := big.NewInt(price), big.NewInt(unit)
	if side == proto.Ask {
		p.Neg(p)
	}
	p.Sub(p, new(big.Int).Mod(p, u)) // which is never negative
	if side == proto.Ask {
		p.Neg(p)
	}
	return p
}

// partial reports whether a level that nobody told of would change what v shows.
func (n *naive) partial(v proto.View) bool {
	if v.Group.None() && n.known() != 0 && (v.Depth == 0 || v.Depth > n.known()) {
		return true
	}
	for side, worse := range map[proto.Side]int64{proto.Bid: -1, proto.Ask: 1} {
		levels := n.side(side)
		var hidden []int64
		if floor, ok := n.floor[side]; ok {
			hidden = append(hidden, floor+worse)
		}
		if n.known() != 0 && !v.Group.None() {
			if len(levels) == 0 {
				return true
			}
			hidden = append(hidden, levels[len(levels)-1].Price+worse)
		}
		shown, _ := n.view(side, v)
		for _, price := range hidden {
			c := n.copy()
			if c.byOrder == 2 {
				c.orders = append(c.orders, naiveOrder{id: 1 << 63, side: side, price: price, qty: 1})
			} else {
				l := c.levels[naiveKey{side, price}]
				c.levels[naiveKey{side, price}] = proto.Level{Price: price, Qty: l.Qty ^ 1<<20, Count: 1}
			}
			if with, _ := c.view(side, v); !slices.Equal(shown, with) {
				return true
			}
		}
	}
	return false
}
