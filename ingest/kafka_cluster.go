package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Cluster answers questions about a Kafka cluster and opens its sources. It
// asks through franz-go, whose metadata (unlike kafka-go's) knows Kafka topic
// ids. Safe for use by several goroutines.
type Cluster struct {
	cfg    KafkaConfig
	client *kgo.Client
}

// Connect checks cfg and that a broker answers, within cfg.RequestTimeout.
func Connect(ctx context.Context, cfg KafkaConfig) (*Cluster, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(cfg.clientOptions(),
		kgo.RequestRetries(max(2, len(cfg.Brokers))), // each retry asks another broker
		kgo.RetryTimeout(cfg.RequestTimeout),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
		kgo.RequestTimeoutOverhead(cfg.RequestTimeout),
		kgo.MetadataMinAge(100*time.Millisecond), // a moved leader is looked up at once
	)...)
	if err != nil {
		return nil, fmt.Errorf("ingest: Kafka client: %w", err)
	}
	c := &Cluster{cfg: cfg, client: client}
	if _, err := c.metadata(ctx, []string{}); err != nil {
		client.Close()
		return nil, err
	}
	return c, nil
}

// Close ends the connections that questions were asked over. Sources and
// producers have their own and are closed for themselves.
func (c *Cluster) Close() { c.client.Close() }

// Describe returns the cluster id, and id and partitions of each Kafka topic.
// One that does not exist is ErrNoTopic with a sentence that says what to do.
func (c *Cluster) Describe(ctx context.Context, kafkaTopics ...string) (ClusterInfo, error) {
	m, err := c.metadata(ctx, kafkaTopics)
	if err != nil {
		return ClusterInfo{}, err
	}
	info := ClusterInfo{}
	if m.ClusterID != nil {
		info.ClusterID = *m.ClusterID
	}
	for _, name := range kafkaTopics {
		t, err := c.topicOf(m, name)
		if err != nil {
			return ClusterInfo{}, err
		}
		ti := TopicInfo{Name: name, ID: t.TopicID}
		for _, p := range t.Partitions {
			ti.Partitions = append(ti.Partitions, p.Partition)
		}
		slices.Sort(ti.Partitions)
		info.Topics = append(info.Topics, ti)
	}
	return info, nil
}

// metadata asks for the cluster and the Kafka topics given (none if empty).
func (c *Cluster) metadata(ctx context.Context, kafkaTopics []string) (*kmsg.MetadataResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // empty: none; nil would be all
	for _, name := range kafkaTopics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	m, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return nil, c.clusterError(err)
	}
	return m, nil
}

// topicOf finds one Kafka topic in m and says what its error code means.
func (c *Cluster) topicOf(m *kmsg.MetadataResponse, name string) (*kmsg.MetadataResponseTopic, error) {
	for i := range m.Topics {
		t := &m.Topics[i]
		if t.Topic == nil || *t.Topic != name {
			continue
		}
		switch err := kerr.ErrorForCode(t.ErrorCode); {
		case err == nil:
			return t, nil
		case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.InvalidTopicException):
			return nil, c.noTopic(name)
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			return nil, fmt.Errorf("%w: user %q may not describe Kafka topic %q: %w", ErrDenied, c.cfg.SASL.User, name, err)
		default:
			return nil, fmt.Errorf("%w: Kafka topic %q: %w", ErrUnreachable, name, err)
		}
	}
	return nil, c.noTopic(name)
}

// leader finds the address of a partition's leader and the Kafka topic's id.
func (c *Cluster) leader(ctx context.Context, id PartitionID) (address string, topicID [16]byte, err error) {
	m, err := c.metadata(ctx, []string{id.KafkaTopic})
	if err != nil {
		return "", topicID, err
	}
	t, err := c.topicOf(m, id.KafkaTopic)
	if err != nil {
		return "", topicID, err
	}
	for _, p := range t.Partitions {
		if p.Partition != id.Partition {
			continue
		}
		for _, b := range m.Brokers {
			if b.NodeID == p.Leader {
				return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))), t.TopicID, nil
			}
		}
		return "", topicID, fmt.Errorf("%w: %s has no leader: %w", ErrUnreachable, id, kerr.LeaderNotAvailable)
	}
	return "", topicID, fmt.Errorf("%w: Kafka topic %q on %s has %d partitions and no partition %d",
		ErrNoTopic, id.KafkaTopic, c.cfg.brokers(), len(t.Partitions), id.Partition)
}

// Timestamps with a meaning of their own in ListOffsets.
const (
	latestOffset   = -1
	earliestOffset = -2
)

