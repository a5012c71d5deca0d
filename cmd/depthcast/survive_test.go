package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/ingest"
)

// asProgram makes the test binary the program itself: a process to be killed.
const asProgram = "DEPTHCAST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// surviveRounds is how often the process is killed: DEPTHCAST_SURVIVE_ROUNDS, or a few.
func surviveRounds(t *testing.T) int {
	text := os.Getenv("DEPTHCAST_SURVIVE_ROUNDS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("DEPTHCAST_SURVIVE_ROUNDS=%q is no number of rounds", text)
	}
	return n
}

// A process is killed at random points under load and started again, and is each
// time what one is that was never stopped: every book, order, trade and statistic,
// with seq, hash and state.
func TestKafkaKilledProcessGoesOnAsIfItHadNeverStopped(t *testing.T) {
	rounds := surviveRounds(t)
	seed := rand.Uint64()
	t.Logf("seed %d, %d rounds", seed, rounds)
	s := newSurvival(t, seed, rounds)
	s.load(20)
	p := s.spawn()
	s.await(p)
	for _, of := range s.reference.ingest.Partitions() {
		p.holds("a first checkpoint of "+of.ID().String(), func() bool { return p.metrics().of("checkpoint_rounds_total", of.ID()) >= 1 })
	}
	for round := range rounds {
		s.round = round
		s.await(p)
		s.load(s.rand.IntN(12)) // while it reads, and writes checkpoints
		p.kill()
		if s.rand.IntN(3) == 0 { // again, while it starts
			p = s.spawn()
			s.load(s.rand.IntN(3))
			p.said(s.rand.IntN(4))
			p.kill()
		}
		s.load(s.rand.IntN(6)) // while it is away
		p = s.spawn()
		if s.rand.IntN(2) == 0 {
			s.load(s.rand.IntN(6)) // while it starts
		}
		s.await(p)
		s.compare(p) // as the log has left the books
		if s.rand.IntN(4) == 0 || round == rounds-1 {
			s.heal()
			p.kill()
			p = s.spawn() // whose views are new
			s.await(p)
			s.wantLive(s.compare(p))
		}
	}
	t.Logf("%d starts, %d of them from a checkpoint, of %d symbols in all; %d records, at the most %d were read again by one start, %d passed over in all",
		s.starts, s.restarts, s.restored, s.written, s.mostRead, s.skipped)
	if s.restarts < rounds {
		t.Errorf("%d of %d starts were from a checkpoint: nothing was shown", s.restarts, s.starts)
	}
}

// survival is the log, a server that never stops, and what kills the other.
type survival struct {
	*lab
	rand      *rand.Rand
	market    *survivors
	raw       string // Kafka topic
	store     string // Kafka topic for checkpoints
	own, raws *ingest.Producer
	reference *running

	round                      int
	starts, restarts, restored int
	written, mostRead, skipped int
}

func newSurvival(t *testing.T, seed uint64, rounds int) *survival {
	l := newLab(t, 2)
	ctx, cancel := context.WithTimeout(context.Background(), patience+time.Duration(rounds)*30*time.Second)
	t.Cleanup(cancel)
	l.ctx = ctx
	s := &survival{lab: l, rand: rand.New(rand.NewPCG(seed, 2)), raw: l.events + ".raw", store: l.events + ".checkpoints"}
	err := l.cluster.EnsureTopics(ctx, ingest.TopicSpec{Name: s.raw, Partitions: 1, Configs: map[string]string{"retention.ms": "-1"}})
	if err == nil {
		s.market, err = newSurvivors(seed)
	}
	if err == nil {
		s.raws, err = l.cluster.NewProducer(ingest.ProducerConfig{KafkaTopic: s.raw})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.raws.Close(ctx) // what was needed has been flushed
	})
	s.own = l.producer()
	s.reference = s.whole()
	return s
}

