package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ClusterInfo is what a cluster says about itself and the Kafka topics asked for.
type ClusterInfo struct {
	ClusterID string
	Topics    []TopicInfo // in the order asked for
}

// TopicInfo describes one Kafka topic. Its ID is drawn when it is created: a
// Kafka topic deleted and created again has another.
type TopicInfo struct {
	Name       string
	ID         [16]byte
	Partitions []int32 // ascending
}

// TopicSpec is a Kafka topic to be created.
type TopicSpec struct {
	Name       string
	Partitions int32             // at least 1
	Configs    map[string]string // e.g. retention.bytes, cleanup.policy
}

// Offsets are the ends of one partition's log.
type Offsets struct {
	LogStart      int64 // first offset that the broker holds
	HighWatermark int64 // one past the last offset that consumers may read; no transaction before it is open
	Leader        int32 // epoch of the leader that says so; -1: not known
}

// Configurations of a Kafka topic that are asked for.
const (
	cleanupPolicy = "cleanup.policy"
	retention     = "retention.ms"
	compactionLag = "min.compaction.lag.ms"
	timestampType = "message.timestamp.type"
)

// topicConfigs asks for configurations of a Kafka topic, by name.
func (c *Cluster) topicConfigs(ctx context.Context, kafkaTopic string, names ...string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, kafkaTopic, names
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return nil, c.clusterError(err)
	}
	configs := map[string]string{cleanupPolicy: "delete"} // the brokers' default
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			return nil, fmt.Errorf("its configuration cannot be read (ACL DescribeConfigs): %w", err)
		}
		for _, e := range r.Configs {
			if e.Value != nil {
				configs[e.Name] = *e.Value
			}
		}
	}
	// Which order its words stand in is the broker's affair.
	parts := strings.Split(configs[cleanupPolicy], ",")
	slices.Sort(parts)
	configs[cleanupPolicy] = strings.Join(parts, ",")
	return configs, nil
}
