package ring

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// delta has the size of an entry that is usual: some pointers and counters.
type delta struct {
	seq uint64
	_   uint64                    // prev
	_   [2]atomic.Pointer[[]byte] // frames
	_   []uint64                  // levels
}

func BenchmarkPublish(b *testing.B) {
	for _, readers := range []int{0, 1, 4} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			r, err := New[delta](Config{MinEntries: 1024, MaxEntries: 1024, Budget: NewBudget(1 << 30)})
			if err != nil {
				b.Fatal(err)
			}
			var (
				done  atomic.Bool
				group sync.WaitGroup
				read  atomic.Uint64
			)
			for range readers {
				group.Go(func() {
					position, seen := uint64(1), uint64(0)
					for !done.Load() {
						switch _, status := r.Get(position); status {
						case OK:
							position++
							seen++
						case Lapped:
							position = max(position+1, r.Oldest())
						case Empty:
							runtime.Gosched()
						}
					}
					read.Add(seen)
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				r.Publish(&Entry[delta]{Value: delta{seq: uint64(i)}}, 5, 200, int64(i))
			}
			b.StopTimer()
			done.Store(true)
			group.Wait()
			if readers > 0 {
				b.ReportMetric(float64(read.Load())/float64(b.N), "reads/op")
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	r, err := New[delta](Config{MinEntries: 1024, MaxEntries: 1024})
	if err != nil {
		b.Fatal(err)
	}
	for range 1024 {
		r.Publish(&Entry[delta]{}, 5, 200, 0)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, status := r.Get(uint64(i&1023) + 1); status != OK {
			b.Fatal(status)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	r, err := New[delta](Config{MinEntries: 1024, MaxEntries: 1024})
	if err != nil {
		b.Fatal(err)
	}
	for i := range uint64(1024) {
		r.Publish(&Entry[delta]{Value: delta{seq: i * 10}}, 5, 200, 0)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		wanted := uint64(i % 10000)
		if _, status := r.Search(func(e *Entry[delta]) bool { return e.Value.seq > wanted }); status != OK {
			b.Fatal(status)
		}
	}
}
