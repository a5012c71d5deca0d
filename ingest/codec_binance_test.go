package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// binanceSessions are the recorded sessions with the figures of the recordings'
// README.
var binanceSessions = []struct {
	symbol         string
	files          []string
	exponents      proto.Exponents
	bids, asks     int
	full, top20    string
	lastID         uint64
	diffs, tickers int
	trades         int
	equal, other   int // batches whose best bid and offer the bookTickers confirm, and not
}{
	{
		"BINANCE-USDM:BTCUSDT", []string{"binance/usdm_btcusdt_20240808.gz"}, proto.Exponents{Price: -2, Qty: -3}, 5018, 4578,
		"0db13b9051ab45e5ce348be6041375747648ed9c77d2f8d77fa6723c4c191b14", "576c6df58b9af102f0cc2c81dee2baed5bc1262c81d981085334fd837d606e94",
		5123135475514, 6547, 66089, 21313, 6545, 0,
	},
	{
		"BINANCE-USDM:ETHUSDT", []string{"binance/usdm_ethusdt_20240808.gz"}, proto.Exponents{Price: -2, Qty: -3}, 3181, 3013,
		"ca7abc8c6e447b3f0de4b45f0e64d7c7d0ee5770f4b50698ba33537864f43f77", "2d67d1385efb250cb48807158edf82ceb0596e445a3f5cbbfaa4210349fee27c",
		5123135545737, 6581, 53992, 14076, 6578, 0,
	},
	{
		"BINANCE:BTCUSDT", []string{"binance/spot_btcusdt_20240808.gz", "binance/spot_btcusdt_20240809.gz"}, proto.Exponents{Price: -8, Qty: -8}, 1971, 2962,
		"1b29a80c94747238838e93fffd4dd8a3b4be82e29fb7515a5c6cd2d52070aaac", "ee6616919b6af29fccce608c3abce7e319ceaee17cc1423565c690850fbb6a60",
		50093696318, 6493, 73174, 19904, 6490, 2,
	},
	{
		"BINANCE:ETHUSDT", []string{"binance/spot_ethusdt_20240808.gz", "binance/spot_ethusdt_20240809.gz"}, proto.Exponents{Price: -8, Qty: -8}, 1744, 1665,
		"fda1b6b36e2f4338d8ca2f1cb81de1e8c2d71d653f5cd4f810941160ac8f6fe9", "58ceeeaf55360aec910dd803b6c8702c88d5dc8ad4c80fb9ca559744221faaeb",
		35346924199, 6468, 58758, 14515, 6467, 0,
	},
}

