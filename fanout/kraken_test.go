package fanout

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
)

// speak connects a client that speaks a dialect.
func (r *rig) speak(w framing, streams ...string) *client {
	r.t.Helper()
	return r.speakScripted(nil, w, streams...)
}

// speakScripted lets script see the server's descriptor before the hub has it.
func (r *rig) speakScripted(script func(fd int), w framing, streams ...string) *client {
	r.t.Helper()
	c := r.arrive(Accepted{Codec: proto.CodecJSON, framing: w, streams: streams}, script)
	if w == framingKraken {
		if status := c.text(); !strings.Contains(status, `"system":"online"`) {
			r.t.Fatalf("greeted with %s", status)
		}
	}
	return c
}

// text reads one text message, answering pings.
func (c *client) text() string {
	c.t.Helper()
	for {
		f, err := c.raw()
		if err != nil {
			c.t.Fatal(err)
		}
		switch f.Header.OpCode {
		case ws.OpText:
			return string(f.Payload)
		case ws.OpPing:
			c.write(ws.OpPong, f.Payload)
		default:
			code, reason := ws.ParseCloseFrameData(f.Payload)
			c.t.Fatalf("unexpected frame %v: %d %s", f.Header.OpCode, code, reason)
		}
	}
}

// say sends one text message.
func (c *client) say(format string, args ...any) {
	c.write(ws.OpText, fmt.Appendf(nil, format, args...))
}

// krakenMessage is a message of Kraken's with numbers as they were written.
type krakenMessage struct {
	Channel, Type string
	Data          []struct {
		Symbol     string
		Bids, Asks []struct{ Price, Qty json.Number }
		Checksum   uint32
		TradeID    uint64 `json:"trade_id"`
	}
	Method, Error string
	Success       *bool
	Result        struct {
		Channel, Symbol string
		Depth           int
	}
	ReqID int64 `json:"req_id"`
}

func (c *client) kraken() (m krakenMessage) {
	c.t.Helper()
	text := c.text()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		c.t.Fatalf("%v in %s", err, text)
	}
	return m
}

// krakenBook is what a client of Kraken's makes of its messages, by its published
// rules: apply, cut to depth, compare the checksum.
type krakenBook struct {
	depth      int
	bids, asks map[string]string // quantities by price, as written
	snapshots  int
	updates    int
}

func (b *krakenBook) apply(t *testing.T, m krakenMessage) {
	t.Helper()
	if m.Channel != "book" || len(m.Data) != 1 {
		t.Fatalf("not a book: %+v", m)
	}
	if m.Type == "snapshot" {
		b.bids, b.asks = map[string]string{}, map[string]string{}
		b.snapshots++
	} else {
		b.updates++
	}
	for i, levels := range [][]struct{ Price, Qty json.Number }{m.Data[0].Bids, m.Data[0].Asks} {
		side := []map[string]string{b.bids, b.asks}[i]
		for _, l := range levels {
			if strings.Trim(l.Qty.String(), "0.") == "" {
				delete(side, l.Price.String())
			} else {
				side[l.Price.String()] = l.Qty.String()
			}
		}
	}
	if sum := b.checksum(); sum != m.Data[0].Checksum {
		t.Fatalf("checksum %d, the book's is %d, after %+v", m.Data[0].Checksum, sum, m)
	}
}

// prices returns a side's prices, best first; those beyond depth are forgotten.
func (b *krakenBook) prices(side map[string]string, falling bool) []string {
	var prices []string
	for price := range side {
		prices = append(prices, price)
	}
	slices.SortFunc(prices, func(x, y string) int {
		a, _ := json.Number(x).Float64()
		z, _ := json.Number(y).Float64()
		if a == z {
			return 0
		}
		if (a < z) != falling {
			return -1
		}
		return 1
	})
	for len(prices) > b.depth {
		delete(side, prices[len(prices)-1])
		prices = prices[:len(prices)-1]
	}
	return prices
}

// checksum is made of texts alone: without points and leading zeros.
func (b *krakenBook) checksum() uint32 {
	var text strings.Builder
	digits := func(number string) {
		text.WriteString(strings.TrimLeft(strings.ReplaceAll(number, ".", ""), "0"))
	}
	asks, bids := b.prices(b.asks, false), b.prices(b.bids, true)
	for _, price := range asks[:min(10, len(asks))] {
		digits(price)
		digits(b.asks[price])
	}
	for _, price := range bids[:min(10, len(bids))] {
		digits(price)
		digits(b.bids[price])
	}
	return crc32.ChecksumIEEE([]byte(text.String()))
}

