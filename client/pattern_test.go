package client

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// brings acknowledges a topic of the pattern that was asked for by id as number 70,
// with a book of qty.
func (p *peer) brings(id, item uint32, symbol string, topic uint32, qty int64) {
	p.ack(id, item, topic, func(a *pb.Ack) { a.Symbol, a.PatternTopic = symbol, 70 })
	p.snapshot(topic, 10, qty)
}

func (p *peer) grantPattern(id, item uint32) {
	p.ack(id, item, 70, func(a *pb.Ack) { a.Symbol, a.PriceExponent, a.QtyExponent, a.Epoch = "SIM:*", 0, 0, 0 })
}

// unsubscribed expects the topics that the client leaves, and answers.
func (p *peer) unsubscribed(want ...uint32) {
	var got []uint32
	for len(got) < len(want) {
		req := p.request()
		topics := req.GetUnsubscribe().GetTopics()
		if len(topics) == 0 || len(topics) > 2 { // as hello says
			p.t.Errorf("got %v, want an unsubscribe", req)
			panic(stopped{})
		}
		got = append(got, topics...)
		for i, topic := range topics {
			p.ack(req.Id, uint32(i), topic, func(a *pb.Ack) { a.Ended = true })
		}
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("the client leaves %v, want %v", got, want)
	}
}

func TestPatternBringsASubscriptionForEachSymbol(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		pattern := mustSubscribe(t, c, Item{Symbol: "SIM:*", Depth: 10})
		var named []string
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.grantPattern(id, 0)
			p.brings(id, 0, "SIM:A", 7, 5)
			p.refuse(id, 0, pb.ErrorCode_ERROR_CODE_BAD_VIEW, pb.Retry_RETRY_NEVER, 0) // of another symbol
			p.brings(id, 0, "SIM:B", 8, 6)
			_ = p.net.Close()

			// What was brought is named with its place, and the pattern after it.
			p = s.greet()
			id, items := p.subscribe(2)
			for _, item := range items {
				named = append(named, fmt.Sprintf("%s %d %d", item.Symbol, item.Depth, item.Resume.GetSeq()))
			}
			patternID, rest := p.subscribe(1)
			named = append(named, rest[0].Symbol)
			p.ack(id, 0, 17, func(a *pb.Ack) { a.Resumed = true })
			p.ack(id, 1, 18, func(a *pb.Ack) { a.Symbol, a.Resumed = "SIM:B", true })
			p.grantPattern(patternID, 0)
			p.brings(patternID, 0, "SIM:C", 19, 7)
			p.unsubscribed(70, 17, 18) // 19 goes with the pattern, which brought it on this connection
			other, items := p.subscribe(1)
			if items[0].Symbol != "SIM:A" {
				t.Errorf("%s was asked for", items[0].Symbol)
			}
			p.delta(19, 10, 11, 9, 0) // on its way: of no interest
			p.ack(other, 0, 17, nil)
			p.snapshot(17, 12, 8)
			p.closed()
		})
		var again *Subscription
		var incomplete int
		bids := map[string]int64{}
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *Incomplete:
				incomplete++
				if e.Sub != pattern || e.Error.Code != pb.ErrorCode_ERROR_CODE_BAD_VIEW {
					t.Errorf("%+v", e)
				}
			case *Granted:
				if e.Sub != pattern && e.Sub.Pattern() != pattern && e.Sub != again {
					t.Errorf("%s is of the pattern %v", e.Sub.Item().Symbol, e.Sub.Pattern())
				}
			case *BookChanged:
				t.Errorf("a delta of %s", e.Sub.Item().Symbol)
			case *BookSet:
				if e.Sub == again {
					return true
				}
				bids[e.Sub.Item().Symbol] = bidOf(e.Sub)
				if e.Sub.Item().Symbol == "SIM:C" {
					c.Unsubscribe(pattern)
					again = mustSubscribe(t, c, Item{Symbol: "SIM:A"})
				}
			}
			return false
		})
		wait()
		if err != nil || again == nil || bidOf(again) != 8 || incomplete != 1 || !pattern.Ended() {
			t.Errorf("err %v, incomplete %d", err, incomplete)
		}
		if want := (map[string]int64{"SIM:A": 5, "SIM:B": 6, "SIM:C": 7}); fmt.Sprint(bids) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", bids, want)
		}
		if want := []string{"SIM:A 10 10", "SIM:B 10 10", "SIM:*"}; !slices.Equal(named, want) {
			t.Errorf("after the break %q was asked for, want %q", named, want)
		}
	})
}

func TestSymbolThatWasEndedIsNotBroughtAgain(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		pattern := mustSubscribe(t, c, Item{Symbol: "SIM:*"})
		if err := c.Modify(pattern, Item{Symbol: "SIM:*", Depth: 5}); !errors.Is(err, ErrBadItem) {
			t.Errorf("modify: %v", err)
		}
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.grantPattern(id, 0)
			p.brings(id, 0, "SIM:A", 7, 5)
			p.unsubscribed(7)
			_ = p.net.Close()
			p = s.greet()
			id, items := p.subscribe(1)
			if items[0].Symbol != "SIM:*" {
				t.Errorf("%s was asked for", items[0].Symbol)
			}
			p.grantPattern(id, 0)
			p.brings(id, 0, "SIM:A", 17, 5)
			p.unsubscribed(17)
			p.brings(id, 0, "SIM:B", 18, 6)
			p.closed()
		})
		var seen []string
		err := loop(t, c, func(event Event) bool {
			if e, ok := event.(*BookSet); ok {
				symbol := e.Sub.Item().Symbol
				seen = append(seen, symbol)
				c.Unsubscribe(e.Sub)
				return symbol == "SIM:B"
			}
			return false
		})
		wait()
		if err != nil || !slices.Equal(seen, []string{"SIM:A", "SIM:B"}) {
			t.Errorf("err %v, books of %v", err, seen)
		}
	})
}

// The server may bring a symbol before its name is asked for again: then that is the
// answer, and the one to the name does not count.
func TestBroughtSymbolGoesOnUnderItsPattern(t *testing.T) {
	s := newFakeServer(t, proto.CodecProto)
	c := newClient(t, s, nil)
	mustSubscribe(t, c, Item{Symbol: "SIM:*"})
	wait := script(func() {
		p := s.greet()
		id, _ := p.subscribe(1)
		p.grantPattern(id, 0)
		p.brings(id, 0, "SIM:A", 7, 5)
		_ = p.net.Close()
		p = s.greet()
		id, _ = p.subscribe(2)
		p.grantPattern(id, 1)
		p.brings(id, 1, "SIM:A", 17, 6)
		p.refuse(id, 0, pb.ErrorCode_ERROR_CODE_ALREADY_SUBSCRIBED, pb.Retry_RETRY_NEVER, 0)
		p.delta(17, 10, 11, 7, 0)
		p.closed()
	})
	subs := map[*Subscription]bool{}
	err := loop(t, c, func(event Event) bool {
		switch e := event.(type) {
		case *BookSet:
			subs[e.Sub] = true
		case *Refused:
			t.Errorf("%s was refused", e.Sub.Item().Symbol)
		case *BookChanged:
			return true
		}
		return false
	})
	wait()
	if err != nil || len(subs) != 1 {
		t.Errorf("err %v, %d subscriptions", err, len(subs))
	}
}