func TestBinanceSessionsEndInTheGoldenBooks(t *testing.T) {
	for _, session := range binanceSessions {
		t.Run(session.symbol, func(t *testing.T) {
			codec := newBinanceCodec(fixedExponents{session.symbol: session.exponents})
			book := newPlainLevels()
			diffs, tickers, trades, equal, other := 0, 0, 0, 0, 0
			eachLine(t, session.files, func(line []byte) {
				_, value, _ := bytes.Cut(line, []byte{' '})
				b, err := codec.Decode(&Record{Key: []byte(session.symbol), Value: value})
				if err != nil {
					t.Fatal(err)
				}
				if b == nil {
					return
				}
				for i := range b.Events {
					switch b.Events[i].Kind {
					case proto.EventSetLevels:
						diffs++
					case proto.EventHeartbeat:
						tickers++
					case proto.EventTrade:
						trades++
					}
				}
				book.apply(t, b)
				if q := b.Quote; q != nil {
					switch {
					case !q.Comparable:
					case q.Before == q.Venue:
						equal++
					default:
						other++
					}
					q.Book, q.Whole = book.quote(), true
				}
			})
			if equal != session.equal || other != session.other {
				t.Errorf("%d books equal to the bookTickers, %d not; want %d and %d", equal, other, session.equal, session.other)
			}
			if len(book.bids) != session.bids || len(book.asks) != session.asks {
				t.Errorf("%d bids and %d asks, want %d and %d", len(book.bids), len(book.asks), session.bids, session.asks)
			}
			if got := hash(book.dump(session.exponents, 0)); got != session.full {
				t.Errorf("full dump %s, want %s", got, session.full)
			}
			if got := hash(book.dump(session.exponents, 20)); got != session.top20 {
				t.Errorf("dump of the top 20 %s, want %s", got, session.top20)
			}
			if diffs != session.diffs || tickers != session.tickers || trades != session.trades {
				t.Errorf("%d diffs, %d tickers, %d trades; want %d, %d, %d", diffs, tickers, trades, session.diffs, session.tickers, session.trades)
			}
			state := codec.(*binanceCodec).symbols.of[session.symbol].state
			if state.last != session.lastID || len(state.waiting) != 0 {
				t.Errorf("last id %d, want %d; %d wait", state.last, session.lastID, len(state.waiting))
			}
		})
	}
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// The messages of the scripts below: spot and futures diffs that set one bid to
// their last id, and a snapshot.
func spotDiff(first, last int) string {
	return fmt.Sprintf(`{"e":"depthUpdate","E":1000,"s":"X","U":%d,"u":%d,"b":[["1.00","%d"]],"a":[]}`, first, last, last)
}

func futuresDiff(previous, first, last int) string {
	return fmt.Sprintf(`{"stream":"x@depth@0ms","data":{"e":"depthUpdate","E":1000,"T":999,"s":"X","U":%d,"u":%d,"pu":%d,"b":[["1.00","%d"]],"a":[]}}`, first, last, previous, last)
}

func restSnapshot(id int) string {
	return fmt.Sprintf(`{"lastUpdateId":%d,"bids":[["1.00","%d"],["0.50","1"]],"asks":[["2","1"]]}`, id, id)
}

// outcome is what a step of a script leads to: a code, "nothing", or the bid at
// 1.00 with a mark where a snapshot begins the batch.
func outcome(t *testing.T, codec Codec, key, value string) string {
	b, err := codec.Decode(&Record{Key: []byte(key), Value: []byte(value)})
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
			got = append(got, fmt.Sprintf("snapshot %d", e.Bids[0].Qty))
		case proto.EventSetLevels:
			got = append(got, fmt.Sprintf("set %d", e.Bids[0].Qty))
		case proto.EventTrade:
			got = append(got, fmt.Sprintf("trade %d %d %d", e.Trade.Price, e.Trade.Qty, e.Trade.Aggressor))
		case proto.EventHeartbeat:
			got = append(got, "heartbeat")
		}
	}
	return strings.Join(got, ", ")
}

type step struct{ value, want string }

// binanceTradeText is a trade of 3 at 2.50: its id, and whether the buyer is maker.
const binanceTradeText = `{"e":"trade","E":1,"s":"X","t":%d,"p":"2.50","q":"3","T":1,"m":%v}`

