package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestKafkaRecordsArriveAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	sent := []Record{
		{Key: []byte("SIM:A"), Value: []byte("one"), Time: 1_700_000_000_123_000_000, ContentType: "application/x-depthcast"},
		{Key: nil, Value: []byte("no key"), Time: 1_700_000_000_124_000_000, Headers: []Header{{"a", []byte("1")}, {"b", nil}}},
		{Key: []byte("SIM:B"), Value: nil, Time: 1_700_000_000_125_000_000}, // a tombstone
		{Key: []byte{}, Value: []byte{}, Time: 1_700_000_000_126_000_000},
		{Key: []byte("SIM:A"), Value: bytes.Repeat([]byte("x"), 300_000), Time: 1_700_000_000_127_000_000},
	}
	l.produce(topic, sent...)
	s := l.open(topic, Start{})
	f, err := s.Next(l.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Records) != len(sent) || len(f.Gaps) != 0 || f.Next != 5 || f.HighWatermark != 5 || f.LogStart != 0 {
		t.Fatalf("got %d records, %+v", len(f.Records), f)
	}
	for i, r := range f.Records {
		w := sent[i]
		if r.Offset != int64(i) || r.Time != w.Time || r.ContentType != w.ContentType ||
			!bytes.Equal(r.Key, w.Key) || !bytes.Equal(r.Value, w.Value) ||
			(r.Key == nil) != (w.Key == nil) || (r.Value == nil) != (w.Value == nil) {
			t.Errorf("record %d is %+v", i, r)
		}
	}
	if h := f.Records[1].Headers; len(h) != 2 || h[0].Key != "a" || string(h[0].Value) != "1" || h[1].Key != "b" {
		t.Errorf("headers are %v", h)
	}
	if h := f.Records[0].Headers; len(h) != 1 || h[0].Key != ContentTypeHeader {
		t.Errorf("headers are %v", h)
	}
}

func TestKafkaStartPositions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 10)...)
	at := func(ms int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(ms)) }
	for _, c := range []struct {
		name  string
		start Start
		first int64
	}{
		{"beginning", Start{}, 0},
		{"offset", Start{From: FromOffset, Offset: 7}, 7},
		{"time", Start{From: FromTime, Time: at(4)}, 4},
		{"time before all", Start{From: FromTime, Time: at(-1000)}, 0},
		{"time after all", Start{From: FromTime, Time: at(1000)}, 10},
		{"end", Start{From: FromEnd}, 10},
	} {
		s := l.open(topic, c.start)
		f, err := s.Next(l.ctx)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if len(f.Records) != int(10-c.first) || f.Next != 10 || len(f.Gaps) != 0 {
			t.Errorf("%s: %d records, next %d, gaps %v", c.name, len(f.Records), f.Next, f.Gaps)
		}
		if len(f.Records) > 0 && (f.Records[0].Offset != c.first || string(f.Records[0].Value) != fmt.Sprintf("r-%d", c.first)) {
			t.Errorf("%s: starts at %d with %q", c.name, f.Records[0].Offset, f.Records[0].Value)
		}
	}
	s := l.open(topic, Start{From: FromEnd})
	l.produce(topic, numbered("later", 1)...)
	if got, _ := l.collect(s, 1); string(got[0].Value) != "later-0" || got[0].Offset != 10 {
		t.Errorf("from the end came %d %q", got[0].Offset, got[0].Value)
	}
}

func TestKafkaEmptyFetchIsAHeartbeat(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	s := l.open(topic, Start{})
	for _, high := range []int64{0, 3} {
		f, err := s.Next(l.ctx)
		if err != nil || len(f.Records) != 0 || f.HighWatermark != high || f.Next != high {
			t.Fatalf("heartbeat is %+v, %v", f, err)
		}
		if high == 0 {
			l.produce(topic, numbered("r", 3)...)
			l.collect(s, 3)
		}
	}
}

