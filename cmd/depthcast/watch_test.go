package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// watchedBook is a symbol on display with one level a side, without a connection.
func watchedBook(t *testing.T) *watched {
	t.Helper()
	c, err := client.New(client.Config{URL: "ws://localhost"})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := c.Subscribe(client.Item{Symbol: "SIM:A"})
	if err != nil {
		t.Fatal(err)
	}
	s := &proto.Snapshot{
		Symbol: "SIM:A", Epoch: 1, Seq: 42, State: proto.Live, Phase: proto.Continuous, Exponents: proto.Exponents{Price: -2, Qty: -1},
		Bids: []proto.Level{{Price: -150, Qty: 25}}, Asks: []proto.Level{{Price: 1, Qty: 7, Count: 3}},
	}
	s.Hash = proto.HashLevels(s.Bids, s.Asks)
	if got := sub.Book().ApplySnapshot(s); got != client.Applied {
		t.Fatal(got)
	}
	return &watched{symbol: "SIM:A", book: sub}
}

func text(lines []line) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.Join(strings.Fields(l.text), " ") + "\n")
	}
	return b.String()
}

func TestLadderSaysWhatABookIs(t *testing.T) {
	s := watchedBook(t)
	if got, want := text(ladder(s, dim)), "SIM:A LIVE continuous seq 42\n0.01 0.7 3\n1.51 spread\n-1.50 2.5\n"; got != want {
		t.Errorf("live:\n%swant:\n%s", got, want)
	}
	s.book.Book().ApplyStatus(&proto.Status{State: proto.Stale, Reason: proto.ReasonSourceSilent, Phase: proto.Halted, Locked: true})
	lines := ladder(s, dim)
	if got, want := text(lines), "SIM:A STALE (source silent) halted seq 42\n0.01 0.7 3\n1.51 spread, locked\n-1.50 2.5\n"; got != want {
		t.Errorf("stale:\n%swant:\n%s", got, want)
	}
	for _, l := range lines {
		if l.paint != dim && l.paint != yellow {
			t.Errorf("%q of a stale book is painted as if it were live", l.text)
		}
	}
	s.book.Book().ApplyStatus(&proto.Status{State: proto.Recovering, Reason: proto.ReasonSourceGap, Phase: proto.Continuous})
	s.notice = "as the test says"
	if got, want := text(ladder(s, dim)), "SIM:A RECOVERING (source gap) continuous seq 42\nas the test says\n- spread\n"; got != want {
		t.Errorf("recovering:\n%swant:\n%s", got, want)
	}
	s.late, s.notice = 15*time.Minute, ""
	if got, want := text(ladder(s, dim)), "SIM:A RECOVERING (source gap), late by 15m0s continuous seq 42\n- spread\n"; got != want {
		t.Errorf("late:\n%swant:\n%s", got, want)
	}
	var out bytes.Buffer
	if err := newJSONPrinter(&out).update(s, nil, nil); err != nil || !strings.Contains(out.String(), `"delay_ms":900000`) {
		t.Errorf("late: %s, %v", &out, err)
	}
}

