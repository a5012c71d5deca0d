package main

import (
	"fmt"
	"io"
)

// print writes the comparison as a table, by medians.
func (r *compareReport) print(w io.Writer, ks []int) {
	r.Setting.print(w)
	if len(ks) > 0 {
		fmt.Fprintf(w, "k: CPU of the server (its own clock and ksoftirqd's) for each delivered message at %d connections, k published back to back, as\n"+
			"ratio to the %s in windows of the same round, and what half of the windows are within.\n", r.Conns, r.Reference)
	}
	fmt.Fprintf(w, "Memory, latency from the intended moment (p50 / p99 / p99.9) and overload at %d connections, each server alone on one processor;\n"+
		"medians of %d.\n\n", r.PacedConns, len(r.Rows[0].Alone))
	r.table(w, ks)
	for _, row := range r.Rows {
		for _, k := range ks {
			if calls := row.Calls[k]; calls.N > 0 {
				fmt.Fprintf(w, "\n%s: %.4f system calls that send for each message at k = %d (%s)", row.Server, calls.Median, k, calls.reach())
			}
		}
	}
	fmt.Fprintln(w)
}

func (r *compareReport) table(w io.Writer, ks []int) {
	header, rule := "| server |", "|---|"
	column := func(name string) { header, rule = header+" "+name+" |", rule+"---|" }
	for _, k := range ks {
		column(fmt.Sprintf("k = %d", k))
		column("half within")
	}
	column("B per conn")
	for _, p := range r.Rows[0].Alone[0].Paced {
		column(fmt.Sprintf("%g/s, ms", p.Rate))
		if len(r.Rows[0].Alone) > 1 {
			column("p99 within")
		}
		column("CPU, µs")
	}
	if r.Overload > 0 {
		column(fmt.Sprintf("overload: delivered of %.0f/s", r.Overload*float64(r.PacedConns)))
		column("p99")
	}
	fmt.Fprintf(w, "%s\n%s\n", header, rule)
	for _, row := range r.Rows {
		line := "| " + row.Server + " |"
		for _, k := range ks {
			ratio := row.Ratio[k]
			line += fmt.Sprintf(" %.2f (%.2f µs) | %.2f–%.2f |", ratio.Median, row.CPU[k].Median, ratio.Q1, ratio.Q3)
		}
		fmt.Fprintln(w, line+row.alone())
	}
}

// alone writes what came of a server that was alone.
func (row *compareRow) alone() string {
	over := func(of func(*alone) float64) spread {
		var all []float64
		for _, a := range row.Alone {
			all = append(all, of(a))
		}
		return spreadOf(all)
	}
	text := fmt.Sprintf(" %.0f |", over(func(a *alone) float64 { return a.BytesPerConn }).Median)
	for i := range row.Alone[0].Paced {
		p50 := over(func(a *alone) float64 { return a.Paced[i].P50 })
		p99 := over(func(a *alone) float64 { return a.Paced[i].P99 })
		p999 := over(func(a *alone) float64 { return a.Paced[i].P999 })
		cpu := over(func(a *alone) float64 { return a.Paced[i].CPU })
		text += fmt.Sprintf(" %.1f / %.1f / %.1f |", p50.Median, p99.Median, p999.Median)
		if p99.N > 1 {
			text += fmt.Sprintf(" %.0f–%.0f |", p99.Min, p99.Max)
		}
		text += fmt.Sprintf(" %.2f%s |", cpu.Median, row.trouble(func(a *alone) *paced { return a.Paced[i] }))
	}
	if row.Alone[0].Overload != nil {
		delivered := over(func(a *alone) float64 { return a.Overload.DeliveredPerS })
		p99 := over(func(a *alone) float64 { return a.Overload.P99 })
		text += fmt.Sprintf(" %.0f/s%s | %.0f ms |", delivered.Median, row.trouble(func(a *alone) *paced { return a.Overload }), p99.Median)
	}
	return text
}

// trouble names what besides lateness became of the messages in any round.
func (row *compareRow) trouble(of func(*alone) *paced) string {
	for _, a := range row.Alone {
		if text := of(a).trouble(); text != "" {
			return text
		}
	}
	return ""
}
