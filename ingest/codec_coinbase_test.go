package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// coinbaseLevel2 is a message of Advanced Trade that sets the bid at 21921.73 to
// qty, with the members of the example in "Advanced Trade WebSocket Channels".
func coinbaseLevel2(kind string, sequence, qty int) string {
	return fmt.Sprintf(`{"channel":"l2_data","client_id":"","timestamp":"2023-02-09T20:32:50.714964855Z","sequence_num":%d,"events":[{"type":%q,"product_id":"BTC-USD","updates":[`+
		`{"side":"bid","event_time":"1970-01-01T00:00:00Z","price_level":"21921.73","new_quantity":"%d"},`+
		`{"side":"offer","event_time":"2023-02-09T20:32:50.5Z","price_level":"21921.80","new_quantity":"0"}]}]}`, sequence, kind, qty)
}

// coinbaseTradesText is a message of Advanced Trade, latest trade first.
const coinbaseTradesText = `{"channel":"market_trades","client_id":"","timestamp":"2023-02-09T20:19:35.39625135Z","sequence_num":%d,"events":[{"type":"snapshot","trades":[` +
	`{"trade_id":"%d","product_id":"BTC-USD","price":"2.50","size":"3","side":"BUY","time":"2019-08-14T20:42:27.265Z"},` +
	`{"trade_id":"%d","product_id":"BTC-USD","price":"2.40","size":"1","side":"SELL","time":"2019-08-14T20:42:26.265Z"}]}]}`

func coinbaseHeartbeat(sequence int) string {
	return fmt.Sprintf(`{"channel":"heartbeats","client_id":"","timestamp":"2023-06-23T20:31:26.122969572Z","sequence_num":%d,"events":[{"current_time":"2023-06-23 20:31:56.121961769 +0000 UTC m=+91717.525857105","heartbeat_counter":"3049"}]}`, sequence)
}

// The messages of Exchange.
const (
	coinbaseSnapshotText = `{"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","4"],["10101.00","1"]],"asks":[["10102.55","5"]]}`
	coinbaseUpdateText   = `{"type":"l2update","product_id":"BTC-USD","time":"2019-08-14T20:42:27.265Z","changes":[["buy","10101.80",%q],["sell","10102.55","0"]]}`
	coinbaseMatchText    = `{"type":%q,"trade_id":%d,"sequence":50,"maker_order_id":"ac928c66-ca53-498f-9c13-a110027a60e8","taker_order_id":"132fb6ae-456b-4654-b4e0-d681ac05cea1","time":"2014-11-07T08:19:27.028459Z","product_id":"BTC-USD","size":"5","price":"400.23","side":"sell"}`
)

