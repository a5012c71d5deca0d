package proto

import (
	"testing"

	"github.com/depthcast/depthcast/proto/pb"
)

func TestPairOfASymbol(t *testing.T) {
	defined := func(base, quote string, kind pb.InstrumentType) *Instrument {
		return &Instrument{Base: base, Quote: quote, Type: uint8(kind)}
	}
	const spot = pb.InstrumentType_INSTRUMENT_TYPE_SPOT
	for _, c := range []struct {
		symbol     string
		instrument *Instrument
		want       Pair
	}{
		{"SIM:BTC-USD", nil, Pair{"BTC", "USD"}},
		{"SIM:BTC/USD", nil, Pair{"BTC", "USD"}},
		{"BTC_USD", nil, Pair{"BTC", "USD"}},
		{"BINANCE:btcusdt", nil, Pair{"BTC", "USDT"}},
		{"BINANCE:ETHBTC", nil, Pair{"ETH", "BTC"}},
		{"X:USDT", nil, Pair{}},
		{"X:A-B-C", nil, Pair{}},
		{"X:ACME", nil, Pair{}},
		{"X:BTC -USD", nil, Pair{}},
		{`X:BTC"-USD`, nil, Pair{}},
		{"", nil, Pair{}},
		{"SIM:77", defined("eth", "EUR", spot), Pair{"ETH", "EUR"}},
		{"SIM:BTC-USD", defined("BTC", "USD", pb.InstrumentType_INSTRUMENT_TYPE_PERPETUAL), Pair{}},
		{"SIM:BTC-USD", defined("", "", spot), Pair{"BTC", "USD"}},
	} {
		got, ok := PairOf(c.symbol, c.instrument)
		if ok != (c.want != Pair{}) || ok && got != c.want {
			t.Errorf("%s: %v %v, want %v", c.symbol, got, ok, c.want)
		}
	}
}
