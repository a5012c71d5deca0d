package ingest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// What can be wrong with a LOBSTER row that is well formed.
var (
	errLobsterOrder   = errors.New("the message contradicts the orders known")
	errLobsterRow     = errors.New("the book after the message is not the order-book row")
	errLobsterTooMany = errors.New("too many live orders")
)

const (
	// anonymousOrder marks the ids of orders that LOBSTER shows only as a level's
	// size. Its own ids are far below.
	anonymousOrder = 1 << 63
	// maxLobsterOrders bounds the live orders of one symbol; within 10 levels
	// there are hundreds.
	maxLobsterOrders = 1 << 16
)

// lobsterMessage is one row of a message file.
type lobsterMessage struct {
	time      int64 // ns since midnight
	kind      int64
	id        uint64
	size      int64
	price     int64
	direction int64 // of the resting order: 1 bid, -1 ask
}

func (m *lobsterMessage) side() proto.Side {
	if m.direction == 1 {
		return proto.Bid
	}
	return proto.Ask
}

// lobsterBook mirrors the orders inside the window that a LOBSTER recording
// shows, and turns each row into the order events that lead to it. The message
// file holds only events inside the window, so what enters it from beyond
// (reveals) is taken from the order-book row, as orders without a known id.
type lobsterBook struct {
	depth      int // of the window: levels a side that rows show
	bids, asks lobsterSide
	orders     map[uint64]*lobsterOrder
	anonymous  uint64 // anonymous ids given so far
}

type lobsterOrder struct {
	side       proto.Side
	price, qty int64
}

// lobsterSide holds the levels of one side, best first. At most the window's
// levels and, within a message, one more.
type lobsterSide struct {
	side   proto.Side
	levels []lobsterLevel
	worst  int64 // worst price of the last row
	shown  bool  // the last row had levels on this side
}

type lobsterLevel struct {
	price, qty int64
	ids        []uint64 // oldest first
	anonymous  uint64   // the one among ids whose true id is not known; 0: none
}

func newLobsterBook() *lobsterBook {
	return &lobsterBook{
		bids:   lobsterSide{side: proto.Bid},
		asks:   lobsterSide{side: proto.Ask},
		orders: map[uint64]*lobsterOrder{},
	}
}

func (b *lobsterBook) of(side proto.Side) *lobsterSide {
	if side == proto.Bid {
		return &b.bids
	}
	return &b.asks
}

// better reports whether price p comes before q on s.
func (s *lobsterSide) better(p, q int64) bool {
	if s.side == proto.Bid {
		return p > q
	}
	return p < q
}

// find returns where the level of price is, or would be.
func (s *lobsterSide) find(price int64) (int, bool) {
	for i := range s.levels {
		if !s.better(s.levels[i].price, price) {
			return i, s.levels[i].price == price
		}
	}
	return len(s.levels), false
}

// seed fills an empty book from row 0 and message 0, whose order, if it is a new
// one, is told from the rest of its level.
func (b *lobsterBook) seed(m *lobsterMessage, row *lobsterRow) error {
	for _, side := range []proto.Side{proto.Bid, proto.Ask} {
		for _, l := range row.of(side) {
			rest := l.Qty
			if m.kind == lobsterAdd && m.side() == side && m.price == l.Price {
				rest -= m.size
			}
			if rest < 0 {
				return errLobsterRow
			}
			if rest > 0 {
				if err := b.insert(b.newAnonymous(), side, l.Price, rest); err != nil {
					return err
				}
			}
			if rest < l.Qty {
				if err := b.insert(m.id, side, l.Price, m.size); err != nil {
					return err
				}
			}
		}
	}
	b.depth = row.depth
	b.remember(row)
	return b.compare(row)
}

// advance applies message m and what row shows beyond it, and adds the events
// that do the same to e.
func (b *lobsterBook) advance(m *lobsterMessage, row *lobsterRow, e *proto.Batch) error {
	if row.depth != b.depth {
		return fmt.Errorf("%w: it has %d levels, row 0 has %d", errLobsterRow, row.depth, b.depth)
	}
	if err := b.apply(m, e); err != nil {
		return err
	}
	for _, side := range []proto.Side{proto.Bid, proto.Ask} {
		b.drop(b.of(side), row.of(side), e)
		if err := b.reveal(b.of(side), row.of(side), e); err != nil {
			return err
		}
	}
	b.remember(row)
	return b.compare(row)
}

func (b *lobsterBook) apply(m *lobsterMessage, e *proto.Batch) error {
	switch m.kind {
	case lobsterAdd:
		if err := b.insert(m.id, m.side(), m.price, m.size); err != nil {
			return err
		}
		ev := addEvent(e, proto.EventAdd)
		ev.OrderID, ev.Side, ev.Price, ev.Qty = m.id, m.side(), m.price, m.size
	case lobsterReduce, lobsterDelete, lobsterExecute:
		return b.take(m, e)
	case lobsterHidden, lobsterCross:
		ev := addEvent(e, proto.EventTrade)
		ev.Trade = proto.Trade{Price: m.price, Qty: m.size, Aggressor: m.aggressor(), Flags: proto.TradeHidden}
		if m.kind == lobsterCross {
			ev.Trade.Aggressor, ev.Trade.Flags = proto.AggressorUnknown, proto.TradeAuction
		}
	case lobsterHalt:
		addEvent(e, proto.EventPhase).Phase = m.phase()
	}
	return nil
}

