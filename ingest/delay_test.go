package ingest

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
)

// lateDelay is the delay of the tests here.
const lateDelay = 10 * time.Second

// lateLog is a log, a watcher that looks at its end, and a source that reads it, all
// in a time that passes while somebody waits.
type lateLog struct {
	clock  time.Time
	events []lateEvent // still to come, by time
	log    []Record
	came   []time.Time // when each of log did
	looks  []sighting  // that were noted
	leader int32
	id     byte // its Kafka topic's
	stage  *delayed

	next int64
	err  error    // what the source's next answer is, once
	has  *Fetched // likewise
	most int      // records in one answer
	dead bool     // the broker does not answer

	rechecks int // of the log's identity, that were asked for
}

// lateEvent is something that happens at a time.
type lateEvent struct {
	at time.Time
	do func()
}

func newLateLog() *lateLog {
	l := &lateLog{clock: rigStart, most: 4, id: 1}
	l.stage = newDelayed(l, [16]byte{1}, lateDelay, 250*time.Millisecond, func() time.Time { return l.clock }, quiet)
	l.stage.sleep = func(_ context.Context, d time.Duration) { l.pass(d) }
	return l
}

func (l *lateLog) Partition() PartitionID { return PartitionID{"events", 0} }
func (l *lateLog) Close() error           { return nil }
func (l *lateLog) Recheck()               { l.rechecks++ }

func (l *lateLog) StartAt(next int64, _ proto.Fingerprint) { l.next = next }

// Next is the source's: what the log has, or nothing after a while.
func (l *lateLog) Next(context.Context) (Fetched, error) {
	if err := l.err; err != nil {
		l.err = nil
		return Fetched{}, err
	}
	if f := l.has; f != nil {
		l.has = nil
		return *f, nil
	}
	if l.dead {
		l.pass(2 * time.Second)
		return Fetched{}, ErrUnreachable
	}
	if l.next == int64(len(l.log)) {
		l.pass(250 * time.Millisecond)
	}
	from := l.next
	n := min(int64(l.most), int64(len(l.log))-from)
	l.next += n
	return Fetched{From: from, Records: slices.Clone(l.log[from:l.next]), Next: l.next, HighWatermark: int64(len(l.log))}, nil
}

// pass lets time go by.
func (l *lateLog) pass(d time.Duration) {
	until := l.clock.Add(d)
	for len(l.events) > 0 && !l.events[0].at.After(until) {
		e := l.events[0]
		l.events = l.events[1:]
		if e.at.After(l.clock) {
			l.clock = e.at
		}
		e.do()
	}
	l.clock = until
}

// write appends a record whose producer says that it did so at a time.
func (l *lateLog) write(says time.Time) {
	offset := int64(len(l.log))
	r := rec(offset, "SIM:A", "level")
	r.Time = says.UnixNano()
	l.log, l.came = append(l.log, r), append(l.came, l.clock)
}

// recreate puts another, empty log in the place of this one.
func (l *lateLog) recreate() {
	l.err = &Recreated{Partition: l.Partition(), WasID: [16]byte{l.id}, IsID: [16]byte{l.id + 1}}
	l.id++
	l.log, l.came, l.next = nil, nil, 0
}

// look is the watcher's, which takes no time.
func (l *lateLog) look() { l.saw(l.clock, int64(len(l.log))) }

// saw notes that a question asked at a time was answered now.
func (l *lateLog) saw(asked time.Time, high int64) {
	l.looks = append(l.looks, sighting{asked, l.clock, high, high})
	l.stage.note(&WatchEvent{Asked: asked, TopicID: [16]byte{l.id}, Offsets: Offsets{HighWatermark: high, Leader: l.leader}})
}

// watch looks each second from now on.
func (l *lateLog) watch() {
	l.look()
	l.at(time.Second, l.watch)
}

// at has something happen so long from now.
func (l *lateLog) at(d time.Duration, do func()) {
	l.events = append(l.events, lateEvent{l.clock.Add(d), do})
	slices.SortStableFunc(l.events, func(a, b lateEvent) int { return a.at.Compare(b.at) })
}

// until reads until the record at offset comes, and returns for how long the log has
// had it then.
func (l *lateLog) until(t *testing.T, offset int64) time.Duration {
	t.Helper()
	for range 1000 {
		f, err := l.stage.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(f.Records); n > 0 && f.Records[n-1].Offset >= offset {
			if f.Records[n-1].Offset != offset {
				t.Fatalf("with offset %d came those up to %d", offset, f.Records[n-1].Offset)
			}
			return l.clock.Sub(l.came[offset])
		}
	}
	t.Fatalf("offset %d does not come", offset)
	return 0
}

