package ingest

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Stats is what one partition counts. Any goroutine may read it; only the
// partition writes.
type Stats struct {
	Records    atomic.Uint64 // fetched
	Bytes      atomic.Uint64 // of their values
	Events     atomic.Uint64 // in batches that were applied or held
	Applied    atomic.Uint64 // batches applied
	Held       atomic.Uint64 // parts of an event that continues
	Duplicates atomic.Uint64 // dropped by source sequence
	Ignored    atomic.Uint64 // older than the book, or of an older generation
	Skipped    atomic.Uint64 // records that the checkpoint which the start restored has already
	NoBatch    atomic.Uint64 // records that a codec buffered or that concern no book

	// Books compared with what their venue says of the best bid and offer.
	QuotesEqual, QuotesDifferent atomic.Uint64
	QuotesUncompared             atomic.Uint64 // it said nothing yet, or the book is not whole

	OffsetGaps  atomic.Uint64 // jumps in offsets that were not declared normal
	Truncations atomic.Uint64 // records gone before they were read, or the log's end lost
	Recreations atomic.Uint64 // offsets that came to mean other records
	FetchErrors atomic.Uint64

	NextOffset    atomic.Int64 // offset of the record that comes next
	HighWatermark atomic.Int64 // one past the last record that can be read
	Undecided     atomic.Int64 // records from the first open transaction on, which nobody can read yet
	LogStart      atomic.Int64 // first record that the broker holds; -1: not known
	LastFetch     atomic.Int64 // when the broker last answered, ns since 1970
	LastRecord    atomic.Int64 // Kafka time of the last record, ns since 1970
	CatchingUp    atomic.Bool
	Unreachable   atomic.Bool
	Behind        atomic.Bool
	SilentFeeds   atomic.Int64
	Symbols       atomic.Int64 // that live in the partition

	mu      sync.Mutex
	refused map[string]uint64 // guarded by mu
}

// maxCodes bounds the codes that are counted apart; further ones are "other".
const maxCodes = 64

// refuse counts a refused record.
func (s *Stats) refuse(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = map[string]uint64{}
	}
	if _, known := s.refused[code]; !known && len(s.refused) >= maxCodes {
		code = "other"
	}
	s.refused[code]++
}

// Refused counts refused records by code.
func (s *Stats) Refused() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.refused)
}

// Lag is how many records the partition is behind the end of its log.
func (s *Stats) Lag() int64 {
	return max(0, s.HighWatermark.Load()-s.NextOffset.Load())
}

// tally is what one hold of the lock adds to Stats, so that a record costs no
// atomic operation.
type tally struct {
	records, bytes, events, skipped             uint64
	applied, held, duplicates, ignored, noBatch uint64
	lastRecord                                  int64
}

// add moves t into s.
func (s *Stats) add(t *tally) {
	for _, c := range [...]struct {
		to *atomic.Uint64
		n  uint64
	}{
		{&s.Records, t.records}, {&s.Bytes, t.bytes}, {&s.Events, t.events},
		{&s.Applied, t.applied}, {&s.Held, t.held}, {&s.Duplicates, t.duplicates},
		{&s.Ignored, t.ignored}, {&s.NoBatch, t.noBatch}, {&s.Skipped, t.skipped},
	} {
		if c.n > 0 {
			c.to.Add(c.n)
		}
	}
	if t.lastRecord != 0 {
		s.LastRecord.Store(t.lastRecord)
	}
	*t = tally{}
}

// answered notes where the log stands, as the broker last said at a time.
func (s *Stats) answered(f *Fetched, at time.Time) {
	s.HighWatermark.Store(f.HighWatermark)
	s.LogStart.Store(f.LogStart)
	s.Undecided.Store(f.Undecided)
	s.LastFetch.Store(at.UnixNano())
}
