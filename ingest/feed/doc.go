// Package feed holds depthcast's own producers: a simulated market and the
// replay of recordings. They write Kafka records like any other producer.
//
//	Market   the simulated market: pure, seeded, told the time by its caller
//	Sim      runs a Market against the clock
//	Replay   sends recordings of Binance, Kraken and LOBSTER, raw or converted
package feed

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/depthcast/depthcast/ingest"
)

// ErrConfig is the class of all errors of configuration.
var ErrConfig = errors.New("feed: bad configuration")

// Producer takes records, in order; ingest.Producer is one. It copies what it
// keeps. Records of one key must end up in one partition.
type Producer interface {
	Produce(ctx context.Context, records []ingest.Record) error
}

// Stats counts what a producer was given. All fields are totals since the start
// and may be read at any time.
type Stats struct {
	Records    atomic.Uint64
	Events     atomic.Uint64 // level and order changes, trades and so on; of raw records: 1 each
	Bytes      atomic.Uint64 // of record values
	Heartbeats atomic.Uint64 // records that hold nothing else
	Skipped    atomic.Uint64 // messages of recordings that are not sent: they concern no symbol or change nothing
	Refused    atomic.Uint64 // messages that could not be converted; the book was cleared instead
}

// batchRecords and batchBytes bound what is handed to a Producer at once.
const (
	batchRecords = 512
	batchBytes   = 1 << 20
)

// outbox gathers records for a Producer. Values are written into one buffer that
// is used again.
type outbox struct {
	producer Producer
	stats    *Stats
	records  []ingest.Record
	spans    [][2]int // of each record's value in buf
	buf      []byte
}

// add queues a record whose value write appends.
func (o *outbox) add(key []byte, contentType string, time int64, events int, write func([]byte) []byte) {
	from := len(o.buf)
	o.buf = write(o.buf)
	o.records = append(o.records, ingest.Record{Key: key, Time: time, ContentType: contentType})
	o.spans = append(o.spans, [2]int{from, len(o.buf)})
	o.stats.Events.Add(uint64(events))
}

func (o *outbox) full() bool { return len(o.records) >= batchRecords || len(o.buf) >= batchBytes }

// send hands over what is queued.
func (o *outbox) send(ctx context.Context) error {
	if len(o.records) == 0 {
		return ctx.Err()
	}
	for i, span := range o.spans {
		o.records[i].Value = o.buf[span[0]:span[1]:span[1]]
	}
	err := o.producer.Produce(ctx, o.records)
	if err == nil {
		o.stats.Records.Add(uint64(len(o.records)))
		o.stats.Bytes.Add(uint64(len(o.buf)))
	}
	o.records, o.spans, o.buf = o.records[:0], o.spans[:0], o.buf[:0]
	return err
}
