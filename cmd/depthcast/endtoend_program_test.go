package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// output collects what a program prints; safe for use by several goroutines.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// program is the command line at work.
type program struct {
	t           *testing.T
	out, errOut *output
	ended       chan error
	interrupt   func()
}

// start runs the program with these arguments, as main does.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	was := slog.Default()
	t.Cleanup(func() { slog.SetDefault(was) })
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	p := &program{t: t, out: &output{}, errOut: &output{}, ended: make(chan error, 1), interrupt: cancel}
	go func() { p.ended <- run(ctx, args, p.out, p.errOut) }()
	return p
}

// wait is the error that the program ends with.
func (p *program) wait() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(patience):
		p.interrupt()
		p.t.Fatalf("the program did not end; it printed:\n%s%s", p.out, p.errOut)
		return nil
	}
}

// prints waits until the program has printed what pattern finds, and returns its
// first group.
func (p *program) prints(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	p.holds("prints "+pattern, func() bool { found = re.FindStringSubmatch(p.out.String()); return found != nil })
	return found[1]
}

// holds waits for a condition that the program brings about.
func (p *program) holds(what string, condition func() bool) {
	p.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case err := <-p.ended:
			p.t.Fatalf("the program ended (%v), waiting for: %s; it printed:\n%s%s", err, what, p.out, p.errOut)
		case <-deadline.C:
			p.t.Fatalf("waited in vain: %s; it printed:\n%s%s", what, p.out, p.errOut)
		}
	}
}

// answers reports whether a GET of url is answered with 200.
func answers(url string) bool {
	c := http.Client{Timeout: patience}
	resp, err := c.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// goroutines counts the goroutines that depthcast's code or a Kafka client has started,
// by the function that started them.
func goroutines() map[string]int {
	all := make([]byte, 16<<20)
	all = all[:runtime.Stack(all, true)]
	count := map[string]int{}
	for _, m := range regexp.MustCompile(`created by (github\.com/(?:depthcast|twmb|segmentio|mailru)/\S+)`).FindAllSubmatch(all, -1) {
		count[string(m[1])]++
	}
	return count
}

// The one command that a newcomer types: what it announces is there, and an
// interrupt ends it without an error and without a trace.
func TestEndToEndDemoServesWhatItAnnouncesAndLeavesNothingBehind(t *testing.T) {
	before := goroutines()
	p := start(t, "demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--partitions", "2", "--rate", "1000", "--symbols", "3")
	base := p.prints(`in a browser +(http://\S+)`)
	admin := p.prints(`for operators +(http://[^/]+)/metrics`)
	stream := p.prints(`over WebSocket +(ws://\S+)`)
	p.prints(`(Ctrl-C)`)
	p.holds("ready", func() bool { return answers(admin + "/readyz") })
	fetchText(t, admin+"/healthz", http.StatusOK)
	fetchText(t, admin+"/debug/pprof/cmdline", http.StatusOK)
	for _, name := range []string{"depthcast_ingest_records_total", "depthcast_books", "depthcast_fanout_connections", "depthcast_dead_letters_sent_total", "go_goroutines"} {
		if !strings.Contains(fetchText(t, admin+"/metrics", http.StatusOK), name) {
			t.Errorf("/metrics lacks %s", name)
		}
	}
	if page := fetchText(t, base+"/", http.StatusOK); !strings.Contains(page, "<html") || !strings.Contains(page, "depthcast") {
		t.Errorf("/ is no page: %.200s", page)
	}
	if symbols := fetchText(t, base+"/v1/symbols", http.StatusOK); !strings.Contains(symbols, `"SIM:BTC-USD"`) {
		t.Errorf("/v1/symbols: %.300s", symbols)
	}
	var shown struct {
		Bids, Asks [][]string
		State      string
	}
	book := fetchText(t, base+"/v1/books/SIM:BTC-USD?depth=5", http.StatusOK)
	if err := json.Unmarshal([]byte(book), &shown); err != nil || len(shown.Bids) != 5 || len(shown.Asks) != 5 || shown.State != "live" {
		t.Errorf("/v1/books: %v: %.500s", err, book)
	}
	fetchText(t, base+"/v1/books/SIM:NOBODY", http.StatusNotFound)
	fetchText(t, base+"/metrics", http.StatusNotFound) // not for clients

	for _, codec := range []string{"proto", "json"} {
		w := start(t, "watch", "--once", "--codec", codec, "--url", stream, "SIM:BTC-USD", "SIM:ETH-USD")
		if err := w.wait(); err != nil {
			t.Errorf("watch: %v", err)
		}
		for _, word := range []string{"SIM:BTC-USD", "SIM:ETH-USD", "LIVE", "spread"} {
			if !strings.Contains(w.out.String(), word) {
				t.Errorf("watch --once prints no %s:\n%s", word, w.out)
			}
		}
	}
	w := start(t, "watch", "--once", "--url", stream, "SIM:NOBODY")
	if err := w.wait(); err == nil || !strings.Contains(err.Error(), "SIM:NOBODY") || !strings.Contains(err.Error(), "unknown_symbol") {
		t.Errorf("watching a symbol that is not there: %v", err)
	}

	p.interrupt()
	if err := p.wait(); err != nil {
		t.Errorf("an interrupt is no error: %v", err)
	}
	if answers(base + "/v1/symbols") {
		t.Error("it still answers")
	}
	ended := &program{t: t, out: p.out, errOut: p.errOut, ended: make(chan error)}
	var left string
	defer func() {
		if t.Failed() {
			t.Log("left behind: ", left)
		}
	}()
	ended.holds("no goroutine of ours is left", func() bool {
		left = ""
		for f, n := range goroutines() {
			if n > before[f] {
				left += fmt.Sprintf("%s (%d) ", f, n-before[f])
			}
		}
		return left == ""
	})
}

// nowhere is an address where nothing listens.
func nowhere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// What cannot work is said at once, in a sentence that names the culprit and the
// remedy.
func TestEndToEndServeSaysWhatToDoAboutKafka(t *testing.T) {
	gone := nowhere(t)
	l := newLab(t, 1)
	at := l.kafka.Brokers[0]
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	there := []string{"serve", "--brokers", at, "--kafka-topic", l.events, "--dead-letter-topic", l.deadLetter, "--admin-listen", ""}
	for _, tt := range []struct {
		name string
		args []string
		says []string
	}{
		{"no broker", []string{"serve", "--brokers", gone, "--listen", "127.0.0.1:0"}, []string{gone, "--brokers", "broker"}},
		{"no broker to feed", []string{"feed", "sim", "--brokers", gone}, []string{gone, "--brokers", "broker"}},
		{"no Kafka topic", []string{"serve", "--brokers", at, "--kafka-topic", "no-such-topic", "--dead-letter-topic", "", "--listen", "127.0.0.1:0", "--admin-listen", ""},
			[]string{"no-such-topic", "create", at}},
		{"no Kafka topic to feed", []string{"feed", "sim", "--brokers", at, "--kafka-topic", "no-such-topic"}, []string{"no-such-topic", "create"}},
		{"address taken", append(there, "--listen", taken.Addr().String()), []string{taken.Addr().String(), "--listen"}},
		{"unknown format", append(there, "--format", l.events+"=morse"), []string{"morse"}},
		{"format of another topic", append(there, "--format", "other=proto"), []string{"other", "--kafka-topic"}},
		{"certificate without key", append(there, "--listen", "127.0.0.1:0", "--tls-cert", "main.go"), []string{"--tls-key"}},
		{"bad start", append(there, "--start", "yesterday"), []string{"yesterday", "beginning"}},
		{"unknown flag", []string{"serve", "--no-such-flag"}, []string{"--no-such-flag", "--help"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := start(t, tt.args...).wait()
			if err == nil {
				t.Fatal("no error")
			}
			for _, word := range tt.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is no sentence", err)
			}
		})
	}
}