// follow applies messages until the book is that of the test's.
func (b *krakenBook) follow(c *client, want *testBook) {
	c.t.Helper()
	for !b.equals(want) {
		b.apply(c.t, c.kraken())
	}
}

func (b *krakenBook) equals(want *testBook) bool {
	want.books.mu.Lock()
	defer want.books.mu.Unlock()
	if b.bids == nil || len(b.bids) != len(want.bids) || len(b.asks) != len(want.asks) {
		return false
	}
	for i, side := range []map[int64]int64{want.bids, want.asks} {
		for price, qty := range side {
			p := proto.AppendDecimal(nil, price, -2)
			if []map[string]string{b.bids, b.asks}[i][string(p)] != string(proto.AppendDecimal(nil, qty, -3)) {
				return false
			}
		}
	}
	return true
}

// krakenSubscribe subscribes to the book of BTC/USD.
func (c *client) krakenSubscribe() *krakenBook {
	c.t.Helper()
	c.say(`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":100},"req_id":7}`)
	if ack := c.kraken(); ack.Success == nil || !*ack.Success || ack.Result.Symbol != "BTC/USD" || ack.Result.Depth != 100 || ack.ReqID != 7 {
		c.t.Fatalf("answered with %+v", ack)
	}
	return &krakenBook{depth: 100}
}

func TestKrakenChecksumHoldsAtEveryUpdate(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Shards = 2 }, btc)
	b := r.book(btc)
	random := seeded(1)
	b.publish(random, 30)
	var clients []*client
	var books []*krakenBook
	for range 4 {
		c := r.speak(framingKraken)
		clients, books = append(clients, c), append(books, c.krakenSubscribe())
	}
	for range 10 {
		for range 30 {
			b.publish(random, 6)
		}
		for i, c := range clients {
			books[i].follow(c, b)
		}
	}
	for i := range books {
		if books[i].snapshots != 1 || books[i].updates < 10 {
			t.Errorf("client %d: %d snapshots, %d updates", i, books[i].snapshots, books[i].updates)
		}
	}
}

func TestKrakenReaderThatIsSlowGetsANetUpdateWithItsChecksum(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	random := seeded(2)
	b.publish(random, 30)
	fast, slow := r.speak(framingKraken), r.speak(framingKraken)
	quick, late := fast.krakenSubscribe(), slow.krakenSubscribe()
	late.apply(t, slow.kraken())
	for range 3000 {
		b.publish(random, 20)
	}
	late.follow(slow, b)
	quick.follow(fast, b)
	if late.updates >= 3000 {
		t.Errorf("%d updates to who did not read", late.updates)
	}
}

func TestKrakenReaderThatWasLappedBeginsAnew(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RingEntries = 64 }, btc)
	b := r.book(btc)
	random := seeded(3)
	b.publish(random, 30)
	c := r.speak(framingKraken)
	book := c.krakenSubscribe()
	book.apply(t, c.kraken())
	r.hold(func() {
		for range 200 {
			b.publish(random, 6)
		}
	})
	book.follow(c, b)
	if book.snapshots != 2 {
		t.Errorf("%d snapshots, want 2", book.snapshots)
	}
	for range 100 { // its checksums go on from there
		b.publish(random, 6)
	}
	book.follow(c, b)
}

func TestBookThatIsNotLiveIsEmptyToKrakensClients(t *testing.T) {
	for _, state := range []proto.State{proto.Recovering, proto.Stale} {
		t.Run(proto.StateWord(state), func(t *testing.T) {
			r := newRig(t, nil, btc)
			b := r.book(btc)
			random := seeded(4)
			b.publish(random, 30)
			c := r.speak(framingKraken)
			book := c.krakenSubscribe()
			book.follow(c, b)

			b.become(state, proto.ReasonSourceGap)
			b.publish(random, 6) // unseen until it is live again
			book.apply(t, c.kraken())
			if book.snapshots != 2 || len(book.bids)+len(book.asks) != 0 {
				t.Fatalf("a book that is %v is shown: %d bids", state, len(book.bids))
			}
			late := r.speak(framingKraken)
			lateBook := late.krakenSubscribe()
			lateBook.apply(t, late.kraken())
			if len(lateBook.bids)+len(lateBook.asks) != 0 {
				t.Fatal("who comes while it is not live is shown a book")
			}

			b.become(proto.Live, proto.ReasonNone)
			for _, who := range []struct {
				c    *client
				book *krakenBook
			}{{c, book}, {late, lateBook}} {
				who.book.apply(t, who.c.kraken())
				who.book.follow(who.c, b)
			}
			b.publish(random, 6)
			book.follow(c, b)
			lateBook.follow(late, b)
		})
	}
}

