package ingest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

func TestOffsetJumpMakesEveryBookRecovering(t *testing.T) {
	jump := Fetched{Records: []Record{rec(1, "X", "level"), rec(7, "Y", "level")},
		Gaps: []OffsetGap{{2, 7}, {8, 10}}, Next: 10, HighWatermark: 10}
	t.Run("undeclared", func(t *testing.T) {
		r := newRig(t, nil)
		r.records(rec(0, "X", "level"))
		r.give(jump, nil)
		r.want("apply X@0", "apply X@1", "refuse @6 offset_gap", "apply Y@7", "refuse @9 offset_gap")
		if n := r.Stats().OffsetGaps.Load(); n != 2 {
			t.Errorf("%d gaps counted", n)
		}
	})
	t.Run("compacted", func(t *testing.T) {
		r := newRig(t, func(c *TopicConfig, _ *Config) { c.Compacted = true })
		r.records(rec(0, "X", "level"))
		r.give(jump, nil)
		r.want("apply X@0", "apply X@1", "apply Y@7")
	})
}

func TestCodecStartsAnewAfterLostRecords(t *testing.T) {
	r := newRig(t, nil)
	var seen []uint64 // by the codec's instance
	r.books.apply = func(b *proto.Batch) (proto.Outcome, error) {
		seen = append(seen, b.LastSourceSeq)
		return proto.Applied, nil
	}
	r.records(rec(0, "X", "level"), rec(1, "X", "level"))
	r.give(Fetched{Records: []Record{rec(5, "X", "level")}, Gaps: []OffsetGap{{2, 5}}, Next: 6, HighWatermark: 6}, nil)
	if want := []uint64{1, 2, 1}; !slices.Equal(seen, want) {
		t.Errorf("records seen by the codec: %v, want %v", seen, want)
	}
}

func TestTruncatedLogMakesEveryBookRecovering(t *testing.T) {
	r := newRig(t, nil)
	r.records(rec(0, "X", "level"))
	r.give(Fetched{}, &OutOfRange{Wanted: 1, LogStart: 50, HighWatermark: 60})
	r.give(Fetched{Records: []Record{rec(50, "X", "level")}, Next: 51, HighWatermark: 51}, nil)
	r.want("apply X@0", "refuse @49 truncated", "apply X@50")
	if n := r.Stats().Truncations.Load(); n != 1 {
		t.Errorf("%d truncations counted", n)
	}
}

func TestLogThatLostItsEndMakesEveryBookRecovering(t *testing.T) {
	r := newRig(t, nil)
	r.records(rec(0, "X", "level"), rec(1, "X", "level"))
	r.give(Fetched{}, &OutOfRange{Wanted: 2, LogStart: 0, HighWatermark: 1})
	r.give(Fetched{Records: []Record{rec(1, "X", "level")}, Next: 2, HighWatermark: 2}, nil)
	r.want("apply X@0", "apply X@1", "refuse @0 truncated", "apply X@1")
}

func TestUndecodableBatchMakesEveryBookRecovering(t *testing.T) {
	r := newRig(t, nil)
	r.records(rec(0, "X", "level"))
	r.give(Fetched{}, &Corrupt{Offset: 1, Next: 4, Cause: errors.New("crc")})
	r.want("apply X@0", "refuse @3 bad_record")
	r.wantRefused(CodeCorruptBatch, 1)
}

func TestRecreatedKafkaTopicBeginsAnotherEpoch(t *testing.T) {
	r := newRig(t, nil)
	epochs := map[uint64]bool{}
	r.records(rec(0, "X", "level"))
	epochs[r.epoch] = true
	r.want("apply X@0")
	r.books.lines = nil
	r.give(Fetched{}, &Recreated{WasID: [16]byte{1}, IsID: [16]byte{2}})
	if _, found := r.directory.Find("X"); found || r.CaughtUp() {
		t.Error("X is still known, or the partition caught up, after the recreation")
	}
	r.give(Fetched{Records: []Record{rec(0, "Y", "level"), rec(1, "X", "level")}, Next: 2, HighWatermark: 2}, nil)
	epochs[r.epoch] = true
	if p, found := r.directory.Find("X"); !found || p != r.Partition {
		t.Error("X was not claimed anew")
	}
	want := []string{"refuse @0 recreated", "catching_up true", "begin complete=false", "apply Y@0", "apply X@1", "catching_up false"}
	if !slices.Equal(r.books.lines, want) {
		t.Errorf("books were told %q, want %q", r.books.lines, want)
	}
	if len(epochs) != 2 {
		t.Errorf("epochs %v", epochs)
	}
}

