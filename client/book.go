package client

import (
	"iter"

	"github.com/depthcast/depthcast/proto"
)

// Outcome of a frame given to a Book.
type Outcome uint8

const (
	// Applied: the book is as the frame says, and its hash was checked.
	Applied Outcome = iota
	// Ignored: the book had it already, or is void and waits for a snapshot.
	Ignored
	// Gap: frames are missing before it. The book is void: ask for a resync.
	Gap
	// Mismatch: after it the book's hash differs from the server's, or the frame
	// contradicts itself or is of another channel. The book is void: report it.
	Mismatch
)

func (o Outcome) String() string {
	switch o {
	case Applied:
		return "applied"
	case Ignored:
		return "ignored"
	case Gap:
		return "gap"
	case Mismatch:
		return "mismatch"
	}
	return "invalid"
}

// Book is one view of a symbol's book, rebuilt from the frames of its topic. It
// is void (empty and recovering) until a snapshot, and again after a gap, a
// mismatch or a status that says recovering, so that what may be wrong is never
// shown. It has no I/O, clock or lock, and is not for concurrent use.
type Book struct {
	bids, asks side

	// Invariant: while whole, hash is the state hash of the levels, and equal to
	// the hash of the last frame applied. After a mismatch it is the one that
	// differed.
	hash  uint32
	whole bool

	epoch     uint64
	seq       int64
	state     proto.State
	reason    proto.Reason
	phase     proto.Phase
	exponents proto.Exponents
	partial   bool
	locked    bool
	crossed   bool

	indicative proto.Indicative
}

// NewBook returns a void book.
func NewBook() *Book {
	return &Book{
		bids: side{is: proto.Bid}, asks: side{is: proto.Ask},
		seq: -1, state: proto.Recovering, reason: proto.ReasonNoSnapshot,
	}
}

// ApplySnapshot replaces everything. The outcome is Applied or Mismatch.
func (b *Book) ApplySnapshot(s *proto.Snapshot) Outcome {
	bids, bidsInOrder := b.bids.replaceBy(s.Bids, s.Orders.Bids)
	asks, asksInOrder := b.asks.replaceBy(s.Asks, s.Orders.Asks)
	b.epoch, b.seq, b.hash = s.Epoch, s.Seq, bids+asks
	b.state, b.reason, b.phase = s.State, s.Reason, s.Phase
	b.exponents, b.partial, b.locked, b.crossed = s.Exponents, s.Partial, s.Locked, s.Crossed
	b.indicative = s.Indicative
	if !bidsInOrder || !asksInOrder || b.hash != s.Hash {
		b.Void()
		return Mismatch
	}
	b.whole = s.State != proto.Recovering
	if !b.whole {
		b.Void()
	}
	return Applied
}

// ApplyDelta applies d by the rule of the protocol: PrevSeq <= Seq() < d.Seq.
func (b *Book) ApplyDelta(d *proto.Delta) Outcome {
	if !b.whole || d.Seq <= b.seq {
		return Ignored
	}
	if d.PrevSeq > b.seq {
		b.Void()
		return Gap
	}
	b.seq = d.Seq
	switch {
	case b.ByOrder() != (d.Orders != nil):
		b.Void()
		return Mismatch
	case b.ByOrder():
		b.hash += b.bids.setOrders(d.Orders.Bids) + b.asks.setOrders(d.Orders.Asks)
	default:
		b.hash += b.bids.set(d.Bids) + b.asks.set(d.Asks)
	}
	return b.check(d.Hash)
}

// ApplyKeepalive checks the book and moves it on to k.Seq. A keepalive of an
// earlier seq says nothing of this book and is ignored.
func (b *Book) ApplyKeepalive(k *proto.Keepalive) Outcome {
	if !b.whole || k.Seq < b.seq {
		return Ignored
	}
	b.seq = k.Seq
	return b.check(k.Hash)
}

func (b *Book) check(hash uint32) Outcome {
	if b.hash != hash {
		b.Void()
		return Mismatch
	}
	return Applied
}

// ApplyStatus takes over state and phase; recovering makes the book void. A void
// book becomes live by a snapshot only, never by a status.
func (b *Book) ApplyStatus(s *proto.Status) {
	b.setState(s.State, s.Reason, s.Phase)
	b.locked, b.crossed, b.partial = s.Locked, s.Crossed, s.Partial
	b.indicative = s.Indicative
}

func (b *Book) setState(state proto.State, reason proto.Reason, phase proto.Phase) {
	b.state, b.reason, b.phase = state, reason, phase
	if state == proto.Recovering {
		b.Void()
	}
}

// Void empties the book, which then waits for a snapshot. Seq, Epoch and Hash
// stay what they were.
func (b *Book) Void() {
	b.whole = false
	b.bids.clear()
	b.asks.clear()
	b.locked, b.crossed, b.partial = false, false, false
}

// Stale marks a live book as not known to be current, for the time until the
// next snapshot, status or grant: the client is not connected.
func (b *Book) Stale() {
	if b.state == proto.Live {
		b.state, b.reason = proto.Stale, proto.ReasonNone
	}
}

// State is Live only while the book is whole and known to be current.
func (b *Book) State() proto.State {
	if !b.whole {
		return proto.Recovering
	}
	return b.state
}

// Reason says why State is not Live: the server's reason; ReasonNoSnapshot while
// only the snapshot is missing; ReasonNone where the client is not connected.
func (b *Book) Reason() proto.Reason {
	if !b.whole && b.state != proto.Recovering {
		return proto.ReasonNoSnapshot
	}
	return b.reason
}

// Phase is the trading phase.
func (b *Book) Phase() proto.Phase { return b.phase }

// Epoch names the history that Seq belongs to.
func (b *Book) Epoch() uint64 { return b.epoch }

// Seq is the Kafka offset up to which the book is known; -1: none.
func (b *Book) Seq() int64 { return b.seq }

// Hash is the state hash. Of a book that became void by a mismatch it is the one
// that differed from the server's.
func (b *Book) Hash() uint32 { return b.hash }

// Exponents are those of the book's prices and quantities.
func (b *Book) Exponents() proto.Exponents { return b.exponents }

// Partial reports that the view reaches further than the source tells: levels may
// be missing from it, or quantities from its last group. As of the last snapshot
// or status.
func (b *Book) Partial() bool { return b.partial }

// Locked and Crossed report the server's word on the best bid and ask: equal, or
// the bid above the ask. As of the last snapshot or status.
func (b *Book) Locked() bool  { return b.locked }
func (b *Book) Crossed() bool { return b.crossed }

// Indicative is where an auction would match, as of the last snapshot or status.
func (b *Book) Indicative() proto.Indicative { return b.indicative }

func (b *Book) side(s proto.Side) *side {
	if s == proto.Bid {
		return &b.bids
	}
	return &b.asks
}

// Len returns the number of levels of a side; 0 while the book is void.
func (b *Book) Len(s proto.Side) int { return len(b.side(s).levels) }

// Best returns the best level of a side, if there is one.
func (b *Book) Best(s proto.Side) (proto.Level, bool) {
	levels := b.side(s).levels
	if len(levels) == 0 {
		return proto.Level{}, false
	}
	return levels[len(levels)-1], true
}

// Levels yields the levels of a side, best first. The book must not change
// meanwhile.
func (b *Book) Levels(s proto.Side) iter.Seq[proto.Level] { return b.side(s).all() }

// Qty returns the quantity at a price; 0: no level.
func (b *Book) Qty(s proto.Side, price int64) int64 {
	at := b.side(s)
	if i, there := at.find(price, len(at.levels)); there {
		return at.levels[i].Qty
	}
	return 0
}
