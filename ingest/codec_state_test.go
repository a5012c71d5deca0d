package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
)

type fataler interface{ Fatalf(string, ...any) }

// said is all that a codec says of a record.
func said(c Codec, rec *Record) string {
	b, err := c.Decode(rec)
	if err != nil {
		return err.Error()
	}
	if b == nil {
		return "nothing"
	}
	return fmt.Sprintf("%x %v %v", proto.AppendEvents(nil, b), b.Exponents, b.HasExponents)
}

func savedBy(c Codec, symbol string) []byte { return c.(keeper).save(symbol, nil) }

// codecTwins are a codec and others that began with what it had saved.
type codecTwins struct {
	t           fataler
	new         func() Codec
	whole       Codec
	interrupted []*codecTwin
}

type codecTwin struct {
	Codec
	cut  int            // where it began
	late map[string]int // symbols whose state is of a later record: those before are skipped
}

// cut adds a twin that begins here with the states of symbols.
func (c *codecTwins) cut(at int, states map[string][]byte, late map[string]int) {
	twin := &codecTwin{c.new(), at, late}
	for symbol, state := range states {
		if len(state) == 0 {
			continue
		}
		if err := twin.Codec.(keeper).restore(symbol, state); err != nil {
			c.t.Fatalf("cut %d: %s: %v: %x", at, symbol, err, state)
		}
	}
	c.interrupted = append(c.interrupted, twin)
}

// take gives all the record at a place, and compares what they say and keep.
func (c *codecTwins) take(at int, rec *Record) {
	want := said(c.whole, rec)
	symbol := string(rec.Key)
	state := savedBy(c.whole, symbol)
	for _, twin := range c.interrupted {
		if at < twin.late[symbol] {
			continue
		}
		if got := said(twin.Codec, rec); got != want {
			c.t.Fatalf("cut %d, record %d of %s, %.300q\nrestarted     %.300s\nuninterrupted %.300s", twin.cut, at, symbol, rec.Value, got, want)
		}
		if got := savedBy(twin.Codec, symbol); !bytes.Equal(got, state) {
			c.t.Fatalf("cut %d, record %d of %s: restarted it keeps\n%x, uninterrupted\n%x", twin.cut, at, symbol, got, state)
		}
	}
}

// proveCodecCut holds a codec that begins behind the first cut records, with states
// that may each be of a later place, to one that has seen all.
func proveCodecCut(t fataler, new func() Codec, log []Record, cut int, lags map[string]int) {
	ahead, states, late := new(), map[string][]byte{}, map[string]int{}
	for i := range len(log) + 1 {
		for symbol, lag := range lags {
			if i == min(cut+lag, len(log)) {
				states[symbol], late[symbol] = savedBy(ahead, symbol), i
			}
		}
		if i < len(log) {
			said(ahead, &log[i])
		}
	}
	twins := codecTwins{t: t, new: new, whole: new()}
	for i := range log {
		if i == cut {
			twins.cut(cut, states, late)
		}
		twins.take(i, &log[i])
	}
}

// venueLog is a random log of two clones of a symbol: for each some of the chains,
// one behind the other, and anything in between.
func venueLog(t *rapid.T, key string, chains [][]string) []Record {
	queues := map[string][]string{key: nil, key + "~1": nil}
	for _, of := range []string{key, key + "~1"} {
		for range rapid.IntRange(1, 4).Draw(t, "chains") {
			queues[of] = append(queues[of], rapid.SampledFrom(chains).Draw(t, "chain")...)
		}
	}
	var log []Record
	for len(queues[key])+len(queues[key+"~1"]) > 0 {
		of := key
		if len(queues[key]) == 0 || len(queues[key+"~1"]) > 0 && rapid.Bool().Draw(t, "of the clone") {
			of = key + "~1"
		}
		value := queues[of][0]
		queues[of] = queues[of][1:]
		if rapid.IntRange(0, 15).Draw(t, "stray") == 0 {
			value = rapid.SampledFrom(rapid.SampledFrom(chains).Draw(t, "chain")).Draw(t, "value")
		}
		log = append(log, Record{Offset: int64(len(log)), Key: []byte(of), Value: []byte(value)})
	}
	return log
}

func valuesOf(scripts map[string][]step) (chains [][]string) {
	names := make([]string, 0, len(scripts))
	for name := range scripts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var values []string
		for _, s := range scripts[name] {
			values = append(values, s.value)
		}
		chains = append(chains, values)
	}
	return chains
}