func TestRecordThatReadsDifferentlyMakesEveryBookRecovering(t *testing.T) {
	r := newRig(t, nil)
	r.records(rec(0, "X", "level"))
	r.give(Fetched{}, &Recreated{WasID: [16]byte{1}, IsID: [16]byte{1}, Offset: 0})
	r.records(rec(1, "X", "level"))
	r.want("apply X@0", "refuse @0 recreated", "apply X@1")
}

// A start reads what the log is now, and may have whole books where these are not.
func TestNoCheckpointIsMadeOnceTheLogLostRecordsThatWereRead(t *testing.T) {
	for name, fault := range map[string]error{
		"its end is gone":      &OutOfRange{Wanted: 3, LogStart: 0, HighWatermark: 1},
		"a record is another":  &Recreated{WasID: [16]byte{1}, IsID: [16]byte{1}, Offset: 1},
		"its start is missing": &OutOfRange{Wanted: 3, LogStart: 5, HighWatermark: 6}, // stays missing
	} {
		r := newRig(t, nil)
		cut := !strings.Contains(name, "start")
		r.records(rec(0, "X", "level"), rec(1, "X", "level"), rec(2, "X", "level"))
		r.give(Fetched{}, fault)
		r.records(rec(7, "X", "level"))
		_, err := r.news(0, -1)
		if cut != errors.Is(err, errLogCut) || cut == r.openRound(&round{}) {
			t.Errorf("%s: is there anything to write: %v", name, err)
		}
		if cut && checkpointFailure(err) != "log_cut" {
			t.Errorf("%s: the reason is %q", name, checkpointFailure(err))
		}
		r.give(Fetched{}, &Recreated{WasID: [16]byte{1}, IsID: [16]byte{2}})
		r.records(rec(0, "X", "level"))
		if _, err := r.news(0, -1); err != nil || !r.openRound(&round{}) {
			t.Errorf("%s: of another log nothing is written: %v", name, err)
		}
	}
}

func TestCatchingUpIsNeverLive(t *testing.T) {
	r := newRig(t, func(_ *TopicConfig, c *Config) { c.MaxLag = 10 })
	first := func() string { return r.books.lines[len(r.books.lines)-1] }
	if got := r.books.lines; !slices.Equal(got, []string{"catching_up true"}) || r.CaughtUp() {
		t.Fatalf("at the start books were told %q", got)
	}
	r.give(Fetched{Records: []Record{rec(0, "X", "level")}, Next: 1, HighWatermark: 3}, nil)
	if r.CaughtUp() || r.directory.caughtUp() {
		t.Error("caught up before the end that the log had at the start")
	}
	r.give(Fetched{Records: []Record{rec(1, "X", "level"), rec(2, "X", "level")}, Next: 3, HighWatermark: 100}, nil)
	if r.CaughtUp() {
		t.Error("caught up although more than MaxLag behind")
	}
	r.give(Fetched{Records: []Record{rec(3, "X", "level")}, Next: 4, HighWatermark: 14}, nil)
	if !r.CaughtUp() || !r.directory.caughtUp() || first() != "catching_up false" {
		t.Errorf("not caught up within MaxLag; last told %q", first())
	}
}

func TestEmptyPartitionIsCaughtUpWithItsFirstHeartbeat(t *testing.T) {
	r := newRig(t, nil)
	r.give(Fetched{}, nil)
	if !r.CaughtUp() {
		t.Error("not caught up")
	}
}

