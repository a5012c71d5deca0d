package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ErrFenced: another process has begun to write the checkpoints of the partition.
var ErrFenced = errors.New("ingest: another process writes these checkpoints now")

// checkpointBuffer bounds what a round has handed over and Kafka has not
// acknowledged, in bytes.
const checkpointBuffer = 8 << 20

// transaction writes rounds of one partition's checkpoints, each as a whole or
// not at all. One goroutine owns it.
type transaction struct {
	client *kgo.Client
	to     PartitionID // of the Kafka topic for checkpoints
	failed atomic.Pointer[error]
}

// newTransaction makes the producer of one partition's checkpoints and fences its
// predecessors, within ctx.
func (c *Cluster) newTransaction(ctx context.Context, cfg *CheckpointConfig, to, of PartitionID) (*transaction, error) {
	client, err := kgo.NewClient(append(c.cfg.clientOptions(),
		// Made of what is written and where, so that all who write it have the same.
		kgo.TransactionalID(cfg.KafkaTopic+"/"+of.KafkaTopic+"/"+strconv.Itoa(int(of.Partition))),
		// A round is given up long before the broker would do so, which would
		// look like being fenced.
		kgo.TransactionTimeout(2*cfg.RoundTimeout+10*time.Second),
		kgo.DefaultProduceTopic(to.KafkaTopic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// An encoder of lz4 would take blocks of 4 MiB, whatever it is given.
		kgo.ProducerBatchCompression(kgo.SnappyCompression(), kgo.NoCompression()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedBytes(checkpointBuffer),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(cfg.RoundTimeout),
		kgo.RetryTimeout(c.cfg.RequestTimeout),
		kgo.RequestTimeoutOverhead(c.cfg.RequestTimeout),
		kgo.MetadataMinAge(250*time.Millisecond),
	)...)
	if err != nil {
		return nil, fmt.Errorf("ingest: Kafka producer: %w", err)
	}
	t := &transaction{client: client, to: to}
	if _, _, err := client.ProducerID(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("ingest: beginning to write checkpoints (ACL Write on the transactional id %q): %w",
			cfg.KafkaTopic+"/"+of.KafkaTopic+"/"+strconv.Itoa(int(of.Partition)), fencedBy(err))
	}
	return t, nil
}

// begin begins a round.
func (t *transaction) begin() error {
	t.failed.Store(nil)
	return fencedBy(t.client.BeginTransaction())
}

// put hands a record over, a tombstone if value is nil. It waits, within ctx,
// while checkpointBuffer is full. Key and value must not change any more.
func (t *transaction) put(ctx context.Context, key string, value []byte) error {
	t.client.Produce(ctx, &kgo.Record{Partition: t.to.Partition, Key: []byte(key), Value: value}, t.done)
	return t.err()
}

// done is called by the client's goroutines.
func (t *transaction) done(_ *kgo.Record, err error) {
	if err != nil {
		t.failed.CompareAndSwap(nil, &err)
	}
}

func (t *transaction) err() error {
	if err := t.failed.Load(); err != nil {
		return fencedBy(*err)
	}
	return nil
}

// commit ends the round, which then counts. After an error it may count or not.
func (t *transaction) commit(ctx context.Context) error {
	if err := t.client.Flush(ctx); err != nil {
		return err
	}
	if err := t.err(); err != nil {
		return err
	}
	return fencedBy(t.client.EndTransaction(ctx, kgo.TryCommit))
}

// abort takes the round back. After an error t must be closed.
func (t *transaction) abort(ctx context.Context) error {
	if err := t.client.AbortBufferedRecords(ctx); err != nil {
		return err
	}
	return fencedBy(t.client.EndTransaction(ctx, kgo.TryAbort))
}

func (t *transaction) close() { t.client.Close() }

// fencedBy says ErrFenced where that is what err means.
func fencedBy(err error) error {
	if errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return err
}
