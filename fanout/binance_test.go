package fanout

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// binanceEvent is a message of Binance's.
type binanceEvent struct {
	Stream string
	Data   json.RawMessage

	Event      string      `json:"e"`
	EventTime  int64       `json:"E"`
	TradeTime  int64       `json:"T"`
	First      int64       `json:"U"`
	Last       int64       `json:"u"`
	Bids       [][2]string `json:"b"`
	Asks       [][2]string `json:"a"`
	LastUpdate int64       `json:"lastUpdateId"`
	DepthBids  [][2]string `json:"bids"`
	DepthAsks  [][2]string `json:"asks"`
	Trade      uint64      `json:"t"`
}

// binanceBook is a local order book, kept as Binance says how to ("How to manage a
// local order book correctly").
type binanceBook struct {
	id         int64
	began      bool // an event was applied
	bids, asks map[string]string
	buffer     []binanceEvent
}

// begin takes a snapshot, and what of the buffer comes after it.
func (b *binanceBook) begin(t *testing.T, snapshot binanceEvent) {
	t.Helper()
	b.id, b.began = snapshot.LastUpdate, false
	b.bids, b.asks = map[string]string{}, map[string]string{}
	b.set(snapshot.DepthBids, snapshot.DepthAsks)
	for _, e := range b.buffer {
		b.apply(t, e)
	}
	b.buffer = nil
}

func (b *binanceBook) apply(t *testing.T, e binanceEvent) {
	t.Helper()
	switch {
	case e.Event != "depthUpdate":
		t.Fatalf("not a depthUpdate: %+v", e)
	case b.bids == nil:
		b.buffer = append(b.buffer, e)
		return
	case e.Last <= b.id:
		return
	case !b.began && (e.First > b.id+1 || e.Last < b.id+1):
		t.Fatalf("the first event is %d to %d, the snapshot's id %d", e.First, e.Last, b.id)
	case b.began && e.First != b.id+1:
		t.Fatalf("an event from %d follows on %d", e.First, b.id)
	}
	b.began, b.id = true, e.Last
	b.set(e.Bids, e.Asks)
}

func (b *binanceBook) set(bids, asks [][2]string) {
	for i, levels := range [][][2]string{bids, asks} {
		side := []map[string]string{b.bids, b.asks}[i]
		for _, l := range levels {
			price, qty := strings.TrimSuffix(l[0], "000000"), strings.TrimSuffix(l[1], "00000") // of 8 decimals
			if l[1] == "0.00000000" {                                                           // some know it by this text alone
				delete(side, price)
			} else {
				side[price] = qty
			}
		}
	}
}

func (b *binanceBook) equals(want *testBook) bool {
	return (&krakenBook{bids: b.bids, asks: b.asks}).equals(want)
}

func (c *client) binance() (e binanceEvent) {
	c.t.Helper()
	text := c.text()
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		// bookTicker has the same names for numbers.
		c.t.Fatalf("%v in %s", err, text)
	}
	return e
}

// tick lets the next interval of fast streams come, for all that was published.
func (r *rig) tick() {
	r.sync()
	r.advance(100 * time.Millisecond)
	r.sync()
}

// rest asks the dialects' HTTP handler, with headers each given as name and value.
func (r *rig) rest(path string, headers ...string) (int, string) {
	r.t.Helper()
	status, _, body := r.restful(path, headers...)
	return status, body
}

// restful is rest that returns the header too.
func (r *rig) restful(path string, headers ...string) (int, http.Header, string) {
	r.t.Helper()
	handler := (&StreamHandler{Hub: r.hub, Log: slog.New(slog.DiscardHandler)}).Dialects()
	request := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	body, _ := io.ReadAll(answer.Result().Body)
	return answer.Code, answer.Header(), string(body)
}

func (r *rig) binanceDepth() (e binanceEvent) {
	r.t.Helper()
	status, body := r.rest("/dialect/binance/api/v3/depth?symbol=BTCUSD&limit=5000")
	if err := json.Unmarshal([]byte(body), &e); err != nil || status != http.StatusOK {
		r.t.Fatalf("%d: %s", status, body)
	}
	return e
}