func TestUnreachableBrokerMakesBooksStaleAndBack(t *testing.T) {
	r := newRig(t, nil)
	tick := func(after time.Duration) {
		r.Do(func() { r.clock = r.clock.Add(after) })
		r.Tick(r.clock)
	}
	r.records(rec(0, "X", "level"))
	tick(2 * time.Second)
	r.want("apply X@0")
	r.give(Fetched{}, ErrUnreachable)
	tick(2 * time.Second)
	r.want("stale  kafka_unreachable true")
	r.give(Fetched{}, ErrDenied)
	tick(time.Second)
	r.want()
	r.give(Fetched{HighWatermark: 1, Next: 1}, nil)
	tick(time.Second)
	r.want("stale  kafka_unreachable false")
	if n := r.Stats().FetchErrors.Load(); n != 2 {
		t.Errorf("%d errors counted", n)
	}
}

func TestSilentFeedMakesItsBooksStale(t *testing.T) {
	r := newRig(t, func(_ *TopicConfig, c *Config) { c.UnreachableAfter = time.Hour })
	offset := int64(0)
	beat := func(feed string) {
		r.records(rec(offset, "", "|"+feed+"|heartbeat"))
		offset++
	}
	tick := func(after time.Duration) {
		r.Do(func() { r.clock = r.clock.Add(after) })
		r.Tick(r.clock)
	}
	beat("F")
	beat("G")
	tick(9 * time.Second)
	beat("G") // no symbol of G moves, and yet it lives
	tick(2 * time.Second)
	r.want("apply @0", "apply @1", "apply @2", "stale F source_silent true")
	if n := r.Stats().SilentFeeds.Load(); n != 1 {
		t.Errorf("%d silent feeds", n)
	}
	beat("F")
	tick(6 * time.Second) // more than half the limit: not yet trusted again
	r.want("apply @3")
	beat("F")
	beat("G")
	tick(5 * time.Second)
	r.want("apply @4", "apply @5", "stale F source_silent false")
}

func TestFeedWithoutNameIsJudgedToo(t *testing.T) {
	r := newRig(t, func(_ *TopicConfig, c *Config) { c.UnreachableAfter = time.Hour })
	r.records(rec(0, "X", "X||level"))
	r.Tick(r.clock.Add(11 * time.Second))
	r.want("apply X@0", "stale events source_silent true")
}

func TestLagMakesBooksStaleWithHysteresis(t *testing.T) {
	r := newRig(t, func(_ *TopicConfig, c *Config) { c.MaxLag, c.UnreachableAfter = 10, time.Hour })
	at := func(lag int64) { r.give(Fetched{Next: 200, HighWatermark: 200 + lag}, nil) }
	tick := func() { r.Tick(r.clock) }
	r.give(Fetched{Next: 100, HighWatermark: 111}, nil)
	tick()
	tick()
	r.want() // catching up
	at(0)
	tick()
	at(0)
	at(50) // a burst
	tick()
	at(0)
	tick()
	r.want()
	at(11)
	tick()
	tick()
	r.want("stale  behind true")
	at(6)
	tick()
	r.want()
	at(5)
	tick()
	r.want("stale  behind false")
}

func TestWatcherSeesLagThatAStuckSourceHides(t *testing.T) {
	r := newRig(t, func(_ *TopicConfig, c *Config) { c.MaxLag, c.UnreachableAfter = 10, time.Hour })
	r.give(Fetched{Next: 5, HighWatermark: 5}, nil)
	r.Tick(r.clock)
	r.seen(&WatchEvent{Offsets: Offsets{HighWatermark: 100}})
	r.Tick(r.clock)
	r.Tick(r.clock)
	r.want("stale  behind true")
}

func TestFeedThatDiedLongAgoIsNotLiveForAMoment(t *testing.T) {
	r := newRig(t, func(_ *TopicConfig, c *Config) { c.UnreachableAfter = time.Hour })
	r.give(Fetched{Next: 0, HighWatermark: 2}, nil)
	dead, alive := rec(0, "X", "X|F|level"), rec(1, "Y", "Y|G|level")
	dead.Time, alive.Time = r.clock.Add(-time.Hour).UnixNano(), r.clock.UnixNano()
	r.give(Fetched{Records: []Record{dead, alive}, Next: 2, HighWatermark: 2}, nil)
	var told []string
	r.Do(func() { told = r.books.lines })
	want := []string{"catching_up true", "begin complete=false", "apply X@0", "apply Y@1", "stale F source_silent true", "catching_up false"}
	if !slices.Equal(told, want) {
		t.Errorf("books were told %q, want %q", told, want)
	}
}
