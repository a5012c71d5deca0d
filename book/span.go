package book

import (
	"cmp"
	"math/bits"
	"slices"
)

// Spans are chosen from what is there alone: the unit from how far the levels lie
// apart, the place from where the best are, the size from how far they spread. A
// wild price or two change none of these.

// span is the part of all keys that a ladder covers: every unit-th one from base
// on, 64 a block.
type span struct {
	base, unit int64
	blocks     int
}

const (
	mostBlocks = 4096 // 64 KiB a side
	// Spans lie within these bounds, so that no sum within them overflows.
	mostUnit = 1 << 40
	mostKey  = 1 << 61
)

// follow lets the span follow the levels where that is due. Levels that get
// returned are not valid any more.
func (s *levels) follow() {
	if s.debt > s.patience {
		s.reconsider()
	}
}

// settle chooses the span after many levels came at once, as a snapshot.
func (s *levels) settle() {
	if len(s.far.rungs) > fewLevels {
		s.reconsider()
	}
}

const leastPatience = 64

func (s *levels) reconsider() {
	s.debt = 0
	f, ok := s.wanted()
	if !ok || f == s.near.span() {
		// As good as it gets: ask less and less often.
		s.patience = min(2*s.patience+leastPatience, 1<<20)
		return
	}
	s.patience = int32(max(leastPatience, s.len()/2))
	s.moveTo(f)
}

func (l *ladder) span() span { return span{l.base, l.unit, len(l.blocks)} }

// wanted returns the span that suits the levels; false where none does.
func (s *levels) wanted() (span, bool) {
	if s.len() <= fewLevels {
		return span{}, false
	}
	var keys [sampled]int64
	var gaps [sampled]uint64
	m := s.sample(&keys, &gaps)
	pivot := keys[m/8] // a few levels may be better and far away
	if pivot < -mostKey || pivot > mostKey {
		return span{}, false
	}
	most := 1 << min(bits.Len(uint(s.len()))-1, bits.Len(mostBlocks)-1)
	unit := commonUnit(gaps[m/8 : m*3/4])
	spread := func(unit int64) int {
		return int(min(uint64(pivot-keys[m-1])/uint64(unit)/blockTicks, mostBlocks))
	}
	if u := s.near.unit; u != 0 && unit%u == 0 && (pivot-s.near.base)%u == 0 && spread(u) < most {
		unit = u // another would move every level
	}
	if unit <= 0 || unit > mostUnit {
		return span{}, false
	}
	best := pivot
	for _, key := range keys[:m/8] {
		if uint64(key-pivot)/uint64(unit) < uint64(most)*blockTicks/4 {
			best = key
			break
		}
	}
	return place(best, pivot, unit, min(most, 1<<bits.Len(uint(spread(unit)*5/4+1)))), true
}

const sampled = 256

// sample fills in keys, evenly spaced, best first, and how far each is from the
// next of all levels. It returns how many.
func (s *levels) sample(keys *[sampled]int64, gaps *[sampled]uint64) int {
	stride := (s.len() + sampled - 1) / sampled
	n := 0
	w := s.walk(s.top)
	for i := 0; w.next() != nil; i++ {
		if n > 0 && (i-1)%stride == 0 {
			gaps[n-1] = uint64(keys[n-1] - w.key)
		}
		if i%stride == 0 {
			keys[n] = w.key
			n++
		}
	}
	return n
}

// commonUnit returns the greatest number that divides gaps, but for a quarter of
// them at most, which may be off the tick. It makes use of gaps; 0: there is none.
func commonUnit(gaps []uint64) int64 {
	for i := range len(gaps) - 1 {
		gaps[i] = divisor(gaps[i], gaps[i+1])
	}
	gaps = gaps[:len(gaps)-1]
	slices.Sort(gaps) // strays make small ones
	var unit uint64
	for _, gap := range gaps[len(gaps)/4:] {
		unit = divisor(unit, gap)
	}
	return int64(min(unit, mostUnit+1))
}