// krakenChains are messages of both versions without checksums, which need no state
// to be made.
func krakenChains() [][]string {
	return [][]string{
		{
			`[1,{"as":[["2.00","5.1","1.5"]],"bs":[["1.00","6","1.5"],["0.50","1","1.5"]]},"book-10","X"]`,
			`[1,{"a":[["2.10","3","1.5"]]},"book-10","X"]`, `[1,{"b":[["1.00","0","1.5"],["0.70","2.5","1.5"]]},"book-10","X"]`,
			`[1,{"b":[["0.70","4","1.5"]],"c":"1"},"book-10","X"]`, `[1,{"b":[["0.80","4","1.5"]]},"book-10","X"]`,
		},
		{
			`{"method":"subscribe","result":{"channel":"book","symbol":"X","depth":25},"success":true}`,
			`{"channel":"book","type":"snapshot","data":[{"symbol":"X","bids":[{"price":1.0,"qty":2.0}],"asks":[{"price":2.0,"qty":1.0}]}]}`,
			`{"channel":"book","type":"update","data":[{"symbol":"X","bids":[{"price":1.5,"qty":2.0}],"asks":[]}]}`,
			`{"channel":"trade","type":"update","data":[{"symbol":"X","side":"buy","price":1.5,"qty":1,"trade_id":9,"timestamp":"2023-10-06T17:35:55.440295Z"}]}`,
			`{"channel":"trade","type":"update","data":[{"symbol":"X","side":"buy","price":1.5,"qty":1,"trade_id":8,"timestamp":"2023-10-06T17:35:55.440295Z"}]}`,
			`{"channel":"book","type":"update","data":[{"symbol":"X","bids":[{"price":1.25,"qty":2.5}],"asks":[]}]}`,
		},
		{
			`{"channel":"book","type":"snapshot","data":[{"symbol":"X","bids":[` + strings.TrimSuffix(krakenBids(12), ",") + `],"asks":[]}]}`,
			`{"channel":"book","type":"update","data":[{"symbol":"X","bids":[` + strings.TrimSuffix(krakenBids(20), ",") + `],"asks":[]}]}`,
			`{"channel":"book","type":"update","data":[{"symbol":"X","bids":[` + strings.TrimSuffix(krakenBids(30), ",") + `],"asks":[]}]}`,
		},
	}
}

func krakenBids(n int) (text string) {
	for i := range n {
		text += fmt.Sprintf(`{"price":%d.0,"qty":2.0},`, 1+i)
	}
	return text
}

var lobsterChains = [][]string{
	{"X 0 0\n34200,1,7,5,1000,1\n1010,5,1000,15,1020,5,990,5", "X 0 1\n34201,4,7,5,1000,1\n1010,5,1000,10,1020,5,990,5", "X 0 2\n34202,4,99,5,1000,1\n1010,5,1000,5,1020,5,990,5"},
	{"X 0 0\n34200,1,7,5,1000,1\n1010,5,1000,15,1020,5,990,5", "X 0 1\n34202,1,8,3,1005,1\n1010,5,1005,3,1020,5,1000,15", "X 0 2\n34202,3,8,3,1005,1\n1010,5,1000,15,1020,5,980,1"},
}

// keepers are the codecs that keep state, each with random logs.
var keepers = map[string]func(t *rapid.T) []Record{
	"binance":  func(t *rapid.T) []Record { return venueLog(t, "BINANCE:X", valuesOf(binanceChains)) },
	"coinbase": func(t *rapid.T) []Record { return venueLog(t, "COINBASE:BTC-USD", valuesOf(coinbaseChains)) },
	"itch":     itchLog,
	"kraken":   func(t *rapid.T) []Record { return venueLog(t, "KRAKEN:X", krakenChains()) },
	"lobster":  func(t *rapid.T) []Record { return venueLog(t, "LOBSTER:X", lobsterChains) },
	"okx":      func(t *rapid.T) []Record { return venueLog(t, "OKX:BTC-USDT", valuesOf(okxChains)) },
}

// itchLog is a day or two of two clones of a stock.
func itchLog(t *rapid.T) []Record {
	flow := itchFlow{text: aapl.at(3 * time.Hour), orders: naiveOrders{}}
	pending, day := [][]byte{flow.text.directory()}, 0
	flow.text.now = 4 * time.Hour
	var log []Record
	for range rapid.IntRange(1, 30).Draw(t, "records") {
		for range rapid.IntRange(1, 3).Draw(t, "messages") {
			pending = append(pending, flow.draw(t))
		}
		if rapid.IntRange(0, 20).Draw(t, "another day") == 0 {
			day++
		}
		rec := *itchRecord(day, pending...)
		if rapid.IntRange(0, 5).Draw(t, "of the clone") == 0 {
			rec.Key = append(slices.Clone(rec.Key), "~1"...)
		}
		rec.Offset = int64(len(log))
		log = append(log, rec)
		if rapid.IntRange(0, 5).Draw(t, "again") > 0 {
			pending = nil
		}
	}
	return log
}

