package proto

import "unsafe"

// SymbolState is all of one symbol that decides what later records do to it. It
// holds slices and pointers of the book it was copied from where those never
// change, and is otherwise reused: one SymbolState serves for one symbol after
// the other.
type SymbolState struct {
	Symbol string
	// Offset up to which every record of the symbol is in this state.
	Offset int64

	Claimed bool // the partition knows the symbol, and Claim is what it knows
	Claim   ClaimState
	Codecs  []CodecState // what codecs keep of it, by rising name of the format
	HasBook bool         // it has a book, and Book is that
	Book    BookState
	Tainted bool // it has no book and will not begin with a whole one: a record was refused
}

// ClaimState is what a partition knows of a symbol that has records in it.
type ClaimState struct {
	First     int64 // Kafka time of its first record
	Raw       bool  // it has records in a raw venue format
	Defined   bool  // Exponents are those of an instrument event
	Exponents Exponents
}

// CodecState is what the codec of a format keeps of a symbol between records, in
// that codec's own form.
type CodecState struct {
	Format string
	State  []byte
}

// BookKind says how a book is kept. The values are those of pb.BookKind.
type BookKind uint8

const (
	BookUndecided BookKind = 0 // by what comes first; it is empty
	BookByLevel   BookKind = 1
	BookByOrder   BookKind = 2
)

// BookState is a book. A book by order has no levels here: they are the sums of
// its orders.
type BookState struct {
	Epoch uint64
	Seq   int64 // of the last record applied; -1: none
	Chain ChainState

	Kind                 BookKind
	Whole, Fresh         bool
	Reason               Reason // why it is not whole
	Phase                Phase
	Indicative           Indicative
	Exponents            Exponents
	Limit                uint32
	KnownBid, KnownAsk   Optional    // worst prices that the last snapshot of a deeper book showed
	Instrument           *Instrument // nil: not defined
	Feed                 string      // that its levels come through; "": not known
	FeedTime             int64
	Times                Times // Published is not kept
	Session              Session
	TradeOrdinal         uint64
	Trades               []Trade // oldest first
	EndReason            Reason  // why the instrument has ended; ReasonNone: it has not
	NewSymbol            string
	EndedAt              int64   // offset of the record that ended it
	Held                 []Batch // of an event that continues, oldest first
	Need                 uint64
	Bids, Asks           []Level       // best first
	BidOrders, AskOrders []RankedOrder // in any order; AppendSymbolState sorts them
	Hash                 uint32        // of all levels, by level or by order
}

// ChainState is how far a symbol's records have been seen.
type ChainState struct {
	Offset       int64 // -1: none
	Epoch        uint64
	Origin       int64 // -1: none
	Generation   uint64
	Session      string
	Source       uint64
	Former       string
	FormerSource uint64
	Venue        int64
}

// CheckpointVersion is that of headers and states. A checkpoint of another
// version is not read.
const CheckpointVersion = 1

// CheckpointHeader is what holds for a whole partition at the offset Floor: a
// symbol whose state is of an earlier one has no records between it and there.
type CheckpointHeader struct {
	Version     uint32
	Epoch       uint64
	TopicID     [16]byte
	Floor       int64
	Complete    bool        // the log was read from offset 0 of a source declared complete
	Fingerprint Fingerprint // of the last record read at or before Floor
	Shared      SharedState
	Ceiling     int64       // no state of the checkpoint is of a later offset
	Last        Fingerprint // of the last record read at or before Ceiling
	Settings    uint64      // hash of what was configured and decides what records do
	States      uint32      // how many states count: those of this epoch outside the header
	Inventory   uint64      // sum over their names and offsets
	Ended       [][]byte    // SymbolStates of symbols whose instruments have ended
}

// Fingerprint tells a record from another one at the same offset of another log:
// CRC is CRC-32C of its key and value. Offset -1: no record.
type Fingerprint struct {
	Offset int64
	Time   int64 // Kafka's, ns since 1970
	CRC    uint32
}

// SharedState is what the books of a partition have in common.
type SharedState struct {
	Whole   bool     // a symbol to come begins with an empty, whole book
	Tainted []string // symbols without a book that will not begin whole, rising
	Feeds   []FeedState
}

// FeedState is a feed and the Kafka time of its last record or heartbeat.
type FeedState struct {
	Name string
	Time int64
}

// Memory is how many bytes of memory a copy of b takes, but for its texts.
func (b *Batch) Memory() int {
	size := int(unsafe.Sizeof(*b)) + len(b.Events)*int(unsafe.Sizeof(Event{}))
	for i := range b.Events {
		e := &b.Events[i]
		size += (len(e.Bids) + len(e.Asks)) * int(unsafe.Sizeof(Level{}))
		size += (len(e.BidOrders) + len(e.AskOrders)) * int(unsafe.Sizeof(Order{}))
		if e.Instrument != nil {
			size += int(unsafe.Sizeof(*e.Instrument))
		}
		if e.Statistics != nil {
			size += int(unsafe.Sizeof(*e.Statistics))
		}
	}
	return size
}
