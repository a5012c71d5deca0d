package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/ingest/feed"
	"github.com/depthcast/depthcast/proto"
)

// heard is all that the views of one engine were told of a record, in bytes.
type heard struct{ text []byte }

func (h *heard) Delta(d *proto.Delta) {
	h.text = proto.AppendDelta(h.text, proto.TopicForm{Counts: true}, d)
}
func (h *heard) Trades(t *proto.Trades) { h.text = proto.AppendTrades(h.text, proto.TopicForm{}, t) }
func (h *heard) Ticker(t *proto.Ticker) { h.text = proto.AppendTicker(h.text, proto.TopicForm{}, t) }
func (h *heard) Status(s *proto.Status) { h.text = proto.AppendStatus(h.text, proto.TopicForm{}, s) }
func (h *heard) Instruments(i *proto.Instruments) {
	h.text = proto.AppendInstruments(h.text, proto.TopicForm{}, i)
}
func (h *heard) Mark(proto.Mark) {}

// Reset is told for a reason that may lie before the restart, where nobody saw it.
func (h *heard) Reset(proto.SnapshotReason) { h.text = append(h.text, "reset"...) }

// listen opens a view of each channel of the symbols.
func (h *heard) listen(t *testing.T, e *book.Engine, symbols []string) {
	t.Helper()
	for _, symbol := range symbols {
		for _, channel := range []proto.Channel{proto.ChannelBook, proto.ChannelOrders, proto.ChannelTrades, proto.ChannelTicker} {
			key := proto.TopicKey{Symbol: symbol, Channel: channel}
			_, err := e.Open(key, h)
			if err != nil && channel != proto.ChannelOrders { // a book by level has none
				t.Fatal(err)
			}
		}
	}
}

// restarted is an engine that began with what another had saved.
type restarted struct {
	*book.Engine
	cut   int64
	hears heard
	// Of the engine that was not interrupted, from the cut on.
	whole heard
}

// states are those of all symbols, in bytes.
func states(t *testing.T, e *book.Engine, offset int64) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, info := range e.Symbols() {
		s := proto.SymbolState{Symbol: info.Symbol, Offset: offset}
		if !e.Save(info.Symbol, &s) {
			t.Fatalf("%s has no book to save", info.Symbol)
		}
		all[info.Symbol] = proto.AppendSymbolState(nil, &s)
	}
	return all
}

func restart(t *testing.T, e *book.Engine, offset int64) *restarted {
	t.Helper()
	again, err := book.New(book.Config{})
	if err != nil {
		t.Fatal(err)
	}
	again.Begin(1, false)
	var shared proto.SharedState
	e.SaveShared(&shared)
	if err := again.RestoreShared(&shared); err != nil {
		t.Fatal(err)
	}
	var symbols []string
	for symbol, data := range states(t, e, offset) {
		var s proto.SymbolState
		if err := proto.DecodeSymbolState(data, &s); err != nil {
			t.Fatal(err)
		}
		if err := again.Restore(&s); err != nil {
			t.Fatal(err)
		}
		symbols = append(symbols, symbol)
	}
	again.CatchingUp(false)
	slices.Sort(symbols)
	r := &restarted{Engine: again, cut: offset}
	r.hears.listen(t, again, symbols)
	r.whole.listen(t, e, symbols)
	return r
}

// TestRecordedBooksRestartAnywhere saves the books of each recording at random
// places, restores them into another engine, and goes on with both: all that views
// are told, and now and then every state, is the same. What codecs keep is proved
// beside, in ingest.
func TestRecordedBooksRestartAnywhere(t *testing.T) {
	if underRace {
		t.Skip("one goroutine, and much to compare: skipped")
	}
	dir := dataDir(t)
	recordings := []recorded{googDay, {name: "Kraken", format: "kraken", files: []string{"kraken/KRAKEN.ws.50.0.gz"}}}
	for _, d := range binanceDays {
		recordings = append(recordings, d.recorded)
	}
	for i, of := range recordings {
		t.Run(of.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(9, uint64(i)))
			cuts := []int64{3, random.Int64N(1000)}
			for len(cuts) < 6 {
				cuts = append(cuts, random.Int64N(60_000))
			}
			if of.format == "kraken" {
				cuts = []int64{3, 12, 500, 3000}
			}
			proveRestarts(t, of.config(dir, true), cuts)
		})
	}
}

// compareOver is how many records an engine is compared over once it has restarted.
const compareOver = 3000

func proveRestarts(t *testing.T, cfg feed.ReplayConfig, cuts []int64) {
	e, err := book.New(book.Config{})
	if err != nil {
		t.Fatal(err)
	}
	e.Begin(1, false)
	e.CatchingUp(false)
	var others []*restarted
	compared, b := 0, proto.Batch{}
	eachRecord(t, cfg, func(offset int64, r *ingest.Record) error {
		if slices.Contains(cuts, offset) {
			others = append(others, restart(t, e, offset-1))
		}
		if err := proto.DecodeEvents(r.Value, &b); err != nil {
			t.Fatalf("offset %d: %v", offset, err)
		}
		b.Seq, b.KafkaTime = offset, r.Time
		outcome, err := e.Apply(&b)
		for _, other := range others {
			same, fault := other.Apply(&b)
			if same != outcome || fmt.Sprint(fault) != fmt.Sprint(err) || !bytes.Equal(other.hears.text, other.whole.text) {
				t.Fatalf("cut behind %d, offset %d: restarted %d, %v\n%x\nuninterrupted %d, %v\n%x",
					other.cut, offset, same, fault, other.hears.text, outcome, err, other.whole.text)
			}
			compared += len(other.hears.text)
			other.hears.text, other.whole.text = other.hears.text[:0], other.whole.text[:0]
			if (offset-other.cut)%1000 == 0 {
				compareStates(t, e, other, offset)
			}
		}
		others = slices.DeleteFunc(others, func(other *restarted) bool { return offset-other.cut > compareOver && other.cut != cuts[1]-1 })
		return nil
	})
	for _, other := range others {
		compareStates(t, e, other, 1<<40)
	}
	if compared == 0 || len(others) == 0 {
		t.Fatalf("%d bytes compared, %d restarts to the end", compared, len(others))
	}
}

func compareStates(t *testing.T, e *book.Engine, other *restarted, offset int64) {
	t.Helper()
	want, got := states(t, e, offset), states(t, other.Engine, offset)
	for symbol, state := range want {
		if !bytes.Equal(got[symbol], state) {
			t.Fatalf("cut behind %d, offset %d: %s differs", other.cut, offset, symbol)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("cut behind %d, offset %d: %d symbols, want %d", other.cut, offset, len(got), len(want))
	}
}