func TestKafkaBatchesAreBoundedAndComplete(t *testing.T) {
	t.Parallel()
	for _, bound := range []struct{ records, bytes int }{{7, 1 << 20}, {4096, 60}} {
		l := newLab(t, func(c *KafkaConfig) { c.BatchRecords = bound.records; c.BatchBytes = bound.bytes; c.MaxBytes = 2000 })
		topic := l.topic(1, nil)
		for i := range 5 {
			l.produce(topic, numbered(fmt.Sprint("batch", i), 100)...)
		}
		s := l.open(topic, Start{})
		for next := int64(0); next < 500; {
			f, err := s.Next(l.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Records) > bound.records || len(f.Gaps) != 0 {
				t.Fatalf("%d records, gaps %v", len(f.Records), f.Gaps)
			}
			total := 0
			for _, r := range f.Records {
				if want := fmt.Sprintf("batch%d-%d", next/100, next%100); r.Offset != next || string(r.Value) != want {
					t.Fatalf("at %d: %d %q", next, r.Offset, r.Value)
				}
				if total >= bound.bytes {
					t.Fatalf("a record after %d bytes", total)
				}
				total += len(r.Key) + len(r.Value)
				next++
			}
			if f.Next != next {
				t.Fatalf("Next is %d after %d", f.Next, next)
			}
		}
	}
}

func TestKafkaMissingTopicIsAClearError(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	_, err := l.Open(l.ctx, PartitionID{"no-such-topic", 0}, Start{})
	wantError(t, err, ErrNoTopic, "no-such-topic", l.cfg.Brokers[0], "--kafka-topic", "--create")
	_, err = l.Describe(l.ctx, "no-such-topic")
	wantError(t, err, ErrNoTopic)
	topic := l.topic(2, nil)
	_, err = l.Open(l.ctx, PartitionID{topic, 2}, Start{})
	wantError(t, err, ErrNoTopic, "2 partitions", "no partition 2")
}

func TestKafkaUnreachableBrokerIsAClearError(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	_, err = Connect(testContext(t), KafkaConfig{Brokers: []string{address}})
	wantError(t, err, ErrUnreachable, address, "--brokers", "refused")
}

// A broker that accepts and never answers must not hold anyone for long.
func TestKafkaSilentBrokerIsAClearError(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // never accepts
	_, err = Connect(testContext(t), KafkaConfig{Brokers: []string{ln.Addr().String()}, RequestTimeout: 200 * time.Millisecond})
	wantError(t, err, ErrUnreachable, ln.Addr().String())
}

func TestKafkaSourceRecoversWhenTheBrokerComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := StartEmbedded(EmbeddedConfig{DataDir: dir, KafkaTopics: []TopicSpec{{Name: "t", Partitions: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	l := newLabAt(t, e.Address())
	l.produce("t", numbered("before", 3)...)
	s := l.open("t", Start{})
	l.collect(s, 3)
	_, port, _ := net.SplitHostPort(e.Address())
	e.Close()
	wantError(t, l.nextError(s), ErrUnreachable)
	wantError(t, l.nextError(s), ErrUnreachable) // and stays so, call after call

	e, err = StartEmbedded(EmbeddedConfig{DataDir: dir, Port: atoi(t, port)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	l.produce("t", numbered("after", 2)...)
	for {
		f, err := s.Next(l.ctx)
		if err != nil {
			wantError(t, err, ErrUnreachable)
			continue
		}
		if len(f.Records) == 0 {
			continue
		}
		if f.Records[0].Offset != 3 || string(f.Records[0].Value) != "after-0" || len(f.Gaps) != 0 {
			t.Fatalf("went on with %+v", f)
		}
		return
	}
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKafkaFrozenBrokerIsNoticed(t *testing.T) {
	t.Parallel()
	g := newGate()
	l := newLab(t, func(c *KafkaConfig) {
		c.dial = g.dial
		c.ReadTimeout, c.DialTimeout, c.RequestTimeout = 100*time.Millisecond, 500*time.Millisecond, time.Second
	})
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 3)...)
	s := l.open(topic, Start{})
	l.collect(s, 3)
	g.freeze()
	wantError(t, l.nextError(s), ErrUnreachable)
	wantError(t, l.nextError(s), ErrUnreachable)
	g.open()
	for {
		f, err := s.Next(l.ctx)
		if err == nil && f.Next == 3 {
			return
		}
		if err != nil {
			wantError(t, err, ErrUnreachable)
		}
	}
}

func TestKafkaCancelledNextReturnsAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *KafkaConfig) { c.MaxWait = testLimit })
	s := l.open(l.topic(1, nil), Start{})
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { _, err := s.Next(ctx); done <- err }()
	cancel()
	select {
	case err := <-done:
		wantError(t, err, context.Canceled)
	case <-l.ctx.Done():
		t.Fatal("Next did not return")
	}
}

func TestKafkaTruncationIsReported(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 10)...)
	s := l.open(topic, Start{From: FromOffset, Offset: 2})
	l.deleteRecords(topic, 6)
	var e *OutOfRange
	if err := l.nextError(s); !errors.As(err, &e) || !errors.Is(err, ErrOutOfRange) {
		t.Fatalf("error is %v", err)
	}
	if e.Wanted != 2 || e.LogStart != 6 || e.HighWatermark != 10 || !e.Truncated() {
		t.Fatalf("%+v", e)
	}
	got, gaps := l.collect(s, 4)
	if got[0].Offset != 6 || len(gaps) != 0 {
		t.Fatalf("went on at %d, gaps %v", got[0].Offset, gaps)
	}
}

