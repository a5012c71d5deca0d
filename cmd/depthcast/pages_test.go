package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

const (
	operationsPage = "../../docs/operations.md"
	codecsPage     = "../../docs/codecs.md"
)

// A table of a page that the code decides has a mark before it: <!-- KIND --> or
// <!-- KIND: NAME -->.
var tableMark = regexp.MustCompile(`^<!-- (\w+)(?:: (\w+))? -->$`)

// tablesIn returns the rows of the marked tables of a page, by mark.
func tablesIn(t *testing.T, page string) map[string][][]string {
	t.Helper()
	tables := map[string][][]string{}
	mark, row := "", 0
	for i, line := range strings.Split(readPage(t, page), "\n") {
		if m := tableMark.FindStringSubmatch(line); m != nil {
			mark, row = strings.TrimSpace(m[1]+" "+m[2]), 0
			if _, twice := tables[mark]; twice {
				t.Fatalf("%s:%d: a second table %q", page, i+1, mark)
			}
			tables[mark] = nil
			continue
		}
		cells, isRow := strings.CutPrefix(line, "|")
		if mark == "" || !isRow {
			mark = ""
			continue
		}
		if row++; row <= 2 {
			continue // names and rule
		}
		fields := strings.Split(strings.TrimSuffix(cells, "|"), "|")
		for i := range fields {
			fields[i] = strings.Trim(strings.TrimSpace(fields[i]), "`")
		}
		tables[mark] = append(tables[mark], fields)
	}
	return tables
}

// firstCells keeps the first n cells of each row, as one line each.
func firstCells(rows [][]string, n int) []string {
	lines := make([]string, len(rows))
	for i, row := range rows {
		lines[i] = strings.Join(row[:min(n, len(row))], " | ")
	}
	return lines
}

func sameRows(t *testing.T, table string, page, code []string) {
	t.Helper()
	for _, row := range page {
		if !slices.Contains(code, row) {
			t.Errorf("%s: the page says %q, the code does not", table, row)
		}
	}
	for _, row := range code {
		if !slices.Contains(page, row) {
			t.Errorf("%s: the page lacks %q", table, row)
		}
	}
	if len(page) != len(code) {
		t.Errorf("%s: %d rows, the code has %d", table, len(page), len(code))
	}
}

// reservedFrames are frames that the page only names.
var reservedFrames = []string{"Candles"}

