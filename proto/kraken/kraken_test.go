package kraken

import (
	"encoding/json"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
)

// The example of Kraken's "Book Checksum" guide for version 2: prices with one
// decimal, quantities with eight.
func TestChecksumIsThatOfThePublishedExample(t *testing.T) {
	x := proto.Exponents{Price: -1, Qty: -8}
	level := func(price, qty int64) proto.Level { return proto.Level{Price: price, Qty: qty} }
	asks := []proto.Level{
		level(452852, 100000), level(452864, 154571953), level(452866, 154571109), level(452896, 154560911), level(452902, 15890660),
		level(452918, 154553491), level(452947, 4454749), level(452961, 35380000), level(452975, 9945542), level(452995, 18772827),
	}
	bids := []proto.Level{
		level(452835, 10000000), level(452834, 154582015), level(452821, 10000000), level(452810, 10000000), level(452803, 154592586),
		level(452790, 7990000), level(452776, 3310103), level(452775, 30000000), level(452773, 154602737), level(452766, 15445238),
	}
	if sum := Checksum(bids, asks, x); sum != 3310070434 {
		t.Errorf("checksum %d, want 3310070434", sum)
	}
}

// digitsOf is the rule as it is written: no point, no zeros at the beginning.
func digitsOf(mantissa int64, exponent int8) string {
	return strings.TrimLeft(strings.ReplaceAll(string(proto.AppendDecimal(nil, mantissa, exponent)), ".", ""), "0")
}

func TestChecksumIsOverTheDigitsAsTheyAreWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exponent := rapid.Int8Range(proto.MinExponent, proto.MaxExponent)
		x := proto.Exponents{Price: exponent.Draw(t, "price exponent"), Qty: exponent.Draw(t, "qty exponent")}
		side := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) proto.Level {
			return proto.Level{Price: rapid.Int64().Draw(t, "price"), Qty: rapid.Int64Min(0).Draw(t, "qty")}
		}), 0, 14)
		bids, asks := side.Draw(t, "bids"), side.Draw(t, "asks")
		var text strings.Builder
		for _, levels := range [][]proto.Level{asks, bids} {
			for _, l := range levels[:min(10, len(levels))] {
				text.WriteString(digitsOf(l.Price, x.Price) + digitsOf(l.Qty, x.Qty))
			}
		}
		if got, want := Checksum(bids, asks, x), crc32.ChecksumIEEE([]byte(text.String())); got != want {
			t.Fatalf("%d, want %d of %s", got, want, text.String())
		}
	})
}

// eager is a side of a book whose client cuts it to depth after every level, not
// after every message, as some do: rising prices, quantities by price.
type eager struct {
	depth int
	qty   map[int64]int64
}

func (e *eager) set(price, qty int64) {
	e.qty[price] = qty
	if qty == 0 {
		delete(e.qty, price)
	}
	if prices := slices.Sorted(maps.Keys(e.qty)); len(prices) > e.depth {
		delete(e.qty, prices[e.depth])
	}
}

// best returns the depth lowest of levels.
func best(levels map[int64]int64, depth int) map[int64]int64 {
	shown := map[int64]int64{}
	prices := slices.Sorted(maps.Keys(levels))
	for _, price := range prices[:min(depth, len(prices))] {
		shown[price] = levels[price]
	}
	return shown
}

func TestClientThatCutsItsBookAfterEveryLevelLosesNone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		book := rapid.MapOfN(rapid.Int64Range(1, 12), rapid.Int64Range(1, 2), 0, 10)
		depth := rapid.IntRange(1, 6).Draw(t, "depth")
		levels := book.Draw(t, "book")
		before := best(levels, depth)
		maps.Copy(levels, rapid.MapOfN(rapid.Int64Range(1, 12), rapid.Int64Range(0, 1), 1, 6).Draw(t, "changes"))
		maps.DeleteFunc(levels, func(_, qty int64) bool { return qty == 0 })
		after := best(levels, depth)
		d := &proto.Delta{}
		for price := range int64(13) {
			if before[price] != after[price] {
				d.Asks = append(d.Asks, proto.Level{Price: price, Qty: after[price]})
			}
		}
		var m struct {
			Data []struct{ Asks []struct{ Price, Qty int64 } }
		}
		if err := json.Unmarshal(AppendUpdate(nil, "A/B", proto.Exponents{}, d, 0), &m); err != nil {
			t.Fatal(err)
		}
		client := eager{depth, maps.Clone(before)}
		for _, l := range m.Data[0].Asks {
			client.set(l.Price, l.Qty)
		}
		if len(m.Data[0].Asks) != len(d.Asks) || !maps.Equal(client.qty, after) {
			t.Fatalf("from %v by %v it comes to %v, want %v", before, m.Data[0].Asks, client.qty, after)
		}
	})
}