// binanceChains are scripts of messages and what each leads to.
var binanceChains = map[string][]step{
	"spot: covered ones go, the bridging one stays": {
		{spotDiff(1, 3), "nothing"},
		{spotDiff(4, 6), "nothing"},
		{spotDiff(7, 9), "nothing"},
		{restSnapshot(5), "snapshot 5, set 6, set 9"},
		{spotDiff(7, 9), "nothing"},
		{spotDiff(10, 10), "set 10"},
	},
	"spot: the bridging one lies after the snapshot": {
		{restSnapshot(5), "nothing"},
		{spotDiff(2, 5), "nothing"},
		{spotDiff(4, 7), "snapshot 5, set 7"},
		{spotDiff(8, 8), "set 8"},
	},
	"spot: next after the snapshot": {
		{restSnapshot(5), "nothing"},
		{spotDiff(6, 7), "snapshot 5, set 7"},
	},
	"spot: a snapshot that covers all that wait is bridged by the next": {
		{spotDiff(1, 3), "nothing"},
		{spotDiff(4, 6), "nothing"},
		{restSnapshot(6), "nothing"},
		{restSnapshot(5), "nothing"},
		{spotDiff(5, 6), "nothing"},
		{spotDiff(7, 9), "snapshot 6, set 9"},
	},
	"spot: a newer snapshot takes the place of one that is held": {
		{restSnapshot(5), "nothing"},
		{restSnapshot(7), "nothing"},
		{spotDiff(6, 7), "nothing"},
		{spotDiff(8, 8), "snapshot 7, set 8"},
	},
	"spot: a snapshot from before what was lost is never shown": {
		{restSnapshot(5), "nothing"},
		{spotDiff(6, 8), "snapshot 5, set 8"},
		{`{`, CodeMalformed},
		{restSnapshot(8), "nothing"},
		{spotDiff(12, 13), CodeSourceGap},
		{restSnapshot(8), CodeOldSnapshot},
		{restSnapshot(13), "nothing"},
		{spotDiff(14, 14), "snapshot 13, set 14"},
	},
	"spot: a gap after the snapshot": {
		{restSnapshot(5), "nothing"},
		{spotDiff(7, 8), CodeSourceGap},
		{spotDiff(9, 9), "nothing"},
		{restSnapshot(5), CodeOldSnapshot},
		{restSnapshot(6), "snapshot 6, set 8, set 9"},
	},
	"spot: a gap in the chain": {
		{restSnapshot(5), "nothing"},
		{spotDiff(6, 7), "snapshot 5, set 7"},
		{spotDiff(9, 9), CodeSourceGap},
		{restSnapshot(8), "snapshot 8, set 9"},
	},
	"spot: one that overlaps is applied, as its quantities are absolute": {
		{restSnapshot(5), "nothing"},
		{spotDiff(6, 7), "snapshot 5, set 7"},
		{spotDiff(7, 9), "set 9"},
		{spotDiff(8, 9), "nothing"},
		{spotDiff(4, 10), "set 10"},
		{spotDiff(12, 12), CodeSourceGap},
	},
	"spot: one that overlaps while it waits": {
		{spotDiff(1, 3), "nothing"},
		{spotDiff(2, 6), "nothing"},
		{spotDiff(4, 6), "nothing"},
		{spotDiff(6, 8), "nothing"},
		{restSnapshot(6), "snapshot 6, set 8"},
		{spotDiff(9, 9), "set 9"},
	},
	"spot: a gap among those that wait": {
		{spotDiff(1, 3), "nothing"},
		{spotDiff(5, 6), CodeSourceGap},
		{restSnapshot(3), CodeOldSnapshot},
		{restSnapshot(4), "snapshot 4, set 6"},
	},
	"a snapshot older than a whole book": {
		{restSnapshot(5), "nothing"},
		{spotDiff(6, 9), "snapshot 5, set 9"},
		{restSnapshot(7), "nothing"},
		{spotDiff(10, 11), "set 11"},
		{restSnapshot(11), "snapshot 11"},
		{spotDiff(12, 12), "set 12"},
		{restSnapshot(20), "snapshot 20"},
		{spotDiff(13, 19), "nothing"},
		{spotDiff(20, 22), "set 22"},
	},
	"a snapshot older than what was let go": {
		{restSnapshot(5), "nothing"},
		{spotDiff(6, 8), "snapshot 5, set 8"},
		{`{`, CodeMalformed},
		{restSnapshot(7), CodeOldSnapshot},
		{restSnapshot(8), "nothing"},
		{spotDiff(9, 9), "snapshot 8, set 9"},
	},
	"futures: chained by pu": {
		{futuresDiff(1, 3, 5), "nothing"},
		{futuresDiff(5, 8, 12), "nothing"},
		{futuresDiff(12, 15, 16), "nothing"},
		{restSnapshot(10), "snapshot 10, set 12, set 16"},
		{futuresDiff(16, 30, 31), "set 31"},
		{futuresDiff(30, 32, 33), CodeSourceGap},
		{futuresDiff(33, 40, 41), "nothing"},
		{restSnapshot(33), "snapshot 33, set 33, set 41"},
	},
	"futures: u equal to the snapshot's id is used": {
		{restSnapshot(10), "nothing"},
		{futuresDiff(3, 5, 9), "nothing"},
		{futuresDiff(9, 10, 10), "snapshot 10, set 10"},
		{futuresDiff(10, 14, 15), "set 15"},
	},
	"futures: not bridged": {
		{restSnapshot(10), "nothing"},
		{futuresDiff(9, 11, 12), CodeSourceGap},
	},
	"trades: one of the two streams, each once": {
		{fmt.Sprintf(binanceTradeText, 7, true), "trade 250 3 2"},
		{fmt.Sprintf(binanceTradeText, 7, true), "nothing"},
		{fmt.Sprintf(binanceTradeText, 8, false), "trade 250 3 1"},
		{`{"e":"aggTrade","s":"X","a":9,"p":"1","q":"1","m":true}`, "nothing"},
		{`{"e":"trade","s":"X","t":9,"p":"1","m":true}`, CodeMalformed},
	},
	"trades: the other of the two streams": {
		{`{"e":"aggTrade","s":"X","a":9,"p":"2.50","q":"3","m":true}`, "trade 250 3 2"},
		{fmt.Sprintf(binanceTradeText, 7, true), "nothing"},
		{fmt.Sprintf(binanceTradeText, 10, true), "nothing"},
		{`{"e":"aggTrade","s":"X","a":10,"p":"2.50","q":"0","m":true}`, "nothing"},
		{`{"e":"aggTrade","s":"X","a":10,"p":"2.50","q":"1","m":false}`, "trade 250 1 1"},
	},
	"what changes no book": {
		{`{"stream":"x@bookTicker","data":{"u":1,"s":"X","b":"1","B":"2","a":"3","A":"4"}}`, "heartbeat"},
		{`{"u":2,"s":"X","b":"1","B":"2","a":"3","A":"4"}`, "heartbeat"}, // spot's, which has no type
		{`{"e":"bookTicker","u":3,"s":"X","b":"1","B":"2","a":"3","A":"4","T":1,"E":2}`, "heartbeat"},
		{`{"stream":"x@depth20","data":{"lastUpdateId":9,"bids":[["1","1"]],"asks":[]}}`, "nothing"},
		{`{"result":null,"id":1}`, "nothing"},
	},
	"a bad record asks for a new snapshot": {
		{restSnapshot(5), "nothing"},
		{`{"e":"depthUpdate","E":1,"s":"X","U":6,"u":6,"b":[["1.001","1"]],"a":[]}`, CodeBadDecimal},
		{spotDiff(7, 7), "nothing"},
		{restSnapshot(6), "snapshot 6, set 7"},
		{`{"e":"depthUpdate","E":1,"s":"Y","U":8,"u":8,"b":[],"a":[]}`, CodeKeyMismatch},
		{`{"e":"depthUpdate","E":1,"s":"X","U":8,"u":8,"b":[["1","-1"]],"a":[]}`, CodeMalformed},
		{`{"e":"depthUpdate","E":1,"s":"X","U":8,"u":7,"b":[],"a":[]}`, CodeMalformed},
		{`{"e":"depthUpdate"`, CodeMalformed},
		{`{"lastUpdateId":0}`, CodeMalformed},
	},
}

