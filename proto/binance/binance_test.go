package binance

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

func TestStreamNamesReadAsTheyAreWritten(t *testing.T) {
	for name, want := range map[string]Stream{
		"btcusdt@depth":         {ID: "BTCUSDT", Kind: Diff},
		"btcusdt@depth@100ms":   {ID: "BTCUSDT", Kind: Diff, Speed: Fast},
		"btcusdt@depth@1000ms":  {ID: "BTCUSDT", Kind: Diff, Speed: Slow},
		"btcusdt@depth5":        {ID: "BTCUSDT", Kind: Partial, Levels: 5},
		"btcusdt@depth20@100ms": {ID: "BTCUSDT", Kind: Partial, Levels: 20, Speed: Fast},
		"btcusdt@trade":         {ID: "BTCUSDT", Kind: Trades},
		"btcusdt@bookTicker":    {ID: "BTCUSDT", Kind: Quote},
	} {
		got, ok := ParseStream(name)
		if !ok || got != want || got.Name() != name {
			t.Errorf("%s: %+v %v, named %s", name, got, ok, got.Name())
		}
	}
	for _, name := range []string{"", "@depth", "BTCUSDT@depth", "btcusdt", "btcusdt@depth7", "btcusdt@depth@10ms", "btcusdt@trade@100ms", "btcusdt@kline_1m"} {
		if got, ok := ParseStream(name); ok {
			t.Errorf("%s is %+v", name, got)
		}
	}
}

func TestDiffNamesTheRangeOfItsIDs(t *testing.T) {
	d := &proto.Delta{PrevSeq: 156, Seq: 160, Bids: []proto.Level{{Price: 24, Qty: 10}}, Times: proto.Times{Venue: 1672515782136e6}}
	got := string(AppendDiff(nil, "BNBBTC", proto.Exponents{Price: -4}, d))
	if want := `{"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,"b":[["0.00240000","10.00000000"]],"a":[]}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Clients take a level away when its quantity is the text 0.00000000: python-binance
// keeps one that is 0.000.
func TestNumbersHaveEightDecimals(t *testing.T) {
	for _, c := range []struct {
		mantissa int64
		exponent int8
		want     string
	}{
		{0, 0, "0.00000000"}, {0, -3, "0.00000000"}, {0, 2, "0.00000000"}, {0, -12, "0.00000000"},
		{5, 0, "5.00000000"}, {5, 2, "500.00000000"}, {1234, -2, "12.34000000"}, {-1, -3, "-0.00100000"}, {1, -8, "0.00000001"},
		{1, -10, "0.0000000001"}, // more where there are more
	} {
		if got := string(appendQuoted(nil, c.mantissa, c.exponent)); got != `"`+c.want+`"` {
			t.Errorf("%d e%d is %s, want %s", c.mantissa, c.exponent, got, c.want)
		}
	}
	m := (&Instrument{Exponents: proto.Exponents{Price: -2, Qty: -3}, Tick: 25}).Market()
	if m.Filters[0]["tickSize"] != "0.25000000" || m.Filters[1]["stepSize"] != "0.00100000" {
		t.Errorf("filters %v", m.Filters)
	}
}

func TestSideWithoutLevelsHasAQuoteOfZero(t *testing.T) {
	got := string(AppendQuote(nil, "BNBUSDT", 7, []proto.Level{{Price: 2535, Qty: 31}}, nil, proto.Exponents{Price: -2, Qty: -1}))
	if want := `{"u":7,"s":"BNBUSDT","b":"25.35000000","B":"3.10000000","a":"0.00000000","A":"0.00000000"}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRequestThatIsWrongKeepsItsID(t *testing.T) {
	for msg, id := range map[string]string{
		`{"method":"SUBSCRIBE","params":"btcusdt@depth","id":7}`:          "7",
		`{"id":"a-1","method":5}`:                                         `"a-1"`,
		`{"method":"SUBSCRIBE","params":{"0":"btcusdt@depth"},"id":null}`: "null",
		`{"method":"SUBSCRIBE","params":7,"id":1.5}`:                      "null",
		`[1]`: "null",
	} {
		r, err := Decode([]byte(msg))
		if err == nil || string(r.ID) != id {
			t.Errorf("%s: %v, of the request %s", msg, err, r.ID)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"method":"SUBSCRIBE","params":["btcusdt@depth","btcusdt@trade"],"id":1}`))
	f.Add([]byte(`{"method":"SET_PROPERTY","params":["combined",true],"id":"abc"}`))
	f.Add([]byte(`{"method":"LIST_SUBSCRIPTIONS","id":null}`))
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, err := Decode(msg)
		var bad *RequestError
		if err != nil && !errors.As(err, &bad) {
			t.Fatalf("refused by %T", err)
		}
		answer := AppendResult(nil, "null", r.ID)
		if bad != nil {
			answer = AppendError(nil, bad, r.ID)
		}
		if !json.Valid(answer) {
			t.Errorf("the answer is no JSON: %s", answer)
		}
		for _, name := range r.Streams {
			if s, ok := ParseStream(name); ok {
				if again, ok := ParseStream(s.Name()); !ok || again != s {
					t.Errorf("%q is %+v, whose name is %q", name, s, s.Name())
				}
			}
		}
	})
}