// The source is connected, has read, and the log is cut away under it.
func TestKafkaTruncationUnderTheReaderIsReported(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 5)...)
	s := l.open(topic, Start{})
	l.collect(s, 5)
	l.produce(topic, numbered("lost", 5)...)
	l.deleteRecords(topic, 10)
	var e *OutOfRange
	if err := l.nextError(s); !errors.As(err, &e) {
		t.Fatalf("error is %v", err)
	}
	if e.Wanted != 5 || e.LogStart != 10 || e.HighWatermark != 10 {
		t.Fatalf("%+v", e)
	}
}

func TestKafkaOffsetBeyondTheEndIsReported(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 3)...)
	s := l.open(topic, Start{From: FromOffset, Offset: 8})
	var e *OutOfRange
	if err := l.nextError(s); !errors.As(err, &e) {
		t.Fatalf("error is %v", err)
	}
	if e.Wanted != 8 || e.HighWatermark != 3 || e.Truncated() {
		t.Fatalf("%+v", e)
	}
	l.produce(topic, numbered("new", 1)...)
	if got, _ := l.collect(s, 1); got[0].Offset != 3 {
		t.Fatalf("went on at %d", got[0].Offset)
	}
}

func TestKafkaRecreatedTopicIsDetected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		after int
	}{{"empty", 0}, {"shorter", 2}, {"longer", 20}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			topic := l.topic(1, nil)
			l.produce(topic, numbered("old", 5)...)
			s := l.open(topic, Start{})
			l.collect(s, 5)
			was := s.TopicID()
			l.recreate(topic)
			if c.after > 0 {
				l.produce(topic, numbered("new", c.after)...)
			}
			s.Recheck() // as the partition does when Watch reports it
			err := l.nextError(s)
			for errors.Is(err, ErrUnreachable) || errors.Is(err, ErrNoTopic) {
				err = l.nextError(s)
			}
			var e *Recreated
			if !errors.As(err, &e) || !errors.Is(err, ErrRecreated) {
				t.Fatalf("error is %v", err)
			}
			if e.WasID != was || e.IsID == was || s.TopicID() != e.IsID || e.IsID != l.topicID(topic) {
				t.Fatalf("%v; was %x", e, was)
			}
			l.produce(topic, numbered("last", 1)...)
			got, gaps := l.collect(s, c.after+1)
			if got[0].Offset != 0 || len(gaps) != 0 || bytes.HasPrefix(got[0].Value, []byte("old")) {
				t.Fatalf("went on with %d %q, gaps %v", got[0].Offset, got[0].Value, gaps)
			}
		})
	}
}

