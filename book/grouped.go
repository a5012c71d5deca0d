package book

import (
	"fmt"
	"math"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// grouping is a book seen through a price increment: the levels of each side
// summed over it, a bid counting for the multiple at or below its price, an ask for
// the one at or above. All views of one increment share it; it is made for the
// first and goes with the last. From record to record only the groups change whose
// levels were touched.
//
// Invariant: while built, groups are those of the book's levels as they were when
// its views were last told.
type grouping struct {
	by       proto.Group
	exponent int8  // of the book's prices
	unit     int64 // by as a price mantissa
	err      error // why the book's prices cannot be grouped so, under a later exponent
	views    int
	built    bool

	bids, asks groupedSide

	// beyond is how many levels have a group whose price does not fit 64 bits. They
	// are in no group.
	beyond int
}

// groupedSide holds the groups of one side. In a level of it count is what views
// show, 0 where it is not known; head is how many of its levels come without a
// count, tail the sum of the counts of the others.
type groupedSide struct {
	side
	// carry has the groups whose sum does not fit 64 bits, by key: how often 2^63
	// goes into the sum, the rest being the level's quantity.
	carry    map[int64]int32
	maxCount uint32 // a greater order count counts as not known, so that no sum overflows
}

// newGrouping returns a grouping of b that is not built. Errors wrap proto.ErrBadView.
func (b *book) newGrouping(by proto.Group) (*grouping, error) {
	g := &grouping{by: by, bids: newGroupedSide(&b.bids), asks: newGroupedSide(&b.asks)}
	g.denominate(b.exponents.Price)
	return g, g.err
}

func newGroupedSide(of *side) groupedSide {
	return groupedSide{side: newSide(of.which, of.most), maxCount: math.MaxUint32 / uint32(of.most)}
}

// denominate puts g, which is then not built, under an exponent of prices.
func (g *grouping) denominate(exponent int8) {
	g.tear()
	g.exponent = exponent
	g.unit, g.err = g.by.Under(exponent)
}

// tear gives up what g has built.
func (g *grouping) tear() {
	g.built, g.beyond = false, 0
	for _, s := range [...]*groupedSide{&g.bids, &g.asks} {
		s.clear()
		s.carry, s.touched = nil, nil
	}
}

// build makes all groups anew.
func (g *grouping) build(b *book) {
	g.tear()
	g.built = true
	g.fill(&g.bids, &b.bids)
	g.fill(&g.asks, &b.asks)
	g.bids.tracking, g.asks.tracking = true, true
}

// fill makes the groups of one side. They are placed from the worst on, as sides
// grow best.
func (g *grouping) fill(to *groupedSide, from *side) {
	to.tracking = false
	levels := from.copyTo(make([]rung, 0, from.len()))
	for i := len(levels) - 1; i >= 0; i-- {
		l := &levels[i]
		g.move(to, &touch{key: l.key, after: l.qty, count: l.count})
	}
	to.levels.settle()
}

// follow takes over what the batch touched, which is settled.
func (g *grouping) follow(b *book) {
	for _, s := range [...]struct {
		to   *groupedSide
		from *side
	}{{&g.bids, &b.bids}, {&g.asks, &b.asks}} {
		if cap(s.to.touched) > keptTouches {
			s.to.touched = nil
		}
		s.to.touched = s.to.touched[:0]
		s.to.levels.follow()
		for i := range s.from.touched {
			g.move(s.to, &s.from.touched[i])
		}
		s.to.settle()
	}
}

// keptTouches is how many touches a side has room for between batches.
const keptTouches = 4096

// move takes the group of a level from what the level was to what it is.
func (g *grouping) move(to *groupedSide, t *touch) {
	key, fits := g.key(to, t.key)
	if !fits {
		g.beyond += one(t.after > 0) - one(t.before > 0)
		return
	}
	l := to.get(key)
	switch {
	case l != nil:
		to.touch(key, l.qty, l.count)
	case t.after == 0:
		return // came and went
	default:
		to.touch(key, 0, 0)
		l = to.place(key)
	}
	to.add(l, key, t.after)
	to.subtract(l, key, t.before)
	to.recount(l, t)
	if l.qty == 0 && to.carry[key] == 0 {
		to.remove(key)
	}
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// key returns the key of the group that the level of key belongs to; false where
// 64 bits do not hold it.
func (g *grouping) key(s *groupedSide, key int64) (int64, bool) {
	price := key ^ s.mask
	over := price % g.unit
	switch {
	case s.which == proto.Bid && over < 0:
		over += g.unit // rounded down, over and all
	case s.which == proto.Ask && over > 0:
		over -= g.unit
	}
	group := price - over
	return group ^ s.mask, (group <= price) == (over >= 0)
}

func (s *groupedSide) add(l *level, key, qty int64) {
	if l.qty <= math.MaxInt64-qty {
		l.qty += qty
		return
	}
	l.qty += qty - math.MaxInt64 - 1
	if s.carry == nil {
		s.carry = map[int64]int32{}
	}
	s.carry[key]++
}

func (s *groupedSide) subtract(l *level, key, qty int64) {
	if l.qty >= qty {
		l.qty -= qty
		return
	}
	l.qty += math.MaxInt64 - qty + 1
	if s.carry[key]--; s.carry[key] == 0 {
		delete(s.carry, key)
	}
}

// recount takes the order count of l from what that of one of its levels was to
// what it is.
func (s *groupedSide) recount(l *level, t *touch) {
	known := func(qty int64, count uint32) (sum, without uint32) {
		switch {
		case qty == 0:
			return 0, 0
		case count == 0 || count > s.maxCount:
			return 0, 1
		}
		return count, 0
	}
	was, wasWithout := known(t.before, t.had)
	is, isWithout := known(t.after, t.count)
	l.tail += is - was
	l.head += isWithout - wasWithout
	l.count = l.tail
	if l.head > 0 {
		l.count = 0
	}
}

// fits reports whether every group can be shown: its price and its sum are within
// 64 bits.
func (g *grouping) fits() bool { return g.beyond+len(g.bids.carry)+len(g.asks.carry) == 0 }

// grouping returns the grouping of b by that increment, made anew where no view
// has it. Errors wrap proto.ErrBadView.
func (b *book) grouping(by proto.Group) (*grouping, error) {
	for _, g := range b.groupings {
		if g.by == by && g.err == nil {
			return g, nil
		}
	}
	g, err := b.newGrouping(by)
	if err == nil && b.shown() {
		g.build(b)
	}
	return g, err
}

// open keeps g for one more view of b. Error: proto.ErrTooManyGroups.
func (g *grouping) open(b *book) error {
	if g.views == 0 {
		if len(b.groupings) >= b.engine.config.MaxGroups {
			return fmt.Errorf("book: %s: %w", b.symbol, proto.ErrTooManyGroups)
		}
		b.groupings = append(b.groupings, g)
	}
	g.views++
	return nil
}

// ungroup gives up v's part in its grouping, if it has one, and the grouping with
// the last.
func (v *View) ungroup() {
	g := v.grouping
	if g == nil {
		return
	}
	v.grouping = nil
	if g.views--; g.views == 0 {
		v.book.groupings = slices.DeleteFunc(v.book.groupings, func(o *grouping) bool { return o == g })
	}
}

// regroup brings the groupings to where the book is, before their views are told:
// visible says that the book is shown, reset that what was shown of it is void.
func (b *book) regroup(visible, reset bool) {
	for _, g := range b.groupings {
		if g.exponent != b.exponents.Price {
			g.denominate(b.exponents.Price)
		}
		switch {
		case g.err != nil:
		case !visible:
			g.tear()
		case reset || !g.built:
			g.build(b)
		default:
			g.follow(b)
		}
	}
}
