package proto

import "fmt"

// Slices of an event are kept for the next record up to these capacities; the
// first events of a record may keep the larger. So a batch keeps at most 14 MiB
// whatever it has seen.
const (
	keptEvents      = 4096
	keptLargeEvents = 8
	keptSmall       = 16
	keptLarge       = 8192
)

// event decodes one Event. A kind that comes again is merged into what there is,
// another kind replaces it, as in every protobuf decoder. rest is what follows the
// event in the record.
func (d *eventsDecoder) event(b, rest []byte) error {
	e, err := d.newEvent(rest)
	if err != nil {
		return err
	}
	index := len(d.batch.Events) - 1
	var f wireField
	for len(b) > 0 {
		if b, err = nextField(b, &f); err != nil {
			return err
		}
		kind := EventKind(f.key >> 3)
		if f.key&7 != bytesKey || f.key>>3 > uint32(EventHeartbeat) {
			continue
		}
		if kind != e.Kind {
			d.levelsLeft += len(e.Bids) + len(e.Asks) + len(e.BidOrders) + len(e.AskOrders)
			d.reset(e, index)
			e.Kind = kind
		}
		if err = d.kind(e, f.bytes); err != nil {
			return fmt.Errorf("event %d: %w", index, err)
		}
	}
	if err = d.finish(e); err != nil {
		return fmt.Errorf("event %d: %w", index, err)
	}
	return nil
}

// newEvent appends an empty event to the batch.
func (d *eventsDecoder) newEvent(rest []byte) (*Event, error) {
	b := d.batch
	index := len(b.Events)
	if index == 0 && cap(b.Events) > keptEvents {
		b.Events = nil
	}
	if index == cap(b.Events) {
		more := 1 + countEvents(rest)
		if index+more > MaxEvents {
			return nil, fmt.Errorf("%w: more than %d events", ErrTooLarge, MaxEvents)
		}
		b.Events = append(make([]Event, 0, max(index+more, min(2*index, keptEvents))), b.Events...)
	}
	b.Events = b.Events[:index+1]
	e := &b.Events[index]
	d.reset(e, index)
	return e, nil
}

// countEvents returns how many events are in the rest of a record, so that room for
// them is made once, and none for more than are admitted: an event takes three bytes
// of a record at the least, and 280 in memory.
func countEvents(rest []byte) int {
	var f wireField
	count := 0
	for len(rest) > 0 {
		var err error
		if rest, err = nextField(rest, &f); err != nil {
			break // where decoding ends too
		}
		if f.key == eventsEvents<<3|bytesKey {
			count++
		}
	}
	return count
}

// reset empties e but for the slices worth keeping.
func (d *eventsDecoder) reset(e *Event, index int) {
	most := keptSmall
	if index < keptLargeEvents {
		most = keptLarge
	}
	*e = Event{
		Bids: keep(e.Bids, most), Asks: keep(e.Asks, most),
		BidOrders: keep(e.BidOrders, most), AskOrders: keep(e.AskOrders, most),
	}
	d.eventState = eventState{}
}

func keep[T any](s []T, most int) []T {
	if cap(s) > most {
		return nil
	}
	return s[:0]
}

