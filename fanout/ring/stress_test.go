package ring

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// reader follows a ring and notes what it met.
type reader struct {
	laps    atomic.Uint64
	seen    uint64
	wrong   uint64 // entries that were not what was asked for
	skipped uint64 // positions lost to laps
}

// follow reads until the writer is done and the head is reached. Every pause
// entries it waits until it has been overtaken, unless the writer is done.
func (m *reader) follow(r *Ring[payload], pause uint64, done *atomic.Bool) {
	position := uint64(1)
	for {
		ended := done.Load() // before Get: a head seen afterwards is the last
		e, status := r.Get(position)
		switch status {
		case OK:
			if e.Position() != position || e.Value.n != position*7 || e.Total() != position*3 {
				m.wrong++
			}
			m.seen++
			position++
			for pause > 0 && m.seen%pause == 0 && r.Oldest() <= position && !done.Load() {
				runtime.Gosched()
			}
		case Lapped:
			m.laps.Add(1)
			next := max(r.Oldest(), position+1)
			m.skipped += next - position
			position = next
		case Empty:
			if ended {
				return
			}
			runtime.Gosched()
		}
	}
}

func TestLappedReadersNeverSeeAWrongEntry(t *testing.T) {
	for name, c := range map[string]Config{
		"small":   {MinEntries: 4, MaxEntries: 4},
		"growing": {MinEntries: 1, MaxEntries: 256, Window: 1},
		"bytes":   {MinEntries: 2, MaxEntries: 64, MaxBytes: 4096},
		"budget":  {MinEntries: 2, MaxEntries: 64, Budget: NewBudget(2048)},
	} {
		t.Run(name, func(t *testing.T) { stress(t, c) })
	}
}

func stress(t *testing.T, c Config) {
	const (
		entries = 200_000 // published at least
		laps    = 100     // of each slow reader, at least
		limit   = 5_000_000
	)
	r := newRing(t, c)
	readers := make([]reader, 4)
	var (
		done  atomic.Bool
		group sync.WaitGroup
	)
	for i := range readers {
		group.Go(func() { readers[i].follow(r, uint64(i)*5, &done) }) // reader 0 never pauses
	}
	lapped := func() bool {
		for i := range readers[1:] {
			if readers[i+1].laps.Load() < laps {
				return false
			}
		}
		return true
	}
	for r.Head() < entries || !lapped() && r.Head() < limit {
		e := &Entry[payload]{Value: payload{(r.Head() + 1) * 7}}
		r.Publish(e, 3, uint32(r.Head()%50), int64(r.Head()))
		if r.Head()%64 == 0 {
			runtime.Gosched()
		}
		switch r.Head() % 5000 {
		case 0:
			r.Expire(int64(r.Head()) - 3)
		case 2500:
			r.Release()
		}
	}
	done.Store(true)
	group.Wait()

	for i := range readers {
		m := &readers[i]
		if m.wrong != 0 {
			t.Errorf("reader %d saw %d wrong entries", i, m.wrong)
		}
		if m.seen+m.skipped != r.Head() {
			t.Errorf("reader %d saw %d and skipped %d of %d entries", i, m.seen, m.skipped, r.Head())
		}
		if i > 0 && m.laps.Load() < laps {
			t.Errorf("reader %d was lapped %d times: this test proves nothing", i, m.laps.Load())
		}
		t.Logf("reader %d: seen %d, lapped %d times, skipped %d", i, m.seen, m.laps.Load(), m.skipped)
	}
}
