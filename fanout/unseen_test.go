package fanout

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
)

// Names of a symbol that exists and is not granted, and of one that does not exist,
// wherever one is asked for: both become the same.
var unseen = strings.NewReplacer("ETX", "ETH", "etx", "eth")

// words returns what a server says in a protocol that a client opens, to each of
// messages: until the answer to a last one that names nothing.
func words(c *client, last, answer string, messages ...string) (said []string) {
	c.t.Helper()
	for _, m := range append(messages, last) {
		c.write(ws.OpText, []byte(m))
	}
	for {
		text := c.text()
		if strings.Contains(text, answer) {
			return said
		}
		said = append(said, unseen.Replace(text))
	}
}

func TestWhatIsNotGrantedIsToldAlikeWhetherItExistsOrNot(t *testing.T) {
	grants := map[string]*Grant{
		"one":   {User: "a", Symbols: []string{btc}},
		"late":  {User: "b", Symbols: []string{"*"}, MinDelay: 1}, // of books that are later than these: of nothing
		"other": {User: "c", Symbols: []string{"OTHER:*"}},
	}
	r, gate := gated(t, grants, nil)
	mux := http.NewServeMux()
	mux.Handle("/v1/", HTTPHandler(r.hub))
	mux.Handle("/dialect/", (&StreamHandler{Hub: r.hub, Log: slog.New(slog.DiscardHandler)}).Dialects())
	d := r.serve(&Guard{Hub: r.hub, Next: mux, Log: slog.New(slog.DiscardHandler)})
	for token := range grants {
		grant := gate.grants[token]
		ask := map[string]func(name string) string{}
		// As a WebSocket of the client protocol.
		for _, channel := range []string{"book", "trades", "orders", "ticker", "instruments", "candles"} {
			ask["stream, "+channel] = func(name string) string {
				c := r.connect(Accepted{Codec: proto.CodecJSON, grant: grant}, nil)
				item := fmt.Sprintf(`{"symbol":"SIM:%s-USD","channel":"%s","resume":{"epoch":"0000000000000007","seq":"0"}}`, name, channel)
				return strings.Join(words(c, `{"type":"ping"}`, `"pong"`, `{"type":"subscribe","items":[`+item+`]}`,
					strings.Replace(`{"type":"subscribe","items":[`+item+`]}`, "-USD", "-US*", 1)), "\n")
			}
		}
		// As exchanges' clients.
		for _, channel := range []string{"book", "trade", "ticker"} {
			ask["kraken, "+channel] = func(name string) string {
				c := r.arrive(Accepted{Codec: proto.CodecJSON, framing: framingKraken, grant: grant}, nil)
				of := fmt.Sprintf(`"params":{"channel":"%s","symbol":["%s/USD"]}}`, channel, name)
				said := words(c, `{"method":"ping"}`, `"pong"`, `{"method":"subscribe",`+of, `{"method":"unsubscribe",`+of)
				return strings.Join(said[1:], "\n") // without the greeting, which names the connection
			}
		}
		for _, stream := range []string{"depth", "depth5", "trade", "bookTicker"} {
			ask["binance, "+stream] = func(name string) string {
				c := r.arrive(Accepted{Codec: proto.CodecJSON, framing: framingBinance, grant: grant}, nil)
				of := fmt.Sprintf(`"params":["%susd@%s"],"id":1}`, strings.ToLower(name), stream)
				return strings.Join(words(c, `{"method":"GET_PROPERTY","params":["combined"],"id":2}`, `"id":2`,
					`{"method":"SUBSCRIBE",`+of, `{"method":"UNSUBSCRIBE",`+of, `{"method":"LIST_SUBSCRIPTIONS","id":3}`), "\n")
			}
		}
		// Over HTTP.
		for _, path := range []string{
			"/v1/books/SIM:%s-USD", "/v1/books/SIM:%s-USD?channel=orders", "/v1/books/SIM:%s-USD?depth=0&group=5", "/v1/sse?symbol=SIM:%s-USD",
			"/v1/poll?wait_ms=0&symbol=SIM:%s-USD", "/v1/poll?wait_ms=0&symbol=SIM:%s-US*",
			"/dialect/kraken/0/public/Depth?pair=%sUSD", "/dialect/kraken/0/public/Depth?pair=%s/USD", "/dialect/kraken/0/public/AssetPairs?pair=%sUSD",
			"/dialect/kraken/0/public/AssetPairs?pair=%s/USD", "/dialect/kraken/0/public/Assets?asset=%s",
			"/dialect/binance/api/v3/depth?symbol=%sUSD", "/dialect/binance/api/v3/depth?symbol=%sUSD&limit=5000",
			"/dialect/binance/api/v3/exchangeInfo?symbol=%sUSD", `/dialect/binance/api/v3/exchangeInfo?symbols=["%sUSD"]`,
		} {
			ask[path] = func(name string) string { return d.unseen(token, fmt.Sprintf(path, name)) }
		}
		for what, answer := range ask {
			exists, not := answer("ETH"), answer("ETX")
			if exists != not {
				t.Errorf("token %s, %s: one that exists\n%s\none that does not\n%s", token, what, exists, not)
			}
			if exists == "" || strings.Contains(exists, `"bids":[`) {
				t.Errorf("token %s, %s: %s", token, what, exists)
			}
		}
		// Lists have nothing of it.
		for _, path := range []string{
			"/v1/symbols", "/dialect/kraken/0/public/AssetPairs", "/dialect/kraken/0/public/Assets", "/dialect/binance/api/v3/exchangeInfo",
		} {
			list := d.unseen(token, path)
			if strings.Contains(list, "ETH") || strings.Contains(list, "BTC") != (token == "one") || !strings.HasPrefix(list, "200 ") {
				t.Errorf("token %s, %s: %s", token, path, list)
			}
		}
	}
}

// unseen returns the answer that the bearer of a token gets, with what is the same in
// all its names.
func (d *door) unseen(token, path string) string {
	d.rig.t.Helper()
	status, header, body := d.request("GET " + strings.ReplaceAll(path, `"`, "%22") + " HTTP/1.1\nHost: a\nAuthorization: Bearer " + token + "\nConnection: close\n\n")
	header.Del("Date")
	for at := strings.Index(body, "retry: "); at >= 0; at = strings.Index(body, "retry: ") { // is drawn
		line, rest, _ := strings.Cut(body[at:], "\n")
		body = body[:at] + line[:len("retry")] + rest
	}
	return unseen.Replace(fmt.Sprintf("%d %v %s", status, header, body))
}
