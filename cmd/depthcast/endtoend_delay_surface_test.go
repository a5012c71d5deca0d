package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// tape is all that one client was told.
type tape struct {
	name  string
	label string // what it has if it is labelled as late
	shows string // what it shows of a tick, by %s
	ask   func() // for surfaces that have to be asked again and again; nil: the server tells

	mu   sync.Mutex
	text strings.Builder
}

func (s *tape) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *tape) has(what string) bool {
	if s.ask != nil {
		s.ask()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), what)
}

// surfaces are clients of every kind, of one late server.
type surfaces struct {
	*late
	r     *running
	tapes []*tape
}

// How a surface shows a tick: by a price of SIM:ALPHA-USD, by the name of a new symbol,
// and by how many books are live.
const (
	byPrice = "55555.%s1"
	byName  = "TICK%s"
	byCount = `"live":%s,`
)

func (s *surfaces) add(name, label, shows string) *tape {
	t := &tape{name: name, label: label, shows: shows}
	s.tapes = append(s.tapes, t)
	return t
}

// follow runs one that reads until the test ends.
func (s *surfaces) follow(read func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	go func() { ended <- read(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && ctx.Err() == nil {
			s.t.Error(err)
		}
	})
}

// clients follows by the client protocol.
func (s *surfaces) clients(codec proto.Codec) {
	c := s.r.dial(codec)
	items := map[*client.Subscription]*tape{}
	for _, of := range []struct {
		item  client.Item
		shows string
	}{
		{client.Item{Symbol: "SIM:ALPHA-USD"}, byPrice}, {client.Item{Symbol: "SIM:A*", Depth: 5}, byPrice},
		{client.Item{Symbol: "SIM:ALPHA-USD", Channel: proto.ChannelTrades}, byPrice}, {client.Item{Symbol: "SIM:ALPHA-USD", Channel: proto.ChannelTicker}, byPrice},
		{client.Item{Symbol: "*", Channel: proto.ChannelInstruments}, byName},
	} {
		sub := subscribe(s.t, c, of.item)
		items[sub] = s.add(fmt.Sprint(codec, " ", of.item.Symbol, " ", proto.ChannelWord(of.item.Channel)), "late by 900000", of.shows)
	}
	s.follow(func(ctx context.Context) error {
		tapeOf := func(sub *client.Subscription) *tape {
			if p := sub.Pattern(); p != nil {
				sub = p
			}
			return items[sub]
		}
		book := func(sub *client.Subscription, b *client.Book) {
			for l := range b.Levels(proto.Bid) {
				fmt.Fprintf(tapeOf(sub), "bid %d.%02d %s\n", l.Price/100, l.Price%100, proto.StateWord(b.State()))
			}
		}
		for event, err := range c.Events(ctx) {
			if err != nil {
				return err
			}
			switch e := event.(type) {
			case *client.Granted:
				fmt.Fprintln(tapeOf(e.Sub), "late by", e.Ack.DelayMs, proto.StateWord(proto.State(e.Ack.State)))
			case *client.BookSet:
				book(e.Sub, e.Book)
			case *client.BookChanged:
				book(e.Sub, e.Book)
			case *client.StatusChanged:
				fmt.Fprintln(tapeOf(e.Sub), proto.StateWord(e.Status.State))
			case *client.Traded:
				for _, trade := range e.Trades.Trades {
					fmt.Fprintf(tapeOf(e.Sub), "%d.%02d\n", trade.Price/100, trade.Price%100)
				}
			case *client.TickerChanged:
				fmt.Fprintf(tapeOf(e.Sub), "%d.%02d\n", e.Ticker.Bid.Value/100, e.Ticker.Bid.Value%100)
			case *client.Listed:
				for _, l := range e.Instruments.Listings {
					fmt.Fprintln(tapeOf(e.Sub), l.Symbol)
				}
			case *client.Refused, *client.Disconnected:
				return fmt.Errorf("%+v", e)
			}
		}
		return nil
	})
}

// events follows by event streams, one a channel.
func (s *surfaces) events() {
	for of, shows := range map[string]string{"SIM:ALPHA-USD&channel=book": byPrice, "SIM:ALPHA-USD&channel=trades": byPrice, "SIM:ALPHA-USD&channel=ticker": byPrice, "*&channel=instruments": byName} {
		on := s.add("event stream of "+of, `"delay_ms":900000`, shows)
		s.follow(func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.r.url()+"/v1/sse?symbol="+of, nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.Header.Get("Depthcast-Delay-Ms") != "900000" {
				s.t.Errorf("%s is not labelled: %v", on.name, resp.Header)
			}
			_, err = io.Copy(on, resp.Body)
			return err
		})
	}
}

