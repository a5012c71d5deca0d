package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// browserState is what web/test/watch.js says of what it follows.
type browserState struct {
	Link     string            `json:"link"`
	Books    map[string]string `json:"books"`  // state, hash, depth
	Trades   map[string]string `json:"trades"` // ordinal and price of the last
	Tickers  map[string]string `json:"tickers"`
	Listings string            `json:"listings"`
	Orders   string            `json:"orders"` // state, hash, bids, asks
	Lost     int               `json:"lost"`
	Refused  string            `json:"refused"`
}

// nodeWatch runs web/test/watch.js.
type nodeWatch struct {
	t     *testing.T
	in    io.Writer
	lines chan string
	last  string
}

func newNodeWatch(t *testing.T, args ...string) *nodeWatch {
	t.Helper()
	// The flag gives Node.js 20 the WebSocket that later versions have anyway.
	script := append([]string{"--experimental-websocket", filepath.Join("..", "..", "web", "test", "watch.js")}, args...)
	cmd := exec.CommandContext(t.Context(), "node", script...)
	var complaints output
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("no Node.js on this machine: %v", err)
	}
	w := &nodeWatch{t: t, in: in, lines: make(chan string, 64)}
	go func() {
		defer close(w.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			w.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close() // it ends
		for range w.lines {
		}
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Node.js said %s", complaints.String())
		}
	})
	return w
}

// until waits until the client has what is wanted.
func (w *nodeWatch) until(want browserState) {
	w.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		var got browserState
		if w.last != "" {
			if err := json.Unmarshal([]byte(w.last), &got); err != nil {
				w.t.Fatalf("%v: %s", err, w.last)
			}
		}
		if reflect.DeepEqual(got, want) {
			return
		}
		select {
		case line, more := <-w.lines:
			if !more {
				w.t.Fatalf("it ended, after %s", w.last)
			}
			w.last = line
		case <-timer.C:
			w.t.Fatalf("it has   %+v,\nwant it %+v", got, want)
		}
	}
}

// patternsMarket is a market that a client follows by a pattern: each symbol's last price
// and how many trades it has had.
type patternsMarket struct {
	lab    *lab
	server *running
	tell   func(symbol string, bid int64)
	bids   map[string]int64
	trades map[string]int
	depths map[string]uint32 // granted, where it is not 5
}

// want is what a client has that follows the market, beside the orders of symbol.
func (m *patternsMarket) want(link, symbol, refused string) browserState {
	m.lab.t.Helper()
	m.server.caughtUpTo(m.lab)
	s := browserState{Link: link, Books: map[string]string{}, Trades: map[string]string{}, Tickers: map[string]string{}, Refused: refused}
	var names []string
	for name, bid := range m.bids {
		names = append(names, name)
		depth := uint32(5)
		if d, other := m.depths[name]; other {
			depth = d
		}
		view := m.view(proto.TopicKey{Symbol: name, Channel: proto.ChannelBook, View: proto.View{Depth: depth}})
		s.Books[name] = fmt.Sprintf("live %08x %d", view.Hash, depth)
		price := decimal(bid, -2)
		s.Trades[name], s.Tickers[name] = fmt.Sprintf("%d %s", m.trades[name], price), price
	}
	slices.Sort(names)
	s.Listings = strings.Join(names, " ")
	o := m.view(proto.TopicKey{Symbol: symbol, Channel: proto.ChannelOrders, View: proto.View{Depth: 10}})
	s.Orders = fmt.Sprintf("live %08x %d %d", o.Hash, len(o.Orders.Bids), len(o.Orders.Asks))
	return s
}

func (m *patternsMarket) view(key proto.TopicKey) *proto.Snapshot {
	m.lab.t.Helper()
	var s proto.Snapshot
	if err := m.server.hub.ReadView(key, &s); err != nil {
		m.lab.t.Fatal(err)
	}
	return &s
}

// The client library for browsers follows patterns, orders, trades, tickers and listings
// over each kind of link, finds the kind by itself, changes views in place, and goes on
// over a break without one book lost.
func TestEndToEndBrowserClientFollowsEverythingOverEachLink(t *testing.T) {
	for link, lets := range map[string]*between{
		"websocket": {events: true, sockets: true},
		"events":    {events: true},
		"poll":      {},
	} {
		t.Run(link, func(t *testing.T) {
			l := newLab(t, 1)
			p := l.producer()
			m := &patternsMarket{lab: l, bids: map[string]int64{}, trades: map[string]int{}, depths: map[string]uint32{}}
			m.tell = func(symbol string, bid int64) {
				book := proto.Event{Kind: proto.EventSnapshot, Asks: []proto.Level{{Price: bid + 10, Qty: 7}}}
				for i := range int64(8) {
					book.Bids = append(book.Bids, proto.Level{Price: bid - i, Qty: 1 + i})
				}
				m.trades[symbol]++
				m.bids[symbol] = bid
				l.writeRaw(p, eventRecord(symbol, book, traded(uint64(m.trades[symbol]), bid, 1)))
			}
			f := newOrderFlow(l, 5)
			f.trade(300)
			for i := range int64(4) {
				m.tell(fmt.Sprintf("SIM:%02d", i), 100+i)
			}
			m.server = l.serve(nil)
			m.server.caughtUpTo(l)
			origin, err := url.Parse(m.server.url())
			if err != nil {
				t.Fatal(err)
			}
			front := httptest.NewServer(lets.proxy(origin))
			t.Cleanup(front.Close)
			wire := newTapBefore(t, front.URL)
			w := newNodeWatch(t, wire.url(), "SIM:*", orderSymbol)
			w.until(m.want(link, orderSymbol, ""))

			// Changes, a later listing, the end of another.
			for range 20 {
				f.trade(3)
			}
			m.tell("SIM:00", 250)
			m.tell("SIM:99", 300)
			l.writeRaw(p, eventRecord("SIM:01", ends(proto.ReasonDelisted, "")))
			delete(m.bids, "SIM:01")
			w.until(m.want(link, orderSymbol, ""))

			// Another view of one, which can be refused.
			send := func(line string) {
				if _, err := io.WriteString(w.in, line+"\n"); err != nil {
					t.Fatal(err)
				}
			}
			send(`{"symbol":"SIM:02","depth":1}`)
			m.depths["SIM:02"] = 1
			w.until(m.want(link, orderSymbol, ""))
			m.tell("SIM:02", 260)
			send(`{"symbol":"SIM:02","group":"0.003"}`)
			refused := "SIM:02 bad_view -1"
			w.until(m.want(link, orderSymbol, refused))

			// A break, in which things change.
			wire.cut()
			f.trade(5)
			m.tell("SIM:00", 270)
			m.tell("SIM:98", 310)
			w.until(m.want(link, orderSymbol, refused))
		})
	}
}
