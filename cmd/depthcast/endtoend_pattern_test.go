package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// tap stands between clients and a server, keeps what the server says, and can break
// the connections.
type tap struct {
	listener net.Listener
	origin   string

	// Guarded by mu.
	mu    sync.Mutex
	said  bytes.Buffer
	conns []net.Conn
}

func newTap(t *testing.T, server *running) *tap {
	t.Helper()
	return newTapBefore(t, server.url())
}

// newTapBefore is a tap before what is at an http URL.
func newTapBefore(t *testing.T, origin string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{listener: l, origin: strings.TrimPrefix(origin, "http://")}
	t.Cleanup(func() { _ = l.Close(); p.cut() })
	go p.run()
	return p
}

func (p *tap) url() string    { return "http://" + p.listener.Addr().String() }
func (p *tap) stream() string { return "ws://" + p.listener.Addr().String() + "/v1/stream" }

func (p *tap) run() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.origin)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, near, far)
		p.mu.Unlock()
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		go func() { _, _ = io.Copy(near, io.TeeReader(far, p)); _ = near.Close() }()
	}
}

// Write keeps what the server says.
func (p *tap) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func (p *tap) heard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// cut breaks all connections.
func (p *tap) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

// A client that follows patterns has every symbol that matches, in every channel, also
// one that is listed later; over a break of the connection books go on where they were.
func TestEndToEndClientFollowsPatternsInEveryChannel(t *testing.T) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			l := newLab(t, 3)
			p := l.producer()
			want := map[string]string{}
			tell := func(symbol string, bid int64) {
				l.writeRaw(p, eventRecord(symbol, levels(bid, bid+10), traded(uint64(bid), bid, 1)))
				if !strings.HasPrefix(symbol, "SIM:") {
					return
				}
				want["book "+symbol] = fmt.Sprint(bid)
				want["trades "+symbol] = fmt.Sprint(bid)
				want["ticker "+symbol] = fmt.Sprint(bid, " ", bid)
			}
			for i := range int64(8) {
				tell(fmt.Sprintf("SIM:%02d", i), 100+i)
			}
			tell("NYSE:A", 1)
			server := l.serve(nil)
			server.caughtUpTo(l)
			between := newTap(t, server)
			c := server.dialAt(between.stream(), codec)
			for _, channel := range []proto.Channel{proto.ChannelBook, proto.ChannelTrades, proto.ChannelTicker} {
				subscribe(t, c, client.Item{Symbol: "SIM:*", Channel: channel, Depth: 1, Last: 1})
			}
			got := map[string]string{}
			broken, resumed := false, 0
			for event, err := range c.Events(l.ctx) {
				if err != nil {
					t.Fatal(err)
				}
				switch e := event.(type) {
				case *client.Granted:
					if e.Sub.Pattern() == nil && e.Sub.Book() != nil {
						t.Errorf("%s has a book", e.Sub.Item().Symbol)
					}
					if e.Ack.Resumed && e.Sub.Book() != nil {
						resumed++
					}
				case *client.Refused:
					t.Fatalf("%s refused: %v", e.Sub.Item().Symbol, e.Error)
				case *client.BookLost:
					t.Fatalf("book of %s lost: %v", e.Sub.Item().Symbol, e.Cause)
				case *client.BookSet:
					bid, _ := e.Book.Best(proto.Bid)
					got["book "+e.Sub.Item().Symbol] = fmt.Sprint(bid.Price)
				case *client.BookChanged:
					bid, _ := e.Book.Best(proto.Bid)
					got["book "+e.Sub.Item().Symbol] = fmt.Sprint(bid.Price)
				case *client.Traded:
					for _, x := range e.Trades.Trades {
						got["trades "+e.Sub.Item().Symbol] = fmt.Sprint(x.Price)
					}
				case *client.TickerChanged:
					got["ticker "+e.Sub.Item().Symbol] = fmt.Sprint(e.Ticker.Last.Value, " ", e.Ticker.Bid.Value)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					continue
				}
				if broken {
					break
				}
				broken = true
				between.cut()
				for i := range int64(8) {
					tell(fmt.Sprintf("SIM:%02d", i), 200+i)
				}
				tell("SIM:99", 300)
				tell("NYSE:B", 2)
			}
			if resumed == 0 {
				t.Error("no book went on where it was")
			}
		})
	}
}

// A client that asks for compression gets it for JSON, and its books are the same.
func TestEndToEndClientInflatesWhatTheServerDeflates(t *testing.T) {
	l := newLab(t, 1)
	p := l.producer()
	deep := proto.Event{Kind: proto.EventSnapshot}
	for i := range int64(50) {
		deep.Bids = append(deep.Bids, proto.Level{Price: 1000 - i, Qty: 10 + i})
	}
	l.writeRaw(p, eventRecord("SIM:A", deep))
	server := l.serve(nil)
	server.caughtUpTo(l)
	for codec, compressed := range map[proto.Codec]bool{proto.CodecJSON: true, proto.CodecProto: false} {
		t.Run(codec.String(), func(t *testing.T) {
			between := newTap(t, server)
			c, err := client.New(client.Config{URL: between.stream(), Codec: codec, Deflate: true})
			if err != nil {
				t.Fatal(err)
			}
			sub := subscribe(t, c, client.Item{Symbol: "SIM:A"})
			follow(t, l.ctx, c, func(event client.Event) bool {
				_, set := event.(*client.BookSet)
				return set && sub.Book().Len(proto.Bid) == 50
			})
			said := between.heard()
			if agreed := strings.Contains(said, "permessage-deflate"); agreed != compressed {
				t.Errorf("compression was agreed on: %v", agreed)
			}
			if strings.Contains(said, `"type":"snapshot"`) {
				t.Error("the snapshot came as it is")
			}
		})
	}
}
