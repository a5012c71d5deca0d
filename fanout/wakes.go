package fanout

import "slices"

// Wakes gathers the shards that have something new until Flush, so that all that
// is published under one hold of a partition's lock costs each of them one
// wake-up, and leaves in one send a connection. One for each partition, guarded by
// its lock, whose holder calls Flush before letting go. The zero value is ready.
type Wakes struct {
	shards []*shard // each once; at most Config.Shards
}

func (w *Wakes) add(s *shard) {
	if !slices.Contains(w.shards, s) {
		w.shards = append(w.shards, s)
	}
}

// Flush wakes the shards gathered.
func (w *Wakes) Flush() {
	for i, s := range w.shards {
		s.poller.Wake()
		w.shards[i] = nil
	}
	w.shards = w.shards[:0]
}