// dialects follows by the WebSockets of exchanges.
func (s *surfaces) dialects() {
	follow := func(path, request string, shows ...string) {
		label := ""
		d := ws.Dialer{OnHeader: func(key, value []byte) error {
			if http.CanonicalHeaderKey(string(key)) == "Depthcast-Delay-Ms" {
				label = string(value)
			}
			return nil
		}}
		conn, ahead, _, err := d.Dial(s.ctx, "ws"+s.r.url()[len("http"):]+"/dialect/"+path)
		if err != nil {
			s.t.Fatal(err)
		}
		if label != "900000" {
			s.t.Errorf("%s is not labelled", path)
		}
		if request != "" {
			if err := wsutil.WriteClientText(conn, []byte(request)); err != nil {
				s.t.Fatal(err)
			}
		}
		on := s.add(path+" "+request, "", shows[0])
		c := &exchangeClient{Conn: conn, t: s.t, ahead: ahead}
		s.follow(func(ctx context.Context) error {
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			for {
				text, err := wsutil.ReadServerText(c)
				if err != nil {
					return err
				}
				_, _ = on.Write(append(text, '\n'))
			}
		})
	}
	for _, channel := range []string{"book", "trade", "ticker"} {
		follow("kraken/v2", fmt.Sprintf(`{"method":"subscribe","params":{"channel":%q,"symbol":["ALPHA/USD"]}}`, channel), byPrice)
	}
	follow("kraken/v2", `{"method":"subscribe","params":{"channel":"instrument"}}`, byName)
	for _, stream := range []string{"depth@100ms", "depth5@100ms", "trade", "bookTicker"} {
		follow("binance/ws/alphausd@"+stream, "", byPrice)
	}
	follow("binance/stream?streams=alphausd@depth20", "", byPrice)
}

// questions asks over plain HTTP and by polls.
func (s *surfaces) questions() {
	for path, shows := range map[string]string{
		"/v1/symbols": byName, "/v1/status": byCount, "/v1/books/SIM:ALPHA-USD": byPrice,
		"/v1/poll?wait_ms=0&symbol=SIM:ALPHA-USD":                 byPrice,
		"/v1/poll?wait_ms=0&symbol=SIM:ALPHA-USD&channel=trades":  byPrice,
		"/v1/poll?wait_ms=0&symbol=SIM:ALPHA-USD&channel=ticker":  byPrice,
		"/v1/poll?wait_ms=0&symbol=*&channel=instruments":         byName,
		"/dialect/kraken/0/public/Assets":                         byName,
		"/dialect/kraken/0/public/AssetPairs":                     byName,
		"/dialect/kraken/0/public/Depth?pair=ALPHAUSD":            byPrice,
		"/dialect/binance/api/v3/exchangeInfo":                    byName,
		"/dialect/binance/api/v3/depth?symbol=ALPHAUSD&limit=100": byPrice,
	} {
		on := s.add(path, "label 900000", shows)
		on.ask = func() {
			header, body := fetch(s.t, s.r.url()+path, 0)
			fmt.Fprintln(on, "label", header.Get("Depthcast-Delay-Ms"), body)
		}
	}
}

// tick is written: another best bid and a trade of SIM:ALPHA-USD, and a new symbol.
func (s *surfaces) tick(n string, price int64) {
	update := eventRecord("SIM:ALPHA-USD", proto.Event{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: price, Qty: 5}}}, traded(uint64(price), price, 3))
	update.Time = s.now().UnixNano()
	s.writeRaw(s.producer, update)
	s.list("TICK"+n, 0)
}

// Every kind of client of a late server is told that it is, is told each tick, and is
// told of none while a moment is missing. Nothing is stale by being late.
func TestEndToEndNoSurfaceOfALateServerIsEarlyOrUnlabelled(t *testing.T) {
	t.Parallel()
	s := &surfaces{late: newLate(t)}
	first := eventRecord("SIM:ALPHA-USD", defined("ALPHA"), sessionStart, inPhase(proto.Continuous), levels(5555501, 9999900), traded(1, 5555501, 3))
	first.Time = s.now().Add(-lateBy).UnixNano()
	s.writeRaw(s.producer, first)
	s.r = s.server(nil)
	s.r.known("SIM:ALPHA-USD")
	s.r.until("named in dialects", func() bool {
		_, body := fetch(t, s.r.url()+"/dialect/binance/api/v3/exchangeInfo", 0)
		return strings.Contains(body, "ALPHAUSD")
	})
	s.clients(proto.CodecProto)
	s.clients(proto.CodecJSON)
	s.events()
	s.dialects()
	s.questions()
	const ticks = 4
	for i := range int64(ticks) { // a millisecond apart
		s.tick(fmt.Sprint(i+2), 5555501+10*(i+2))
		s.pass(time.Millisecond)
	}
	s.looked(s.r, 2*ticks)
	s.pass(lateBy - ticks*time.Millisecond)
	for i := range ticks {
		due, early := fmt.Sprint(i+2), fmt.Sprint(i+3)
		for _, on := range s.tapes {
			s.r.until(on.name+" shows tick "+due, func() bool { return on.has(fmt.Sprintf(on.shows, due)) })
		}
		for _, on := range s.tapes {
			if on.has(fmt.Sprintf(on.shows, early)) {
				t.Errorf("%s shows tick %s when %s is due", on.name, early, due)
			}
		}
		s.pass(time.Millisecond)
	}
	for _, on := range s.tapes {
		if !on.has(on.label) {
			t.Errorf("%s is not labelled as late", on.name)
		}
		for _, word := range []string{`"stale":1`, `stale`, `recovering`} {
			if on.has(word) && !strings.HasSuffix(on.name, "/v1/status") {
				t.Errorf("%s says %s", on.name, word)
			}
		}
	}
	if _, body := fetch(t, s.r.url()+"/v1/status", http.StatusOK); !strings.Contains(body, `"recovering":0,"stale":0`) {
		t.Errorf("the server stands at %s", body)
	}
}

// The page of a late server says so beside its live book.
func TestPageOfALateServerSaysSo(t *testing.T) {
	t.Parallel()
	l := newLate(t)
	l.list("ALPHA", -lateBy)
	r := l.server(nil)
	r.known("SIM:ALPHA-USD")
	b := newBrowser(t)
	b.open(r.url())
	b.want("late", "delayed by 15 min")
	b.want("state", "live")
}
