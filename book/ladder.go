package book

import (
	"math"
	"math/bits"
)

const blockTicks = 64

// ladder keeps the levels whose keys lie in its span. A key's tick, which is its
// distance from the base in units, says where its level is: in a block of 64
// ticks, which has a bit for each tick with a level and keeps these levels side by
// side, rising; or each at its tick, once they fill half of it. So a level is found
// in constant time, wherever it is, and what is kept is little more than the
// levels, however thin they are spread.
//
// Another bit for each block that has levels makes the next one easy to find.
type ladder struct {
	// What every search needs.
	base    int64
	inverse uint64 // of the odd part of the unit, modulo 2^64
	ticks   uint64 // 64 a block
	twos    uint8  // factors 2 of the unit
	blocks  []block
	slab    []level // the blocks' levels; 0 is never used

	unit int64
	n    int
	used []uint64 // a bit for each block with levels
	free [classes]uint32
}

// block is 64 ticks of a ladder. Its levels begin at slab[at], with room for
// 1<<class of them.
type block struct {
	bits  uint64 // a bit for each tick with a level
	at    uint32
	class uint8
}

// classes of room in the slab: 1, 2, 4 … 64 levels. In one of the last class every
// tick has its place. Free rooms of a class are chained by the head of their first
// level.
const (
	classes = 7
	placed  = classes - 1
)

// place returns where in the slab the level of a tick of b is, or would be.
func (b *block) place(tick uint64) int {
	if b.class == placed {
		return int(b.at) + int(tick)
	}
	return int(b.at) + bits.OnesCount64(b.bits&(1<<tick-1))
}

// tick returns the tick of key, at least l.ticks for one that is not in the span.
//
// The distance is divided by multiplication: by the inverse of the unit's odd part,
// then the factors 2 are rotated out. That is exact for multiples of the unit and
// gives more than (2^64-1)/unit, which is more than any ladder has, for all others.
func (l *ladder) tick(key int64) uint64 {
	return bits.RotateLeft64(uint64(key-l.base)*l.inverse, -int(l.twos))
}

// key returns the key of a tick.
func (l *ladder) key(tick int) int64 { return l.base + int64(tick)*l.unit }

// get returns the level of key, nil where there is none, and whether key lies in
// the span.
func (l *ladder) get(key int64) (*level, bool) {
	t := l.tick(key)
	if t >= l.ticks {
		return nil, false
	}
	b := &l.blocks[t/blockTicks]
	if b.bits>>(t%blockTicks)&1 == 0 {
		return nil, true
	}
	return &l.slab[b.place(t%blockTicks)], true
}

// put makes the level of a tick, which must not be there.
func (l *ladder) put(t uint64) *level {
	i, tick := t/blockTicks, t%blockTicks
	b := &l.blocks[i]
	n := bits.OnesCount64(b.bits)
	switch {
	case n == 0:
		b.at, b.class = l.room(0), 0
		l.used[i/64] |= 1 << (i % 64)
	case n == 1<<b.class:
		l.move(b, b.class+1)
	}
	at := b.place(tick)
	if b.class != placed {
		levels := l.slab[at : int(b.at)+n+1]
		copy(levels[1:], levels)
	}
	b.bits |= 1 << tick
	l.n++
	l.slab[at] = level{}
	return &l.slab[at]
}

// remove takes the level of a tick away, which must be there.
func (l *ladder) remove(t uint64) {
	i, tick := t/blockTicks, t%blockTicks
	b := &l.blocks[i]
	n := bits.OnesCount64(b.bits)
	if b.class != placed {
		levels := l.slab[b.place(tick) : int(b.at)+n]
		copy(levels, levels[1:])
	}
	b.bits &^= 1 << tick
	l.n--
	switch {
	case n == 1:
		l.drop(int(i))
	case n-1 <= 1<<b.class/4:
		l.move(b, b.class-1)
	}
}

// drop frees the room of a block, which is empty.
func (l *ladder) drop(i int) {
	b := &l.blocks[i]
	l.give(b.at, b.class)
	*b = block{}
	l.used[uint(i)/64] &^= 1 << (uint(i) % 64)
}