func TestBinanceIDsFitTogetherWhereverTheSnapshotFalls(t *testing.T) {
	for seed := range uint64(20) {
		r := newRig(t, nil, btc)
		b := r.book(btc)
		random := seeded(seed)
		for range 1 + random.IntN(4) {
			b.publish(random, 30)
		}
		c := r.speak(framingBinance, "btcusd@depth@100ms")
		r.sync() // it is subscribed: what comes from here on is told
		book := &binanceBook{}
		events := func(n int) {
			for range n {
				for range 1 + random.IntN(5) {
					b.publish(random, 6)
				}
				r.tick()
				book.apply(t, c.binance())
			}
		}
		events(random.IntN(4))
		for range random.IntN(3) {
			b.publish(random, 6)
		}
		book.begin(t, r.binanceDepth())
		events(5)
		if !book.equals(b) {
			t.Fatalf("seed %d: another book", seed)
		}
	}
}

func TestBinanceFollowerIsCutOffWhenItsBookIsNotLive(t *testing.T) {
	for name, break_ := range map[string]func(*testBook){
		"recovering": func(b *testBook) { b.become(proto.Recovering, proto.ReasonSourceGap) },
		"stale":      func(b *testBook) { b.become(proto.Stale, proto.ReasonBehind) },
		"reset":      func(b *testBook) { b.restart(proto.SnapshotInstrument, proto.Exponents{Price: -3, Qty: -3}, false) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, btc)
			b := r.book(btc)
			random := seeded(1)
			b.publish(random, 30)
			c := r.speak(framingBinance, "btcusd@depth@100ms", "btcusd@trade")
			r.sync()
			b.publish(random, 6)
			r.tick()
			c.binance()
			break_(b)
			if code, reason := c.closed(); code != 4010 || !strings.HasPrefix(reason, "book_void") {
				t.Errorf("closed with %d %s", code, reason)
			}
		})
	}
}

func TestBookThatIsNotLiveIsNoAnswerOfREST(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.publish(seeded(1), 30)
	b.become(proto.Stale, proto.ReasonBehind)
	for path, want := range map[string]string{
		"/dialect/binance/api/v3/depth?symbol=BTCUSD": `{"code":-1001,`,
		"/dialect/kraken/0/public/Depth?pair=BTCUSD":  `{"error":["EService:Unavailable"]}`,
	} {
		if status, header, body := r.restful(path); status != http.StatusServiceUnavailable || !strings.HasPrefix(body, want) || header.Get("Retry-After") != "1" {
			t.Errorf("%s: %d %v %s", path, status, header, body)
		}
	}
	b.become(proto.Live, proto.ReasonNone)
	if e := r.binanceDepth(); len(e.DepthBids) == 0 {
		t.Error("no book although it is live again")
	}
}

func TestWhoComesToABookThatIsNotLiveFollowsItOnceItIs(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	random := seeded(1)
	b.publish(random, 30)
	b.become(proto.Recovering, proto.ReasonSourceGap)
	c := r.speak(framingBinance, "btcusd@depth@100ms")
	r.sync()
	b.publish(random, 6)
	b.recover()
	book := &binanceBook{}
	book.begin(t, r.binanceDepth())
	for range 5 {
		b.publish(random, 6)
		r.tick()
		book.apply(t, c.binance())
	}
	if !book.equals(b) {
		t.Error("another book")
	}
}

func TestBinanceSlowFollowerIsCutOffOnlyWhenLapped(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RingEntries = 64 }, btc)
	b := r.book(btc)
	random := seeded(1)
	b.publish(random, 30)
	c := r.speak(framingBinance, "btcusd@depth@100ms")
	r.sync()
	book := &binanceBook{}
	book.begin(t, r.binanceDepth())
	for range 40 { // within the ring: one event
		b.publish(random, 6)
	}
	r.tick()
	if book.apply(t, c.binance()); !book.equals(b) {
		t.Fatal("another book after a net event")
	}
	r.hold(func() {
		for range 200 {
			b.publish(random, 6)
		}
	})
	r.tick()
	if code, _ := c.closed(); code != 4001 {
		t.Errorf("closed with %d", code)
	}
}

