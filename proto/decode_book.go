package proto

import (
	"fmt"
	"slices"
)

// eventState is what the decoder knows of the event at hand beyond the Event:
// values as on the wire, judged when the event is complete.
type eventState struct {
	filled                     [4]columns // of Bids, Asks, BidOrders, AskOrders
	clearKind, phase           int32
	priceExponent, qtyExponent int32
}

// columns counts the entries that each parallel array of a Levels or Orders
// message has had so far, by field number - 1.
type columns [3]int

// bookField decodes a field of SetLevels or BookSnapshot.
func (d *eventsDecoder) bookField(e *Event, f *wireField) (err error) {
	switch f.key {
	case 1<<3 | bytesKey:
		e.Bids, err = d.levels(e.Bids, &d.filled[0], f.bytes)
	case 2<<3 | bytesKey:
		e.Asks, err = d.levels(e.Asks, &d.filled[1], f.bytes)
	}
	if err != nil || e.Kind == EventSetLevels {
		return err
	}
	switch f.key {
	case 3<<3 | bytesKey:
		e.BidOrders, err = d.orders(e.BidOrders, &d.filled[2], f.bytes)
	case 4<<3 | bytesKey:
		e.AskOrders, err = d.orders(e.AskOrders, &d.filled[3], f.bytes)
	case 5<<3 | varintKey:
		e.ByOrder = f.value != 0
	case 6<<3 | varintKey:
		e.SourceSeq = f.value
	case 7<<3 | varintKey:
		e.MaxLevels = uint32(f.value)
	case 8<<3 | varintKey:
		e.Continued = f.value != 0
	case 9<<3 | varintKey:
		e.KnownLevels = uint32(f.value)
	}
	return err
}

// levels decodes a Levels message. Prices stay differences until finishBook.
func (d *eventsDecoder) levels(dst []Level, filled *columns, b []byte) ([]Level, error) {
	var f wireField
	var err error
	for len(b) > 0 {
		if b, err = nextField(b, &f); err != nil {
			return dst, err
		}
		column, packed, one := columnOf(&f, 3)
		if column < 0 {
			continue
		}
		at := filled[column]
		filled[column] += countVarints(packed, one)
		if dst, err = extend(d, dst, filled[column]); err != nil {
			return dst, err
		}
		for l := dst[at:filled[column]]; len(l) > 0; l = l[1:] {
			v, n := f.value, 0
			if !one {
				if v, n = consumeVarint(packed); n < 0 {
					return dst, ErrMalformed
				}
				packed = packed[n:]
			}
			switch column {
			case 0:
				l[0].Price = unzigzag(v)
			case 1:
				l[0].Qty = int64(v)
			case 2:
				l[0].Count = uint32(v)
			}
		}
		if len(packed) > 0 {
			return dst, ErrMalformed
		}
	}
	return dst, nil
}

// orders decodes an Orders message. Identifiers and prices stay differences
// until finishBook.
func (d *eventsDecoder) orders(dst []Order, filled *columns, b []byte) ([]Order, error) {
	var f wireField
	var err error
	for len(b) > 0 {
		if b, err = nextField(b, &f); err != nil {
			return dst, err
		}
		column, packed, one := columnOf(&f, 3)
		if column < 0 {
			continue
		}
		at := filled[column]
		filled[column] += countVarints(packed, one)
		if dst, err = extend(d, dst, filled[column]); err != nil {
			return dst, err
		}
		for o := dst[at:filled[column]]; len(o) > 0; o = o[1:] {
			v, n := f.value, 0
			if !one {
				if v, n = consumeVarint(packed); n < 0 {
					return dst, ErrMalformed
				}
				packed = packed[n:]
			}
			switch column {
			case 0:
				o[0].ID = uint64(unzigzag(v))
			case 1:
				o[0].Price = unzigzag(v)
			case 2:
				o[0].Qty = int64(v)
			}
		}
		if len(packed) > 0 {
			return dst, ErrMalformed
		}
	}
	return dst, nil
}

// columnOf returns which of the first most arrays f belongs to, -1 for none, and
// its numbers: packed, or a single one in f.value.
func columnOf(f *wireField, most uint32) (column int, packed []byte, one bool) {
	number := f.key >> 3
	if number < 1 || number > most {
		return -1, nil, false
	}
	switch f.key & 7 {
	case bytesKey:
		return int(number - 1), f.bytes, false
	case varintKey:
		return int(number - 1), nil, true
	}
	return -1, nil, false
}

// countVarints returns how many complete varints are in packed.
func countVarints(packed []byte, one bool) int {
	if one {
		return 1
	}
	count := 0
	for _, c := range packed {
		if c < 0x80 {
			count++
		}
	}
	return count
}

// extend lengthens s with zero values to the given length, within the bound of
// the record.
func extend[T any](d *eventsDecoder, s []T, length int) ([]T, error) {
	more := length - len(s)
	if more <= 0 {
		return s, nil
	}
	if more > d.levelsLeft {
		return s, fmt.Errorf("%w: more than %d levels and orders in a record", ErrTooLarge, MaxRecordLevels)
	}
	d.levelsLeft -= more
	s = slices.Grow(s, more)
	old := len(s)
	s = s[:length]
	clear(s[old:])
	return s, nil
}

