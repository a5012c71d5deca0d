package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// The examples of docs/protocol.md are fenced blocks, run from top to bottom:
//
//	json request [conn=NAME] [after=STEP]               sent to the server
//	json frame [conn=NAME] [after=STEP] [skip=TYPE,…]   equals the next frame that is no keepalive nor of a type to skip
//	json response GET PATH                              equals the answer over HTTP
//	hex                                                 the frame before it, in protobuf
//	text close                                          code and beginning of the text of the close frame that comes next
//
// A connection is opened where it is first named. A step produces records.

const protocolPage = "../../docs/protocol.md"

// block is one fenced block of a page.
type block struct {
	line    int
	kind    string            // the first words of its info string
	options map[string]string // the others, name=value
	text    string
}

// blocksIn returns the fenced blocks of a page that have something to run.
func blocksIn(t *testing.T, page string) []block {
	t.Helper()
	var blocks []block
	var open *block
	for i, line := range strings.Split(readPage(t, page), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open != nil:
			blocks = append(blocks, *open)
			open = nil
		case fence:
			open = &block{line: i + 1, options: map[string]string{}}
			for word := range strings.FieldsSeq(info) {
				if name, value, found := strings.Cut(word, "="); found && !strings.HasPrefix(word, "/") {
					open.options[name] = value
				} else {
					open.kind = strings.TrimSpace(open.kind + " " + word)
				}
			}
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		t.Fatalf("%s:%d: block without an end", page, open.line)
	}
	return slices.DeleteFunc(blocks, func(b block) bool { return b.kind == "text" })
}

func readPage(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExamplesOfTheProtocolPageAreWhatTheServerSays(t *testing.T) {
	r := newExampleRun(t)
	count := map[string]int{}
	for _, b := range blocksIn(t, protocolPage) {
		r.block = b
		if step := b.options["after"]; step != "" {
			r.step(step)
		}
		kind, argument, _ := strings.Cut(b.kind, " GET ")
		switch kind {
		case "json request":
			r.conn().send(r.actual(b.text))
		case "json frame":
			r.frame()
		case "json response":
			r.response(argument)
		case "hex":
			r.hex()
		case "text close":
			r.closing()
		default:
			r.fatalf("a block that is not run: %q", b.kind)
		}
		count[kind]++
	}
	for kind, least := range map[string]int{"json request": 10, "json frame": 20, "json response": 3, "hex": 1, "text close": 1} {
		if count[kind] < least {
			t.Errorf("%d blocks of kind %q, want at least %d", count[kind], kind, least)
		}
	}
	for step := range r.steps {
		t.Errorf("no example comes after step %s", step)
	}
}

// exampleRun is the run of the examples of one page.
type exampleRun struct {
	t        *testing.T
	lab      *lab
	producer *ingest.Producer
	steps    map[string][]exampleRecord // still to be produced
	server   *running
	quiet    *running // sends keepalives after a short time
	conns    map[string]*exampleConn
	epoch    [2]string // on the page, and here
	block    block
	last     string // text of the last frame on the page
}

func newExampleRun(t *testing.T) *exampleRun {
	l := newLab(t, 1)
	r := &exampleRun{t: t, lab: l, producer: l.producer(), steps: exampleSteps(), conns: map[string]*exampleConn{}}
	r.produce(r.steps["beginning"])
	delete(r.steps, "beginning")
	r.server = l.serve(func(_ *readFlags, s *serverFlags) { s.Keepalive, s.Drain = 0, 2*time.Second })
	r.quiet = l.serve(nil)
	r.settle()
	return r
}

func (r *exampleRun) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s:%d: %s", protocolPage, r.block.line, fmt.Sprintf(format, args...))
}

// exampleRecord is a record of one of the examples' symbols. Its events happen at
// seconds after the beginning of 2026.
type exampleRecord struct {
	seconds   int64
	sourceSeq uint64
	events    []proto.Event
	symbol    string // empty: exampleSymbol
}

// The symbols of the examples, by level and by order.
const (
	exampleSymbol = "SIM:BTC-USD"
	exampleStock  = "SIM:ACME"
)