// whole is a server in this process that reads the logs from their beginnings.
func (s *survival) whole() *running {
	return s.serve(func(read *readFlags, serve *serverFlags) {
		read.KafkaTopic = append(read.KafkaTopic, s.raw)
		read.Format, read.Complete = map[string]string{s.raw: "binance"}, []string{s.events}
		serve.Keepalive = 10 * time.Millisecond
	})
}

// load writes steps of the market.
func (s *survival) load(steps int) {
	for range steps {
		s.write(s.market.step())
	}
}

// heal makes every book whole, so that there is something to compare.
func (s *survival) heal() { s.write(s.market.heal()) }

func (s *survival) write(own, raw []ingest.Record) {
	s.t.Helper()
	s.written += len(own) + len(raw)
	s.writeRaw(s.own, own...)
	s.writeRaw(s.raws, raw...)
}

// mortal is a process that is killed.
type mortal struct {
	t     *testing.T
	cmd   *exec.Cmd
	out   *output // what it prints, and logs
	ended chan struct{}
	admin string
	url   string

	judged bool // see judgeStart
}

// spawn starts one, with checkpoints every few records and in small chunks.
func (s *survival) spawn() *mortal {
	s.t.Helper()
	v := &mortal{t: s.t, out: &output{}, ended: make(chan struct{})}
	v.cmd = exec.Command(os.Args[0], "serve", "--brokers", s.kafka.Brokers[0],
		"--kafka-topic", s.events+","+s.raw, "--format", s.raw+"=binance", "--complete", s.events,
		"--dead-letter-topic", s.deadLetter, "--max-silence", "10000h", "--max-outage", "10000h", "--keepalive", "10ms",
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--checkpoint-topic", s.store,
		"--checkpoint-records", strconv.Itoa(5+s.rand.IntN(80)), "--checkpoint-interval", "1h", "--checkpoint-chunk", strconv.Itoa(200+s.rand.IntN(4000)))
	v.cmd.Env = append(os.Environ(), asProgram+"=1")
	v.cmd.Stdout, v.cmd.Stderr = v.out, v.out
	if err := v.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = v.cmd.Wait() // killed
		close(v.ended)
	}()
	s.t.Cleanup(v.kill)
	s.starts++
	return v
}

// kill ends it as an outage does, and returns when it is gone.
func (v *mortal) kill() {
	_ = v.cmd.Process.Kill() // an error: it has ended
	<-v.ended
}

// said waits for so many lines of what it prints.
func (v *mortal) said(lines int) {
	v.t.Helper()
	v.holds("prints "+strconv.Itoa(lines)+" lines", func() bool { return strings.Count(v.out.String(), "\n") >= lines })
}

func (v *mortal) holds(what string, condition func() bool) {
	v.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-v.ended:
			v.t.Fatalf("the process ended, waiting for: %s; it printed:\n%s", what, v.out)
		case <-deadline.C:
			v.t.Fatalf("waited in vain: %s; it printed:\n%s", what, v.out)
		}
	}
}

var (
	adminLine  = regexp.MustCompile(`for operators +(http://[^/]+)/metrics`)
	streamLine = regexp.MustCompile(`(ws://[^ ]+/v1/stream)`)
)

// await returns when it has read the logs to their ends, and takes note of how it started.
func (s *survival) await(v *mortal) {
	s.t.Helper()
	v.holds("its addresses", func() bool {
		admin, url := adminLine.FindStringSubmatch(v.out.String()), streamLine.FindStringSubmatch(v.out.String())
		if admin == nil || url == nil {
			return false
		}
		v.admin, v.url = admin[1], url[1]
		return true
	})
	for _, p := range s.reference.ingest.Partitions() {
		ends, err := s.cluster.Offsets(s.ctx, p.ID())
		if err != nil {
			s.t.Fatal(err)
		}
		v.holds(fmt.Sprintf("the end of %s, at %d", p.ID(), ends[p.ID()].HighWatermark), func() bool {
			m := v.metrics()
			return m.of("ingest_next_offset", p.ID()) >= float64(ends[p.ID()].HighWatermark) && m.of("ingest_catching_up", p.ID()) == 0
		})
	}
	v.holds("readiness", func() bool { return answers(v.admin + "/readyz") })
	s.reference.caughtUpTo(s.lab)
}

