package book

import (
	"slices"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"pgregory.net/rapid"
)

// venue knows all that happens, also what its log loses: what a ticker says must
// be what the venue knows.
type venue struct {
	t      *rapid.T
	engine *Engine
	shown  proto.Ticker
	seq    int64
	source uint64

	trades     []venueTrade // of all sessions
	session    int          // number of trades before the session
	nextID     uint64
	over       bool
	open, last proto.Optional // as stated; last: and no trade came since
	previous   proto.Optional
	stated     proto.Optional // volume, in the record in hand
	volume     proto.Optional // as stated in the last record that was taken

	seen map[string]int // how often a field was compared
}

type venueTrade struct {
	proto.Trade
	gone bool
}

func (v *venue) draw(n int) int { return rapid.IntRange(0, n-1).Draw(v.t, "") }

// counted are the session's trades on the book that were not taken back.
func (v *venue) counted() []venueTrade {
	return slices.DeleteFunc(slices.Clone(v.trades[v.session:]), func(x venueTrade) bool {
		return x.gone || x.Flags&proto.TradeOffBook != 0
	})
}

// truth is the ticker of one who has seen everything.
func (v *venue) truth() (t proto.Ticker) {
	for i, x := range v.counted() {
		if i == 0 {
			t.Open, t.High, t.Low, t.Volume = set(x.Price), set(x.Price), set(x.Price), set(0)
		}
		t.High, t.Low = set(max(t.High.Value, x.Price)), set(min(t.Low.Value, x.Price))
		t.Volume.Value += x.Qty
		t.Last = set(x.Price)
	}
	t.Volume.Set = true
	if v.open.Set {
		t.Open = v.open
	}
	t.PreviousClose = v.previous
	return t
}

func (v *venue) begin() {
	v.session, v.over = len(v.trades), false
	v.open, v.last, v.previous, v.stated, v.volume = proto.Optional{}, proto.Optional{}, proto.Optional{}, proto.Optional{}, proto.Optional{}
}

// event lets something happen and returns what the log says of it.
func (v *venue) event() proto.Event {
	switch k := v.draw(20); {
	case k == 0:
		v.begin()
		return proto.Event{Kind: proto.EventClear, SessionStart: true}
	case k == 1:
		phase := proto.Phase(1 + v.draw(5))
		if phase == proto.Closed {
			v.over = true
		} else if v.over {
			v.begin()
		}
		return proto.Event{Kind: proto.EventPhase, Phase: phase}
	case k < 5:
		return proto.Event{Kind: proto.EventStatistics, Statistics: v.statistics()}
	case k < 8 && len(v.trades) > 0:
		return v.amend()
	}
	v.nextID++
	x := proto.Trade{Price: int64(95 + v.draw(10)), Qty: int64(1 + v.draw(5)), Flags: proto.TradeFlags(v.draw(8))}
	if v.draw(4) > 0 {
		x.ID = v.nextID
	}
	v.trades = append(v.trades, venueTrade{Trade: x})
	if x.Flags&proto.TradeOffBook == 0 {
		v.last = proto.Optional{}
	}
	return proto.Event{Kind: proto.EventTrade, Trade: x}
}

// amend takes back one of the last trades, or puts it right.
func (v *venue) amend() proto.Event {
	x := &v.trades[len(v.trades)-1-v.draw(min(len(v.trades), 9))]
	if x.ID == 0 || x.gone {
		return proto.Event{Kind: proto.EventHeartbeat}
	}
	e := proto.Event{Kind: proto.EventTradeCancel, Trade: proto.Trade{ID: x.ID}}
	if v.draw(2) == 0 {
		e.Kind = proto.EventTradeCorrect
		x.Price, x.Qty = int64(95+v.draw(10)), int64(1+v.draw(5))
		e.Trade.Price, e.Trade.Qty = x.Price, x.Qty
	} else {
		x.gone = true
	}
	return e
}

// statistics state some of what is true.
func (v *venue) statistics() *proto.Statistics {
	t, s := v.truth(), &proto.Statistics{}
	for _, f := range []struct {
		true, stated, kept *proto.Optional
	}{
		{&t.Open, &s.Open, &v.open}, {&t.Last, &s.Last, &v.last}, {&t.Volume, &s.Volume, &v.stated},
		{&t.High, &s.High, nil}, {&t.Low, &s.Low, nil},
	} {
		if !f.true.Set || v.draw(2) == 0 {
			continue
		}
		*f.stated = *f.true
		if f.kept != nil {
			*f.kept = *f.true
		}
	}
	if v.draw(3) == 0 {
		if !v.previous.Set {
			v.previous = set(int64(90 + v.draw(20)))
		}
		s.PreviousClose = v.previous
	}
	return s
}

