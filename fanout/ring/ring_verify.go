//go:build verify

package ring

import "sync/atomic"

// writerCheck panics when two goroutines write to one ring at the same time, or
// when BeforeGiveUp writes to the ring that calls it.
type writerCheck struct{ inside atomic.Bool }

func (c *writerCheck) enter() {
	if !c.inside.CompareAndSwap(false, true) {
		panic("ring: a second writer entered a ring that is being written to; only the holder of the partition's lock may publish")
	}
}

func (c *writerCheck) leave() { c.inside.Store(false) }

// fresh panics when an entry is published that already has a position: readers
// may be looking at it.
func (c *writerCheck) fresh(position uint64) {
	if position != 0 {
		panic("ring: an entry was published twice; entries never change once published")
	}
}
