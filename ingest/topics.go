package ingest

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
}
