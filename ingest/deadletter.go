package ingest

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"
)

// Headers of a dead letter, beside those that the record had.
const (
	DeadLetterReason    = "depthcast-reason"
	DeadLetterTopic     = "depthcast-kafka-topic"
	DeadLetterPartition = "depthcast-partition"
	DeadLetterOffset    = "depthcast-offset"
	DeadLetterTime      = "depthcast-time" // of the record, ns since 1970
	// DeadLetterOmitted is there where the value was left out: its length in bytes.
	DeadLetterOmitted = "depthcast-value-omitted"
)

// maxLetterValue is the longest value that is copied. Brokers take batches of
// 1 MiB unless configured otherwise, and so producers make none that are longer.
const maxLetterValue = 900_000

// DeadLetters copies records that could not be used to the dead-letter Kafka
// topic, with key, value and headers as they were, and headers that say why and
// where from; a value of more than maxLetterValue bytes is left out, since no
// broker need take it. A letter's own time is when it was sent, so that retention does not
// take the letters of a replay at once. It never waits: when its queue is full or the broker does
// not answer in time, letters are dropped and counted. Safe for use by several
// goroutines.
type DeadLetters struct {
	producer *Producer
	refused  atomic.Uint64
}

// NewDeadLetters holds at most 4,096 letters and 16 MiB that the broker has not
// acknowledged, each for at most 30 s.
func (c *Cluster) NewDeadLetters(kafkaTopic string) (*DeadLetters, error) {
	p, err := c.NewProducer(ProducerConfig{
		KafkaTopic: kafkaTopic,
		MaxRecords: 4096,
		MaxBytes:   16 << 20,
		Linger:     5 * time.Millisecond,
		Deadline:   30 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return &DeadLetters{producer: p}, nil
}

// Put sends a copy of r, which was read from the partition given and not used
// for reason, and reports whether there was room for it.
func (d *DeadLetters) Put(from PartitionID, r Record, reason string) bool {
	hs := make([]Header, 0, len(r.Headers)+6)
	hs = append(hs, r.Headers...)
	r.Headers = append(hs,
		Header{DeadLetterReason, []byte(reason)},
		Header{DeadLetterTopic, []byte(from.KafkaTopic)},
		Header{DeadLetterPartition, strconv.AppendInt(nil, int64(from.Partition), 10)},
		Header{DeadLetterOffset, strconv.AppendInt(nil, r.Offset, 10)},
		Header{DeadLetterTime, strconv.AppendInt(nil, r.Time, 10)})
	if n := len(r.Value); n > maxLetterValue {
		r.Value = nil
		r.Headers = append(r.Headers, Header{DeadLetterOmitted, strconv.AppendInt(nil, int64(n), 10)})
	}
	r.Time = 0
	if !d.producer.TryProduce(r) {
		d.refused.Add(1)
		return false
	}
	return true
}

// Sent counts letters that the broker has, Dropped those that it will not get.
func (d *DeadLetters) Sent() uint64    { return d.producer.Acked() }
func (d *DeadLetters) Dropped() uint64 { return d.refused.Load() + d.producer.Failed() }

// Close sends what is queued within ctx and ends the connections.
func (d *DeadLetters) Close(ctx context.Context) error { return d.producer.Close(ctx) }
