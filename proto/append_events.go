package proto

// Fields of Events.
const (
	eventsSymbol         = 1
	eventsFeed           = 2
	eventsSession        = 3
	eventsFirstSourceSeq = 4
	eventsLastSourceSeq  = 5
	eventsPriceExponent  = 6
	eventsQtyExponent    = 7
	eventsVenueTime      = 8
	eventsMore           = 9
	eventsOriginEpoch    = 10
	eventsOriginSeq      = 11
	eventsOriginPrevSeq  = 12
	eventsGeneration     = 13
	eventsEvents         = 16
)

// Values of ClearKind.
const (
	clearSessionStart = 1
	clearReset        = 2
)

// AppendEvents appends b as the value of a Kafka record (Events). An event of
// kind EventNone becomes one with nothing set. Order counts are written for a
// side where any level has one.
func AppendEvents(dst []byte, b *Batch) []byte {
	dst = appendString(dst, eventsSymbol, b.Symbol)
	dst = appendString(dst, eventsFeed, b.Feed)
	dst = appendString(dst, eventsSession, b.Session)
	dst = appendUint(dst, eventsFirstSourceSeq, b.FirstSourceSeq)
	dst = appendUint(dst, eventsLastSourceSeq, b.LastSourceSeq)
	dst = appendOptional(dst, eventsPriceExponent, zigzag(int64(b.Exponents.Price)), b.HasExponents)
	dst = appendOptional(dst, eventsQtyExponent, zigzag(int64(b.Exponents.Qty)), b.HasExponents)
	dst = appendFixed64(dst, eventsVenueTime, uint64(b.VenueTime))
	dst = appendBool(dst, eventsMore, b.More)
	dst = appendFixed64(dst, eventsOriginEpoch, b.OriginEpoch)
	dst = appendUint(dst, eventsOriginSeq, uint64(b.OriginSeq))
	dst = appendUint(dst, eventsOriginPrevSeq, uint64(b.OriginPrevSeq))
	dst = appendUint(dst, eventsGeneration, b.Generation)
	for i := range b.Events {
		dst = appendEvent(dst, &b.Events[i])
	}
	return dst
}

// appendEventHead appends the tags and lengths of an Event whose kind holds size
// bytes, which must follow. EventKind has the field numbers of Event.kind.
func appendEventHead(dst []byte, kind EventKind, size int) []byte {
	dst = appendNested(dst, eventsEvents, sizeNested(uint32(kind), size))
	return appendNested(dst, uint32(kind), size)
}

func appendEvent(dst []byte, e *Event) []byte {
	switch e.Kind {
	case EventSetLevels, EventSnapshot:
		return appendBookEvent(dst, e)
	case EventAdd, EventModify, EventReduce, EventExecute, EventReplace, EventDelete:
		return appendOrderEvent(dst, e)
	case EventTrade, EventTradeCancel, EventTradeCorrect:
		return appendTradeEvent(dst, e)
	case EventClear:
		kind := uint64(clearReset)
		if e.SessionStart {
			kind = clearSessionStart
		}
		return appendUint(appendEventHead(dst, e.Kind, sizeUint(1, kind)), 1, kind)
	case EventInstrument:
		return appendInstrument(appendEventHead(dst, e.Kind, sizeInstrument(e.Instrument)), e.Instrument)
	case EventInstrumentEnd:
		reason := uint64(endReasonOf(e.EndReason))
		dst = appendEventHead(dst, e.Kind, sizeUint(1, reason)+sizeString(2, e.NewSymbol))
		return appendString(appendUint(dst, 1, reason), 2, e.NewSymbol)
	case EventStatistics:
		return appendStatistics(dst, e.Kind, e.Statistics)
	case EventPhase:
		price, qty, in := zigzag(e.Indicative.Price), uint64(e.Indicative.Qty), &e.Indicative
		size := sizeUint(1, uint64(e.Phase)) + sizeOptional(2, price, in.HasPrice) + sizeOptional(3, qty, in.HasQty)
		dst = appendUint(appendEventHead(dst, e.Kind, size), 1, uint64(e.Phase))
		return appendOptional(appendOptional(dst, 2, price, in.HasPrice), 3, qty, in.HasQty)
	case EventHeartbeat:
		return appendEventHead(dst, e.Kind, 0)
	}
	return appendNested(dst, eventsEvents, 0)
}

