package proto

import "fmt"

func decodeBookState(b []byte, s *BookState) error {
	d := bookStateDecoder{book: s, events: eventsDecoder{levelsLeft: MaxRecordLevels}}
	if err := fields(b, d.field); err != nil {
		return err
	}
	return d.check()
}

// bookStateDecoder is the state of decoding one book. The levels and orders of
// the book are bounded like those of a record.
type bookStateDecoder struct {
	book       *BookState
	events     eventsDecoder
	price, qty int32
	ranked     [2]rankedColumns // of BidOrders, AskOrders
	heldBytes  int
}

func (d *bookStateDecoder) field(f *wireField) (known bool, err error) {
	s := d.book
	switch f.key {
	case 1<<3 | fixed64Key:
		s.Epoch = f.value
	case 2<<3 | varintKey:
		s.Seq = unzigzag(f.value)
	case 3<<3 | bytesKey:
		err = decodeChain(f.bytes, &s.Chain)
	case 4<<3 | varintKey:
		s.Kind, err = decodeSmall[BookKind]("kind", f.value, uint64(BookByOrder))
	case 5<<3 | varintKey:
		s.Whole = f.value != 0
	case 6<<3 | varintKey:
		s.Fresh = f.value != 0
	case 7<<3 | varintKey:
		s.Reason, err = decodeSmall[Reason]("reason", f.value, uint64(ReasonExpired))
	case 8<<3 | varintKey:
		s.Phase, err = decodeSmall[Phase]("phase", f.value, uint64(Closed))
	case 9<<3 | varintKey:
		s.Indicative.Price, s.Indicative.HasPrice = unzigzag(f.value), true
	case 10<<3 | varintKey:
		s.Indicative.Qty, s.Indicative.HasQty = int64(f.value), true
	case 11<<3 | varintKey:
		d.price = unzigzag32(f.value)
	case 12<<3 | varintKey:
		d.qty = unzigzag32(f.value)
	case 13<<3 | varintKey:
		s.Limit = uint32(f.value)
	case 14<<3 | varintKey:
		s.KnownBid = Optional{Value: unzigzag(f.value), Set: true}
	default:
		if f.key < 20<<3 {
			return d.fact(f)
		}
		return d.content(f)
	}
	return true, err
}

// fact decodes a field from 15 to 19.
func (d *bookStateDecoder) fact(f *wireField) (known bool, err error) {
	s := d.book
	switch f.key {
	case 15<<3 | bytesKey:
		s.Instrument = &Instrument{}
		d.events.eventState = eventState{}
		err = fields(f.bytes, func(f *wireField) (bool, error) { return true, d.events.instrumentField(s.Instrument, f) })
		if err == nil {
			s.Instrument.Exponents, err = checkExponents(d.events.priceExponent, d.events.qtyExponent)
		}
	case 16<<3 | bytesKey:
		s.Feed, err = decodeFeedName(f.bytes)
	case 17<<3 | fixed64Key:
		s.FeedTime = int64(f.value)
	case 18<<3 | bytesKey:
		err = decodeStateTimes(f.bytes, &s.Times)
	case 19<<3 | bytesKey:
		err = decodeSession(f.bytes, &s.Session)
	default:
		return false, nil
	}
	return true, err
}

