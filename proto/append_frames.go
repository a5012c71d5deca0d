package proto

// Fields of Frame.body.
const (
	frameSnapshot    = 4
	frameDelta       = 5
	frameTrades      = 6
	frameOrders      = 7
	frameTicker      = 8
	frameInstruments = 9
	frameStatus      = 10
	frameKeepalive   = 11
)

// AppendDelta appends a Frame holding d, of orders if it has Orders. Quantities
// must not be negative.
func AppendDelta(dst []byte, form TopicForm, d *Delta) []byte {
	if d.Orders != nil {
		return appendOrdersDelta(dst, form, d)
	}
	bids, asks := sizeLevels(d.Bids, form.Counts), sizeLevels(d.Asks, form.Counts)
	times := sizeTimes(d.Times)
	merged := wireMerged(d.Merged)
	size := sizeUint(1, uint64(form.Topic)) + sizeUint(2, uint64(d.PrevSeq)) + sizeUint(3, uint64(d.Seq)) +
		bids.outerSize(4) + asks.outerSize(5) + sizeFixed32(6, d.Hash) +
		sizeTimesField(7, times) + sizeUint(8, uint64(merged))

	dst = appendNested(dst, frameDelta, size)
	dst = appendUint(dst, 1, uint64(form.Topic))
	dst = appendUint(dst, 2, uint64(d.PrevSeq))
	dst = appendUint(dst, 3, uint64(d.Seq))
	dst = appendLevels(dst, 4, d.Bids, bids)
	dst = appendLevels(dst, 5, d.Asks, asks)
	dst = appendFixed32(dst, 6, d.Hash)
	dst = appendTimes(dst, 7, d.Times, times)
	return appendUint(dst, 8, uint64(merged))
}

// AppendSnapshot appends a Frame holding s under its own exponents. Trades are
// not a part of it: the trades channel sends them as a history (Trades.History).
func AppendSnapshot(dst []byte, form TopicForm, reason SnapshotReason, s *Snapshot) []byte {
	bids, asks := sizeLevels(s.Bids, form.Counts), sizeLevels(s.Asks, form.Counts)
	times := sizeTimes(s.Times)
	bidOrders, askOrders := sizeRanked(s.Orders.Bids), sizeRanked(s.Orders.Asks)
	price, qty := zigzag(int64(s.Exponents.Price)), zigzag(int64(s.Exponents.Qty))
	size := sizeUint(1, uint64(form.Topic)) + sizeString(2, s.Symbol) + sizeFixed64(3, s.Epoch) +
		sizeUint(4, uint64(s.Seq)) + sizeUint(5, uint64(reason)) + sizeUint(6, uint64(s.State)) +
		sizeUint(7, uint64(s.Reason)) + sizeUint(8, uint64(s.Phase)) + sizeUint(9, price) + sizeUint(10, qty) +
		bids.outerSize(11) + asks.outerSize(12) + sizeFixed32(13, s.Hash) + sizeTimesField(14, times) +
		sizeBool(15, s.Partial) + sizeBool(16, s.Locked) + sizeBool(17, s.Crossed) +
		bidOrders.outerSize(18) + askOrders.outerSize(19) +
		sizeOptional(20, zigzag(s.Indicative.Price), s.Indicative.HasPrice) +
		sizeOptional(21, uint64(s.Indicative.Qty), s.Indicative.HasQty)

	dst = appendNested(dst, frameSnapshot, size)
	dst = appendUint(dst, 1, uint64(form.Topic))
	dst = appendString(dst, 2, s.Symbol)
	dst = appendFixed64(dst, 3, s.Epoch)
	dst = appendUint(dst, 4, uint64(s.Seq))
	dst = appendUint(dst, 5, uint64(reason))
	dst = appendUint(dst, 6, uint64(s.State))
	dst = appendUint(dst, 7, uint64(s.Reason))
	dst = appendUint(dst, 8, uint64(s.Phase))
	dst = appendUint(dst, 9, price)
	dst = appendUint(dst, 10, qty)
	dst = appendLevels(dst, 11, s.Bids, bids)
	dst = appendLevels(dst, 12, s.Asks, asks)
	dst = appendFixed32(dst, 13, s.Hash)
	dst = appendTimes(dst, 14, s.Times, times)
	dst = appendBool(dst, 15, s.Partial)
	dst = appendBool(dst, 16, s.Locked)
	dst = appendBool(dst, 17, s.Crossed)
	dst = appendRanked(dst, 18, s.Orders.Bids, bidOrders)
	dst = appendRanked(dst, 19, s.Orders.Asks, askOrders)
	dst = appendOptional(dst, 20, zigzag(s.Indicative.Price), s.Indicative.HasPrice)
	return appendOptional(dst, 21, uint64(s.Indicative.Qty), s.Indicative.HasQty)
}

// AppendTrades appends a Frame holding t.
func AppendTrades(dst []byte, form TopicForm, t *Trades) []byte {
	times := sizeTimes(t.Times)
	size := sizeUint(1, uint64(form.Topic)) + sizeUint(2, uint64(t.PrevSeq)) + sizeUint(3, uint64(t.Seq)) +
		sizeUint(5, t.Missed) + sizeUint(6, t.MissedFirst) + sizeUint(7, t.MissedLast) +
		sizeTimesField(8, times) + sizeBool(9, t.History)
	for i := range t.Trades {
		size += sizeNested(4, sizePublicTrade(&t.Trades[i]))
	}

	dst = appendNested(dst, frameTrades, size)
	dst = appendUint(dst, 1, uint64(form.Topic))
	dst = appendUint(dst, 2, uint64(t.PrevSeq))
	dst = appendUint(dst, 3, uint64(t.Seq))
	for i := range t.Trades {
		dst = appendPublicTrade(appendNested(dst, 4, sizePublicTrade(&t.Trades[i])), &t.Trades[i])
	}
	dst = appendUint(dst, 5, t.Missed)
	dst = appendUint(dst, 6, t.MissedFirst)
	dst = appendUint(dst, 7, t.MissedLast)
	dst = appendTimes(dst, 8, t.Times, times)
	return appendBool(dst, 9, t.History)
}

