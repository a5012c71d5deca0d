package proto

// Order is one live order of a snapshot.
type Order struct {
	ID    uint64
	Price int64
	Qty   int64
}

// EventKind says what an Event is. EventNone is an event with nothing set, made
// by a newer producer: it cannot be applied.
type EventKind uint8

const (
	EventNone          EventKind = iota
	EventSetLevels               // Bids, Asks
	EventAdd                     // OrderID, Side, Price, Qty
	EventModify                  // OrderID, Price, Qty, KeepPriority
	EventReduce                  // OrderID, Qty, QtyAfter if HasQtyAfter
	EventExecute                 // as reduce; Price if HasPrice, TradeID, Unprintable
	EventReplace                 // OrderID, NewOrderID, Price, Qty
	EventDelete                  // OrderID
	EventTrade                   // Trade
	EventTradeCancel             // Trade.ID
	EventTradeCorrect            // Trade.ID, Trade.Price, Trade.Qty
	EventSnapshot                // Bids, Asks or BidOrders, AskOrders (ByOrder); SourceSeq, MaxLevels, KnownLevels, Continued
	EventClear                   // SessionStart
	EventInstrument              // Instrument
	EventInstrumentEnd           // EndReason, NewSymbol
	EventStatistics              // Statistics
	EventPhase                   // Phase, Indicative
	EventHeartbeat               // nothing
)

// TouchesBook reports whether an event of this kind can change a book. Errors of
// other kinds do not make a book recovering.
func (k EventKind) TouchesBook() bool {
	switch k {
	case EventTrade, EventTradeCancel, EventTradeCorrect, EventStatistics, EventHeartbeat:
		return false
	}
	return true
}

// Event is one change of a Batch. Which fields count is said by EventKind. Its
// slices and pointers belong to the batch.
type Event struct {
	Kind         EventKind
	Side         Side
	KeepPriority bool
	HasQtyAfter  bool
	HasPrice     bool
	Unprintable  bool
	ByOrder      bool
	Continued    bool
	SessionStart bool
	Phase        Phase
	EndReason    Reason // ReasonDelisted, ReasonRenamed or ReasonExpired

	OrderID    uint64
	NewOrderID uint64
	Price      int64
	Qty        int64
	QtyAfter   int64
	TradeID    uint64
	SourceSeq  uint64
	MaxLevels  uint32
	// KnownLevels: the book is deeper than the snapshot, which shows so many
	// levels a side; 0: it shows all.
	KnownLevels uint32

	Bids, Asks           []Level
	BidOrders, AskOrders []Order

	Trade      Trade
	Indicative Indicative
	NewSymbol  string
	Instrument *Instrument
	Statistics *Statistics
}

// Indicative is where an auction stands. The zero value: not known.
type Indicative struct {
	Price, Qty       int64
	HasPrice, HasQty bool
}

// Instrument defines a symbol. Type is a pb.InstrumentType. Tick and Lot are
// mantissas, 0 if not known; MaxLevels 0 means that the source keeps all levels.
type Instrument struct {
	Exponents   Exponents
	Tick, Lot   int64
	Type        uint8
	Name        string
	Base, Quote string
	ExpiryTime  int64
	MaxLevels   uint32
}

// Optional is a number that may be absent.
type Optional struct {
	Value int64
	Set   bool
}

// Statistics of a session; what is absent stays as it was.
type Statistics struct {
	Open, High, Low, Last, PreviousClose, Settlement Optional
	Volume, OpenInterest                             Optional
}

// Batch is one decoded Kafka record: applied as a whole or not at all. A codec
// reuses it, so whoever keeps a part copies it.
type Batch struct {
	Symbol         string
	Feed           string
	Session        string
	Seq            int64 // Kafka offset of the record
	KafkaTime      int64 // ns since 1970
	VenueTime      int64 // ns since 1970; 0: not known
	FirstSourceSeq uint64
	LastSourceSeq  uint64
	Exponents      Exponents // those that the mantissas of this batch are in
	HasExponents   bool      // the record named them; else they are the instrument's
	More           bool
	Bytes          int // size of the record's value, for bounds
	OriginEpoch    uint64
	OriginSeq      int64
	OriginPrevSeq  int64
	Generation     uint64
	Events         []Event
	Quote          *QuoteCheck // not on the wire; nil: its venue says nothing of the kind
}

// Quote is the best bid and offer of a book; a side without levels has quantity 0.
type Quote struct {
	Bid, Ask Level
}

// QuoteCheck holds the book of a symbol against what its venue says of the best bid
// and offer: that after a batch with the next one, as some of it comes late. Its
// codec keeps it; who applies the batch sets Book and Whole.
type QuoteCheck struct {
	Book  Quote // after this batch
	Whole bool  // the book is known to be whole then

	Due        bool  // there is a book of before to be compared
	Before     Quote // Book, of the batch before
	Venue      Quote // what the venue says of it
	Comparable bool  // it says something, and the book was whole
}

// Outcome of a batch that was not refused.
type Outcome uint8

const (
	Applied   Outcome = iota // the books are as the batch says
	Held                     // a part of an event that continues; nothing changed yet
	Duplicate                // its source sequence was seen before; dropped
	Ignored                  // a snapshot or generation older than the book; dropped
)
