//go:build verify

package book

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

const (
	verifying      = true
	verifiedLevels = 512 // up to so many levels after each batch
	verifiedOf     = 64  // else after one batch of so many
)

// verify panics where an invariant of the package does not hold. It is called
// whenever the views have been told.
func (b *book) verify() {
	if !b.whole && (b.bids.len()+b.asks.len() > 0 || b.orders.index.n > 0) {
		b.broke("it is not whole, but holds levels or orders")
	}
	if b.parts.active {
		b.broke("a snapshot was left uninstalled")
	}
	// A large book is looked through after some batches only, or tests on recordings
	// would take as long as the recordings.
	if b.bids.len()+b.asks.len() > verifiedLevels && b.seq%verifiedOf != 0 {
		return
	}
	queued := b.verifySide(&b.bids) + b.verifySide(&b.asks)
	if queued != b.orders.index.n {
		b.broke("its queues hold %d orders, its index %d", queued, b.orders.index.n)
	}
	if b.told.state == proto.Live && !b.whole {
		b.broke("it is live, but not whole")
	}
	for _, v := range b.views {
		b.verifyView(v)
	}
}

func (b *book) broke(format string, args ...any) {
	panic(fmt.Sprintf("book: %s at seq %d: %s", b.symbol, b.seq, fmt.Sprintf(format, args...)))
}

// verifySide checks the levels of s and returns how many orders stand in its queues.
func (b *book) verifySide(s *side) int {
	orders, n, before := 0, 0, int64(0)
	w := s.walk(math.MaxInt64)
	for l := w.next(); l != nil; l = w.next() {
		if l.qty <= 0 {
			b.broke("the level at %d has quantity %d", w.key^s.mask, l.qty)
		}
		if n > 0 && before <= w.key {
			b.broke("the levels at %d and %d are out of order", before^s.mask, w.key^s.mask)
		}
		if b.kind == keptByOrder {
			orders += b.verifyQueue(s, w.key, l)
		}
		before = w.key
		n++
	}
	if wrong := s.levels.mirror.check(&s.levels); wrong != "" {
		b.broke("%s", wrong)
	}
	return orders
}

func (b *book) verifyQueue(s *side, key int64, l *level) int {
	var qty int64
	var count, before uint32
	for slot := l.head; slot != 0; slot = b.orders.slab[slot].next {
		o := &b.orders.slab[slot]
		if o.key != key || o.side != s.which || o.prev != before || b.orders.index.get(o.id) != slot {
			b.broke("order %d stands in the wrong queue, at %d", o.id, key^s.mask)
		}
		if p := &b.orders.slab[before]; before != 0 && !p.ahead(o) {
			b.broke("order %d ranks at %d, %d, behind order %d at %d, %d", o.id, o.rankSeq, o.rankIndex, p.id, p.rankSeq, p.rankIndex)
		}
		qty += o.qty
		count++
		before = slot
	}
	if before != l.tail || qty != l.qty || count != l.count {
		b.broke("the level at %d says %d in %d orders, its queue %d in %d", key^s.mask, l.qty, l.count, qty, count)
	}
	return int(count)
}

// ahead reports whether o has its priority since before p.
func (o *order) ahead(p *order) bool {
	return cmp.Or(cmp.Compare(o.rankSeq, p.rankSeq), cmp.Compare(o.rankIndex, p.rankIndex)) < 0
}

func (b *book) verifyView(v *View) {
	if !v.shown {
		return
	}
	if v.last > b.seq {
		b.broke("a view is ahead of it, at seq %d", v.last)
	}
	if v.key.Channel != proto.ChannelBook && v.key.Channel != proto.ChannelOrders {
		return
	}
	fresh := View{book: b, bids: v.bids, asks: v.asks, shown: true, grouping: v.grouping, key: v.key, depth: v.depth}
	if v.grouping != nil {
		b.verifyGrouping(v.grouping)
	}
	fresh.rebuild()
	if fresh.partial != v.partial {
		b.broke("a view of depth %d says partial: %v", v.depth, v.partial)
	}
	if fresh.hash != v.hash || fresh.bidEdge != v.bidEdge || fresh.askEdge != v.askEdge {
		b.broke("a view of depth %d has hash %08x and edges %d, %d; its levels say %08x, %d, %d", v.depth,
			v.hash, v.bidEdge, v.askEdge, fresh.hash, fresh.bidEdge, fresh.askEdge)
	}
}

// verifyGrouping checks the groups of g against those made anew.
func (b *book) verifyGrouping(g *grouping) {
	fresh, err := b.newGrouping(g.by)
	if err != nil {
		b.broke("it is grouped by %s: %v", g.by, err)
	}
	fresh.build(b)
	if fresh.beyond != g.beyond || !maps.Equal(fresh.bids.carry, g.bids.carry) || !maps.Equal(fresh.asks.carry, g.asks.carry) {
		b.broke("its groups by %s say that they fit, or do not", g.by)
	}
	for _, s := range [...][2]*side{{&g.bids.side, &fresh.bids.side}, {&g.asks.side, &fresh.asks.side}} {
		if !slices.Equal(s[0].copyTo(nil), s[1].copyTo(nil)) {
			b.broke("its groups by %s differ from those made anew", g.by)
		}
	}
}
