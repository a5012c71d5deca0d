package proto

import (
	"cmp"
	"slices"
)

// mergeOrders merges one side of deltas of orders: the last write of every
// identifier. O(orders * log orders).
type mergeOrders struct {
	writes []orderWrite
}

// orderWrite is an order as one of the deltas writes it.
type orderWrite struct {
	RankedOrder
	nth int // of all writes; of one identifier the greatest counts
}

func (m *mergeOrders) add(orders []RankedOrder) {
	for i := range orders {
		m.writes = append(m.writes, orderWrite{RankedOrder: orders[i], nth: len(m.writes)})
	}
}

// merge appends the last writes to dst by rising identifier, and forgets all.
func (m *mergeOrders) merge(dst []RankedOrder) []RankedOrder {
	w := m.writes
	slices.SortFunc(w, func(a, b orderWrite) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.nth, b.nth))
	})
	for i := range w {
		if i+1 == len(w) || w[i+1].ID != w[i].ID {
			dst = append(dst, w[i].RankedOrder)
		}
	}
	m.writes = w[:0]
	return dst
}
