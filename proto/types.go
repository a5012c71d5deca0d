package proto

// Side of a book. The values are those of pb.Side.
type Side uint8

const (
	Bid Side = 1
	Ask Side = 2
)

// Level is one price level of one side. Qty 0 in a delta or an event means that
// the level is gone. Price and Qty are mantissas; Count is the number of orders,
// 0 where it is not known.
type Level struct {
	Price int64
	Qty   int64
	Count uint32
}

// Exponents are the decimal exponents of a symbol: value = mantissa * 10^exponent.
type Exponents struct {
	Price int8
	Qty   int8
}

// DefaultExponents are those of raw venue formats whose instrument is not known.
var DefaultExponents = Exponents{Price: -8, Qty: -8}

// MinExponent and MaxExponent bound both exponents of Exponents.
const (
	MinExponent = -18
	MaxExponent = 9
)

// State of a book. The values are those of pb.State.
type State uint8

const (
	Live       State = 1 // whole and caught up
	Recovering State = 2 // not known to be whole: nothing is shown until a snapshot
	Stale      State = 3 // whole, but not known to be current
)

// Reason of a state other than live, or of a final status. The values are those
// of pb.Reason.
type Reason uint8

const (
	ReasonNone             Reason = 0
	ReasonNoSnapshot       Reason = 1
	ReasonCatchingUp       Reason = 2
	ReasonSourceGap        Reason = 3
	ReasonOffsetGap        Reason = 4
	ReasonBadRecord        Reason = 5
	ReasonContradiction    Reason = 6
	ReasonCrossed          Reason = 7
	ReasonChecksum         Reason = 8
	ReasonSourceReset      Reason = 9
	ReasonTruncated        Reason = 10
	ReasonRecreated        Reason = 11
	ReasonOverflow         Reason = 12
	ReasonKafkaUnreachable Reason = 13
	ReasonBehind           Reason = 14
	ReasonSourceSilent     Reason = 15
	ReasonDelisted         Reason = 16
	ReasonRenamed          Reason = 17
	ReasonExpired          Reason = 18
	ReasonByLevel          Reason = 19
	ReasonBadView          Reason = 20
)

// Phase of trading. The values are those of pb.Phase; PhaseUnknown is treated as
// continuous.
type Phase uint8

const (
	PhaseUnknown Phase = 0
	PreOpen      Phase = 1
	Auction      Phase = 2
	Continuous   Phase = 3
	Halted       Phase = 4
	Closed       Phase = 5
)

// Aggressor is the side that took liquidity. The values are those of pb.Aggressor.
type Aggressor uint8

const (
	AggressorUnknown Aggressor = 0
	AggressorBuy     Aggressor = 1
	AggressorSell    Aggressor = 2
)

// TradeFlags qualify a trade.
type TradeFlags uint8

const (
	TradeHidden       TradeFlags = 1 << iota // against an order that the book did not show
	TradeAuction                             // in an auction
	TradeOffBook                             // off the book, reported
	TradeCorrection                          // corrects the trade of the same ID
	TradeCancellation                        // takes the trade of the same ID back
)

// Trade is one trade of a symbol. Ordinal counts the symbol's trades from 1, in
// the order of the log; 0 in events, where none is given yet.
type Trade struct {
	Ordinal   uint64
	ID        uint64
	Price     int64
	Qty       int64
	VenueTime int64 // ns since 1970; 0: that of its batch
	Aggressor Aggressor
	Flags     TradeFlags
}

// Channel of a symbol. The values are those of pb.Channel.
type Channel uint8

const (
	ChannelBook        Channel = 1
	ChannelTrades      Channel = 2
	ChannelOrders      Channel = 3
	ChannelTicker      Channel = 4
	ChannelInstruments Channel = 5
	ChannelCandles     Channel = 6
)

// View is what a topic shows of a book: Depth levels a side (0: all), summed over
// the price increment Group, with order counts or without.
type View struct {
	Depth  uint32
	Group  Group
	Counts bool
}

// Depths are those that can be granted besides 0 (full), rising.
var Depths = []uint32{1, 5, 10, 20, 25, 50, 100, 500, 1000}