// scraped are metrics by name and labels.
type scraped map[string]float64

func (v *mortal) metrics() scraped {
	c := http.Client{Timeout: patience}
	m := scraped{}
	resp, err := c.Get(v.admin + "/metrics")
	if err != nil {
		return m // it may be on its way out
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body) // what is missing is asked for again
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), " "); found && name != "#" {
			m[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return m
}

// of is the metric of a partition; -1 if it is not there.
func (m scraped) of(name string, id ingest.PartitionID) float64 {
	if v, ok := m[fmt.Sprintf("depthcast_%s{kafka_topic=%q,partition=\"%d\"}", name, id.KafkaTopic, id.Partition)]; ok {
		return v
	}
	return -1
}

// compare fails unless the process tells clients what the reference tells them, and
// returns how many symbols there are and how many topics of them are live.
func (s *survival) compare(v *mortal) (symbols, live int) {
	s.t.Helper()
	s.judgeStart(v)
	var names []string
	for _, info := range (books{s.reference.ingest}).Symbols() {
		names = append(names, info.Symbol)
	}
	base := "http" + strings.TrimSuffix(v.url, "/v1/stream")[len("ws"):]
	for _, path := range append(bookPaths(names), "/v1/symbols") {
		want, got := fetchText(s.t, s.reference.url()+path, http.StatusOK), fetchText(s.t, base+path, http.StatusOK)
		if got != want {
			s.t.Errorf("round %d: %s\nkilled: %s\n whole: %s", s.round, path, got, want)
		}
	}
	// Of all channels: from a server whose views are as new as those of the killed one.
	whole := s.whole()
	defer whole.stop()
	whole.caughtUpTo(s.lab)
	want, got := s.told(whole.stream(), names), s.told(v.url, names)
	for _, item := range slices.Sorted(maps.Keys(want)) {
		if want[item] != got[item] {
			s.t.Errorf("round %d: %s\nkilled: %s\n whole: %s", s.round, item, got[item], want[item])
		}
		if strings.Contains(want[item], `"state":"live"`) {
			live++
		}
	}
	if s.t.Failed() {
		s.t.Fatalf("the process logged:\n%s", v.out)
	}
	return len(names), live
}

// wantLive fails unless there was something to compare.
func (s *survival) wantLive(symbols, live int) {
	s.t.Helper()
	if symbols < 12 || live < 3*symbols {
		s.t.Errorf("round %d: %d live topics of %d symbols: there is nothing to compare", s.round, live, symbols)
	}
}

// judgeStart takes note of how the process started, and fails if it refused
// anything of a checkpoint.
func (s *survival) judgeStart(v *mortal) {
	s.t.Helper()
	if v.judged {
		return
	}
	v.judged = true
	m := v.metrics()
	restored, read := 0, 0
	for _, p := range s.reference.ingest.Partitions() {
		restored += int(m.of("checkpoint_restored_symbols", p.ID()))
		read += int(m.of("ingest_records_total", p.ID()))
		s.skipped += int(m.of("ingest_skipped_total", p.ID()))
		if n := m.of("checkpoint_damaged_total", p.ID()); n != 0 {
			s.t.Errorf("round %d: %v states of %s are damaged", s.round, n, p.ID())
		}
	}
	for name, n := range m {
		if strings.HasPrefix(name, "depthcast_checkpoint_refusals_total") && n != 0 {
			s.t.Errorf("round %d: %s %v", s.round, name, n)
		}
	}
	if restored > 0 {
		s.restarts++
		s.restored += restored
		s.mostRead = max(s.mostRead, read)
	}
}

func bookPaths(symbols []string) []string {
	var paths []string
	for _, symbol := range symbols {
		paths = append(paths, "/v1/books/"+symbol+"?depth=0&counts=1")
	}
	return paths
}
