package client

import (
	"fmt"
	"slices"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// ticker sends a ticker with a last price and a best bid.
func (p *peer) ticker(topic uint32, prev, seq, last int64) {
	bid := last - 1
	p.frame(&pb.Frame{Body: &pb.Frame_Ticker{Ticker: &pb.Ticker{Topic: topic, PrevSeq: prev, Seq: seq, Last: &last, Bid: &bid}}})
}

func TestTickerReplacesWhatWasKnown(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A", Channel: proto.ChannelTicker})
		wait := script(func() {
			p := s.greet()
			id, items := p.subscribe(1)
			if items[0].Channel != pb.Channel_CHANNEL_TICKER || items[0].Resume != nil {
				t.Errorf("asked for %v", items[0])
			}
			p.ack(id, 0, 1, nil)
			p.ticker(1, 10, 10, 100)
			p.ticker(1, 10, 12, 101)
			p.ticker(1, 9, 11, 99) // older
			p.ticker(1, 12, 12, 102)
			p.frame(&pb.Frame{Body: &pb.Frame_Keepalive{Keepalive: &pb.Keepalive{Topic: 1, Seq: 20}}})
			p.ticker(1, 9, 19, 98) // older than the keepalive
			p.frame(&pb.Frame{Body: &pb.Frame_Status{Status: &pb.Status{Topic: 1, Seq: 20, State: pb.State_STATE_RECOVERING}}})
			// A step back, under other exponents.
			p.frame(&pb.Frame{Body: &pb.Frame_Snapshot{Snapshot: &pb.Snapshot{
				Topic: 1, Epoch: testEpoch, Seq: 5, State: pb.State_STATE_LIVE, PriceExponent: int32(testExponents.Price), QtyExponent: -7}}})
			p.ticker(1, 5, 5, 50)
			_ = p.net.Close()
			p = s.greet()
			id, items = p.subscribe(1)
			if r := items[0].GetResume(); r.GetEpoch() != testEpoch || r.GetSeq() != 5 {
				t.Errorf("resumes with %v", items[0])
			}
			p.ack(id, 0, 4, func(a *pb.Ack) { a.QtyExponent = -7 })
			p.ticker(4, 3, 3, 60) // the first after an ack counts
			p.closed()
		})
		var said []string
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *TickerChanged:
				said = append(said, fmt.Sprintf("%d bid %d", e.Ticker.Last.Value, e.Ticker.Bid.Value))
				if e.Ticker != sub.Ticker() || sub.Book() != nil {
					t.Error("the subscription has another ticker")
				}
			case *StatusChanged:
				text := proto.StateWord(e.Status.State)
				if x := sub.Ticker(); x != nil {
					text += fmt.Sprintf(" %d bid %v", x.Last.Value, x.Bid.Set)
				}
				said = append(said, text)
			case *Alive, *Disconnected:
				said = append(said, fmt.Sprintf("%T", e))
			}
			return len(said) > 0 && said[len(said)-1] == "60 bid 59"
		})
		wait()
		want := []string{"100 bid 99", "101 bid 100", "102 bid 101", "*client.Alive", "recovering 102 bid false", "live", "50 bid 49", "*client.Disconnected", "60 bid 59"}
		if err != nil || !slices.Equal(said, want) || sub.Exponents().Qty != -7 {
			t.Errorf("%v; got\n%q, want\n%q", err, said, want)
		}
	})
}

// listed sends instruments by their symbols; one that ends with ! has ended.
func (p *peer) listed(topic uint32, prev, seq int64, snapshot, more bool, symbols ...string) {
	in := &pb.Instruments{Topic: topic, PrevSeq: prev, Seq: seq, Snapshot: snapshot, More: more}
	for _, s := range symbols {
		l := &pb.Listing{Symbol: s, Phase: pb.Phase_PHASE_AUCTION, Seq: seq, Instrument: &pb.Instrument{PriceExponent: -2, QtyExponent: -8, Tick: 5}}
		if s[len(s)-1] == '!' {
			l.Symbol, l.Ended, l.EndReason, l.NewSymbol = s[:len(s)-1], true, pb.EndReason_END_REASON_RENAMED, "SIM:Z"
		}
		in.Listings = append(in.Listings, l)
	}
	p.frame(&pb.Frame{Body: &pb.Frame_Instruments{Instruments: in}})
}

func TestListingsComeAsAListInPartsThenAsChanges(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:*", Channel: proto.ChannelInstruments})
		wait := script(func() {
			p := s.greet()
			id, items := p.subscribe(1)
			if items[0].Symbol != "SIM:*" || items[0].Channel != pb.Channel_CHANNEL_INSTRUMENTS {
				t.Errorf("asked for %v", items[0])
			}
			p.ack(id, 0, 1, nil)
			p.listed(1, 3, 4, false, false, "SIM:early") // no list yet
			p.listed(1, 4, 4, true, true, "SIM:A", "SIM:B")
			p.listed(1, 4, 4, false, false, "SIM:C")
			p.listed(1, 2, 4, false, true, "SIM:old") // seen before, in two parts
			p.listed(1, 2, 4, false, false, "SIM:older")
			p.listed(1, 4, 6, false, false, "SIM:A!", "SIM:D")
			p.listed(1, 8, 9, false, false, "SIM:E") // a gap
			if req := p.request(); len(req.GetResync().GetTopics()) != 1 {
				t.Errorf("got %v, want a resync", req)
			}
			p.listed(1, 9, 10, false, false, "SIM:F") // of no use before the list
			p.listed(1, 10, 10, true, false, "SIM:C", "SIM:G")
			p.closed()
		})
		var said []string
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *Listed:
				text := fmt.Sprint(e.Instruments.Snapshot, e.Instruments.More)
				for _, l := range e.Instruments.Listings {
					text += fmt.Sprintf(" %s %s %v", l.Symbol, proto.PhaseWord(l.Phase), l.Instrument.Tick)
					if l.Ended {
						text += fmt.Sprintf(" %s to %s", proto.ReasonWord(l.EndReason), l.NewSymbol)
					}
				}
				said = append(said, text)
			case *BookLost:
				said = append(said, e.Cause.String())
			}
			return len(said) == 5
		})
		wait()
		want := []string{
			"true true SIM:A auction 5 SIM:B auction 5", "false false SIM:C auction 5",
			"false false SIM:A auction 5 renamed to SIM:Z SIM:D auction 5", "gap", "true false SIM:C auction 5 SIM:G auction 5",
		}
		if err != nil || !slices.Equal(said, want) {
			t.Errorf("%v; got\n%q, want\n%q", err, said, want)
		}
		for symbol, known := range map[string]bool{"SIM:A": false, "SIM:B": false, "SIM:C": true, "SIM:G": true} {
			if (sub.Listing(symbol) != nil) != known {
				t.Errorf("%s is known: %v", symbol, !known)
			}
		}
	})
}

func TestChannelsThatAreNotServedAreRefusedHere(t *testing.T) {
	c := newClient(t, newFakeServer(t, proto.CodecProto), nil)
	for _, symbol := range []string{"SIM:A", "SIM:*"} {
		if _, err := c.Subscribe(Item{Symbol: symbol, Channel: proto.ChannelCandles}); err == nil {
			t.Errorf("candles of %s are not served", symbol)
		}
	}
}
