package proto

// Merger makes one net delta of a run of consecutive deltas: the last write of
// every level (or order) that any of them touched. Nothing is cancelled out, also
// not a level that returned to where it was, so that the result may be applied
// from any seq within the run.
//
// The zero value is ready. Between Add and Merge it refers to the levels of the
// deltas that were added; it allocates only while its buffers grow. Not for
// concurrent use.
type Merger struct {
	head       Delta // everything but the levels
	added      bool
	bids, asks mergeSide

	bidOrders, askOrders mergeOrders
	orders               Orders // of the last Merge
}

// Add appends d, which follows on the deltas added before. Its sides are best
// first without a price twice. They are not copied: they must stay as they are
// until Merge. All deltas of a run are of one channel.
func (m *Merger) Add(d *Delta) {
	if !m.added {
		m.added = true
		m.head.PrevSeq = d.PrevSeq
		m.head.Merged, m.head.Orders = 0, nil
		m.head.Times.VenueFirst = firstVenueTime(d.Times)
	}
	m.head.Seq, m.head.Hash = d.Seq, d.Hash
	m.head.Merged += max(1, d.Merged)
	m.head.Times.Venue, m.head.Times.Kafka, m.head.Times.Published = d.Times.Venue, d.Times.Kafka, d.Times.Published
	m.bids.add(d.Bids)
	m.asks.add(d.Asks)
	if d.Orders != nil {
		m.head.Orders = &m.orders
		m.bidOrders.add(d.Orders.Bids)
		m.askOrders.add(d.Orders.Asks)
	}
}

// Merge writes the net delta of what was added into dst, whose slices are
// reused, and forgets it. At least one delta must have been added. Its Orders are
// m's own, valid until the next Merge.
func (m *Merger) Merge(dst *Delta) {
	bids, asks := dst.Bids[:0], dst.Asks[:0]
	*dst = m.head
	dst.Bids = m.bids.merge(bids, -1)
	dst.Asks = m.asks.merge(asks, 0)
	if dst.Orders != nil {
		m.orders.Bids = m.bidOrders.merge(m.orders.Bids[:0])
		m.orders.Asks = m.askOrders.merge(m.orders.Asks[:0])
	}
	m.added = false
}

func firstVenueTime(t Times) int64 {
	if t.VenueFirst != 0 {
		return t.VenueFirst
	}
	return t.Venue
}

// mergeSide merges runs of levels that are each in order, pairwise, in rounds:
// O(levels * log runs).
type mergeSide struct {
	runs   [][]Level // oldest first; of two neighbours the right one is the later
	levels int       // in all runs
	bufs   [2][]Level
}

func (s *mergeSide) add(levels []Level) {
	if len(levels) > 0 {
		s.runs = append(s.runs, levels)
		s.levels += len(levels)
	}
}

// merge appends the merged runs to dst. A price's place in the order is that of
// price^flip: 0 for rising prices, -1 for falling ones.
func (s *mergeSide) merge(dst []Level, flip int64) []Level {
	runs := s.runs
	for round := 0; len(runs) > 2; round++ {
		// A round reads the buffer that the one before it wrote.
		buf := &s.bufs[round&1]
		if cap(*buf) < s.levels {
			*buf = make([]Level, 0, s.levels+s.levels/2)
		}
		out, half := (*buf)[:0], runs[:0]
		for i := 0; i < len(runs); i += 2 {
			begin := len(out)
			if i+1 < len(runs) {
				out = mergeRuns(out, runs[i], runs[i+1], flip)
			} else {
				out = append(out, runs[i]...)
			}
			half = append(half, out[begin:len(out):len(out)])
		}
		runs = half
	}
	switch len(runs) {
	case 1:
		dst = append(dst, runs[0]...)
	case 2:
		dst = mergeRuns(dst, runs[0], runs[1], flip)
	}
	clear(s.runs)
	s.runs, s.levels = s.runs[:0], 0
	return dst
}

// mergeRuns appends both runs in order; at a price that both have, the later
// one's level.
func mergeRuns(dst, earlier, later []Level, flip int64) []Level {
	for len(earlier) > 0 && len(later) > 0 {
		e, l := earlier[0].Price^flip, later[0].Price^flip
		if e < l {
			dst = append(dst, earlier[0])
			earlier = earlier[1:]
			continue
		}
		if e == l {
			earlier = earlier[1:]
		}
		dst = append(dst, later[0])
		later = later[1:]
	}
	return append(append(dst, earlier...), later...)
}