// GrantDepth returns the smallest depth that can be granted and shows at least
// depth levels; 0 (full) for 0 and for more than the greatest.
func GrantDepth(depth uint32) uint32 {
	if depth == 0 {
		return 0
	}
	for _, d := range Depths {
		if depth <= d {
			return d
		}
	}
	return 0
}

// TopicKey names a topic: what one ring carries.
type TopicKey struct {
	Symbol  string
	Channel Channel
	View    View
}

// Times of a published change, ns since 1970; 0: not known. VenueFirst is the
// venue time of the first record merged, Venue that of the last.
type Times struct {
	VenueFirst int64
	Venue      int64
	Kafka      int64
	Published  int64
}

// Delta is the final state of every level of a view that was touched in
// (PrevSeq, Seq], also of those that returned to where they were. Bids and Asks
// are best first; Qty 0 means gone. Merged counts the ring entries merged; 0 or 1:
// none were. In the orders channel it is the orders that are told of, and Orders
// takes the place of Bids and Asks.
type Delta struct {
	PrevSeq, Seq int64
	Bids, Asks   []Level
	Orders       *Orders // not nil: of the orders channel
	Hash         uint32
	Merged       uint32
	Times        Times
}

// Levels returns how many levels d carries; orders count as one each.
func (d *Delta) Levels() int { return len(d.Bids) + len(d.Asks) + d.Orders.Len() }

// Trades are the trades of one record, in order. Missed counts trades left out
// before the first, with ordinals MissedFirst to MissedLast. History marks past
// trades sent on subscribing.
type Trades struct {
	PrevSeq, Seq            int64
	Trades                  []Trade
	Missed                  uint64
	MissedFirst, MissedLast uint64
	History                 bool
	Times                   Times
}

// Status is the state and phase of a symbol, as one view shows it, at a seq.
type Status struct {
	Seq        int64
	State      State
	Reason     Reason
	Phase      Phase
	Indicative Indicative
	Final      bool   // nothing follows: the instrument has ended, or the view cannot be made any more
	NewSymbol  string // where the instrument was renamed
	Locked     bool
	Crossed    bool
	Partial    bool // as in a snapshot
	Times      Times
}

// SnapshotReason says why a snapshot is sent. The values are those of
// pb.SnapshotReason.
type SnapshotReason uint8

const (
	SnapshotInitial    SnapshotReason = 1
	SnapshotResync     SnapshotReason = 2
	SnapshotLapped     SnapshotReason = 3
	SnapshotRecovered  SnapshotReason = 4
	SnapshotInstrument SnapshotReason = 5
	SnapshotReset      SnapshotReason = 6
)

// Snapshot is the whole state of a view. Bids and Asks are best first. Seq is the
// book's: the offset of the last record applied, -1 if none.
type Snapshot struct {
	Symbol     string
	Epoch      uint64
	Seq        int64
	State      State
	Reason     Reason // of a state other than live
	Phase      Phase
	Exponents  Exponents
	Bids, Asks []Level
	Orders     Orders  // orders channel: in place of Bids and Asks
	Trades     []Trade // trades channel: the last ones, oldest first
	Hash       uint32
	Times      Times
	Partial    bool // levels may be missing that the source does not tell
	Locked     bool
	Crossed    bool
	Indicative Indicative
	Ticker     Ticker     // ticker channel
	Listings   []*Listing // instruments channel: by symbol; never changed once published
}

// Mark is what a keepalive says of a view at one moment: nothing that it shows
// changed up to Seq. SymbolTime and FeedTime are the Kafka times of the last
// record of the symbol and of the last record or heartbeat of its feed.
type Mark struct {
	Seq        int64
	Hash       uint32
	SymbolTime int64
	FeedTime   int64
}

// SymbolInfo describes a symbol to those who list symbols.
type SymbolInfo struct {
	Symbol     string
	State      State
	Reason     Reason
	Phase      Phase
	Epoch      uint64
	Seq        int64
	Exponents  Exponents
	Instrument *Instrument // nil: no definition seen
}