func newOf(format string) func() Codec {
	x := fixedExponents{}
	for _, key := range []string{"BINANCE:X", "COINBASE:BTC-USD", "OKX:BTC-USDT"} {
		x[key] = proto.Exponents{Price: -2, Qty: 0}
	}
	return func() Codec { return formats[format].new(x) }
}

func TestEveryCodecWithStateKeepsIt(t *testing.T) {
	for name := range formats {
		_, keeps := newOf(name)().(keeper)
		if stateless := name == "json" || name == "proto" || strings.HasSuffix(name, "-of-tests"); keeps == stateless || keeps != (keepers[name] != nil) {
			t.Errorf("%s: keeps %v; a codec that keeps state has random logs here", name, keeps)
		}
	}
}

// What becomes of the fields of codecs and of what they keep of a symbol: saved, made
// anew from what is saved, or of no consequence between records. Whoever adds one
// must say here which it is.
var codecFields = map[reflect.Type]map[string]string{
	reflect.TypeFor[binanceState](): {"chained": "saved", "bridged": "saved", "last": "saved", "waiting": "saved", "held": "saved",
		"bytes": "made anew", "lost": "saved", "quotes": "decides no batch", "trades": "saved", "lastTrade": "saved"},
	reflect.TypeFor[binanceWaiting](): {"first": "saved", "last": "saved", "previous": "saved", "value": "saved"},
	reflect.TypeFor[coinbaseState]():  {"whole": "saved", "sequenced": "saved", "sequence": "saved", "lastTrade": "saved"},
	reflect.TypeFor[itchState](): {"locate": "saved", "day": "saved", "last": "saved", "begun": "saved", "ordered": "saved",
		"carried": "saved", "sum": "saved"},
	reflect.TypeFor[krakenState](): {"whole": "saved", "exponents": "saved", "mirror": "saved", "depth": "saved", "supposed": "saved",
		"subscribed": "saved", "lastTrade": "saved"},
	reflect.TypeFor[krakenMirror](): {"bids": "saved", "asks": "saved", "text": "scratch"},
	reflect.TypeFor[krakenLevel]():  {"Level": "saved", "priceDigits": "saved", "qtyDigits": "saved"},
	reflect.TypeFor[lobsterState](): {"book": "saved", "row": "saved", "day": "saved"},
	reflect.TypeFor[lobsterBook]():  {"depth": "saved", "bids": "saved", "asks": "saved", "orders": "made anew", "anonymous": "saved"},
	reflect.TypeFor[lobsterSide]():  {"side": "made anew", "levels": "saved", "worst": "saved", "shown": "saved"},
	reflect.TypeFor[lobsterLevel](): {"price": "saved", "qty": "made anew", "ids": "saved", "anonymous": "saved"},
	reflect.TypeFor[lobsterOrder](): {"side": "made anew", "price": "made anew", "qty": "saved"},
	reflect.TypeFor[okxState]():     {"whole": "saved", "previous": "saved", "last": "saved", "trades": "saved", "lastTrade": "saved"},

	reflect.TypeFor[binanceCodec]():  {"instruments": "wired", "symbols": "saved", "buffered": "made anew", "message": "scratch", "batch": "scratch"},
	reflect.TypeFor[coinbaseCodec](): {"instruments": "wired", "symbols": "saved", "message": "scratch", "batch": "scratch"},
	reflect.TypeFor[itchCodec]():     {"symbols": "saved", "midnight": "of the record's time alone", "batch": "scratch"},
	reflect.TypeFor[krakenCodec]():   {"instruments": "wired", "symbols": "saved", "message": "scratch", "batch": "scratch"},
	reflect.TypeFor[lobsterCodec]():  {"symbols": "saved", "record": "scratch", "batch": "scratch"},
	reflect.TypeFor[okxCodec]():      {"instruments": "wired", "symbols": "saved", "message": "scratch", "batch": "scratch"},
	reflect.TypeFor[protoCodec]():    {"decode": "wired", "instruments": "wired", "names": "texts of keys", "batch": "scratch"},
}

