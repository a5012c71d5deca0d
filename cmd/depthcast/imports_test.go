package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/depthcast/depthcast"

// rule says which of our packages a package may import. A pattern that ends in
// /... also stands for everything below. Packages are named relative to the module.
type rule struct {
	imports []string
	// testImports are allowed to its tests on top of imports.
	testImports []string
}

// rules holds every package of ours: calls go right, imports go down. A package
// that is not here fails the test, so that a new one is a decision.
var rules = map[string]rule{
	"proto":    {imports: []string{"proto/pb"}}, // its own generated code, and nothing else of ours
	"proto/pb": {},
	// What exchanges' clients are told, in their protocols.
	"proto/kraken":  {imports: []string{"proto"}},
	"proto/binance": {imports: []string{"proto"}},
	"ingest":        {imports: []string{"proto", "proto/pb"}},
	"ingest/feed":   {imports: []string{"proto", "proto/pb", "ingest"}},
	"book":          {imports: []string{"proto"}},
	"fanout": {
		imports:     []string{"proto", "proto/pb", "proto/kraken", "proto/binance", "fanout/ring", "fanout/poll", "fanout/peer"},
		testImports: []string{"fanout/poll/polltest"},
	},
	"fanout/door":          {imports: []string{"proto", "fanout"}},
	"fanout/ring":          {},
	"fanout/peer":          {},
	"fanout/poll":          {testImports: []string{"fanout/poll/polltest"}},
	"fanout/poll/polltest": {imports: []string{"fanout/poll"}},
	"client":               {imports: []string{"proto", "proto/pb"}},
	"web":                  {},
	"bench":                {imports: []string{"proto", "proto/pb", "fanout/poll", "client", "bench/..."}},
	"bench/...":            {imports: []string{"proto", "proto/pb", "fanout/poll", "client", "bench/..."}},
	"cmd/depthcast":        {imports: []string{"..."}},
}

// confined are packages of others that only some of ours may know.
var confined = []struct {
	importPath string
	to         []string // our packages, tests included
	toTests    []string // our packages whose tests alone may
}{
	{"github.com/segmentio/kafka-go", []string{"ingest", "ingest/feed"}, []string{"cmd/depthcast"}},
	// bench/feed is a producer from outside, like those of users: it knows nothing of ingest.
	{"github.com/twmb/franz-go", []string{"ingest", "ingest/feed", "bench/feed"}, []string{"cmd/depthcast"}},
	{"github.com/mailru/easygo", []string{"fanout/poll"}, nil},
	{"github.com/gobwas/ws", []string{"fanout", "client", "bench/..."}, []string{"cmd/depthcast"}},
	{"github.com/golang-jwt", []string{"fanout/door"}, []string{"cmd/depthcast"}},
	{"github.com/MicahParks", []string{"fanout/door"}, nil},
	{"github.com/HdrHistogram", []string{"bench/..."}, nil},
	{"github.com/go-echarts", []string{"bench/..."}, nil},
	{"github.com/alecthomas/kong", []string{"cmd/depthcast", "bench/..."}, nil},
}

// impure is what book must not know, since the state at an offset is a pure
// function of the log: no I/O, clock, lock, logger or randomness.
var impure = []string{
	"context", "crypto/rand", "io", "log", "log/slog", "math/rand", "math/rand/v2",
	"net", "net/http", "os", "sync", "syscall", "time",
}

// vague are names that say nothing of what a package holds.
var vague = []string{"common", "helper", "helpers", "misc", "shared", "util", "utils"}

// node is one package with its direct imports, as `go list` knows them.
type node struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// violations returns a sentence for everything in the graph that the tables above
// do not allow.
func violations(graph []node) []string {
	var found []string
	for _, n := range graph {
		name := ours(n.ImportPath)
		if slices.Contains(vague, path.Base(name)) {
			found = append(found, fmt.Sprintf("%s: the name says nothing of what it holds", name))
		}
		r, known := lookUp(name)
		if !known {
			found = append(found, fmt.Sprintf("%s is in no rule of imports_test.go: decide what it may import", name))
			continue
		}
		for _, imp := range n.Imports {
			if reason := forbidden(name, r.imports, imp, false); reason != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", name, imp, reason))
			}
		}
		for _, imp := range slices.Concat(n.TestImports, n.XTestImports) {
			if imp == n.ImportPath { // an external test imports what it tests
				continue
			}
			if reason := forbidden(name, slices.Concat(r.imports, r.testImports), imp, true); reason != "" {
				found = append(found, fmt.Sprintf("a test of %s imports %s: %s", name, imp, reason))
			}
		}
	}
	return found
}

// forbidden says why the package may not import imp, or nothing if it may.
func forbidden(name string, allowed []string, imp string, byTest bool) string {
	if imp == module || strings.HasPrefix(imp, module+"/") {
		if !matches(allowed, ours(imp)) {
			return "not in its rule"
		}
		return ""
	}
	for _, c := range confined {
		if matches([]string{c.importPath + "/..."}, imp) &&
			!matches(c.to, name) && !(byTest && matches(c.toTests, name)) {
			return fmt.Sprintf("only for %s", strings.Join(c.to, ", "))
		}
	}
	if name == "book" && !byTest && slices.Contains(impure, imp) {
		return "a book is a pure function of the log"
	}
	return ""
}

// lookUp returns the rule of a package: its own or else that of the tree it is in.
func lookUp(name string) (rule, bool) {
	if r, ok := rules[name]; ok {
		return r, true
	}
	for pattern, r := range rules {
		if strings.HasSuffix(pattern, "...") && matches([]string{pattern}, name) {
			return r, true
		}
	}
	return rule{}, false
}

