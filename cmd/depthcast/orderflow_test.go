package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

const orderSymbol = "NASDAQ:AAPL"

// orderFlow writes a random day of one stock as ITCH records, one an offset, and
// remembers the plainest book by order after each.
type orderFlow struct {
	lab      *lab
	producer *ingest.Producer
	random   *rand.Rand
	stock    itchStock
	lastID   uint64
	index    uint32 // rank of the next order of the record in hand

	mu   sync.Mutex
	now  []resting   // oldest priority first
	past [][]resting // by offset
}

// resting is an order of the plainest book.
type resting struct {
	proto.RankedOrder
	side proto.Side
}

// newOrderFlow begins the day, at offset 0.
func newOrderFlow(l *lab, seed uint64) *orderFlow {
	f := &orderFlow{
		lab: l, producer: l.producer(), random: rand.New(rand.NewPCG(seed, 1)),
		stock: itchStock{name: "AAPL", locate: 17, now: 3 * time.Hour},
	}
	directory := f.stock.directory()
	f.stock.now = 10 * time.Hour
	f.commit([][]byte{directory})
	return f
}

// commit writes a record of these messages, whose effect the book has.
func (f *orderFlow) commit(messages [][]byte) {
	f.mu.Lock()
	f.past = append(f.past, slices.Clone(f.now))
	f.mu.Unlock()
	f.index = 0
	f.lab.writeRaw(f.producer, f.stock.record(messages...))
}

// trade writes a record of so many random messages and returns its offset.
func (f *orderFlow) trade(messages int) int64 {
	var all [][]byte
	for range messages {
		all = append(all, f.message())
	}
	f.commit(all)
	return int64(len(f.past) - 1)
}

// message makes one message and changes the book by it. Orders come and go evenly
// about a size of some hundred.
func (f *orderFlow) message() []byte {
	if f.random.IntN(200) >= len(f.now) {
		side := proto.Side(1 + f.random.IntN(2))
		o := f.enter(side, f.price(side))
		return f.stock.add(o.ID, " BS"[side], uint32(o.Qty), uint32(o.Price))
	}
	i := f.random.IntN(len(f.now))
	o := &f.now[i]
	part := 1 + f.random.Int64N(o.Qty)
	switch f.random.IntN(4) {
	case 0:
		id, side := o.ID, o.side
		f.now = slices.Delete(f.now, i, i+1)
		n := f.enter(side, f.price(side))
		return f.stock.message('U', be64(id), be64(n.ID), be32(uint32(n.Qty)), be32(uint32(n.Price)))
	case 1:
		id := o.ID
		f.now = slices.Delete(f.now, i, i+1)
		return f.stock.message('D', be64(id))
	case 2:
		return f.take(i, part, f.stock.execute(o.ID, uint32(part)))
	}
	return f.take(i, part, f.stock.message('X', be64(o.ID), be32(uint32(part))))
}

// enter puts a new order behind all others.
func (f *orderFlow) enter(side proto.Side, price int64) proto.RankedOrder {
	f.lastID++
	o := proto.RankedOrder{ID: f.lastID, Price: price, Qty: 1 + f.random.Int64N(500), RankSeq: int64(len(f.past)), RankIndex: f.index}
	f.index++
	f.now = append(f.now, resting{o, side})
	return o
}

func (f *orderFlow) take(i int, qty int64, message []byte) []byte {
	if f.now[i].Qty -= qty; f.now[i].Qty == 0 {
		f.now = slices.Delete(f.now, i, i+1)
	}
	return message
}

// price is one of thirty a side, most of them near the other.
func (f *orderFlow) price(side proto.Side) int64 {
	away := 1 + min(f.random.Int64N(30), f.random.Int64N(30))
	if side == proto.Bid {
		away = -away
	}
	return 1_500_000 + 100*away
}

