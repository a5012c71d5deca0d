package book

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"pgregory.net/rapid"
)

// logged is one thing that an engine is told: a record, or what else happens at
// its place in the log, or beside the log.
type logged struct {
	batch *proto.Batch // nil: one of the others

	refuse bool
	symbol string
	reason proto.Reason

	begin    bool
	epoch    uint64
	complete bool

	catching, stale, on bool
	feed                string
}

// loggedCommand is what a command of a script tells the engine, if anything.
func loggedCommand(w []string, arg opts) []logged {
	switch w[0] {
	case "begin":
		return []logged{{begin: true, epoch: uint64(arg.int("epoch")), complete: arg.has("complete")}}
	case "catchup":
		return []logged{{catching: true, on: w[1] == "on"}}
	case "stale":
		return []logged{{stale: true, feed: arg.or("feed", ""), reason: reasonOf(w[1]), on: w[2] == "on"}}
	case "refuse":
		return []logged{{refuse: true, symbol: arg.or("sym", ""), reason: reasonOf(w[1])}}
	}
	return nil
}

// tell tells e of l, which is at the offset at, and returns what came of it.
func (l *logged) tell(e *Engine, at int64) string {
	switch {
	case l.batch != nil:
		outcome, err := e.Apply(new(clone(l.batch)))
		return fmt.Sprint(outcome, err)
	case l.refuse:
		e.Refuse(l.symbol, at, l.reason)
	case l.begin:
		e.Begin(l.epoch, l.complete)
	case l.catching:
		e.CatchingUp(l.on)
	case l.stale:
		e.SetStale(l.feed, l.reason, l.on)
	}
	return ""
}

// run is an engine on its way along a log.
type run struct {
	engine *Engine
	at     int64 // offset of the last thing in the log
	begun  logged
}

func newRun(t fataler, c Config) *run {
	e, err := New(c)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return &run{engine: e, at: -1}
}

// next takes the next thing of the log. What is no record comes behind the last.
func (r *run) next(l *logged) string {
	switch {
	case l.batch != nil:
		r.at = max(r.at, l.batch.Seq)
	case l.refuse:
		r.at++
	case l.begin && (!r.begun.begin || r.begun.epoch != l.epoch):
		r.begun, r.at = *l, -1
	}
	return l.tell(r.engine, r.at)
}

// ended reports whether the log may be cut behind what was taken last: not where
// the next record has the offset of something that is no record.
func (r *run) cuttable(next *logged) bool {
	return next == nil || next.batch == nil || next.batch.Seq > r.at
}

// saved returns the state of a symbol at the run's place, through its bytes; nil if
// there is none.
func (r *run) saved(t fataler, symbol string) []byte {
	var s proto.SymbolState
	if !r.engine.Save(symbol, &s) && !s.Tainted {
		return nil
	}
	s.Symbol, s.Offset = symbol, r.at
	return proto.AppendSymbolState(nil, &s)
}

// shared returns what the books have in common, through its bytes.
func (r *run) shared(t fataler) *proto.SharedState {
	var h, got proto.CheckpointHeader
	r.engine.SaveShared(&h.Shared)
	if err := proto.DecodeCheckpointHeader(proto.AppendCheckpointHeader(nil, &h), &got); err != nil {
		t.Fatalf("%v", err)
	}
	return &got.Shared
}

// restarted is a run that begins with what was saved: shared at the run's place,
// the states where they are.
func (r *run) restarted(t fataler, shared *proto.SharedState, states map[string][]byte) *run {
	b := newRun(t, r.engine.config)
	b.begun, b.at = r.begun, r.at
	if b.begun.begin {
		b.begun.tell(b.engine, 0)
	}
	if err := b.engine.RestoreShared(shared); err != nil {
		t.Fatalf("%v", err)
	}
	for symbol, data := range states {
		var s proto.SymbolState
		if err := proto.DecodeSymbolState(data, &s); err != nil {
			t.Fatalf("%s: %v", symbol, err)
		}
		if err := b.engine.Restore(&s); err != nil {
			t.Fatalf("%s: %v\n%+v", symbol, err, s)
		}
	}
	// What no record says, its partition tells it anew.
	b.engine.CatchingUp(r.engine.catchingUp)
	b.engine.stale = r.engine.stale
	for name, f := range r.engine.feeds {
		b.engine.feeds[name].stale = f.stale
	}
	for _, book := range b.engine.list {
		book.finish()
	}
	return b
}

func (r *run) symbols() []string {
	var list []string
	for _, b := range r.engine.list {
		list = append(list, b.symbol)
	}
	slices.Sort(list)
	return list
}