// kind decodes the message of e's kind.
func (d *eventsDecoder) kind(e *Event, b []byte) error {
	if e.Kind == EventInstrument && e.Instrument == nil {
		e.Instrument = &Instrument{}
	}
	if e.Kind == EventStatistics && e.Statistics == nil {
		e.Statistics = &Statistics{}
	}
	var f wireField
	var err error
	for len(b) > 0 {
		if b, err = nextField(b, &f); err != nil {
			return err
		}
		if f.key >= 16<<3 {
			continue // no message of an event has such a field; and the switches below rely on small keys
		}
		switch e.Kind {
		case EventSetLevels, EventSnapshot:
			err = d.bookField(e, &f)
		case EventAdd, EventModify, EventReduce, EventExecute, EventReplace, EventDelete:
			orderField(e, &f)
		case EventTrade, EventTradeCancel, EventTradeCorrect:
			tradeField(e, &f)
		case EventInstrument:
			err = d.instrumentField(e.Instrument, &f)
		case EventStatistics:
			statisticsField(e.Statistics, &f)
		default:
			err = d.stateField(e, &f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// orderField decodes a field of an order event. Their numbers differ by kind.
func orderField(e *Event, f *wireField) {
	if f.key == 1<<3|fixed64Key {
		e.OrderID = f.value
		return
	}
	switch uint32(e.Kind)<<8 | f.key {
	case uint32(EventAdd)<<8 | 2<<3 | varintKey:
		e.Side = 0
		if side := int32(f.value); side == int32(Bid) || side == int32(Ask) {
			e.Side = Side(side)
		}
	case uint32(EventAdd)<<8 | 3<<3 | varintKey, uint32(EventModify)<<8 | 2<<3 | varintKey, uint32(EventReplace)<<8 | 3<<3 | varintKey:
		e.Price = unzigzag(f.value)
	case uint32(EventExecute)<<8 | 4<<3 | varintKey:
		e.Price, e.HasPrice = unzigzag(f.value), true
	case uint32(EventAdd)<<8 | 4<<3 | varintKey, uint32(EventModify)<<8 | 3<<3 | varintKey, uint32(EventReplace)<<8 | 4<<3 | varintKey,
		uint32(EventReduce)<<8 | 2<<3 | varintKey, uint32(EventExecute)<<8 | 2<<3 | varintKey:
		e.Qty = int64(f.value)
	case uint32(EventReduce)<<8 | 3<<3 | varintKey, uint32(EventExecute)<<8 | 3<<3 | varintKey:
		e.QtyAfter, e.HasQtyAfter = int64(f.value), true
	case uint32(EventModify)<<8 | 4<<3 | varintKey:
		e.KeepPriority = f.value != 0
	case uint32(EventExecute)<<8 | 5<<3 | varintKey:
		e.TradeID = f.value
	case uint32(EventExecute)<<8 | 6<<3 | varintKey:
		e.Unprintable = f.value == 0
	case uint32(EventReplace)<<8 | 2<<3 | fixed64Key:
		e.NewOrderID = f.value
	}
}

// tradeField decodes a field of a trade, its cancellation or its correction. An
// aggressor that is not known here is unknown.
func tradeField(e *Event, f *wireField) {
	t := &e.Trade
	if f.key == 1<<3|varintKey {
		t.ID = f.value
		return
	}
	if e.Kind == EventTradeCancel {
		return
	}
	switch f.key {
	case 2<<3 | varintKey:
		t.Price = unzigzag(f.value)
		return
	case 3<<3 | varintKey:
		t.Qty = int64(f.value)
		return
	}
	if e.Kind == EventTradeCorrect {
		return
	}
	switch f.key {
	case 4<<3 | varintKey:
		t.Aggressor = AggressorUnknown
		if a := int32(f.value); a == int32(AggressorBuy) || a == int32(AggressorSell) {
			t.Aggressor = Aggressor(a)
		}
	case 5<<3 | varintKey:
		t.setFlag(TradeHidden, f.value != 0)
	case 6<<3 | varintKey:
		t.setFlag(TradeAuction, f.value != 0)
	case 7<<3 | varintKey:
		t.setFlag(TradeOffBook, f.value != 0)
	case 8<<3 | fixed64Key:
		t.VenueTime = int64(f.value)
	}
}

func (t *Trade) setFlag(flag TradeFlags, on bool) {
	t.Flags &^= flag
	if on {
		t.Flags |= flag
	}
}

// finish judges what only the whole event can tell.
func (d *eventsDecoder) finish(e *Event) error {
	switch e.Kind {
	case EventSetLevels, EventSnapshot:
		return d.finishBook(e)
	case EventAdd, EventModify, EventReduce, EventExecute, EventReplace:
		if e.Qty <= 0 || e.QtyAfter < 0 {
			return fmt.Errorf("%w: order %d: quantity %d, %d after", ErrBadValue, e.OrderID, e.Qty, e.QtyAfter)
		}
		if e.Kind == EventAdd && e.Side == 0 {
			return fmt.Errorf("%w: order %d: no side", ErrBadValue, e.OrderID)
		}
		if e.Kind == EventReplace && e.NewOrderID == 0 {
			return fmt.Errorf("%w: order %d replaced by order 0", ErrBadValue, e.OrderID)
		}
		if e.OrderID == 0 {
			return fmt.Errorf("%w: order 0", ErrBadValue)
		}
	case EventClear:
		if d.clearKind != clearSessionStart && d.clearKind != clearReset {
			return fmt.Errorf("%w: clear of kind %d", ErrBadValue, d.clearKind)
		}
	case EventInstrumentEnd:
		if e.NewSymbol != "" && !ValidSymbol(e.NewSymbol) {
			return fmt.Errorf("%w: new symbol %q", ErrBadValue, e.NewSymbol)
		}
	case EventPhase:
		if d.phase < 0 || d.phase > int32(Closed) {
			return fmt.Errorf("%w: phase %d", ErrBadValue, d.phase)
		}
	case EventInstrument:
		x := &e.Instrument.Exponents
		var err error
		if x.Price, err = checkExponent("price_exponent", d.priceExponent); err == nil {
			x.Qty, err = checkExponent("qty_exponent", d.qtyExponent)
		}
		return err
	}
	return nil
}