// matches reports whether one of the patterns names the package. "..." alone
// names all of them.
func matches(patterns []string, name string) bool {
	for _, p := range patterns {
		tree, isTree := strings.CutSuffix(p, "/...")
		if p == "..." || p == name || isTree && (name == tree || strings.HasPrefix(name, tree+"/")) {
			return true
		}
	}
	return false
}

// ours is the name of one of our packages relative to the module.
func ours(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "/")
}

func TestImportsGoOneWay(t *testing.T) {
	for _, tags := range []string{"", "verify"} {
		graph := listPackages(t, tags)
		if len(graph) < 2 {
			t.Fatalf("go list -tags=%q found %d packages: the check would prove nothing", tags, len(graph))
		}
		for _, v := range violations(graph) {
			t.Errorf("tags %q: %s", tags, v)
		}
	}
}

// listPackages returns all packages of the module under the build tags.
func listPackages(t *testing.T, tags string) []node {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-tags="+tags,
		"-json=ImportPath,Imports,TestImports,XTestImports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var graph []node
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var n node
		if err := d.Decode(&n); errors.Is(err, io.EOF) {
			return graph
		} else if err != nil {
			t.Fatal(err)
		}
		graph = append(graph, n)
	}
}

func TestImportCheckRejectsEveryWrongDirection(t *testing.T) {
	const kafka = "github.com/segmentio/kafka-go"
	tests := []struct {
		name, importer, imports string
		want                    string // part of the one violation; empty: allowed
	}{
		{"down", "fanout", module + "/proto", ""},
		{"command on all", "cmd/depthcast", module + "/fanout", ""},
		{"standard library", "ingest", "time", ""},
		{"Kafka in ingest", "ingest", kafka, ""},
		{"below bench", "bench/report", module + "/bench/swarm", ""},

		{"ingest on book", "ingest", module + "/book", "ingest imports " + module + "/book"},
		{"ingest on fanout", "ingest", module + "/fanout", "not in its rule"},
		{"book on ingest", "book", module + "/ingest", "not in its rule"},
		{"book on fanout", "book", module + "/fanout/ring", "not in its rule"},
		{"fanout on ingest", "fanout", module + "/ingest", "not in its rule"},
		{"fanout on book", "fanout", module + "/book", "not in its rule"},
		{"generated code on proto", "proto/pb", module + "/proto", "not in its rule"},
		{"proto on book", "proto", module + "/book", "not in its rule"},
		{"ring on proto", "fanout/ring", module + "/proto", "not in its rule"},
		{"fanout on the fake of its tests", "fanout", module + "/fanout/poll/polltest", "not in its rule"},
		{"client on fanout", "client", module + "/fanout", "not in its rule"},
		{"bench on fanout", "bench", module + "/fanout", "not in its rule"},
		{"below bench on fanout", "bench/report", module + "/fanout/ring", "not in its rule"},
		{"web on proto", "web", module + "/proto", "not in its rule"},
		{"anything on the command", "fanout", module + "/cmd/depthcast", "not in its rule"},
		{"Kafka in fanout", "fanout", kafka, "only for ingest"},
		{"Kafka in the command", "cmd/depthcast", "github.com/twmb/franz-go/pkg/kgo", "only for ingest"},
		{"Kafka in the bench's feed", "bench/feed", "github.com/twmb/franz-go/pkg/kgo", ""},
		{"Kafka elsewhere in the bench", "bench/swarm", "github.com/twmb/franz-go/pkg/kgo", "only for ingest"},
		{"tokens beside the door", "fanout", "github.com/golang-jwt/jwt/v5", "only for fanout/door"},
		{"fanout on who decides", "fanout", module + "/fanout/door", "not in its rule"},
		{"easygo beside poll", "fanout", "github.com/mailru/easygo/netpoll", "only for fanout/poll"},
		{"clock in book", "book", "time", "pure function"},
		{"unknown package", "cache", "time", "in no rule"},
		{"unknown package below a known one", "ingest/cache", "time", "in no rule"},
		{"similar name", "benchmarks", "time", "in no rule"},
		{"vague name", "bench/util", "time", "says nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := violations([]node{{ImportPath: module + "/" + tt.importer, Imports: []string{tt.imports}}})
			if tt.want == "" && len(got) == 0 {
				return
			}
			if tt.want == "" || len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("got %q, want one with %q", got, tt.want)
			}
		})
	}
}

func TestImportCheckHoldsTestsToTheirOwnRule(t *testing.T) {
	const kafka = "github.com/segmentio/kafka-go"
	allowed := []node{
		{ImportPath: module + "/fanout", TestImports: []string{module + "/fanout/poll/polltest"}},
		{ImportPath: module + "/book", TestImports: []string{"os"}, XTestImports: []string{module + "/book"}},
		{ImportPath: module + "/cmd/depthcast", TestImports: []string{kafka}},
	}
	if got := violations(allowed); len(got) != 0 {
		t.Errorf("rejects what tests may import: %q", got)
	}
	wrong := []node{
		{ImportPath: module + "/fanout", Imports: []string{module + "/fanout/poll/polltest"}},
		{ImportPath: module + "/fanout", TestImports: []string{kafka}},
		{ImportPath: module + "/book", XTestImports: []string{module + "/ingest"}},
	}
	if got := violations(wrong); len(got) != len(wrong) {
		t.Errorf("got %q, want one violation for each of %d packages", got, len(wrong))
	}
}
