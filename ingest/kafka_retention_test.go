package ingest

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// needsRealKafka skips a test of what only a real broker does by itself.
func needsRealKafka(t *testing.T) {
	t.Helper()
	if os.Getenv("DEPTHCAST_TEST_KAFKA") == "" {
		t.Skip("a real broker is needed (no DEPTHCAST_TEST_KAFKA; make test-kafka): skipped")
	}
}

// Retention takes records that a reader has not read yet, in the broker's time.
func TestKafkaRetentionUnderTheReaderIsReported(t *testing.T) {
	needsRealKafka(t)
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, map[string]string{"retention.ms": "1", "segment.ms": "1", "file.delete.delay.ms": "0"})
	id := PartitionID{topic, 0}
	s := l.open(topic, Start{})
	for logStart := int64(0); logStart == 0; { // until the segment of the first is gone
		l.produce(topic, numbered("r", 1)...)
		ends, err := l.Offsets(l.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		logStart = ends[id].LogStart
	}
	var e *OutOfRange
	if err := l.nextError(s); !errors.As(err, &e) || !e.Truncated() || e.Wanted != 0 || e.LogStart < 1 {
		t.Fatalf("error is %v", err)
	}
	l.produce(topic, Record{Value: []byte("last"), Time: time.Now().Add(30 * time.Minute).UnixNano()}) // stays
	for {
		f, err := s.Next(l.ctx)
		if err != nil {
			if !errors.Is(err, ErrOutOfRange) { // retention goes on
				t.Fatal(err)
			}
			continue
		}
		if slices.ContainsFunc(f.Records, func(r Record) bool { return string(r.Value) == "last" }) {
			return
		}
	}
}

// A compacting broker takes committed and aborted records, and markers, apart.
func TestKafkaAbortedRecordsStayAwayWhileTheBrokerCompacts(t *testing.T) {
	needsRealKafka(t)
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "1", "delete.retention.ms": "1"})
	plain, tx := l.writer(topic), l.writer(topic, "tx")
	for _, how := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryAbort, kgo.TryCommit} {
		plain.write("x", "y")
		tx.begin()
		tx.write("x", "z")
		tx.end(how)
	}
	plain.write("last")
	for compacted := false; !compacted; {
		plain.write("fill") // rolls the segment, without which nothing is compacted
		want := l.truth(topic, "last")
		s := l.open(topic, Start{})
		var got []string
		missing := int64(0)
		for len(got) == 0 || got[len(got)-1] != want[len(want)-1] {
			f, err := s.Next(l.ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range f.Gaps {
				missing += g.To - g.From
			}
			for _, r := range f.Records {
				if got = append(got, stored(r.Offset, r.Value)); string(r.Value) == "last" {
					break
				}
			}
		}
		if again := l.truth(topic, "last"); !slices.Equal(want, again) {
			continue // it compacted meanwhile
		}
		if !slices.Equal(got, want) {
			t.Fatalf("read\n%v, want\n%v", got, want)
		}
		compacted = missing >= 8
	}
}