// divisor is the greatest common one.
func divisor(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// place puts a span on the grid of pivot so that best has some room above it. It
// moves by eighths of itself, so that it is the same for prices that are near.
func place(best, pivot, unit int64, blocks int) span {
	step := int64(max(1, blocks/8)) * blockTicks
	rest := floorMod(pivot, unit)
	tick := (best - rest - floorMod(best-rest, unit)) / unit
	end := tick - floorMod(tick, step) + 2*step
	return span{base: (end-int64(blocks)*blockTicks)*unit + rest, unit: unit, blocks: blocks}
}

func floorMod(a, b int64) int64 { return ((a % b) + b) % b }

// moveTo gives the ladder another span. Blocks that both have stay as they are.
func (s *levels) moveTo(f span) {
	before := s.mirror.image(s)
	l := &s.near
	moved := len(l.blocks) + f.blocks // in blocks; so far: none stays
	if width := blockTicks * f.unit; l.unit == f.unit && (f.base-l.base)%width == 0 {
		if d := (f.base - l.base) / width; -int64(moved) < d && d < int64(moved) {
			moved = int(d)
		}
	}
	first := min(max(0, moved), len(l.blocks))
	last := max(first, min(len(l.blocks), moved+f.blocks))
	s.spill(0, first)
	s.spill(last, len(l.blocks))
	old := l.blocks
	if len(old) != f.blocks {
		l.blocks, l.used = make([]block, f.blocks), make([]uint64, (f.blocks+63)/64)
	}
	if first < last {
		copy(l.blocks[first-moved:], old[first:last])
		clear(l.blocks[:first-moved])
		clear(l.blocks[last-moved:])
	}
	clear(l.used)
	for i := range l.blocks {
		if l.blocks[i].bits != 0 {
			l.used[i/64] |= 1 << (i % 64)
		}
	}
	l.set(f)
	s.gather()
	s.mirror.same(s, before)
}

// set makes f the ladder's span.
func (l *ladder) set(f span) {
	l.base, l.unit, l.ticks = f.base, f.unit, uint64(f.blocks)*blockTicks
	l.twos = uint8(bits.TrailingZeros64(uint64(f.unit)))
	odd := uint64(f.unit) >> l.twos
	l.inverse = odd // right in its last 3 bits; each step doubles them
	for range 5 {
		l.inverse *= 2 - odd*l.inverse
	}
	if len(l.slab) == 0 {
		l.slab = make([]level, 1)
	}
}

// spill moves the levels of the blocks from first to last to the far ones.
func (s *levels) spill(first, last int) {
	l := &s.near
	n := len(s.far.rungs)
	for i := first; i < last; i++ {
		b := &l.blocks[i]
		if b.bits == 0 {
			continue
		}
		for word := b.bits; word != 0; word &= word - 1 {
			tick := bits.TrailingZeros64(word)
			s.far.rungs = append(s.far.rungs, rung{l.key(i*blockTicks + tick), l.slab[b.place(uint64(tick))]})
			l.n--
		}
		l.drop(i)
	}
	if rungs := s.far.rungs; n > 0 && n < len(rungs) && rungs[n-1].key > rungs[n].key {
		slices.SortFunc(rungs, func(a, b rung) int { return cmp.Compare(a.key, b.key) })
	}
}

// gather moves the far levels that lie in the span to the ladder.
func (s *levels) gather() {
	l := &s.near
	from, _ := s.far.find(l.base)
	to, _ := s.far.find(l.key(int(l.ticks)))
	rungs := s.far.rungs
	kept := from
	for _, r := range rungs[from:to] {
		if t := l.tick(r.key); t < l.ticks {
			*l.put(t) = r.level
		} else {
			rungs[kept] = r
			kept++
		}
	}
	s.far.rungs = rungs[:kept+copy(rungs[kept:], rungs[to:])]
	if cap(rungs) > 2*len(s.far.rungs)+fewLevels {
		s.far.rungs = slices.Clone(s.far.rungs)
	}
	if l.loose() {
		l.pack()
	}
}
