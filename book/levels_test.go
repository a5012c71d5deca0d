package book

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/depthcast/depthcast/proto"
	"pgregory.net/rapid"
)

// drawKeys are ways in which prices are spread; each is a function of a chooser
// and of the number of the step.
var drawKeys = map[string]func(choose chooser, step int) int64{
	"dense":    func(choose chooser, _ int) int64 { return int64(choose(400)) },
	"negative": func(choose chooser, _ int) int64 { return -int64(choose(400)) * 25 },
	"sparse":   func(choose chooser, _ int) int64 { return int64(choose(15_000)) * 10 },
	"too thin": func(choose chooser, _ int) int64 { return int64(choose(10_000_000)) * 10 },
	"drifting": func(choose chooser, step int) int64 { return int64(step)*7 + int64(choose(3000)) },
	"falling":  func(choose chooser, step int) int64 { return -int64(step)*500 + int64(choose(300))*100 },
	"jumping":  func(choose chooser, step int) int64 { return int64(step/2000)*1_000_003 + int64(choose(500)) },
	"off the tick": func(choose chooser, _ int) int64 {
		return int64(choose(600))*100 + int64(choose(10)/9*choose(100))
	},
	"finer later": func(choose chooser, step int) int64 {
		return int64(choose(600)) * []int64{1000, 10, 7}[min(2, step/3000)]
	},
	"wild": func(choose chooser, _ int) int64 {
		return []int64{0, 0, 0, math.MaxInt64, math.MinInt64, 1 << 61, -1 << 61}[max(0, choose(60)-53)] + int64(choose(800))*3
	},
	"all 64 bits": func(choose chooser, _ int) int64 {
		return int64(uint64(choose(1<<16))<<48 | uint64(choose(1<<16))<<32 | uint64(choose(1<<16))<<(choose(17)))
	},
}

// levelsTest changes levels and a map alike.
type levelsTest struct {
	fatalf func(string, ...any)
	levels levels
	model  map[int64]int64
	spans  map[span]bool
}

func (m *levelsTest) step(key, qty int64) {
	m.levels.follow()
	if m.levels.near.ticks > 0 {
		m.spans[m.levels.near.span()] = true
	}
	l := m.levels.get(key)
	if was := m.model[key]; was == 0 && l != nil || was != 0 && (l == nil || l.qty != was) {
		m.fatalf("key %d: %v, want %d", key, l, was)
	}
	switch {
	case qty == 0 && l != nil:
		m.levels.remove(key)
		delete(m.model, key)
		return
	case qty == 0:
		return
	case l == nil:
		l = m.levels.put(key)
	}
	l.qty, m.model[key] = qty, qty
}

// compare looks at all levels in every way there is.
func (m *levelsTest) compare() {
	var keys []int64
	for key := range m.model {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	slices.Reverse(keys)
	w := m.levels.walk(math.MaxInt64)
	for i, key := range keys {
		l, from, below := w.next(), m.levels.walk(key), m.levels.walk(key-1)
		if l == nil || w.key != key || l.qty != m.model[key] {
			m.fatalf("level %d of the walk is %d, %v; want %d, %d", i, w.key, l, key, m.model[key])
		}
		if from.next() != l {
			m.fatalf("a walk from %d does not begin there", key)
		}
		if next := below.next(); key != math.MinInt64 && (next == nil) != (i+1 == len(keys)) || next != nil && i+1 < len(keys) && key != math.MinInt64 && below.key != keys[i+1] {
			m.fatalf("a walk from below %d begins at %d", key, below.key)
		}
		if edge := m.levels.edge(i + 1); edge != key {
			m.fatalf("edge %d is %d, want %d", i+1, edge, key)
		}
	}
	if l := w.next(); l != nil || m.levels.len() != len(keys) {
		m.fatalf("%d levels, want %d; beyond the last %v", m.levels.len(), len(keys), l)
	}
	if edge := m.levels.edge(len(keys) + 1); edge != math.MinInt64 {
		m.fatalf("the edge beyond all levels is %d", edge)
	}
	if best, ok := m.levels.best(); ok != (len(keys) > 0) || ok && best != keys[0] {
		m.fatalf("best %d, %v of %v", best, ok, keys)
	}
	if most := 400*len(keys) + 64<<10; m.levels.bytes() > most {
		m.fatalf("%d levels take %d bytes", len(keys), m.levels.bytes())
	}
}

// bytes is the memory that the levels take.
func (s *levels) bytes() int {
	return cap(s.near.slab)*int(unsafe.Sizeof(level{})) + cap(s.near.blocks)*int(unsafe.Sizeof(block{})) +
		cap(s.near.used)*8 + cap(s.far.rungs)*int(unsafe.Sizeof(rung{}))
}

// TestLevelsAreKeptWhereverPricesLie holds the ladder to a map while levels come
// and go, and makes sure that there is a ladder, and that it moved.
func TestLevelsAreKeptWhereverPricesLie(t *testing.T) {
	for name, draw := range drawKeys {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			m := levelsTest{t.Fatalf, levels{}, map[int64]int64{}, map[span]bool{}}
			laddered := 0
			for step := range 12_000 {
				m.step(draw(random.IntN, step), random.Int64N(3))
				if step > 300 && random.IntN(3) > 0 { // keep it from growing for ever
					w := m.levels.walk(draw(random.IntN, step-300))
					if w.next() != nil {
						m.step(w.key, 0)
					}
				}
				if step%500 == 0 {
					m.compare()
				}
				if m.levels.near.n > m.levels.len()/2 {
					laddered++
				}
			}
			m.levels.cut(draw(random.IntN, 12_000))
			for key := range m.model {
				if best, _ := m.levels.best(); m.levels.get(key) == nil || key > best {
					delete(m.model, key)
				}
			}
			m.compare()
			m.levels.clear()
			clear(m.model)
			m.compare()
			if thin := name == "all 64 bits" || name == "too thin"; !thin && laddered < 6000 {
				t.Errorf("most levels were in the ladder after %d steps only", laddered)
			}
			if least := map[string]int{"drifting": 10, "falling": 5, "jumping": 4, "finer later": 3}[name]; len(m.spans) < least {
				t.Errorf("%d spans", len(m.spans))
			}
		})
	}
}

func TestAnyRunOfLevelsIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choose := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "") }
		m := levelsTest{t.Fatalf, levels{}, map[int64]int64{}, map[span]bool{}}
		unit, reach := 1+int64(choose(1000)), 1+choose(5000)
		for range choose(300) {
			key := int64(choose(reach)) * unit
			if choose(20) == 0 {
				key = rapid.Int64().Draw(t, "key")
			}
			m.step(key, int64(choose(3)))
			if choose(50) == 0 {
				m.levels.debt = math.MaxInt32 // have the span considered now
			}
		}
		m.compare()
	})
}

// A few prices that are wildly better, or off the tick, do not take the ladder
// from all others; and whatever comes, memory stays in proportion to the levels.
func TestAWildPriceDoesNotBlowUpABook(t *testing.T) {
	m := levelsTest{t.Fatalf, levels{}, map[int64]int64{}, map[span]bool{}}
	random := rand.New(rand.NewPCG(3, 4))
	for _, key := range []int64{math.MaxInt64, 1 << 60, 1<<50 + 1, 2_000_001, math.MinInt64, -1 << 60} {
		m.step(key, 1)
	}
	for range 20_000 {
		m.step(1_000_000+random.Int64N(300)*100, random.Int64N(4))
	}
	m.compare()
	if n := m.levels.len(); m.levels.near.n < n-6 {
		t.Errorf("%d of %d levels are in the ladder, %+v", m.levels.near.n, n, m.levels.near.span())
	}
	if most := 200 * m.levels.len(); m.levels.bytes() > most {
		t.Errorf("%d levels take %d bytes", m.levels.len(), m.levels.bytes())
	}
}

// What a book took for a million orders it takes no longer when they are gone; and
// its levels pay for themselves only.
func TestAMillionOrdersDoNotBlowUpABook(t *testing.T) {
	if verifying || testing.Short() {
		t.Skip("verification looks at every level after each record")
	}
	e := liveEngine(t)
	r := &proto.Batch{Symbol: "SIM:A", Events: make([]proto.Event, 1000)}
	const orders = 1_000_000
	random := rand.New(rand.NewPCG(5, 6))
	for id := uint64(1); id <= orders; {
		r.Seq++
		for i := range r.Events {
			r.Events[i] = proto.Event{Kind: proto.EventAdd, Side: proto.Bid, OrderID: id, Price: -random.Int64N(40_000) * 10, Qty: 1}
			id++
		}
		must(t, e, r)
	}
	b := e.books["SIM:A"]
	if most := 200 * b.bids.len(); b.bids.levels.bytes() > most {
		t.Errorf("%d levels take %d bytes", b.bids.len(), b.bids.levels.bytes())
	}
	if most := 150 * orders; b.orders.bytes() > most {
		t.Errorf("%d orders take %d bytes", orders, b.orders.bytes())
	}
	for id := uint64(1); id < orders; {
		r.Seq++
		for i := range r.Events {
			r.Events[i] = proto.Event{Kind: proto.EventDelete, OrderID: id}
			id++
		}
		must(t, e, r)
	}
	if b.orders.index.n != 0 || b.bids.len() != 0 || b.bids.levels.bytes() > 256<<10 {
		t.Errorf("%d orders are left, and %d levels in %d bytes", b.orders.index.n, b.bids.len(), b.bids.levels.bytes())
	}
	if most := 150 * (8*len(r.Events) + leastSlab); b.orders.bytes() > most {
		t.Errorf("no orders take %d bytes", b.orders.bytes())
	}
	// Nor where they go all at once.
	e = liveEngine(t)
	fill := proto.Event{Kind: proto.EventSnapshot, ByOrder: true}
	for id := range uint64(100_000) {
		fill.BidOrders = append(fill.BidOrders, proto.Order{ID: id + 1, Price: -int64(id % 1000), Qty: 1})
	}
	for _, end := range []proto.Event{
		{Kind: proto.EventClear, SessionStart: true}, {Kind: proto.EventClear}, {Kind: proto.EventNone},
		{Kind: proto.EventSnapshot, ByOrder: true}, {Kind: proto.EventInstrumentEnd, EndReason: proto.ReasonDelisted},
	} {
		r.Seq++
		r.Events = []proto.Event{fill}
		must(t, e, r)
		b := e.books["SIM:A"]
		r.Seq++
		r.Events = []proto.Event{end}
		if _, err := e.Apply(r); (err != nil) != (end.Kind == proto.EventNone) {
			t.Fatal(err)
		}
		if b.orders.index.n != 0 || b.orders.bytes() > 150*leastSlab {
			t.Errorf("after an event of kind %d %d orders take %d bytes", end.Kind, b.orders.index.n, b.orders.bytes())
		}
	}
}

func (o *orders) bytes() int {
	return cap(o.slab)*int(unsafe.Sizeof(order{})) + cap(o.index.cells)*int(unsafe.Sizeof(cell{}))
}
