package main

import (
	"testing"
	"time"

	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest/feed"
	"github.com/depthcast/depthcast/proto"
)

// From trades alone, through halts and auctions, the tickers are what the simulated
// market states of its sessions.
func TestTickersAreWhatTheSimulatedMarketStates(t *testing.T) {
	m, err := feed.NewMarket(feed.MarketConfig{Seed: 5, Rate: 3000})
	if err != nil {
		t.Fatal(err)
	}
	e, err := book.New(book.Config{})
	if err != nil {
		t.Fatal(err)
	}
	e.Begin(7, false)
	e.CatchingUp(false)
	stated := map[string]proto.Statistics{}
	phases, compared, seq := map[proto.Phase]bool{}, 0, int64(0)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	for range 500 {
		now += int64(250 * time.Millisecond)
		for _, r := range m.Step(now) {
			kept := r.Events[:0]
			var last *proto.Statistics
			for _, event := range r.Events {
				switch {
				case event.Kind == proto.EventPhase:
					phases[event.Phase] = true
				case event.Kind == proto.EventStatistics && event.Statistics.Open.Set:
					last = event.Statistics
					continue
				}
				kept = append(kept, event)
			}
			r.Events = kept
			r.Seq = seq
			seq++
			if _, err := e.Apply(r); err != nil {
				t.Fatal(err)
			}
			if last == nil || r.More {
				continue
			}
			stated[r.Symbol] = *last
			var s proto.Snapshot
			if err := e.Read(proto.TopicKey{Symbol: r.Symbol, Channel: proto.ChannelTicker}, &s); err != nil {
				t.Fatal(err)
			}
			x := s.Ticker
			got := proto.Statistics{Open: x.Open, High: x.High, Low: x.Low, Last: x.Last, PreviousClose: x.PreviousClose, Volume: x.Volume}
			if got != *last || x.Change.Value != x.Last.Value-x.Open.Value || !x.Bid.Set && s.Phase == proto.Continuous {
				t.Fatalf("%s at %d: the ticker is\n%+v, the market states\n%+v", r.Symbol, r.Seq, x, *last)
			}
			compared++
		}
	}
	if len(stated) < 15 || compared < 200 || !phases[proto.Halted] || !phases[proto.Auction] {
		t.Errorf("the run proves little: %d symbols, %d comparisons, phases %v", len(stated), compared, phases)
	}
}

// A day of ITCH has a session: it begins with the stock directory message, trades of
// all kinds count, broken ones do not.
func TestEndToEndITCHTickerIsThatOfTheDay(t *testing.T) {
	l := newLab(t, 1)
	s := &itchStock{name: "AAPL", locate: 17, now: 3 * time.Hour}
	shares64 := func(n uint64) []byte { return be64(n) }
	records := func() (all [][]byte) {
		action := func(state string) []byte { return s.message('H', s.stock(), []byte(state), []byte(" IPO1")) }
		cross := func(n uint64, price uint32, match uint64) []byte {
			return s.message('Q', shares64(n), s.stock(), be32(price), be64(match), []byte("O"))
		}
		hidden := func(n, price uint32, match uint64) []byte {
			return s.message('P', be64(0), []byte("B"), be32(n), s.stock(), be32(price), be64(match))
		}
		all = append(all, s.directory())
		s.now = 9*time.Hour + 30*time.Minute
		return append(all,
			action("T"), cross(1000, 1_500_000, 70), s.add(1, 'B', 100, 1_499_900), s.add(2, 'S', 50, 1_500_200),
			hidden(10, 1_500_100, 71), s.execute(2, 20), hidden(5, 1_600_000, 72), s.message('B', be64(72)), hidden(1, 1_499_000, 73))
	}()
	p := l.producer()
	for _, m := range records {
		l.writeRaw(p, s.record(m))
	}
	server := l.serve(nil)
	server.caughtUpTo(l)
	c := server.dial(proto.CodecProto)
	sub := subscribe(t, c, client.Item{Symbol: "NASDAQ:AAPL", Channel: proto.ChannelTicker})
	follow(t, l.ctx, c, func(client.Event) bool { return sub.Ticker() != nil })
	// The broken trade was the highest; what was before it is not known any more.
	if got, want := tickerText(sub), "last 149.9000  change -0.1000  open 150.0000  low 149.9000  volume 1031"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