// same fails unless both have the same book of a symbol, in every respect.
func same(t fataler, a, b *run, symbol string, feedTimes bool) {
	x, y := stateOf(t, a, symbol, feedTimes), stateOf(t, b, symbol, feedTimes)
	if !bytes.Equal(x, y) {
		t.Fatalf("%s behind offset %d: %s", symbol, a.at, differences(x, y))
	}
	if x == nil {
		return
	}
	if p, q := a.engine.books[symbol].told, b.engine.books[symbol].told; p != q {
		t.Fatalf("%s behind offset %d: restarted %+v, uninterrupted %+v", symbol, a.at, q, p)
	}
	for _, key := range []proto.TopicKey{
		{Channel: proto.ChannelBook, View: proto.View{Counts: true}}, {Channel: proto.ChannelBook, View: proto.View{Depth: 2}},
		{Channel: proto.ChannelTrades}, {Channel: proto.ChannelTicker}, {Channel: proto.ChannelInstruments}, {Channel: proto.ChannelOrders},
	} {
		key.Symbol = symbol
		var s, u proto.Snapshot
		errA, errB := a.engine.Read(key, &s), b.engine.Read(key, &u)
		if !reflect.DeepEqual(s, u) || fmt.Sprint(errA) != fmt.Sprint(errB) {
			t.Fatalf("%s behind offset %d: restarted\n%+v %v\nuninterrupted\n%+v %v", symbol, a.at, u, errB, s, errA)
		}
	}
}

func stateOf(t fataler, r *run, symbol string, feedTimes bool) []byte {
	data := r.saved(t, symbol)
	if data == nil || feedTimes {
		return data
	}
	var s proto.SymbolState
	if err := proto.DecodeSymbolState(data, &s); err != nil {
		t.Fatalf("%v", err)
	}
	s.Book.FeedTime = 0
	return proto.AppendSymbolState(nil, &s)
}

// differences names the fields in which two states differ.
func differences(uninterrupted, restarted []byte) string {
	var x, y proto.SymbolState
	if uninterrupted == nil || restarted == nil {
		return fmt.Sprintf("uninterrupted there is one: %v, restarted: %v", uninterrupted != nil, restarted != nil)
	}
	if err := errors.Join(proto.DecodeSymbolState(uninterrupted, &x), proto.DecodeSymbolState(restarted, &y)); err != nil {
		return err.Error()
	}
	text := ""
	for i, v := 0, reflect.ValueOf(&x.Book).Elem(); i < v.NumField(); i++ {
		if w := reflect.ValueOf(&y.Book).Elem().Field(i); !reflect.DeepEqual(v.Field(i).Interface(), w.Interface()) {
			text += fmt.Sprintf("\n%s: restarted %+v, uninterrupted %+v", v.Type().Field(i).Name, w, v.Field(i))
		}
	}
	return text
}

// proveCut holds a run that is interrupted behind the first cut things of the log to
// one that is not. lags says, per symbol, how many things later its state is saved.
func proveCut(t fataler, c Config, log []logged, cut int, lags map[string]int) {
	a := newRun(t, c)
	for i := range log[:cut] {
		a.next(&log[i])
	}
	if cut < len(log) && !a.cuttable(&log[cut]) {
		return
	}
	floor := a.shared(t)
	states, late := map[string][]byte{}, map[string]int{}
	for _, symbol := range a.symbols() {
		states[symbol] = a.saved(t, symbol)
	}
	began := a.at
	ahead := newRun(t, c) // to where the last symbol is saved
	for i := range log {
		var next *logged
		if i+1 < len(log) {
			next = &log[i+1]
		}
		ahead.next(&log[i])
		for symbol, lag := range lags {
			if i+1 == cut+lag && i+1 > cut && ahead.cuttable(next) && ahead.begun == a.begun {
				if data := ahead.saved(t, symbol); data != nil {
					states[symbol], late[symbol] = data, i+1
				}
				floor.Feeds, late["its feeds"] = ahead.shared(t).Feeds, i+1
			}
		}
	}
	b := a.restarted(t, floor, states)
	b.at = began
	if len(late) == 0 {
		compareRuns(t, a, b, cut, late)
	}
	for i := cut; i < len(log); i++ {
		l := &log[i]
		want := a.next(l)
		if l.batch != nil && late[l.batch.Symbol] > i {
			b.at = max(b.at, l.batch.Seq) // the partition skips it
		} else if got := b.next(l); got != want {
			t.Fatalf("thing %d, %+v: restarted %s, uninterrupted %s", i, l, got, want)
		}
		compareRuns(t, a, b, i+1, late)
	}
}

// compareRuns compares the books that are at the same place in both.
func compareRuns(t fataler, a, b *run, place int, late map[string]int) {
	for _, r := range []*run{a, b} {
		r.engine.giveUpEnded(r.at + 1) // as it is when it is looked for
	}
	all := true
	for _, until := range late {
		all = all && until <= place
	}
	for _, symbol := range slices.Compact(slices.Sorted(slices.Values(append(a.symbols(), b.symbols()...)))) {
		if late[symbol] > place {
			continue
		}
		same(t, a, b, symbol, all)
	}
	if x, y := a.shared(t), b.shared(t); all && !reflect.DeepEqual(x, y) {
		t.Fatalf("thing %d: restarted %+v, uninterrupted %+v", place, y, x)
	}
	if a.engine.heldBytes != b.engine.heldBytes && all {
		t.Fatalf("thing %d: restarted %d bytes held, uninterrupted %d", place, b.engine.heldBytes, a.engine.heldBytes)
	}
}

