package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// lateRig is a partition that reads a lateLog; the test makes its steps.
type lateRig struct {
	*testing.T
	*lateLog
	*Partition
	books *diary
}

func newLateRig(t *testing.T) *lateRig {
	t.Helper()
	r := &lateRig{T: t, lateLog: newLateLog(), books: &diary{}}
	cfg := Config{KafkaTopics: []TopicConfig{{Name: "events", Format: textFormat, Complete: true}}, Log: quiet,
		Delay: lateDelay, Now: r.stage.now}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	r.Partition = newPartition(&cfg, partitionConfig{
		topic: cfg.KafkaTopics[0], count: 3, topicID: [16]byte{1}, source: r.stage, books: r.books,
		directory: newDirectory(), now: cfg.Now, clusterID: func(context.Context) (string, error) { return "cluster", nil },
	})
	return r
}

// step is one turn of Partition.Run, and a tick.
func (r *lateRig) step() {
	r.Helper()
	f, err := r.Partition.source.Next(r.Context())
	switch {
	case err != nil:
		r.failed(err)
	case r.begun || r.begin(r.Context(), &f):
		r.fetched(&f)
	}
	r.Tick(r.clock)
}

// steps makes them until so much time has passed.
func (r *lateRig) steps(d time.Duration) {
	r.Helper()
	for until := r.clock.Add(d); r.clock.Before(until); {
		r.step()
	}
}

// want fails unless the books were told exactly lines since the last time.
func (r *lateRig) want(lines ...string) {
	r.Helper()
	if got := r.books.lines; !slices.Equal(got, lines) {
		r.Errorf("books were told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
	r.books.lines = nil
}

// What is due is caught up on, and at its end the books are live, however much the log
// has that is not due.
func TestLateBooksAreLiveAtTheEndOfWhatIsDue(t *testing.T) {
	r := newLateRig(t)
	r.most = 2
	for _, ago := range []time.Duration{14, 13, 12, 5, 1} { // seconds
		r.write(r.clock.Add(-ago * time.Second))
	}
	r.watch()
	r.want("catching_up true")
	r.step()
	r.want("begin complete=true", "apply SIM:A@0", "apply SIM:A@1")
	r.step()
	r.want("apply SIM:A@2", "catching_up false")
	if lag, waiting := r.Stats().Lag(), r.Waiting(); lag != 0 || waiting != 2 {
		t.Errorf("a lag of %d, %d wait", lag, waiting)
	}
	r.steps(9 * time.Second)
	r.want("apply SIM:A@3", "apply SIM:A@4")
	for range 30 { // of a feed that lives, long after what is due can be told from the looks
		r.write(r.clock)
		r.steps(time.Second)
	}
	if lag, waiting := r.Stats().Lag(), r.Waiting(); lag != 0 || waiting < 9 || waiting > 11 || r.behind.on || r.unreachable.on || r.stats.SilentFeeds.Load() != 0 {
		t.Errorf("a lag of %d, %d wait, behind %v, unreachable %v, %d feeds silent", lag, waiting, r.behind.on, r.unreachable.on, r.stats.SilentFeeds.Load())
	}
}

// While nothing can be due that was not read, books are right without the broker.
func TestLateBooksAreStaleOnlyByAnOutageThatIsDue(t *testing.T) {
	r := newLateRig(t)
	r.cfg.SilentAfter = time.Hour
	r.watch()
	r.write(r.clock)
	r.steps(lateDelay + time.Second)
	r.want("catching_up true", "begin complete=true", "catching_up false", "apply SIM:A@0")
	r.dead, r.events = true, nil
	r.steps(lateDelay)
	if answered := r.clock.Sub(time.Unix(0, r.stats.LastFetch.Load())); answered < lateDelay {
		t.Errorf("the broker is said to have answered %v ago", answered)
	}
	r.want()
	r.steps(6 * time.Second)
	r.want("stale  kafka_unreachable true")
	r.dead = false
	r.watch()
	r.steps(time.Second)
	r.want("stale  kafka_unreachable false")
}

// A record that is known to be there and is due, but cannot be read, is missing.
func TestLateBooksAreStaleWhenWhatIsDueCannotBeRead(t *testing.T) {
	r := newLateRig(t)
	r.cfg.SilentAfter = time.Hour
	r.watch()
	r.steps(time.Second)
	r.most = 0 // it is written, and then nothing is answered
	r.write(r.clock)
	r.dead = true
	r.steps(lateDelay)
	r.want("catching_up true", "begin complete=true", "catching_up false")
	r.steps(6 * time.Second)
	r.want("stale  kafka_unreachable true")
}

// What is wrong with the log shows when a record that is concerned may be due, and
// books are live until then.
func TestLateFaultsOfTheLogShowWhenTheyAreDue(t *testing.T) {
	r := newLateRig(t)
	r.cfg.SilentAfter = time.Hour
	for range 3 {
		r.write(r.clock.Add(-time.Minute))
	}
	r.watch()
	r.step()
	r.books.lines = nil
	r.steps(300 * time.Millisecond)
	began := r.clock // the last look was at most a second ago
	r.err = &OutOfRange{Partition: r.ID(), Wanted: 3, LogStart: 7, HighWatermark: 9}
	r.steps(lateDelay - time.Second)
	r.want()
	r.steps(time.Second)
	r.want("refuse @6 truncated")
	if took := r.clock.Sub(began); took > lateDelay+time.Second {
		t.Errorf("it took %v", took)
	}
	r.err = &Recreated{Partition: r.ID(), WasID: [16]byte{1}, IsID: [16]byte{2}}
	r.steps(lateDelay - time.Second)
	r.want()
	r.steps(2 * time.Second)
	r.want("refuse @2 recreated", "catching_up true", "begin complete=false", "catching_up false")
	r.look() // of the log before
	if len(r.stage.seen.looks) != 0 {
		t.Errorf("a look at the log before counts: %+v", r.stage.seen.looks)
	}
}

// Neither a server that is less late nor one that is later may leave a checkpoint for
// this one, and each writes to a Kafka topic of its own.
func TestLateCheckpointsAreApart(t *testing.T) {
	settings := map[uint64]time.Duration{}
	for _, delay := range []time.Duration{0, time.Second, time.Hour} {
		p := &Partition{cfg: &Config{Delay: delay}}
		if other, same := settings[p.settings()]; same {
			t.Errorf("the settings are the same for %v and %v", delay, other)
		}
		settings[p.settings()] = delay
	}
}

func TestDelayThatCannotWorkIsRefused(t *testing.T) {
	for _, delay := range []time.Duration{-time.Second, time.Millisecond, 32 * 24 * time.Hour, time.Second + time.Microsecond} {
		cfg := Config{KafkaTopics: []TopicConfig{{Name: "events"}}, Delay: delay}
		if err := cfg.validate(); err == nil || !strings.Contains(err.Error(), "--delay") {
			t.Errorf("%v: %v", delay, err)
		}
	}
}

func TestKafkaRetentionShorterThanTheDelayIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for retention, want := range map[string]error{"60000": ErrRetention, "3600000": nil, "-1": nil} {
		topic := l.topic(1, map[string]string{"retention.ms": retention})
		in, err := Open(l.ctx, l.Cluster, Config{KafkaTopics: []TopicConfig{{Name: topic}}, Delay: 15 * time.Minute, Log: quiet},
			func(PartitionID) Books { return &diary{} })
		if !errors.Is(err, want) || err != nil && !strings.Contains(err.Error(), "retention.ms=1800000") {
			t.Errorf("retention.ms=%s: %v", retention, err)
		}
		if err == nil {
			in.closeSources()
		}
	}
}

// Where a later record of its key may delete one before it is due, late books would
// miss it and not know.
func TestKafkaRecordsThatMayBeCompactedBeforeTheyAreDueAreRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, map[string]string{"cleanup.policy": "compact"})
	_, err := Open(l.ctx, l.Cluster, Config{KafkaTopics: []TopicConfig{{Name: topic, Compacted: true}}, Delay: 15 * time.Minute, Log: quiet},
		func(PartitionID) Books { return &diary{} })
	if !errors.Is(err, ErrRetention) || !strings.Contains(err.Error(), "min.compaction.lag.ms=1800000") {
		t.Error(err)
	}
	for _, c := range []struct {
		policy, retention, lag string
		kept                   time.Duration // -1: for ever, as far as time goes
	}{
		{"delete", "60000", "0", time.Minute}, {"delete", "-1", "0", -1}, {"compact", "60000", "3600000", time.Hour}, {"compact", "-1", "", 0},
		{"compact,delete", "60000", "3600000", time.Minute}, {"compact,delete", "3600000", "60000", time.Minute}, {"compact,delete", "-1", "9223372036854775807", -1},
	} {
		kept, by := keptFor(map[string]string{cleanupPolicy: c.policy, retention: c.retention, compactionLag: c.lag})
		if by == "" {
			kept = -1
		}
		if kept != c.kept {
			t.Errorf("%+v: %v by %q", c, kept, by)
		}
	}
}

