package fanout

import (
	"strings"
	"time"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// What a connection asks for is paid in three coins. A request of some bytes may have
// hundreds of items, so items count as requests. It may ask for snapshots of megabytes,
// and for very many of them: these are paid by about their bytes, before they are made,
// from an allowance of the connection and from one that it shares with all that are of
// the same user or address. Snapshots that nobody asked for, since a book began anew or
// a cursor was lapped, cost nothing.

const (
	// requestItems is how many items count as one request.
	requestItems = 10
	// patternItems is how many items a pattern counts for, as all symbols are looked
	// through for it. What it brings is paid by bytes.
	patternItems = 50
	// refusedMessages is how many messages one counts for that is refused for its rate:
	// who goes on is heard out no longer than it takes to hear of it.
	refusedMessages = 4

	// itemBytes is what a snapshot counts for at least: a topic that is opened and
	// closed costs as much. So does one that is refused.
	itemBytes = 1024
	// snapshotSeconds is for how long a connection, a user or an address may save up.
	snapshotSeconds = 8

	tooManySnapshots = "too many bytes of snapshots asked for in too short a time"
	tooManyOfUser    = "too much asked for in too short a time, all connections of this user or address together"
)

// About what these take in a snapshot as protobuf, and half of what in JSON.
const (
	sentLevel   = 16
	sentOrder   = 40
	sentTrade   = 48
	sentListing = 128
)

// mayAsk counts a message of c, and returns for how long it may ask nothing, and why;
// 0: it may now. What it then asks for is not decoded.
func (s *shard) mayAsk(c *conn) (wait time.Duration, why string) {
	s.stats.requests.Add(1)
	if wait = s.refusesShare(c); wait > 0 {
		why = tooManyOfUser
	} else {
		wait = c.requests.take(s.since, s.share(1, s.config.RequestsPerSecond), s.config.RequestBurst)
	}
	if wait > 0 {
		s.sends(c, s.share(refusedMessages-1, s.config.MessagesInPerSecond))
	}
	return max(0, wait), why
}

// shareUsedUp returns how long it is until c may use what it shares with others of its
// user, or address; 0: it may.
func (s *shard) shareUsedUp(c *conn) time.Duration {
	return max(0, c.account().Owed(s.since)-snapshotSeconds*time.Second)
}

// refusesShare is shareUsedUp for a request that is refused where that is not 0.
func (s *shard) refusesShare(c *conn) time.Duration {
	wait := s.shareUsedUp(c)
	if wait > 0 {
		s.stats.sharesRefused.Add(1)
	}
	return wait
}

// asksFor has c pay for n items of a request, also for those that will be refused. The
// first requestItems of them are paid by the request itself. A request may be greater
// than what is left: whoever asks for much waits afterwards.
func (s *shard) asksFor(c *conn, n int) {
	s.stats.items.Add(uint64(n))
	c.account().Spend(s.since, s.share(n*itemBytes, s.config.SnapshotBytesPerUser))
	if more := (n - 1) / requestItems; more > 0 {
		c.requests.spend(s.since, s.share(more, s.config.RequestsPerSecond), 0)
	}
}

// itemsOf returns for how many items a request counts.
func (s *shard) itemsOf(req *pb.Request) int {
	n := itemsIn(req)
	for _, item := range req.GetSubscribe().GetItems() {
		if strings.HasSuffix(item.Symbol, "*") {
			n += patternItems - 1
		}
	}
	return n
}

// account returns what c shares with others of its user, or address; nil: nothing.
func (c *conn) account() *peer.Account {
	switch {
	case c.address == nil: // exempt
		return nil
	case c.pass != nil && c.pass.account != nil:
		return c.pass.account
	}
	return c.address.Account()
}

// affords reports whether c may ask for another snapshot now. The last one may be
// greater than what is left: a whole book can always be had in the end.
func (s *shard) affords(c *conn) bool {
	const most = (snapshotSeconds - 1) * time.Second
	return s.config.SnapshotBytesPerSecond == 0 || c.snapshots.spend(s.since, 0, most)
}

// pay has c pay for n bytes; for fewer than none it is given back.
func (s *shard) pay(c *conn, n int) {
	c.snapshots.spend(s.since, s.share(n, s.config.SnapshotBytesPerSecond), 0)
	c.account().Spend(s.since, s.share(n, s.config.SnapshotBytesPerUser))
}

// owe has c pay for a snapshot of t. That it asks has been paid by who else asks for
// its user (asksFor), but not by itself.
func (s *shard) owe(c *conn, t *Topic) {
	c.snapshots.spend(s.since, s.share(itemBytes, s.config.SnapshotBytesPerSecond), 0)
	s.pay(c, s.bytesOf(c, t))
}

// waive gives back what c has paid for a snapshot of t that it does not need.
func (s *shard) waive(c *conn, t *Topic) { s.pay(c, -s.bytesOf(c, t)) }

// bytesOf is about what a snapshot of t takes as c is sent it.
func (s *shard) bytesOf(c *conn, t *Topic) int {
	state := &t.snapshot.Load().state
	n := sentLevel * (len(state.Bids) + len(state.Asks))
	n += sentOrder*state.Orders.Len() + sentTrade*len(state.Trades) + sentListing*len(state.Listings)
	if c.framing.codec() == proto.CodecJSON {
		n *= 2
	}
	return n
}
