package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// krakenGuide is a snapshot with the levels and the checksum of the example in
// Kraken's guide "Book checksum (WebSocket v2)".
const krakenGuide = `{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[` +
	`{"price":45283.5,"qty":0.10000000},{"price":45283.4,"qty":1.54582015},{"price":45282.1,"qty":0.10000000},{"price":45281.0,"qty":0.10000000},{"price":45280.3,"qty":1.54592586},` +
	`{"price":45279.0,"qty":0.07990000},{"price":45277.6,"qty":0.03310103},{"price":45277.5,"qty":0.30000000},{"price":45277.3,"qty":1.54602737},{"price":45276.6,"qty":0.15445238}],"asks":[` +
	`{"price":45285.2,"qty":0.00100000},{"price":45286.4,"qty":1.54571953},{"price":45286.6,"qty":1.54571109},{"price":45289.6,"qty":1.54560911},{"price":45290.2,"qty":0.15890660},` +
	`{"price":45291.8,"qty":1.54553491},{"price":45294.7,"qty":0.04454749},{"price":45296.1,"qty":0.35380000},{"price":45297.5,"qty":0.09945542},{"price":45299.5,"qty":0.18772827}],"checksum":3310070434}]}`

const krakenTrades = `{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":45283.5,"qty":0.02,"ord_type":"limit","trade_id":7,"timestamp":"2023-10-06T17:35:55.440295Z"},` +
	`{"symbol":"BTC/USD","side":"buy","price":45285.2,"qty":0.03,"ord_type":"market","trade_id":8,"timestamp":"2023-10-06T17:35:55.440296Z"}]}`

func TestKrakenV2PassesTheChecksumOfTheVenuesGuide(t *testing.T) {
	key := "KRAKEN:BTC/USD"
	for name, x := range map[string]fixedExponents{"defined": {key: {Price: -1, Qty: -8}}, "undefined": {}} {
		codec := newKrakenCodec(x)
		b, err := codec.Decode(&Record{Key: []byte(key), Value: []byte(krakenGuide)})
		if err != nil || b.Events[0].Kind != proto.EventSnapshot || len(b.Events[0].Bids) != 10 || b.Events[0].MaxLevels != 10 {
			t.Fatalf("%s: %+v, %v", name, b, err)
		}
		wrong := strings.Replace(krakenGuide, "3310070434", "3310070435", 1)
		if got := outcome(t, codec, key, wrong); got != CodeChecksum {
			t.Fatalf("%s: a wrong checksum: %s", name, got)
		}
	}
}

// krakenBookV2 is a book message of one ask at 2.0 and of bids.
func krakenBookV2(kind, bids string, sum uint32) string {
	return fmt.Sprintf(`{"channel":"book","type":%q,"data":[{"symbol":"X/Y","bids":[%s],"asks":[{"price":2.0,"qty":1.0}],"checksum":%d,"timestamp":"2023-10-06T17:35:55.440295Z"}]}`, kind, bids, sum)
}

