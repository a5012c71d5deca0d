package ingest

import (
	"sync"
	"sync/atomic"
	"time"
)

// CheckpointStats is what a partition counts of its checkpoints. Any goroutine may
// read it.
type CheckpointStats struct {
	Rounds  atomic.Uint64 // written
	Bytes   atomic.Uint64 // of them, before compression
	Symbols atomic.Uint64 // states copied for them
	Floor   atomic.Int64  // of the last; -1: none
	Last    atomic.Int64  // when it was written, ns since 1970; 0: none by this process
	Took    atomic.Int64  // how long it took, ns
	Holds   atomic.Uint64 // of the partition's lock, for copying
	Held    atomic.Int64  // how long they took together, ns
	Hold    atomic.Int64  // how long the longest took, ns
	Fenced  atomic.Bool   // another process writes them now

	Restored atomic.Int64  // symbols that the start took from a checkpoint
	Damaged  atomic.Uint64 // symbols whose state could not be used
	Start    atomic.Int64  // how long reading and restoring took at the start, ns

	mu       sync.Mutex
	failures map[string]uint64 // guarded by mu; rounds given up, by reason
	refusals map[string]uint64 // guarded by mu; checkpoints not used, by reason
}

func (s *CheckpointStats) wrote(w *written, floor int64, took time.Duration) {
	s.Rounds.Add(1)
	s.Bytes.Add(uint64(w.bytes))
	s.Symbols.Add(uint64(w.symbols))
	s.Floor.Store(floor)
	s.Last.Store(time.Now().UnixNano())
	s.Took.Store(int64(took))
}

// held notes how long the lock was held for copying. Under that lock.
func (s *CheckpointStats) held(d time.Duration) {
	s.Holds.Add(1)
	s.Held.Add(int64(d))
	if int64(d) > s.Hold.Load() {
		s.Hold.Store(int64(d))
	}
}

// Why rounds are given up: another process has taken over; Kafka does not take
// them; CheckpointConfig.RoundTimeout; the log changed while the round was made;
// marks.moved; marks.cut; proto.MaxHeaderBytes.
var checkpointFailures = []string{"fenced", "kafka", "timeout", "log_changed", "keys_moved", "log_cut", "too_large"}

// Why a start does not use a checkpoint it found: it cannot be read now; it is
// beyond CheckpointConfig.MaxBytes; its header is damaged; it is of another version
// of the format, epoch or configuration; a state is missing or not the newest; the
// log has other records where it was made, or ends before.
var checkpointRefusals = []string{"unreadable", "too_large", "damaged", "version", "epoch", "settings", "incomplete", "fingerprint", "log_shorter"}

func (s *CheckpointStats) fail(reason string)   { s.count(&s.failures, reason) }
func (s *CheckpointStats) refuse(reason string) { s.count(&s.refusals, reason) }

func (s *CheckpointStats) count(to *map[string]uint64, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *to == nil {
		*to = map[string]uint64{}
	}
	(*to)[reason]++
}

// Failures counts rounds that were given up, by reason.
func (s *CheckpointStats) Failures() map[string]uint64 {
	return s.counts(&s.failures, checkpointFailures)
}

// Refusals counts checkpoints that a start found and did not use, by reason.
func (s *CheckpointStats) Refusals() map[string]uint64 {
	return s.counts(&s.refusals, checkpointRefusals)
}

// counts has all reasons, so that a metric is there before it rises.
func (s *CheckpointStats) counts(of *map[string]uint64, reasons []string) map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]uint64, len(reasons))
	for _, reason := range reasons {
		all[reason] = (*of)[reason]
	}
	return all
}