func TestPartialDepthAndQuoteAreWholeEachTime(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	random := seeded(1)
	b.publish(random, 30)
	c := r.speak(framingStreams, "btcusd@depth5@100ms")
	quote := r.speak(framingStreams, "btcusd@bookTicker")
	last := int64(-1)
	for i := range 30 {
		for range 1 + random.IntN(4) {
			b.publish(random, 6)
		}
		r.tick()
		r.sync()
		seq, _ := b.where()
		for last < seq {
			e := c.binance()
			if e.Stream != "btcusd@depth5@100ms" {
				t.Fatalf("stream %q", e.Stream)
			}
			var d binanceEvent
			if err := json.Unmarshal(e.Data, &d); err != nil {
				t.Fatal(err)
			}
			if d.LastUpdate <= last {
				t.Fatalf("id %d after %d", d.LastUpdate, last)
			}
			last = d.LastUpdate
			book := &binanceBook{bids: map[string]string{}, asks: map[string]string{}}
			book.set(d.DepthBids, d.DepthAsks)
			if last == seq && !book.equals(b) {
				t.Fatalf("round %d: another book", i)
			}
		}
	}
	b.become(proto.Stale, proto.ReasonBehind)
	r.tick()
	if text := c.text(); !strings.Contains(text, `"bids":[],"asks":[]`) {
		t.Errorf("a stale book is shown: %s", text)
	}
	for {
		text := quote.text()
		if !strings.HasPrefix(text, `{"stream":"btcusd@bookTicker","data":{"u":`) {
			t.Fatalf("not a quote: %s", text)
		}
		if strings.Contains(text, `"b":"0.00000000","B":"0.00000000","a":"0.00000000","A":"0.00000000"`) {
			break
		}
	}
}

// Who follows several streams tells them apart by the names that it gave.
func TestCombinedStreamsAreCalledWhatTheyWereAskedForBy(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.publish(seeded(1), 30)
	names := []string{"btcusd@depth5@1000ms", "btcusd@depth5", "btcusd@depth5@100ms", "btcusd@depth10@1000ms"}
	c := r.speak(framingStreams, names...)
	seen := map[string]int{}
	for len(seen) < len(names) {
		seen[c.binance().Stream]++
	}
	for _, name := range names {
		if seen[name] != 1 {
			t.Errorf("%s came %d times: %v", name, seen[name], seen)
		}
	}
	list := func(id int, want ...string) {
		t.Helper()
		c.say(`{"method":"LIST_SUBSCRIPTIONS","id":%d}`, id)
		got, _ := json.Marshal(want)
		if text := c.text(); text != fmt.Sprintf(`{"result":%s,"id":%d}`, got, id) {
			t.Errorf("listed %s, want %s", text, got)
		}
	}
	list(1, names...)
	c.say(`{"method":"UNSUBSCRIBE","params":["btcusd@depth5@1000ms"],"id":2}`)
	c.text()
	list(3, "btcusd@depth10@1000ms", "btcusd@depth5", "btcusd@depth5@100ms")
	c.say(`{"method":"SET_PROPERTY","params":["combined",true],"id":4}`) // it is so already
	c.text()
	list(5, "btcusd@depth10@1000ms", "btcusd@depth5", "btcusd@depth5@100ms")
	raw := r.speak(framingBinance, "btcusd@depth@1000ms")
	raw.say(`{"method":"UNSUBSCRIBE","params":["btcusd@depth@1000ms"],"id":6}`)
	raw.text()
	r.until("the end of the raw stream", func() bool { return r.hub.Stats().Subscriptions == 3 })
}

func TestBinanceRequests(t *testing.T) {
	r := newRig(t, nil, btc, "SIM:ETH-USD")
	c := r.speak(framingBinance, "0") // a name that is none, as clients give it
	for _, ask := range []struct{ request, answer string }{
		{`{"method":"SUBSCRIBE","params":["btcusd@depth","ethusd@trade","btcusd@depth"],"id":1}`, `{"result":null,"id":1}`},
		{`{"method":"SUBSCRIBE","params":["btcusd@depth@100ms"],"id":"a1"}`, `{"result":null,"id":"a1"}`},
		{`{"method":"LIST_SUBSCRIPTIONS","id":3}`, `{"result":["btcusd@depth","ethusd@trade","btcusd@depth@100ms"],"id":3}`},
		{`{"method":"SUBSCRIBE","params":["nousd@depth","ethusd@bookTicker"],"id":4}`, `{"error":{"code":2,"msg":"Invalid request: nousd@depth: unknown symbol"},"id":4}`},
		{`{"method":"UNSUBSCRIBE","params":["btcusd@depth","btcusd@depth@100ms"],"id":5}`, `{"result":null,"id":5}`},
		{`{"method":"GET_PROPERTY","params":["combined"],"id":6}`, `{"result":false,"id":6}`},
		{`{"method":"SET_PROPERTY","params":["combined",true],"id":7}`, `{"result":null,"id":7}`},
		{`{"method":"GET_PROPERTY","params":["combined"],"id":8}`, `{"result":true,"id":8}`},
		{`{"method":"SET_PROPERTY","params":["colour",true],"id":8}`, `{"error":{"code":0,"msg":"Unknown property"},"id":8}`},
		{`{"method":"SET_PROPERTY","params":["combined",1],"id":9}`, `{"error":{"code":1,"msg":"Invalid value type: expected Boolean"},"id":9}`},
		{`{"method":"dance","id":10}`, `{"error":{"code":2,"msg":"Invalid request: unknown variant \"dance\", expected one of `},
		{`{"id":11}`, `{"error":{"code":2,"msg":"Invalid request: missing field `},
		{`{"method":"SUBSCRIBE","params":["btcusd@kline_1m"],"id":12}`, `no such stream`},
		{`{`, `{"error":{"code":3,"msg":"Invalid JSON: `},
	} {
		c.say("%s", ask.request)
		got := c.text()
		for strings.HasPrefix(got, `{"u":`) { // a quote
			got = c.text()
		}
		if !strings.Contains(got, ask.answer) {
			t.Errorf("%s\nis answered with %s\nwithout %s", ask.request, got, ask.answer)
		}
	}
	r.book("SIM:ETH-USD").trade(2)
	for want := uint64(1); want <= 2; {
		e := c.binance()
		if e.Stream == "ethusd@bookTicker" {
			continue
		}
		var trade struct {
			ID     uint64 `json:"t"`
			Time   int64  `json:"T"`
			Symbol string `json:"s"`
		}
		if err := json.Unmarshal(e.Data, &trade); err != nil || e.Stream != "ethusd@trade" || trade.ID != want || trade.Symbol != "ETHUSD" {
			t.Fatalf("got %+v %+v: %v", e, trade, err)
		}
		want++
	}
}

