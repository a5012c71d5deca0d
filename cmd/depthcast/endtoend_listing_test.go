package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// eventRecord is a record of a symbol with two decimals in prices and none in
// quantities.
func eventRecord(symbol string, events ...proto.Event) ingest.Record {
	return ingest.Record{Key: []byte(symbol), ContentType: ingest.ContentType("proto"), Value: proto.AppendEvents(nil, &proto.Batch{
		Symbol: symbol, Feed: "SIM", Exponents: proto.Exponents{Price: -2}, HasExponents: true, Events: events,
	})}
}

func defined(name string) proto.Event {
	return proto.Event{Kind: proto.EventInstrument, Instrument: &proto.Instrument{Exponents: proto.Exponents{Price: -2}, Tick: 1, Name: name}}
}

func inPhase(p proto.Phase) proto.Event { return proto.Event{Kind: proto.EventPhase, Phase: p} }

func ends(reason proto.Reason, to string) proto.Event {
	return proto.Event{Kind: proto.EventInstrumentEnd, EndReason: reason, NewSymbol: to}
}

func traded(id uint64, price, qty int64) proto.Event {
	return proto.Event{Kind: proto.EventTrade, Trade: proto.Trade{ID: id, Price: price, Qty: qty}}
}

func levels(bid, ask int64) proto.Event {
	return proto.Event{Kind: proto.EventSnapshot, Bids: []proto.Level{{Price: bid, Qty: 5}}, Asks: []proto.Level{{Price: ask, Qty: 7}}}
}

var sessionStart = proto.Event{Kind: proto.EventClear, SessionStart: true}

// Who follows a pattern is told of every symbol that matches, wherever it lives: at
// first as they are, then their phases, ends and new names, and what is listed later.
func TestEndToEndPatternSeesPhasesEndsAndLaterListings(t *testing.T) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			l := newLab(t, 3)
			p := l.producer()
			want := map[string]string{}
			for i := range 12 {
				symbol := fmt.Sprintf("SIM:%02d", i)
				l.writeRaw(p, eventRecord(symbol, defined("Number"), inPhase(proto.PreOpen)))
				want[symbol] = "pre_open Number"
			}
			l.writeRaw(p, eventRecord("NYSE:A", defined("Other"), inPhase(proto.PreOpen)))
			server := l.serve(nil)
			server.caughtUpTo(l)
			c := server.dial(codec)
			sub := subscribe(t, c, client.Item{Symbol: "SIM:*", Channel: proto.ChannelInstruments})
			got, late := map[string]string{}, false
			has := func(event client.Event) bool {
				e, ok := event.(*client.Listed)
				if !ok {
					return false
				}
				if e.Instruments.Snapshot {
					clear(got)
				}
				for _, x := range e.Instruments.Listings {
					got[x.Symbol] = proto.PhaseWord(x.Phase)
					if x.Instrument != nil {
						got[x.Symbol] += " " + x.Instrument.Name
					}
					switch {
					case x.Ended && late:
						delete(got, x.Symbol)
					case x.Ended:
						got[x.Symbol] = proto.ReasonWord(x.EndReason) + " " + x.NewSymbol
					}
					if (sub.Listing(x.Symbol) == nil) != x.Ended {
						t.Errorf("the client and its event disagree on %s", x.Symbol)
					}
				}
				return fmt.Sprint(got) == fmt.Sprint(want)
			}
			write := func(symbol, then string, events ...proto.Event) {
				t.Helper()
				l.writeRaw(p, eventRecord(symbol, events...))
				if then != "" {
					want[symbol] = then
				}
			}
			changed := false
			follow(t, l.ctx, c, func(event client.Event) bool {
				if !has(event) || changed {
					return changed && has(event)
				}
				changed = true
				write("SIM:03", "continuous Number", inPhase(proto.Continuous))
				write("SIM:04", "halted Number", inPhase(proto.Halted))
				write("SIM:05", "renamed SIM:55", ends(proto.ReasonRenamed, "SIM:55"))
				write("SIM:55", "pre_open Number", defined("Number"), inPhase(proto.PreOpen))
				write("SIM:06", "delisted ", ends(proto.ReasonDelisted, ""))
				write("NYSE:B", "", defined("Other"))
				return false
			})

			// Who comes later knows no more of what has ended before than that it has; a
			// symbol that is listed anew is there again.
			write("SIM:06", "none Again", defined("Again"))
			delete(want, "SIM:05")
			server.caughtUpTo(l)
			late = true
			c = server.dial(codec)
			sub = subscribe(t, c, client.Item{Symbol: "SIM:*", Channel: proto.ChannelInstruments})
			got = map[string]string{}
			follow(t, l.ctx, c, has)
		})
	}
}