func TestEveryFieldOfACodecIsSavedOrNeedNotBe(t *testing.T) {
	for of, fields := range codecFields {
		for i := range of.NumField() {
			if name := of.Field(i).Name; fields[name] == "" {
				t.Errorf("%s.%s: neither saved nor known to need no saving: decide, in appendTo and readFrom, then here", of, name)
			}
		}
		if len(fields) != of.NumField() {
			t.Errorf("%s has %d fields, %d are known", of, of.NumField(), len(fields))
		}
	}
}

func TestACodecThatRestartsAnywhereSaysTheSame(t *testing.T) {
	for name, draw := range keepers {
		t.Run(name, func(t *testing.T) {
			kept := 0
			rapid.Check(t, func(t *rapid.T) {
				log := draw(t)
				lags := map[string]int{}
				for i := range log {
					if _, drawn := lags[string(log[i].Key)]; !drawn {
						lags[string(log[i].Key)] = rapid.SampledFrom([]int{0, 0, 1, 3, 9}).Draw(t, "lag")
					}
				}
				cut := rapid.IntRange(0, len(log)-1).Draw(t, "cut")
				proveCodecCut(t, newOf(name), log, cut, lags)
				kept += cut
			})
			if kept == 0 {
				t.Fatal("nothing was cut")
			}
		})
	}
}

// recordedTwins reads a recording with twins that begin at random places, each
// compared over some thousand records, and one to the end.
type recordedTwins struct {
	codecTwins
	at, window int
	cuts       []int
	keys       map[string]bool
}

func newRecordedTwins(t *testing.T, new func() Codec, records, cuts int) *recordedTwins {
	r := &recordedTwins{codecTwins: codecTwins{t: t, new: new, whole: new()}, window: 3000, keys: map[string]bool{}}
	random := rand.New(rand.NewPCG(5, uint64(records)))
	r.cuts = append(r.cuts, 2, 20) // before most snapshots
	for range cuts {
		r.cuts = append(r.cuts, random.IntN(records))
	}
	return r
}

func (r *recordedTwins) record(key string, value []byte) {
	if slices.Contains(r.cuts, r.at) {
		states := map[string][]byte{}
		for symbol := range r.keys {
			states[symbol] = savedBy(r.whole, symbol)
		}
		r.cut(r.at, states, nil)
	}
	r.keys[key] = true
	r.take(r.at, &Record{Offset: int64(r.at), Key: []byte(key), Value: value})
	r.at++
	r.interrupted = slices.DeleteFunc(r.interrupted, func(twin *codecTwin) bool {
		return r.at-twin.cut > r.window && twin.cut != r.cuts[1]
	})
}

func TestRecordedSessionsRestartAnywhere(t *testing.T) {
	for _, s := range binanceSessions {
		t.Run(s.symbol, func(t *testing.T) {
			x := fixedExponents{s.symbol: s.exponents}
			r := newRecordedTwins(t, func() Codec { return newBinanceCodec(x) }, 70_000, 4)
			eachLine(t, s.files, func(line []byte) {
				_, value, _ := bytes.Cut(line, []byte{' '})
				r.record(s.symbol, value)
			})
		})
	}
	t.Run("KRAKEN", func(t *testing.T) {
		x := krakenExponents(t)
		r := newRecordedTwins(t, func() Codec { return newKrakenCodec(x) }, 4300, 4)
		eachLine(t, []string{"kraken/KRAKEN.ws.50.0.gz", "kraken/KRAKEN.ws.48.0.gz"}, func(line []byte) {
			_, value, _ := bytes.Cut(line, []byte(": "))
			if at := bytes.LastIndex(value, []byte(`,"`)); at >= 0 && value[0] == '[' {
				r.record("KRAKEN:"+string(value[at+2:len(value)-2]), value)
			}
		})
	})
	t.Run("LOBSTER", func(t *testing.T) {
		r := newRecordedTwins(t, func() Codec { return newLobsterCodec(nil) }, 147_000, 4)
		lobsterRecords(t, func(_ int, value, _ []byte) { r.record("LOBSTER:GOOG", value) })
	})
}

