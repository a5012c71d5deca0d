package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// ErrNoRecord: no record has that offset (any more, or yet).
var ErrNoRecord = errors.New("ingest: no record at this offset")

// Fingerprint reads the record at offset. ErrNoRecord says that the offset is
// beyond either end of the log, or was compacted away.
func (c *Cluster) Fingerprint(ctx context.Context, id PartitionID, offset int64) (Fingerprint, error) {
	address, _, err := c.leader(ctx, id)
	if err != nil {
		return Fingerprint{}, err
	}
	conn, err := dialLeader(ctx, &c.cfg, id, address)
	if err != nil {
		return Fingerprint{}, err
	}
	defer conn.close()
	f, err := conn.fingerprint(ctx, offset)
	if err != nil {
		return Fingerprint{}, fmt.Errorf("fingerprint of %s at %d: %w", id, offset, err)
	}
	return f, nil
}

// fingerprint fetches the batch that holds offset and looks for the record.
func (c *leaderConn) fingerprint(ctx context.Context, offset int64) (Fingerprint, error) {
	a, _, err := c.fetch(ctx, offset, 1) // the broker sends at least one batch
	if errors.Is(err, kafka.OffsetOutOfRange) {
		return Fingerprint{}, ErrNoRecord
	}
	if err != nil {
		return Fingerprint{}, err
	}
	defer a.done()
	more, err := a.nextBatch()
	var names headerNames
	var headers []Header
	for more && err == nil && a.left > 0 {
		var r Record
		if headers, err = a.nextRecord(&r, headers[:0], &names); err == nil && r.Offset == offset {
			return FingerprintOf(&r), nil
		}
	}
	if err != nil {
		return Fingerprint{}, fmt.Errorf("%w: %w", errUndecodable, err)
	}
	return Fingerprint{}, ErrNoRecord
}

// skipCorrupt moves the position behind the damaged batch and returns a Corrupt.
// The batch's length is not known, as it cannot be decoded: look at offsets
// ever further on until one decodes, then between that and the last that did not.
func (s *KafkaSource) skipCorrupt(ctx context.Context, cause error) error {
	s.disconnect()
	ends, err := s.cluster.Offsets(ctx, s.id)
	o, ok := ends[s.id]
	if err != nil || !ok {
		return s.unreachable(ctx, errors.Join(cause, err))
	}
	address, _, err := s.cluster.leader(ctx, s.id)
	if err != nil {
		return s.unreachable(ctx, err)
	}
	if brokenTransport(cause) {
		// Where the leader cannot even say that its log has ended, it is the leader.
		if sound, err := s.decodesAt(ctx, address, o.HighWatermark); err != nil || !sound {
			return s.unreachable(ctx, errors.Join(cause, err))
		}
	}
	bad, good := s.next, o.HighWatermark
	for step := int64(1); bad+step < good; step *= 2 {
		decodes, err := s.decodesAt(ctx, address, bad+step)
		if err != nil {
			return s.unreachable(ctx, err)
		}
		if decodes {
			good = bad + step
		} else {
			bad += step
		}
	}
	for bad+1 < good {
		middle := bad + (good-bad)/2
		decodes, err := s.decodesAt(ctx, address, middle)
		if err != nil {
			return s.unreachable(ctx, err)
		}
		if decodes {
			good = middle
		} else {
			bad = middle
		}
	}
	e := &Corrupt{Partition: s.id, Offset: s.next, Next: max(good, s.next+1), Cause: cause}
	s.next, s.broken = e.Next, 0
	return e
}

// decodesAt reports whether the batch that holds offset can be decoded. It uses
// a connection of its own: one that carried damaged data cannot be read on.
func (s *KafkaSource) decodesAt(ctx context.Context, address string, offset int64) (bool, error) {
	conn, err := dialLeader(ctx, &s.cluster.cfg, s.id, address)
	if err != nil {
		return false, err
	}
	defer conn.close()
	a, _, err := conn.fetch(ctx, offset, 1)
	defer a.done()
	switch {
	case err == nil:
		return a.decodes(), nil
	case errors.Is(err, errUndecodable), errors.Is(err, kafka.InvalidMessage), brokenTransport(err) && !isTimeout(err):
		return false, nil
	default:
		return false, err
	}
}

// decodes reports whether the first batch of an answer does, if there is one.
func (a *fetchAnswer) decodes() bool {
	more, err := a.nextBatch()
	var names headerNames
	for more && err == nil && a.left > 0 {
		_, err = a.nextRecord(new(Record), nil, &names)
	}
	return err == nil
}