// step writes a record, which may be lost or refused.
func (v *venue) step() {
	r := &proto.Batch{Symbol: "SIM:A", Feed: "f", Seq: v.seq, FirstSourceSeq: v.source + 1, LastSourceSeq: v.source + 1}
	v.seq++
	v.source++
	v.stated = proto.Optional{}
	for range 1 + v.draw(3) {
		r.Events = append(r.Events, v.event())
	}
	kind := v.draw(30)
	if v.seq == 1 {
		kind = 29 // what is lost before the first record nothing tells
	}
	switch kind {
	case 0:
		return // lost: the next one shows it
	case 1:
		r.Events = append(r.Events, proto.Event{Kind: proto.EventTrade}) // a bad one
		if _, err := v.engine.Apply(r); err == nil {
			v.t.Fatal("a bad trade was taken")
		}
	default:
		if _, err := v.engine.Apply(r); err != nil {
			v.t.Fatal(err)
		}
		if v.stated.Set {
			v.volume = v.stated
		}
	}
	v.compare()
	if v.draw(20) == 0 {
		v.restart()
		v.compare()
	}
}

// restart goes on with a new engine, by way of a checkpoint.
func (v *venue) restart() {
	saved, again := proto.SymbolState{Symbol: "SIM:A", Offset: v.seq - 1}, proto.SymbolState{}
	old := v.engine
	old.Save("SIM:A", &saved)
	v.engine = newVenue(v.t, old.config.KeptTrades, nil).engine
	err := proto.DecodeSymbolState(proto.AppendSymbolState(nil, &saved), &again)
	if err == nil {
		err = v.engine.Restore(&again)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	if was, is := old.books["SIM:A"].session, v.engine.books["SIM:A"].session; was != is {
		v.t.Fatalf("a restart turns\n%+v into\n%+v", was, is)
	}
}

func (v *venue) compare() {
	v.engine.books["SIM:A"].ticker(&v.shown)
	true, shown := v.truth(), v.shown
	if v.last.Set && shown.Last != true.Last {
		true.Last = v.last // a word of the venue stands, also where the trade was taken back since
	}
	if v.volume.Set {
		true.Volume = v.volume
	}
	for _, f := range []struct {
		name        string
		true, shown proto.Optional
	}{
		{"last", true.Last, shown.Last}, {"open", true.Open, shown.Open}, {"high", true.High, shown.High}, {"low", true.Low, shown.Low},
		{"volume", true.Volume, shown.Volume}, {"previous_close", true.PreviousClose, shown.PreviousClose},
	} {
		if !f.shown.Set {
			continue
		}
		v.seen[f.name]++
		if f.shown != f.true {
			v.t.Fatalf("seq %d: %s is shown as %d; the venue knows %+v, of the trades %+v", v.seq-1, f.name, f.shown.Value, f.true, v.trades[v.session:])
		}
	}
	from := shown.Open
	if !from.Set {
		from = shown.PreviousClose
	}
	if shown.Change.Set != (shown.Last.Set && from.Set) || shown.Change.Set && shown.Change.Value != shown.Last.Value-from.Value {
		v.t.Fatalf("change %+v of %+v against %+v", shown.Change, shown.Last, from)
	}
}

func newVenue(t *rapid.T, kept int, seen map[string]int) *venue {
	e, err := New(Config{KeptTrades: kept})
	if err != nil {
		t.Fatal(err)
	}
	e.Begin(7, true)
	e.CatchingUp(false)
	return &venue{t: t, engine: e, seen: seen}
}

// Whatever is lost, refused, taken back or put right: a number that is shown is
// the one that a reader who lost nothing would show.
func TestTickerNeverShowsWhatIsNotTrue(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		v := newVenue(t, 1+rapid.IntRange(0, 6).Draw(t, "kept"), seen)
		for range 1 + v.draw(60) {
			v.step()
		}
	})
	for _, name := range []string{"last", "open", "high", "low", "volume", "previous_close"} {
		if seen[name] < 50 {
			t.Errorf("%s was compared only %d times", name, seen[name])
		}
	}
}

// Where nothing is lost and nothing taken back, trades alone tell everything.
func TestTickerOfASessionSeenFromItsBeginningIsComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newVenue(t, 3, map[string]int{})
		v.begin()
		events := []proto.Event{{Kind: proto.EventClear, SessionStart: true}}
		for range 1 + v.draw(30) {
			x := proto.Trade{Price: int64(95 + v.draw(10)), Qty: int64(1 + v.draw(5)), Flags: proto.TradeFlags(v.draw(8))}
			v.trades = append(v.trades, venueTrade{Trade: x})
			events = append(events, proto.Event{Kind: proto.EventTrade, Trade: x})
			if _, err := v.engine.Apply(&proto.Batch{Symbol: "SIM:A", Seq: v.seq, Events: events}); err != nil {
				t.Fatal(err)
			}
			v.seq, events = v.seq+1, nil
			v.compare()
			shown, true := v.shown, v.truth()
			if shown.Open != true.Open || shown.High != true.High || shown.Low != true.Low || shown.Last != true.Last || shown.Volume != true.Volume {
				t.Fatalf("shown %+v\nwant %+v", shown, true)
			}
		}
	})
}
