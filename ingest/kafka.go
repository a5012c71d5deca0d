package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

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
	s := &KafkaSource{cluster: c, id: id, start: start, next: -1, logStart: -1}
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
	if err := s.drain(); err != nil {
		return Fetched{}, s.refused(ctx, err)
	}
	if n := len(s.records); n > 0 {
		r := &s.records[n-1]
		s.last = delivered{known: true, offset: r.Offset, fingerprint: FingerprintOf(r)}
	}
	return Fetched{Records: s.records, Gaps: s.gaps, Next: s.next, HighWatermark: s.high, LogStart: s.logStart}, nil
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

// reconnect connects after a wait that grows with the failures in a row.
func (s *KafkaSource) reconnect(ctx context.Context) error {
	if s.failures > 0 {
		cfg := &s.cluster.cfg
		wait := min(cfg.BackoffMax, cfg.BackoffMin<<min(s.failures-1, 16))
		t := time.NewTimer(wait - rand.N(wait/2+1))
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	err := s.connect(ctx)
	if err != nil && !errors.Is(err, ErrRecreated) {
		s.failures++
	}
	return err
}

// connect finds and dials the leader, resolves the position if it has none yet,
// and otherwise makes sure that it still means the same.
func (s *KafkaSource) connect(ctx context.Context) error {
	address, topicID, err := s.cluster.leader(ctx, s.id)
	if err != nil {
		return s.orDone(ctx, err)
	}
	if was := s.topicID; topicID != was {
		s.topicID = topicID
		if was != ([16]byte{}) {
			s.start, s.next, s.high, s.last = Start{From: FromBeginning}, -1, 0, delivered{}
			return &Recreated{Partition: s.id, WasID: was, IsID: topicID}
		}
	}
	if s.next < 0 {
		if err := s.resolve(ctx); err != nil {
			return s.orDone(ctx, err)
		}
	}
	s.conn, err = dialLeader(ctx, &s.cluster.cfg, s.id, address)
	if err != nil {
		return s.orDone(ctx, err)
	}
	return s.checkLast(ctx)
}

// resolve turns start into an offset.
func (s *KafkaSource) resolve(ctx context.Context) error {
	if s.start.From == FromOffset {
		s.next = s.start.Offset
		return nil
	}
	at := int64(earliestOffset)
	switch s.start.From {
	case FromEnd:
		at = latestOffset
	case FromTime:
		at = s.start.Time.UnixMilli()
	}
	for _, at := range []int64{at, latestOffset} {
		found, err := s.cluster.listOffsets(ctx, at, []PartitionID{s.id})
		if err != nil {
			return err
		}
		if offset, ok := found[s.id]; ok && offset >= 0 {
			s.next = offset
			return nil
		}
	}
	return fmt.Errorf("%w: %s: no answer about its offsets", ErrUnreachable, s.id)
}

// checkLast reads the last record handed out again and compares it.
func (s *KafkaSource) checkLast(ctx context.Context) error {
	if !s.last.known {
		return nil
	}
	is, err := s.conn.fingerprint(ctx, s.last.offset)
	switch {
	case err == nil && is == s.last.fingerprint:
		return nil
	case err == nil:
		e := &Recreated{Partition: s.id, WasID: s.topicID, IsID: s.topicID, Offset: s.last.offset}
		s.last = delivered{}
		s.disconnect()
		return e
	case errors.Is(err, ErrNoRecord), errors.Is(err, errUndecodable):
		// Gone by retention or compaction, or damaged since: the topic id must
		// do. If the log has become shorter, the next fetch says so. A damaged
		// response leaves a connection that cannot be read on.
		s.last = delivered{}
		if errors.Is(err, errUndecodable) {
			return s.unreachable(ctx, err)
		}
		return nil
	default:
		return s.unreachable(ctx, err)
	}
}

// fetch asks the leader for records from next on and keeps their batches.
func (s *KafkaSource) fetch(ctx context.Context) error {
	cfg := &s.cluster.cfg
	s.answer.done()
	a, ends, err := s.conn.fetch(ctx, s.next, cfg.MaxBytes)
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

// outOfRange finds out where the log begins and ends, and moves into it.
func (s *KafkaSource) outOfRange(ctx context.Context) error {
	// A Kafka topic that was recreated under this connection shows itself here
	// first: what its id says goes before what its offsets say.
	_, topicID, err := s.cluster.leader(ctx, s.id)
	if err != nil {
		return s.unreachable(ctx, err)
	}
	if topicID != s.topicID {
		s.disconnect()
		return s.connect(ctx)
	}
	ends, err := s.cluster.Offsets(ctx, s.id)
	o, ok := ends[s.id]
	if err != nil || !ok {
		return s.unreachable(ctx, errors.Join(kafka.OffsetOutOfRange, err))
	}
	e := &OutOfRange{Partition: s.id, Wanted: s.next, LogStart: o.LogStart, HighWatermark: o.HighWatermark}
	switch {
	case s.next < o.LogStart:
		s.next = o.LogStart
	case s.next > o.HighWatermark:
		s.next = o.HighWatermark
		s.last = delivered{} // its offset may belong to another record by now
	default:
		return s.unreachable(ctx, kafka.OffsetOutOfRange) // a follower that became leader is catching up
	}
	s.high, s.logStart = o.HighWatermark, o.LogStart
	return e
}

// unreachable closes the connection and counts a failure.
func (s *KafkaSource) unreachable(ctx context.Context, err error) error {
	s.disconnect()
	s.failures++
	return s.orDone(ctx, err)
}

// orDone gives ctx's error where that is the cause, and otherwise makes sure
// that err is one of this package's.
func (s *KafkaSource) orDone(ctx context.Context, err error) error {
	for _, known := range []error{ErrUnreachable, ErrDenied, ErrNoTopic} {
		if ctx.Err() == nil && errors.Is(err, known) {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, s.id, err)
}

func (s *KafkaSource) disconnect() {
	if s.conn != nil {
		s.conn.close()
		s.conn = nil
	}
	s.answer.done()
}
