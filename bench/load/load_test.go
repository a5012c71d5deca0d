package load

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
	"github.com/depthcast/depthcast/bench/swarm/swarmtest"
	"github.com/depthcast/depthcast/proto"
)

// A run that hangs fails after patience, and says where; then those after it fail at
// once. All have until then, also on a slow machine.
const patience = 80 * time.Second

var (
	until   time.Time
	errTime = errors.New("the tests of this package have had their time")
)

// The test's own program is a worker when it is asked to be.
func TestMain(m *testing.M) {
	switch os.Getenv("LOAD_TEST_WORKER") {
	case "works":
		if err := Work(context.Background(), os.Stdin, os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case "joins": // and then says nothing any more
		_ = json.NewEncoder(os.Stdout).Encode(news{Joined: true})
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	until = time.Now().Add(4 * time.Minute)
	os.Exit(m.Run())
}

// config is a small run against s, whose book changes all the time.
func config(t *testing.T, s *swarmtest.Server, profile Profile) Config {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LOAD_TEST_WORKER", "works")
	return Config{
		Profile: profile, Duration: 300 * time.Millisecond, JoinWithin: time.Minute, AnswerWithin: 30 * time.Second, Processes: 3, Command: []string{self},
		EvidenceDir: t.TempDir(), Limits: Limits{MaxEnded: -1}, Server: observe.Server{PIDs: []int{os.Getpid()}},
		Plan: swarm.Plan{URLs: []string{s.URL()}, Symbols: []string{"0", "1", "2"}, PerConn: 2, Conns: 30, Verify: 5, Depths: []uint32{10}},
	}
}

// market changes the book until the test ends.
func market(t *testing.T, s *swarmtest.Server) *offer {
	t.Helper()
	o := &offer{server: s, stop: make(chan struct{}), done: make(chan struct{}), failed: make(chan error)}
	go func() {
		defer close(o.done)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-tick.C:
				s.Step()
				o.steps.Add(1)
			case <-o.stop:
				return
			}
		}
	}()
	t.Cleanup(func() { _ = o.Finish(context.Background()) })
	return o
}

// offer is the market as the feed of a run.
type offer struct {
	server     *swarmtest.Server
	twist      uint32 // of the hash that it says to be right
	once       sync.Once
	steps      atomic.Uint64
	stop, done chan struct{}
	failed     chan error
}

func (o *offer) Offered() []uint64    { n := o.steps.Load(); return []uint64{n, n, n} }
func (o *offer) Failed() <-chan error { return o.failed }

func (o *offer) Finish(context.Context) error {
	o.once.Do(func() { close(o.stop) })
	<-o.done
	return nil
}

func (o *offer) Hash(int, uint32) uint32 {
	o.server.Mu.Lock()
	defer o.server.Mu.Unlock()
	return o.server.Hash() ^ o.twist
}

func TestBookThatIsNotTheFeedsFailsTheRun(t *testing.T) {
	s := swarmtest.New(t, nil)
	c := config(t, s, Steady)
	c.ProveWithin = 500 * time.Millisecond
	o := market(t, s)
	o.twist = 1 // as if the server had read the log wrongly, and everything it says fits
	c.Feed = o
	r := run(t, c)
	if len(r.Faults) != 1 || r.Faults[0].Kind != swarm.WrongBook || r.Proof.Equal != 0 || r.Proof.Books == 0 || len(r.Failed()) < 2 || len(r.FaultFiles) != 1 {
		t.Errorf("%v, %+v, %v", r.Faults, r.Proof, r.Failed())
	}
}

func TestProcessThatRebuildsNoBookEndsTheRunLikeOthers(t *testing.T) {
	s := swarmtest.New(t, nil)
	c := config(t, s, Steady)
	c.Plan.Conns, c.Plan.Verify, c.Feed = 3, 3, market(t, s)
	if r := run(t, c); r.Processes != 3 || r.Proof == nil || r.Proof.Books != 2 || r.Proof.Equal != 2 {
		t.Errorf("%d processes, %+v", r.Processes, r.Proof)
	}
}

