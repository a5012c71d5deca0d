package proto

import "strconv"

// Listing is what there is to know of a symbol besides its book. It never changes
// once published.
type Listing struct {
	Symbol     string
	Instrument *Instrument // nil: not defined
	Phase      Phase
	Ended      bool
	EndReason  Reason // ReasonDelisted, ReasonRenamed or ReasonExpired, where it ended
	NewSymbol  string // what it was renamed to
	Epoch      uint64 // history that Seq belongs to
	Seq        int64  // Kafka offset of the last record of the symbol contained; -1: none
}

// Instruments lists symbols; each listing replaces what was known of its symbol. A
// snapshot replaces all that was known, together with the frames that follow up
// to the one without More.
type Instruments struct {
	PrevSeq, Seq int64
	Listings     []*Listing
	Snapshot     bool
	More         bool
	Times        Times
}

// IsPattern reports whether symbol, in a request, stands for all symbols that
// begin with what is before its last byte, a *.
func IsPattern(symbol string) bool { return symbol != "" && symbol[len(symbol)-1] == '*' }

// AppendInstruments appends a Frame holding in. Its listings are under the
// exponents of their own instruments.
func AppendInstruments(dst []byte, form TopicForm, in *Instruments) []byte {
	times := sizeTimes(in.Times)
	size := sizeUint(1, uint64(form.Topic)) + sizeTimesField(3, times) + sizeUint(4, uint64(in.PrevSeq)) +
		sizeUint(5, uint64(in.Seq)) + sizeBool(6, in.Snapshot) + sizeBool(7, in.More)
	for _, l := range in.Listings {
		size += sizeNested(2, sizeListing(l))
	}

	dst = appendNested(dst, frameInstruments, size)
	dst = appendUint(dst, 1, uint64(form.Topic))
	for _, l := range in.Listings {
		dst = appendListing(appendNested(dst, 2, sizeListing(l)), l)
	}
	dst = appendTimes(dst, 3, in.Times, times)
	dst = appendUint(dst, 4, uint64(in.PrevSeq))
	dst = appendUint(dst, 5, uint64(in.Seq))
	dst = appendBool(dst, 6, in.Snapshot)
	return appendBool(dst, 7, in.More)
}

func sizeListing(l *Listing) int {
	size := sizeString(1, l.Symbol) + sizeUint(3, uint64(l.Phase)) + sizeBool(4, l.Ended) + sizeUint(5, uint64(endReasonOf(l.EndReason))) +
		sizeString(6, l.NewSymbol) + sizeFixed64(7, l.Epoch) + sizeUint(8, uint64(l.Seq))
	if l.Instrument != nil {
		size += sizeNested(2, sizeInstrument(l.Instrument))
	}
	return size
}

func appendListing(dst []byte, l *Listing) []byte {
	dst = appendString(dst, 1, l.Symbol)
	if l.Instrument != nil {
		dst = appendInstrument(appendNested(dst, 2, sizeInstrument(l.Instrument)), l.Instrument)
	}
	dst = appendUint(dst, 3, uint64(l.Phase))
	dst = appendBool(dst, 4, l.Ended)
	dst = appendUint(dst, 5, uint64(endReasonOf(l.EndReason)))
	dst = appendString(dst, 6, l.NewSymbol)
	dst = appendFixed64(dst, 7, l.Epoch)
	return appendUint(dst, 8, uint64(l.Seq))
}

// AppendJSONInstruments appends in as a JSON frame.
func AppendJSONInstruments(dst []byte, form TopicForm, in *Instruments) []byte {
	dst = appendJSONHead(dst, `{"type":"instruments","topic":`, form.Topic)
	dst = append(dst, `,"listings":[`...)
	for i, l := range in.Listings {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONListing(dst, l)
	}
	dst = appendJSONTimes(append(dst, ']'), in.Times)
	dst = appendJSONSeqs(dst, in.PrevSeq, in.Seq)
	dst = appendJSONTrue(dst, `,"snapshot":`, in.Snapshot)
	return append(appendJSONTrue(dst, `,"more":`, in.More), '}')
}

func appendJSONListing(dst []byte, l *Listing) []byte {
	dst = append(dst, '{')
	begin := len(dst)
	dst = appendJSONText(dst, `,"symbol":`, l.Symbol)
	if l.Instrument != nil {
		dst = appendJSONInstrument(append(dst, `,"instrument":`...), l.Instrument)
	}
	dst = appendJSONWord(dst, `,"phase":"`, phaseWords, uint8(l.Phase))
	dst = appendJSONTrue(dst, `,"ended":`, l.Ended)
	dst = appendJSONWord(dst, `,"end_reason":"`, endReasonWords, endReasonOf(l.EndReason))
	dst = appendJSONText(dst, `,"new_symbol":`, l.NewSymbol)
	dst = appendHex(append(dst, `,"epoch":`...), l.Epoch, 16)
	dst = appendJSONInt(append(dst, `,"seq":`...), l.Seq)
	dst = append(dst[:begin], dst[begin+1:]...) // the first comma
	return append(dst, '}')
}

func appendJSONInstrument(dst []byte, in *Instrument) []byte {
	x := in.Exponents
	dst = strconv.AppendInt(append(dst, `{"price_exponent":`...), int64(x.Price), 10)
	dst = strconv.AppendInt(append(dst, `,"qty_exponent":`...), int64(x.Qty), 10)
	if in.Tick != 0 {
		dst = appendJSONDecimal(append(dst, `,"tick":`...), in.Tick, x.Price)
	}
	if in.Lot != 0 {
		dst = appendJSONDecimal(append(dst, `,"lot":`...), in.Lot, x.Qty)
	}
	dst = appendJSONWord(dst, `,"type":"`, instrumentTypeWords, in.Type)
	dst = appendJSONText(dst, `,"name":`, in.Name)
	dst = appendJSONText(dst, `,"base":`, in.Base)
	dst = appendJSONText(dst, `,"quote":`, in.Quote)
	dst = appendJSONTime(dst, `,"expiry_time":`, in.ExpiryTime)
	if in.MaxLevels != 0 {
		dst = strconv.AppendUint(append(dst, `,"max_levels":`...), uint64(in.MaxLevels), 10)
	}
	return append(dst, '}')
}

// AppendInstruments appends an instruments frame.
func (c Codec) AppendInstruments(dst []byte, form TopicForm, in *Instruments) []byte {
	if c == CodecJSON {
		return AppendJSONInstruments(dst, form, in)
	}
	return AppendInstruments(dst, form, in)
}