// Without anybody's hint: the fetch fails, or is out of range, and the id tells.
func TestKafkaRecreatedShorterTopicNeedsNoHint(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	l.produce(topic, numbered("old", 5)...)
	s := l.open(topic, Start{})
	l.collect(s, 5)
	l.recreate(topic)
	err := l.nextError(s)
	for errors.Is(err, ErrUnreachable) || errors.Is(err, ErrNoTopic) {
		err = l.nextError(s)
	}
	wantError(t, err, ErrRecreated)
}

// The new log reaches further than what was read, not as far as what was there.
func TestKafkaRecreatedTopicWithALowerHighWatermarkNeedsNoHint(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *KafkaConfig) { c.MaxBytes = 1 }) // a fetch brings one batch
	topic := l.topic(1, nil)
	for range 4 {
		l.produce(topic, numbered("old", 5)...)
	}
	s := l.open(topic, Start{})
	l.collect(s, 5)
	l.recreate(topic)
	l.produce(topic, numbered("new", 10)...)
	for {
		f, err := s.Next(l.ctx)
		if errors.Is(err, ErrRecreated) {
			return
		}
		if err != nil && !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrNoTopic) {
			t.Fatal(err)
		}
		if len(f.Records) != 0 {
			t.Fatalf("read %q of another log", f.Records[0].Value)
		}
	}
}

func TestKafkaDeletedTopicIsReported(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	s := l.open(topic, Start{})
	l.deleteTopic(topic)
	err := l.nextError(s)
	for errors.Is(err, ErrUnreachable) { // first the fetch fails, then the question why
		err = l.nextError(s)
	}
	wantError(t, err, ErrNoTopic, topic)
	wantError(t, l.nextError(s), ErrNoTopic)
}