func appendBookEvent(dst []byte, e *Event) []byte {
	bids, asks := sizeLevels(e.Bids, anyCount(e.Bids)), sizeLevels(e.Asks, anyCount(e.Asks))
	size := bids.outerSize(1) + asks.outerSize(2)
	if e.Kind == EventSetLevels {
		dst = appendEventHead(dst, e.Kind, size)
		return appendLevels(appendLevels(dst, 1, e.Bids, bids), 2, e.Asks, asks)
	}
	bidOrders, askOrders := sizeOrders(e.BidOrders), sizeOrders(e.AskOrders)
	size += bidOrders.outerSize(3) + askOrders.outerSize(4) + sizeBool(5, e.ByOrder) +
		sizeUint(6, e.SourceSeq) + sizeUint(7, uint64(e.MaxLevels)) + sizeBool(8, e.Continued) +
		sizeUint(9, uint64(e.KnownLevels))
	dst = appendEventHead(dst, e.Kind, size)
	dst = appendLevels(dst, 1, e.Bids, bids)
	dst = appendLevels(dst, 2, e.Asks, asks)
	dst = appendOrders(dst, 3, e.BidOrders, bidOrders)
	dst = appendOrders(dst, 4, e.AskOrders, askOrders)
	dst = appendBool(dst, 5, e.ByOrder)
	dst = appendUint(dst, 6, e.SourceSeq)
	dst = appendUint(dst, 7, uint64(e.MaxLevels))
	dst = appendBool(dst, 8, e.Continued)
	return appendUint(dst, 9, uint64(e.KnownLevels))
}

func anyCount(levels []Level) bool {
	for i := range levels {
		if levels[i].Count != 0 {
			return true
		}
	}
	return false
}

// ordersSize holds the sizes of the arrays within one Orders message.
type ordersSize struct {
	id, price, qty int
	total          int // 0: no orders, so it is left out
}

func sizeOrders(orders []Order) ordersSize {
	var s ordersSize
	if len(orders) == 0 {
		return s
	}
	var last Order
	for i := range orders {
		o := &orders[i]
		s.id += sizeVarint(zigzag(int64(o.ID - last.ID)))
		s.price += sizeVarint(zigzag(o.Price - last.Price))
		s.qty += sizeVarint(uint64(o.Qty))
		last = *o
	}
	s.total = sizeNested(1, s.id) + sizeNested(2, s.price) + sizeNested(3, s.qty)
	return s
}

func (s ordersSize) outerSize(field uint32) int {
	if s.total == 0 {
		return 0
	}
	return sizeNested(field, s.total)
}

func appendOrders(dst []byte, field uint32, orders []Order, s ordersSize) []byte {
	if s.total == 0 {
		return dst
	}
	dst = appendNested(dst, field, s.total)
	dst = appendNested(dst, 1, s.id)
	lastID := uint64(0)
	for i := range orders {
		dst = appendVarint(dst, zigzag(int64(orders[i].ID-lastID)))
		lastID = orders[i].ID
	}
	dst = appendNested(dst, 2, s.price)
	last := int64(0)
	for i := range orders {
		dst = appendVarint(dst, zigzag(orders[i].Price-last))
		last = orders[i].Price
	}
	dst = appendNested(dst, 3, s.qty)
	for i := range orders {
		dst = appendVarint(dst, uint64(orders[i].Qty))
	}
	return dst
}

func appendOrderEvent(dst []byte, e *Event) []byte {
	qty, price := uint64(e.Qty), zigzag(e.Price)
	size := sizeFixed64(1, e.OrderID)
	switch e.Kind {
	case EventAdd:
		size += sizeUint(2, uint64(e.Side)) + sizeUint(3, price) + sizeUint(4, qty)
		dst = appendFixed64(appendEventHead(dst, e.Kind, size), 1, e.OrderID)
		dst = appendUint(dst, 2, uint64(e.Side))
		return appendUint(appendUint(dst, 3, price), 4, qty)
	case EventModify:
		size += sizeUint(2, price) + sizeUint(3, qty) + sizeBool(4, e.KeepPriority)
		dst = appendFixed64(appendEventHead(dst, e.Kind, size), 1, e.OrderID)
		return appendBool(appendUint(appendUint(dst, 2, price), 3, qty), 4, e.KeepPriority)
	case EventReduce:
		size += sizeUint(2, qty) + sizeOptional(3, uint64(e.QtyAfter), e.HasQtyAfter)
		dst = appendFixed64(appendEventHead(dst, e.Kind, size), 1, e.OrderID)
		return appendOptional(appendUint(dst, 2, qty), 3, uint64(e.QtyAfter), e.HasQtyAfter)
	case EventExecute:
		size += sizeUint(2, qty) + sizeOptional(3, uint64(e.QtyAfter), e.HasQtyAfter) +
			sizeOptional(4, price, e.HasPrice) + sizeUint(5, e.TradeID) + sizeOptional(6, 0, e.Unprintable)
		dst = appendFixed64(appendEventHead(dst, e.Kind, size), 1, e.OrderID)
		dst = appendOptional(appendUint(dst, 2, qty), 3, uint64(e.QtyAfter), e.HasQtyAfter)
		dst = appendOptional(dst, 4, price, e.HasPrice)
		return appendOptional(appendUint(dst, 5, e.TradeID), 6, 0, e.Unprintable)
	case EventReplace:
		size += sizeFixed64(2, e.NewOrderID) + sizeUint(3, price) + sizeUint(4, qty)
		dst = appendFixed64(appendEventHead(dst, e.Kind, size), 1, e.OrderID)
		dst = appendFixed64(dst, 2, e.NewOrderID)
		return appendUint(appendUint(dst, 3, price), 4, qty)
	}
	return appendFixed64(appendEventHead(dst, e.Kind, size), 1, e.OrderID)
}

