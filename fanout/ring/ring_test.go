package ring

import (
	"errors"
	"testing"
	"time"
	"unsafe"
)

type payload struct{ n uint64 }

const entryBytes = int64(unsafe.Sizeof(Entry[payload]{}))

func newRing(t testing.TB, c Config) *Ring[payload] {
	t.Helper()
	r, err := New[payload](c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// publish publishes count entries of one level each, whose value is their position.
func publish(r *Ring[payload], count int, bytes uint32, now int64) {
	for range count {
		e := &Entry[payload]{Value: payload{r.Head() + 1}}
		r.Publish(e, 1, bytes, now)
	}
}

func expect(t *testing.T, r *Ring[payload], position uint64, want Status) {
	t.Helper()
	e, status := r.Get(position)
	if status != want {
		t.Fatalf("Get(%d) = %v, want %v", position, status, want)
	}
	if (e != nil) != (want == OK) {
		t.Fatalf("Get(%d) = %v with entry %v", position, status, e)
	}
	if e != nil && (e.Position() != position || e.Value.n != position) {
		t.Fatalf("Get(%d) returned the entry of %d with value %d", position, e.Position(), e.Value.n)
	}
}

func TestPositionsStartAtOne(t *testing.T) {
	r := newRing(t, Config{})
	expect(t, r, 0, Lapped)
	expect(t, r, 1, Empty)
	if r.Head() != 0 || r.Oldest() != 1 {
		t.Fatalf("an empty ring has head %d, oldest %d", r.Head(), r.Oldest())
	}
	if position := r.Publish(&Entry[payload]{Value: payload{1}}, 1, 0, 0); position != 1 {
		t.Fatalf("first position %d", position)
	}
	expect(t, r, 0, Lapped)
	expect(t, r, 1, OK)
	expect(t, r, 2, Empty)
}

func TestFullRingGivesUpItsOldestEntries(t *testing.T) {
	r := newRing(t, Config{MinEntries: 4, MaxEntries: 4})
	publish(r, 10, 0, 0)
	for position := uint64(1); position <= 6; position++ {
		expect(t, r, position, Lapped)
	}
	for position := uint64(7); position <= 10; position++ {
		expect(t, r, position, OK)
	}
	if r.Oldest() != 7 || r.Bytes() != 4*entryBytes {
		t.Fatalf("oldest %d, bytes %d", r.Oldest(), r.Bytes())
	}
}

func TestRingGrowsWhileItsOldestEntryIsYoungerThanTheWindow(t *testing.T) {
	r := newRing(t, Config{MinEntries: 4, MaxEntries: 16, Window: time.Second})
	publish(r, 5, 0, 0)
	if r.Cap() != 8 || r.Oldest() != 1 {
		t.Fatalf("cap %d, oldest %d after five young entries", r.Cap(), r.Oldest())
	}
	publish(r, 3, 0, 0)
	// Full again, but the oldest has the age of the window.
	publish(r, 1, 0, int64(time.Second))
	if r.Cap() != 8 || r.Oldest() != 2 {
		t.Fatalf("cap %d, oldest %d once the oldest entry is old", r.Cap(), r.Oldest())
	}
	publish(r, 30, 0, int64(time.Second))
	if r.Cap() != 16 || r.Oldest() != 24 {
		t.Fatalf("cap %d, oldest %d at the limit of entries", r.Cap(), r.Oldest())
	}
	for position := r.Oldest(); position <= r.Head(); position++ {
		expect(t, r, position, OK)
	}
}

func TestEntriesGivenUpForBytesReadAsLapped(t *testing.T) {
	const size = 1000
	r := newRing(t, Config{MaxBytes: 3 * (size + entryBytes)})
	publish(r, 5, size, 0)
	expect(t, r, 2, Lapped)
	expect(t, r, 3, OK)
	if r.Bytes() != 3*(size+entryBytes) {
		t.Fatalf("bytes %d", r.Bytes())
	}
	// One entry above the limit takes all the others and stays.
	publish(r, 1, 1<<20, 0)
	expect(t, r, 5, Lapped)
	expect(t, r, 6, OK)
}

func TestKeptEntriesSurviveByteLimits(t *testing.T) {
	r := newRing(t, Config{MaxBytes: 1, KeepEntries: 3})
	publish(r, 9, 100, 0)
	expect(t, r, 6, Lapped)
	for position := uint64(7); position <= 9; position++ {
		expect(t, r, position, OK)
	}
}

func TestBudgetTakesFromTheRingThatPublishes(t *testing.T) {
	const size = 1000
	budget := NewBudget(10 * (size + entryBytes))
	quiet := newRing(t, Config{Budget: budget})
	busy := newRing(t, Config{Budget: budget})
	publish(quiet, 6, size, 0)
	publish(busy, 100, size, 0)
	if quiet.Oldest() != 1 || busy.Oldest() != 97 {
		t.Fatalf("oldest: quiet %d, busy %d", quiet.Oldest(), busy.Oldest())
	}
	if budget.Used() != budget.Limit() {
		t.Fatalf("used %d of %d", budget.Used(), budget.Limit())
	}
	quiet.Release()
	publish(busy, 100, size, 0)
	if busy.Oldest() != 191 {
		t.Fatalf("oldest %d: the bytes of the released ring are not used", busy.Oldest())
	}
	busy.Release()
	if budget.Used() != 0 {
		t.Fatalf("%d bytes lost", budget.Used())
	}
	expect(t, busy, 200, Lapped)
	expect(t, busy, 201, Empty)
}

func TestExpireMakesAQuietRingSmall(t *testing.T) {
	r := newRing(t, Config{MinEntries: 4, MaxEntries: 1024})
	publish(r, 500, 10, 0)
	publish(r, 2, 10, 100)
	if r.Cap() != 512 {
		t.Fatalf("cap %d", r.Cap())
	}
	r.Expire(100)
	if r.Cap() != 8 || r.Oldest() != 501 {
		t.Fatalf("cap %d, oldest %d", r.Cap(), r.Oldest())
	}
	expect(t, r, 500, Lapped)
	expect(t, r, 501, OK)
	expect(t, r, 502, OK)
	r.Expire(1 << 40)
	expect(t, r, 502, OK) // KeepEntries
	if r.Oldest() != 502 || r.Bytes() != 10+entryBytes {
		t.Fatalf("oldest %d, bytes %d", r.Oldest(), r.Bytes())
	}
	publish(r, 3, 10, 1<<40)
	expect(t, r, 505, OK)
}

func TestGivingUpIsAnnouncedBeforeItHappens(t *testing.T) {
	var r *Ring[payload]
	snapshot, calls := uint64(0), 0
	r = newRing(t, Config{MinEntries: 4, MaxEntries: 4, MaxBytes: 6000, BeforeGiveUp: func(oldest uint64) {
		calls++
		if r.Oldest() >= oldest {
			t.Errorf("announced %d when the oldest was %d already", oldest, r.Oldest())
		}
		if oldest > r.Head()+1 {
			t.Errorf("announced %d with the head at %d", oldest, r.Head())
		}
		for position := r.Oldest(); position < oldest; position++ {
			expect(t, r, position, OK)
		}
		snapshot = oldest - 1
	}})
	for i := range 50 {
		publish(r, 1, uint32(i*100), 0)
		if snapshot+1 < r.Oldest() {
			t.Fatalf("snapshot at %d, oldest entry %d", snapshot, r.Oldest())
		}
	}
	r.Expire(1)
	if snapshot != 49 || calls < 46 {
		t.Fatalf("snapshot %d after %d calls", snapshot, calls)
	}
}

func TestLevelsOfARangeAreKnownBeforehand(t *testing.T) {
	r := newRing(t, Config{MinEntries: 8, MaxEntries: 8})
	for i := uint32(1); i <= 10; i++ {
		r.Publish(&Entry[payload]{}, i, 0, 0)
	}
	for _, c := range []struct {
		from, to uint64
		want     uint64
		status   Status
	}{
		{3, 10, 52, OK},
		{5, 6, 11, OK},
		{7, 7, 7, OK},
		{8, 7, 0, OK},
		{2, 10, 0, Lapped},
		{3, 11, 0, Empty},
	} {
		if levels, status := r.Levels(c.from, c.to); levels != c.want || status != c.status {
			t.Errorf("Levels(%d, %d) = %d, %v; want %d, %v", c.from, c.to, levels, status, c.want, c.status)
		}
	}
	if e, _ := r.Get(10); e.Total() != 55 || e.Levels() != 10 {
		t.Fatalf("total %d, levels %d", e.Total(), e.Levels())
	}
}

func TestSearchFindsTheFirstEntryReached(t *testing.T) {
	r := newRing(t, Config{MinEntries: 8, MaxEntries: 8})
	if e, status := r.Search(func(*Entry[payload]) bool { return true }); e != nil || status != Empty {
		t.Fatalf("search of an empty ring: %v", status)
	}
	for i := range uint64(20) { // values 0, 10, 20 … as offsets have holes
		r.Publish(&Entry[payload]{Value: payload{i * 10}}, 0, 0, 0)
	}
	for wanted := uint64(0); wanted < 220; wanted++ {
		e, status := r.Search(func(e *Entry[payload]) bool { return e.Value.n >= wanted })
		if wanted > 190 {
			if status != Empty || e != nil {
				t.Fatalf("search of %d: %v", wanted, status)
			}
			continue
		}
		want := max(120, (wanted+9)/10*10)
		if status != OK || e.Value.n != want {
			t.Fatalf("search of %d: %v, %v", wanted, e, status)
		}
	}
}

func TestSearchSurvivesBeingLapped(t *testing.T) {
	r := newRing(t, Config{MinEntries: 8, MaxEntries: 8})
	publish(r, 8, 0, 0)

	// Overtaken by half: what is found is still the first that is reached.
	once := true
	e, status := r.Search(func(e *Entry[payload]) bool {
		if once {
			once = false
			publish(r, 4, 0, 0)
		}
		return e.Value.n >= 7
	})
	if status != OK || e.Position() != 7 {
		t.Fatalf("overtaken by half: %v, %v", e, status)
	}

	// Overtaken altogether, nothing held: said so, not mistaken for the end.
	e, status = r.Search(func(e *Entry[payload]) bool {
		reached := e.Value.n >= 12
		publish(r, 20, 0, 0)
		return reached
	})
	if status != Lapped || e != nil {
		t.Fatalf("overtaken altogether: %v, %v", e, status)
	}
}

func TestReadingAndPublishingAllocateNothingOfTheirOwn(t *testing.T) {
	r := newRing(t, Config{MinEntries: 8, MaxEntries: 8, Budget: NewBudget(1 << 20)})
	if n := testing.AllocsPerRun(1000, func() { r.Publish(&Entry[payload]{}, 1, 100, 0) }); n > 1 {
		t.Errorf("%v allocations a publish", n)
	}
	wanted := uint64(0)
	if n := testing.AllocsPerRun(1000, func() {
		head := r.Head()
		r.Get(head)
		r.Levels(head-3, head)
		r.Search(func(e *Entry[payload]) bool { return e.Value.n > wanted })
	}); n != 0 {
		t.Errorf("%v allocations a read", n)
	}
}

func TestContradictoryConfigIsRefused(t *testing.T) {
	for _, c := range []Config{
		{MinEntries: 3},
		{MaxEntries: 100},
		{MinEntries: 64, MaxEntries: 32},
		{MinEntries: -4},
		{MaxBytes: -1},
		{KeepEntries: 17},
		{KeepEntries: -1},
		{Window: -1},
	} {
		if _, err := New[payload](c); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
