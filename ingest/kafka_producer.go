package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ProducerConfig says what a Producer writes and how much it may hold.
type ProducerConfig struct {
	// KafkaTopic is written to. Required; it must exist.
	KafkaTopic string
	// MaxRecords and MaxBytes bound what was given to Produce and is not yet
	// acknowledged; Produce waits at either. Defaults 65,536 and 64 MiB.
	MaxRecords int
	MaxBytes   int
	// Linger is how long a record may wait for others to share a batch.
	// Default 1 ms.
	Linger time.Duration
	// Deadline gives a record up when it was not acknowledged so long after its
	// Time: for records whose Time is left to the producer. 0: never, as long as
	// the process lives.
	Deadline time.Duration
}

func (c *ProducerConfig) validate() error {
	if c.KafkaTopic == "" {
		return errors.New("ingest: producer without a Kafka topic")
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = 1 << 16
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 64 << 20
	}
	if c.Linger == 0 {
		c.Linger = time.Millisecond
	}
	if c.MaxRecords < 1 || c.MaxBytes < 1 || c.Linger < 0 || c.Deadline < 0 {
		return errors.New("ingest: producer bounds must be positive")
	}
	return nil
}

// Producer writes records to one Kafka topic: acknowledged by all replicas,
// compressed with lz4, in order per partition and without duplicates (franz-go's
// idempotent producer; kafka-go's Writer reports records as failed that were
// stored, and may store a later batch before an earlier one that it retries).
// A record goes to the partition murmur2(key) mod n, as with Kafka's own
// producers; without a key, to any. Safe for use by several goroutines.
type Producer struct {
	// Static.
	client     *kgo.Client
	topic      string
	brokers    string
	maxRecords int64

	// Written by the client's goroutines.
	acked    atomic.Uint64
	failed   atomic.Uint64
	firstErr atomic.Pointer[error] // of records given up since the last Flush
}

// NewProducer makes a producer with connections of its own. It does not wait for
// the broker: Describe or EnsureTopics say whether the Kafka topic is there.
func (c *Cluster) NewProducer(cfg ProducerConfig) (*Producer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	opts := append(c.cfg.clientOptions(),
		kgo.DefaultProduceTopic(cfg.KafkaTopic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression()),
		kgo.ProducerLinger(cfg.Linger),
		kgo.MaxBufferedRecords(cfg.MaxRecords),
		kgo.MaxBufferedBytes(cfg.MaxBytes),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.MetadataMinAge(250*time.Millisecond),
	)
	if cfg.Deadline > 0 {
		opts = append(opts, kgo.RecordDeliveryTimeout(cfg.Deadline))
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("ingest: Kafka producer: %w", err)
	}
	return &Producer{client: client, topic: cfg.KafkaTopic, brokers: c.cfg.brokers(), maxRecords: int64(cfg.MaxRecords)}, nil
}

// Produce hands over copies of Key, Value, Time (0: now), ContentType and Headers
// of the records, in order, and waits only while the bounds are reached. An error
// is ctx's, or that of a record given up since the last Flush; records from the
// failing one on were not taken. Cancelling ctx also gives up what was taken with
// it and not sent yet.
func (p *Producer) Produce(ctx context.Context, records []Record) error {
	for _, k := range p.copies(records) {
		if err := p.givenUp(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		p.client.Produce(ctx, k, p.done)
	}
	return ctx.Err()
}

// TryProduce hands over a copy of one record if there is room, and reports whether
// there was. It never waits.
func (p *Producer) TryProduce(r Record) bool {
	if p.Buffered() >= p.maxRecords {
		return false
	}
	// The client has the last word on its bounds: a record that it refuses after
	// all, for its bytes or in a race for the last place, counts as failed.
	p.client.TryProduce(context.Background(), p.copies([]Record{r})[0], p.done)
	return true
}

// Flush waits until everything handed over was acknowledged or given up, and
// returns the first error of the latter since the last Flush.
func (p *Producer) Flush(ctx context.Context) error {
	if err := p.client.Flush(ctx); err != nil {
		return fmt.Errorf("ingest: %d records not yet acknowledged by %s: %w", p.Buffered(), p.brokers, err)
	}
	if err := p.firstErr.Swap(nil); err != nil {
		return *err
	}
	return nil
}

// Close flushes within ctx, then ends the connections. What was not acknowledged
// by then is lost, and the error says so.
func (p *Producer) Close(ctx context.Context) error {
	err := p.Flush(ctx)
	p.client.Close()
	return err
}

// Acked and Failed count records acknowledged and given up; Buffered is how many
// are neither yet.
func (p *Producer) Acked() uint64   { return p.acked.Load() }
func (p *Producer) Failed() uint64  { return p.failed.Load() }
func (p *Producer) Buffered() int64 { return p.client.BufferedProduceRecords() }

func (p *Producer) givenUp() error {
	if err := p.firstErr.Load(); err != nil {
		return *err
	}
	return nil
}

// done is called by the client's goroutines, once a record.
func (p *Producer) done(_ *kgo.Record, err error) {
	if err == nil {
		p.acked.Add(1)
		return
	}
	p.failed.Add(1)
	if p.firstErr.Load() == nil && !errors.Is(err, kgo.ErrMaxBuffered) {
		err = fmt.Errorf("ingest: writing to Kafka topic %q on %s: %w", p.topic, p.brokers, err)
		p.firstErr.CompareAndSwap(nil, &err)
	}
}

// copies makes the client's records over one allocation for all bytes.
func (p *Producer) copies(records []Record) []*kgo.Record {
	size := 0
	for i := range records {
		size += len(records[i].Key) + len(records[i].Value)
	}
	buf := make([]byte, 0, size)
	own := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		from := len(buf)
		buf = append(buf, b...)
		return buf[from:len(buf):len(buf)]
	}
	made := make([]kgo.Record, len(records))
	out := make([]*kgo.Record, len(records))
	for i := range records {
		r, k := &records[i], &made[i]
		k.Key, k.Value = own(r.Key), own(r.Value)
		if r.Time != 0 {
			k.Timestamp = time.Unix(0, r.Time)
		}
		k.Headers = headersOf(r)
		out[i] = k
	}
	return out
}

// headersOf copies a record's headers; ContentType is added where it is not
// among them.
func headersOf(r *Record) []kgo.RecordHeader {
	var hs []kgo.RecordHeader
	named := r.ContentType == ""
	for _, h := range r.Headers {
		named = named || h.Key == ContentTypeHeader
		hs = append(hs, kgo.RecordHeader{Key: h.Key, Value: append([]byte(nil), h.Value...)})
	}
	if !named {
		hs = append(hs, kgo.RecordHeader{Key: ContentTypeHeader, Value: []byte(r.ContentType)})
	}
	return hs
}
