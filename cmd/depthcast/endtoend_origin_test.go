package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/fanout/door"
	"github.com/depthcast/depthcast/proto"
)

// Pages of others cannot read what is answered over HTTP, whatever they ask and
// whoever asks through them: no answer, and no refusal, has a header of CORS, and
// nobody's cookie counts for them.
func TestEndToEndAnswersOverHTTPAreNotForPagesOfOthers(t *testing.T) {
	t.Parallel()
	key, entry, err := door.NewEntry("alice", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	const friend, stranger = "https://friend.example", "https://stranger.example"
	l := newLab(t, 1)
	l.writeRaw(l.producer(), fractional("SIM:BTC-USD", sessionStart, proto.Event{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: 99, Qty: 1}}, Asks: []proto.Level{{Price: 101, Qty: 2}}}))
	r := l.serve(func(_ *readFlags, f *serverFlags) {
		f.Dialects, f.AuthKeys, f.AuthCookie, f.AllowOrigin = true, keyFile(t, "\n"+entry), "depthcast_token", []pageOrigin{friend}
	})
	r.caughtUpTo(l)
	paths := []string{
		"/", "/v1/symbols", "/v1/status", "/v1/books/SIM:BTC-USD?depth=5", "/v1/sse?symbol=SIM:BTC-USD", "/v1/poll?symbol=SIM:BTC-USD", "/v1/nothing",
		"/dialect/kraken/0/public/AssetPairs", "/dialect/kraken/0/public/Depth?pair=BTCUSD", "/dialect/kraken/0/public/Nothing",
		"/dialect/binance/api/v3/depth?symbol=BTCUSD", "/dialect/binance/api/v3/exchangeInfo", "/dialect/binance/api/v3/nothing",
	}
	// status is that of an answer, whose header holds nothing for pages of others.
	status := func(method, path string, header ...string) int {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, r.url()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() // an event stream ends with it
		for name := range resp.Header {
			if strings.HasPrefix(name, "Access-Control-") || name == "Timing-Allow-Origin" {
				t.Errorf("%s %s: %d with %s", method, path, resp.StatusCode, name)
			}
		}
		return resp.StatusCode
	}
	for _, path := range paths {
		for _, origin := range []string{stranger, friend, "null"} {
			cookie, own := status(http.MethodGet, path, "Origin", origin, "Cookie", "depthcast_token="+key), status(http.MethodGet, path, "Origin", origin, "Authorization", "Bearer "+key)
			switch {
			case path == "/": // is for everybody
				if cookie != http.StatusOK || own != http.StatusOK {
					t.Errorf("the page for a page of %s: %d, %d", origin, cookie, own)
				}
				continue
			case origin == friend && cookie != own, origin != friend && cookie < 400:
				t.Errorf("%s for a page of %s with its visitor's cookie: %d, with a token of its own %d", path, origin, cookie, own)
			case own == http.StatusUnauthorized || own == http.StatusForbidden:
				t.Errorf("%s for a page of %s that has a token of its own: %d", path, origin, own)
			}
			for _, method := range []string{http.MethodOptions, http.MethodPost} {
				got := status(method, path, "Origin", origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization", "Authorization", "Bearer "+key)
				if got < 400 {
					t.Errorf("%s %s of a page of %s: %d", method, path, origin, got)
				}
			}
		}
		if got := status(http.MethodGet, path, "Cookie", "depthcast_token="+key); got == http.StatusUnauthorized {
			t.Errorf("%s with a cookie of our own page: %d", path, got)
		}
	}
}
