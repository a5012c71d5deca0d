package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/depthcast/depthcast/fanout/door"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// exchangeClient is a client of an exchange: it knows WebSocket, and nothing of ours.
type exchangeClient struct {
	net.Conn
	t     *testing.T
	ahead *bufio.Reader // what came with the handshake; nil: nothing
}

// exchange connects below /dialect/; without a client the status is that of the refusal.
func (r *running) exchange(path string, header http.Header) (*exchangeClient, int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	d := ws.Dialer{Header: ws.HandshakeHeaderHTTP(header)}
	conn, ahead, _, err := d.Dial(ctx, "ws"+r.url()[len("http"):]+"/dialect/"+path)
	var refused ws.StatusError
	if errors.As(err, &refused) {
		return nil, int(refused)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience)) // what it means for one that has ended is told when it is used
	return &exchangeClient{Conn: conn, t: r.t, ahead: ahead}, http.StatusSwitchingProtocols
}

// Read returns what came with the handshake before all else.
func (c *exchangeClient) Read(b []byte) (int, error) {
	if c.ahead != nil && c.ahead.Buffered() > 0 {
		return c.ahead.Read(b)
	}
	return c.Conn.Read(b)
}

func (c *exchangeClient) say(format string, args ...any) {
	c.t.Helper()
	if err := wsutil.WriteClientText(c.Conn, fmt.Appendf(nil, format, args...)); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next text.
func (c *exchangeClient) next() []byte {
	c.t.Helper()
	text, err := wsutil.ReadServerText(c)
	if err != nil {
		c.t.Fatal(err)
	}
	return text
}

// until reads on to the message that holds what is wanted.
func (c *exchangeClient) until(what string) {
	c.t.Helper()
	for text := c.next(); !bytes.Contains(text, []byte(what)); text = c.next() {
	}
}

// closes reads on until the server closes the connection, and returns its code.
func (c *exchangeClient) closes() ws.StatusCode {
	c.t.Helper()
	for {
		var end wsutil.ClosedError
		if _, err := wsutil.ReadServerText(c); errors.As(err, &end) {
			return end.Code
		} else if err != nil {
			c.t.Fatal(err)
		}
	}
}

// krakenLevel is a level as Kraken writes it.
type krakenLevel struct{ Price, Qty json.Number }

// mantissa is a number without its point: all of a kind have the same decimals.
func (c *exchangeClient) mantissa(n json.Number) int64 {
	c.t.Helper()
	value, err := strconv.ParseInt(strings.ReplaceAll(n.String(), ".", ""), 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return value
}

// krakenSum is the checksum as Kraken's pages describe it: the ten best asks from the
// lowest on, then the ten best bids from the highest on, each price and then its
// quantity, without point and without the zeros that they then begin with.
func krakenSum(bids, asks []krakenLevel) uint32 {
	text := ""
	for _, side := range [][]krakenLevel{asks, bids} {
		for _, l := range side[:min(10, len(side))] {
			for _, n := range []json.Number{l.Price, l.Qty} {
				text += strings.TrimLeft(strings.ReplaceAll(n.String(), ".", ""), "0")
			}
		}
	}
	return crc32.ChecksumIEEE([]byte(text))
}

// krakenBook is what a client makes of the channel book by Kraken's rules.
type krakenBook struct {
	depth, updates int
	bids, asks     []krakenLevel
}

// set sets levels of a side, best first by sign, and cuts it to the depth.
func (b *krakenBook) set(c *exchangeClient, side, changes []krakenLevel, sign int) []krakenLevel {
	for _, l := range changes {
		at, there := slices.BinarySearchFunc(side, l, func(x, y krakenLevel) int {
			return sign * cmp.Compare(c.mantissa(x.Price), c.mantissa(y.Price))
		})
		gone := c.mantissa(l.Qty) == 0
		switch {
		case there && gone:
			side = slices.Delete(side, at, at+1)
		case there:
			side[at] = l
		case !gone:
			side = slices.Insert(side, at, l)
		}
	}
	return side[:min(len(side), b.depth)]
}

// take applies the next message, if it is of the book, and compares the checksum.
func (b *krakenBook) take(c *exchangeClient) {
	c.t.Helper()
	text := c.next()
	var m struct {
		Channel, Type string
		Data          []struct {
			Bids, Asks []krakenLevel
			Checksum   uint32
		}
	}
	if err := json.Unmarshal(text, &m); m.Channel != "book" {
		return
	} else if err != nil || len(m.Data) != 1 {
		c.t.Fatalf("%v: %s", err, text)
	}
	if m.Type == "snapshot" {
		b.bids, b.asks = nil, nil
	} else {
		b.updates++
	}
	b.bids, b.asks = b.set(c, b.bids, m.Data[0].Bids, -1), b.set(c, b.asks, m.Data[0].Asks, 1)
	if sum := krakenSum(b.bids, b.asks); sum != m.Data[0].Checksum {
		c.t.Fatalf("the checksum is %d, that of the client's book %d, after %s", m.Data[0].Checksum, sum, text)
	}
}

// is reports whether b is the engine's book, as far as it reaches.
func (b *krakenBook) is(c *exchangeClient, want *proto.Snapshot) bool {
	same := func(mine []krakenLevel, levels []proto.Level) bool {
		return slices.EqualFunc(mine, levels[:min(len(levels), b.depth)], func(l krakenLevel, w proto.Level) bool {
			return c.mantissa(l.Price) == w.Price && c.mantissa(l.Qty) == w.Qty
		})
	}
	return same(b.bids, want.Bids) && same(b.asks, want.Asks)
}

// fractional is a record of a symbol whose quantities are below 1, mostly, so that the
// checksum has zeros to leave out.
func fractional(symbol string, events ...proto.Event) ingest.Record {
	return ingest.Record{Key: []byte(symbol), ContentType: ingest.ContentType("proto"), Value: proto.AppendEvents(nil, &proto.Batch{
		Symbol: symbol, Feed: "SIM", Exponents: proto.Exponents{Price: -1, Qty: -8}, HasExponents: true, Events: events,
	})}
}

// A client that knows Kraken's rules and nothing else comes, with each message of what
// the engine has read from Kafka, to the checksum that it is sent, and to the engine's
// book.
func TestEndToEndKrakenChecksumIsThatOfTheRealEngine(t *testing.T) {
	t.Parallel()
	const symbol = "SIM:BTC-USD"
	l := newLab(t, 1)
	p := l.producer()
	random := rand.New(rand.NewPCG(1, 2))
	some := func(best, away int64) (levels []proto.Level) {
		for i := range int64(40) {
			if random.IntN(8) == 0 {
				qty := []int64{0, 0, 5, 90, 40_000_000, 100_000_000, 123_456_789}[random.IntN(7)]
				levels = append(levels, proto.Level{Price: best + i*away, Qty: qty})
			}
		}
		return levels
	}
	l.writeRaw(p, fractional(symbol, sessionStart))
	r := l.serve(func(_ *readFlags, f *serverFlags) { f.Dialects = true })
	r.caughtUpTo(l)
	var clients []*exchangeClient
	books := []*krakenBook{{depth: 10}, {depth: 25}, {depth: 100}}
	for _, b := range books {
		c, _ := r.exchange("kraken/v2", nil)
		c.until(`"system":"online"`)
		c.say(`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":%d}}`, b.depth)
		c.until(`"success":true`)
		clients = append(clients, c)
	}
	for range 8 {
		var records []ingest.Record
		for range 20 {
			records = append(records, fractional(symbol, proto.Event{Kind: proto.EventSetLevels, Bids: some(616_020, -1), Asks: some(616_021, 1)}))
		}
		l.writeRaw(p, records...)
		r.caughtUpTo(l)
		want := r.book(symbol)
		for i, b := range books {
			for !b.is(clients[i], want) {
				b.take(clients[i])
			}
		}
	}
	for _, b := range books {
		if b.updates < 8 {
			t.Errorf("depth %d: %d updates", b.depth, b.updates)
		}
	}
}

// Where tokens are asked for, clients of exchanges bring theirs with the handshake and
// have what it grants, item by item, until it is taken back.
func TestEndToEndDialectsAskForTokensToo(t *testing.T) {
	t.Parallel()
	key, entry, err := door.NewEntry("alice", []string{"SIM:BTC-USD"})
	if err != nil {
		t.Fatal(err)
	}
	entry += "  channels: [book]\n  depth: 25\n"
	keys := keyFile(t, "\n"+entry)
	l := newLab(t, 1)
	p := l.producer()
	for _, symbol := range []string{"SIM:BTC-USD", "SIM:ETH-USD"} {
		l.writeRaw(p, fractional(symbol, sessionStart), fractional(symbol, proto.Event{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: 99, Qty: 1}}, Asks: []proto.Level{{Price: 101, Qty: 2}}}))
	}
	r := l.serve(func(_ *readFlags, f *serverFlags) {
		f.Dialects, f.AuthKeys, f.AuthTimeout = true, keys, patience // none of the dialects has a message for a token
	})
	r.caughtUpTo(l)
	bearer := http.Header{"Authorization": {"Bearer " + key}}
	for _, path := range []string{"kraken/v2", "binance/ws", "binance/ws/btcusd@depth5", "binance/stream?streams=btcusd@depth5"} {
		for name, header := range map[string]http.Header{"none": nil, "a wrong one": {"Authorization": {"Bearer " + key + "x"}}} {
			if c, status := r.exchange(path, header); c != nil || status != http.StatusUnauthorized {
				t.Errorf("%s with %s is answered %d", path, name, status)
			}
		}
	}
	kraken, status := r.exchange("kraken/v2?token="+key, nil)
	if kraken == nil {
		t.Fatalf("answered %d", status)
	}
	for _, c := range []struct{ channel, symbol, more, want string }{
		{"book", "BTC/USD", `,"depth":10`, `"success":true`},
		{"book", "ETH/USD", `,"depth":10`, "EAccount:Invalid permissions"},
		{"book", "NOPE/USD", "", "EAccount:Invalid permissions"},
		{"book", "BTC/USD", `,"depth":100`, "Already subscribed|EAccount:Invalid permissions"},
		{"trade", "BTC/USD", "", "EAccount:Invalid permissions"},
		{"ticker", "BTC/USD", "", "EAccount:Invalid permissions"},
	} {
		kraken.say(`{"method":"subscribe","params":{"channel":%q,"symbol":[%q]%s}}`, c.channel, c.symbol, c.more)
		kraken.answers(c.want)
	}
	binance, status := r.exchange("binance/stream?streams=btcusd@depth5/ethusd@depth5", bearer)
	if binance == nil {
		t.Fatalf("answered %d", status)
	}
	binance.say(`{"method":"LIST_SUBSCRIPTIONS","id":1}`)
	binance.until(`"result":["btcusd@depth5"]`)
	binance.say(`{"method":"SUBSCRIBE","params":["ethusd@depth5"],"id":2}`)
	binance.answers(`"code":2`)
	binance.say(`{"method":"SUBSCRIBE","params":["btcusd@trade"],"id":3}`)
	binance.answers(`"code":2`)
	for _, id := range []string{"ethusd", "nopeusd"} { // whether it exists is not told
		binance.say(`{"method":"SUBSCRIBE","params":["%s@depth5"],"id":4}`, id)
		binance.answers(`"msg":"Invalid request: ` + id + `@depth5: not granted"`)
	}

	for path, status := range map[string][2]int{ // without a token, with one
		"kraken/0/public/AssetPairs":                   {http.StatusUnauthorized, http.StatusOK},
		"kraken/0/public/Depth?pair=BTCUSD&count=5":    {http.StatusUnauthorized, http.StatusOK},
		"kraken/0/public/Depth?pair=ETHUSD&count=5":    {http.StatusUnauthorized, http.StatusForbidden},
		"binance/api/v3/exchangeInfo":                  {http.StatusUnauthorized, http.StatusOK},
		"binance/api/v3/depth?symbol=BTCUSD&limit=5":   {http.StatusUnauthorized, http.StatusOK},
		"binance/api/v3/depth?symbol=BTCUSD&limit=500": {http.StatusUnauthorized, http.StatusForbidden}, // deeper than granted
		"binance/api/v3/depth?symbol=ETHUSD&limit=5":   {http.StatusUnauthorized, http.StatusForbidden},
		"kraken/0/public/Depth?pair=NOPEUSD&count=5":   {http.StatusUnauthorized, http.StatusForbidden},
		"binance/api/v3/depth?symbol=NOPEUSD&limit=5":  {http.StatusUnauthorized, http.StatusForbidden},
	} {
		for i, token := range []string{"", key} {
			got, body := r.get(r.url()+"/dialect/"+path, token)
			if got != status[i] || i == 1 && got == http.StatusOK && strings.Contains(body, "ETH") {
				t.Errorf("%s with token %v is answered %d %s", path, i == 1, got, body)
			}
		}
	}

	if err := os.WriteFile(keys+".next", []byte("keys: []"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(keys+".next", keys); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*exchangeClient{"Kraken's": kraken, "Binance's": binance} {
		if code := c.closes(); code != 4007 {
			t.Errorf("%s client whose token was taken back is closed with %d", name, code)
		}
	}
}

// answers reads on to an answer to a request, which must hold one of the texts.
func (c *exchangeClient) answers(wants string) {
	c.t.Helper()
	text := c.next()
	for ; bytes.Contains(text, []byte(`"channel":"`)) && !bytes.Contains(text, []byte(`"method"`)) || bytes.Contains(text, []byte(`"stream"`)); text = c.next() {
	}
	for want := range strings.SplitSeq(wants, "|") {
		if strings.Contains(string(text), want) {
			return
		}
	}
	c.t.Errorf("answered %s, want %s", text, wants)
}