// Where the broker's clock counts, it is the one that records show.
func TestKafkaRecordHasTheTimeThatTheBrokerGaveIt(t *testing.T) {
	needsRealKafka(t)
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, map[string]string{"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"})
	before := time.Now().Add(-time.Second)
	l.produce(topic, numbered("r", 3)...)
	records, _ := l.collect(l.open(topic, Start{}), 3)
	for _, r := range records {
		if at := time.Unix(0, r.Time); at.Before(before) || at.After(time.Now().Add(time.Second)) {
			t.Errorf("offset %d is said to be of %v", r.Offset, at)
		}
	}
	if f, err := l.Fingerprint(l.ctx, PartitionID{topic, 0}, 1); err != nil || f != FingerprintOf(&records[1]) {
		t.Errorf("%+v, %v", f, err)
	}
}

// A late start at the end shows what becomes due from then on.
func TestKafkaLateStartAtTheEndBeginsWhereRecordsAreNotDue(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, map[string]string{"retention.ms": "-1"})
	now := time.Now()
	var records []Record
	for i, ago := range []time.Duration{time.Hour, 16 * time.Minute, 14 * time.Minute, time.Minute} {
		records = append(records, Record{Key: []byte("SIM:A"), Value: fmt.Append(nil, i), Time: now.Add(-ago).UnixNano()})
	}
	l.produce(topic, records...)
	cfg := Config{Start: Start{From: FromEnd}, Delay: 15 * time.Minute, Now: func() time.Time { return now }}
	s := l.open(topic, cfg.start())
	if got, _ := l.collect(s, 2); got[0].Offset != 2 {
		t.Errorf("it begins at offset %d", got[0].Offset)
	}
}
