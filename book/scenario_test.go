package book

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the expected outputs in testdata; commit them only if you understand the difference")

// TestScenarios runs the scripts of testdata. A script is a sequence of blocks,
// parted by empty lines: commands, ----, the output that they must give. Lines
// with # are comments. The commands are those of script.run and script.event;
// an indented line is an event of the record above it.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScenario(t, file) })
	}
}

func runScenario(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t)
	var rewritten []string
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		commands, want, found := strings.Cut(block, "\n----")
		if !found {
			t.Fatalf("a block that expects nothing:\n%s", block)
		}
		got := s.block(commands)
		if want = strings.TrimPrefix(want, "\n"); got != want && !*rewrite {
			t.Errorf("%s:\n%s\n---- got\n%s\n---- want\n%s", file, commands, got, want)
		}
		rewritten = append(rewritten, strings.TrimSuffix(commands+"\n----\n"+got, "\n"))
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(strings.Join(rewritten, "\n\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const scriptSymbol = "SIM:A"

type script struct {
	t      *testing.T
	engine *Engine
	views  map[string]*View
	out    strings.Builder
	record *proto.Batch // being read
	log    []logged     // what the engine was told
}

func newScript(t *testing.T) *script {
	e, err := New(Config{KeptTrades: 3, HeldRecords: 3, MaxLevels: 8, MaxOrders: 8, MaxSymbols: 2, MaxFeeds: 3, MaxGroups: 2})
	if err != nil {
		t.Fatal(err)
	}
	return &script{t: t, engine: e, views: map[string]*View{}}
}

func (s *script) block(commands string) string {
	s.out.Reset()
	for _, line := range strings.Split(commands, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case line[0] == ' ' || line[0] == '\t':
			s.record.Events = append(s.record.Events, s.event(words))
		default:
			s.apply()
			s.run(words)
		}
	}
	s.apply()
	return strings.TrimSuffix(s.out.String(), "\n")
}

func (s *script) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

// apply applies the record that was being read.
func (s *script) apply() {
	if s.record == nil {
		return
	}
	r := s.record
	s.record = nil
	s.log = append(s.log, logged{batch: new(clone(r))})
	outcome, err := s.engine.Apply(r)
	if err != nil {
		fault := err.(*proto.RecordError)
		s.say("refused: %s, %s: %v", fault.Code, reasonWords[fault.Reason], err)
	} else {
		s.say("%s", [...]string{"applied", "held", "duplicate", "ignored"}[outcome])
	}
	// The codec reuses its batch: nothing may hang on to it.
	for i := range r.Events {
		clear(r.Events[i].Bids)
		clear(r.Events[i].Asks)
	}
	clear(r.Events)
}

func (s *script) run(w []string) {
	arg := options(w[1:])
	s.log = append(s.log, loggedCommand(w, arg)...)
	switch w[0] {
	case "begin":
		s.engine.Begin(uint64(arg.int("epoch")), arg.has("complete"))
	case "catchup":
		s.engine.CatchingUp(w[1] == "on")
	case "open":
		s.open(w[1], arg)
	case "list":
		s.engine.List(w[1], &lister{s, w[1]})
	case "close":
		s.views[w[1]].Close()
	case "show":
		var shot proto.Snapshot
		s.views[w[1]].Snapshot(&shot)
		s.say("%s: %s", w[1], snapshotText(&shot))
	case "read":
		var shot proto.Snapshot
		if err := s.engine.Read(proto.TopicKey{Symbol: arg.or("sym", scriptSymbol), Channel: proto.ChannelBook}, &shot); err != nil {
			s.say("%v", err)
			return
		}
		s.say("%s", snapshotText(&shot))
	case "refuse":
		s.engine.Refuse(arg.or("sym", ""), arg.int("seq"), reasonOf(w[1]))
	case "stale":
		s.engine.SetStale(arg.or("feed", ""), reasonOf(w[1]), w[2] == "on")
	case "tick":
		s.engine.Tick(0)
	case "symbols":
		for _, i := range s.engine.Symbols() {
			s.say("%s %s phase=%d epoch=%d seq=%d exponents=%d,%d", i.Symbol, stateText(i.State, i.Reason), i.Phase, i.Epoch, i.Seq, i.Exponents.Price, i.Exponents.Qty)
		}
	case "stats":
		s.say("%+v", s.engine.Stats())
	case "rec":
		s.record = s.batch(arg)
	default:
		s.t.Fatalf("unknown command %v", w)
	}
}

func (s *script) open(name string, arg opts) {
	key := proto.TopicKey{Symbol: arg.or("sym", scriptSymbol), Channel: proto.ChannelBook}
	group, err := proto.ParseGroup(arg["group"])
	if err != nil {
		s.t.Fatal(err)
	}
	key.View = proto.View{Depth: uint32(arg.int("depth")), Group: group, Counts: arg.has("counts")}
	if arg.has("channel") {
		key.Channel = proto.Channel(arg.int("channel"))
	}
	if arg.has("trades") {
		key.Channel = proto.ChannelTrades
	}
	if arg.has("ticker") {
		key.Channel = proto.ChannelTicker
	}
	if arg.has("listing") {
		key.Channel = proto.ChannelInstruments
	}
	if arg.has("orders") {
		key.Channel = proto.ChannelOrders
	}
	v, err := s.engine.Open(key, &teller{s, name})
	if err != nil {
		s.say("%v", err)
		return
	}
	s.views[name] = v
}

func (s *script) batch(arg opts) *proto.Batch {
	r := &proto.Batch{
		Symbol: arg.or("sym", scriptSymbol), Feed: arg.or("feed", "f"), Session: arg.or("session", ""),
		Seq: arg.int("seq"), KafkaTime: 1000 + arg.int("seq"), VenueTime: arg.int("venue"),
		More: arg.has("more"), Generation: uint64(arg.int("gen")), Exponents: proto.DefaultExponents,
		OriginEpoch: uint64(arg.int("origin")), OriginSeq: arg.int("oseq"), OriginPrevSeq: arg.int("oprev"),
	}
	if r.Symbol == "-" {
		r.Symbol = ""
	}
	if arg.has("exp") {
		r.HasExponents = true
		p, q, _ := strings.Cut(arg["exp"], ",")
		r.Exponents = proto.Exponents{Price: int8(number(p)), Qty: int8(number(q))}
	}
	if arg.has("src") {
		first, last, ranged := strings.Cut(arg["src"], "-")
		if !ranged {
			last = first
		}
		r.FirstSourceSeq, r.LastSourceSeq = uint64(number(first)), uint64(number(last))
	}
	return r
}

// event reads one event: its name, its plain arguments, its options. Levels are
// b100:5 or a101:4/2 (with a count), orders b100:5#17.
func (s *script) event(w []string) proto.Event {
	arg := options(w[1:])
	e := proto.Event{OrderID: uint64(arg.int("id")), Price: arg.int("price"), Qty: arg.int("qty"), NewOrderID: uint64(arg.int("new")),
		TradeID: uint64(arg.int("trade")), KeepPriority: arg.has("keep"), Unprintable: arg.has("unprintable"), HasPrice: arg.has("price"),
		HasQtyAfter: arg.has("after"), QtyAfter: arg.int("after"), ByOrder: arg.has("orders"), Continued: arg.has("continued"),
		SourceSeq: uint64(arg.int("src")), MaxLevels: uint32(arg.int("max")), KnownLevels: uint32(arg.int("known"))}
	e.Trade = proto.Trade{ID: e.OrderID, Price: e.Price, Qty: e.Qty}
	for i, word := range []string{"hidden", "auction", "off_book"} {
		if arg.has(word) {
			e.Trade.Flags |= 1 << i
		}
	}
	kinds := map[string]proto.EventKind{"set": proto.EventSetLevels, "add": proto.EventAdd, "modify": proto.EventModify, "reduce": proto.EventReduce,
		"execute": proto.EventExecute, "replace": proto.EventReplace, "delete": proto.EventDelete, "trade": proto.EventTrade,
		"cancel": proto.EventTradeCancel, "correct": proto.EventTradeCorrect, "snapshot": proto.EventSnapshot, "clear": proto.EventClear,
		"instrument": proto.EventInstrument, "end": proto.EventInstrumentEnd, "phase": proto.EventPhase, "statistics": proto.EventStatistics,
		"heartbeat": proto.EventHeartbeat, "unset": proto.EventNone}
	kind, known := kinds[w[0]]
	if !known {
		s.t.Fatalf("unknown event %v", w)
	}
	e.Kind = kind
	for _, word := range w[1:] {
		s.levelOrOrder(&e, word)
	}
	switch w[0] {
	case "clear":
		e.SessionStart = w[1] == "session"
	case "instrument":
		p, q, _ := strings.Cut(arg["exp"], ",")
		e.Instrument = &proto.Instrument{Exponents: proto.Exponents{Price: int8(number(p)), Qty: int8(number(q))}, MaxLevels: e.MaxLevels, Tick: arg.int("tick")}
	case "end":
		e.EndReason, e.NewSymbol = reasonOf(w[1]), arg.or("to", "")
	case "phase":
		e.Phase = map[string]proto.Phase{"pre_open": 1, "auction": 2, "continuous": 3, "halted": 4, "closed": 5, "bad": 6}[w[1]]
		e.Indicative = proto.Indicative{Price: e.Price, HasPrice: arg.has("price"), Qty: e.Qty, HasQty: arg.has("qty")}
	case "statistics":
		if !arg.has("missing") {
			e.Statistics = &proto.Statistics{
				Last: arg.number("price"), Open: arg.number("open"), High: arg.number("high"), Low: arg.number("low"),
				PreviousClose: arg.number("close"), Settlement: arg.number("settlement"),
				Volume: arg.number("volume"), OpenInterest: arg.number("interest"),
			}
		}
	}
	return e
}

func (s *script) levelOrOrder(e *proto.Event, word string) {
	if strings.Contains(word, "=") {
		return
	}
	if word == "bid" || word == "ask" {
		e.Side = map[string]proto.Side{"bid": proto.Bid, "ask": proto.Ask}[word]
		return
	}
	price, rest, found := strings.Cut(word, ":")
	if !found {
		return
	}
	bid := price[0] == 'b'
	if qty, id, order := strings.Cut(rest, "#"); order {
		o := proto.Order{ID: uint64(number(id)), Price: number(price[1:]), Qty: number(qty)}
		if bid {
			e.BidOrders = append(e.BidOrders, o)
		} else {
			e.AskOrders = append(e.AskOrders, o)
		}
		return
	}
	qty, count, _ := strings.Cut(rest, "/")
	l := proto.Level{Price: number(price[1:]), Qty: number(qty), Count: uint32(number(count))}
	if bid {
		e.Bids = append(e.Bids, l)
	} else {
		e.Asks = append(e.Asks, l)
	}
}

// opts are the words of a line: name=value, or a bare name.
type opts map[string]string

func options(words []string) opts {
	o := opts{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		o[name] = value
	}
	return o
}

func (o opts) has(name string) bool  { _, ok := o[name]; return ok }
func (o opts) int(name string) int64 { return number(o[name]) }
func (o opts) number(name string) proto.Optional {
	return proto.Optional{Value: o.int(name), Set: o.has(name)}
}
func (o opts) or(name, other string) string {
	if v, ok := o[name]; ok {
		return v
	}
	return other
}

func number(s string) int64 {
	if s == "" {
		return 0
	}
	if s == "max" {
		return 1<<63 - 1
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

var reasonWords = []string{"none", "no_snapshot", "catching_up", "source_gap", "offset_gap", "bad_record", "contradiction", "crossed", "checksum",
	"source_reset", "truncated", "recreated", "overflow", "kafka_unreachable", "behind", "source_silent", "delisted", "renamed", "expired", "by_level", "bad_view"}

func reasonOf(word string) proto.Reason {
	for i, w := range reasonWords {
		if w == word {
			return proto.Reason(i)
		}
	}
	return proto.ReasonNone
}

func stateText(s proto.State, r proto.Reason) string {
	text := []string{"?", "live", "recovering", "stale"}[s]
	if r != proto.ReasonNone {
		text += "(" + reasonWords[r] + ")"
	}
	return text
}

func levelsText(levels []proto.Level) string {
	if len(levels) == 0 {
		return "-"
	}
	var words []string
	for _, l := range levels {
		w := fmt.Sprintf("%d:%d", l.Price, l.Qty)
		if l.Count > 0 {
			w += fmt.Sprintf("/%d", l.Count)
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

// ordersText writes orders as price:quantity#identifier@seq.index, the end being
// the rank; -#identifier: gone.
func ordersText(orders []proto.RankedOrder) string {
	if len(orders) == 0 {
		return "-"
	}
	var words []string
	for _, o := range orders {
		if o.Qty == 0 {
			words = append(words, fmt.Sprintf("-#%d", o.ID))
			continue
		}
		words = append(words, fmt.Sprintf("%d:%d#%d@%d.%d", o.Price, o.Qty, o.ID, o.RankSeq, o.RankIndex))
	}
	return strings.Join(words, " ")
}

func tradesText(trades []proto.Trade) string {
	var words []string
	for _, t := range trades {
		w := fmt.Sprintf("%d:%d@%d", t.Ordinal, t.Qty, t.Price)
		if t.ID > 0 {
			w += fmt.Sprintf("#%d", t.ID)
		}
		w += []string{"", " buy", " sell"}[t.Aggressor]
		if t.Flags&proto.TradeCorrection != 0 {
			w += " corrected"
		}
		if t.Flags&proto.TradeCancellation != 0 {
			w += " cancelled"
		}
		if t.VenueTime > 0 {
			w += fmt.Sprintf(" at %d", t.VenueTime)
		}
		words = append(words, w)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func flagsText(locked, crossed bool, i proto.Indicative) string {
	text := ""
	if locked {
		text += " locked"
	}
	if crossed {
		text += " crossed"
	}
	if i.HasPrice {
		text += fmt.Sprintf(" indicative %d", i.Price)
	}
	if i.HasQty {
		text += fmt.Sprintf(" x %d", i.Qty)
	}
	return text
}

func snapshotText(s *proto.Snapshot) string {
	text := fmt.Sprintf("epoch=%d seq=%d %s phase=%d", s.Epoch, s.Seq, stateText(s.State, s.Reason), s.Phase)
	text += flagsText(s.Locked, s.Crossed, s.Indicative)
	if s.Partial {
		text += " partial"
	}
	if len(s.Listings) > 0 {
		return text + " " + listingText(s.Listings[0])
	}
	if s.Ticker != (proto.Ticker{}) {
		return text + " ticker" + tickerText(&s.Ticker)
	}
	if len(s.Trades) > 0 {
		return text + " trades " + tradesText(s.Trades)
	}
	if got := proto.HashLevels(s.Bids, s.Asks) + proto.HashOrders(&s.Orders); got != s.Hash {
		text += " HASH WRONG"
	}
	if s.Orders.Len() > 0 {
		return text + fmt.Sprintf(" bids %s asks %s", ordersText(s.Orders.Bids), ordersText(s.Orders.Asks))
	}
	return text + fmt.Sprintf(" bids %s asks %s", levelsText(s.Bids), levelsText(s.Asks))
}

// teller writes down what a view is told.
type teller struct {
	s    *script
	name string
}

func (p *teller) Delta(d *proto.Delta) {
	bids, asks := levelsText(d.Bids), levelsText(d.Asks)
	if d.Orders != nil {
		bids, asks = ordersText(d.Orders.Bids), ordersText(d.Orders.Asks)
	}
	p.s.say("%s: delta %d->%d bids %s asks %s", p.name, d.PrevSeq, d.Seq, bids, asks)
	var shot proto.Snapshot
	p.s.views[p.name].Snapshot(&shot)
	if shot.Hash != d.Hash || proto.HashLevels(shot.Bids, shot.Asks)+proto.HashOrders(&shot.Orders) != d.Hash {
		p.s.say("HASH WRONG")
	}
}

func (p *teller) Trades(t *proto.Trades) {
	p.s.say("%s: trades %d->%d %s", p.name, t.PrevSeq, t.Seq, tradesText(t.Trades))
}

func (p *teller) Ticker(t *proto.Ticker) {
	p.s.say("%s: ticker %d->%d%s", p.name, t.PrevSeq, t.Seq, tickerText(t))
}

func tickerText(t *proto.Ticker) string {
	text := ""
	for _, f := range []struct {
		name string
		of   proto.Optional
	}{
		{"last", t.Last}, {"x", t.LastQty}, {"open", t.Open}, {"high", t.High}, {"low", t.Low}, {"close", t.PreviousClose},
		{"settlement", t.Settlement}, {"volume", t.Volume}, {"interest", t.OpenInterest}, {"bid", t.Bid}, {"x", t.BidQty},
		{"ask", t.Ask}, {"x", t.AskQty}, {"change", t.Change},
	} {
		if f.of.Set {
			text += fmt.Sprintf(" %s %d", f.name, f.of.Value)
		}
	}
	if t.Partial {
		text += " partial"
	}
	return text
}

func (p *teller) Status(c *proto.Status) {
	text := fmt.Sprintf("%s: status seq=%d %s phase=%d", p.name, c.Seq, stateText(c.State, c.Reason), c.Phase)
	text += flagsText(c.Locked, c.Crossed, c.Indicative)
	if c.Final {
		text += " final"
	}
	if c.Partial {
		text += " partial"
	}
	if c.NewSymbol != "" {
		text += " to " + c.NewSymbol
	}
	p.s.say("%s", text)
}

func (p *teller) Reset(r proto.SnapshotReason) {
	var shot proto.Snapshot
	p.s.views[p.name].Snapshot(&shot)
	p.s.say("%s: reset(%s) %s", p.name, []string{"?", "initial", "resync", "lapped", "recovered", "instrument", "reset"}[r], snapshotText(&shot))
}

func (p *teller) Mark(m proto.Mark) {
	p.s.say("%s: mark seq=%d symbol=%d feed=%d", p.name, m.Seq, m.SymbolTime, m.FeedTime)
}

func (p *teller) Instruments(i *proto.Instruments) {
	for _, l := range i.Listings {
		p.s.say("%s: listed %d->%d %s", p.name, i.PrevSeq, i.Seq, listingText(l))
	}
}

func listingText(l *proto.Listing) string {
	text := fmt.Sprintf("%s phase=%d seq=%d", l.Symbol, l.Phase, l.Seq)
	if l.Instrument != nil {
		text += fmt.Sprintf(" exponents=%d,%d", l.Instrument.Exponents.Price, l.Instrument.Exponents.Qty)
	}
	if l.Ended {
		text += fmt.Sprintf(" ended(%s)", reasonWords[l.EndReason])
	}
	if l.NewSymbol != "" {
		text += " to " + l.NewSymbol
	}
	return text
}

// lister writes down what a list is told.
type lister struct {
	s    *script
	name string
}

func (l *lister) Listed(x *proto.Listing, _ proto.Times) {
	l.s.say("%s: listed %s", l.name, listingText(x))
}
func (l *lister) Restarted() { l.s.say("%s: restarted", l.name) }
func (l *lister) Tick()      { l.s.say("%s: tick", l.name) }