// tight are bounds that random logs reach.
var tight = Config{MaxSymbols: 20, MaxFeeds: 3, MaxLevels: 8, MaxOrders: 8, KeptTrades: 3, KeptEnded: 1, HeldRecords: 3}

func TestARestartAnywhereChangesNothing(t *testing.T) {
	seen := map[string]int{}
	missing := func() (list []string) {
		for _, what := range []string{"whole by level", "whole by order", "held", "ended", "trades", "instrument", "tainted", "origin", "session"} {
			if seen[what] == 0 {
				list = append(list, what)
			}
		}
		return list
	}
	check := func(t *rapid.T) {
		log := drawLog(t)
		cut := rapid.IntRange(0, len(log)).Draw(t, "cut")
		proveCut(t, tight, log, cut, nil)
		noteWhatWasCut(t, log[:cut], seen)
	}
	// Some of it is rare: where chance has left it out, it is given more.
	for range 50 {
		if rapid.Check(t, check); len(missing()) == 0 || t.Failed() {
			return
		}
	}
	t.Errorf("no log was cut where there is one with: %v", missing())
}

// noteWhatWasCut notes what there was to save where a log was cut.
func noteWhatWasCut(t fataler, log []logged, seen map[string]int) {
	r := newRun(t, tight)
	for i := range log {
		r.next(&log[i])
	}
	for _, b := range r.engine.list {
		for what, there := range map[string]bool{
			"whole by level": b.kind == keptByLevel && b.bids.len() > 0, "whole by order": b.orders.index.n > 0,
			"held": len(b.held.records) > 0, "ended": b.ended, "trades": len(b.trades.kept) > 0, "instrument": b.instrument != nil,
			"origin": b.chain.epoch != 0, "session": b.chain.session != "",
		} {
			if there {
				seen[what]++
			}
		}
	}
	if len(r.engine.tainted) > 0 {
		seen["tainted"]++
	}
}

// A symbol that is saved later than the others has the records up to there in its
// state. What is no record of the log is not repeated when the log is read again:
// there the round of saving is given up.
func TestSymbolsSavedAtOffsetsOfTheirOwnRestartAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := slices.DeleteFunc(drawLog(t), func(l logged) bool {
			return l.stale || l.refuse && l.reason == proto.ReasonTruncated
		})
		lags := map[string]int{}
		for _, symbol := range logSymbols {
			lags[symbol] = rapid.IntRange(0, 20).Draw(t, "lag")
		}
		proveCut(t, tight, log, rapid.IntRange(0, len(log)).Draw(t, "cut"), lags)
	})
}

func TestEveryScenarioRestartsAnywhere(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := newScript(t)
			for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
				commands, _, _ := strings.Cut(block, "\n----")
				s.block(commands)
			}
			for cut := range len(s.log) + 1 {
				proveCut(t, s.engine.config, s.log, cut, nil)
			}
		})
	}
}

// TestBooksThatRestartStayEqualToTheNaiveBook restarts the engine of a market again
// and again. Its clients join anew.
func TestBooksThatRestartStayEqualToTheNaiveBook(t *testing.T) {
	for _, byOrder := range []bool{false, true} {
		t.Run(fmt.Sprintf("byOrder=%v", byOrder), func(t *testing.T) {
			random := rand.New(rand.NewPCG(11, 12))
			m := newMarket(t, random.IntN, byOrder)
			held, whole := 0, 0
			for m.events < 7_000 {
				m.step()
				if random.IntN(10) > 0 {
					continue
				}
				if b := m.engine.books["SIM:A"]; b.whole {
					whole++
				}
				held += min(1, len(m.engine.books["SIM:A"].held.records))
				m.restart(t)
				m.compare()
			}
			if held < 10 || whole < 70 {
				t.Fatalf("the run proves little: %d restarts with held records, %d with a whole book", held, whole)
			}
		})
	}
}

// restart goes on with an engine that was restored from what m's has saved.
func (m *market) restart(t fataler) {
	r := run{engine: m.engine, at: m.seq - 1, begun: logged{begin: true, epoch: 7, complete: true}}
	for i := range m.held {
		if e := &m.held[i]; 1<<e.Kind&orderKinds != 0 && e.Kind != proto.EventDelete && e.Qty <= 0 || hasNegative(e) {
			return // no codec would have let it pass
		}
	}
	m.engine = r.restarted(t, r.shared(t), map[string][]byte{"SIM:A": r.saved(t, "SIM:A")}).engine
	clients := m.clients
	m.clients = nil
	for _, c := range clients {
		m.join(c.view.key.View)
	}
	orderClients := m.orderClients
	m.orderClients = nil
	for _, c := range orderClients {
		m.joinOrders(c.view.key.View)
	}
}

func hasNegative(e *proto.Event) bool {
	return slices.ContainsFunc(append(slices.Clone(e.Bids), e.Asks...), func(l proto.Level) bool { return l.Qty < 0 })
}
