package client

import (
	"fmt"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// tradesFrame is a frame of trades with these ordinals.
func tradesFrame(prev, seq int64, history bool, ordinals ...uint64) *pb.Frame {
	t := &pb.Trades{Topic: 7, PrevSeq: prev, Seq: seq, History: history}
	for _, o := range ordinals {
		t.Trades = append(t.Trades, &pb.PublicTrade{Ordinal: o, TradeId: 1000 + o, Price: 10000, Qty: 5, Aggressor: pb.Aggressor_AGGRESSOR_SELL})
	}
	return &pb.Frame{Body: &pb.Frame_Trades{Trades: t}}
}

func TestTradesComeOnceAndMissingOnesAreCounted(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A", Channel: proto.ChannelTrades, Last: 3})
		trades := func(a *pb.Ack) { a.Channel = pb.Channel_CHANNEL_TRADES }
		wait := script(func() {
			p := s.greet()
			id, items := p.subscribe(1)
			if items[0].Channel != pb.Channel_CHANNEL_TRADES || items[0].Last != 3 || items[0].Resume != nil {
				t.Errorf("asked for %v", items[0])
			}
			p.ack(id, 0, 7, trades)
			p.frame(tradesFrame(-1, 10, true, 4, 5))
			p.frame(tradesFrame(10, 11, false, 6))
			p.frame(tradesFrame(10, 11, false, 6))     // again: ignored
			p.frame(tradesFrame(11, 13, false, 9, 10)) // 7 and 8 are missing, unannounced
			f := tradesFrame(13, 20, false, 15)
			f.GetTrades().Missed, f.GetTrades().MissedFirst, f.GetTrades().MissedLast = 4, 11, 14
			p.frame(f)
			amended := tradesFrame(20, 21, false, 15) // carries the ordinal of the trade it concerns
			amended.GetTrades().Trades[0].Cancellation = true
			p.frame(amended)
			p.net.Close()

			p = s.greet()
			id, items = p.subscribe(1)
			if r := items[0].Resume; r.GetEpoch() != testEpoch || r.GetSeq() != 21 || r.GetOrdinal() != 15 {
				t.Errorf("resumes with %v", r)
			}
			p.ack(id, 0, 9, trades) // not resumed: the history is sent, and holds what was seen
			again := tradesFrame(-1, 30, true, 15, 16)
			again.GetTrades().Topic = 9
			p.frame(again)
			p.net.Close()

			p = s.greet() // another history: its ordinals are others
			id, _ = p.subscribe(1)
			p.ack(id, 0, 7, func(a *pb.Ack) { trades(a); a.Epoch++ })
			p.frame(tradesFrame(-1, 3, true, 2))
			// Other exponents, and another epoch, without a new connection.
			p.frame(&pb.Frame{Body: &pb.Frame_Snapshot{Snapshot: &pb.Snapshot{
				Topic: 7, Symbol: "SIM:A", Epoch: 5, Seq: 1, Reason: pb.SnapshotReason_SNAPSHOT_REASON_RESET,
				State: pb.State_STATE_LIVE, PriceExponent: int32(testExponents.Price), QtyExponent: int32(testExponents.Qty)}}})
			p.frame(tradesFrame(1, 2, false, 1))
			p.closed()
		})
		var got []string
		err := loop(t, c, func(event Event) bool {
			e, ok := event.(*Traded)
			if !ok {
				return false
			}
			text := ""
			if e.Trades.Missed > 0 {
				text = fmt.Sprintf("missed %d: %d-%d, ", e.Trades.Missed, e.Trades.MissedFirst, e.Trades.MissedLast)
			}
			for _, x := range e.Trades.Trades {
				text += fmt.Sprint(x.Ordinal)
				if x.Flags&proto.TradeCancellation != 0 {
					text += " cancelled"
				}
				text += ";"
				if x.ID != 1000+x.Ordinal || x.Price != 10000 || x.Qty != 5 || x.Aggressor != proto.AggressorSell {
					t.Errorf("trade %+v", x)
				}
			}
			got = append(got, text)
			return len(got) == 8
		})
		wait()
		want := []string{"4;5;", "6;", "missed 2: 7-8, 9;10;", "missed 4: 11-14, 15;", "15 cancelled;", "16;", "2;", "1;"}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("err %v\n got %q\nwant %q", err, got, want)
		}
		if sub.Book() != nil || sub.Exponents() != testExponents {
			t.Errorf("book %v, exponents %v", sub.Book(), sub.Exponents())
		}
	})
}

func TestTradesOfAServerThatCountsFromALaterPointAreNotLost(t *testing.T) {
	frame := func(prev, seq int64, history bool, ordinals ...uint64) *proto.Trades {
		f := &proto.Trades{}
		setTrades(f, tradesFrame(prev, seq, history, ordinals...).GetTrades())
		return f
	}
	follow := &tape{}
	follow.begin(1)
	follow.take(frame(-1, 100, true, 500, 501))
	for _, tt := range []struct {
		name  string
		frame *proto.Trades
		want  int // new trades
	}{
		{"history of a server that is behind", frame(-1, 90, true, 498, 499, 500), 0},
		{"history that is known", frame(-1, 100, true, 500, 501), 0},
		{"history counted anew", frame(-1, 110, true, 7, 8), 2},
		{"the next trade", frame(110, 111, false, 9), 1},
		{"counted anew without a history", frame(111, 112, false, 3), 1},
		{"a frame that begins before mine", frame(100, 113, false, 2, 3, 4), 1},
	} {
		follow.take(tt.frame)
		if len(tt.frame.Trades) != tt.want || tt.frame.Missed != 0 {
			t.Errorf("%s: %d new trades, %d missed; want %d, 0", tt.name, len(tt.frame.Trades), tt.frame.Missed, tt.want)
		}
	}
}

// A log that lost its end uses its offsets again under the same epoch.
func TestTradesAfterAStepBackAreNotLost(t *testing.T) {
	tape := &tape{}
	tape.begin(testEpoch)
	if !tape.take(&proto.Trades{PrevSeq: 99, Seq: 100, Trades: []proto.Trade{{Ordinal: 10}}}) {
		t.Fatal("a new trade was ignored")
	}
	tape.replace(testEpoch, 50)
	tape.take(&proto.Trades{PrevSeq: 50, Seq: 50, History: true, Trades: []proto.Trade{{Ordinal: 5}}})
	f := &proto.Trades{PrevSeq: 50, Seq: 51, Trades: []proto.Trade{{Ordinal: 6}}}
	if !tape.take(f) || len(f.Trades) != 1 || f.Missed != 0 {
		t.Errorf("of the first trade after the step back came %+v", f)
	}
}
