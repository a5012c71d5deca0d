package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// PartitionID names one partition of one Kafka topic.
type PartitionID struct {
	KafkaTopic string
	Partition  int32
}

// String is "topic/partition", the form used in logs and errors.
func (p PartitionID) String() string { return fmt.Sprintf("%s/%d", p.KafkaTopic, p.Partition) }

// Header is one header of a Kafka record.
type Header struct {
	Key   string
	Value []byte
}

// ContentTypeHeader is the key of the header that names a record's format.
const ContentTypeHeader = "content-type"

// Record is one Kafka record, as handed to a codec. Its slices belong to the
// Source and are valid until the next call of Next.
type Record struct {
	Offset int64
	Time   int64 // ns since 1970 (Kafka keeps ms): the producer's, or with message.timestamp.type=LogAppendTime the broker's

	Key   []byte // nil when the record has none
	Value []byte // nil for a tombstone

	ContentType string // value of the header "content-type"; "" when absent
	Headers     []Header
}

// OffsetGap says that no record exists for the offsets From ≤ o < To.
// Gaps are normal in compacted Kafka topics; elsewhere records were lost
// (retention, DeleteRecords). The offsets of transaction markers and of the
// records of aborted transactions are no gap.
type OffsetGap struct {
	From, To int64
}

// Fetched is what one call of Next brought. No Records and no error is the
// broker's heartbeat: it answered, and had nothing new.
type Fetched struct {
	// From is the position that this was fetched from. The first record may be
	// further on: after a gap, or after what is no record.
	From    int64
	Records []Record
	// Gaps lie before or between Records, in order. The first may start at the
	// position that the source was opened at.
	Gaps []OffsetGap
	// Next is the offset after all that was handed out: of the record that
	// comes next, if it exists. HighWatermark − Next is the lag in records.
	Next          int64
	HighWatermark int64 // one past the last offset that consumers may read; no transaction before it is open
	LogStart      int64 // first offset that the broker still holds; -1 when not known
	Undecided     int64 // records from HighWatermark on: a transaction that is open began there
}

// Source hands out the records of one partition in order. Next and Close
// belong to one goroutine; cancelling ctx ends a Next that waits.
//
// Every error other than that of ctx leaves the source usable: the next call
// of Next goes on as the error's documentation says.
type Source interface {
	Next(ctx context.Context) (Fetched, error)
	Partition() PartitionID
	Close() error
}

// StartFrom is a kind of position to start reading at.
type StartFrom uint8

const (
	FromBeginning StartFrom = iota // the first offset the broker holds
	FromEnd                        // only what is written from now on
	FromTime                       // the first record with a timestamp ≥ Start.Time
	FromOffset                     // Start.Offset
)

// Start is where a source begins to read.
type Start struct {
	From   StartFrom
	Offset int64     // FromOffset
	Time   time.Time // FromTime; after the last record: the end
}

// What can go wrong with a source. Test with errors.Is; the ones with details
// are also errors.As targets.
var (
	// ErrUnreachable: no broker answers, the leader moved, a connection broke
	// or froze. Next tries again, waiting longer each time.
	ErrUnreachable = errors.New("ingest: Kafka unreachable")
	// ErrDenied: the broker refuses the user, or the user the Kafka topic.
	// Next tries again, waiting longer each time; credentials do not mend themselves.
	ErrDenied = errors.New("ingest: Kafka denies access")
	// ErrNoTopic: the Kafka topic or the partition does not exist (any more).
	// Next tries again, waiting longer each time.
	ErrNoTopic = errors.New("ingest: no such Kafka topic or partition")
	// ErrOutOfRange: see OutOfRange.
	ErrOutOfRange = errors.New("ingest: offset out of range")
	// ErrRecreated: see Recreated.
	ErrRecreated = errors.New("ingest: Kafka topic recreated")
	// ErrCorrupt: see Corrupt.
	ErrCorrupt = errors.New("ingest: corrupt batch")
)

// OutOfRange says that the broker does not hold the offset wanted. Below
// LogStart: records were lost to retention or DeleteRecords, and Next goes on
// at LogStart. Above HighWatermark: the log lost its end although the Kafka
// topic is the same, offsets may be used a second time for other records, and
// Next goes on at HighWatermark.
type OutOfRange struct {
	Partition     PartitionID
	Wanted        int64
	LogStart      int64
	HighWatermark int64
}

func (e *OutOfRange) Error() string {
	return fmt.Sprintf("%v: %s: wanted %d, the broker holds %d to %d",
		ErrOutOfRange, e.Partition, e.Wanted, e.LogStart, e.HighWatermark)
}

func (e *OutOfRange) Is(target error) bool { return target == ErrOutOfRange }

// Truncated reports whether records were lost before they were read, rather
// than the log having become shorter than the position.
func (e *OutOfRange) Truncated() bool { return e.Wanted < e.LogStart }

// Recreated says that offsets no longer mean what they meant. With differing
// ids it is another Kafka topic under the same name, and Next goes on at its
// beginning, under another epoch. With equal ids the record at Offset, already
// handed out, reads differently now (an unclean leader election, a restored
// disk), and Next goes on after it.
type Recreated struct {
	Partition PartitionID
	WasID     [16]byte
	IsID      [16]byte
	Offset    int64
}

func (e *Recreated) Error() string {
	if e.WasID == e.IsID {
		return fmt.Sprintf("%v: %s: the record at offset %d is not the one read before", ErrRecreated, e.Partition, e.Offset)
	}
	return fmt.Sprintf("%v: %s: topic id was %x, is %x", ErrRecreated, e.Partition, e.WasID, e.IsID)
}

func (e *Recreated) Is(target error) bool { return target == ErrRecreated }

// Corrupt says that the batch at Offset cannot be decoded (a wrong CRC, a
// broken compression frame, an unknown format). Next goes on at Next, the first
// offset after Offset where the log decodes again.
type Corrupt struct {
	Partition PartitionID
	Offset    int64
	Next      int64
	Cause     error
}

func (e *Corrupt) Error() string {
	return fmt.Sprintf("%v: %s: offsets %d to %d skipped: %v", ErrCorrupt, e.Partition, e.Offset, e.Next-1, e.Cause)
}

func (e *Corrupt) Is(target error) bool { return target == ErrCorrupt }
func (e *Corrupt) Unwrap() error        { return e.Cause }
