package fanout

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/depthcast/depthcast/proto"
)

// testBooks is a partition: its lock, its books and the views open on them.
type testBooks struct {
	mu      sync.Mutex
	books   map[string]*testBook
	ready   bool
	opens   int
	shown   int // snapshots of views that topics have taken
	listed  int // lists of all symbols
	openErr error

	listings []*proto.Listing // that patterns begin with, whatever they match
	boards   []*Board
	closed   int  // boards
	oneGroup bool // a book may have views of but one group at once
}

// testBook is a book of absolute levels with the views that watch it. All views
// show it whole. Guarded by testBooks.mu.
type testBook struct {
	books      *testBooks
	symbol     string
	state      proto.Snapshot // Epoch, Seq, State, Reason, Phase, Exponents
	bids, asks map[int64]int64
	trades     []proto.Trade
	ordinal    uint64
	views      []*testView
}

type testView struct {
	book  *testBook
	topic *Topic
}

func newTestBooks(symbols ...string) *testBooks {
	b := &testBooks{books: make(map[string]*testBook), ready: true}
	for _, symbol := range symbols {
		b.books[symbol] = &testBook{
			books: b, symbol: symbol, bids: make(map[int64]int64), asks: make(map[int64]int64),
			state: proto.Snapshot{
				Symbol: symbol, Epoch: 7, Seq: -1, State: proto.Live, Phase: proto.Continuous,
				Exponents: proto.Exponents{Price: -2, Qty: -3},
			},
		}
	}
	return b
}

func (b *testBooks) OpenView(key proto.TopicKey, t *Topic) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.openErr != nil {
		return b.openErr
	}
	if isPattern(key) {
		board := NewBoard(t)
		for _, l := range b.listings {
			board.Listed(l, proto.Times{}, nil)
		}
		b.boards = append(b.boards, board)
		board.Open(func() { b.closed++ })
		return nil
	}
	book := b.books[key.Symbol]
	switch {
	case book == nil && !b.ready:
		return proto.ErrNotReady
	case book == nil:
		return proto.ErrUnknownSymbol
	case key.Channel != proto.ChannelBook && key.Channel != proto.ChannelTrades && key.Channel != proto.ChannelOrders && !sums(key.Channel):
		return proto.ErrUnknownChannel
	}
	if _, err := key.View.Group.Under(book.state.Exponents.Price); err != nil {
		return err
	}
	other := func(v *testView) bool {
		g := v.topic.key.View.Group
		return !g.None() && g != key.View.Group
	}
	if !key.View.Group.None() && b.oneGroup && slices.ContainsFunc(book.views, other) {
		return proto.ErrTooManyGroups
	}
	b.opens++
	v := &testView{book: book, topic: t}
	book.views = append(book.views, v)
	t.Opened(v, nil)
	return nil
}

func (b *testBooks) ReadView(key proto.TopicKey, s *proto.Snapshot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	book := b.books[key.Symbol]
	if book == nil {
		return proto.ErrUnknownSymbol
	}
	*s = book.state
	s.Bids, s.Asks, s.Hash = appendSorted(nil, book.bids, -1), appendSorted(nil, book.asks, 1), book.hash()
	return nil
}

func (b *testBooks) CaughtUp() bool { return b.ready }

func (b *testBooks) Symbols() []proto.SymbolInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listed++
	var all []proto.SymbolInfo
	for _, book := range b.books {
		s := &book.state
		all = append(all, proto.SymbolInfo{Symbol: book.symbol, State: s.State, Phase: s.Phase, Epoch: s.Epoch, Seq: s.Seq, Exponents: s.Exponents})
	}
	return all
}

func (v *testView) Snapshot(s *proto.Snapshot) {
	v.book.books.shown++
	bids, asks := s.Bids[:0], s.Asks[:0]
	*s = v.book.state
	if v.topic.key.Channel == proto.ChannelTrades {
		s.Trades = slices.Clone(v.book.trades)
		return
	}
	if sums(v.topic.key.Channel) {
		return
	}
	s.Bids = appendSorted(bids, v.book.bids, -1)
	s.Asks = appendSorted(asks, v.book.asks, 1)
	s.Hash = v.book.hashOf(v.topic)
	if v.topic.key.Channel == proto.ChannelOrders {
		s.Orders = proto.Orders{Bids: ordersOf(s.Bids), Asks: ordersOf(s.Asks)}
		s.Bids, s.Asks = nil, nil
	}
}

// ordersOf makes an order of every level.
func ordersOf(levels []proto.Level) []proto.RankedOrder {
	var orders []proto.RankedOrder
	for _, l := range levels {
		orders = append(orders, proto.RankedOrder{ID: uint64(l.Price), Price: l.Price, Qty: l.Qty, RankSeq: l.Qty / 1000, RankIndex: uint32(l.Price % 7)})
	}
	return orders
}

// byID is how orders stand in a delta.
func byID(orders []proto.RankedOrder) []proto.RankedOrder {
	slices.SortFunc(orders, func(a, b proto.RankedOrder) int { return cmp.Compare(a.ID, b.ID) })
	return orders
}

func appendSorted(dst []proto.Level, side map[int64]int64, sign int64) []proto.Level {
	for price, qty := range side {
		dst = append(dst, proto.Level{Price: price, Qty: qty})
	}
	slices.SortFunc(dst, func(a, b proto.Level) int { return int(sign * (a.Price - b.Price)) })
	return dst
}

func (v *testView) Close() {
	v.book.books.mu.Lock()
	defer v.book.books.mu.Unlock()
	v.book.views = slices.DeleteFunc(v.book.views, func(other *testView) bool { return other == v })
}