func run(t *testing.T, c Config) *Report {
	t.Helper()
	ctx, cancel := context.WithDeadlineCause(t.Context(), until, errTime)
	defer cancel()
	ctx, cancel = context.WithTimeoutCause(ctx, patience, errTime)
	defer cancel()
	r, err := Run(ctx, c)
	if errors.Is(err, errTime) || errors.Is(err, ErrSilent) || errors.Is(err, ErrLate) {
		until = time.Now()
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// untilEnough tries with longer and longer phases until enough was seen: on a busy
// machine little may happen in a short one.
func untilEnough(t *testing.T, length time.Duration, try func(length time.Duration) bool) {
	t.Helper()
	for ; !try(length); length *= 3 {
		if length > 5*time.Second {
			t.Fatalf("not seen in phases of %v", length)
		}
	}
}

func TestEveryProfileRunsAndIsChecked(t *testing.T) {
	for _, tt := range []struct {
		profile Profile
		change  func(*Config)
		phases  int
		proof   func(*swarm.Figures) bool // of the measured phases together
	}{
		{Steady, nil, 2, func(f *swarm.Figures) bool { return f.Chained > 0 && f.Rebuilt > 0 && f.Published.Count() > 0 }},
		{Burst, nil, 2, func(f *swarm.Figures) bool { return f.Chained > 0 }},
		{Churn, func(c *Config) { c.Plan.ChurnSubs, c.Plan.ChurnConns, c.Plan.Verify = 500, 100, 2 }, 2, func(f *swarm.Figures) bool { return f.Unsubs > 0 && f.Opened > 0 }},
		{Storm, func(c *Config) { c.Repeat = 2 }, 4, func(f *swarm.Figures) bool { return f.Join.Count() == 60 }},
		{Slow, func(c *Config) { c.Plan.Slow, c.Plan.SlowBytes = 0.3, 1<<20 }, 4, func(f *swarm.Figures) bool { return f.Slow > 0 && f.Updates > f.Slow }},
		{Idle, nil, 2, func(f *swarm.Figures) bool { return f.Messages > 0 }},
		{Resume, func(c *Config) { c.Plan.ResumeRate, c.Plan.ResumeGapMS = 500, 1 }, 2, func(f *swarm.Figures) bool { return f.Resumed+f.Snapshotted > 0 }},
	} {
		t.Run(string(tt.profile), func(t *testing.T) {
			untilEnough(t, 300*time.Millisecond, func(length time.Duration) bool {
				s := swarmtest.New(t, nil)
				c := config(t, s, tt.profile)
				c.Feed, c.Duration = market(t, s), length
				if tt.change != nil {
					tt.change(&c)
				}
				r := run(t, c)
				if failed := r.Failed(); len(failed) > 0 || r.Proof == nil || r.Proof.Books == 0 || r.Proof.Books != r.Proof.Wanted || r.Proof.Equal != r.Proof.Wanted {
					t.Fatalf("%v, faults %v, proof %+v", failed, r.Faults, r.Proof)
				}
				if r.Processes != 3 || len(r.Phases) != tt.phases || r.Phases[len(r.Phases)-1].Usage.Resident == 0 {
					t.Fatalf("%d processes, %d phases", r.Processes, len(r.Phases))
				}
				var sum swarm.Figures
				last := &r.Phases[len(r.Phases)-1]
				for i := range r.Phases {
					if r.Phases[i].Measured {
						sum.Add(&r.Phases[i].Figures)
					}
				}
				return tt.proof(&sum) && last.Offered > 0 && last.Delivered > 0
			})
		})
	}
}

func TestSilentWorkerEndsTheRunAndIsNamed(t *testing.T) {
	c := config(t, swarmtest.New(t, nil), Steady)
	t.Setenv("LOAD_TEST_WORKER", "joins")
	c.AnswerWithin = 100 * time.Millisecond
	_, err := Run(t.Context(), c)
	if !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "worker 1 of 3") || !strings.Contains(err.Error(), "its figures") {
		t.Error(err)
	}
}

// noted is an attack of which nothing comes but a note.
type noted struct {
	name string
	told *[]string
	fail error
}

func (a noted) Name() string { return a.name }

func (a noted) Begin(context.Context) error {
	*a.told = append(*a.told, "begin "+a.name)
	return nil
}

func (a noted) End(context.Context) error {
	*a.told = append(*a.told, "end "+a.name)
	return a.fail
}

func TestSiegeMeasuresBeforeDuringAndAfterEachAttack(t *testing.T) {
	s := swarmtest.New(t, nil)
	c := config(t, s, Siege)
	var told []string
	c.Attacks, c.Calm = []Attack{noted{"a", &told, nil}, noted{"b", &told, nil}}, 100*time.Millisecond
	c.Feed = market(t, s)
	r := run(t, c)
	var names []string
	for _, p := range r.Phases {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"ramp-up", BeforeAttacks, "a", AfterAttack("a"), "b", AfterAttack("b")}) || !slices.Equal(told, []string{"begin a", "end a", "begin b", "end b"}) {
		t.Errorf("phases %q, told %q", names, told)
	}
	if r.Proof == nil || r.Proof.Wanted == 0 || r.Proof.Equal != r.Proof.Wanted {
		t.Errorf("%+v", r.Proof)
	}
	c.Attacks, c.Feed = []Attack{noted{"c", &told, io.ErrUnexpectedEOF}}, nil
	if _, err := Run(t.Context(), c); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an attack that failed: %v", err)
	}
}

