package ingest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/depthcast/depthcast/proto"
)

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
		if at, ok := found[s.id]; ok && at.offset >= 0 {
			s.next = at.offset
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

// StartAt makes next the offset of the first record to come. It belongs before the
// first Next. last is the record before, if one is known, so that connecting
// makes sure that the log is the one it was read from.
func (s *KafkaSource) StartAt(next int64, last proto.Fingerprint) {
	s.next = next
	s.last = delivered{known: last.Offset >= 0, offset: last.Offset, fingerprint: Fingerprint{Time: last.Time, CRC: last.CRC}}
}
