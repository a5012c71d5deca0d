package book

import "math/bits"

// index finds the slot of an order by its id: open addressing with linear
// probing, at most three quarters full. Id 0 marks a free cell.
type index struct {
	cells []cell // a power of two of them
	shift uint8  // 64 - log2(len(cells))
	n     int
}

type cell struct {
	id   uint64
	slot uint32
}

const leastCells = 16

// home is the cell where id is looked for first (Fibonacci hashing: ids that
// count up spread evenly).
func (x *index) home(id uint64) int { return int(id * 0x9E3779B97F4A7C15 >> x.shift) }

// get returns the slot of id, 0 if it is not there.
func (x *index) get(id uint64) uint32 {
	if x.n == 0 || id == 0 {
		return 0
	}
	for i := x.home(id); ; i = (i + 1) & (len(x.cells) - 1) {
		switch x.cells[i].id {
		case id:
			return x.cells[i].slot
		case 0:
			return 0
		}
	}
}

// put stores the slot of id, which must not be there.
func (x *index) put(id uint64, slot uint32) {
	if 4*(x.n+1) > 3*len(x.cells) {
		x.grow()
	}
	x.n++
	x.place(cell{id, slot})
}

func (x *index) place(c cell) {
	i := x.home(c.id)
	for x.cells[i].id != 0 {
		i = (i + 1) & (len(x.cells) - 1)
	}
	x.cells[i] = c
}

func (x *index) grow() {
	old := x.cells
	x.cells = make([]cell, max(leastCells, 2*len(old)))
	x.shift = uint8(64 - bits.TrailingZeros(uint(len(x.cells))))
	for _, c := range old {
		if c.id != 0 {
			x.place(c)
		}
	}
}

// remove takes id out, which must be there. What follows moves up, so that no
// search meets a hole where it should go on.
func (x *index) remove(id uint64) {
	last := len(x.cells) - 1
	i := x.home(id)
	for x.cells[i].id != id {
		i = (i + 1) & last
	}
	for j := (i + 1) & last; x.cells[j].id != 0; j = (j + 1) & last {
		if (j-x.home(x.cells[j].id))&last >= (j-i)&last {
			x.cells[i] = x.cells[j]
			i = j
		}
	}
	x.cells[i] = cell{}
	x.n--
}

func (x *index) clear() {
	if x.n > 0 {
		clear(x.cells)
		x.n = 0
	}
}