// exampleSteps are the changes that examples speak of; each record is one offset.
func exampleSteps() map[string][]exampleRecord {
	exponents := proto.Exponents{Price: -2, Qty: -8}
	define := proto.Event{Kind: proto.EventInstrument, Instrument: &proto.Instrument{
		Exponents: exponents, Tick: 1, Lot: 1, Type: uint8(pb.InstrumentType_INSTRUMENT_TYPE_SPOT), Name: "Bitcoin", Base: "BTC", Quote: "USD"}}
	whole := proto.Event{Kind: proto.EventSnapshot,
		Bids: []proto.Level{{Price: 6160201, Qty: 167177000}, {Price: 6160200, Qty: 5}},
		Asks: []proto.Level{{Price: 6160202, Qty: 266795000}, {Price: 6160300, Qty: 1}}}
	phase := func(p proto.Phase) proto.Event { return proto.Event{Kind: proto.EventPhase, Phase: p} }
	set := func(bids, asks []proto.Level) proto.Event {
		return proto.Event{Kind: proto.EventSetLevels, Bids: bids, Asks: asks}
	}
	trade := func(id uint64, qty int64) proto.Event {
		return proto.Event{Kind: proto.EventTrade, Trade: proto.Trade{ID: id, Price: 6160202, Qty: qty, Aggressor: proto.AggressorBuy}}
	}
	queues := proto.Event{Kind: proto.EventSnapshot,
		BidOrders: []proto.Order{{ID: 101, Price: 10000, Qty: 200}, {ID: 104, Price: 10000, Qty: 50}, {ID: 102, Price: 9990, Qty: 300}},
		AskOrders: []proto.Order{{ID: 103, Price: 10010, Qty: 100}, {ID: 105, Price: 10020, Qty: 70}}}
	return map[string][]exampleRecord{
		"beginning": {
			{seconds: 0, sourceSeq: 1, events: []proto.Event{define}},
			{seconds: 0, sourceSeq: 2, events: []proto.Event{whole, phase(proto.Continuous), trade(501, 10_000_000)}},
		},
		"change":   {{seconds: 1, sourceSeq: 3, events: []proto.Event{set([]proto.Level{{Price: 6160201, Qty: 150000000}}, []proto.Level{{Price: 6160250, Qty: 25000000}})}}},
		"halt":     {{seconds: 2, sourceSeq: 4, events: []proto.Event{phase(proto.Halted)}}},
		"gap":      {{seconds: 3, sourceSeq: 6, events: []proto.Event{set([]proto.Level{{Price: 6160199, Qty: 1}}, nil)}}},
		"recovery": {{seconds: 4, sourceSeq: 7, events: []proto.Event{whole, phase(proto.Continuous)}}},
		"two-changes": {
			{seconds: 5, sourceSeq: 8, events: []proto.Event{set([]proto.Level{{Price: 6160200}}, nil)}},
			{seconds: 6, sourceSeq: 9, events: []proto.Event{set(nil, []proto.Level{{Price: 6160202, Qty: 200000000}})}},
		},
		"trade":  {{seconds: 7, sourceSeq: 10, events: []proto.Event{trade(502, 20_000_000)}}},
		"orders": {{seconds: 8, sourceSeq: 1, symbol: exampleStock, events: []proto.Event{queues, phase(proto.Continuous)}}},
		"order-changes": {{seconds: 9, sourceSeq: 2, symbol: exampleStock, events: []proto.Event{
			{Kind: proto.EventExecute, OrderID: 101, Qty: 120},
			{Kind: proto.EventModify, OrderID: 104, Price: 10005, Qty: 50},
			{Kind: proto.EventDelete, OrderID: 103},
		}}},
		"statistics": {{seconds: 10, sourceSeq: 3, symbol: exampleStock, events: []proto.Event{{Kind: proto.EventStatistics, Statistics: &proto.Statistics{
			Open: proto.Optional{Value: 9950, Set: true}, High: proto.Optional{Value: 10050, Set: true}, Low: proto.Optional{Value: 9910, Set: true},
			PreviousClose: proto.Optional{Value: 9900, Set: true}, Volume: proto.Optional{Value: 25000, Set: true}}}}}},
		"stock-halt": {{seconds: 11, sourceSeq: 4, symbol: exampleStock, events: []proto.Event{phase(proto.Halted)}}},
		"delisting":  {{seconds: 8, sourceSeq: 11, events: []proto.Event{{Kind: proto.EventInstrumentEnd, EndReason: proto.ReasonDelisted}}}},
		"stop":       {},
	}
}

