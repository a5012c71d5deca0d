package fanout

import (
	"slices"
	"strings"
	"sync"

	"github.com/depthcast/depthcast/proto"
)

// Board is the view of an instruments topic over a pattern: the listings of all
// partitions whose symbols match. Its seq counts the changes that it has shown and
// belongs to no log, hence its epoch is 0; each listing has an epoch and seq of
// its own.
//
// Every partition writes to it, each under its own lock, so the topic's single
// writer is the holder of mu, which comes after the partition's lock and before
// the poller's and what Keep's argument takes. It is held for a change of one
// listing; now and then for a copy of the list, a pointer for each.
type Board struct {
	// Static.
	topic *Topic

	// Guarded by mu.
	mu       sync.Mutex
	opened   bool
	seq      int64
	listings []*proto.Listing // by symbol, ended ones not
	change   proto.Instruments
	release  func()
}

// NewBoard makes the view of t, which has nothing to show before Open.
func NewBoard(t *Topic) *Board { return &Board{topic: t} }

// Open shows what was listed. release is called by Close, without any lock; after
// it nothing may be listed.
func (b *Board) Open(release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.opened, b.release = true, release
	b.topic.Opened(b, nil)
}

// Listed takes a listing in the place of the one before, for the holder of a
// partition's lock, whose wakes are given. One that ended is shown, and then
// forgotten.
func (b *Board) Listed(l *proto.Listing, times proto.Times, w *Wakes) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, known := slices.BinarySearchFunc(b.listings, l.Symbol, func(o *proto.Listing, symbol string) int {
		return strings.Compare(o.Symbol, symbol)
	})
	switch {
	case l.Ended && known:
		b.listings = slices.Delete(b.listings, at, at+1)
	case l.Ended:
	case known:
		b.listings[at] = l
	default:
		b.listings = slices.Insert(b.listings, at, l)
	}
	if !b.opened {
		return
	}
	b.seq++
	b.change.Seq, b.change.Times, b.change.Listings = b.seq, times, append(b.change.Listings[:0], l)
	b.topic.wakes = w
	b.topic.Instruments(&b.change)
}

// Keep takes off the listings of the symbols for which still is false, for the
// holder of a partition's lock, whose wakes are given. Readers are told by a list
// anew, since nothing is known of how these symbols ended. still must not call the
// board.
func (b *Board) Keep(still func(symbol string) bool, w *Wakes) {
	b.mu.Lock()
	defer b.mu.Unlock()
	had := len(b.listings)
	b.listings = slices.DeleteFunc(b.listings, func(l *proto.Listing) bool { return !still(l.Symbol) })
	if !b.opened || len(b.listings) == had {
		return
	}
	b.seq++
	b.topic.wakes = w
	b.topic.Reset(proto.SnapshotReset)
}

// Tick renews what keepalives say.
func (b *Board) Tick() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.opened {
		b.topic.Mark(proto.Mark{Seq: b.seq})
	}
}

// Snapshot is View's. The topic asks for it under mu.
func (b *Board) Snapshot(s *proto.Snapshot) {
	*s = proto.Snapshot{
		Symbol: b.topic.key.Symbol, Seq: b.seq, State: proto.Live, Listings: slices.Clone(b.listings),
	}
}

// Close is View's.
func (b *Board) Close() {
	if b.release != nil {
		b.release()
	}
}

// isPattern reports whether key stands for the instruments of a pattern.
func isPattern(key proto.TopicKey) bool {
	return key.Channel == proto.ChannelInstruments && proto.IsPattern(key.Symbol)
}
