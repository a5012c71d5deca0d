package ingest

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// EmbeddedConfig configures the demo broker.
type EmbeddedConfig struct {
	// Port to listen on at 127.0.0.1. 0: a free one.
	Port int
	// DataDir keeps records across restarts. "": in memory.
	DataDir string
	// RetentionBytes bounds each partition; the oldest segments go first.
	// Default 64 MiB. The real size is up to one segment (an eighth) more.
	RetentionBytes int64
	// Retention bounds the age of records. Default 1 h.
	Retention time.Duration
	// KafkaTopics are created where they do not exist, with the bounds above
	// unless their Configs say otherwise.
	KafkaTopics []TopicSpec
}

func (c *EmbeddedConfig) validate() error {
	if c.RetentionBytes == 0 {
		c.RetentionBytes = 64 << 20
	}
	if c.Retention == 0 {
		c.Retention = time.Hour
	}
	if c.Port < 0 || c.Port > 65535 {
		return fmt.Errorf("ingest: embedded broker: port %d is not within 0 to 65535", c.Port)
	}
	if c.RetentionBytes < 1<<20 || c.Retention < time.Second {
		return errors.New("ingest: embedded broker: retention must be at least 1 MiB and 1s")
	}
	return nil
}

// Embedded is a broker inside this process that speaks Kafka's protocol: for
// demonstrations and tests. It is franz-go's kfake, documented as a fake: one
// node, no replication.
type Embedded struct {
	broker *kfake.Cluster
}

// StartEmbedded listens and creates the Kafka topics. It answers on loopback only.
func StartEmbedded(cfg EmbeddedConfig) (*Embedded, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	// Without log.cleaner.backoff.ms retention is looked at once an hour, and a
	// segment, the unit that it deletes, would be 100 MiB.
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.Ports(cfg.Port),
		kfake.BrokerConfigs(map[string]string{
			"log.cleaner.backoff.ms": "1000",
			"log.segment.bytes":      strconv.FormatInt(cfg.RetentionBytes/8, 10),
		}),
	}
	if cfg.DataDir != "" {
		opts = append(opts, kfake.DataDir(cfg.DataDir))
	}
	broker, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("ingest: embedded broker on %s: is the port taken, or the data directory in use? %w",
			net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Port)), err)
	}
	e := &Embedded{broker: broker}
	for _, t := range cfg.KafkaTopics {
		if broker.TopicInfo(t.Name) != nil {
			continue
		}
		// Retention works only for topics created with a retention of their own.
		configs := map[string]string{
			"retention.bytes": strconv.FormatInt(cfg.RetentionBytes, 10),
			"retention.ms":    strconv.FormatInt(cfg.Retention.Milliseconds(), 10),
		}
		maps.Copy(configs, t.Configs)
		if err := broker.CreateTopic(t.Name, t.Partitions, configs); err != nil {
			broker.Close()
			return nil, fmt.Errorf("ingest: embedded broker: creating Kafka topic %q: %w", t.Name, err)
		}
	}
	return e, nil
}

// Address is the broker's host:port.
func (e *Embedded) Address() string { return e.broker.ListenAddrs()[0] }

// Close stops the broker. In memory, its records end with it.
func (e *Embedded) Close() { e.broker.Close() }