// A Kafka topic that was made again tells all anew: of what the old one listed
// nothing stays in a pattern that is followed, until the new one lists it.
func TestEndToEndRecreatedKafkaTopicLeavesNoListingsOfTheOldOne(t *testing.T) {
	l := newLab(t, 1)
	p := l.producer()
	l.writeRaw(p, eventRecord("SIM:A", defined("First"), inPhase(proto.Halted)), eventRecord("SIM:B", defined("First"), inPhase(proto.PreOpen)))
	server := l.serve(nil)
	server.caughtUpTo(l)
	c := server.dial(proto.CodecProto)
	sub := subscribe(t, c, client.Item{Symbol: "SIM:*", Channel: proto.ChannelInstruments})
	listed := func(s *client.Subscription) (text string) {
		for _, symbol := range []string{"SIM:A", "SIM:B"} {
			if x := s.Listing(symbol); x != nil {
				text += fmt.Sprint(symbol, " ", proto.PhaseWord(x.Phase), " ")
			}
		}
		return text
	}
	step := 0
	follow(t, l.ctx, c, func(client.Event) bool {
		switch got := listed(sub); {
		case step == 0 && got == "SIM:A halted SIM:B pre_open ":
			l.recreate(1)
		case step == 1 && got == "":
			p = l.producer()
			l.writeRaw(p, eventRecord("SIM:B", defined("Second"), inPhase(proto.Continuous)))
		case step == 2 && got != "":
		default:
			return false
		}
		step++
		return step == 3
	})
	late := server.dial(proto.CodecJSON)
	newcomer := subscribe(t, late, client.Item{Symbol: "SIM:*", Channel: proto.ChannelInstruments})
	follow(t, l.ctx, late, func(client.Event) bool { return listed(newcomer) != "" })
	for _, s := range []*client.Subscription{sub, newcomer} {
		if got := listed(s); got != "SIM:B continuous " {
			t.Errorf("listed: %s", got)
		}
	}
	// The old one is listed again with its first record, whatever that says.
	l.writeRaw(p, eventRecord("SIM:A", levels(1, 2)))
	follow(t, l.ctx, c, func(client.Event) bool { return listed(sub) == "SIM:A none SIM:B continuous " })
}

// Also where no levels are followed a client knows that the book is good again.
func TestEndToEndRecreatedKafkaTopicTellsEveryChannelThatItIsLiveAgain(t *testing.T) {
	l := newLab(t, 1)
	p := l.producer()
	whole := eventRecord("SIM:A", defined("A"), sessionStart, levels(1, 2), traded(1, 1, 1))
	l.writeRaw(p, whole)
	server := l.serve(nil)
	server.caughtUpTo(l)
	c := server.dial(proto.CodecProto)
	channels := []proto.Channel{proto.ChannelTicker, proto.ChannelTrades, proto.ChannelInstruments}
	for _, channel := range channels {
		subscribe(t, c, client.Item{Symbol: "SIM:A", Channel: channel})
	}
	states := map[proto.Channel]proto.State{}
	step := 0
	follow(t, l.ctx, c, func(event client.Event) bool {
		switch e := event.(type) {
		case *client.Granted:
			states[e.Sub.Item().Channel] = proto.State(e.Ack.State)
		case *client.StatusChanged:
			states[e.Sub.Item().Channel] = e.Status.State
		}
		all := func(state proto.State) bool {
			return !slices.ContainsFunc(channels, func(c proto.Channel) bool { return states[c] != state })
		}
		switch {
		case step == 0 && all(proto.Live):
			l.recreate(1)
		case step == 1 && all(proto.Recovering):
			l.writeRaw(l.producer(), whole)
		case step == 2 && all(proto.Live):
		default:
			return false
		}
		step++
		return step == 3
	})
}

