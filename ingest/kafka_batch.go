package ingest

import (
	"io"
	"slices"

	"github.com/segmentio/kafka-go/protocol"
)

// arena holds what one Next hands out. Its memory is used again by the next
// one, so that copying records allocates nothing in the steady state.
type arena struct {
	bytes   []byte
	records []Record
	gaps    []OffsetGap
	headers []Header
	content string // the last content type seen, so that its string is shared
}

// keepBytes is how much memory an arena keeps at most after a batch with
// unusually large records.
const keepBytes = 8 << 20

func (a *arena) reset() {
	if cap(a.bytes) > keepBytes {
		a.bytes = nil
	}
	a.bytes, a.gaps = a.bytes[:0], a.gaps[:0]
	clear(a.records) // let go of what they refer to
	clear(a.headers)
	a.records, a.headers = a.records[:0], a.headers[:0]
}

// drain moves records from the fetched batches into the arena, up to a batch's
// bounds, notes gaps in their offsets, and moves the position.
func (s *KafkaSource) drain() Fetched {
	cfg := &s.cluster.cfg
	a := &s.batch
	a.reset()
	out := Fetched{}
	for len(s.batches) > 0 && len(a.records) < cfg.BatchRecords && len(a.bytes) < cfg.BatchBytes {
		rec, err := s.batches[0].ReadRecord()
		if err != nil { // io.EOF: kafka-go has decoded the batch before
			s.batches = s.batches[1:]
			continue
		}
		_, marker := s.batches[0].(*protocol.ControlBatch)
		switch {
		case rec.Offset < s.next: // a batch may begin before the offset asked for
			release(rec)
			continue
		case marker:
			release(rec)
		default:
			if b, ok := s.batches[0].(*protocol.RecordBatch); ok && b.Attributes.Transactional() {
				out.Transactional = true
			}
			a.add(rec)
		}
		if rec.Offset > s.expected {
			a.gaps = append(a.gaps, OffsetGap{From: s.expected, To: rec.Offset})
		}
		s.next, s.expected = rec.Offset+1, rec.Offset+1
	}
	if n := len(a.records); n > 0 {
		r := &a.records[n-1]
		s.last = delivered{known: true, offset: r.Offset, fingerprint: FingerprintOf(r)}
	}
	out.Records, out.Gaps = a.records, a.gaps
	out.Next, out.HighWatermark, out.LogStart = s.next, s.high, s.logStart
	return out
}

// add copies rec and gives its pages back to kafka-go.
func (a *arena) add(rec *protocol.Record) {
	r := Record{Offset: rec.Offset, Time: rec.Time.UnixNano()}
	r.Key = a.copy(rec.Key)
	r.Value = a.copy(rec.Value)
	if len(rec.Headers) > 0 {
		n := len(a.headers)
		for _, h := range rec.Headers {
			a.headers = append(a.headers, Header(h))
			if h.Key == ContentTypeHeader {
				if string(h.Value) != a.content {
					a.content = string(h.Value)
				}
				r.ContentType = a.content
			}
		}
		r.Headers = a.headers[n:len(a.headers):len(a.headers)]
	}
	a.records = append(a.records, r)
}

// copy reads b to its end into the arena and closes it. nil stays nil.
func (a *arena) copy(b protocol.Bytes) []byte {
	if b == nil {
		return nil
	}
	defer b.Close()
	from := len(a.bytes)
	to := from + b.Len()
	// Growing moves to other memory; slices handed out before keep the old.
	a.bytes = slices.Grow(a.bytes, to-from)[:to]
	n, _ := io.ReadFull(b, a.bytes[from:to]) // memory pages: never short, never an error
	return a.bytes[from : from+n : from+n]
}

func release(rec *protocol.Record) {
	if rec.Key != nil {
		rec.Key.Close()
	}
	if rec.Value != nil {
		rec.Value.Close()
	}
}