// publish applies one record of up to most level changes and tells the views.
func (b *testBook) publish(r *rand.Rand, most int) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	b.apply(r, most)
}

func (b *testBook) apply(r *rand.Rand, most int) {
	prev := b.state.Seq
	b.state.Seq += 1 + r.Int64N(3)
	touched := [2]map[int64]int64{{}, {}}
	for range 1 + r.IntN(most) {
		side, price, qty := r.IntN(2), 1000+r.Int64N(40), r.Int64N(4)*1000
		book, at := b.bids, price
		if side == 1 {
			book, at = b.asks, price+50
		}
		if qty == 0 {
			delete(book, at)
		} else {
			book[at] = qty
		}
		touched[side][at] = qty
	}
	d := proto.Delta{PrevSeq: prev, Seq: b.state.Seq, Hash: b.hash(), Times: proto.Times{Venue: b.state.Seq, Kafka: b.state.Seq}}
	d.Bids = appendSorted(nil, touched[0], -1)
	d.Asks = appendSorted(nil, touched[1], 1)
	o := d
	o.Orders = &proto.Orders{Bids: byID(ordersOf(d.Bids)), Asks: byID(ordersOf(d.Asks))}
	o.Bids, o.Asks = nil, nil
	for _, v := range b.views {
		switch v.topic.key.Channel {
		case proto.ChannelBook:
			v.topic.Delta(&d)
		case proto.ChannelOrders:
			o.Hash = b.hashOf(v.topic)
			v.topic.Delta(&o)
		}
	}
}

// set applies one record that gives bids these quantities (0: none), in pairs of
// price and quantity, and tells the views of books.
func (b *testBook) set(bids ...int64) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	d := proto.Delta{PrevSeq: b.state.Seq, Seq: b.state.Seq + 1}
	b.state.Seq++
	touched := map[int64]int64{}
	for i := 0; i < len(bids); i += 2 {
		touched[bids[i]], b.bids[bids[i]] = bids[i+1], bids[i+1]
		if bids[i+1] == 0 {
			delete(b.bids, bids[i])
		}
	}
	d.Bids, d.Hash = appendSorted(nil, touched, -1), b.hash()
	for _, v := range b.views {
		if v.topic.key.Channel == proto.ChannelBook {
			v.topic.Delta(&d)
		}
	}
}

// hashOf is the hash of what t shows.
func (b *testBook) hashOf(t *Topic) uint32 {
	if t.key.Channel == proto.ChannelOrders {
		return b.ordersHash()
	}
	return b.hash()
}

func (b *testBook) ordersHash() uint32 {
	return proto.HashOrders(&proto.Orders{Bids: ordersOf(appendSorted(nil, b.bids, -1)), Asks: ordersOf(appendSorted(nil, b.asks, 1))})
}

func (b *testBook) hash() uint32 {
	return proto.HashLevels(appendSorted(nil, b.bids, -1), appendSorted(nil, b.asks, 1))
}

// trade publishes a record with n trades.
func (b *testBook) trade(n int) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	prev := b.state.Seq
	b.state.Seq++
	t := proto.Trades{PrevSeq: prev, Seq: b.state.Seq}
	for range n {
		b.ordinal++
		t.Trades = append(t.Trades, proto.Trade{Ordinal: b.ordinal, ID: b.ordinal, Price: 1000, Qty: 1})
	}
	b.trades = append(b.trades, t.Trades...)
	b.trades = b.trades[max(0, len(b.trades)-5):]
	for _, v := range b.views {
		if v.topic.key.Channel == proto.ChannelTrades {
			v.topic.Trades(&t)
		}
	}
}

// become publishes a change of state; back to live it comes with a reset.
func (b *testBook) become(state proto.State, reason proto.Reason) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	was := b.state.State
	b.state.State, b.state.Reason = state, reason
	b.tell(proto.Status{Seq: b.state.Seq, State: state, Reason: reason, Phase: b.state.Phase})
	if was == proto.Recovering && state == proto.Live {
		for _, v := range b.views {
			v.topic.Reset(proto.SnapshotRecovered)
		}
	}
}

// recover makes a book live that was not: by a reset alone, as books do.
func (b *testBook) recover() {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	b.state.State, b.state.Reason = proto.Live, proto.ReasonNone
	for _, v := range b.views {
		v.topic.Reset(proto.SnapshotRecovered)
	}
}

// restart resets the trades, whose ordinals go on or begin anew.
func (b *testBook) restart(reason proto.SnapshotReason, exponents proto.Exponents, anew bool) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	b.state.Exponents = exponents
	if anew {
		b.trades, b.ordinal = nil, 0
	}
	for _, v := range b.views {
		v.topic.Reset(reason)
	}
}

// enter publishes a phase.
func (b *testBook) enter(phase proto.Phase) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	b.state.Phase = phase
	b.tell(proto.Status{Seq: b.state.Seq, State: b.state.State, Reason: b.state.Reason, Phase: phase})
}

func (b *testBook) tell(s proto.Status) {
	for _, v := range b.views {
		v.topic.Status(&s)
	}
}

// mark renews what keepalives say; the book has read up to seq.
func (b *testBook) mark() {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	for _, v := range b.views {
		v.topic.Mark(proto.Mark{Seq: b.state.Seq, Hash: b.hashOf(v.topic)})
	}
}

// whereOrders returns the seq and hash of the book by order.
func (b *testBook) whereOrders() (int64, uint32) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	return b.state.Seq, b.ordersHash()
}

// where returns the seq and hash of the book.
func (b *testBook) where() (int64, uint32) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	return b.state.Seq, b.hash()
}