func TestPhaseOfABookGoesUnsaidToKrakensClients(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	random := seeded(5)
	b.publish(random, 30)
	c := r.speak(framingKraken)
	book := c.krakenSubscribe()
	book.follow(c, b)
	b.enter(proto.Halted)
	b.publish(random, 6)
	book.follow(c, b)
	if book.snapshots != 1 {
		t.Errorf("%d snapshots after a phase", book.snapshots)
	}
}

func TestKrakenRequestsAreAnsweredEachForItself(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxItems = 3 }, btc, "SIM:ETH-USD")
	c := r.speak(framingKraken)
	for _, ask := range []struct{ request, answer string }{
		{`{"method":"ping","req_id":5}`, `"method":"pong","req_id":5`},
		{`{"method":"subscribe","params":{"channel":"book","symbol":["NO/USD"]}}`, `"error":"Currency pair not supported NO/USD","symbol":"NO/USD","success":false`},
		{`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":7}}`, `Subscription depth not supported`},
		{`{"method":"subscribe","params":{"channel":"candles","symbol":["BTC/USD"]}}`, `Unsupported channel: candles`},
		{`{"method":"subscribe","params":{"channel":"book"}}`, `Malformed request: no symbol`},
		{`{"method":"subscribe","params":{"channel":"book","symbol":["A/B","A/B","A/B","A/B"]}}`, `Too many symbols`},
		{`{"method":"subscribe","params":{"channel":"book","symbol":3}}`, `Malformed request: field params.symbol is of the wrong type`},
		{`{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"]}}`, `Subscription Not Found`},
		{`{"method":"dance"}`, `Unsupported method: dance`},
		{`{"req_id":1}`, `Malformed request: no method`},
		{`{`, `Malformed request: not JSON`},
		{`{"method":"subscribe","params":{"channel":"trade","symbol":["ETH/USD"]},"req_id":9}`, `"result":{"channel":"trade","symbol":"ETH/USD","snapshot":false},"success":true,"req_id":9`},
		{`{"method":"subscribe","params":{"channel":"trade","symbol":["ETH/USD"]}}`, `Already subscribed`},
		{`{"method":"unsubscribe","params":{"channel":"trade","symbol":["ETH/USD"]}}`, `"success":true`},
		{`{"method":"subscribe","params":{"channel":"ticker","symbol":["ETH/USD"],"event_trigger":"bbo","snapshot":false}}`, `"result":{"channel":"ticker","symbol":"ETH/USD","event_trigger":"bbo","snapshot":false}`},
		{`{"method":"unsubscribe","params":{"channel":"ticker","symbol":["ETH/USD"],"event_trigger":"bbo"}}`, `"success":true`},
		{`{"method":"subscribe","params":{"channel":"instrument"}}`, `"result":{"channel":"instrument","snapshot":true},"success":true`},
	} {
		c.say("%s", ask.request)
		if got := c.text(); !strings.Contains(got, ask.answer) {
			t.Errorf("%s\nis answered with %s\nwithout %s", ask.request, got, ask.answer)
		}
	}
	if got := c.text(); !strings.Contains(got, `"channel":"instrument","type":"snapshot"`) {
		t.Errorf("the instruments are %s", got)
	}
	if r.hub.Stats().Conns != 1 {
		t.Error("the connection ended")
	}
}

func TestKrakenUnsubscribeEndsTheSubscriptionThatItNames(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	b := r.book(btc)
	random := seeded(6)
	b.publish(random, 30)
	c := r.speak(framingKraken)
	book := c.krakenSubscribe()
	book.follow(c, b)
	c.say(`{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":25}}`) // it has 100
	if got := c.kraken(); got.Error != "Subscription Not Found" {
		t.Fatalf("of another depth: %+v", got)
	}
	b.publish(random, 6)
	book.follow(c, b)
	c.say(`{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":100},"req_id":8}`)
	if got := c.kraken(); got.Success == nil || !*got.Success || got.Result.Depth != 100 || got.ReqID != 8 {
		t.Fatalf("answered with %+v", got)
	}
	book = c.krakenSubscribe()
	book.follow(c, b)
	// Its name is another's too from now on: who has it can still end it.
	r.hold(func() {
		other := newTestBooks("XX:BTC/USD").books["XX:BTC/USD"]
		other.books, r.books.books["XX:BTC/USD"] = r.books, other
	})
	r.advance(pairsHitAge)
	c.say(`{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}`)
	if got := c.kraken(); !strings.HasPrefix(got.Error, "Currency pair not supported") {
		t.Fatalf("a name of two: %+v", got)
	}
	c.say(`{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"]}}`)
	if got := c.kraken(); got.Success == nil || !*got.Success || got.Result.Depth != 100 {
		t.Errorf("answered with %+v", got)
	}
	if n := r.hub.Stats().Subscriptions; n != 0 {
		t.Errorf("%d subscriptions", n)
	}
}