// move takes the levels of a block to room of another class.
func (l *ladder) move(b *block, class uint8) {
	was := *b
	b.at, b.class = l.room(class), class
	b.fill(l.slab, &was, l.slab)
	l.give(was.at, was.class)
}

// fill copies the levels of a block to where b, of the same levels, has room.
func (b *block) fill(slab []level, from *block, levels []level) {
	for word := b.bits; word != 0; word &= word - 1 {
		tick := uint64(bits.TrailingZeros64(word))
		slab[b.place(tick)] = levels[from.place(tick)]
	}
}

// room returns a room of a class.
func (l *ladder) room(class uint8) uint32 {
	if at := l.free[class]; at != 0 {
		l.free[class] = l.slab[at].head
		return at
	}
	at := len(l.slab)
	need := at + 1<<class
	if need > cap(l.slab) {
		grown := make([]level, at, need+need/4)
		copy(grown, l.slab)
		l.slab = grown
	}
	l.slab = l.slab[:need]
	return uint32(at)
}

func (l *ladder) give(at uint32, class uint8) {
	l.slab[at].head = l.free[class]
	l.free[class] = at
}

// loose reports whether much more of the slab is free than is in use.
func (l *ladder) loose() bool { return len(l.slab) > 8*l.n+leastLoose }

const leastLoose = 256

// pack makes the slab anew, without what is free.
func (l *ladder) pack() {
	old := l.slab
	l.slab, l.free = make([]level, 1, 2*l.n+blockTicks), [classes]uint32{}
	for i := l.before(len(l.blocks)); i >= 0; i = l.before(i) {
		b := &l.blocks[i]
		was := *b
		b.class = uint8(bits.Len(uint(bits.OnesCount64(b.bits) - 1)))
		b.at = l.room(b.class)
		b.fill(l.slab, &was, old)
	}
}

// clear takes all levels away. The span stays.
func (l *ladder) clear() {
	if l.n == 0 {
		return
	}
	for i := l.before(len(l.blocks)); i >= 0; i = l.before(i) {
		l.blocks[i] = block{}
	}
	clear(l.used)
	l.slab, l.free, l.n = l.slab[:1], [classes]uint32{}, 0
}

// before returns the last block before i that has levels, -1 for none.
func (l *ladder) before(i int) int {
	if i <= 0 {
		return -1
	}
	i--
	w := i / 64
	if word := l.used[w] << (63 - uint(i)%64); word != 0 {
		return i - bits.LeadingZeros64(word)
	}
	for w--; w >= 0; w-- {
		if word := l.used[w]; word != 0 {
			return w*64 + 63 - bits.LeadingZeros64(word)
		}
	}
	return -1
}

// nth returns the key of the level that has n-1 better ones; it must be there.
func (l *ladder) nth(n int) int64 {
	i := l.before(len(l.blocks))
	for {
		here := bits.OnesCount64(l.blocks[i].bits)
		if n <= here {
			break
		}
		n -= here
		i = l.before(i)
	}
	word := l.blocks[i].bits
	for ; n > 1; n-- {
		word &^= 1 << (63 - bits.LeadingZeros64(word))
	}
	return l.key(i*blockTicks + 63 - bits.LeadingZeros64(word))
}

// best returns the greatest key; there must be a level.
func (l *ladder) best() int64 { return l.nth(1) }

// cut takes the levels below key away.
func (l *ladder) cut(key int64) {
	if l.n == 0 || key <= l.base {
		return
	}
	i, below := l.begins(key - 1)
	for ; below != 0; below &= below - 1 {
		l.remove(uint64(i*blockTicks + bits.TrailingZeros64(below)))
	}
	for j := l.before(i); j >= 0; j = l.before(j) {
		l.n -= bits.OnesCount64(l.blocks[j].bits)
		l.drop(j)
	}
}

// begins returns where a walk from the greatest key that is at most from begins:
// a block, and a bit for each of its ticks that are still to come.
func (l *ladder) begins(from int64) (int, uint64) {
	switch {
	case l.n == 0 || from < l.base:
		return 0, 0
	case uint64(from-l.base) >= l.ticks*uint64(l.unit):
		return len(l.blocks), 0
	}
	t := int((from - l.base) / l.unit)
	return t / blockTicks, l.blocks[t/blockTicks].bits & (math.MaxUint64 >> (63 - t%blockTicks))
}
