package proto

// Ticker is the summary of a symbol's session at a seq. What is not set is not
// known. Change is that of Last against Open, or against PreviousClose where no
// open is known. Merged counts the ring entries that it stands for; 0 or 1: one.
type Ticker struct {
	PrevSeq, Seq              int64
	Last, LastQty             Optional
	Open, High, Low           Optional
	PreviousClose, Settlement Optional
	Volume, OpenInterest      Optional
	Bid, BidQty, Ask, AskQty  Optional
	Change                    Optional
	Partial                   bool // the source may have a better bid or ask that it has not told of
	Merged                    uint32
	Times                     Times
}

// tickerField is a number of a ticker as it is sent.
type tickerField struct {
	number uint32
	name   string
	qty    bool // else a price
	of     func(*Ticker) *Optional
}

// tickerFields are the numbers of a ticker in the order of their fields.
var tickerFields = [...]tickerField{
	{4, `,"last":`, false, func(t *Ticker) *Optional { return &t.Last }},
	{5, `,"last_qty":`, true, func(t *Ticker) *Optional { return &t.LastQty }},
	{6, `,"open":`, false, func(t *Ticker) *Optional { return &t.Open }},
	{7, `,"high":`, false, func(t *Ticker) *Optional { return &t.High }},
	{8, `,"low":`, false, func(t *Ticker) *Optional { return &t.Low }},
	{9, `,"previous_close":`, false, func(t *Ticker) *Optional { return &t.PreviousClose }},
	{10, `,"settlement":`, false, func(t *Ticker) *Optional { return &t.Settlement }},
	{11, `,"volume":`, true, func(t *Ticker) *Optional { return &t.Volume }},
	{12, `,"open_interest":`, true, func(t *Ticker) *Optional { return &t.OpenInterest }},
	{13, `,"bid":`, false, func(t *Ticker) *Optional { return &t.Bid }},
	{14, `,"bid_qty":`, true, func(t *Ticker) *Optional { return &t.BidQty }},
	{15, `,"ask":`, false, func(t *Ticker) *Optional { return &t.Ask }},
	{16, `,"ask_qty":`, true, func(t *Ticker) *Optional { return &t.AskQty }},
	{17, `,"change":`, false, func(t *Ticker) *Optional { return &t.Change }},
}

// wire is the number as protobuf has it: prices zigzag, quantities plain.
func (f *tickerField) wire(o *Optional) uint64 {
	if f.qty {
		return uint64(o.Value)
	}
	return zigzag(o.Value)
}

// AppendTicker appends a Frame holding t.
func AppendTicker(dst []byte, form TopicForm, t *Ticker) []byte {
	times, merged := sizeTimes(t.Times), uint64(wireMerged(t.Merged))
	size := sizeUint(1, uint64(form.Topic)) + sizeUint(2, uint64(t.PrevSeq)) + sizeUint(3, uint64(t.Seq)) +
		sizeTimesField(18, times) + sizeUint(19, merged) + sizeBool(20, t.Partial)
	for i := range tickerFields {
		f := &tickerFields[i]
		o := f.of(t)
		size += sizeOptional(f.number, f.wire(o), o.Set)
	}

	dst = appendNested(dst, frameTicker, size)
	dst = appendUint(dst, 1, uint64(form.Topic))
	dst = appendUint(dst, 2, uint64(t.PrevSeq))
	dst = appendUint(dst, 3, uint64(t.Seq))
	for i := range tickerFields {
		f := &tickerFields[i]
		o := f.of(t)
		dst = appendOptional(dst, f.number, f.wire(o), o.Set)
	}
	dst = appendTimes(dst, 18, t.Times, times)
	return appendBool(appendUint(dst, 19, merged), 20, t.Partial)
}

// AppendJSONTicker appends t as a JSON frame under form.Exponents.
func AppendJSONTicker(dst []byte, form TopicForm, t *Ticker) []byte {
	dst = appendJSONHead(dst, `{"type":"ticker","topic":`, form.Topic)
	dst = appendJSONSeqs(dst, t.PrevSeq, t.Seq)
	for i := range tickerFields {
		f := &tickerFields[i]
		o := f.of(t)
		if !o.Set {
			continue
		}
		exponent := form.Exponents.Price
		if f.qty {
			exponent = form.Exponents.Qty
		}
		dst = appendJSONDecimal(append(dst, f.name...), o.Value, exponent)
	}
	dst = appendJSONMerged(appendJSONTimes(dst, t.Times), t.Merged)
	return append(appendJSONTrue(dst, `,"partial":`, t.Partial), '}')
}

// AppendTicker appends a ticker frame.
func (c Codec) AppendTicker(dst []byte, form TopicForm, t *Ticker) []byte {
	if c == CodecJSON {
		return AppendJSONTicker(dst, form, t)
	}
	return AppendTicker(dst, form, t)
}

// Session is what the log has told of a symbol's trading session, as a checkpoint
// keeps it. Its rules are those of package book.
type Session struct {
	Last, LastQty             Optional
	Open, High, Low           Optional
	PreviousClose, Settlement Optional
	Volume, OpenInterest      Optional

	// LastID and OpenID are the identifiers of the trades that Last and Open come
	// from; 0: of none that could be named.
	LastID, OpenID uint64
	// First is the ordinal of the last trade before the session, where Whole.
	First uint64

	Whole        bool // every trade since the session began was counted
	Traded       bool // one at least was
	Placed       bool // a phase was seen in it, or its beginning
	Over         bool // trading is closed: any other phase begins a session
	VolumeStated bool // by the venue, which alone counts it from then on
	// HighInDoubt and LowInDoubt: a trade at that price was taken back, so that it
	// is no more than a bound.
	HighInDoubt, LowInDoubt bool
}