// TestADamagedStateOfACodecIsRefusedOrTheSame: what restore takes is what save
// would write of it, so that nothing is taken for something else.
func TestADamagedStateOfACodecIsRefusedOrTheSame(t *testing.T) {
	for name, draw := range keepers {
		t.Run(name, func(t *testing.T) {
			refused := 0
			rapid.Check(t, func(t *rapid.T) {
				log := draw(t)
				c := newOf(name)()
				for i := range log {
					said(c, &log[i])
				}
				symbol := string(log[0].Key)
				state := savedBy(c, symbol)
				if len(state) == 0 {
					return
				}
				if err := c.(keeper).restore(symbol, state); !errors.Is(err, errState) {
					t.Fatalf("over another: %v", err)
				}
				damaged := slices.Clone(state)
				if bit := rapid.IntRange(0, 9*len(state)-1).Draw(t, "bit"); bit < 8*len(state) {
					damaged[bit/8] ^= 1 << (bit % 8)
				} else {
					damaged = damaged[:bit-8*len(state)]
				}
				refused += restoreAnything(t, name, symbol, damaged)
			})
			if refused == 0 {
				t.Fatal("nothing was refused")
			}
		})
	}
}

// restoreAnything gives a new codec any state, and returns 1 if it was refused.
func restoreAnything(t fataler, format, symbol string, state []byte) int {
	c := newOf(format)()
	if err := c.(keeper).restore(symbol, state); err != nil {
		if !errors.Is(err, errState) {
			t.Fatalf("%v", err)
		}
		if left := savedBy(c, symbol); len(left) > 0 {
			t.Fatalf("refused, but kept: %x", left)
		}
		return 1
	}
	if again := savedBy(c, symbol); !bytes.Equal(again, state) {
		t.Fatalf("%x is kept as %x", state, again)
	}
	return 0
}

func FuzzCodecState(f *testing.F) {
	names := make([]string, 0, len(keepers))
	for name := range keepers {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		for seed := range 5 {
			log := rapid.Custom(keepers[name]).Example(seed)
			c := newOf(name)()
			for j := range log {
				said(c, &log[j])
			}
			f.Add(byte(i), savedBy(c, string(log[0].Key)))
		}
	}
	f.Fuzz(func(t *testing.T, of byte, state []byte) {
		name := names[int(of)%len(names)]
		restoreAnything(t, name, "V:X", state)
		// It must also stand whatever comes next.
		c := newOf(name)()
		if c.(keeper).restore("V:X", state) != nil {
			return
		}
		for _, r := range rapid.Custom(keepers[name]).Example(int(of)) {
			r.Key = []byte("V:X")
			said(c, &r)
		}
	})
}

func TestStateOfAPartitionsCodecsComesBackWhole(t *testing.T) {
	r := newRig(t, nil)
	old := newRig(t, nil)
	var s proto.SymbolState
	old.Do(func() {
		for i, value := range []string{spotDiff(1, 3), spotDiff(4, 6)} {
			said(old.codec("binance"), &Record{Offset: int64(i), Key: []byte("BINANCE:X"), Value: []byte(value)})
		}
		said(old.codec("okx"), &Record{Key: []byte("BINANCE:X"), Value: []byte("no JSON")})
		s.Symbol = "BINANCE:X"
		old.saveCodecs(s.Symbol, &s)
	})
	if len(s.Codecs) != 2 || s.Codecs[0].Format != "binance" || s.Codecs[1].Format != "okx" {
		t.Fatalf("%+v", s.Codecs)
	}
	r.Do(func() {
		damaged := s
		damaged.Codecs = slices.Clone(s.Codecs)
		damaged.Codecs[1].State = []byte{9}
		if err := r.restoreCodecs(&damaged); !errors.Is(err, errState) {
			t.Errorf("%v", err)
		}
		var left proto.SymbolState
		if r.saveCodecs(s.Symbol, &left); len(left.Codecs) > 0 {
			t.Errorf("a part of what was refused is left: %+v", left.Codecs)
		}
		for _, format := range []string{"proto", "none"} {
			if err := r.restoreCodecs(&proto.SymbolState{Symbol: "X", Codecs: []proto.CodecState{{Format: format}}}); !errors.Is(err, errState) {
				t.Errorf("%s: %v", format, err)
			}
		}
		if err := r.restoreCodecs(&s); err != nil {
			t.Fatal(err)
		}
		if r.saveCodecs(s.Symbol, &left); fmt.Sprint(left.Codecs) != fmt.Sprint(s.Codecs) {
			t.Errorf("%v, want %v", left.Codecs, s.Codecs)
		}
		if c := r.codec("binance").(*binanceCodec); c.buffered != c.symbols.of[s.Symbol].state.bytes || c.buffered == 0 {
			t.Errorf("%d bytes wait", c.buffered)
		}
		if r.forgetCodecs(s.Symbol); r.codec("binance").(*binanceCodec).buffered != 0 {
			t.Error("bytes of what is forgotten still count")
		}
	})
}