// A flag counts before the environment, and that before the file.
func TestEndToEndFlagsComeFromTheEnvironmentAndFromAFileToo(t *testing.T) {
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(victim, 5)
	file := filepath.Join(t.TempDir(), "depthcast.yaml")
	yaml := fmt.Sprintf("brokers: [\"%s\"]\nkafka-topic: [\"%s\"]\ndead-letter-topic: \"%s\"\nlisten: \"no address\"\nadmin-listen: \"also none\"\nmax-subs: 7\nlog-format: json\n",
		l.kafka.Brokers[0], l.events, l.deadLetter+".made") // which the server makes
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DEPTHCAST_LISTEN", "127.0.0.1:0")
	t.Setenv("DEPTHCAST_ADMIN_LISTEN", "neither")
	p := start(t, "serve", "--config", file, "--admin-listen", "127.0.0.1:0")
	stream := p.prints(`over WebSocket +(ws://\S+)`)
	admin := p.prints(`for operators +(http://[^/]+)/metrics`)
	p.holds("ready", func() bool { return answers(admin + "/readyz") })
	w := start(t, "watch", "--once", "--json", "--url", stream, victim)
	if err := w.wait(); err != nil || !strings.Contains(w.out.String(), victim) {
		t.Errorf("watch: %v: %s", err, w.out)
	}
	if _, err := l.cluster.Describe(l.ctx, l.deadLetter+".made"); err != nil {
		t.Error(err)
	}
	p.holds("JSON log lines", func() bool { return strings.Contains(p.errOut.String(), `"msg":"caught up"`) })
	p.interrupt()
	if err := p.wait(); err != nil {
		t.Error(err)
	}
}