func TestProtocolPageNamesEveryField(t *testing.T) {
	tables := tablesIn(t, protocolPage)
	messages := map[string]protoreflect.MessageDescriptor{}
	always := map[string]map[string]any{}
	add := func(d protoreflect.MessageDescriptor) { messages[string(d.Name())] = d }
	request := (&pb.Request{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
	for i := range request.Len() {
		add(request.Get(i).Message())
	}
	frames := (&pb.Frame{}).ProtoReflect().Descriptor().Oneofs().Get(0).Fields()
	for i := range frames.Len() {
		d := frames.Get(i).Message()
		if slices.Contains(reservedFrames, string(d.Name())) {
			if !strings.Contains(readPage(t, protocolPage), "`"+string(frames.Get(i).Name())+"`") {
				t.Errorf("the page does not name the frame %s", frames.Get(i).Name())
			}
			continue
		}
		add(d)
		always[string(d.Name())] = writtenWhenEmpty(t, frames.Get(i))
	}
	for _, m := range []protoreflect.ProtoMessage{&pb.SubscribeItem{}, &pb.ModifyItem{}, &pb.Resume{}, &pb.Limits{}, &pb.PublicTrade{}, &pb.Times{}, &pb.Listing{}, &pb.Instrument{}} {
		add(m.ProtoReflect().Descriptor())
	}
	always["Times"] = map[string]any{}
	always["Limits"] = nested(t, &pb.Frame{Body: &pb.Frame_Hello{Hello: &pb.Hello{Limits: &pb.Limits{}}}}, "limits")
	always["PublicTrade"] = nested(t, &pb.Frame{Body: &pb.Frame_Trades{Trades: &pb.Trades{Trades: []*pb.PublicTrade{{}}}}}, "trades")
	listing := &pb.Instruments{Listings: []*pb.Listing{{Instrument: &pb.Instrument{}}}}
	always["Listing"] = nested(t, &pb.Frame{Body: &pb.Frame_Instruments{Instruments: listing}}, "listings")
	always["Instrument"] = always["Listing"]["instrument"].(map[string]any)
	delete(always["Listing"], "instrument")
	for name, d := range messages {
		var code []string
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			form := formOnPage(f)
			if _, written := always[name][string(f.Name())]; written {
				form += ", always"
			}
			code = append(code, fmt.Sprintf("%s | %d | %s", f.Name(), f.Number(), form))
		}
		sameRows(t, "fields of "+name, firstCells(tables["fields "+name], 3), code)
	}
	for mark := range tables {
		if name, is := strings.CutPrefix(mark, "fields "); is && messages[name] == nil {
			t.Errorf("the page has fields of %s, which is no message", name)
		}
	}
}

// decimals are the numbers of 64 bits whose names do not end in qty, and which are
// prices or quantities nevertheless.
var decimals = []string{"volume", "open_interest", "tick", "lot"}

// formOnPage is the JSON form of a field in the words of the page.
func formOnPage(f protoreflect.FieldDescriptor) string {
	form := ""
	switch f.Kind() {
	case protoreflect.BoolKind:
		form = "boolean"
	case protoreflect.Uint32Kind, protoreflect.Sint32Kind:
		form = "number"
	case protoreflect.Sint64Kind:
		form = "decimal"
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sfixed64Kind:
		form = "integer string"
		if strings.HasSuffix(string(f.Name()), "qty") || slices.Contains(decimals, string(f.Name())) {
			form = "decimal"
		}
	case protoreflect.Fixed32Kind:
		form = "8 hex digits"
	case protoreflect.Fixed64Kind:
		form = "16 hex digits"
	case protoreflect.EnumKind:
		form = "word"
	case protoreflect.StringKind:
		form = "string"
	case protoreflect.BytesKind:
		form = "base64"
	case protoreflect.MessageKind:
		form = "object"
		switch f.Message().Name() {
		case "Levels":
			form = "levels"
		case "RankedOrders":
			form = "orders"
		}
	}
	if f.IsList() {
		return "array of " + form + "s"
	}
	return form
}

// writtenWhenEmpty returns the members that a frame has when nothing is set.
func writtenWhenEmpty(t *testing.T, body protoreflect.FieldDescriptor) map[string]any {
	t.Helper()
	f := &pb.Frame{}
	f.ProtoReflect().Mutable(body)
	return members(t, f)
}

func members(t *testing.T, f *pb.Frame) map[string]any {
	t.Helper()
	text, err := proto.AppendJSONFrame(nil, f, proto.Exponents{})
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// nested returns the members of the object, or the first of the list, that f has
// under name.
func nested(t *testing.T, f *pb.Frame, name string) map[string]any {
	t.Helper()
	inner := members(t, f)[name]
	if list, ok := inner.([]any); ok {
		inner = list[0]
	}
	return inner.(map[string]any)
}

func TestProtocolPageNamesEveryWord(t *testing.T) {
	tables := tablesIn(t, protocolPage)
	enums := map[string]struct {
		of   protoreflect.Enum
		word func(number int32) string
	}{
		"Channel":        {pb.Channel(0), func(n int32) string { return proto.ChannelWord(proto.Channel(n)) }},
		"SnapshotReason": {pb.SnapshotReason(0), func(n int32) string { return proto.SnapshotReasonWord(proto.SnapshotReason(n)) }},
		"State":          {pb.State(0), func(n int32) string { return proto.StateWord(proto.State(n)) }},
		"Reason":         {pb.Reason(0), func(n int32) string { return proto.ReasonWord(proto.Reason(n)) }},
		"Phase":          {pb.Phase(0), func(n int32) string { return proto.PhaseWord(proto.Phase(n)) }},
		"Aggressor":      {pb.Aggressor(0), func(n int32) string { return proto.AggressorWord(proto.Aggressor(n)) }},
		"Policy":         {pb.Policy(0), func(n int32) string { return proto.PolicyWord(pb.Policy(n)) }},
		"InstrumentType": {pb.InstrumentType(0), func(n int32) string { return proto.InstrumentTypeWord(uint8(n)) }},
		"EndReason":      {pb.EndReason(0), func(n int32) string { return proto.ReasonWord(proto.ReasonDelisted + proto.Reason(n) - 1) }},
		"Retry":          {pb.Retry(0), func(n int32) string { return proto.RetryWord(pb.Retry(n)) }},
	}
	for name, e := range enums {
		var code []string
		values := e.of.Descriptor().Values()
		for i := range values.Len() {
			if n := int32(values.Get(i).Number()); n != 0 {
				code = append(code, fmt.Sprintf("%s | %d", e.word(n), n))
			}
		}
		sameRows(t, "words of "+name, firstCells(tables["words "+name], 2), code)
	}
}

func TestProtocolPageHasTheTablesOfErrorsAndCloseCodes(t *testing.T) {
	tables := tablesIn(t, protocolPage)
	var errors, closes []string
	for _, row := range fanout.ErrorRows() {
		if row.Code == pb.ErrorCode_ERROR_CODE_UNSPECIFIED {
			continue
		}
		after := ""
		if row.RetryAfterMS != 0 {
			after = strconv.Itoa(int(row.RetryAfterMS))
		}
		errors = append(errors, fmt.Sprintf("%s | %d | %s | %s | %s", proto.ErrorCodeWord(row.Code), row.Code, row.Text, proto.RetryWord(row.Retry), after))
	}
	for _, row := range fanout.Drops() {
		if row.Reason != fanout.DropNone {
			closes = append(closes, fmt.Sprintf("%s | %d | %s | %s", row.Label, row.Code, row.Text, proto.RetryWord(row.Retry)))
		}
	}
	sameRows(t, "errors", firstCells(tables["errors"], 5), errors)
	sameRows(t, "close codes", firstCells(tables["closes"], 4), closes)
}

func TestProtocolPageHasTheDefaultLimits(t *testing.T) {
	rows := tablesIn(t, protocolPage)["limits"]
	if len(rows) < 5 {
		t.Fatalf("%d limits", len(rows))
	}
	defaults := flagsOf(t, "serve")
	for _, row := range rows {
		flag, known := defaults[strings.TrimPrefix(row[2], "--")]
		if !known || flag != row[1] {
			t.Errorf("%s: the page says %s, the flag %s", row[0], row[1], flag)
		}
	}
}

// flagsOf returns the defaults of a command's flags.
func flagsOf(t *testing.T, command string) map[string]string {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Vars{"version": version})
	if err != nil {
		t.Fatal(err)
	}
	defaults := map[string]string{}
	for _, node := range parser.Model.Children {
		if node.Name == command {
			for _, flag := range node.Flags {
				defaults[flag.Name] = flag.Default
			}
		}
	}
	return defaults
}

func TestProtocolPageHasTheRightHashes(t *testing.T) {
	tables := tablesIn(t, protocolPage)
	if len(tables["mix"]) < 5 || len(tables["hashes"]) < 5 {
		t.Fatalf("%d and %d rows", len(tables["mix"]), len(tables["hashes"]))
	}
	for _, row := range tables["mix"] {
		mix := proto.Mix(proto.Side(mantissa(t, row[0])), mantissa(t, row[1]), mantissa(t, row[2]))
		if got := fmt.Sprintf("%08x", mix); got != row[3] {
			t.Errorf("mix of %v: %s", row, got)
		}
	}
	if len(tables["mix orders"]) < 5 {
		t.Fatalf("%d rows of orders", len(tables["mix orders"]))
	}
	for _, row := range tables["mix orders"] {
		id, err := strconv.ParseUint(row[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		o := proto.RankedOrder{ID: id, Price: mantissa(t, row[2]), Qty: mantissa(t, row[3]), RankSeq: mantissa(t, row[4]), RankIndex: uint32(mantissa(t, row[5]))}
		if got := fmt.Sprintf("%08x", proto.MixOrder(proto.Side(mantissa(t, row[0])), &o)); got != row[6] {
			t.Errorf("mix of %v: %s", row, got)
		}
	}
	for _, row := range tables["hashes"] {
		if got := fmt.Sprintf("%08x", proto.HashLevels(levelsOnPage(t, row[0]), levelsOnPage(t, row[1]))); got != row[2] {
			t.Errorf("hash of %v: %s", row, got)
		}
	}
}

func mantissa(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// levelsOnPage reads "price qty, price qty".
func levelsOnPage(t *testing.T, text string) []proto.Level {
	t.Helper()
	var levels []proto.Level
	for level := range strings.SplitSeq(text, ",") {
		if price, qty, found := strings.Cut(strings.TrimSpace(level), " "); found {
			levels = append(levels, proto.Level{Price: mantissa(t, price), Qty: mantissa(t, qty)})
		}
	}
	return levels
}

var (
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	link    = regexp.MustCompile(`\]\(([^)]*)\)`)
)

func TestLinksOfPagesLeadSomewhere(t *testing.T) {
	for _, page := range []string{protocolPage, operationsPage, codecsPage, securityPage, "../../docs/bench.md", "../../README.md", "../../CHANGELOG.md"} {
		for _, m := range link.FindAllStringSubmatch(readPage(t, page), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if anchor != "" && !slices.Contains(anchorsIn(readPage(t, file)), anchor) {
				t.Errorf("%s: %s has no heading #%s", page, file, anchor)
			}
		}
	}
}

// anchorsIn names the headings of a page as links do.
func anchorsIn(text string) []string {
	var anchors []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		anchor := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		anchors = append(anchors, regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(anchor, ""))
	}
	return anchors
}

func TestReadmeNamesEveryMakeTarget(t *testing.T) {
	targets := regexp.MustCompile(`(?m)^([a-z-]+):.*## (.*)$`)
	var code, page []string
	for _, m := range targets.FindAllStringSubmatch(readPage(t, "../../Makefile"), -1) {
		code = append(code, m[1]+": "+m[2])
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `make ([a-z-]+)` \\| (.*) \\|$").FindAllStringSubmatch(readPage(t, "../../README.md"), -1) {
		page = append(page, m[1]+": "+m[2])
	}
	sameRows(t, "make targets", page, code)
}

func TestVersionIsThatOfTheNewestChange(t *testing.T) {
	newest := regexp.MustCompile(`(?m)^## \[(\d+\.\d+\.\d+)\]`).FindStringSubmatch(readPage(t, "../../CHANGELOG.md"))
	if newest == nil || newest[1] != version {
		t.Errorf("CHANGELOG.md: %v, the program: %s", newest, version)
	}
}

func TestCodecsPageNamesEveryFormat(t *testing.T) {
	var code, page []string
	for _, format := range ingest.Formats() {
		code = append(code, format+" | "+ingest.ContentType(format))
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| `([a-z]+/[a-z0-9.+]+)` \\| ").FindAllStringSubmatch(readPage(t, codecsPage), -1) {
		page = append(page, m[1]+" | "+m[2])
	}
	sameRows(t, "formats", page, code)
}

// securityPage says what bounds which abuse.
const securityPage = "../../docs/security.md"

func TestSecurityPageNamesWhatThereIs(t *testing.T) {
	rows := tablesIn(t, securityPage)["bounds"]
	if len(rows) < 25 {
		t.Fatalf("%d attacks", len(rows))
	}
	flags, metrics, tests := flagsOf(t, "serve"), map[string]bool{}, testsOf(t)
	for _, row := range tablesIn(t, operationsPage)["metrics"] {
		metrics[row[0]] = true
	}
	for _, row := range rows {
		if _, known := flags[strings.TrimPrefix(row[1], "--")]; !known {
			t.Errorf("%s: there is no flag %s", row[0], row[1])
		}
		for metric := range strings.SplitSeq(row[2], ", ") {
			if metric = "depthcast_" + strings.Trim(metric, "`"); !metrics[metric] {
				t.Errorf("%s: there is no metric %s", row[0], metric)
			}
		}
		if !tests[row[4]] {
			t.Errorf("%s: there is no test %s", row[0], row[4])
		}
	}
}

// testsOf returns the names of all tests in this repository.
func testsOf(t *testing.T) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, pattern := range []string{"*_test.go", "../../*/*_test.go", "../../*/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, m := range declared.FindAllStringSubmatch(readPage(t, file), -1) {
				tests[m[1]] = true
			}
		}
	}
	return tests
}