// The end of an instrument ends all that is followed of it, with its reason. Under
// the same symbol it may be listed again: then as new topics.
func TestEndToEndEndOfAnInstrumentEndsAllItsTopics(t *testing.T) {
	l := newLab(t, 1)
	p := l.producer()
	const symbol = "SIM:A"
	l.writeRaw(p, eventRecord(symbol, defined("First"), sessionStart, proto.Event{Kind: proto.EventAdd, OrderID: 1, Side: proto.Bid, Price: 100, Qty: 5}))
	server := l.serve(nil)
	server.caughtUpTo(l)
	channels := []proto.Channel{proto.ChannelBook, proto.ChannelTrades, proto.ChannelOrders, proto.ChannelTicker, proto.ChannelInstruments}
	topics := map[uint32]bool{}
	granted := func(c *client.Client) (subs []*client.Subscription) {
		for _, channel := range channels {
			subs = append(subs, subscribe(t, c, client.Item{Symbol: symbol, Channel: channel}))
		}
		n := 0
		follow(t, l.ctx, c, func(event client.Event) bool {
			if e, ok := event.(*client.Granted); ok {
				n++
				if topics[e.Ack.Topic] || e.Ack.State != 1 {
					t.Errorf("topic %d again, or state %v", e.Ack.Topic, e.Ack.State)
				}
				topics[e.Ack.Topic] = true
			}
			return n == len(channels)
		})
		return subs
	}
	c := server.dial(proto.CodecProto)
	for _, channel := range channels {
		subscribe(t, c, client.Item{Symbol: symbol, Channel: channel})
	}
	n, finals, listed := 0, 0, ""
	follow(t, l.ctx, c, func(event client.Event) bool {
		switch e := event.(type) {
		case *client.Granted:
			topics[e.Ack.Topic] = true
			if n++; n == len(channels) {
				l.writeRaw(p, eventRecord(symbol, ends(proto.ReasonRenamed, "SIM:B")))
			}
		case *client.Listed:
			x := e.Instruments.Listings[0]
			listed = fmt.Sprint(x.Ended, proto.ReasonWord(x.EndReason), x.NewSymbol)
		case *client.StatusChanged:
			if !e.Status.Final || e.Status.Reason != proto.ReasonRenamed || e.Status.NewSymbol != "SIM:B" || !e.Sub.Ended() {
				t.Errorf("channel %d: %+v", e.Sub.Item().Channel, e.Status)
			}
			finals++
		}
		return finals == len(channels)
	})
	if listed != "truerenamedSIM:B" {
		t.Errorf("listed as %s", listed)
	}
	if s := server.hub.ReadView(proto.TopicKey{Symbol: symbol, Channel: proto.ChannelTicker}, &proto.Snapshot{}); s == nil {
		t.Error("the symbol is still known")
	}
	l.writeRaw(p, eventRecord(symbol, defined("Second"), sessionStart, proto.Event{Kind: proto.EventAdd, OrderID: 1, Side: proto.Ask, Price: 101, Qty: 5}))
	server.caughtUpTo(l)
	subs := granted(server.dial(proto.CodecProto))
	if len(topics) != 2*len(channels) {
		t.Errorf("%d topics for %d subscriptions twice", len(topics), len(channels))
	}
	if slices.ContainsFunc(subs, (*client.Subscription).Ended) {
		t.Error("a new subscription has ended")
	}
}