// content decodes a field from 20 on.
func (d *bookStateDecoder) content(f *wireField) (known bool, err error) {
	s := d.book
	switch f.key {
	case 20<<3 | varintKey:
		s.TradeOrdinal = f.value
	case 21<<3 | bytesKey:
		if len(s.Trades) >= maxStateTrades {
			return false, fmt.Errorf("%w: more than %d trades", ErrTooLarge, maxStateTrades)
		}
		var t Trade
		err = decodePublicTrade(f.bytes, &t)
		s.Trades = append(s.Trades, t)
	case 22<<3 | varintKey:
		var nth uint8
		nth, err = decodeSmall[uint8]("end_reason", f.value, uint64(ReasonExpired-ReasonDelisted)+1)
		s.EndReason = ReasonNone
		if nth > 0 {
			s.EndReason = ReasonDelisted + Reason(nth-1)
		}
	case 23<<3 | bytesKey:
		s.NewSymbol, err = decodeString("new_symbol", f.bytes, MaxSymbolBytes, "")
	case 24<<3 | varintKey:
		s.EndedAt = unzigzag(f.value)
	case 25<<3 | bytesKey:
		err = d.held(f.bytes)
	case 26<<3 | varintKey:
		s.Need = f.value
	case 27<<3 | varintKey:
		s.KnownAsk = Optional{Value: unzigzag(f.value), Set: true}
	case 30<<3 | bytesKey:
		s.Bids, err = d.events.levels(s.Bids, &d.events.filled[0], f.bytes)
	case 31<<3 | bytesKey:
		s.Asks, err = d.events.levels(s.Asks, &d.events.filled[1], f.bytes)
	case 32<<3 | bytesKey:
		s.BidOrders, err = d.orders(s.BidOrders, &d.ranked[0], f.bytes)
	case 33<<3 | bytesKey:
		s.AskOrders, err = d.orders(s.AskOrders, &d.ranked[1], f.bytes)
	case 34<<3 | fixed32Key:
		s.Hash = uint32(f.value)
	default:
		return false, nil
	}
	return true, err
}

// check judges what only the whole book can tell, and turns differences into values.
func (d *bookStateDecoder) check() (err error) {
	s := d.book
	if s.Exponents, err = checkExponents(d.price, d.qty); err != nil {
		return err
	}
	if err := finishLevels("bids", s.Bids, d.events.filled[0]); err != nil {
		return err
	}
	if err := finishLevels("asks", s.Asks, d.events.filled[1]); err != nil {
		return err
	}
	if err := finishRanked("bid_orders", s.BidOrders, d.ranked[0]); err != nil {
		return err
	}
	return finishRanked("ask_orders", s.AskOrders, d.ranked[1])
}

// decodeSmall is the value of an enum of which most is the last.
func decodeSmall[T ~uint8](name string, v, most uint64) (T, error) {
	if v > most {
		return 0, fmt.Errorf("%w: %s %d", ErrBadValue, name, v)
	}
	return T(v), nil
}

func decodeChain(b []byte, c *ChainState) error {
	return fields(b, func(f *wireField) (known bool, err error) {
		switch f.key {
		case 1<<3 | varintKey:
			c.Offset = unzigzag(f.value)
		case 2<<3 | fixed64Key:
			c.Epoch = f.value
		case 3<<3 | varintKey:
			c.Origin = unzigzag(f.value)
		case 4<<3 | varintKey:
			c.Generation = f.value
		case 5<<3 | bytesKey:
			c.Session, err = decodeString("session", f.bytes, MaxSessionBytes, "")
		case 6<<3 | varintKey:
			c.Source = f.value
		case 7<<3 | bytesKey:
			c.Former, err = decodeString("former", f.bytes, MaxSessionBytes, "")
		case 8<<3 | varintKey:
			c.FormerSource = f.value
		case 9<<3 | fixed64Key:
			c.Venue = int64(f.value)
		default:
			return false, nil
		}
		return true, err
	})
}

func decodeSession(b []byte, s *Session) error {
	numbers, flags := s.numbers(), s.flags()
	return fields(b, func(f *wireField) (bool, error) {
		if f.key&7 != varintKey {
			return false, nil
		}
		switch i := int(f.key >> 3); {
		case i <= 9:
			*numbers[i-1] = Optional{Value: unzigzag(f.value), Set: true}
		case i == 10:
			s.LastID = f.value
		case i == 11:
			s.OpenID = f.value
		case i == 12:
			s.First = f.value
		case i <= 12+len(flags):
			*flags[i-13] = f.value != 0
		default:
			return false, nil
		}
		return true, nil
	})
}

func decodeStateTimes(b []byte, t *Times) error {
	return fields(b, func(f *wireField) (bool, error) {
		switch f.key {
		case 1<<3 | fixed64Key:
			t.VenueFirst = int64(f.value)
		case 2<<3 | fixed64Key:
			t.Venue = int64(f.value)
		case 3<<3 | fixed64Key:
			t.Kafka = int64(f.value)
		default:
			return false, nil
		}
		return true, nil
	})
}