func sizePublicTrade(t *Trade) int {
	return sizeUint(1, t.Ordinal) + sizeUint(2, t.ID) + sizeUint(3, zigzag(t.Price)) + sizeUint(4, uint64(t.Qty)) +
		sizeUint(5, uint64(t.Aggressor)) + sizeBool(6, t.Flags&TradeHidden != 0) +
		sizeBool(7, t.Flags&TradeAuction != 0) + sizeBool(8, t.Flags&TradeOffBook != 0) +
		sizeFixed64(9, uint64(t.VenueTime)) + sizeBool(10, t.Flags&TradeCorrection != 0) +
		sizeBool(11, t.Flags&TradeCancellation != 0)
}

func appendPublicTrade(dst []byte, t *Trade) []byte {
	dst = appendUint(dst, 1, t.Ordinal)
	dst = appendUint(dst, 2, t.ID)
	dst = appendUint(dst, 3, zigzag(t.Price))
	dst = appendUint(dst, 4, uint64(t.Qty))
	dst = appendUint(dst, 5, uint64(t.Aggressor))
	dst = appendBool(dst, 6, t.Flags&TradeHidden != 0)
	dst = appendBool(dst, 7, t.Flags&TradeAuction != 0)
	dst = appendBool(dst, 8, t.Flags&TradeOffBook != 0)
	dst = appendFixed64(dst, 9, uint64(t.VenueTime))
	dst = appendBool(dst, 10, t.Flags&TradeCorrection != 0)
	return appendBool(dst, 11, t.Flags&TradeCancellation != 0)
}

// AppendStatus appends a Frame holding s.
func AppendStatus(dst []byte, form TopicForm, s *Status) []byte {
	times := sizeTimes(s.Times)
	price, qty := zigzag(s.Indicative.Price), uint64(s.Indicative.Qty)
	size := sizeUint(1, uint64(form.Topic)) + sizeUint(2, uint64(s.Seq)) + sizeUint(3, uint64(s.State)) +
		sizeUint(4, uint64(s.Reason)) + sizeUint(5, uint64(s.Phase)) +
		sizeOptional(6, price, s.Indicative.HasPrice) + sizeOptional(7, qty, s.Indicative.HasQty) +
		sizeBool(8, s.Final) + sizeString(9, s.NewSymbol) + sizeBool(10, s.Locked) + sizeBool(11, s.Crossed) +
		sizeTimesField(12, times) + sizeBool(13, s.Partial)

	dst = appendNested(dst, frameStatus, size)
	dst = appendUint(dst, 1, uint64(form.Topic))
	dst = appendUint(dst, 2, uint64(s.Seq))
	dst = appendUint(dst, 3, uint64(s.State))
	dst = appendUint(dst, 4, uint64(s.Reason))
	dst = appendUint(dst, 5, uint64(s.Phase))
	dst = appendOptional(dst, 6, price, s.Indicative.HasPrice)
	dst = appendOptional(dst, 7, qty, s.Indicative.HasQty)
	dst = appendBool(dst, 8, s.Final)
	dst = appendString(dst, 9, s.NewSymbol)
	dst = appendBool(dst, 10, s.Locked)
	dst = appendBool(dst, 11, s.Crossed)
	dst = appendTimes(dst, 12, s.Times, times)
	return appendBool(dst, 13, s.Partial)
}

// Keepalive is a Mark as sent: ages are taken at Published.
type Keepalive struct {
	Seq         int64
	Hash        uint32
	SymbolAgeMS uint64
	FeedAgeMS   uint64
	Published   int64 // ns since 1970
}

// KeepaliveAt returns what a keepalive says of m at now, ns since 1970. An age is
// 0 where its time is not known or lies ahead.
func (m Mark) KeepaliveAt(now int64) Keepalive {
	return Keepalive{Seq: m.Seq, Hash: m.Hash, SymbolAgeMS: ageMS(m.SymbolTime, now), FeedAgeMS: ageMS(m.FeedTime, now), Published: now}
}

func ageMS(then, now int64) uint64 {
	if then == 0 || then > now {
		return 0
	}
	return uint64(now-then) / 1_000_000
}

// AppendKeepalive appends a Frame holding k.
func AppendKeepalive(dst []byte, form TopicForm, k *Keepalive) []byte {
	size := sizeUint(1, uint64(form.Topic)) + sizeUint(2, uint64(k.Seq)) + sizeFixed32(3, k.Hash) +
		sizeUint(4, k.SymbolAgeMS) + sizeUint(5, k.FeedAgeMS) + sizeFixed64(6, uint64(k.Published))

	dst = appendNested(dst, frameKeepalive, size)
	dst = appendUint(dst, 1, uint64(form.Topic))
	dst = appendUint(dst, 2, uint64(k.Seq))
	dst = appendFixed32(dst, 3, k.Hash)
	dst = appendUint(dst, 4, k.SymbolAgeMS)
	dst = appendUint(dst, 5, k.FeedAgeMS)
	return appendFixed64(dst, 6, uint64(k.Published))
}