func (r *exampleRun) step(name string) {
	r.t.Helper()
	records, known := r.steps[name]
	if !known {
		r.fatalf("no step %q, or it was made before", name)
	}
	delete(r.steps, name)
	if name == "stop" {
		go r.server.stop() // it waits for the example's own goodbye
		return
	}
	r.produce(records)
	r.settle()
}

func (r *exampleRun) produce(records []exampleRecord) {
	r.t.Helper()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, rec := range records {
		at := begin.Add(time.Duration(rec.seconds) * time.Second).UnixNano()
		symbol, exponents := exampleSymbol, proto.Exponents{Price: -2, Qty: -8}
		if rec.symbol != "" {
			symbol, exponents = rec.symbol, proto.Exponents{Price: -2}
		}
		value := proto.AppendEvents(nil, &proto.Batch{
			Symbol: symbol, Feed: "SIM", VenueTime: at, FirstSourceSeq: rec.sourceSeq, LastSourceSeq: rec.sourceSeq,
			Exponents: exponents, HasExponents: true, Events: rec.events,
		})
		r.lab.writeRaw(r.producer, ingest.Record{Key: []byte(symbol), ContentType: ingest.ContentType("proto"), Value: value,
			Time: at + time.Millisecond.Nanoseconds()})
	}
}

// settle waits until both servers have read all that was produced.
func (r *exampleRun) settle() {
	r.t.Helper()
	r.server.caughtUpTo(r.lab)
	r.quiet.caughtUpTo(r.lab)
}

// exampleConn is one connection on the JSON protocol.
type exampleConn struct {
	run *exampleRun
	net net.Conn
	r   io.ReadWriter // net, after what came with the handshake
}

// conn returns the connection that the block names.
func (r *exampleRun) conn() *exampleConn {
	r.t.Helper()
	name := r.block.options["conn"]
	if c := r.conns[name]; c != nil {
		return c
	}
	server := r.server
	if name == "quiet" {
		server = r.quiet
	}
	dialer := ws.Dialer{Protocols: []string{proto.CodecProto.Subprotocol() + ".next", proto.CodecJSON.Subprotocol()}}
	conn, early, hs, err := dialer.Dial(r.lab.ctx, server.stream())
	if err != nil {
		r.fatalf("%v", err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	if hs.Protocol != proto.CodecJSON.Subprotocol() {
		r.fatalf("subprotocol %q", hs.Protocol)
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		r.fatalf("%v", err)
	}
	c := &exampleConn{run: r, net: conn, r: conn}
	if early != nil {
		c.r = struct {
			io.Reader
			io.Writer
		}{early, conn}
	}
	r.conns[name] = c
	if name != "" {
		if hello := c.receive(); hello["type"] != "hello" {
			r.fatalf("began with %v", hello)
		}
	}
	return c
}

func (c *exampleConn) send(text string) {
	c.run.t.Helper()
	if err := wsutil.WriteClientText(c.net, []byte(text)); err != nil {
		c.run.fatalf("%v", err)
	}
}

func (c *exampleConn) receive() map[string]any {
	c.run.t.Helper()
	text, op, err := wsutil.ReadServerData(c.r)
	if err != nil || op != ws.OpText {
		c.run.fatalf("no text frame came: %v %v", op, err)
	}
	return c.run.object(string(text))
}

func (r *exampleRun) object(text string) map[string]any {
	r.t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		r.fatalf("%v: %s", err, text)
	}
	return m
}

// actual is the text of a request with this run's epoch.
func (r *exampleRun) actual(text string) string {
	if r.epoch[0] == "" {
		return text
	}
	return strings.ReplaceAll(text, r.epoch[0], r.epoch[1])
}

// frame reads the frame that the block shows.
func (r *exampleRun) frame() {
	r.t.Helper()
	want := r.object(r.block.text)
	skip := strings.Split(r.block.options["skip"], ",")
	c := r.conn()
	got := c.receive()
	for got["type"] != want["type"] && (got["type"] == "keepalive" || slices.Contains(skip, got["type"].(string))) {
		got = c.receive()
	}
	r.same(want, got)
	r.last = r.block.text
}

func (r *exampleRun) response(path string) {
	r.t.Helper()
	response, err := http.Get(r.server.url() + path)
	if err != nil {
		r.fatalf("%v", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		r.fatalf("%v", err)
	}
	if kind := response.Header.Get("Content-Type"); kind != "application/json" {
		r.fatalf("Content-Type %q", kind)
	}
	r.same(r.object(r.block.text), r.object(string(text)))
}

// hex compares the block with the frame before it.
func (r *exampleRun) hex() {
	r.t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(r.block.text), ""))
	if err != nil {
		r.fatalf("%v", err)
	}
	f, err := proto.DecodeJSONFrame([]byte(r.last), func(uint32) (proto.Exponents, bool) { return proto.Exponents{Price: -2, Qty: -8}, true })
	if err != nil {
		r.fatalf("%v", err)
	}
	want, err := proto.CodecProto.AppendFrame(nil, f, proto.Exponents{})
	if err != nil {
		r.fatalf("%v", err)
	}
	if err := googleproto.Unmarshal(b, &pb.Frame{}); err != nil || !bytes.Equal(b, want) {
		r.fatalf("want %x (%v)", want, err)
	}
}