func TestBinanceDiffsChainAsTheVenueSays(t *testing.T) {
	for name, steps := range binanceChains {
		t.Run(name, func(t *testing.T) {
			key := "BINANCE:X~2"
			x := fixedExponents{key: {Price: -2, Qty: 0}}
			codec := newBinanceCodec(x)
			kept := newBinanceCodec(x) // saved and restored after each step
			for i, s := range steps {
				if got := outcome(t, kept, key, s.value); got != s.want {
					t.Fatalf("step %d, restored: %q, want %q", i+1, got, s.want)
				}
				state := kept.(keeper).save(key, nil)
				kept = newBinanceCodec(x)
				if err := kept.(keeper).restore(key, state); err != nil {
					t.Fatalf("step %d: %v", i+1, err)
				}
				if got := outcome(t, codec, key, s.value); got != s.want {
					t.Fatalf("step %d: %q, want %q", i+1, got, s.want)
				}
			}
		})
	}
}

func TestBinanceStreamsThatLookLikeDiffsArePassedOver(t *testing.T) {
	codec := newBinanceCodec(fixedExponents{"BINANCE:X": {Price: -2, Qty: 0}})
	next := futuresDiff(12, 13, 14)
	for i, s := range []step{
		{restSnapshot(10), "nothing"},
		{futuresDiff(9, 10, 12), "snapshot 10, set 12"},
		{strings.Replace(next, "@depth@0ms", "@depth20@100ms", 1), "nothing"},
		{strings.Replace(next, "@depth@0ms", "@rpiDepth@500ms", 1), "nothing"},
		{`{"data":{"e":"depthUpdate","E":1,"s":"X","U":13,"u":14,"pu":12,"b":[["1.00","9"]],"a":[]},"stream":"x@depth5"}`, "nothing"},
		{strings.Replace(next, "@depth@0ms", "@depth", 1), "set 14"},
	} {
		if got := outcome(t, codec, "BINANCE:X", s.value); got != s.want {
			t.Fatalf("step %d: %s: %q, want %q", i+1, s.value, got, s.want)
		}
	}
}

