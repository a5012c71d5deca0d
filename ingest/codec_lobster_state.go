package ingest

import "slices"

func (s *lobsterState) appendTo(to []byte) []byte {
	to = appendStateInt(appendStateInt(to, s.row), s.day)
	if to = appendStateBool(to, s.book != nil); s.book == nil {
		return to
	}
	to = appendStateUint(appendStateUint(to, uint64(s.book.depth)), s.book.anonymous)
	return s.book.bids.appendTo(s.book.asks.appendTo(to, s.book.orders), s.book.orders)
}

func (s *lobsterSide) appendTo(to []byte, orders map[uint64]*lobsterOrder) []byte {
	to = appendStateInt(appendStateBool(to, s.shown), s.worst)
	to = appendStateUint(to, uint64(len(s.levels)))
	for i := range s.levels {
		l := &s.levels[i]
		to = appendStateUint(appendStateInt(to, l.price), l.anonymous)
		to = appendStateUint(to, uint64(len(l.ids)))
		for _, id := range l.ids {
			to = appendStateInt(appendStateUint(to, id), orders[id].qty)
		}
	}
	return to
}

func (s *lobsterState) readFrom(r *stateReader) {
	*s = lobsterState{row: r.int(), day: r.int()}
	r.check(s.row >= 0 && s.day >= 0 && s.day <= maxLobsterMidnight, "a row")
	if !r.bool() {
		return
	}
	s.book = newLobsterBook()
	depth := r.uint()
	r.check(depth > 0 && depth <= maxLobsterLevels, "a depth")
	s.book.depth, s.book.anonymous = int(depth), r.uint()
	s.book.readSide(r, &s.book.asks)
	s.book.readSide(r, &s.book.bids)
}

func (b *lobsterBook) readSide(r *stateReader, s *lobsterSide) {
	s.shown, s.worst = r.bool(), r.int()
	levels := r.count(b.depth, 5)
	for range levels {
		l := lobsterLevel{price: r.int(), anonymous: r.uint()}
		if k := len(s.levels); k > 0 {
			r.check(s.better(s.levels[k-1].price, l.price), "levels out of order")
		}
		orders := r.count(maxLobsterOrders-len(b.orders), 2)
		r.check(orders > 0, "a level without orders")
		for range orders {
			id, qty := r.uint(), r.int()
			l.qty += qty
			_, live := b.orders[id]
			r.check(!live && qty > 0 && l.qty > 0, "an order")
			r.check(id < anonymousOrder || id&^anonymousOrder <= b.anonymous, "an order without an id of its own")
			l.ids = append(l.ids, id)
			b.orders[id] = &lobsterOrder{side: s.side, price: l.price, qty: qty}
		}
		r.check(l.anonymous == 0 || l.anonymous >= anonymousOrder && slices.Contains(l.ids, l.anonymous), "an anonymous order")
		s.levels = append(s.levels, l)
	}
}

func (c *lobsterCodec) save(symbol string, to []byte) []byte {
	return saveVenue(&c.symbols, symbol, to)
}
func (c *lobsterCodec) restore(symbol string, state []byte) error {
	return restoreVenue(&c.symbols, symbol, state)
}
func (c *lobsterCodec) forget(symbol string) { delete(c.symbols.of, symbol) }
