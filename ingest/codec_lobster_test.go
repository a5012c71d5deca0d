package ingest

import (
	"archive/zip"
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// plainOrders is the simplest book by order: what tests compare with. Any
// contradiction fails the test.
type plainOrders struct {
	orders map[uint64]proto.Order
	sides  map[uint64]proto.Side
	levels *plainLevels
}

func newPlainOrders() *plainOrders {
	return &plainOrders{orders: map[uint64]proto.Order{}, sides: map[uint64]proto.Side{}, levels: newPlainLevels()}
}

func (p *plainOrders) change(side proto.Side, price, qty int64) {
	levels := p.levels.asks
	if side == proto.Bid {
		levels = p.levels.bids
	}
	if levels[price] += qty; levels[price] == 0 {
		delete(levels, price)
	}
}

func (p *plainOrders) add(t testing.TB, side proto.Side, o proto.Order) {
	t.Helper()
	if _, live := p.orders[o.ID]; live || o.ID == 0 || o.Qty <= 0 {
		t.Fatalf("order %+v is live already, or none", o)
	}
	p.orders[o.ID], p.sides[o.ID] = o, side
	p.change(side, o.Price, o.Qty)
}

func (p *plainOrders) take(t testing.TB, id uint64, qty int64) {
	t.Helper()
	o, live := p.orders[id]
	if !live || qty <= 0 || qty > o.Qty {
		t.Fatalf("%d is taken from order %d: %+v (live: %v)", qty, id, o, live)
	}
	p.change(p.sides[id], o.Price, -qty)
	if o.Qty -= qty; o.Qty > 0 {
		p.orders[id] = o
	} else {
		delete(p.orders, id)
		delete(p.sides, id)
	}
}

func (p *plainOrders) apply(t testing.TB, e *proto.Event) {
	t.Helper()
	switch e.Kind {
	case proto.EventSnapshot:
		*p = *newPlainOrders()
		for _, o := range e.BidOrders {
			p.add(t, proto.Bid, o)
		}
		for _, o := range e.AskOrders {
			p.add(t, proto.Ask, o)
		}
	case proto.EventAdd:
		p.add(t, e.Side, proto.Order{ID: e.OrderID, Price: e.Price, Qty: e.Qty})
	case proto.EventReduce, proto.EventExecute:
		p.take(t, e.OrderID, e.Qty)
	case proto.EventDelete:
		p.take(t, e.OrderID, p.orders[e.OrderID].Qty)
	case proto.EventTrade, proto.EventPhase:
	default:
		t.Fatalf("event of kind %d", e.Kind)
	}
}

// lobsterRecords calls f with each row of the recording as a record's value.
func lobsterRecords(t testing.TB, f func(row int, value, book []byte)) {
	archive, err := zip.OpenReader(recording(t, "lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	lines := map[string]*bufio.Scanner{}
	for _, member := range archive.File {
		text, err := member.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer text.Close()
		for _, kind := range []string{"message", "orderbook"} {
			if strings.Contains(member.Name, "_"+kind+"_") {
				lines[kind] = bufio.NewScanner(text)
			}
		}
	}
	var value []byte
	for row := 0; lines["message"].Scan() && lines["orderbook"].Scan(); row++ {
		book := lines["orderbook"].Bytes()
		value = fmt.Appendf(value[:0], "GOOG 1340251200000000000 %d\n%s\n%s", row, lines["message"].Bytes(), book)
		f(row, value, book)
	}
}

func TestLobsterRowsAreAllReproduced(t *testing.T) {
	codec := newLobsterCodec(nil)
	book := newPlainOrders()
	kinds := map[proto.EventKind]int{}
	equal, rows := 0, 0
	lobsterRecords(t, func(row int, value, want []byte) {
		b, err := codec.Decode(&Record{Key: []byte("LOBSTER:GOOG"), Value: value})
		if err != nil || b == nil {
			t.Fatalf("row %d: %v, %v", row, b, err)
		}
		for i := range b.Events {
			book.apply(t, &b.Events[i])
			if row > 0 {
				kinds[b.Events[i].Kind]++
			}
		}
		if row == 0 && b.Events[0].MaxLevels != 10 {
			t.Fatalf("the file shows 10 levels, the snapshot says %d", b.Events[0].MaxLevels)
		}
		rows++
		bids, asks := book.levels.best(proto.Bid), book.levels.best(proto.Ask)
		var got []byte
		for i := range 10 {
			got = fmt.Appendf(got, "%d,%d,%d,%d,", asks[i].Price, asks[i].Qty, bids[i].Price, bids[i].Qty)
		}
		if !bytes.Equal(got[:len(got)-1], want) {
			t.Fatalf("row %d: %s, want %s", row, got, want)
		}
		if row > 0 {
			equal++
		}
	})
	if rows != 147916 || equal != 147915 {
		t.Fatalf("%d of %d rows equal, want 147915 of 147916", equal, rows)
	}
	// 71,258 adds and 44,451 reveals; 64,961 deletes and 47,173 drops, less the
	// deletes of a part of an anonymous order.
	partly := kinds[proto.EventReduce] - 19
	if kinds[proto.EventAdd] != 71258+44451 || kinds[proto.EventDelete] != 64961+47173-partly ||
		kinds[proto.EventExecute] != 7764 || kinds[proto.EventTrade] != 3913 {
		t.Fatalf("events by kind: %v", kinds)
	}
}

func TestLobsterRowsThatDoNotFitAreRefused(t *testing.T) {
	const start = "X 0 0\n34200,1,7,5,1000,1\n1010,5,1000,15,1020,5,990,5"
	for name, steps := range map[string][]step{
		"row 0 is the snapshot, its order is told from the rest": {
			{start, "snapshot 2 1"},
			{"X 0 1\n34201,4,7,5,1000,1\n1010,5,1000,10,1020,5,990,5", "execute 7"},
			{"X 0 1\n34201,4,7,5,1000,1\n1010,5,1000,10,1020,5,990,5", "nothing"},
			{"X 0 2\n34201,7,0,0,-1,-1\n1010,5,1000,10,1020,5,990,5", "phase 4"},
			{"X 0 3\n34202,5,0,3,1005,1\n1010,5,1000,10,1020,5,990,5", "trade 1005 3 2"},
			{"X 0 4\n34202,1,8,3,1005,1\n1010,5,1005,3,1020,5,1000,10", "add 8, delete 9223372036854775810"},
			{"X 0 5\n34202,3,8,3,1005,1\n1010,5,1000,10,1020,5,980,1", "delete 8, add 9223372036854775813"},
		},
		"no row 0 yet": {
			{"X 0 1\n34201,4,7,5,1000,1\n1010,5,1000,10", CodeSourceGap},
		},
		"a row is missing": {
			{start, "snapshot 2 1"},
			{"X 0 2\n34201,7,0,0,-1,-1\n1010,5,1000,15,1020,5,990,5", CodeSourceGap},
			{"X 0 1\n34201,7,0,0,-1,-1\n1010,5,1000,15,1020,5,990,5", CodeSourceGap},
			{start, "snapshot 2 1"},
		},
		"a level that nothing explains": {
			{start, "snapshot 2 1"},
			{"X 0 1\n34201,4,7,5,1000,1\n1010,5,1000,10,1015,5,990,5", CodeRowMismatch},
			{"X 0 2\n34201,4,7,5,1000,1\n1010,5,1000,10,1015,5,990,5", CodeSourceGap},
		},
		"more than the order has":   {{start, "snapshot 2 1"}, {"X 0 1\n34201,4,7,6,1000,1\n1010,5,1000,9,1020,5,990,5", CodeRowMismatch}},
		"another side":              {{start, "snapshot 2 1"}, {"X 0 1\n34201,4,7,5,1000,-1\n1010,5,1000,10,1020,5,990,5", CodeRowMismatch}},
		"an order that is not live": {{start, "snapshot 2 1"}, {"X 0 1\n34201,3,9,1,1001,1\n1010,5,1000,15,1020,5,990,5", CodeRowMismatch}},
		"a live order added":        {{start, "snapshot 2 1"}, {"X 0 1\n34201,1,7,5,1000,1\n1010,5,1000,20,1020,5,990,5", CodeRowMismatch}},
		"two lines":                 {{"X 0 0\n34200,1,7,5,1000,1", CodeMalformed}},
		"five columns":              {{"X 0 0\n34200,1,7,5,1000\n1010,5,1000,15", CodeMalformed}},
		"three columns of a level":  {{"X 0 0\n34200,1,7,5,1000,1\n1010,5,1000", CodeMalformed}},
		"levels out of order":       {{"X 0 0\n34200,1,7,5,1000,1\n1010,5,1000,15,1010,5,990,5", CodeMalformed}},
		"no levels":                 {{"X 0 0\n34200,1,7,5,1000,1\n", CodeMalformed}},
		"another depth":             {{start, "snapshot 2 1"}, {"X 0 1\n34201,7,0,0,-1,-1\n1010,5,1000,15,1020,5,990,5,1030,0,980,0", CodeRowMismatch}},
		"another symbol":            {{strings.Replace(start, "X", "Y", 1), CodeKeyMismatch}},
	} {
		t.Run(name, func(t *testing.T) {
			codec := newLobsterCodec(nil)
			for i, s := range steps {
				if got := lobsterOutcome(t, codec, s.value); got != s.want {
					t.Fatalf("step %d: %q, want %q", i+1, got, s.want)
				}
			}
		})
	}
}

func lobsterOutcome(t *testing.T, codec Codec, value string) string {
	b, err := codec.Decode(&Record{Key: []byte("LOBSTER:X"), Value: []byte(value)})
	if err != nil {
		return mustRefuse(t, b, err)
	}
	if b == nil {
		return "nothing"
	}
	var got []string
	for _, e := range b.Events {
		switch e.Kind {
		case proto.EventSnapshot:
			got = append(got, fmt.Sprintf("snapshot %d %d", len(e.AskOrders), len(e.BidOrders)-2))
		case proto.EventTrade:
			got = append(got, fmt.Sprintf("trade %d %d %d", e.Trade.Price, e.Trade.Qty, e.Trade.Aggressor))
		case proto.EventPhase:
			got = append(got, fmt.Sprintf("phase %d", e.Phase))
		case proto.EventAdd, proto.EventExecute, proto.EventDelete, proto.EventReduce:
			word := map[proto.EventKind]string{proto.EventAdd: "add", proto.EventExecute: "execute", proto.EventDelete: "delete", proto.EventReduce: "reduce"}[e.Kind]
			got = append(got, fmt.Sprintf("%s %d", word, e.OrderID))
		}
	}
	return strings.Join(got, ", ")
}

func FuzzLobsterCodec(f *testing.F) {
	f.Add([]byte("X 0 0\n34200,1,7,5,1000,1\n1010,5,1000,15,1020,5,990,5;X 0 1\n34201,4,7,5,1000,1\n1010,5,1000,10,1020,5,990,5"))
	f.Add([]byte("X 0 0\n34200,1,7,5,1000,1\n1010,5,1000,15,1020,5,990,5;X 0 1\n34202,1,8,3,1005,1\n1010,5,1005,3,1020,5,1000,15;X 0 2\n34202,3,8,3,1005,1\n1010,5,1000,15,1020,5,980,1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzCodec(t, newLobsterCodec(nil), "LOBSTER:X", bytes.Split(text, []byte{';'}))
	})
}
