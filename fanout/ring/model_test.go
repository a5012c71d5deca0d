package ring

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// naive says in the plainest way what a ring holds: all entries ever published,
// and the index of the first that is still present.
type naive struct {
	config  Config
	all     []naiveEntry
	gone    int // entries given up; the oldest present is all[gone]
	slots   int
	budget  *naiveBudget
	lowered int // highest oldest position announced
}

type naiveEntry struct {
	levels uint32
	size   int64
	at     int64
}

// naiveBudget adds up what its rings hold each time it is asked.
type naiveBudget struct {
	limit int64
	rings []*naive
}

func (b *naiveBudget) used() (bytes int64) {
	for _, n := range b.rings {
		bytes += n.bytes()
	}
	return bytes
}

func (n *naive) bytes() (bytes int64) {
	for _, e := range n.all[n.gone:] {
		bytes += e.size
	}
	return bytes
}

func (n *naive) present() int { return len(n.all) - n.gone }

func (n *naive) publish(levels, bytes uint32, now int64) {
	n.all = append(n.all, naiveEntry{levels, int64(bytes) + entryBytes, now})
	for n.present() > n.config.KeepEntries &&
		(n.bytes() > n.config.MaxBytes || n.budget.used() > n.budget.limit) {
		n.gone++
	}
	if n.present() <= n.slots {
		return
	}
	if now-n.all[n.gone].at < int64(n.config.Window) && n.slots < n.config.MaxEntries {
		n.slots *= 2
		return
	}
	n.gone++
}

func (n *naive) expire(before int64) {
	for n.present() > n.config.KeepEntries && n.all[n.gone].at < before {
		n.gone++
	}
}

func (n *naive) get(position uint64) Status {
	switch {
	case position > uint64(len(n.all)):
		return Empty
	case position <= uint64(n.gone):
		return Lapped
	}
	return OK
}

// pair is a ring and what is expected of it.
type pair struct {
	ring *Ring[payload]
	*naive
}

func drawPair(t *rapid.T, budget *Budget, model *naiveBudget) *pair {
	small := rapid.IntRange(0, 3).Draw(t, "min")
	c := Config{
		MinEntries: 1 << small,
		MaxEntries: 1 << (small + rapid.IntRange(0, 4).Draw(t, "max")),
		MaxBytes:   rapid.Int64Range(1, 3000).Draw(t, "bytes"),
		Window:     time.Duration(rapid.IntRange(1, 50).Draw(t, "window")),
		Budget:     budget,
	}
	c.KeepEntries = rapid.IntRange(1, c.MinEntries).Draw(t, "keep")
	p := &pair{naive: &naive{config: c, slots: c.MinEntries, budget: model}}
	c.BeforeGiveUp = func(oldest uint64) { p.lowered = int(oldest) }
	r, err := New[payload](c)
	if err != nil {
		t.Fatal(err)
	}
	p.ring = r
	model.rings = append(model.rings, p.naive)
	return p
}

func (p *pair) check(t *rapid.T) {
	if p.ring.Head() != uint64(len(p.all)) || p.ring.Oldest() != uint64(p.gone)+1 {
		t.Fatalf("present %d…%d, want %d…%d", p.ring.Oldest(), p.ring.Head(), p.gone+1, len(p.all))
	}
	if p.ring.Bytes() != p.bytes() {
		t.Fatalf("bytes %d, want %d", p.ring.Bytes(), p.bytes())
	}
	if p.ring.Cap() < p.present() || p.ring.Cap() > p.config.MaxEntries {
		t.Fatalf("%d slots for %d entries, at most %d", p.ring.Cap(), p.present(), p.config.MaxEntries)
	}
	if p.gone > 0 && p.lowered != p.gone+1 {
		t.Fatalf("announced %d, oldest is %d", p.lowered, p.gone+1)
	}
	for position := range uint64(len(p.all)) + 3 {
		e, status := p.ring.Get(position)
		if want := p.get(position); status != want {
			t.Fatalf("Get(%d) = %v, want %v", position, status, want)
		}
		if status == OK && (e.Value.n != position || e.Position() != position) {
			t.Fatalf("Get(%d) returned %d", position, e.Value.n)
		}
	}
}

// checkRange compares Levels and Search over what is present.
func (p *pair) checkRange(t *rapid.T) {
	if p.present() == 0 {
		return
	}
	from := rapid.IntRange(p.gone, len(p.all)-1).Draw(t, "from")
	to := rapid.IntRange(from, len(p.all)-1).Draw(t, "to")
	var want uint64
	for _, e := range p.all[from : to+1] {
		want += uint64(e.levels)
	}
	if got, status := p.ring.Levels(uint64(from+1), uint64(to+1)); status != OK || got != want {
		t.Fatalf("Levels(%d, %d) = %d, %v; want %d", from+1, to+1, got, status, want)
	}
	wanted := rapid.Uint64Range(0, uint64(len(p.all))+1).Draw(t, "wanted")
	e, status := p.ring.Search(func(e *Entry[payload]) bool { return e.Position() >= wanted })
	if first := max(wanted, uint64(p.gone)+1); first > uint64(len(p.all)) {
		if status != Empty {
			t.Fatalf("Search(%d) = %v beyond the head", wanted, status)
		}
	} else if status != OK || e.Position() != first {
		t.Fatalf("Search(%d) = %v, %v; want %d", wanted, e, status, first)
	}
}

func TestRingBehavesAsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(1, 4000).Draw(t, "budget")
		budget, model := NewBudget(limit), &naiveBudget{limit: limit}
		pairs := []*pair{drawPair(t, budget, model), drawPair(t, budget, model)}
		now := int64(0)
		one := func() *pair { return pairs[rapid.IntRange(0, 1).Draw(t, "ring")] }
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				p := one()
				now += rapid.Int64Range(0, 20).Draw(t, "later")
				levels, bytes := rapid.Uint32Range(0, 9).Draw(t, "levels"), rapid.Uint32Range(0, 300).Draw(t, "bytes")
				p.ring.Publish(&Entry[payload]{Value: payload{p.ring.Head() + 1}}, levels, bytes, now)
				p.publish(levels, bytes, now)
				if p.ring.Cap() != p.slots {
					t.Fatalf("%d slots, want %d", p.ring.Cap(), p.slots)
				}
			},
			"expire": func(t *rapid.T) {
				p, before := one(), now-rapid.Int64Range(-5, 40).Draw(t, "age")
				p.ring.Expire(before)
				p.expire(before)
				p.slots = p.ring.Cap() // how far it shrinks is bounded by check
			},
			"release": func(t *rapid.T) {
				p := one()
				p.ring.Release()
				p.gone, p.lowered = len(p.all), len(p.all)+1
				p.slots = p.config.MinEntries
			},
			"range": func(t *rapid.T) { one().checkRange(t) },
			"": func(t *rapid.T) {
				for _, p := range pairs {
					p.check(t)
				}
				if budget.Used() != model.used() {
					t.Fatalf("budget holds %d, want %d", budget.Used(), model.used())
				}
			},
		})
	})
}