// side is what a view of that depth shows at seq.
func (f *orderFlow) side(seq int64, side proto.Side, depth uint32) []proto.RankedOrder {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []proto.RankedOrder
	for _, o := range f.past[seq] {
		if o.side == side {
			list = append(list, o.RankedOrder)
		}
	}
	slices.SortStableFunc(list, func(a, b proto.RankedOrder) int {
		if side == proto.Bid {
			a, b = b, a
		}
		return int(a.Price - b.Price)
	})
	levels := uint32(0)
	for i := range list {
		if i == 0 || list[i].Price != list[i-1].Price {
			if levels++; depth > 0 && levels > depth {
				return list[:i]
			}
		}
	}
	return list
}

// orderReader is a client of one view of the stock that holds every book it is
// shown against the flow.
type orderReader struct {
	t     *testing.T
	flow  *orderFlow
	depth uint32

	mu                   sync.Mutex
	seq                  int64 // of the book while it is live, else -1
	sets, deltas, merged int
	resumed, lost, cut   int
	ahead                int // orders whose place in the queue was compared
}

// read follows item of the stock with c until the test ends.
func (f *orderFlow) read(r *running, c *client.Client, item client.Item) *orderReader {
	r.t.Helper()
	item.Symbol = orderSymbol
	w := &orderReader{t: r.t, flow: f, depth: item.Depth, seq: -1}
	subscribe(r.t, c, item)
	ctx, cancel := context.WithCancel(f.lab.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for event, err := range c.Events(ctx) {
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					w.t.Errorf("a reader ended: %v", err)
				}
				return
			}
			w.note(event)
		}
	}()
	r.t.Cleanup(func() { cancel(); <-ended })
	return w
}

func (w *orderReader) note(event client.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *client.Disconnected:
		w.cut++
		w.seq = -1
	case *client.BookLost:
		w.lost++
	case *client.Granted:
		if e.Ack.Resumed {
			w.resumed++
		}
		w.look(e.Sub.Book())
	case *client.BookSet:
		w.sets++
		w.look(e.Book)
	case *client.BookChanged:
		w.deltas++
		if e.Delta.Merged > 1 {
			w.merged++
		}
		w.look(e.Book)
	case *client.Alive:
		w.look(e.Sub.Book())
	}
}

// look holds the book against the flow's at its seq: orders or, in a view of
// levels, their sums.
func (w *orderReader) look(b *client.Book) {
	if w.seq = -1; b.State() != proto.Live {
		return
	}
	w.seq = b.Seq()
	for _, side := range []proto.Side{proto.Bid, proto.Ask} {
		orders := w.flow.side(b.Seq(), side, w.depth)
		if b.ByOrder() && !slices.Equal(slices.Collect(b.Orders(side)), orders) {
			w.t.Errorf("seq %d: orders %v\nwant %v", b.Seq(), slices.Collect(b.Orders(side)), orders)
		}
		var levels []proto.Level
		for i, o := range orders {
			if i == 0 || orders[i-1].Price != o.Price {
				levels = append(levels, proto.Level{Price: o.Price})
			}
			l := &levels[len(levels)-1]
			if b.ByOrder() && i%7 == 0 {
				w.ahead++
				if n, qty, there := b.Ahead(o.ID); !there || n != int(l.Count) || qty != l.Qty {
					w.t.Errorf("seq %d: %d of %d ahead of order %d, want %d of %d", b.Seq(), n, qty, o.ID, l.Count, l.Qty)
				}
			}
			l.Qty += o.Qty
			l.Count++
		}
		if got := slices.Collect(b.Levels(side)); !slices.Equal(got, levels) {
			w.t.Errorf("seq %d: levels %v\nwant %v", b.Seq(), got, levels)
		}
	}
}

// at waits until the reader has the live book at seq or later.
func (w *orderReader) at(r *running, seq int64) {
	w.t.Helper()
	r.until(fmt.Sprintf("a reader at %d", seq), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.seq >= seq || w.t.Failed()
	})
}