// Who asks for a pair looks for it in the answer by the name that it has asked for.
func TestKrakenAnswersAreByTheNamesThatWereAsked(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	r.book(btc).publish(seeded(7), 30)
	for path, want := range map[string]string{
		"AssetPairs?pair=BTC/USD,ETHUSD": `"result":{"BTC/USD":{"altname":"BTCUSD",`,
		"AssetPairs?pair=BTCUSD":         `"result":{"BTCUSD":{"altname":"BTCUSD",`,
		"Depth?pair=BTC%2FUSD":           `"result":{"BTC/USD":{"asks":`,
		"Depth?pair=BTCUSD":              `"result":{"BTCUSD":{"asks":`,
	} {
		if status, body := r.rest("/dialect/kraken/0/public/" + path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// What repeats too much of the request is cut between characters.
func TestKrakenErrorThatIsCutEndsWithAWholeCharacter(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.speak(framingKraken)
	for _, before := range []string{"", "a", "ab"} {
		c.say(`{"method":"%s"}`, before+strings.Repeat("€", maxTextBytes))
		if got := c.text(); !utf8.ValidString(got) || strings.Contains(got, `\ufffd`) || !strings.Contains(got, "€…") {
			t.Errorf("answered with %q", got)
		}
	}
}

func TestKrakenTradesHaveNumbersThatTellOfGaps(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RingEntries = 64 }, btc)
	b := r.book(btc)
	b.trade(3)
	c := r.speak(framingKraken)
	c.say(`{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"],"snapshot":true}}`)
	c.kraken()
	last := uint64(0)
	take := func(kind string) (gap uint64) {
		t.Helper()
		m := c.kraken()
		if m.Channel != "trade" || m.Type != kind {
			t.Fatalf("got %+v", m)
		}
		for _, trade := range m.Data {
			if trade.TradeID <= last {
				t.Fatalf("trade %d after %d", trade.TradeID, last)
			}
			gap += trade.TradeID - last - 1
			last = trade.TradeID
		}
		return gap
	}
	if gap := take("snapshot"); gap != 0 || last != 3 {
		t.Fatalf("begins with a gap of %d up to %d", gap, last)
	}
	b.trade(2)
	if gap := take("update"); gap != 0 || last != 5 {
		t.Fatalf("goes on with a gap of %d up to %d", gap, last)
	}
	r.hold(func() {
		for range 100 {
			b.trade(1)
		}
	})
	for last < 105 {
		take("update")
	}
}

// Kraken documents a heartbeat about every second in which nothing else comes, for who
// is subscribed to anything.
func TestKrakenClientsHearAHeartbeatAboutEverySecondInWhichNothingComes(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Shards = 1 }, btc)
	b := r.book(btc)
	random := seeded(1)
	b.publish(random, 30)
	follower, idle := r.speak(framingKraken), r.speak(framingKraken)
	book := follower.krakenSubscribe()
	book.follow(follower, b)
	// beats counts heartbeats until a pong.
	beats := func(c *client) (n int) {
		c.say(`{"method":"ping"}`)
		for {
			switch m := c.kraken(); {
			case m.Method == "pong":
				return n
			case m.Channel == "heartbeat":
				n++
			default:
				book.apply(t, m)
			}
		}
	}
	quiet, busy, unsubscribed := 0, 0, 0
	for range 20 {
		r.advance(sweepEvery)
		quiet += beats(follower)
		unsubscribed += beats(idle)
	}
	if quiet < 3 || quiet > 5 || unsubscribed != 0 {
		t.Errorf("in 5 s without data: %d heartbeats, want about 4; without a subscription %d, want none", quiet, unsubscribed)
	}
	beats(follower)
	for range 20 {
		b.publish(random, 6)
		r.advance(sweepEvery)
		busy += beats(follower)
	}
	if busy > 1 { // what was due when the first came
		t.Errorf("%d heartbeats between data", busy)
	}
	book.follow(follower, b)
}
