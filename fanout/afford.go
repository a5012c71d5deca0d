package fanout

import (
	"time"

	"github.com/depthcast/depthcast/proto"
)

// A request of some bytes may ask for a snapshot of megabytes, and for very many of
// them. What snapshots a connection asks for is paid from a bucket: about their bytes,
// before they are made. Snapshots that nobody asked for, since a book began anew or a
// cursor was lapped, cost nothing.

const (
	// itemBytes is what a snapshot counts for at least: a topic that is opened and
	// closed costs as much.
	itemBytes = 1024
	// snapshotSeconds is for how long a connection may save up.
	snapshotSeconds = 8

	tooManySnapshots = "too many bytes of snapshots asked for in too short a time"
)

// About what these take in a snapshot as protobuf, and half of what in JSON.
const (
	sentLevel   = 16
	sentOrder   = 40
	sentTrade   = 48
	sentListing = 128
)

// affords reports whether c may ask for another snapshot now. The last one may be
// greater than what is left: a whole book can always be had in the end.
func (s *shard) affords(c *conn) bool {
	return s.config.SnapshotBytesPerSecond == 0 || c.snapshots.spend(s.since, 0, (snapshotSeconds-1)*time.Second)
}

// owe has c pay for a snapshot of t.
func (s *shard) owe(c *conn, t *Topic) {
	c.snapshots.spend(s.since, s.cost(c, t), 0)
}

// waive gives back what c has paid for a snapshot of t that it does not need.
func (s *shard) waive(c *conn, t *Topic) {
	c.snapshots.spend(s.since, s.share(itemBytes, s.config.SnapshotBytesPerSecond)-s.cost(c, t), 0)
}

// cost is the time in which SnapshotBytesPerSecond lets a snapshot of t through.
func (s *shard) cost(c *conn, t *Topic) time.Duration {
	state := &t.snapshot.Load().state
	n := sentLevel * (len(state.Bids) + len(state.Asks))
	n += sentOrder*state.Orders.Len() + sentTrade*len(state.Trades) + sentListing*len(state.Listings)
	if c.framing.codec() == proto.CodecJSON {
		n *= 2
	}
	return s.share(itemBytes+n, s.config.SnapshotBytesPerSecond)
}