// Offsets returns the ends of each partition's log. A partition whose leader
// did not answer is missing from the map; no answer at all is an error.
func (c *Cluster) Offsets(ctx context.Context, ids ...PartitionID) (map[PartitionID]Offsets, error) {
	starts, err := c.listOffsets(ctx, earliestOffset, ids)
	if err != nil {
		return nil, err
	}
	ends, err := c.listOffsets(ctx, latestOffset, ids)
	if err != nil {
		return nil, err
	}
	all := make(map[PartitionID]Offsets, len(ids))
	for id, start := range starts {
		if end, ok := ends[id]; ok {
			all[id] = Offsets{LogStart: start.offset, HighWatermark: end.offset, Leader: end.leader}
		}
	}
	return all, nil
}

// listedOffset is an offset that was asked for by time.
type listedOffset struct {
	offset int64 // -1: no record that late
	leader int32 // its epoch; -1: not known
}

// listOffsets asks for the offset at a time (ms since 1970, or one of the two
// special values).
func (c *Cluster) listOffsets(ctx context.Context, at int64, ids []PartitionID) (map[PartitionID]listedOffset, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = readCommitted
	for _, id := range ids {
		i := slices.IndexFunc(req.Topics, func(t kmsg.ListOffsetsRequestTopic) bool { return t.Topic == id.KafkaTopic })
		if i < 0 {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = id.KafkaTopic
			req.Topics, i = append(req.Topics, t), len(req.Topics)
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = id.Partition, at
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return nil, c.clusterError(err)
	}
	offsets := make(map[PartitionID]listedOffset, len(ids))
	var last error
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				last = fmt.Errorf("%w: offsets of %s/%d: %w", ErrUnreachable, t.Topic, p.Partition, err)
				continue
			}
			offsets[PartitionID{t.Topic, p.Partition}] = listedOffset{p.Offset, p.LeaderEpoch}
		}
	}
	if len(offsets) == 0 && last != nil {
		return nil, last
	}
	return offsets, nil
}

// EnsureTopics creates the Kafka topics that do not exist and returns when all
// of them have leaders, or after cfg.RequestTimeout with an error. One that
// exists is left as it is, whatever its partitions and configs.
func (c *Cluster) EnsureTopics(ctx context.Context, specs ...TopicSpec) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RequestTimeout)
	defer cancel()
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, s := range specs {
		if s.Partitions < 1 {
			return fmt.Errorf("ingest: Kafka topic %q cannot have %d partitions", s.Name, s.Partitions)
		}
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = s.Name, s.Partitions, -1 // the broker's default
		for k, v := range s.Configs {
			cfg := kmsg.NewCreateTopicsRequestTopicConfig()
			cfg.Name, cfg.Value = k, kmsg.StringPtr(v)
			t.Configs = append(t.Configs, cfg)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return c.clusterError(err)
	}
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
			continue
		}
		why := ""
		if t.ErrorMessage != nil {
			why = ": " + *t.ErrorMessage
		}
		return fmt.Errorf("ingest: creating Kafka topic %q: %w%s", t.Topic, err, why)
	}
	return c.awaitLeaders(ctx, specs)
}

// awaitLeaders asks until every partition of specs has a leader: a Kafka topic
// just created is not known to every broker at once.
func (c *Cluster) awaitLeaders(ctx context.Context, specs []TopicSpec) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, s := range specs {
		for {
			err := c.allLed(ctx, s.Name)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("ingest: Kafka topic %q was created but cannot be used yet: %w", s.Name, err)
			case <-tick.C:
			}
		}
	}
	return nil
}

// allLed is nil when every partition of a Kafka topic has a leader.
func (c *Cluster) allLed(ctx context.Context, name string) error {
	m, err := c.metadata(ctx, []string{name})
	if err != nil {
		return err
	}
	t, err := c.topicOf(m, name)
	if err != nil {
		return err
	}
	for _, p := range t.Partitions {
		if p.Leader < 0 {
			return fmt.Errorf("%w: %s/%d has no leader", ErrUnreachable, name, p.Partition)
		}
	}
	return nil
}

func (c *Cluster) noTopic(name string) error {
	return fmt.Errorf("%w: %q does not exist on %s: check --kafka-topic, or create it: kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions 8",
		ErrNoTopic, name, c.cfg.brokers(), c.cfg.Brokers[0], name)
}

// clusterError says in a sentence what to do about a request without an answer.
func (c *Cluster) clusterError(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism),
		errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("%w: user %q at %s: check the SASL mechanism, user and password: %w",
			ErrDenied, c.cfg.SASL.User, c.cfg.brokers(), err)
	default:
		hint := ""
		if c.cfg.SASL.Mechanism != "" && errors.Is(err, io.EOF) {
			hint = ", and the user and password, for which some brokers just hang up"
		}
		return fmt.Errorf("%w: no broker of %s answers: check --brokers, and that a broker runs there and can be reached%s: %w",
			ErrUnreachable, c.cfg.brokers(), hint, err)
	}
}