func TestKrakenV2MessagesAreReadAsTheVenueSays(t *testing.T) {
	key := "KRAKEN:X/Y"
	codec := newKrakenCodec(fixedExponents{key: {Price: -1, Qty: -1}})
	bid := func(qty string) string { return `{"price":1.0,"qty":` + qty + `}` }
	trades := strings.ReplaceAll(krakenTrades, "BTC/USD", "X/Y")
	trades = strings.NewReplacer("45283.5", "1.5", "45285.2", "2.5", "0.02", "2", "0.03", "3").Replace(trades)
	for i, s := range []step{
		{krakenBookV2("update", bid("1.0"), 1), "nothing"},
		{`{"channel":"heartbeat"}`, "heartbeat"},
		{`{"channel":"status","type":"update","data":[{"system":"online","api_version":"v2"}]}`, "heartbeat"},
		{`{"channel":"level3","type":"snapshot","data":[{"symbol":"X/Y","bids":[{"order_id":"O","limit_price":1,"order_qty":1}],"checksum":1}]}`, "heartbeat"},
		{krakenBookV2("snapshot", bid("6.0"), krakenText("2010"+"1060")), "snapshot 60"},
		{krakenBookV2("update", bid("7.0"), krakenText("2010"+"1070")), "set 70"},
		{krakenBookV2("update", `{"price":"1.0","qty":"8.0"}`, krakenText("2010"+"1080")), "set 80"},
		{trades, "trade 15 20 2, trade 25 30 1"},
		{trades, "nothing"},
		{krakenBookV2("update", bid("9.0"), 1), CodeChecksum},
		{krakenBookV2("update", bid("9.0"), krakenText("2010"+"1090")), "nothing"},
		{krakenBookV2("replace", bid("9.0"), 1), CodeMalformed},
		{krakenBookV2("snapshot", bid("9.01"), 1), CodeBadDecimal},
		{krakenBookV2("snapshot", `{"price":1.0}`, 1), CodeMalformed},
		{krakenBookV2("snapshot", bid("-9.0"), 1), CodeMalformed},
		{`{"channel":"book","type":"snapshot","data":[]}`, CodeMalformed},
		{`{"channel":"book","type":"snapshot","data":[{"symbol":"X/Y"},{"symbol":"X/Y"}]}`, CodeMalformed},
		{`{"channel":"trade","type":"update","data":[{"symbol":"X/Y","side":"buy","qty":1,"trade_id":9}]}`, CodeMalformed},
		{strings.Replace(krakenBookV2("snapshot", bid("1.0"), 1), "X/Y", "Z/Y", 1), CodeKeyMismatch},
	} {
		if got := outcome(t, codec, key, s.value); got != s.want {
			t.Fatalf("message %d: %q, want %q", i+1, got, s.want)
		}
	}
	b, err := codec.Decode(&Record{Key: []byte(key), Value: []byte(krakenBookV2("snapshot", bid("6.0"), krakenText("2010"+"1060")))})
	if want := time.Date(2023, 10, 6, 17, 35, 55, 440295000, time.UTC).UnixNano(); err != nil || b.VenueTime != want {
		t.Fatalf("venue time %d, want %d; %v", b.VenueTime, want, err)
	}
}

func TestKrakenV2DepthIsCertainOrNotOutgrown(t *testing.T) {
	bids := func(from, n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"price":1.%03d,"qty":1.0}`, from+i))
		}
		return strings.Join(all, ",")
	}
	message := func(kind, bids string) string {
		return fmt.Sprintf(`{"channel":"book","type":%q,"data":[{"symbol":"X/Y","bids":[%s],"asks":[]}]}`, kind, bids)
	}
	answer := `{"method":"subscribe","result":{"channel":"book","depth":100,"snapshot":true,"symbol":"X/Y"},"success":true}`
	for name, c := range map[string]struct {
		messages []string
		depth    uint32
		grown    string // what comes of 200 further levels
	}{
		"a full side":             {[]string{message("snapshot", bids(0, 25))}, 25, "set 100000000"},
		"as subscribed":           {[]string{answer, message("snapshot", bids(0, 12))}, 100, "set 100000000"},
		"supposed":                {[]string{message("snapshot", bids(0, 12))}, 25, CodeDepth},
		"covered by the checksum": {[]string{message("snapshot", bids(0, 7))}, 10, "set 100000000"},
		"subscribed to less":      {[]string{answer, message("snapshot", bids(0, 500))}, 500, "set 100000000"},
		"within what is supposed": {[]string{message("snapshot", bids(0, 700))}, 1000, "set 100000000"},
	} {
		codec := newKrakenCodec(fixedExponents{})
		var depth uint32
		for _, m := range c.messages {
			b, err := codec.Decode(&Record{Key: []byte("KRAKEN:X/Y"), Value: []byte(m)})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			depth = b.Events[0].MaxLevels
		}
		if depth != c.depth {
			t.Errorf("%s: depth %d, want %d", name, depth, c.depth)
		}
		if got := outcome(t, codec, "KRAKEN:X/Y", message("update", bids(750, 200))); got != c.grown {
			t.Errorf("%s: %q, want %q", name, got, c.grown)
		}
	}
}