func TestLateRecordComesWhenTheLogHasHadItForTheDelay(t *testing.T) {
	l := newLateLog()
	l.watch()
	l.pass(100 * time.Millisecond)
	l.write(l.clock)
	if age := l.until(t, 0); age < lateDelay || age > lateDelay+dueTogether {
		t.Errorf("it came after %v", age)
	}
}

func TestLateRecordIsNeitherEarlyNorHeldForLongByItsTimestamp(t *testing.T) {
	for name, wrong := range map[string]time.Duration{
		"an hour ago": -time.Hour, "in an hour": time.Hour, "a moment ago": -50 * time.Millisecond, "in a year": 365 * 24 * time.Hour,
	} {
		l := newLateLog()
		l.watch()
		l.pass(400 * time.Millisecond)
		l.write(l.clock.Add(wrong))
		l.pass(time.Second)
		l.write(l.clock)
		// The looks around the first were taken 400 ms before and 600 ms after it.
		if age := l.until(t, 0); age < lateDelay-400*time.Millisecond || age > lateDelay+600*time.Millisecond+dueTogether {
			t.Errorf("%s: it came after %v", name, age)
		}
		if age := l.until(t, 1); age < lateDelay || age > lateDelay+dueTogether {
			t.Errorf("%s: the next came after %v", name, age)
		}
	}
}

// What was written before anybody looked is due by its timestamp, but is held for no
// longer than the delay.
func TestLateRecordsOfBeforeTheStartComeByTheirTimestamps(t *testing.T) {
	l := newLateLog()
	for _, ago := range []time.Duration{time.Hour, 11 * time.Second, 4 * time.Second, -time.Hour} {
		l.write(l.clock.Add(-ago))
	}
	l.watch()
	for offset, want := range []time.Duration{0, 0, 6 * time.Second, lateDelay} {
		if offset == 0 {
			continue // it comes with the next
		}
		if took := l.until(t, int64(offset)); took < want || took > want+dueTogether {
			t.Errorf("offset %d came after %v, want %v", offset, took, want)
		}
	}
	nobody := newLateLog() // nor where nobody ever looks
	nobody.write(nobody.clock.Add(time.Hour))
	if took := nobody.until(t, 0); took > lateDelay+dueTogether {
		t.Errorf("it came after %v", took)
	}
}

// A log that lost its end and grew again has other records at offsets that were seen
// long ago.
func TestLateRecordThatTookTheOffsetOfAnotherIsNotEarly(t *testing.T) {
	for name, another := range map[string]func(*lateLog){
		"seen as a log that shrank": func(l *lateLog) { l.look() },
		"under another leader":      func(l *lateLog) { l.leader++ },
	} {
		l := newLateLog()
		l.write(l.clock)
		l.write(l.clock)
		l.look()
		l.pass(lateDelay - time.Second)
		l.log, l.came = l.log[:1], l.came[:1]
		another(l)
		l.write(l.clock.Add(time.Hour)) // so that it is due by the looks
		l.look()
		l.until(t, 0)
		if age := l.until(t, 1); age < lateDelay {
			t.Errorf("%s: it came after %v", name, age)
		}
	}
}

