package ingest

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// watching starts a Watch and returns its events. Cleanup ends it.
func (l *lab) watching(topics ...string) <-chan WatchEvent {
	l.t.Helper()
	ctx, cancel := context.WithCancel(l.ctx)
	events, done := make(chan WatchEvent), make(chan struct{})
	go func() {
		defer close(done)
		err := l.Watch(ctx, WatchConfig{KafkaTopics: topics, Interval: time.Millisecond}, func(e WatchEvent) {
			select {
			case events <- e:
			case <-ctx.Done():
			}
		})
		if !errors.Is(err, context.Canceled) {
			l.t.Errorf("Watch ended with %v", err)
		}
	}()
	l.t.Cleanup(func() { cancel(); <-done })
	return events
}

// await returns the first event of a kind; it fails at one of a kind not expected.
func (l *lab) await(events <-chan WatchEvent, kind WatchKind, pass ...WatchKind) WatchEvent {
	l.t.Helper()
next:
	for {
		select {
		case e := <-events:
			if e.Kind == kind {
				return e
			}
			for _, k := range append(pass, WatchOffsets) {
				if e.Kind == k {
					continue next
				}
			}
			l.t.Fatalf("waiting for %v came %+v", kind, e)
		case <-l.ctx.Done():
			l.t.Fatalf("no %v", kind)
		}
	}
}

func TestKafkaWatchReportsOffsets(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	events := l.watching(topic)
	if e := l.await(events, WatchOffsets); e.Offsets.LogStart+e.Offsets.HighWatermark != 0 || e.Partition != (PartitionID{topic, 0}) {
		t.Fatalf("%+v", e)
	}
	l.produce(topic, numbered("r", 5)...)
	l.deleteRecords(topic, 2)
	for e := l.await(events, WatchOffsets); e.Offsets.LogStart != 2 || e.Offsets.HighWatermark != 5; {
		e = l.await(events, WatchOffsets)
	}
}

func TestKafkaWatchReportsARecreatedTopic(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 5)...)
	events := l.watching(topic)
	l.await(events, WatchOffsets)
	l.recreate(topic)
	e := l.await(events, WatchRecreated, WatchMissing, WatchReachable, WatchUnreachable, WatchShrunk)
	if e.TopicID != l.topicID(topic) || e.Partition.KafkaTopic != topic || e.ClusterID == "" {
		t.Fatalf("%+v", e)
	}
	if o := l.await(events, WatchOffsets, WatchReachable, WatchUnreachable); o.Offsets.HighWatermark != 0 {
		t.Fatalf("%+v", o)
	}
}

func TestKafkaWatchReportsAnAddedPartition(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	events := l.watching(topic)
	l.await(events, WatchOffsets)
	l.addPartitions(topic, 2)
	for {
		e := l.await(events, WatchOffsets, WatchUnreachable, WatchReachable)
		if e.Partition == (PartitionID{topic, 1}) {
			return
		}
	}
}

func TestKafkaWatchReportsAMissingTopic(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	events := l.watching(topic)
	l.await(events, WatchOffsets)
	l.deleteTopic(topic)
	if e := l.await(events, WatchMissing, WatchUnreachable, WatchReachable); !errors.Is(e.Err, ErrNoTopic) || e.Since.IsZero() {
		t.Fatalf("%+v", e)
	}
}

func TestKafkaWatchReportsAnAbsentBrokerUntilItIsBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := EmbeddedConfig{DataDir: dir, KafkaTopics: []TopicSpec{{Name: "t", Partitions: 1}}}
	e, err := StartEmbedded(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l := newLabAt(t, e.Address())
	events := l.watching("t")
	l.await(events, WatchOffsets)
	_, port, _ := net.SplitHostPort(e.Address())
	e.Close()
	first := l.await(events, WatchUnreachable)
	again := l.await(events, WatchUnreachable)
	if first.Since != again.Since || !errors.Is(again.Err, ErrUnreachable) {
		t.Fatalf("%+v, then %+v", first, again)
	}
	cfg.Port = atoi(t, port)
	e, err = StartEmbedded(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if back := l.await(events, WatchReachable, WatchUnreachable); back.Since != first.Since {
		t.Fatalf("%+v", back)
	}
	l.await(events, WatchOffsets) // and nothing of a recreated Kafka topic
}

// The log is put back to an earlier state under the same Kafka topic id.
func TestWatchReportsAShrunkLog(t *testing.T) {
	var got []WatchEvent
	w := watch{report: func(e WatchEvent) { got = append(got, e) }, ids: map[string][16]byte{}, high: map[PartitionID]int64{}}
	id := PartitionID{"t", 0}
	topic := TopicInfo{Name: "t", ID: [16]byte{1}, Partitions: []int32{0}}
	w.compare("", topic, map[PartitionID]Offsets{id: {HighWatermark: 9}})
	w.compare("", topic, map[PartitionID]Offsets{id: {HighWatermark: 4}})
	if len(got) != 3 || got[1].Kind != WatchShrunk || got[1].WasHigh != 9 || got[1].Offsets.HighWatermark != 4 {
		t.Fatalf("%+v", got)
	}
}