// otherForm is a message in the combined form if it is bare, and bare if it is not.
func otherForm(value string) string {
	if bare, ok := strings.CutPrefix(value, `{"stream":`); ok {
		_, bare, _ = strings.Cut(bare, `"data":`)
		return strings.TrimSuffix(bare, "}")
	}
	return `{"stream":"x@depth","data":` + value + `}`
}

func TestBinanceBareAndCombinedFormSayTheSame(t *testing.T) {
	for name, steps := range binanceChains {
		t.Run(name, func(t *testing.T) {
			key := "BINANCE:X"
			codec := newBinanceCodec(fixedExponents{key: {Price: -2, Qty: 0}})
			for i, s := range steps {
				value := s.value
				if strings.Contains(value, `"e":`) { // what has no type is known by the form
					value = otherForm(value)
				}
				if got := outcome(t, codec, key, value); got != s.want {
					t.Fatalf("step %d: %s: %q, want %q", i+1, value, got, s.want)
				}
			}
		})
	}
}

func FuzzBinanceCodec(f *testing.F) {
	f.Add([]byte(spotDiff(1, 3) + "\n" + restSnapshot(2) + "\n" + spotDiff(4, 5)))
	f.Add([]byte(futuresDiff(1, 3, 5) + "\n" + restSnapshot(4)))
	f.Add([]byte(`{"stream":"x@trade","data":{"e":"trade","s":"X","t":1,"p":"1","q":"2","m":true}}`))
	f.Add([]byte(`{"stream":"x@bookTicker","data":{"u":1,"s":"X","b":"1","B":"2","a":"3","A":"4"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		values := bytes.Split(text, []byte{'\n'})
		fuzzCodec(t, newBinanceCodec(fixedExponents{}), "BINANCE:X", values)
		fuzzInspector(t, "binance", values)
	})
}

func BenchmarkBinanceCodec(b *testing.B) {
	session := binanceSessions[0]
	var values [][]byte
	bytesTotal := 0
	eachLine(b, session.files, func(line []byte) {
		_, value, _ := bytes.Cut(line, []byte{' '})
		values = append(values, bytes.Clone(value))
		bytesTotal += len(value)
	})
	b.ReportAllocs()
	b.SetBytes(int64(bytesTotal / len(values)))
	var codec Codec
	for i := 0; i < b.N; i++ {
		if i%len(values) == 0 {
			codec = newBinanceCodec(fixedExponents{session.symbol: session.exponents})
		}
		if _, err := codec.Decode(&Record{Key: []byte(session.symbol), Value: values[i%len(values)]}); err != nil {
			b.Fatal(err)
		}
	}
}
