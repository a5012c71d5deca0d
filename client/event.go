package client

import (
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// Event is what the loop over Client.Events yields: a pointer to one of the types
// of this file. It and its slices are valid until the next turn of the loop.
type Event interface{ event() }

// Connected: the server said hello. The grants of the subscriptions follow.
type Connected struct {
	Hello *pb.Hello
}

// Disconnected: the connection is lost or was not to be had. Live books are stale
// from here until they have been resumed or replaced.
type Disconnected struct {
	Err     error         // why
	RetryIn time.Duration // the wait before the next attempt
}

// Granted: the server took a subscription on, or changed it, with what it grants. Unless it is
// resumed, the snapshot (or the history of trades) follows.
type Granted struct {
	Sub *Subscription
	Ack *pb.Ack
}

// Refused: the server refused a subscription or a request about it. It is asked
// again after RetryIn, or has ended where RetryIn is negative.
type Refused struct {
	Sub     *Subscription
	Error   *pb.Error
	RetryIn time.Duration
}

// Incomplete: a topic that a pattern matches could not be had, as there are too many,
// or since its prices cannot be grouped as asked. The pattern goes on.
type Incomplete struct {
	Sub   *Subscription
	Error *pb.Error
}

// BookSet: a snapshot replaced the book.
type BookSet struct {
	Sub    *Subscription
	Book   *Book
	Reason proto.SnapshotReason
	Times  proto.Times
}

// BookChanged: a delta was applied to the book. Delta says what changed.
type BookChanged struct {
	Sub   *Subscription
	Book  *Book
	Delta *proto.Delta
}

// BookLost: frames were missing before one (Gap), or the book's hash differed
// after it (Mismatch). The book is void, and a snapshot was asked for. It comes
// again, with Attempt counting, when a snapshot does not come in time. Of the
// instruments channel it is the list that has a gap.
type BookLost struct {
	Sub     *Subscription
	Cause   Outcome
	Attempt int // from 1

	request uint32 // id of the request that asked
}

// Traded: trades, in order, none twice. Trades.Missed counts those that will not
// come, announced by the server or not, with ordinals from MissedFirst to
// MissedLast. A trade flagged as correction or cancellation concerns the earlier
// one of the same ID.
type Traded struct {
	Sub    *Subscription
	Trades *proto.Trades
}

// TickerChanged: there is a ticker, or another one. It replaces the one before.
type TickerChanged struct {
	Sub    *Subscription
	Ticker *proto.Ticker
}

// Listed: how instruments are listed. Each listing replaces what was known of its
// symbol; with Snapshot all that was known, together with the events that follow
// up to the one without More. Listings may be kept.
type Listed struct {
	Sub         *Subscription
	Instruments *proto.Instruments
}

// StatusChanged: state or phase of the symbol changed, or, of channels without
// levels, came with a snapshot that begins them anew. After a final one the
// subscription has ended.
type StatusChanged struct {
	Sub    *Subscription
	Status *proto.Status
}

// Alive: nothing changed in a quiet topic; its book was checked. The ages are
// those of the last record of the symbol and of its feed.
type Alive struct {
	Sub       *Subscription
	Keepalive *proto.Keepalive
}

// Draining: the server is about to stop. It goes on until the client leaves it,
// after RetryIn, and connects anew: a Disconnected and a Connected follow.
type Draining struct {
	RetryIn time.Duration
}

func (*Connected) event()     {}
func (*Disconnected) event()  {}
func (*Granted) event()       {}
func (*Refused) event()       {}
func (*Incomplete) event()    {}
func (*BookSet) event()       {}
func (*BookChanged) event()   {}
func (*BookLost) event()      {}
func (*Traded) event()        {}
func (*TickerChanged) event() {}
func (*Listed) event()        {}
func (*StatusChanged) event() {}
func (*Alive) event()         {}
func (*Draining) event()      {}