func decodePublicTrade(b []byte, t *Trade) error {
	return fields(b, func(f *wireField) (known bool, err error) {
		switch f.key {
		case 1<<3 | varintKey:
			t.Ordinal = f.value
		case 2<<3 | varintKey:
			t.ID = f.value
		case 3<<3 | varintKey:
			t.Price = unzigzag(f.value)
		case 4<<3 | varintKey:
			t.Qty = int64(f.value)
		case 5<<3 | varintKey:
			t.Aggressor, err = decodeSmall[Aggressor]("aggressor", f.value, uint64(AggressorSell))
		case 6<<3 | varintKey:
			t.setFlag(TradeHidden, f.value != 0)
		case 7<<3 | varintKey:
			t.setFlag(TradeAuction, f.value != 0)
		case 8<<3 | varintKey:
			t.setFlag(TradeOffBook, f.value != 0)
		case 9<<3 | fixed64Key:
			t.VenueTime = int64(f.value)
		case 10<<3 | varintKey:
			t.setFlag(TradeCorrection, f.value != 0)
		case 11<<3 | varintKey:
			t.setFlag(TradeCancellation, f.value != 0)
		default:
			return false, nil
		}
		return true, err
	})
}

// held decodes one record that is held back.
func (d *bookStateDecoder) held(b []byte) error {
	if len(d.book.Held) >= maxStateHeld || d.heldBytes > maxStateHeldBytes {
		return fmt.Errorf("%w: records held back", ErrTooLarge)
	}
	var h Batch
	var events []byte
	var feed string
	err := fields(b, func(f *wireField) (known bool, err error) {
		switch f.key {
		case 1<<3 | varintKey:
			h.Seq = unzigzag(f.value)
		case 2<<3 | fixed64Key:
			h.KafkaTime = int64(f.value)
		case 3<<3 | bytesKey:
			feed, err = decodeFeedName(f.bytes)
		case 4<<3 | bytesKey:
			events = f.bytes
		default:
			return false, nil
		}
		return true, err
	})
	if err == nil {
		err = DecodeEvents(events, &h)
		h.Feed = feed
	}
	if err != nil {
		return fmt.Errorf("held record: %w", err)
	}
	d.heldBytes += h.Memory()
	d.book.Held = append(d.book.Held, h)
	return nil
}

// rankedColumns counts the entries of each array of a RankedOrders message.
type rankedColumns [5]int

// orders decodes a RankedOrders message. Differences stay as they are until check.
func (d *bookStateDecoder) orders(dst []RankedOrder, filled *rankedColumns, b []byte) ([]RankedOrder, error) {
	err := fields(b, func(f *wireField) (bool, error) {
		column, packed, one := columnOf(f, uint32(len(filled)))
		if column < 0 {
			return false, nil
		}
		at := filled[column]
		filled[column] += countVarints(packed, one)
		var err error
		if dst, err = extend(&d.events, dst, filled[column]); err != nil {
			return false, err
		}
		for i := at; i < filled[column]; i++ {
			v, n := f.value, 0
			if !one {
				if v, n = consumeVarint(packed); n < 0 {
					return false, ErrMalformed
				}
				packed = packed[n:]
			}
			dst[i].set(column, v)
		}
		if len(packed) > 0 {
			return false, ErrMalformed
		}
		return true, nil
	})
	return dst, err
}

// set sets the field of o that the column of RankedOrders holds.
func (o *RankedOrder) set(column int, v uint64) {
	switch column {
	case 0:
		o.ID = uint64(unzigzag(v))
	case 1:
		o.Price = unzigzag(v)
	case 2:
		o.Qty = int64(v)
	case 3:
		o.RankSeq = unzigzag(v)
	case 4:
		o.RankIndex = uint32(v)
	}
}

func finishRanked(side string, orders []RankedOrder, filled rankedColumns) error {
	for _, n := range filled {
		if n != filled[0] {
			return fmt.Errorf("%w: %s: arrays of different lengths", ErrBadValue, side)
		}
	}
	var last RankedOrder
	for i := range orders {
		o := &orders[i]
		o.ID += last.ID
		o.Price += last.Price
		o.RankSeq += last.RankSeq
		last = *o
	}
	return nil
}