var coinbaseChains = map[string][]step{
	"one number after the other, whatever the channel": {
		{coinbaseLevel2("update", 4, 4), "nothing"},
		{coinbaseLevel2("snapshot", 5, 5), "snapshot 5"},
		{coinbaseLevel2("update", 6, 6), "set 6"},
		{coinbaseHeartbeat(7), "heartbeat"},
		{fmt.Sprintf(coinbaseTradesText, 8, 101, 100), "trade 240 1 1, trade 250 3 2"},
		{coinbaseLevel2("update", 9, 9), "set 9"},
		{coinbaseLevel2("update", 9, 9), "nothing"},
		{fmt.Sprintf(coinbaseTradesText, 10, 101, 100), "nothing"},
		{coinbaseLevel2("update", 11, 11), "set 11"},
	},
	"a gap needs a snapshot": {
		{coinbaseLevel2("snapshot", 5, 5), "snapshot 5"},
		{coinbaseLevel2("update", 7, 7), CodeSourceGap},
		{coinbaseLevel2("update", 8, 8), "nothing"},
		{coinbaseLevel2("snapshot", 0, 9), "snapshot 9"},
		{coinbaseLevel2("update", 1, 1), "set 1"},
	},
	"a gap before another channel's message": {
		{coinbaseLevel2("snapshot", 5, 5), "snapshot 5"},
		{coinbaseHeartbeat(7), CodeSourceGap},
		{coinbaseLevel2("update", 8, 8), "nothing"},
	},
	"a count that begins anew without a snapshot": {
		{coinbaseLevel2("snapshot", 5, 5), "snapshot 5"},
		{coinbaseLevel2("update", 1, 1), CodeSourceGap},
		{coinbaseLevel2("update", 2, 2), "nothing"},
	},
	"a bad trade leaves the book alone": {
		{coinbaseLevel2("snapshot", 5, 5), "snapshot 5"},
		{strings.Replace(fmt.Sprintf(coinbaseTradesText, 6, 2, 1), `"2.50"`, `"2.505"`, 1), CodeBadDecimal},
		{coinbaseLevel2("update", 7, 7), "set 7"},
	},
	"Exchange": {
		{fmt.Sprintf(coinbaseUpdateText, "7"), "nothing"},
		{coinbaseSnapshotText, "snapshot 4"},
		{fmt.Sprintf(coinbaseUpdateText, "7"), "set 7"},
		{fmt.Sprintf(coinbaseMatchText, "last_match", 10), "trade 40023 5 1"},
		{fmt.Sprintf(coinbaseMatchText, "match", 10), "nothing"},
		{fmt.Sprintf(coinbaseMatchText, "match", 11), "trade 40023 5 1"},
		{`{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2014-11-07T08:19:28.464459Z"}`, "heartbeat"},
		{`{"type":"subscriptions","channels":[{"name":"level2","product_ids":["BTC-USD"]}]}`, "heartbeat"},
		{fmt.Sprintf(coinbaseUpdateText, "7.5"), CodeBadDecimal},
		{fmt.Sprintf(coinbaseUpdateText, "8"), "nothing"},
	},
	"a bad record asks for a new snapshot": {
		{coinbaseLevel2("snapshot", 5, 5), "snapshot 5"},
		{strings.Replace(coinbaseLevel2("update", 6, 6), `"offer"`, `"ask"`, 1), CodeMalformed},
		{coinbaseLevel2("update", 7, 7), "nothing"},
		{coinbaseLevel2("replace", 7, 7), CodeMalformed},
		{strings.Replace(coinbaseLevel2("snapshot", 7, 7), `BTC-USD`, `ETH-USD`, 1), CodeKeyMismatch},
		{strings.Replace(coinbaseLevel2("snapshot", 7, 7), `"product_id":"BTC-USD",`, ``, 1), CodeMalformed},
		{strings.Replace(coinbaseLevel2("snapshot", 7, 7), `1970-01-01T`, `yesterday `, 1), CodeMalformed},
		{strings.Replace(coinbaseLevel2("snapshot", 7, 7), `"price_level":"21921.73",`, ``, 1), CodeMalformed},
		{`{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1"]]}`, CodeMalformed},
		{`{"channel":"l2_data"`, CodeMalformed},
	},
}

func TestCoinbaseMessagesAreReadAsTheVenueSays(t *testing.T) {
	for name, steps := range coinbaseChains {
		t.Run(name, func(t *testing.T) {
			key := "COINBASE:BTC-USD"
			codec := newCoinbaseCodec(fixedExponents{key: {Price: -2, Qty: 0}})
			for i, s := range steps {
				if got := outcome(t, codec, key, s.value); got != s.want {
					t.Fatalf("step %d: %q, want %q", i+1, got, s.want)
				}
			}
		})
	}
}

func TestCoinbaseSnapshotAndUpdateOfOneMessageAreOneBatch(t *testing.T) {
	codec := newCoinbaseCodec(fixedExponents{})
	first, second := coinbaseLevel2("snapshot", 5, 5), coinbaseLevel2("update", 5, 6)
	event := second[strings.Index(second, `[{"type"`)+1:]
	if got := outcome(t, codec, "COINBASE:BTC-USD", strings.TrimSuffix(first, "]}")+","+event); got != "snapshot 500000000, set 600000000" {
		t.Fatal(got)
	}
	b, err := codec.Decode(&Record{Key: []byte("COINBASE:BTC-USD"), Value: []byte(coinbaseLevel2("update", 6, 7))})
	if want := time.Date(2023, 2, 9, 20, 32, 50, 5e8, time.UTC).UnixNano(); err != nil || b.VenueTime != want {
		t.Fatalf("venue time %d, want %d; %v", b.VenueTime, want, err)
	}
}

func TestCoinbaseGapNamesBothNumbers(t *testing.T) {
	codec := newCoinbaseCodec(fixedExponents{})
	outcome(t, codec, "COINBASE:BTC-USD", coinbaseLevel2("snapshot", 1010, 1))
	_, err := codec.Decode(&Record{Key: []byte("COINBASE:BTC-USD"), Value: []byte(coinbaseLevel2("update", 2020, 1))})
	var refused *proto.RecordError
	if !errors.As(err, &refused) || refused.Reason != proto.ReasonSourceGap || !strings.Contains(err.Error(), "1010") || !strings.Contains(err.Error(), "2020") {
		t.Fatalf("%v", err)
	}
}

func FuzzCoinbaseCodec(f *testing.F) {
	for _, steps := range coinbaseChains {
		var text []string
		for _, s := range steps {
			text = append(text, s.value)
		}
		f.Add([]byte(strings.Join(text, "\n")))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzCodec(t, newCoinbaseCodec(fixedExponents{}), "COINBASE:BTC-USD", bytes.Split(text, []byte{'\n'}))
	})
}
