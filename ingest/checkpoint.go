package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// CheckpointMode says what a process does with checkpoints.
type CheckpointMode string

const (
	// CheckpointsOff: neither read nor written. The zero value means the same.
	CheckpointsOff CheckpointMode = "off"
	// CheckpointsRead: a start uses them; another process writes them.
	CheckpointsRead CheckpointMode = "read"
	// CheckpointsWrite: a start uses them, and this process writes them. Of
	// several that write those of one partition the last to start goes on.
	CheckpointsWrite CheckpointMode = "write"
)

// CheckpointConfig says where checkpoints are kept and when they are written.
// They count only where Config.Start is FromBeginning: books that began to be
// read elsewhere are not those of the log.
type CheckpointConfig struct {
	// Mode: off (the default), read or write.
	Mode CheckpointMode
	// KafkaTopic holds them; it must be compacted, and nothing else. Where it does
	// not exist, CheckpointsWrite creates it. Default "depthcast.checkpoints". With a
	// Config.Delay its milliseconds are put behind the name (".delay-900000"): servers
	// that are not equally late must not write, nor read, one another's.
	KafkaTopic string
	// Records and Interval: a partition's next checkpoint is due when it has read
	// so many records since the last, or so much time has gone by and it has read
	// any, whichever comes first. After a failure, Interval later. Defaults
	// 1,000,000 and 30 s.
	Records  int64
	Interval time.Duration
	// ChunkBytes is the most that one Kafka record holds of a symbol's state. The
	// broker's message.max.bytes and the Kafka topic's max.message.bytes must be
	// above it. Default 512 KiB, at most 900,000.
	ChunkBytes int
	// HoldBytes is about how much is copied in one hold of a partition's lock; one
	// symbol is, however large. Default 256 KiB, some 0.1 ms.
	HoldBytes int
	// RoundTimeout is after how long a checkpoint is given up, and StopTimeout
	// that of the last one, when the process stops. Defaults 60 s and 5 s.
	RoundTimeout time.Duration
	StopTimeout  time.Duration
	// MaxBytes bounds what a start reads of one partition's checkpoint into
	// memory; one that is larger is not used. Default 4 GiB.
	MaxBytes int64
}

// maxCheckpointChunk leaves room for a record's key and the chunk's head within
// the 1,000,012 bytes that producers and brokers agree on for a batch.
const maxCheckpointChunk = 900_000

// validate fills in defaults and refuses what cannot work.
func (c *CheckpointConfig) validate() error {
	switch c.Mode {
	case "":
		c.Mode = CheckpointsOff
	case CheckpointsOff, CheckpointsRead, CheckpointsWrite:
	default:
		return fmt.Errorf("ingest: checkpoints %q: give write, read or off", c.Mode)
	}
	if c.KafkaTopic == "" {
		c.KafkaTopic = "depthcast.checkpoints"
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		dflt  time.Duration
	}{
		{"Interval", &c.Interval, 30 * time.Second},
		{"RoundTimeout", &c.RoundTimeout, time.Minute},
		{"StopTimeout", &c.StopTimeout, 5 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.dflt
		}
		if *d.value < time.Millisecond || *d.value > 5*time.Minute && d.value == &c.RoundTimeout {
			return fmt.Errorf("ingest: checkpoint %s %v is not within 1ms to 5m", d.name, *d.value)
		}
	}
	for _, n := range []struct {
		name    string
		value   *int
		dflt    int
		highest int
	}{
		{"ChunkBytes", &c.ChunkBytes, 512 << 10, maxCheckpointChunk},
		{"HoldBytes", &c.HoldBytes, 256 << 10, 1 << 30},
	} {
		if *n.value == 0 {
			*n.value = n.dflt
		}
		if *n.value < 64 || *n.value > n.highest {
			return fmt.Errorf("ingest: checkpoint %s %d is not within 64 to %d", n.name, *n.value, n.highest)
		}
	}
	if c.Records == 0 {
		c.Records = 1_000_000
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 4 << 30
	}
	if c.Records < 1 || c.MaxBytes < 1 {
		return errors.New("ingest: checkpoint Records and MaxBytes must be above 0")
	}
	return nil
}

// on reports whether checkpoints are used at all.
func (c *CheckpointConfig) on() bool { return c.Mode != CheckpointsOff }

// ErrNotCompacted: the Kafka topic for checkpoints would grow for ever, or lose
// the states of symbols that are quiet for long.
var ErrNotCompacted = errors.New("ingest: the Kafka topic for checkpoints is not compacted")

// checkpointTopic makes sure that the Kafka topic for checkpoints is there and
// compacted, and returns how many partitions it has: 0 if it does not exist and
// is not to be created. spread is the number of partitions to create it with.
func (c *Cluster) checkpointTopic(ctx context.Context, cfg *CheckpointConfig, spread int) (int32, error) {
	info, err := c.Describe(ctx, cfg.KafkaTopic)
	if errors.Is(err, ErrNoTopic) {
		if cfg.Mode != CheckpointsWrite {
			return 0, nil
		}
		if err := c.createCheckpointTopic(ctx, cfg, spread); err != nil {
			return 0, err
		}
		info, err = c.Describe(ctx, cfg.KafkaTopic)
	}
	if err != nil {
		return 0, fmt.Errorf("the Kafka topic for checkpoints (--checkpoint-topic): %w", err)
	}
	configs, err := c.topicConfigs(ctx, cfg.KafkaTopic, cleanupPolicy)
	if err != nil {
		return 0, fmt.Errorf("the Kafka topic for checkpoints (--checkpoint-topic): %w", err)
	}
	if policy := configs[cleanupPolicy]; policy != "compact" {
		return 0, fmt.Errorf("%w: %q has cleanup.policy=%s: kafka-configs.sh --bootstrap-server %s --alter --topic %s --add-config cleanup.policy=compact, or give another --checkpoint-topic, or --checkpoints=off",
			ErrNotCompacted, cfg.KafkaTopic, policy, c.cfg.Brokers[0], cfg.KafkaTopic)
	}
	return int32(len(info.Topics[0].Partitions)), nil
}

// createCheckpointTopic makes segments small, since the newest is not compacted,
// so that a start has less to read.
func (c *Cluster) createCheckpointTopic(ctx context.Context, cfg *CheckpointConfig, spread int) error {
	err := c.EnsureTopics(ctx, TopicSpec{Name: cfg.KafkaTopic, Partitions: int32(min(max(spread, 1), 64)),
		Configs: map[string]string{"cleanup.policy": "compact", "segment.bytes": "67108864"}})
	if err != nil {
		return fmt.Errorf("the Kafka topic for checkpoints: create it (kafka-topics.sh --bootstrap-server %s --create --topic %s --config cleanup.policy=compact --partitions %d), or give --checkpoints=off: %w",
			c.cfg.Brokers[0], cfg.KafkaTopic, max(spread, 1), err)
	}
	return nil
}

// checkpointPartition is the partition of the Kafka topic for checkpoints that
// holds those of id. Neighbours fall on different ones.
func checkpointPartition(id PartitionID, count int32) int32 {
	h := fnv.New32a()
	h.Write([]byte(id.KafkaTopic)) // a hash.Hash never returns an error
	return int32((uint64(h.Sum32()) + uint64(id.Partition)) % uint64(count))
}
