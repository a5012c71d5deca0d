package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// WatchKind says what a Watch found.
type WatchKind uint8

const (
	// WatchOffsets: the ends of a partition's log, once a round for each partition
	// that exists then.
	WatchOffsets WatchKind = iota
	// WatchShrunk: a partition's high watermark lies below one seen before. When
	// the Kafka topic was recreated in the middle of a round, this comes first
	// and WatchRecreated in the next round.
	WatchShrunk
	// WatchRecreated: the Kafka topic has another id (all its partitions), or
	// the whole cluster has.
	WatchRecreated
	// WatchUnreachable: no answer, every round until WatchReachable.
	WatchUnreachable
	// WatchMissing: a Kafka topic does not exist, every round while so.
	WatchMissing
	// WatchReachable: an answer after WatchUnreachable or WatchMissing.
	WatchReachable
)

var watchKinds = [...]string{"offsets", "shrunk", "recreated", "unreachable", "missing", "reachable"}

func (k WatchKind) String() string { return watchKinds[k] }

// WatchEvent is one finding. Only the fields that its kind names are set.
type WatchEvent struct {
	Kind      WatchKind
	Partition PartitionID // Offsets, Shrunk; KafkaTopic alone: Recreated, Missing
	Offsets   Offsets     // Offsets, Shrunk
	Asked     time.Time   // Offsets: just before the question that they answer
	WasHigh   int64       // Shrunk: the high watermark seen before
	ClusterID string      // Recreated: now
	TopicID   [16]byte    // Recreated: now; Offsets: as the round began
	Since     time.Time   // Unreachable, Missing, Reachable: when answers ended
	Err       error       // Unreachable, Missing
}

// WatchConfig says what to watch.
type WatchConfig struct {
	KafkaTopics []string
	Interval    time.Duration    // from round to round; default 1 s
	Now         func() time.Time // default time.Now
}

// Watch asks each Interval for the cluster's id, the Kafka topics' ids and
// partitions and the ends of their logs, and reports what it finds by calling
// report on its own goroutine, which must not block. The first round says what
// is there: WatchOffsets only. It sees what a source's fetch does not: a Kafka
// topic recreated behind its back, or broken while the source is in backoff. A
// round takes at most three times RequestTimeout. Watch returns ctx's error.
func (c *Cluster) Watch(ctx context.Context, cfg WatchConfig, report func(WatchEvent)) error {
	if len(cfg.KafkaTopics) == 0 {
		return errors.New("ingest: nothing to watch")
	}
	if cfg.Interval <= 0 {
		cfg.Interval = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	w := watch{cluster: c, topics: cfg.KafkaTopics, report: report, now: cfg.Now,
		ids: map[string][16]byte{}, high: map[PartitionID]int64{}}
	tick := time.NewTicker(cfg.Interval)
	defer tick.Stop()
	for {
		w.round(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// watch is what the last rounds saw. One goroutine owns it.
type watch struct {
	cluster *Cluster
	topics  []string
	report  func(WatchEvent)
	now     func() time.Time

	clusterID string
	ids       map[string][16]byte   // by Kafka topic
	high      map[PartitionID]int64 // the last high watermark; its keys are the partitions known
	since     time.Time             // when answers ended; zero while they come
	asked     time.Time             // before the round's question for offsets
}

func (w *watch) round(ctx context.Context) {
	info, offsets, err := w.ask(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if w.since.IsZero() {
			w.since = w.now()
		}
		e := WatchEvent{Kind: WatchUnreachable, Since: w.since, Err: err}
		if errors.Is(err, ErrNoTopic) {
			e.Kind = WatchMissing
		}
		w.report(e)
		return
	}
	if !w.since.IsZero() {
		w.report(WatchEvent{Kind: WatchReachable, Since: w.since})
		w.since = time.Time{}
	}
	for _, t := range info.Topics {
		w.compare(info.ClusterID, t, offsets)
	}
	w.clusterID = info.ClusterID
}

func (w *watch) ask(ctx context.Context) (ClusterInfo, map[PartitionID]Offsets, error) {
	info, err := w.cluster.Describe(ctx, w.topics...)
	if err != nil {
		return info, nil, err
	}
	var ids []PartitionID
	for _, t := range info.Topics {
		for _, p := range t.Partitions {
			ids = append(ids, PartitionID{t.Name, p})
		}
	}
	w.asked = w.now()
	offsets, err := w.cluster.Offsets(ctx, ids...)
	if err == nil && len(offsets) < len(ids) {
		missing := ids[slices.IndexFunc(ids, func(id PartitionID) bool { _, ok := offsets[id]; return !ok })]
		err = fmt.Errorf("%w: no answer about the offsets of %s (%d of %d partitions answered)", ErrUnreachable, missing, len(offsets), len(ids))
	}
	return info, offsets, err
}

// compare reports how t differs from what the last round saw.
func (w *watch) compare(clusterID string, t TopicInfo, offsets map[PartitionID]Offsets) {
	wasID, seen := w.ids[t.Name]
	w.ids[t.Name] = t.ID
	if seen && (wasID != t.ID || w.clusterID != clusterID) {
		w.report(WatchEvent{Kind: WatchRecreated, Partition: PartitionID{KafkaTopic: t.Name}, ClusterID: clusterID, TopicID: t.ID})
		for id := range w.high {
			if id.KafkaTopic == t.Name {
				delete(w.high, id)
			}
		}
	}
	for _, p := range t.Partitions {
		id := PartitionID{t.Name, p}
		o := offsets[id]
		was, known := w.high[id]
		w.high[id] = o.HighWatermark
		if known && o.HighWatermark < was {
			w.report(WatchEvent{Kind: WatchShrunk, Partition: id, Offsets: o, WasHigh: was})
		}
		w.report(WatchEvent{Kind: WatchOffsets, Partition: id, Offsets: o, Asked: w.asked, TopicID: t.ID})
	}
}