func TestWhatIsNotKnownOfATickerIsLeftOutButItsQuote(t *testing.T) {
	got := string(AppendTicker(nil, "BTC/USD", proto.Exponents{Price: -1, Qty: -2}, &proto.Ticker{
		Last: proto.Optional{Value: 1005, Set: true}, Change: proto.Optional{Value: 5, Set: true},
	}, true))
	want := `{"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","bid":0.0,"bid_qty":0.00,"ask":0.0,"ask_qty":0.00,` +
		`"last":100.5,"change":0.5,"change_pct":0.50,"timestamp":"1970-01-01T00:00:00.000000Z"}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCorrectionsOfTradesAreNotTold(t *testing.T) {
	trades := &proto.Trades{Trades: []proto.Trade{{Ordinal: 1, Flags: proto.TradeCancellation}}}
	if got := AppendTrades(nil, "A/B", proto.Exponents{}, trades); len(got) != 0 {
		t.Errorf("told: %s", got)
	}
	trades.Trades = append(trades.Trades, proto.Trade{Ordinal: 2, Price: 3, Qty: 4, Aggressor: proto.AggressorSell, VenueTime: 1e9})
	want := `{"channel":"trade","type":"update","data":[{"symbol":"A/B","side":"sell","price":3,"qty":4,"ord_type":"market","trade_id":2,"timestamp":"1970-01-01T00:00:01.000000Z"}]}`
	if got := string(AppendTrades(nil, "A/B", proto.Exponents{}, trades)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestInstrumentsAreJSON(t *testing.T) {
	list := []Instrument{
		{Pair: proto.Pair{Base: "BTC", Quote: "USD"}, Exponents: proto.Exponents{Price: -2, Qty: -8}, Tick: 25, Lot: 1000},
		{Pair: proto.Pair{Base: "ETH", Quote: "USD"}, Exponents: proto.Exponents{Price: 2, Qty: 0}, Ended: true},
	}
	var m struct {
		Data struct {
			Assets []struct {
				ID        string
				Precision int
			}
			Pairs []struct {
				Symbol, Status string
				Tick           json.Number `json:"tick_size"`
				Precision      int         `json:"price_precision"`
			}
		}
	}
	if err := json.Unmarshal(AppendInstruments(nil, list, true), &m); err != nil {
		t.Fatal(err)
	}
	p := m.Data.Pairs
	if len(m.Data.Assets) != 3 || len(p) != 2 || p[0].Tick != "0.25" || p[0].Precision != 2 || p[1].Tick != "100" || p[1].Status != "delisted" {
		t.Errorf("got %+v", m)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":25,"snapshot":true},"req_id":1}`))
	f.Add([]byte(`{"method":"ping"}`))
	f.Add([]byte(`[1,2`))
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, err := Decode(msg)
		if err == nil && r.Method == "" {
			t.Error("a request without a method")
		}
		a := Answer{Method: r.Method, ReqID: r.ReqID, Channel: r.Params.Channel, Snapshot: r.Params.Snapshot}
		if len(r.Params.Symbol) > 0 {
			a.Symbol = r.Params.Symbol[0]
		}
		if err != nil {
			a.Error = err.Error()
		}
		if b := AppendAnswer(nil, &a); !json.Valid(b) {
			t.Errorf("the answer is no JSON: %s", b)
		}
	})
}
