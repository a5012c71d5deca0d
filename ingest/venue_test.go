package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// recording returns the path of a recorded file, or skips the test where the
// recordings are absent.
func recording(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("DEPTHCAST_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("skipped: the recording %s is absent (DEPTHCAST_DATA names the directory)", name)
	}
	return path
}

// eachLine calls f for each line of the gzipped recordings, one after the other.
func eachLine(t testing.TB, names []string, f func(line []byte)) {
	t.Helper()
	for _, name := range names {
		file, err := os.Open(recording(t, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		text, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(text)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			f(lines.Bytes())
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// fixedExponents are the instruments of tests.
type fixedExponents map[string]proto.Exponents

func (f fixedExponents) Exponents(symbol string) proto.Exponents {
	if x, ok := f[symbol]; ok {
		return x
	}
	return proto.DefaultExponents
}

// plainLevels is the simplest book by level: what tests compare with.
type plainLevels struct {
	bids, asks map[int64]int64
	maxLevels  int
}

func newPlainLevels() *plainLevels {
	return &plainLevels{bids: map[int64]int64{}, asks: map[int64]int64{}}
}

// quote returns the best bid and offer.
func (p *plainLevels) quote() (q proto.Quote) {
	for price, qty := range p.bids {
		if q.Bid.Qty == 0 || price > q.Bid.Price {
			q.Bid = proto.Level{Price: price, Qty: qty}
		}
	}
	for price, qty := range p.asks {
		if q.Ask.Qty == 0 || price < q.Ask.Price {
			q.Ask = proto.Level{Price: price, Qty: qty}
		}
	}
	return q
}

func (p *plainLevels) apply(t testing.TB, b *proto.Batch) {
	t.Helper()
	for i := range b.Events {
		e := &b.Events[i]
		switch e.Kind {
		case proto.EventSnapshot:
			clear(p.bids)
			clear(p.asks)
			p.maxLevels = int(e.MaxLevels)
		case proto.EventSetLevels:
		case proto.EventTrade, proto.EventHeartbeat:
			continue
		default:
			t.Fatalf("event of kind %d", e.Kind)
		}
		setPlain(p.bids, e.Bids)
		setPlain(p.asks, e.Asks)
	}
	for p.maxLevels > 0 && len(p.bids) > p.maxLevels {
		delete(p.bids, p.best(proto.Bid)[len(p.bids)-1].Price)
	}
	for p.maxLevels > 0 && len(p.asks) > p.maxLevels {
		delete(p.asks, p.best(proto.Ask)[len(p.asks)-1].Price)
	}
}

func setPlain(side map[int64]int64, levels []proto.Level) {
	for _, l := range levels {
		if l.Qty == 0 {
			delete(side, l.Price)
		} else {
			side[l.Price] = l.Qty
		}
	}
}

// best returns the levels of a side, best first.
func (p *plainLevels) best(side proto.Side) []proto.Level {
	from := p.asks
	if side == proto.Bid {
		from = p.bids
	}
	levels := make([]proto.Level, 0, len(from))
	for price, qty := range from {
		levels = append(levels, proto.Level{Price: price, Qty: qty})
	}
	slices.SortFunc(levels, func(a, b proto.Level) int {
		if (a.Price < b.Price) == (side == proto.Ask) {
			return -1
		}
		return 1
	})
	return levels
}

// dump writes the n best levels of each side (0: all) as "b PRICE QTY" and
// "a PRICE QTY" lines.
func (p *plainLevels) dump(x proto.Exponents, n int) []byte {
	var out []byte
	for _, side := range []proto.Side{proto.Bid, proto.Ask} {
		for i, l := range p.best(side) {
			if n > 0 && i == n {
				break
			}
			out = append(out, " ba"[side], ' ')
			out = append(proto.AppendDecimal(out, l.Price, x.Price), ' ')
			out = append(proto.AppendDecimal(out, l.Qty, x.Qty), '\n')
		}
	}
	return out
}

// mustRefuse checks that err is a RecordError and returns its code.
func mustRefuse(t testing.TB, b *proto.Batch, err error) string {
	t.Helper()
	var refused *proto.RecordError
	if !errors.As(err, &refused) {
		t.Fatalf("batch %v and error %v where a RecordError is wanted", b, err)
	}
	if b != nil || refused.Code == "" || refused.Error() == "" {
		t.Fatalf("a refusal with a batch, or without code or text: %v %+v", b, refused)
	}
	return refused.Code
}

// fuzzCodec feeds a codec the lines of value as records of one symbol, and checks
// what must hold whatever they say.
func fuzzCodec(t *testing.T, codec Codec, key string, values [][]byte) {
	for i, value := range values {
		b, err := codec.Decode(&Record{Offset: int64(i), Key: []byte(key), Value: value})
		keepsItsState(t, codec, key)
		if err != nil {
			mustRefuse(t, b, err)
			continue
		}
		if b == nil {
			continue
		}
		if len(b.Events) == 0 || b.Feed == "" {
			t.Fatalf("a batch without events or feed: %+v", b)
		}
		if b.Symbol != key {
			t.Fatalf("a batch of %q from a record of %q", b.Symbol, key)
		}
		for _, e := range b.Events {
			for _, l := range append(slices.Clone(e.Bids), e.Asks...) {
				if l.Qty < 0 {
					t.Fatalf("a level with the negative quantity %d", l.Qty)
				}
			}
		}
	}
}

// keepsItsState has a codec begin anew with what it keeps of a symbol.
func keepsItsState(t *testing.T, codec Codec, key string) {
	k := codec.(keeper)
	state := k.save(key, nil)
	if len(state) == 0 {
		return
	}
	k.forget(key)
	if err := k.restore(key, state); err != nil {
		t.Fatalf("what is kept cannot be restored: %v: %x", err, state)
	}
	if again := k.save(key, nil); !bytes.Equal(again, state) {
		t.Fatalf("%x is kept as %x", state, again)
	}
}

// fuzzInspector checks that the inspector stands whatever the values say.
func fuzzInspector(t *testing.T, format string, values [][]byte) {
	i, err := NewInspector(format)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range values {
		p, err := i.Inspect(value)
		if err == nil && (p.PriceDecimals < -1 || p.QtyDecimals < -1) {
			t.Fatalf("%q: %+v", value, p)
		}
	}
}

func TestInspectorTellsTheDecimalsOfARecord(t *testing.T) {
	for format, cases := range map[string]map[string]Payload{
		"binance": {
			futuresDiff(1, 3, 5): {Symbol: []byte("X"), Data: true, Futures: true, PriceDecimals: 2, QtyDecimals: 0},
			spotDiff(1, 3):       {Symbol: []byte("X"), Data: true, PriceDecimals: 2, QtyDecimals: 0},
			restSnapshot(5):      {Data: true, PriceDecimals: 2, QtyDecimals: 0},
			`{"result":null}`:    {PriceDecimals: -1, QtyDecimals: -1},
			`{"e":"trade","s":"X","t":1,"p":"1.500","q":"0.10","m":true}`: {Symbol: []byte("X"), Data: true, PriceDecimals: 3, QtyDecimals: 2},
		},
		"kraken": {
			`[1,{"as":[["2.00","5.1","1.5"]],"bs":[]},"book-10","X/Y"]`: {Symbol: []byte("X/Y"), Data: true, MaxLevels: 10, PriceDecimals: 2, QtyDecimals: 1},
			`[1,[["1.0","2","1.5","s","l",""]],"trade","X/Y"]`:          {Symbol: []byte("X/Y"), Data: true, PriceDecimals: 1, QtyDecimals: 0},
			`{"event":"heartbeat"}`:                                     {PriceDecimals: -1, QtyDecimals: -1},
		},
	} {
		i, err := NewInspector(format)
		if err != nil {
			t.Fatal(err)
		}
		for value, want := range cases {
			got, err := i.Inspect([]byte(value))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, %v; want %+v", value, got, err, want)
			}
		}
	}
	if _, err := NewInspector("lobster"); err == nil {
		t.Error("an inspector of a format without one")
	}
	if _, err := NewCodec("none", nil); err == nil {
		t.Error("a codec of an unknown format")
	}
}

func TestJSONTextPassesOverWhatItDoesNotKnow(t *testing.T) {
	var s jsonText
	s.reset([]byte(` {"x":[1,-2.5e3,{"y":"a\"b","z":[null,true,false,{}]},[]],"k" : 7} `))
	var got uint64
	for s.open('{'); s.more('}'); {
		if string(s.key()) == "k" {
			got = s.uint()
		} else {
			s.skip()
		}
	}
	if err := s.end(); err != nil || got != 7 {
		t.Fatalf("got %d, %v", got, err)
	}
	deep := append(bytes.Repeat([]byte{'['}, 100_000), bytes.Repeat([]byte{']'}, 100_000)...)
	for _, bad := range [][]byte{nil, []byte(`{`), []byte(`{"a"}`), []byte(`[1,]`), []byte(`[1 2]`), []byte(`"abc`), []byte(`{"a":1}x`), []byte(`nul`), deep} {
		s.reset(bad)
		s.skip()
		if s.end() == nil {
			t.Errorf("%.20q passed", bad)
		}
	}
}
