package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/depthcast/depthcast/bench/attack"
	"github.com/depthcast/depthcast/bench/load"
)

// attackReport is what a run of attacks found.
type attackReport struct {
	Setting  setting      `json:"setting"`
	Honest   int          `json:"honest_subscribers"`
	Since    string       `json:"latency_since"` // what latencies are counted from
	Resident int64        `json:"resident_before"`
	Attacks  []*attackRow `json:"attacks"`
	Findings []finding    `json:"findings"`
}

type attackRow struct {
	Name string `json:"name"`
	What string `json:"what"`

	// Of the honest subscribers.
	Before    load.Latency `json:"before"`
	During    load.Latency `json:"during"`
	After     load.Latency `json:"after"`
	CPU       float64      `json:"server_cpu"` // during it, processors
	Newcomers load.Latency `json:"newcomers"`  // during it, from connecting to the snapshot
	Refused   uint64       `json:"newcomers_refused"`

	// Bytes of the server.
	Resident int64 `json:"resident_before"`
	Peak     int64 `json:"resident_peak"`
	Rest     int64 `json:"resident_after"`
	Logged   int64 `json:"logged"`

	Attack   attack.Result      `json:"attack"`
	Counters map[string]float64 `json:"counters"`
}

// finding is one thing that must be so.
type finding struct {
	What string `json:"what"`
	OK   bool   `json:"ok"`
}

// report makes the table out of what was measured.
func (c *attackCmd) report(l *load.Report, all []*attackRun) *attackReport {
	r := &attackReport{Setting: settingNow(), Honest: c.Conns, Since: "the venue's time, which the feed sets to the intended one"}
	if l.Proof == nil {
		r.Since = "published"
	}
	phases := map[string]*load.PhaseReport{}
	for i := range l.Phases {
		phases[l.Phases[i].Name] = &l.Phases[i]
	}
	before := phases[load.BeforeAttacks]
	for _, a := range all {
		during, after := phases[a.Name()], phases[load.AfterAttack(a.Name())]
		row := &attackRow{
			Name: a.Name(), What: attack.Named(a.Name()).What, Before: r.latency(before), During: r.latency(during), After: r.latency(after), CPU: during.CPU,
			Newcomers: during.Latencies["join"], Resident: a.resident, Peak: peakOf(a, l), Rest: after.Usage.Resident,
			Logged: a.logged, Attack: a.result, Counters: a.refused,
		}
		for _, n := range during.Figures.Refused {
			row.Refused += n
		}
		r.Attacks = append(r.Attacks, row)
		before = after
	}
	if len(r.Attacks) > 0 {
		r.Resident = r.Attacks[0].Resident
	}
	c.judge(r, l)
	return r
}

// peakOf is the most memory that the server had during an attack; of one whose
// process is not here, the most that its metrics told by second.
func peakOf(a *attackRun, l *load.Report) int64 {
	peak := a.peak
	for _, p := range l.Series {
		if p.Phase == a.Name() {
			peak = max(peak, p.Resident)
		}
	}
	return peak
}

// latency is that of a phase from where it is counted in this run.
func (r *attackReport) latency(p *load.PhaseReport) load.Latency {
	if r.Since == "published" {
		return p.Latencies["published"]
	}
	return p.Latencies["venue"]
}

