package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// ErrPartitionAdded ends Run: a Kafka topic has a partition that was not there
// when Ingest was opened, so producers put keys elsewhere now, and no book of the
// Kafka topic can be trusted any more. Open another Ingest, which reads the
// partition too and finds each symbol where it lives.
var ErrPartitionAdded = errors.New("ingest: a partition was added")

// Ingest reads all partitions of the configured Kafka topics.
type Ingest struct {
	// Static.
	cfg        Config
	cluster    *Cluster
	directory  *Directory
	partitions []*Partition
	log        *slog.Logger
	spread     int32 // partitions of the Kafka topic for checkpoints; 0: no checkpoints

	// Owned by the watcher's goroutine.
	logLimit *rate.Limiter
}

// Open looks the Kafka topics up and connects to each partition; books makes the
// books of one. A broker that cannot be reached, a Kafka topic that does not
// exist and a configuration that cannot work are errors within seconds, which
// say what to do. After Open, call Run.
func Open(ctx context.Context, cluster *Cluster, cfg Config, books func(PartitionID) Books) (*Ingest, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	names := make([]string, len(cfg.KafkaTopics))
	for i, t := range cfg.KafkaTopics {
		names[i] = t.Name
	}
	info, err := cluster.Describe(ctx, names...)
	if err != nil {
		return nil, err
	}
	in := &Ingest{cfg: cfg, cluster: cluster, directory: newDirectory(), log: cfg.Log,
		logLimit: rate.NewLimiter(0.1, 3)}
	if err := in.judgeRetention(ctx); err != nil {
		return nil, err
	}
	if err := in.openCheckpoints(ctx, info.Topics); err != nil {
		return nil, err
	}
	for i, t := range info.Topics {
		if err := in.openTopic(ctx, i, t, books); err != nil {
			in.closeSources()
			return nil, err
		}
	}
	return in, nil
}

// openTopic opens the partitions of the Kafka topic that stands at order.
func (in *Ingest) openTopic(ctx context.Context, order int, t TopicInfo, books func(PartitionID) Books) error {
	for _, n := range t.Partitions {
		id := PartitionID{t.Name, n}
		opened, err := in.cluster.Open(ctx, id, in.cfg.start())
		if err != nil {
			return fmt.Errorf("ingest: opening %s: %w", id, err)
		}
		source := Source(opened)
		if in.cfg.Delay > 0 {
			source = in.delay(opened)
		}
		p := newPartition(&in.cfg, partitionConfig{
			topic: in.cfg.KafkaTopics[order], order: order, count: len(t.Partitions),
			topicID: opened.TopicID(), source: source, books: books(id),
			directory: in.directory, clusterID: in.describeCluster, now: in.cfg.Now,
		})
		if in.spread > 0 {
			p.checkpoints = newCheckpointer(in.cluster, &in.cfg.Checkpoints, p, in.spread)
		}
		in.partitions = append(in.partitions, p)
	}
	return nil
}

// openCheckpoints makes sure of the Kafka topic for checkpoints, if there are to be
// any.
func (in *Ingest) openCheckpoints(ctx context.Context, topics []TopicInfo) error {
	c := &in.cfg.Checkpoints
	if !c.on() {
		return nil
	}
	if in.cfg.Start.From != FromBeginning {
		in.log.Warn("no checkpoints: they are of books that were read from the beginning", "checkpoints", string(c.Mode))
		return nil
	}
	if in.cfg.Delay > 0 {
		c.KafkaTopic += fmt.Sprintf(".delay-%d", in.cfg.Delay.Milliseconds())
	}
	most := 0
	for _, t := range topics {
		most = max(most, len(t.Partitions))
	}
	var err error
	in.spread, err = in.cluster.checkpointTopic(ctx, c, most)
	if err == nil && in.spread == 0 {
		in.log.Warn("no checkpoints: the Kafka topic for them does not exist yet", "kafka_topic", c.KafkaTopic)
	}
	return err
}

func (in *Ingest) closeSources() {
	for _, p := range in.partitions {
		p.source.Close()
	}
}

// Directory says where each symbol lives.
func (in *Ingest) Directory() *Directory { return in.directory }

// Partitions are all partitions read, by Kafka topic in the order configured,
// then by number.
func (in *Ingest) Partitions() []*Partition { return in.partitions }

// CaughtUp reports whether every partition has caught up. Until then a symbol
// that the directory does not know may still come.
func (in *Ingest) CaughtUp() bool { return in.directory.caughtUp() }

// Run reads until ctx ends, and returns nil then, or until an ErrPartitionAdded.
// It is to be called once.
func (in *Ingest) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range in.partitions {
		g.Go(func() error { return p.Run(ctx) })
	}
	g.Go(func() error { return in.tick(ctx) })
	g.Go(func() error { return in.watch(ctx) })
	return g.Wait()
}

// watch passes on what a watcher finds, until that ends Run.
func (in *Ingest) watch(ctx context.Context) error {
	names := make([]string, len(in.cfg.KafkaTopics))
	for i, t := range in.cfg.KafkaTopics {
		names[i] = t.Name
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	err := in.cluster.Watch(ctx, WatchConfig{KafkaTopics: names, Interval: in.cfg.lookEvery(), Now: in.cfg.Now}, func(e WatchEvent) {
		if err := in.watched(e); err != nil {
			end(err)
		}
	})
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrPartitionAdded):
		return cause
	case ctx.Err() != nil:
		return nil
	}
	return err
}

func (in *Ingest) tick(ctx context.Context) error {
	t := time.NewTicker(in.cfg.TickEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		for _, p := range in.partitions {
			p.Tick(in.cfg.Now())
		}
	}
}

// describeCluster asks for the cluster's id, which epochs are derived from. It
// is asked each time: a cluster set up anew under the same address has another.
func (in *Ingest) describeCluster(ctx context.Context) (string, error) {
	info, err := in.cluster.Describe(ctx)
	return info.ClusterID, err
}

// watched passes on what the watcher found; an error ends Run. It runs on the
// watcher's goroutine.
func (in *Ingest) watched(e WatchEvent) error {
	switch e.Kind {
	case WatchOffsets:
		for _, p := range in.partitions {
			if p.id == e.Partition {
				p.seen(&e)
				return nil
			}
		}
		return fmt.Errorf("%w: %s", ErrPartitionAdded, e.Partition)
	case WatchShrunk, WatchRecreated:
		in.log.Error("the log changed", "what", e.Kind, "kafka_topic", e.Partition.KafkaTopic)
		in.each(e.Partition.KafkaTopic, (*Partition).recheck)
	case WatchUnreachable, WatchMissing:
		if in.logLimit.Allow() {
			in.log.Warn("Kafka does not answer as it should", "what", e.Kind, "since", e.Since, "err", e.Err)
		}
	case WatchReachable:
		in.log.Info("Kafka answers again", "silent_for", time.Since(e.Since).Round(time.Millisecond))
	}
	return nil
}

// each calls f for the partitions of a Kafka topic.
func (in *Ingest) each(kafkaTopic string, f func(*Partition)) {
	for _, p := range in.partitions {
		if p.id.KafkaTopic == kafkaTopic {
			f(p)
		}
	}
}