// The same Kafka topic id, but the log at the last offset reads differently: the
// data directory of the broker was put back from before and written to again.
func TestKafkaRewrittenLogIsDetected(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := StartEmbedded(EmbeddedConfig{DataDir: dir, KafkaTopics: []TopicSpec{{Name: "t", Partitions: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(e.Address())
	l := newLabAt(t, e.Address())
	l.produce("t", numbered("same", 2)...)
	e.Close()
	backup := t.TempDir()
	if err := os.CopyFS(filepath.Join(backup, "d"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}

	e, err = StartEmbedded(EmbeddedConfig{DataDir: dir, Port: atoi(t, port)})
	if err != nil {
		t.Fatal(err)
	}
	l.produce("t", numbered("first", 3)...)
	s := l.open("t", Start{})
	l.collect(s, 5)
	e.Close()

	e, err = StartEmbedded(EmbeddedConfig{DataDir: filepath.Join(backup, "d"), Port: atoi(t, port)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	l.produce("t", numbered("second", 6)...)
	err = l.nextError(s)
	for errors.Is(err, ErrUnreachable) {
		err = l.nextError(s)
	}
	var r *Recreated
	if !errors.As(err, &r) || r.WasID != r.IsID || r.Offset != 4 {
		t.Fatalf("error is %v", err)
	}
	if got, _ := l.collect(s, 3); got[0].Offset != 5 || string(got[0].Value) != "second-3" {
		t.Fatalf("went on with %d %q", got[0].Offset, got[0].Value)
	}
}

func TestKafkaCorruptBatchIsReportedAndSkipped(t *testing.T) {
	t.Parallel()
	g := newGate()
	g.set(func(frame []byte) {
		if i := bytes.Index(frame, []byte("CORRUPT-ME")); i >= 0 {
			frame[i] ^= 1
		}
	})
	l := newLab(t, func(c *KafkaConfig) { c.dial = g.dial })
	topic := l.topic(1, nil)
	plain := l.raw(kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ManualFlushing()) // one batch a flush
	batch := func(prefix string, n int) {
		for i := range n {
			plain.Produce(l.ctx, &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "%s-%d", prefix, i)}, nil)
		}
		if err := plain.Flush(l.ctx); err != nil {
			t.Fatal(err)
		}
	}
	batch("good", 3)
	batch("CORRUPT-ME", 21)
	batch("fine", 2)
	s := l.open(topic, Start{})
	if got, _ := l.collect(s, 3); got[2].Offset != 2 {
		t.Fatalf("read %+v", got)
	}
	var e *Corrupt
	if err := l.nextError(s); !errors.As(err, &e) {
		t.Fatalf("error is %v", err)
	}
	if e.Offset != 3 || e.Next != 24 {
		t.Fatalf("%+v", e)
	}
	got, gaps := l.collect(s, 2)
	if got[0].Offset != 24 || string(got[0].Value) != "fine-0" || len(gaps) != 0 {
		t.Fatalf("went on with %+v, gaps %v", got, gaps)
	}
}

// hangUp is a connection that ends instead of sending a fetch request.
type hangUp struct {
	net.Conn
	on *atomic.Bool
}

func (c hangUp) Write(p []byte) (int, error) {
	const fetchKey = 1
	if c.on.Load() && len(p) >= 6 && binary.BigEndian.Uint16(p[4:]) == fetchKey {
		c.Close()
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// TestKafkaLeaderThatHangsUpLosesNoRecord: what ends at every offset is a bad
// leader, not a damaged batch.
func TestKafkaLeaderThatHangsUpLosesNoRecord(t *testing.T) {
	t.Parallel()
	var on atomic.Bool
	l := newLab(t, func(c *KafkaConfig) {
		c.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return hangUp{conn, &on}, err
		}
	})
	topic := l.topic(1, nil)
	s := l.open(topic, Start{})
	l.produce(topic, numbered("r", 5)...)
	on.Store(true)
	for range 2 * maxBroken {
		if err := l.nextError(s); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("error is %v", err)
		}
	}
	on.Store(false)
	for {
		f, err := s.Next(l.ctx)
		if l.ctx.Err() != nil || err != nil && !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
		if len(f.Records) > 0 {
			if f.Records[0].Offset != 0 {
				t.Fatalf("went on at %d", f.Records[0].Offset)
			}
			return
		}
	}
}

func TestKafkaFingerprintTellsRecordsApart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 3)...)
	s := l.open(topic, Start{})
	f, err := s.Next(l.ctx)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Fingerprint]bool{}
	for i := range f.Records {
		is, err := l.Fingerprint(l.ctx, PartitionID{topic, 0}, int64(i))
		if err != nil || is != FingerprintOf(&f.Records[i]) || seen[is] {
			t.Fatalf("fingerprint %d is %+v, %v", i, is, err)
		}
		seen[is] = true
	}
	for _, offset := range []int64{3, 4} {
		_, err := l.Fingerprint(l.ctx, PartitionID{topic, 0}, offset)
		wantError(t, err, ErrNoRecord)
	}
}

func TestEpochDependsOnEveryPart(t *testing.T) {
	base := Epoch("c", [16]byte{1}, 2, 3, []byte("i"))
	if base == 0 || base != Epoch("c", [16]byte{1}, 2, 3, []byte("i")) {
		t.Fatal("not stable")
	}
	for i, other := range []uint64{
		Epoch("d", [16]byte{1}, 2, 3, []byte("i")),
		Epoch("c", [16]byte{2}, 2, 3, []byte("i")),
		Epoch("c", [16]byte{1}, 3, 3, []byte("i")),
		Epoch("c", [16]byte{1}, 2, 4, []byte("i")),
		Epoch("c", [16]byte{1}, 2, 3, []byte("j")),
		Epoch("c", [16]byte{1}, 2, 3, nil),
	} {
		if other == base {
			t.Errorf("part %d does not matter", i)
		}
	}
	// Pinned: all versions of this program must agree.
	if want := uint64(0x6f46b91e5bdc39f4); base != want {
		t.Errorf("epoch is %#x, was %#x", base, want)
	}
}