// Who asks for microseconds is not to take milliseconds for them.
func TestBinanceTimesAreInTheUnitThatWasAskedOrRefused(t *testing.T) {
	r := newRig(t, nil, btc)
	for _, path := range []string{"ws?", "ws/btcusd@trade?", "stream?streams=btcusd@trade&"} {
		for unit, want := range map[string]int{"MICROSECOND": http.StatusBadRequest, "microsecond": http.StatusBadRequest, "MILLISECOND": http.StatusInternalServerError} {
			status, body := r.rest("/dialect/binance/"+path+"timeUnit="+unit, "Connection", "Upgrade", "Upgrade", "websocket",
				"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
			if status != want { // 500: a recorder cannot be upgraded
				t.Errorf("%s in %s: %d %s", path, unit, status, body)
			}
		}
	}
	for unit, want := range map[string]string{"": "1700000000000", "MILLISECOND": "1700000000000", "microsecond": "1700000000000000"} {
		for _, path := range []string{"time", "exchangeInfo"} {
			if status, body := r.rest("/dialect/binance/api/v3/"+path, "X-MBX-TIME-UNIT", unit); status != http.StatusOK || !strings.Contains(body, `"serverTime":`+want+`,`) && !strings.Contains(body, `"serverTime":`+want+`}`) {
				t.Errorf("%s in %s: %d %s", path, unit, status, body)
			}
		}
	}
}

// A client may name its streams otherwise while it follows them: what is made for it
// then counts in the ring's bytes like what was made for it before.
func TestStreamsThatAreNamedLaterAreWeighedToo(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.speak(framingBinance, "btcusd@depth5@100ms", "btcusd@trade")
	c.say(`{"method":"SET_PROPERTY","params":["combined",true],"id":1}`)
	for !strings.Contains(c.text(), `"id":1`) {
	}
	r.hub.shards[0].do(func() {
		for _, sub := range r.hub.shards[0].conns[0].subs {
			if sub.feed.topic.forms.Load()&(1<<sub.framing) == 0 {
				t.Errorf("frames of framing %d are made and not weighed", sub.framing)
			}
		}
	})
	r.sync()
}

func TestBinanceStreamEndsByTheNameThatItHas(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.speak(framingBinance, "btcusd@depth", "btcusd@trade")
	r.sync()
	// Its name is another's too from now on: who has it can still end it.
	r.hold(func() {
		other := newTestBooks("XX:BTC/USD").books["XX:BTC/USD"]
		other.books, r.books.books["XX:BTC/USD"] = r.books, other
	})
	r.advance(pairsHitAge)
	c.say(`{"method":"SUBSCRIBE","params":["btcusd@bookTicker"],"id":1}`)
	if got := c.text(); !strings.Contains(got, "unknown symbol") {
		t.Fatalf("a name of two: %s", got)
	}
	c.say(`{"method":"UNSUBSCRIBE","params":["btcusd@depth@1000ms","btcusd@trade"],"id":2}`)
	if got := c.text(); got != `{"result":null,"id":2}` {
		t.Errorf("answered with %s", got)
	}
	if n := r.hub.Stats().Subscriptions; n != 0 {
		t.Errorf("%d subscriptions are left", n)
	}
}

func TestWhatADialectIsSentIsEncodedOnce(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.publish(seeded(1), 5)
	const readers, deltas = 10, 30
	var clients []*client
	var books []*krakenBook
	for range readers {
		c := r.speak(framingKraken)
		book := c.krakenSubscribe()
		book.follow(c, b)
		clients, books = append(clients, c), append(books, book)
	}
	for range deltas {
		b.publish(seeded(2), 5)
		r.sync()
	}
	for i, c := range clients {
		books[i].follow(c, b)
	}
	r.sync()
	if s := r.hub.Stats(); s.Encoded > deltas+1 {
		t.Errorf("%d frames encoded for %d sent; want at most %d", s.Encoded, s.Frames, deltas+1)
	}
}

func TestSymbolsThatWouldHaveTheSameNameHaveNone(t *testing.T) {
	r := newRig(t, nil, "SIM:BTC-USD", "XX:BTC/USD", "SIM:ETH-USD", "SIM:ODD")
	if status, body := r.rest("/dialect/binance/api/v3/depth?symbol=BTCUSD"); status != http.StatusBadRequest {
		t.Errorf("%d %s", status, body)
	}
	_, pairs := r.rest("/dialect/kraken/0/public/AssetPairs")
	if strings.Contains(pairs, "BTC") || !strings.Contains(pairs, `"wsname":"ETH/USD"`) {
		t.Errorf("pairs: %s", pairs)
	}
	if n := r.hub.Stats().LeftOut; n != 2 {
		t.Errorf("%d left out, want 2", n)
	}
	one := newRig(t, func(c *Config) { c.DialectVenue = "SIM" }, "SIM:BTC-USD", "XX:BTC/USD")
	one.book("SIM:BTC-USD").publish(seeded(1), 3)
	if status, body := one.rest("/dialect/binance/api/v3/depth?symbol=BTCUSD"); status != http.StatusOK {
		t.Errorf("of one venue: %d %s", status, body)
	}
	_, info := one.rest("/dialect/binance/api/v3/exchangeInfo")
	if !strings.Contains(info, `"symbol":"BTCUSD"`) || !strings.Contains(info, `"tickSize":"0.01000000"`) {
		t.Errorf("exchangeInfo: %s", info)
	}
}

// TestPartitionsAreAskedOnceForAllWhoList: plain lists and names of dialects come from
// one list, and one that was made too early is not taken for all there is.
func TestPartitionsAreAskedOnceForAllWhoList(t *testing.T) {
	r := newRig(t, nil, btc)
	r.books.ready = false
	list := func(want int) {
		t.Helper()
		for range 10 {
			r.hub.symbols() // as /v1/symbols and /v1/status do
			r.rest("/dialect/kraken/0/public/AssetPairs")
			r.rest("/dialect/binance/api/v3/exchangeInfo")
		}
		if r.books.listed != want {
			t.Errorf("listed %d times, want %d", r.books.listed, want)
		}
	}
	list(1)
	r.hold(func() { // the list has not this one
		for symbol, book := range newTestBooks("SIM:ETH-USD").books {
			book.books, r.books.books[symbol] = r.books, book
		}
		r.books.ready = true
	})
	for _, want := range []error{proto.ErrNotReady, nil} {
		if _, err := r.hub.pairs.named(nil, "ETH/USD"); err != want {
			t.Errorf("%v, want %v", err, want)
		}
		r.clock.advance(pairsListAge)
	}
	list(3)
}

func TestServerThatStopsSaysSoInTheDialect(t *testing.T) {
	r := newRig(t, nil, btc)
	kraken, binance := r.speak(framingKraken), r.speak(framingBinance)
	r.sync()
	r.hub.tell(orderDrain)
	if text := kraken.text(); !strings.Contains(text, `"system":"maintenance"`) {
		t.Errorf("Kraken's is told %s", text)
	}
	if text := binance.text(); !strings.Contains(text, `{"e":"serverShutdown","E":`) {
		t.Errorf("Binance's is told %s", text)
	}
	for _, c := range []*client{kraken, binance} {
		if code, _ := c.closed(); code != 1001 {
			t.Errorf("closed with %d", code)
		}
	}
}