func TestChurnThatIsOverLeavesNothingUnsubscribed(t *testing.T) {
	s := swarmtest.New(t, nil)
	c := config(t, s, Churn)
	c.Feed, c.Plan.ChurnSubs, c.Plan.Verify = market(t, s), 3000, 1
	if r := run(t, c); r.Proof == nil || r.Proof.Wanted != 60 || r.Proof.Equal != 60 {
		t.Errorf("proof %+v", r.Proof)
	}
}

func TestRunOnAWrongServerFailsAndLeavesEvidence(t *testing.T) {
	for name, spoil := range map[string]func(conn int, d *proto.Delta) bool{
		"wrong hash":   func(_ int, d *proto.Delta) bool { d.Hash ^= 1; return true },
		"broken chain": func(_ int, d *proto.Delta) bool { d.PrevSeq += 2; return true },
		"skipped":      func(conn int, d *proto.Delta) bool { return conn != 3 || d.Seq%5 != 0 },
	} {
		t.Run(name, func(t *testing.T) {
			var r *Report
			untilEnough(t, 300*time.Millisecond, func(length time.Duration) bool {
				s := swarmtest.New(t, nil)
				s.Spoil = spoil
				c := config(t, s, Steady)
				c.Duration = length
				market(t, s)
				r = run(t, c)
				return len(r.Faults) > 0
			})
			failed := r.Failed()
			if len(failed) == 0 || failed[0].What != "faults" {
				t.Fatalf("passed: %v", r.Verdict)
			}
			if len(r.FaultFiles) == 0 {
				t.Fatal("no evidence")
			}
			b, err := os.ReadFile(r.FaultFiles[0])
			if err != nil {
				t.Fatal(err)
			}
			var f swarm.Fault
			if err := json.Unmarshal(b, &f); err != nil || len(f.Frames) == 0 || f.Kind == "" || f.Frames[len(f.Frames)-1].Hex == "" {
				t.Errorf("%v: %s", err, b)
			}
			var text bytes.Buffer
			r.Print(&text)
			if !strings.Contains(text.String(), "FAULT "+string(f.Kind)) || !strings.Contains(text.String(), r.FaultFiles[0]) {
				t.Errorf("%s", text.String())
			}
		})
	}
}

