package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// watching runs a watch until the test ends it.
type watching struct {
	t    *testing.T
	out  *output
	stop func() error
}

func newWatching(t *testing.T, c *watchCmd) *watching {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	w := &watching{t: t, out: &output{}}
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, w.out) }()
	w.stop = func() error { cancel(); return <-ended }
	return w
}

// says waits until a text was printed.
func (w *watching) says(text string) {
	w.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(w.out.String(), text) {
		select {
		case <-tick.C:
		case <-deadline.C:
			w.t.Fatalf("it never said %q, but\n%s", text, w.out.String())
		}
	}
}

func TestWatchOfAPatternShowsEverySymbolThatMatchesAlsoLater(t *testing.T) {
	l := newLab(t, 2)
	p := l.producer()
	tell := func(symbol string, bid int64) {
		l.writeRaw(p, eventRecord(symbol, levels(bid, bid+10), traded(uint64(bid), bid, 1)))
	}
	tell("SIM:A", 100)
	tell("SIM:B", 200)
	tell("NYSE:C", 300)
	server := l.serve(nil)
	server.caughtUpTo(l)

	var once bytes.Buffer
	if err := (&watchCmd{Symbols: []string{"SIM:*", "NYSE:C"}, URL: server.stream(), JSON: true, Once: true, Depth: 1}).Run(t.Context(), &once); err != nil {
		t.Fatal(err)
	}
	for _, symbol := range []string{"SIM:A", "SIM:B", "NYSE:C"} {
		if n := strings.Count(once.String(), `{"symbol":"`+symbol+`","state":"live"`); n != 1 {
			t.Errorf("%s is shown %d times in\n%s", symbol, n, &once)
		}
	}
	err := (&watchCmd{Symbols: []string{"NONE:*"}, URL: server.stream(), Once: true}).Run(t.Context(), &bytes.Buffer{})
	if !errors.Is(err, errUnlisted) {
		t.Errorf("where nothing matches: %v", err)
	}

	// Compression is offered, and what it says is the same.
	between := newTap(t, server)
	w := newWatching(t, &watchCmd{Symbols: []string{"SIM:*"}, URL: between.stream(), Codec: "json", Deflate: true, Trades: true, Ticker: true, Depth: 5})
	w.says("SIM:A live")
	w.says("SIM:B trade 1@2.00")
	tell("SIM:D", 400)
	w.says("SIM:D live")
	w.says("SIM:D trade 1@4.00")
	w.says("SIM:D ticker last 4.00")
	l.writeRaw(p, eventRecord("SIM:B", ends(proto.ReasonDelisted, "")))
	w.says("SIM:B recovering (delisted)")
	tell("SIM:A", 150)
	w.says("bid 5@1.50")
	if said := between.heard(); !strings.Contains(said, "permessage-deflate") {
		t.Error("compression was not agreed on")
	}
	if err := w.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if strings.Contains(w.out.String(), "NYSE:C") {
		t.Errorf("it says what does not match:\n%s", w.out.String())
	}
}

// A listing that ends while it is watched is said, with its reason where the server tells
// it, and by a list without it otherwise.
func TestWatchOfAListSaysWhatIsListedNoMore(t *testing.T) {
	l := newLab(t, 1)
	p := l.producer()
	l.writeRaw(p, eventRecord("SIM:A", defined("Acme")), eventRecord("SIM:B", defined("Bcme")))
	server := l.serve(nil)
	server.caughtUpTo(l)
	w := newWatching(t, &watchCmd{Symbols: []string{"SIM:*"}, URL: server.stream(), List: true})
	w.says("SIM:B none tick 0.01 Bcme\n")
	l.writeRaw(p, eventRecord("SIM:A", ends(proto.ReasonRenamed, "SIM:C")))
	w.says("SIM:A none ended (renamed) to SIM:C tick 0.01 Acme\n")
	_ = w.stop()

	list := func(snapshot, more bool, all ...string) *proto.Instruments {
		in := &proto.Instruments{Snapshot: snapshot, More: more}
		for _, symbol := range all {
			in.Listings = append(in.Listings, &proto.Listing{Symbol: symbol, Phase: proto.Halted})
		}
		return in
	}
	var known listed
	for i, tt := range []struct {
		in   *proto.Instruments
		want string
	}{
		{list(true, true, "SIM:A", "SIM:B"), "SIM:A halted;SIM:B halted;"},
		{list(false, false, "SIM:C"), "SIM:C halted;"},
		{list(false, false, "SIM:D"), "SIM:D halted;"},
		{list(true, true, "SIM:A"), ""}, // a list anew, in two frames
		{list(false, false, "SIM:D", "SIM:E"), "SIM:E halted;SIM:B halted ended (listed no more);SIM:C halted ended (listed no more);"},
	} {
		var got string
		for _, x := range known.take(tt.in) {
			got += listingText(x) + ";"
		}
		if got != tt.want {
			t.Errorf("frame %d: %q, want %q", i, got, tt.want)
		}
	}
	if got := fmt.Sprint(known.whole, len(known.of)); got != "true 3" {
		t.Errorf("at last %s", got)
	}
}