func TestWatchedOrdersAreDrawnAsTheyAreServed(t *testing.T) {
	c, err := client.New(client.Config{URL: "ws://localhost"})
	if err != nil {
		t.Fatal(err)
	}
	cmd, w := watchCmd{Symbols: []string{"SIM:A"}, Orders: true, Counts: true}, &watcher{}
	if err := cmd.subscribe(c, w, []string{"SIM:A"}); err != nil {
		t.Fatal(err)
	}
	s := &proto.Snapshot{Symbol: "SIM:A", Epoch: 1, Seq: 42, State: proto.Live, Phase: proto.Continuous, Exponents: proto.Exponents{Price: -2},
		Orders: proto.Orders{Bids: []proto.RankedOrder{{ID: 7, Price: 150, Qty: 25, RankSeq: 3, RankIndex: 1}, {ID: 5, Price: 150, Qty: 4, RankSeq: 9}}}}
	for i := range int64(shownOrders + 2) {
		s.Orders.Asks = append(s.Orders.Asks, proto.RankedOrder{ID: uint64(100 + i), Price: 151, Qty: 1, RankSeq: i})
	}
	s.Hash = proto.HashOrders(&s.Orders)
	if got := w.all[0].book.Book().ApplySnapshot(s); got != client.Applied {
		t.Fatal(got)
	}
	want := "SIM:A LIVE continuous seq 42\n1.51 12 12 1 1 1 1 1 1 1 1 1 1 and 2 more\n0.01 spread\n1.50 29 2 25 4\n"
	if got := text(ladder(w.all[0], dim)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	var out bytes.Buffer
	if err := newJSONPrinter(&out).update(w.all[0], nil, w.all); err != nil {
		t.Fatal(err)
	}
	if want := `"bids":[["1.50","29"]],"asks":[["1.51","12"]],"bid_orders":[["7","1.50","25","3",1],["5","1.50","4","9",0]],"ask_orders":[`; !strings.Contains(out.String(), want) {
		t.Errorf("%s\nhas no %s", out.String(), want)
	}
}

func TestScreenCutsWhatDoesNotFit(t *testing.T) {
	one := []line{{"a heading", green}, {strings.Repeat("x", 200), plain}}
	for _, tt := range []struct {
		ladders, width, height int
		rows                   int
	}{
		{1, 80, 24, 3},
		{2, 100, 24, 3}, // side by side
		{2, 80, 24, 6},  // one below the other
		{2, 80, 4, 4},   // cut
		{1, 10, 24, 3},  // narrower than a ladder
		{0, 80, 24, 0},
	} {
		var ladders [][]line
		for range tt.ladders {
			ladders = append(ladders, one)
		}
		out := string(arrange(ladders, tt.width, tt.height))
		if got := strings.Count(out, "\r\n"); got != tt.rows {
			t.Errorf("%+v: %d rows", tt, got)
		}
		for row := range strings.SplitSeq(out, "\r\n") {
			for _, e := range []string{"\x1b[K", "\x1b[0m", escapes[green]} {
				row = strings.ReplaceAll(row, e, "")
			}
			if len(row) > tt.width {
				t.Errorf("%+v: a row of %d characters", tt, len(row))
			}
		}
	}
}

// serveOnce answers one subscriber of two symbols: SIM:A has a book, SIM:X is not
// known.
func serveOnce(t *testing.T) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == "depthcast.v1.json" }}
		if _, err := u.Upgrade(nc); err != nil {
			t.Error(err)
			return
		}
		send := func(text string) {
			if err := wsutil.WriteServerText(nc, []byte(text)); err != nil {
				t.Error(err)
			}
		}
		send(`{"type":"hello","version":1}`)
		message, err := wsutil.ReadClientText(nc)
		if err != nil {
			t.Error(err)
			return
		}
		req, err := proto.DecodeJSONRequest(message)
		if err != nil || len(req.GetSubscribe().GetItems()) != 2 || req.GetSubscribe().Items[0].Symbol != "SIM:A" {
			t.Errorf("asked for %s: %v", message, err)
		}
		send(`{"type":"ack","id":1,"item":0,"topic":7,"symbol":"SIM:A","channel":"book","epoch":"00000000000000ff","state":"live","phase":"continuous","price_exponent":-2,"qty_exponent":0}`)
		send(`{"type":"error","id":1,"item":1,"code":"unknown_symbol","message":"no such symbol","retry":"never"}`)
		snapshot, err := proto.AppendJSONFrame(nil, &pb.Frame{Body: &pb.Frame_Snapshot{Snapshot: &pb.Snapshot{
			Topic: 7, Symbol: "SIM:A", Epoch: 255, Seq: 42, Reason: pb.SnapshotReason_SNAPSHOT_REASON_INITIAL, State: pb.State_STATE_LIVE,
			Phase: pb.Phase_PHASE_CONTINUOUS, PriceExponent: -2, Bids: &pb.Levels{Price: []int64{10000}, Qty: []int64{3}},
			Hash: proto.Mix(proto.Bid, 10000, 3),
		}}}, proto.Exponents{Price: -2})
		if err != nil {
			t.Error(err)
			return
		}
		send(string(snapshot))
		_, _ = wsutil.ReadClientText(nc) // until the client is gone
	}()
	return "ws://" + l.Addr().String() + "/v1/stream"
}

func TestWatchOncePrintsEachWholeBookAndNamesWhatItCouldNot(t *testing.T) {
	for _, tt := range []struct {
		name string
		json bool
		want string
	}{
		{"ladder", false, "SIM:A LIVE continuous seq 42 - spread 100.00 3"},
		{"JSON", true, `{"symbol":"SIM:A","state":"live","phase":"continuous","epoch":"00000000000000ff","seq":"42","hash":"HASH","bids":[["100.00","3"]],"asks":[]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := watchCmd{Symbols: []string{"SIM:X", "SIM:A", "SIM:A"}, URL: serveOnce(t), Codec: "json", Depth: 10,
				Once: true, JSON: tt.json}
			var out bytes.Buffer
			err := w.Run(t.Context(), &out)
			if err == nil || !strings.Contains(err.Error(), "SIM:X: unknown_symbol") {
				t.Errorf("err %v, want one that names SIM:X", err)
			}
			want := strings.ReplaceAll(tt.want, "HASH", fmt.Sprintf("%08x", proto.Mix(proto.Bid, 10000, 3)))
			if got := strings.Join(strings.Fields(out.String()), " "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestTickerAndListingsInOneLine(t *testing.T) {
	l := &proto.Listing{Symbol: "SIM:A", Phase: proto.Halted, Epoch: 7, Seq: 4, Ended: true, EndReason: proto.ReasonRenamed, NewSymbol: "SIM:B",
		Instrument: &proto.Instrument{Exponents: proto.Exponents{Price: -2, Qty: 0}, Tick: 5, Lot: 100, Type: uint8(pb.InstrumentType_INSTRUMENT_TYPE_EQUITY), Name: "Acme"}}
	if got, want := listingText(l), "SIM:A halted ended (renamed) to SIM:B equity tick 0.05 lot 100 Acme"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := listingText(&proto.Listing{Symbol: "SIM:A"}), "SIM:A none"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var out bytes.Buffer
	if err := (&watchCmd{JSON: true}).printListings(&out, []*proto.Listing{l}); err != nil {
		t.Fatal(err)
	}
	want := `{"symbol":"SIM:A","phase":"halted","epoch":"0000000000000007","seq":"4","ended":true,"end_reason":"renamed","new_symbol":"SIM:B",` +
		`"price_exponent":-2,"qty_exponent":0,"type":"equity","name":"Acme","tick":"0.05","lot":"100"}` + "\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
