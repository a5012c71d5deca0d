package load

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
)

// Report is what a run found.
type Report struct {
	Profile    Profile        `json:"profile"`
	Plan       swarm.Plan     `json:"plan"` // its symbols are left out where they are many
	Symbols    int            `json:"symbols"`
	Processes  int            `json:"processes"` // of the client
	Before     observe.Usage  `json:"server_before"`
	Phases     []PhaseReport  `json:"phases"`
	Series     []Point        `json:"series"` // by second
	Faults     []*swarm.Fault `json:"faults"` // the first ones
	FaultFiles []string       `json:"fault_files"`
	Proof      *Proof         `json:"proof,omitempty"` // with a feed
	Verdict    []Finding      `json:"verdict"`

	// Setting is of the caller: machine, commit, command.
	Setting any `json:"setting,omitempty"`
}

// PhaseReport is a part of a run. The histograms of Figures are in HdrHistogram's
// own form, compressed; other tools read them.
type PhaseReport struct {
	Name     string        `json:"name"`
	Measured bool          `json:"measured"`
	Start    float64       `json:"start_s"`
	Seconds  float64       `json:"seconds"`
	Figures  swarm.Figures `json:"figures"`
	Gauges   swarm.Gauges  `json:"gauges"` // at its end
	Usage    observe.Usage `json:"server"` // at its end

	// ClientBusy is the share of a processor that the busiest client process took.
	// Near 1 the client is the limit, and latencies are partly its own.
	ClientBusy float64 `json:"client_busy"`

	Latencies map[string]Latency `json:"latencies"` // of Figures, by the names of the text; what has no values is not there

	MessagesPerS  float64 `json:"messages_per_s"`
	BytesPerS     float64 `json:"bytes_per_s"`
	Offered       float64 `json:"offered"`            // updates that the feed's records stand for; 0: no feed
	Delivered     float64 `json:"delivered"`          // share of them
	CPUPerMessage float64 `json:"cpu_us_per_message"` // of the server; 0: not known
	CPU           float64 `json:"cpu"`                // of the server, processors
	BytesPerConn  float64 `json:"resident_bytes_per_connection"`
	TCPPerConn    float64 `json:"tcp_bytes_per_connection"` // of this machine's kernel, both ends where both are here
	FramesPerSend float64 `json:"frames_per_send"`
	Drops         float64 `json:"drops"` // connections ended, by the metrics
}

// Latency is a histogram by what most look at, in ms.
type Latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

// Point is one second.
type Point struct {
	At       float64       `json:"at_s"`
	Phase    string        `json:"phase"`
	Open     int           `json:"open"`
	Joined   int           `json:"joined"`
	Messages uint64        `json:"messages"`
	Bytes    uint64        `json:"bytes"`
	Updates  uint64        `json:"updates"`
	Faults   uint64        `json:"faults"`
	Ended    uint64        `json:"ended"`
	P50      int64         `json:"p50_ns"`
	P99      int64         `json:"p99_ns"`
	Max      int64         `json:"max_ns"`
	Resident int64         `json:"resident_bytes"`
	CPU      time.Duration `json:"cpu_ns"` // used so far
}

// manySymbols are left out of a report.
const manySymbols = 100

func newReport(c *Config) *Report {
	r := &Report{Profile: c.Profile, Plan: c.Plan, Symbols: len(c.Plan.Symbols)}
	r.Plan.Token = "" // reports are passed on
	if r.Symbols > manySymbols {
		r.Plan.Symbols = nil
	}
	return r
}

// fault keeps a fault and writes its evidence.
func (r *Report) fault(c *Config, f *swarm.Fault) error {
	r.Faults = append(r.Faults, f)
	if c.EvidenceDir == "" {
		return nil
	}
	if err := os.MkdirAll(c.EvidenceDir, 0o755); err != nil {
		return fmt.Errorf("load: evidence: %w", err)
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("load: evidence: %w", err)
	}
	file := filepath.Join(c.EvidenceDir, fmt.Sprintf("fault-%s-%03d.json", f.Time.Format("20060102T150405"), len(r.Faults)))
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return fmt.Errorf("load: evidence: %w", err)
	}
	r.FaultFiles = append(r.FaultFiles, file)
	return nil
}

// close derives a phase's rates from what was counted and observed.
func (p *PhaseReport) close(c *Config, before, after observe.Usage, offered, now []uint64) {
	f := &p.Figures
	p.Usage, p.Latencies = after, map[string]Latency{}
	for _, l := range p.latencies() {
		if n := l.of.Count(); n > 0 {
			in := func(ns int64) float64 { return float64(ns) / 1e6 }
			p.Latencies[l.name] = Latency{Count: n, P50: in(l.of.At(50)), P99: in(l.of.At(99)), P999: in(l.of.At(99.9)), Max: in(l.of.Max())}
		}
	}
	p.MessagesPerS, p.BytesPerS = float64(f.Messages)/p.Seconds, float64(f.Bytes)/p.Seconds
	p.Offered = c.offered(offered, now)
	if p.Offered > 0 {
		p.Delivered = float64(f.Updates) / p.Offered
	}
	if used := after.CPU - before.CPU; used > 0 {
		p.CPU = used.Seconds() / after.Time.Sub(before.Time).Seconds()
		if f.Messages > 0 {
			p.CPUPerMessage = float64(used) / 1e3 / float64(f.Messages)
		}
	}
	p.Drops = after.Drops - before.Drops
	if sends := after.Sends - before.Sends; sends > 0 {
		p.FramesPerSend = (after.Frames - before.Frames) / sends
	}
}

// offered is how many updates the fast readers should have got for the records
// that the feed produced in between.
func (c *Config) offered(before, after []uint64) float64 {
	if c.Feed == nil {
		return 0
	}
	readers := make([]float64, len(after))
	for i := range c.Plan.Conns {
		if c.Plan.ReadsSlowly(i) {
			continue
		}
		for _, s := range c.Plan.SymbolsOf(i) {
			readers[s]++
		}
	}
	sum := 0.0
	for s := range after {
		sum += float64(after[s]-before[s]) * readers[s]
	}
	return sum
}

// conclude derives what concerns the whole run.
func (r *Report) conclude(c *Config) {
	for i := range r.Phases {
		p := &r.Phases[i]
		n := float64(p.Gauges.Open)
		if n == 0 {
			continue
		}
		if c.Server.Known() && r.Before.Resident > 0 {
			p.BytesPerConn = float64(p.Usage.Resident-r.Before.Resident) / n
		}
		p.TCPPerConn = float64(p.Usage.Sockets.MemoryBytes-r.Before.Sockets.MemoryBytes) / n
	}
	r.Verdict = c.Limits.judge(r)
}

// Failed returns the findings that are worse than the limits.
func (r *Report) Failed() (failed []Finding) {
	for _, f := range r.Verdict {
		if !f.OK {
			failed = append(failed, f)
		}
	}
	return failed
}