// judge holds the rows against the limits, and the run against what a load must be.
func (c *attackCmd) judge(r *attackReport, l *load.Report) {
	say := func(ok bool, form string, args ...any) {
		r.Findings = append(r.Findings, finding{fmt.Sprintf(form, args...), ok})
	}
	noticeable := float64(c.Noticeable) / float64(time.Millisecond)
	for _, row := range r.Attacks {
		// What an attack leaves behind is no excuse for the next.
		if limit := max(noticeable, c.MaxRatio*r.Attacks[0].Before.P99); c.MaxRatio > 0 {
			say(row.During.Count > 0 && row.During.P99 <= limit, "%s: honest p99 %.1f ms, at most %.1f", row.Name, row.During.P99, limit)
		}
		if grown := row.Peak - r.Resident; c.MaxMemory > 0 && row.Peak > 0 {
			say(grown <= c.MaxMemory, "%s: memory grown by %s, at most %s", row.Name, mebibytes(grown), mebibytes(c.MaxMemory))
		}
		kind := attack.Named(row.Name)
		say(kind.Documented(row.Attack.Answers, row.Counters), "%s: answered as documented (%s)", row.Name, strings.Join(kind.Answers, ", "))
	}
	for _, f := range l.Verdict {
		say(f.OK, "honest subscribers, %v", f)
	}
}

// failed is the first finding that is not as it must be; empty: there is none.
func (r *attackReport) failed() string {
	for _, f := range r.Findings {
		if !f.OK {
			return f.What
		}
	}
	return ""
}

func (r *attackReport) writeJSON(w io.Writer) error { return printJSON(w, r) }

// mebibytes writes bytes for people.
func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

// print writes the table, in Markdown.
func (r *attackReport) print(w io.Writer) {
	r.Setting.print(w)
	fmt.Fprintf(w, "%d honest subscribers; latencies in ms since %s\n\n", r.Honest, r.Since)
	fmt.Fprintln(w, "| attack | p50 before / during / after | p99 before / during / after | newcomers: p99 to the snapshot, refused | server's CPU | resident before / peak / after, MiB | logged, KB | connections, MB sent | what the server answered |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	for _, row := range r.Attacks {
		newcomers := "–"
		if row.Newcomers.Count+int64(row.Refused) > 0 {
			newcomers = fmt.Sprintf("%.0f, %d of %d", row.Newcomers.P99, row.Refused, row.Newcomers.Count+int64(row.Refused))
		}
		fmt.Fprintf(w, "| %s | %.1f / %.1f / %.1f | %.1f / %.1f / %.1f | %s | %.2f | %d / %d / %d | %.0f | %d, %.0f | %s |\n", row.Name,
			row.Before.P50, row.During.P50, row.After.P50, row.Before.P99, row.During.P99, row.After.P99, newcomers, row.CPU,
			row.Resident>>20, row.Peak>>20, row.Rest>>20, float64(row.Logged)/1e3, row.Attack.Attempts, float64(row.Attack.Sent)/1e6, most(row.Attack.Answers))
	}
	fmt.Fprintln(w)
	for _, row := range r.Attacks {
		fmt.Fprintf(w, "%-12s %s\n%12s the server counted: %s\n", row.Name, row.What, "", counted(row.Counters))
	}
	fmt.Fprintln(w)
	for _, f := range r.Findings {
		word := "ok  "
		if !f.OK {
			word = "FAIL"
		}
		fmt.Fprintf(w, "%s  %s\n", word, f.What)
	}
}

// mostTold is how many different answers stand in the table.
const mostTold = 4

// most writes the most frequent answers.
func most(answers map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(answers), func(a, b string) int {
		if answers[a] != answers[b] {
			return int(min(answers[b], 1<<62)) - int(min(answers[a], 1<<62))
		}
		return strings.Compare(a, b)
	})
	var told []string
	for _, name := range names[:min(len(names), mostTold)] {
		told = append(told, fmt.Sprintf("%s %d", name, answers[name]))
	}
	if len(told) == 0 {
		return "nothing"
	}
	return strings.Join(told, ", ")
}

// counted writes the server's counters of refusals.
func counted(grown map[string]float64) string {
	var told []string
	for _, name := range slices.Sorted(maps.Keys(grown)) {
		told = append(told, fmt.Sprintf("%s %.0f", strings.TrimPrefix(name, "depthcast_"), grown[name]))
	}
	if len(told) == 0 {
		return "nothing"
	}
	return strings.Join(told, ", ")
}

var _ load.Attack = (*attackRun)(nil)