// finishBook turns differences into values and judges them.
func (d *eventsDecoder) finishBook(e *Event) error {
	none := columns{} // most events have one side's levels, or nothing of these
	if d.filled[0] != none {
		if err := finishLevels("bids", e.Bids, d.filled[0]); err != nil {
			return err
		}
	}
	if d.filled[1] != none {
		if err := finishLevels("asks", e.Asks, d.filled[1]); err != nil {
			return err
		}
	}
	if d.filled[2] != none {
		if err := finishOrders("bid_orders", e.BidOrders, d.filled[2]); err != nil {
			return err
		}
	}
	if d.filled[3] != none {
		if err := finishOrders("ask_orders", e.AskOrders, d.filled[3]); err != nil {
			return err
		}
	}
	levels, orders := len(e.Bids)+len(e.Asks), len(e.BidOrders)+len(e.AskOrders)
	if levels > 0 && (orders > 0 || e.ByOrder) {
		return fmt.Errorf("%w: a snapshot by order with levels", ErrBadValue)
	}
	e.ByOrder = e.ByOrder || orders > 0
	return nil
}

func finishLevels(side string, levels []Level, filled columns) error {
	if filled[0] != filled[1] || (filled[2] != 0 && filled[2] != filled[0]) {
		return fmt.Errorf("%w: %s: %d prices, %d quantities and %d counts", ErrBadValue, side, filled[0], filled[1], filled[2])
	}
	price := int64(0)
	for i := range levels {
		price += levels[i].Price
		levels[i].Price = price
		if levels[i].Qty < 0 {
			return fmt.Errorf("%w: %s: quantity %d at price %d", ErrBadValue, side, levels[i].Qty, price)
		}
	}
	return nil
}

func finishOrders(side string, orders []Order, filled columns) error {
	if filled[0] != filled[1] || filled[1] != filled[2] {
		return fmt.Errorf("%w: %s: %d identifiers, %d prices and %d quantities", ErrBadValue, side, filled[0], filled[1], filled[2])
	}
	var last Order
	for i := range orders {
		o := &orders[i]
		o.ID += last.ID
		o.Price += last.Price
		if o.ID == 0 || o.Qty <= 0 {
			return fmt.Errorf("%w: %s: order %d of quantity %d", ErrBadValue, side, o.ID, o.Qty)
		}
		last = *o
	}
	return nil
}

// stateField decodes a field of Clear, InstrumentEnd, PhaseChange or Heartbeat.
func (d *eventsDecoder) stateField(e *Event, f *wireField) (err error) {
	switch uint32(e.Kind)<<8 | f.key {
	case uint32(EventClear)<<8 | 1<<3 | varintKey:
		d.clearKind = int32(f.value)
		e.SessionStart = d.clearKind == clearSessionStart
	case uint32(EventInstrumentEnd)<<8 | 1<<3 | varintKey:
		e.EndReason = ReasonNone
		if r := int32(f.value); r >= 1 && r <= int32(ReasonExpired-ReasonDelisted)+1 {
			e.EndReason = ReasonDelisted + Reason(r-1)
		}
	case uint32(EventInstrumentEnd)<<8 | 2<<3 | bytesKey:
		e.NewSymbol, err = decodeString("new_symbol", f.bytes, MaxSymbolBytes, "")
	case uint32(EventPhase)<<8 | 1<<3 | varintKey:
		d.phase = int32(f.value)
		e.Phase = Phase(f.value)
	case uint32(EventPhase)<<8 | 2<<3 | varintKey:
		e.Indicative.Price, e.Indicative.HasPrice = unzigzag(f.value), true
	case uint32(EventPhase)<<8 | 3<<3 | varintKey:
		e.Indicative.Qty, e.Indicative.HasQty = int64(f.value), true
	}
	return err
}

// instrumentField decodes a field of Instrument; a type that is not known here
// is 0.
func (d *eventsDecoder) instrumentField(in *Instrument, f *wireField) (err error) {
	switch f.key {
	case 1<<3 | varintKey:
		d.priceExponent = unzigzag32(f.value)
	case 2<<3 | varintKey:
		d.qtyExponent = unzigzag32(f.value)
	case 3<<3 | varintKey:
		in.Tick = int64(f.value)
	case 4<<3 | varintKey:
		in.Lot = int64(f.value)
	case 5<<3 | varintKey:
		in.Type = 0
		if t := int32(f.value); t > 0 && int(t) < len(instrumentTypeWords.words) {
			in.Type = uint8(t)
		}
	case 6<<3 | bytesKey:
		in.Name, err = decodeString("name", f.bytes, MaxNameBytes, "")
	case 7<<3 | bytesKey:
		in.Base, err = decodeString("base", f.bytes, MaxAssetBytes, "")
	case 8<<3 | bytesKey:
		in.Quote, err = decodeString("quote", f.bytes, MaxAssetBytes, "")
	case 9<<3 | fixed64Key:
		in.ExpiryTime = int64(f.value)
	case 10<<3 | varintKey:
		in.MaxLevels = uint32(f.value)
	}
	return err
}

// statisticsField decodes a field of Statistics.
func statisticsField(s *Statistics, f *wireField) {
	if f.key&7 != varintKey {
		return
	}
	prices := [...]*Optional{&s.Open, &s.High, &s.Low, &s.Last, &s.PreviousClose, &s.Settlement}
	sums := [...]*Optional{&s.Volume, &s.OpenInterest}
	switch i := int(f.key>>3) - 1; {
	case i < len(prices):
		*prices[i] = Optional{Value: unzigzag(f.value), Set: true}
	case i < len(prices)+len(sums):
		*sums[i-len(prices)] = Optional{Value: int64(f.value), Set: true}
	}
}