// What is missing between records shows when the one behind it does, and what ends an
// answer with its last record.
func TestLateGapComesWithTheRecordBehindIt(t *testing.T) {
	l := newLateLog()
	at := func(offset int64, ago time.Duration) Record {
		return Record{Offset: offset, Time: l.clock.Add(-ago).UnixNano()}
	}
	l.has = &Fetched{From: 3, Next: 20, HighWatermark: 20, Undecided: 4, Gaps: []OffsetGap{{4, 6}, {7, 9}, {10, 20}},
		Records: []Record{at(3, time.Hour), at(6, time.Hour), at(9, time.Second)}}
	for _, want := range []Fetched{
		{From: 3, Next: 7, HighWatermark: 7, Gaps: []OffsetGap{{4, 6}}},
		{From: 7, Next: 7, HighWatermark: 7},
		{From: 7, Next: 20, HighWatermark: 20, Gaps: []OffsetGap{{7, 9}, {10, 20}}},
	} {
		got, err := l.stage.Next(t.Context())
		for want.Next == 20 && err == nil && len(got.Records) == 0 {
			got, err = l.stage.Next(t.Context())
		}
		if err != nil || got.From != want.From || got.Next != want.Next || got.HighWatermark != want.HighWatermark || !slices.Equal(got.Gaps, want.Gaps) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}

// Records come in order, none before the log can have had it for the delay, and all
// of them in the end, whatever their timestamps say.
func TestLateRecordsAreNeverEarlyAndAllCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLateLog()
		ms := func(most int, what string) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(t, what)) * time.Millisecond
		}
		l.most = rapid.IntRange(1, 6).Draw(t, "most")
		var says []time.Duration // how far timestamps are off
		at := time.Duration(0)
		for range rapid.IntRange(1, 30).Draw(t, "records") {
			at += ms(2000, "gap")
			off := rapid.SampledFrom([]time.Duration{0, 0, 0, -time.Hour, time.Hour, ms(9000, "off"), -ms(9000, "off")}).Draw(t, "says")
			says = append(says, off)
			l.at(at, func() { l.write(l.clock.Add(off)) })
		}
		l.pass(min(at, ms(60_000, "start")))
		start := l.clock
		from := time.Duration(0)
		for from <= at+2*lateDelay { // a question now and then, with outages
			from += ms(1000, "every") + rapid.SampledFrom([]time.Duration{0, 0, 0, 0, 15 * time.Second}).Draw(t, "outage")
			asked := start.Add(from)
			high := int64(0)
			l.at(from, func() {})
			from += ms(20, "on its way")
			l.at(from, func() { high = int64(len(l.log)) })
			from += ms(20, "back")
			l.at(from, func() { l.saw(asked, high) })
		}
		next := int64(0)
		for end := start.Add(from + 2*lateDelay); next < int64(len(says)); {
			if l.clock.After(end) {
				t.Fatalf("offset %d of %d does not come", next, len(says))
			}
			f, err := l.stage.Next(context.Background())
			if err != nil || f.From != next || f.Next-f.From != int64(len(f.Records)) || f.HighWatermark < f.Next {
				t.Fatalf("%+v, %v, behind offset %d", f, err, next)
			}
			for _, r := range f.Records {
				l.judge(t, &r, says[r.Offset])
			}
			next = f.Next
			if _, known := l.stage.seen.end(l.clock); known {
				due := int64(0)
				for int(due) < len(l.came) && l.clock.Sub(l.came[due]) >= lateDelay {
					due++
				}
				if f.HighWatermark > max(f.Next, due) {
					t.Fatalf("the high watermark is %d, %d records are due", f.HighWatermark, due)
				}
			}
		}
	})
}

// judge sees that a record which came now, and whose timestamp is off by some time, is
// not early.
func (l *lateLog) judge(t *rapid.T, r *Record, off time.Duration) {
	due := l.came[r.Offset]
	if off < 0 { // the timestamp may take it back to when it was looked for in vain
		due = due.Add(off)
		for _, s := range l.looks {
			if s.high <= r.Offset && s.asked.After(due) {
				due = s.asked
			}
		}
	}
	if l.clock.Before(due.Add(lateDelay)) {
		t.Fatalf("offset %d came %v after the log had it, with a timestamp off by %v", r.Offset, l.clock.Sub(l.came[r.Offset]), off)
	}
	for _, s := range l.looks { // nor is it late, once it was seen
		if s.high > r.Offset {
			if late := l.clock.Sub(s.answered) - lateDelay; late > time.Second {
				t.Fatalf("offset %d came %v too late", r.Offset, late)
			}
			break
		}
	}
}

func TestSightingsAreBounded(t *testing.T) {
	for name, leaderOf := range map[string]func(int) int32{
		"one leader": func(int) int32 { return 1 }, "many leaders": func(i int) int32 { return int32(i) },
	} {
		s := newSightings(MaxDelay)
		at := rigStart
		for i := range 3 * maxLooks {
			at = at.Add(time.Minute)
			s.note(sighting{at, at, int64(i), int64(i)}, leaderOf(i))
			if len(s.looks) > maxLooks+2 {
				t.Fatalf("%s: %d looks are kept", name, len(s.looks))
			}
		}
		if !slices.IsSortedFunc(s.looks, func(a, b sighting) int { return cmp.Compare(a.high, b.high) }) {
			t.Errorf("%s: out of order", name)
		}
	}
}