func (r *exampleRun) closing() {
	r.t.Helper()
	_, _, err := wsutil.ReadServerData(r.conn().r)
	closed, ok := err.(wsutil.ClosedError)
	if got := fmt.Sprintf("%d %s", closed.Code, closed.Reason); !ok || got != strings.TrimSpace(r.block.text) {
		r.fatalf("got %q (%v)", got, err)
	}
}

// freeForm has the members whose values differ from run to run, with their form.
var freeForm = map[string]*regexp.Regexp{
	"time":               regexp.MustCompile(`^\d{19}$`),
	"published":          regexp.MustCompile(`^\d{19}$`),
	"symbol_age_ms":      regexp.MustCompile(`^\d{1,13}$`),
	"feed_age_ms":        regexp.MustCompile(`^\d{1,13}$`),
	"reconnect_after_ms": regexp.MustCompile(`^\d{1,4}$`),
	"cursor":             regexp.MustCompile(`^[A-Za-z0-9_-]{20,200}$`),
	"deadline_ms":        regexp.MustCompile(`^\d{1,4}$`),
}

// same holds what came against what the page shows.
func (r *exampleRun) same(want, got map[string]any) {
	r.t.Helper()
	if diff := r.differ("", want, got); diff != "" {
		text, _ := json.Marshal(got) // it came from JSON
		r.fatalf("%s\ngot %s", diff, text)
	}
}

// differ says where got is not what the page wants, in one line; "" if it is.
func (r *exampleRun) differ(at string, want, got any) string {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		names, others := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))
		if !ok || !slices.Equal(names, others) {
			return fmt.Sprintf("%s: members %v, on the page %v", at, others, names)
		}
		for _, name := range names {
			if diff := r.member(at+"."+name, name, want[name], got[name]); diff != "" {
				return diff
			}
		}
		return ""
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return fmt.Sprintf("%s: %v, on the page %v", at, got, want)
		}
		for i := range want {
			if diff := r.differ(fmt.Sprintf("%s[%d]", at, i), want[i], got[i]); diff != "" {
				return diff
			}
		}
		return ""
	}
	if want != got {
		return fmt.Sprintf("%s: %#v, on the page %#v", at, got, want)
	}
	return ""
}

func (r *exampleRun) member(at, name string, want, got any) string {
	if form := freeForm[name]; form != nil {
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) || !form.MatchString(fmt.Sprint(want)) || !form.MatchString(fmt.Sprint(got)) {
			return fmt.Sprintf("%s: %#v, on the page %#v, want the form %v", at, got, want, form)
		}
		return ""
	}
	// An epoch is derived from the cluster's and the Kafka topic's ids.
	if text, _ := want.(string); name == "epoch" && text != noEpoch {
		if r.epoch[0] == "" {
			r.epoch = [2]string{text, fmt.Sprint(got)}
		}
		want = r.actual(text)
		if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(r.epoch[1]) {
			return at + ": not 16 hexadecimal digits"
		}
	}
	return r.differ(at, want, got)
}

// noEpoch is what an ack says that speaks of none.
const noEpoch = "0000000000000000"
