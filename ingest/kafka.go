package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/segmentio/kafka-go"
)

// KafkaSource reads one partition from its leader, without a consumer group. It
// keeps its own position, finds the leader again when a connection ends, and
// after every reconnect checks that the log is still the one it was reading.
// It starts no goroutine.
type KafkaSource struct {
	// Static.
	cluster *Cluster
	id      PartitionID
	start   Start
	bytes   int // KafkaConfig.MaxBytes, or less

	recheck atomic.Bool // set by Recheck, cleared by Next

	// Owned by the goroutine that calls Next.
	conn     *leaderConn // nil when a connection must be made first
	topicID  [16]byte    // of the Kafka topic that next refers to; zero before the first connection
	next     int64       // offset to fetch next; -1 until start is resolved
	high     int64       // last stable offset of the last answer
	logStart int64       // of the last answer; -1 before
	answer   fetchAnswer // fetched and not yet handed out
	last     delivered
	failures int // in a row; sets the backoff
	broken   int // responses in a row that were cut short at next

	// What the last Next handed out; memory is used again.
	records []Record
	gaps    []OffsetGap
	headers []Header
	names   headerNames
}

// delivered is the last record handed out, to be read again after a reconnect.
type delivered struct {
	known       bool
	offset      int64
	fingerprint Fingerprint
}

var _ Source = (*KafkaSource)(nil)

// maxBroken is how many responses in a row may end early at one offset before
// that is taken for damaged data rather than for a bad connection.
const maxBroken = 3

// Open connects to the partition's leader and resolves start, so that what is
// misconfigured is an error here, within seconds.
func (c *Cluster) Open(ctx context.Context, id PartitionID, start Start) (*KafkaSource, error) {
	s := &KafkaSource{cluster: c, id: id, start: start, bytes: c.cfg.MaxBytes, next: -1, logStart: -1}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Partition is the partition read.
func (s *KafkaSource) Partition() PartitionID { return s.id }

// TopicID is the id of the Kafka topic that offsets belong to. It changes only
// in a call of Next that returns a Recreated.
func (s *KafkaSource) TopicID() [16]byte { return s.topicID }

// Recheck makes the next Next connect anew and so check the Kafka topic's id
// and the last record: for use when a Watch reports that something changed.
// Any goroutine may call it.
func (s *KafkaSource) Recheck() { s.recheck.Store(true) }

// Close ends the connection. To interrupt a Next, cancel its context.
func (s *KafkaSource) Close() error {
	s.disconnect()
	return nil
}

// Next returns the next records, bounded by BatchRecords and BatchBytes, waiting
// up to MaxWait for the first. See Source, and the errors of this package. It
// returns within MaxWait + ReadTimeout when connected, otherwise within
// BackoffMax + RequestTimeout + DialTimeout, and a little.
func (s *KafkaSource) Next(ctx context.Context) (Fetched, error) {
	if s.recheck.Swap(false) {
		s.disconnect()
	}
	if s.conn == nil {
		if err := s.reconnect(ctx); err != nil {
			return Fetched{}, err
		}
	}
	if !s.answer.more() {
		if err := s.fetch(ctx); err != nil {
			return Fetched{}, err
		}
	}
	from := s.next
	if err := s.drain(); err != nil {
		return Fetched{}, s.refused(ctx, err)
	}
	if n := len(s.records); n > 0 {
		r := &s.records[n-1]
		s.last = delivered{known: true, offset: r.Offset, fingerprint: FingerprintOf(r)}
	}
	return Fetched{From: from, Records: s.records, Gaps: s.gaps, Next: s.next,
		HighWatermark: s.high, LogStart: s.logStart, Undecided: s.answer.undecided}, nil
}

// drain hands out records of the answer, up to a batch's bounds, notes gaps in
// their offsets, and moves the position. It fails when the answer's first batch
// cannot be decoded; a later one is asked for again.
func (s *KafkaSource) drain() error {
	cfg, a := &s.cluster.cfg, &s.answer
	a.reuse()
	s.gaps = s.gaps[:0]
	clear(s.records) // let go of what they refer to
	clear(s.headers)
	s.records, s.headers = s.records[:0], s.headers[:0]
	for size := 0; len(s.records) < cfg.BatchRecords && size < cfg.BatchBytes; {
		if a.left == 0 {
			if !a.dropped && a.begun > 0 {
				s.pass(a.end()) // compaction may have taken the records at its end
			}
			more, err := a.nextBatch()
			if err != nil && a.begun == 0 {
				return fmt.Errorf("%w: %w", errUndecodable, err)
			}
			if !more {
				return nil
			}
			s.pass(a.header.FirstOffset)
			if a.dropped {
				s.next = max(s.next, a.end())
			}
			continue
		}
		var r Record
		var err error
		if s.headers, err = a.nextRecord(&r, s.headers, &s.names); err != nil {
			// The batch is damaged though its CRC is right: what it held up to here stands.
			a.rest, a.left = nil, 0
			if len(s.records) > 0 {
				return nil // and asked for again
			}
			return fmt.Errorf("%w: %w", errUndecodable, err)
		}
		if r.Offset < s.next { // a batch may begin before the offset asked for
			continue
		}
		s.pass(r.Offset)
		s.next++
		s.records = append(s.records, r)
		size += len(r.Key) + len(r.Value)
	}
	return nil
}

// pass moves the position to offset, if that lies ahead, over a gap.
func (s *KafkaSource) pass(offset int64) {
	if offset <= s.next {
		return
	}
	if n := len(s.gaps); n > 0 && s.gaps[n-1].To == s.next {
		s.gaps[n-1].To = offset
	} else {
		s.gaps = append(s.gaps, OffsetGap{From: s.next, To: offset})
	}
	s.next = offset
}

// fetch asks the leader for records from next on and keeps their batches.
func (s *KafkaSource) fetch(ctx context.Context) error {
	s.answer.done()
	a, ends, err := s.conn.fetch(ctx, s.next, s.bytes)
	if err != nil {
		return s.refused(ctx, err)
	}
	s.failures, s.broken = 0, 0
	was := s.high
	s.high, s.logStart = ends.HighWatermark, ends.LogStart
	if s.high < was {
		// A log that shrinks is another log, or one that lost its end: read
		// nothing of it before its id and the last record were looked at.
		a.done()
		s.disconnect()
		return s.connect(ctx)
	}
	s.answer = a
	return nil
}

// refused turns what fetch returned into one of this package's errors and sets
// the source up for going on.
func (s *KafkaSource) refused(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		s.disconnect()
		return ctx.Err()
	case errors.Is(err, kafka.OffsetOutOfRange):
		return s.outOfRange(ctx)
	case errors.Is(err, kafka.TopicAuthorizationFailed):
		s.disconnect()
		s.failures++
		return fmt.Errorf("%w: user %q may not read Kafka topic %q: %w", ErrDenied, s.cluster.cfg.SASL.User, s.id.KafkaTopic, err)
	case errors.Is(err, errUndecodable), errors.Is(err, kafka.InvalidMessage):
		return s.skipCorrupt(ctx, err)
	case brokenTransport(err) && !isTimeout(err):
		if s.broken++; s.broken >= maxBroken {
			return s.skipCorrupt(ctx, err)
		}
	}
	return s.unreachable(ctx, err)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