func TestTokenGoesWithEveryHandshakeAndStandsInNoReport(t *testing.T) {
	s := swarmtest.New(t, nil)
	c := config(t, s, Steady)
	c.Plan.Token = "secret-of-the-test"
	c.Feed = market(t, s)
	r := run(t, c)
	text, err := json.Marshal(r)
	if err != nil || bytes.Contains(text, []byte(c.Plan.Token)) {
		t.Errorf("%v: the token is in the report", err)
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if len(s.Shown) != 1 || s.Shown["Bearer secret-of-the-test"] != c.Plan.Conns {
		t.Errorf("shown: %v", s.Shown)
	}
}

func TestConnectionsAreDividedOverProcesses(t *testing.T) {
	for _, tt := range []struct{ conns, atLeast, perProcess, want int }{
		{10, 1, 100, 1}, {100, 1, 100, 1}, {101, 1, 100, 2}, {100_000, 1, 19_800, 6}, {2, 8, 100, 2}, {10, 3, 100, 3},
	} {
		plan := swarm.Plan{Conns: tt.conns, RampPerS: 100, ChurnSubs: 10}
		got := parts(plan, tt.atLeast, tt.perProcess)
		if len(got) != tt.want {
			t.Errorf("%+v: %d processes", tt, len(got))
		}
		next, ramp := 0, 0.0
		for _, p := range got {
			if p.First != next || p.Conns > tt.perProcess || p.Conns < 1 {
				t.Errorf("%+v: %+v", tt, p)
			}
			next, ramp = next+p.Conns, ramp+p.RampPerS
		}
		if next != tt.conns || ramp < 99.9 || ramp > 100.1 {
			t.Errorf("%+v: %d connections, ramp %v", tt, next, ramp)
		}
	}
}

func TestLimitsDecide(t *testing.T) {
	r := &Report{Phases: []PhaseReport{
		{Name: "ramp-up", MessagesPerS: 1},
		{Name: "steady", Measured: true, MessagesPerS: 1000, CPUPerMessage: 5, BytesPerConn: 900, Delivered: 0.97, Gauges: swarm.Gauges{Open: 5}},
	}}
	for ms := range int64(100) {
		r.Phases[1].Figures.Published.Record((ms + 1) * 1e6)
		r.Phases[1].Figures.Venue.Record((ms + 1) * 1e6)
	}
	r.Phases[1].Figures.Join.Record(5e9)
	for _, tt := range []struct {
		name string
		l    Limits
		ok   bool
	}{
		{"none", Limits{}, true},
		{"p50 kept", Limits{MaxP50: 60 * time.Millisecond}, true},
		{"p50", Limits{MaxP50: 40 * time.Millisecond}, false},
		{"p99 kept", Limits{MaxP99: 110 * time.Millisecond}, true},
		{"p99", Limits{MaxP99: 90 * time.Millisecond}, false},
		{"p99.9", Limits{MaxP999: 90 * time.Millisecond}, false},
		{"max", Limits{MaxLatency: 99 * time.Millisecond}, false},
		{"venue", Limits{MaxVenueP99: 90 * time.Millisecond}, false},
		{"join", Limits{MaxJoin: 4 * time.Second}, false},
		{"CPU", Limits{MaxCPUPerMessage: 4.9}, false},
		{"CPU kept", Limits{MaxCPUPerMessage: 5}, true},
		{"memory", Limits{MaxBytesPerConn: 800}, false},
		{"delivered", Limits{MinDelivered: 0.98}, false},
		{"delivered enough", Limits{MinDelivered: 0.96}, true},
		{"rate", Limits{MinRate: 1001}, false},
	} {
		r.Verdict = tt.l.judge(r)
		if failed := r.Failed(); (len(failed) == 0) != tt.ok {
			t.Errorf("%s: %v", tt.name, r.Verdict)
		}
	}
	ended := &Report{Phases: []PhaseReport{{Figures: swarm.Figures{Ended: map[string]uint64{"lapped": 2}}}}}
	for most, ok := range map[int]bool{0: false, 1: false, 2: true, -1: true} {
		ended.Verdict = (&Limits{MaxEnded: most}).judge(ended)
		if (len(ended.Failed()) == 0) != ok {
			t.Errorf("at most %d ended: %v", most, ended.Verdict)
		}
	}
	unchecked := &Report{Plan: swarm.Plan{Verify: 10}}
	if unchecked.Verdict = (&Limits{}).judge(unchecked); len(unchecked.Failed()) == 0 {
		t.Error("a run that compared nothing has passed")
	}
}

func TestImpossibleRunsAreRefused(t *testing.T) {
	s := swarmtest.New(t, nil)
	for name, change := range map[string]func(*Config){
		"burst without a feed":     func(c *Config) { c.Profile = Burst },
		"nobody slow":              func(c *Config) { c.Profile = Slow },
		"CPU limit without a view": func(c *Config) { c.Server, c.Limits.MaxCPUPerMessage = observe.Server{}, 1 },
		"delivery without a feed":  func(c *Config) { c.Limits.MinDelivered = 1 },
		"idle without a view":      func(c *Config) { c.Profile, c.Server = Idle, observe.Server{} },
		"no churn":                 func(c *Config) { c.Profile = Churn },
		"no breaks":                func(c *Config) { c.Profile = Resume },
		"no time":                  func(c *Config) { c.Duration = 0 },
		"no connections":           func(c *Config) { c.Plan.Conns = 0 },
		"too many subscriptions":   func(c *Config) { c.Plan.PerConn = 4 },
	} {
		c := config(t, s, Steady)
		change(&c)
		if _, err := Run(context.Background(), c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestReportIsWrittenInEveryForm(t *testing.T) {
	var r *Report
	untilEnough(t, 1200*time.Millisecond, func(length time.Duration) bool { // so that the series has a point
		s := swarmtest.New(t, nil)
		c := config(t, s, Steady)
		c.Duration = length
		market(t, s)
		r = run(t, c)
		return len(r.Series) > 0 && r.Phases[1].Figures.Published.Count() > 0
	})
	var b bytes.Buffer
	if err := r.WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 3 || len(rows[0]) != len(rows[2]) || rows[2][1] != "steady" {
		t.Errorf("%v %q", err, rows)
	}
	b.Reset()
	r.Setting = "machine & command"
	if err := r.WriteHTML(&b); err != nil || !strings.Contains(b.String(), "machine &amp; command") || !strings.Contains(b.String(), "ok    run: faults 0") || !strings.Contains(b.String(), "Latency by percentile") || !strings.Contains(b.String(), "steady: published") {
		t.Errorf("%v: %d bytes", err, b.Len())
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || len(back.Series) == 0 ||
		back.Phases[1].Figures.Published.At(99) != r.Phases[1].Figures.Published.At(99) || back.Phases[1].Latencies["published"].Count == 0 {
		t.Errorf("%v: %d points", err, len(back.Series))
	}
}
