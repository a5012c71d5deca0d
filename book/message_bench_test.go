package book

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// message is one order message, kept small so that reading it costs no cache misses.
type message struct {
	id, other  uint64
	price, qty int64
	kind       proto.EventKind
	side       proto.Side
}

func (m *message) apply(b *book) *refusal {
	switch m.kind {
	case proto.EventAdd:
		return b.add(m.side, m.id, m.price, m.qty)
	case proto.EventModify:
		return b.modify(m.id, m.price, m.qty, false)
	case proto.EventReplace:
		return b.replace(m.id, m.other, m.price, m.qty)
	}
	return b.delete(m.id)
}

// orderMessages returns what makes a book of so many orders, near the best of 328
// levels a side, and messages after which it has the same identifiers again: two in
// five replace an order, one each modifies, deletes and adds.
func orderMessages(orders int) (fill, messages []message) {
	random := rand.New(rand.NewPCG(1, 2))
	price := func(side proto.Side) int64 {
		away := 1 + int64(random.ExpFloat64()*10)%328
		if side == proto.Bid {
			away = -away
		}
		return 100_000 + away
	}
	sides := map[uint64]proto.Side{}
	var live, gone []uint64
	add := func(id uint64) message {
		live = append(live, id)
		return message{kind: proto.EventAdd, id: id, side: sides[id], price: price(sides[id]), qty: 1000}
	}
	for id := uint64(1); id <= uint64(orders); id++ {
		sides[id] = proto.Side(1 + id%2)
		sides[id^1<<40] = sides[id]
		fill = append(fill, add(id))
	}
	for i := range drawn {
		at := random.IntN(len(live))
		id := live[at]
		m := message{id: id, price: price(sides[id]), qty: 1000}
		switch i % 5 {
		case 0, 1:
			m.kind, m.other = proto.EventReplace, id^1<<40
			live[at] = m.other
		case 2:
			m.kind = proto.EventModify
		case 3:
			m.kind = proto.EventDelete
			live[at] = live[len(live)-1]
			live, gone = live[:len(live)-1], append(gone, id)
		case 4:
			m = add(gone[len(gone)-1])
			gone = gone[:len(gone)-1]
		}
		messages = append(messages, m)
	}
	for _, id := range gone {
		messages = append(messages, add(id))
	}
	for _, id := range live {
		if id > 1<<40 {
			messages = append(messages, message{kind: proto.EventReplace, id: id, other: id ^ 1<<40, price: price(sides[id]), qty: 1000})
		}
	}
	return fill, messages
}

// BenchmarkOrderMessage: one message on a book by order, without the record around
// it: 20,000 live orders in one book, or 400 in each of many, which take turns.
func BenchmarkOrderMessage(b *testing.B) {
	for _, c := range []struct{ books, orders int }{{1, 20_000}, {1, 400}, {1000, 400}, {5000, 400}} {
		b.Run(fmt.Sprintf("books=%d/orders=%d", c.books, c.orders), func(b *testing.B) {
			e := liveEngine(b)
			fill, messages := orderMessages(c.orders)
			for i := range c.books {
				must(b, e, &proto.Batch{Symbol: name(i), Events: []proto.Event{{Kind: proto.EventClear, SessionStart: true}}})
				for _, m := range fill {
					if err := m.apply(e.list[i]); err != nil {
						b.Fatal(err)
					}
				}
				for _, s := range []*side{&e.list[i].bids, &e.list[i].asks} {
					s.levels.settle()
				}
			}
			turns := rand.New(rand.NewPCG(3, 4)).Perm(c.books)
			m := measure(b)
			at, turn := 0, 0
			for range b.N {
				if err := messages[at].apply(e.list[turns[turn]]); err != nil {
					b.Fatal(err)
				}
				if turn++; turn == len(turns) {
					turn = 0
					if at++; at == len(messages) {
						at = 0
					}
				}
			}
			m.stop()
		})
	}
}

// BenchmarkIndex: an order's identifier looked for, taken out and another put in,
// among 20,000; in the index, and in a map of the language.
func BenchmarkIndex(b *testing.B) {
	const orders = 20_000
	ids := make([]uint64, orders)
	b.Run("index", func(b *testing.B) {
		var x index
		for i := range ids {
			ids[i] = uint64(i + 1)
			x.put(ids[i], uint32(i+1))
		}
		random := rand.New(rand.NewPCG(1, 2))
		m := measure(b)
		for i := range b.N {
			at := random.IntN(orders)
			slot := x.get(ids[at])
			x.remove(ids[at])
			ids[at] = uint64(orders + 1 + i)
			x.put(ids[at], slot)
		}
		m.stop()
	})
	b.Run("map", func(b *testing.B) {
		x := map[uint64]uint32{}
		for i := range ids {
			ids[i] = uint64(i + 1)
			x[ids[i]] = uint32(i + 1)
		}
		random := rand.New(rand.NewPCG(1, 2))
		m := measure(b)
		for i := range b.N {
			at := random.IntN(orders)
			slot := x[ids[at]]
			delete(x, ids[at])
			ids[at] = uint64(orders + 1 + i)
			x[ids[at]] = slot
		}
		m.stop()
	})
}
