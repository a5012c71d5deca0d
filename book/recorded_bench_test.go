package book

import (
	"fmt"
	"math"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// BenchmarkRecordedSetLevel: the levels of recordings set one after the other,
// without the records around them, round all books; in the ladder, and in a sorted
// list alone.
func BenchmarkRecordedSetLevel(b *testing.B) {
	for _, name := range []string{"usdm-btc", "usdm-eth", "spot-btc", "spot-eth"} {
		s := recorded(b, name)
		for _, books := range []int{1, 1000, 5000} {
			for _, kept := range []string{"ladder", "sorted"} {
				b.Run(fmt.Sprintf("%s/books=%d/%s", name, books, kept), func(b *testing.B) {
					benchmarkRecordedSetLevel(b, s, books, kept == "sorted")
				})
			}
		}
	}
}

func benchmarkRecordedSetLevel(b *testing.B, s *recording, books int, sorted bool) {
	changes := s.changes
	all := make([][2]side, books)
	start := func() {
		for i := range all {
			for j, levels := range [][]proto.Level{s.bids, s.asks} {
				if all[i][j].which == 0 {
					all[i][j] = newSide(proto.Side(j+1), 50_000)
				}
				all[i][j].clear()
				if err := all[i][j].fill(levels); err != nil {
					b.Fatal(err)
				}
				if sorted {
					all[i][j].levels.flatten()
				}
			}
		}
	}
	start()
	m := measure(b)
	for i := range b.N {
		at := i / books % len(changes)
		if i > 0 && at == 0 && i%books == 0 {
			m.pause(start)
		}
		c := &changes[at]
		if err := all[i*7919%books][c.side-1].set(c.level.Price, c.level.Qty, 0); err != nil {
			b.Fatal(err)
		}
	}
	m.stop()
}

// flatten keeps the levels in a sorted list from now on.
func (s *levels) flatten() {
	s.spill(0, len(s.near.blocks))
	s.near, s.patience = ladder{}, math.MaxInt32
}