func appendTradeEvent(dst []byte, e *Event) []byte {
	t := &e.Trade
	price, qty := zigzag(t.Price), uint64(t.Qty)
	size := sizeUint(1, t.ID)
	if e.Kind == EventTradeCancel {
		return appendUint(appendEventHead(dst, e.Kind, size), 1, t.ID)
	}
	size += sizeUint(2, price) + sizeUint(3, qty)
	if e.Kind == EventTradeCorrect {
		dst = appendUint(appendEventHead(dst, e.Kind, size), 1, t.ID)
		return appendUint(appendUint(dst, 2, price), 3, qty)
	}
	size += sizeUint(4, uint64(t.Aggressor)) + sizeBool(5, t.Flags&TradeHidden != 0) +
		sizeBool(6, t.Flags&TradeAuction != 0) + sizeBool(7, t.Flags&TradeOffBook != 0) +
		sizeFixed64(8, uint64(t.VenueTime))
	dst = appendUint(appendEventHead(dst, e.Kind, size), 1, t.ID)
	dst = appendUint(appendUint(dst, 2, price), 3, qty)
	dst = appendUint(dst, 4, uint64(t.Aggressor))
	dst = appendBool(dst, 5, t.Flags&TradeHidden != 0)
	dst = appendBool(dst, 6, t.Flags&TradeAuction != 0)
	dst = appendBool(dst, 7, t.Flags&TradeOffBook != 0)
	return appendFixed64(dst, 8, uint64(t.VenueTime))
}

func sizeInstrument(in *Instrument) int {
	return sizeUint(1, zigzag(int64(in.Exponents.Price))) + sizeUint(2, zigzag(int64(in.Exponents.Qty))) +
		sizeUint(3, uint64(in.Tick)) + sizeUint(4, uint64(in.Lot)) + sizeUint(5, uint64(in.Type)) +
		sizeString(6, in.Name) + sizeString(7, in.Base) + sizeString(8, in.Quote) +
		sizeFixed64(9, uint64(in.ExpiryTime)) + sizeUint(10, uint64(in.MaxLevels))
}

// appendInstrument appends the message without what is around it.
func appendInstrument(dst []byte, in *Instrument) []byte {
	dst = appendUint(dst, 1, zigzag(int64(in.Exponents.Price)))
	dst = appendUint(dst, 2, zigzag(int64(in.Exponents.Qty)))
	dst = appendUint(dst, 3, uint64(in.Tick))
	dst = appendUint(dst, 4, uint64(in.Lot))
	dst = appendUint(dst, 5, uint64(in.Type))
	dst = appendString(dst, 6, in.Name)
	dst = appendString(dst, 7, in.Base)
	dst = appendString(dst, 8, in.Quote)
	dst = appendFixed64(dst, 9, uint64(in.ExpiryTime))
	return appendUint(dst, 10, uint64(in.MaxLevels))
}

func appendStatistics(dst []byte, kind EventKind, s *Statistics) []byte {
	prices := [...]Optional{s.Open, s.High, s.Low, s.Last, s.PreviousClose, s.Settlement}
	sums := [...]Optional{s.Volume, s.OpenInterest}
	size := 0
	for i, o := range prices {
		size += sizeOptional(uint32(1+i), zigzag(o.Value), o.Set)
	}
	for i, o := range sums {
		size += sizeOptional(uint32(7+i), uint64(o.Value), o.Set)
	}
	dst = appendEventHead(dst, kind, size)
	for i, o := range prices {
		dst = appendOptional(dst, uint32(1+i), zigzag(o.Value), o.Set)
	}
	for i, o := range sums {
		dst = appendOptional(dst, uint32(7+i), uint64(o.Value), o.Set)
	}
	return dst
}

// endReasonOf returns the number of pb.EndReason for r; 0 where r ends nothing.
func endReasonOf(r Reason) uint8 {
	if r < ReasonDelisted || r > ReasonExpired {
		return 0
	}
	return uint8(r - ReasonDelisted + 1)
}
