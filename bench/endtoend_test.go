package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/bench/load"
)

// built is where the programs are; empty until they are needed.
var built string

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		_ = os.RemoveAll(built) // of the system's temporary files
	}
	os.Exit(status)
}

// programs builds depthcast and this program, once for all tests.
func programs(t *testing.T) (depthcast, bench string) {
	t.Helper()
	if built == "" {
		dir, err := os.MkdirTemp("", "bench")
		if err != nil {
			t.Fatal(err)
		}
		built = dir
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../cmd/depthcast", ".").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return filepath.Join(built, "depthcast"), filepath.Join(built, "bench")
}

// market is a demo, whose broker a feed can write to.
func market(t *testing.T, depthcast string) (d *deployment, stream, admin string) {
	t.Helper()
	d = &deployment{program: depthcast}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	t.Cleanup(d.stop)
	if err := d.startBroker(ctx); err != nil {
		t.Fatal(err)
	}
	p, err := d.serve(ctx, -1, nil, "--listen=127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return d, "ws://" + p.address, p.admin + "/metrics"
}

// carryOut runs bench and returns its standard output.
func carryOut(t *testing.T, bench string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bench, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		t.Logf("%s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), err
}

func TestRealServerIsLoadedFedAndFoundRight(t *testing.T) {
	depthcast, bench := programs(t)
	d, stream, metrics := market(t, depthcast)
	for _, form := range []string{"--codec=proto", "--codec=json", "--codec=proto,json", "--depth=5,10,50,0", "--interval=100ms"} {
		out, err := carryOut(t, bench, "steady", "--url", stream, "--metrics", metrics, "--feed", d.broker, "--feed-rate", "200",
			"--feed-symbols", "3", "-n", "20", "--per-conn", "2", "--processes", "2", "--verify", "2", "--duration", "1s",
			"--json", "-", "--quiet", "--evidence", t.TempDir(), form)
		if err != nil {
			t.Fatal(err)
		}
		var r load.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		p := &r.Phases[len(r.Phases)-1]
		if p.Gauges.Joined != 20 || p.Figures.Rebuilt == 0 || p.Figures.Faults > 0 || p.Delivered <= 0 || p.Figures.Venue.Count() == 0 ||
			p.CPUPerMessage <= 0 || p.FramesPerSend <= 0 || r.Proof == nil || r.Proof.Books != 20 || r.Proof.Equal != 20 {
			t.Errorf("%s: %+v", form, p)
		}
		if merged := p.Figures.Updates > 2*p.Figures.Deltas; merged != (form == "--interval=100ms") {
			t.Errorf("%s: %d deltas stand for %d updates", form, p.Figures.Deltas, p.Figures.Updates)
		}
	}
}

func TestExceededLimitIsTheExitStatus(t *testing.T) {
	depthcast, bench := programs(t)
	_, stream, _ := market(t, depthcast)
	// The demo's market makes one event a second.
	args := []string{"steady", "--url", stream, "-n", "4", "--verify", "1", "--duration", "200ms", "--quiet", "--evidence", t.TempDir()}
	if out, err := carryOut(t, bench, args...); err != nil || !strings.Contains(out, "ok    run: faults 0") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err := carryOut(t, bench, append(args, "--min-rate", "1e9")...)
	if err == nil || !strings.Contains(out, "FAIL  steady: messages/s") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := carryOut(t, bench, append(args, "--min-delivered", "1")...); err == nil {
		t.Error("a limit that nothing can be known of was accepted")
	}
}

func TestFleetSharesAPort(t *testing.T) {
	depthcast, bench := programs(t)
	out, err := carryOut(t, bench, "fleet", "--depthcast", depthcast, "-n", "60", "--gateways", "3", "--rate", "100", "--symbols", "2",
		"--duration", "500ms", "--verify", "5", "--quiet", "--evidence", t.TempDir())
	if err != nil || !strings.Contains(out, "60 of 60 with their snapshots") || !strings.Contains(out, "ok    run: faults 0") {
		t.Errorf("%v\n%s", err, out)
	}
}

// Killed and started again, the server has all its clients back, each with a right book.
func TestClientsOfAKilledServerComeBack(t *testing.T) {
	depthcast, bench := programs(t)
	file := filepath.Join(t.TempDir(), "report.json")
	out, err := carryOut(t, bench, "fleet", "--depthcast", depthcast, "-n", "200", "--gateways", "1", "--rate", "50", "--symbols", "20", "--per-conn", "20",
		"--duration", "500ms", "--verify", "10", "--quiet", "--restart", "--evidence", t.TempDir(), "--json", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r load.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	p := &r.Phases[len(r.Phases)-2]
	if p.Name != "restart" || p.Gauges.Joined != 200 || p.Figures.Resume.Count() != 200 || r.Proof == nil || r.Proof.Equal != 400 {
		t.Errorf("%s: %d of 200 are back, %d came again; %+v", p.Name, p.Gauges.Joined, p.Figures.Resume.Count(), r.Proof)
	}
}

// Attackers are told what the documents say, and the subscribers beside them see right
// books. What they notice of it in time, `make bench-attack` measures.
func TestAttackersAreAnsweredAndHonestSubscribersStayRight(t *testing.T) {
	depthcast, bench := programs(t)
	file := filepath.Join(t.TempDir(), "figures.json")
	out, err := carryOut(t, bench, "attack", "--depthcast", depthcast, "--attack", "churn,snapshots,bigframe,bomb,log,connections,garbage", "-n", "40",
		"--attackers", "60", "--length", "500ms", "--calm", "200ms", "--verify", "4", "--newcomers", "0", "--max-ratio", "0", "--max-memory", "0",
		"--server-cpu=-1", "--client-cpu=-1", "--serve-flag=--max-conns=80", "--quiet", "--evidence", t.TempDir(), "--json", file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r attackReport
	if err := json.Unmarshal(b, &r); err != nil || len(r.Attacks) != 7 {
		t.Fatalf("%v: %s", err, b)
	}
	for _, row := range r.Attacks {
		if row.Attack.Attempts == 0 || len(row.Attack.Answers) == 0 || row.During.Count == 0 || row.Peak == 0 {
			t.Errorf("%+v", row)
		}
	}
	right := "rebuilt books equal to the feed's 10, limit 10"
	if !slices.ContainsFunc(r.Findings, func(f finding) bool { return f.OK && strings.Contains(f.What, right) }) {
		t.Errorf("no finding says %q: %+v", right, r.Findings)
	}
}

func TestComparisonMeasuresTheFinishedServerAndTheLimit(t *testing.T) {
	if runtime.NumCPU() < 2 {
		t.Skip("the client needs a processor for itself")
	}
	depthcast, bench := programs(t)
	file := filepath.Join(t.TempDir(), "figures.json")
	out, err := carryOut(t, bench, "compare", "--depthcast", depthcast, "--peers", "none", "--servers", "serve,fanout", "--conns", "20", "--windows", "1",
		"--window", "50ms", "--paced-conns", "30", "--rate", "10,20", "--paced", "300ms", "--settle", "1ms", "--rounds", "2", "--json", file)
	if err != nil {
		t.Fatal(out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r compareReport
	if err := json.Unmarshal(b, &r); err != nil || len(r.Rows) != 3 {
		t.Fatalf("%v: %s", err, b)
	}
	for _, row := range r.Rows {
		if row.Ratio[1].Median <= 0 || row.Ratio[16].Median <= 0 || len(row.Alone) != 2 {
			t.Fatalf("%+v", row)
		}
		for _, a := range row.Alone {
			if p, o := a.Paced[1], a.Overload; p.Rate != 20 || p.Delivered != p.Offered || p.P99 <= 0 || p.CPU <= 0 || o.Delivered != o.Offered {
				t.Errorf("%s: %+v, %+v", row.Server, p, o)
			}
		}
	}
	if r.Rows[1].Calls[16].Median <= 0 || r.Rows[1].Calls[16].Median > 1 {
		t.Errorf("%+v", r.Rows[1].Calls)
	}
	if !strings.Contains(out, "| depthcast, finished, through Kafka |") {
		t.Error(out)
	}
}