// take reduces the order that m names or, where it is not known, the anonymous
// one at its price.
func (b *lobsterBook) take(m *lobsterMessage, e *proto.Batch) error {
	side, id := b.of(m.side()), m.id
	o := b.orders[id]
	if o == nil {
		i, found := side.find(m.price)
		if !found || side.levels[i].anonymous == 0 {
			return fmt.Errorf("%w: order %d is not live and no anonymous one is at %d", errLobsterOrder, id, m.price)
		}
		id = side.levels[i].anonymous
		o = b.orders[id]
	}
	if o.side != m.side() || o.price != m.price || o.qty < m.size {
		return fmt.Errorf("%w: order %d has %d at %d, %d at %d is to go", errLobsterOrder, id, o.qty, o.price, m.size, m.price)
	}
	kind, qty := proto.EventReduce, m.size
	switch {
	case m.kind == lobsterExecute:
		kind = proto.EventExecute
	case m.kind == lobsterDelete && m.size == o.qty:
		kind, qty = proto.EventDelete, 0
	}
	ev := addEvent(e, kind)
	ev.OrderID, ev.Qty = id, qty
	b.reduce(id, o, m.size)
	return nil
}

// drop deletes the levels worse than the worst of the row: they left the window.
func (b *lobsterBook) drop(s *lobsterSide, row []proto.Level, e *proto.Batch) {
	if len(row) == 0 {
		return
	}
	worst := row[len(row)-1].Price
	for n := len(s.levels); n > 0 && s.better(worst, s.levels[n-1].price); n-- {
		for _, id := range s.levels[n-1].ids {
			delete(b.orders, id)
			addEvent(e, proto.EventDelete).OrderID = id
		}
		s.levels = s.levels[:n-1]
	}
}

// reveal adds the levels that entered the window from beyond the worst price of
// the row before.
func (b *lobsterBook) reveal(s *lobsterSide, row []proto.Level, e *proto.Batch) error {
	if !s.shown {
		return nil
	}
	for _, l := range row {
		if _, known := s.find(l.Price); known || !s.better(s.worst, l.Price) {
			continue
		}
		id := b.newAnonymous()
		if err := b.insert(id, s.side, l.Price, l.Qty); err != nil {
			return err
		}
		ev := addEvent(e, proto.EventAdd)
		ev.OrderID, ev.Side, ev.Price, ev.Qty = id, s.side, l.Price, l.Qty
	}
	return nil
}

func (b *lobsterBook) remember(row *lobsterRow) {
	for _, s := range []*lobsterSide{&b.bids, &b.asks} {
		levels := row.of(s.side)
		if s.shown = len(levels) > 0; s.shown {
			s.worst = levels[len(levels)-1].Price
		}
	}
}

// compare checks the book against the row, which it must equal.
func (b *lobsterBook) compare(row *lobsterRow) error {
	for _, s := range []*lobsterSide{&b.bids, &b.asks} {
		levels := row.of(s.side)
		if len(s.levels) != len(levels) {
			return fmt.Errorf("%w: %d levels where the row has %d", errLobsterRow, len(s.levels), len(levels))
		}
		for i, l := range levels {
			if have := &s.levels[i]; have.price != l.Price || have.qty != l.Qty {
				return fmt.Errorf("%w: level %d is %d at %d, in the row %d at %d",
					errLobsterRow, i+1, have.qty, have.price, l.Qty, l.Price)
			}
		}
	}
	return nil
}

func (b *lobsterBook) newAnonymous() uint64 {
	b.anonymous++
	return anonymousOrder | b.anonymous
}

func (b *lobsterBook) insert(id uint64, side proto.Side, price, qty int64) error {
	if _, live := b.orders[id]; live {
		return fmt.Errorf("%w: order %d is live already", errLobsterOrder, id)
	}
	if len(b.orders) >= maxLobsterOrders {
		return errLobsterTooMany
	}
	s := b.of(side)
	i, found := s.find(price)
	if !found {
		s.levels = slices.Insert(s.levels, i, lobsterLevel{price: price})
	}
	l := &s.levels[i]
	l.qty += qty
	l.ids = append(l.ids, id)
	if id >= anonymousOrder {
		l.anonymous = id
	}
	b.orders[id] = &lobsterOrder{side: side, price: price, qty: qty}
	return nil
}

func (b *lobsterBook) reduce(id uint64, o *lobsterOrder, qty int64) {
	s := b.of(o.side)
	i, _ := s.find(o.price)
	l := &s.levels[i]
	l.qty -= qty
	o.qty -= qty
	if o.qty > 0 {
		return
	}
	delete(b.orders, id)
	if l.anonymous == id {
		l.anonymous = 0
	}
	at := slices.Index(l.ids, id)
	l.ids = slices.Delete(l.ids, at, at+1)
	if len(l.ids) == 0 {
		s.levels = slices.Delete(s.levels, i, i+1)
	}
}