func TestOperationsPageNamesEveryMetric(t *testing.T) {
	l := newLab(t, 1)
	p := l.producer()
	l.writeRaw(p, ingest.Record{Key: []byte("SIM:BAD"), ContentType: ingest.ContentType("proto"), Value: []byte("not a record")})
	r := l.serve(func(_ *readFlags, f *serverFlags) { // with all that has metrics of its own
		f.AuthKeys, f.UsageLog = keyFile(t, ""), filepath.Join(t.TempDir(), "usage")
		f.TLSCert, f.TLSKey, _ = selfSigned(t)
		f.ProxyProtocol, f.TrustedProxy = true, []addressRange{addressRange(netip.MustParsePrefix("192.0.2.0/24"))}
	})
	r.caughtUpTo(l)
	text := fetchText(t, "http://"+r.doors.inside.Addr().String()+"/metrics", http.StatusOK)
	labels := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(depthcast_\w+)(?:\{(.*)\})? `).FindAllStringSubmatch(text, -1) {
		var names []string
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1) {
			names = append(names, label[1])
		}
		slices.Sort(names)
		labels[m[1]] = strings.Join(names, ", ")
	}
	var code []string
	for _, m := range regexp.MustCompile(`(?m)^# HELP (depthcast_\w+) (.*)$`).FindAllStringSubmatch(text, -1) {
		code = append(code, m[1]+" | "+labels[m[1]]+" | "+m[2])
	}
	sameRows(t, "metrics", firstCells(tablesIn(t, operationsPage)["metrics"], 3), code)
}