// In an auction a crossed book is shown, live, with where the price stands; the
// same book in continuous trading is not.
func TestEndToEndAuctionIsShownCrossedWithItsPrice(t *testing.T) {
	l := newLab(t, 1)
	p := l.producer()
	auction := proto.Event{Kind: proto.EventPhase, Phase: proto.Auction, Indicative: proto.Indicative{Price: 101, Qty: 4, HasPrice: true, HasQty: true}}
	l.writeRaw(p, eventRecord("SIM:A", auction, levels(102, 100)))
	server := l.serve(nil)
	server.caughtUpTo(l)
	if s := server.book("SIM:A"); s.State != proto.Live || s.Phase != proto.Auction || !s.Crossed || s.Indicative != auction.Indicative {
		t.Errorf("got %+v", s)
	}
	c := server.dial(proto.CodecJSON)
	sub := subscribe(t, c, client.Item{Symbol: "SIM:A"})
	subscribe(t, c, client.Item{Symbol: "SIM:A", Channel: proto.ChannelTicker})
	var said []string
	follow(t, l.ctx, c, func(event client.Event) bool {
		switch e := event.(type) {
		case *client.Granted:
			if e.Sub == sub && e.Ack.Phase != 2 {
				t.Errorf("acknowledged with phase %v", e.Ack.Phase)
			}
		case *client.BookSet:
			if !e.Book.Crossed() || e.Book.Indicative() != auction.Indicative {
				t.Errorf("crossed %v, indicative %+v", e.Book.Crossed(), e.Book.Indicative())
			}
			for _, phase := range []proto.Phase{proto.PreOpen, proto.Halted, proto.Closed, proto.Continuous} {
				l.writeRaw(p, eventRecord("SIM:A", inPhase(phase)))
			}
		case *client.StatusChanged:
			if e.Sub == sub {
				said = append(said, fmt.Sprint(proto.StateWord(e.Status.State), " ", proto.PhaseWord(e.Status.Phase), " ", e.Status.Crossed, e.Status.Indicative.HasPrice))
			}
		}
		return len(said) == 4
	})
	want := "live pre_open true false, live halted true false, live closed true false, recovering continuous false false"
	if got := strings.Join(said, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The ticker says what the session has been, and a server that reads the log anew
// says the same: it invents no open of its own.
func TestEndToEndTickerIsTheSameAfterARestart(t *testing.T) {
	l := newLab(t, 1)
	p := l.producer()
	l.writeRaw(p,
		eventRecord("SIM:A", defined("A"), sessionStart, inPhase(proto.Continuous), proto.Event{Kind: proto.EventStatistics,
			Statistics: &proto.Statistics{PreviousClose: proto.Optional{Value: 95, Set: true}}}),
		eventRecord("SIM:A", levels(99, 101), traded(1, 100, 3)),
		eventRecord("SIM:A", traded(2, 104, 1), traded(3, 98, 2)),
		// One that was seen from mid-session on only.
		eventRecord("SIM:B", levels(99, 101), traded(1, 100, 3)))
	const want = "last 0.98  change -0.02  open 1.00  high 1.04  low 0.98  previous close 0.95  volume 6"
	for range 2 {
		server := l.serve(nil)
		server.caughtUpTo(l)
		c := server.dial(proto.CodecProto)
		a := subscribe(t, c, client.Item{Symbol: "SIM:A", Channel: proto.ChannelTicker})
		b := subscribe(t, c, client.Item{Symbol: "SIM:B", Channel: proto.ChannelTicker})
		follow(t, l.ctx, c, func(event client.Event) bool { return tickerText(a) != "" && tickerText(b) != "" })
		if got := tickerText(a); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if x := a.Ticker(); x.Bid.Value != 99 || x.BidQty.Value != 5 || x.Ask.Value != 101 || x.AskQty.Value != 7 || x.LastQty.Value != 2 {
			t.Errorf("ticker %+v", x)
		}
		if got := tickerText(b); got != "last 1.00" {
			t.Errorf("of a session whose beginning was not seen: %s", got)
		}
		server.stop()
	}
}

func TestEndToEndWatchShowsTickersAndListings(t *testing.T) {
	l := newLab(t, 2)
	p := l.producer()
	l.writeRaw(p, eventRecord("SIM:A", defined("Acme"), sessionStart, inPhase(proto.Continuous)), eventRecord("SIM:A", levels(99, 101), traded(1, 100, 3)),
		eventRecord("SIM:B", defined("Bcme"), inPhase(proto.Closed)))
	server := l.serve(nil)
	server.caughtUpTo(l)
	var out bytes.Buffer
	if err := (&watchCmd{Symbols: []string{"SIM:*"}, URL: server.stream(), List: true, Once: true}).Run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "SIM:A continuous tick 0.01 Acme\nSIM:B closed tick 0.01 Bcme\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, tt := range []struct {
		json bool
		want string
	}{
		{false, "SIM:A ticker last 1.00  change 0.00  open 1.00  high 1.00  low 1.00  volume 3\n"},
		{true, `"last":"1.00","last_qty":"3","open":"1.00"`},
	} {
		seen := &seenText{want: tt.want, done: make(chan struct{})}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		ended := make(chan error, 1)
		go func() {
			ended <- (&watchCmd{Symbols: []string{"SIM:A"}, URL: server.stream(), Ticker: true, JSON: tt.json, Depth: 1}).Run(ctx, seen)
		}()
		select {
		case <-seen.done:
		case <-ctx.Done():
			t.Errorf("no %q came, but %q", tt.want, seen.text.String())
		}
		cancel()
		<-ended
	}
}

// seenText says when a text was written to it.
type seenText struct {
	want string
	text bytes.Buffer
	done chan struct{}
}

func (s *seenText) Write(b []byte) (int, error) {
	was := strings.Contains(s.text.String(), s.want)
	s.text.Write(b)
	if !was && strings.Contains(s.text.String(), s.want) {
		close(s.done)
	}
	return len(b), nil
}
