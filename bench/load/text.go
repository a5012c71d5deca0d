package load

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/depthcast/depthcast/proto"
)

// ms writes ns as milliseconds, "-" for none.
func ms(ns int64) string {
	if ns == 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(ns)/1e6, 'f', 2, 64)
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d connections from %d processes, %d subscriptions each, of %d symbols; depth %s, %s; 1 in %d rebuilds its books\n",
		r.Profile, r.Plan.Conns, r.Processes, r.Plan.PerConn, r.Symbols, r.depths(), r.codecs(), r.Plan.Verify)
	for i := range r.Phases {
		r.Phases[i].print(w)
	}
	for i, f := range r.Faults {
		where := ""
		if i < len(r.FaultFiles) {
			where = ", evidence in " + r.FaultFiles[i]
		}
		fmt.Fprintf(w, "\nFAULT %v%s", f, where)
	}
	fmt.Fprintln(w)
	for _, f := range r.Verdict {
		word := "ok  "
		if !f.OK {
			word = "FAIL"
		}
		fmt.Fprintf(w, "%s  %v\n", word, f)
	}
}

func (r *Report) codecs() string {
	var all []string
	for _, c := range r.Plan.Codecs {
		all = append(all, map[proto.Codec]string{proto.CodecProto: "protobuf", proto.CodecJSON: "JSON"}[c])
	}
	return strings.Join(all, ", ")
}

func (r *Report) depths() string {
	var all []string
	for _, d := range r.Plan.Depths {
		if d == 0 {
			all = append(all, "all")
		} else {
			all = append(all, fmt.Sprint(d))
		}
	}
	return strings.Join(all, ", ")
}

func (p *PhaseReport) print(w io.Writer) {
	f := &p.Figures
	fmt.Fprintf(w, "\n%s, %.1f s: %d open, %d of %d with their snapshots\n", p.Name, p.Seconds, p.Gauges.Open, p.Gauges.Joined, p.Gauges.Want)
	fmt.Fprintf(w, "  received   %.0f messages/s, %.2f MB/s; %d deltas (%d updates, %d to catch up), %d snapshots, %d keepalives\n",
		p.MessagesPerS, p.BytesPerS/1e6, f.Deltas, f.Updates, f.CaughtUp, f.Snapshots, f.Keepalives)
	if p.Offered > 0 {
		fmt.Fprintf(w, "  delivered  %.2f %% of %.0f updates offered\n", 100*p.Delivered, p.Offered)
	}
	for _, l := range p.latencies() {
		if l.of.Count() > 0 {
			fmt.Fprintf(w, "  %-10s p50 %s  p99 %s  p99.9 %s  max %s ms (%d)\n", l.name, ms(l.of.At(50)), ms(l.of.At(99)), ms(l.of.At(99.9)), ms(l.of.Max()), l.of.Count())
		}
	}
	fmt.Fprintf(w, "  checked    %d places in chains, %d hashes of rebuilt books, %d hashes between connections; faults %d\n",
		f.Chained, f.Rebuilt, f.Agreed, f.Faults)
	if f.Resumed+f.Snapshotted+f.Behind > 0 {
		fmt.Fprintf(w, "  resumed    %d without a snapshot, %d with, %d at a server that was behind them\n", f.Resumed, f.Snapshotted, f.Behind)
	}
	if len(f.Ended)+len(f.Refused) > 0 {
		fmt.Fprintf(w, "  ended      %s   refused %s\n", counts(f.Ended), counts(f.Refused))
	}
	if p.CPU > 0 {
		fmt.Fprintf(w, "  server     %.2f processors, %.2f µs a message received; %.1f MiB resident, %.0f bytes a connection",
			p.CPU, p.CPUPerMessage, float64(p.Usage.Resident)/(1<<20), p.BytesPerConn)
		if p.FramesPerSend > 0 {
			fmt.Fprintf(w, "; %.2f frames a send", p.FramesPerSend)
		}
		if p.Drops > 0 {
			fmt.Fprintf(w, "; %.0f connections ended by it or its clients", p.Drops)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "  kernel     %.1f MiB in TCP buffers here, %.0f bytes a connection\n", float64(p.Usage.Sockets.MemoryBytes)/(1<<20), p.TCPPerConn)
	fmt.Fprintf(w, "  client     %.0f %% of a processor in its busiest process%s\n", 100*p.ClientBusy, p.warning())
}

// warning says where the client itself may be what was measured.
func (p *PhaseReport) warning() string {
	if p.ClientBusy < 0.85 {
		return ""
	}
	return ": the client may be the limit, use more --processes or another machine"
}

type named struct {
	name string
	of   interface {
		Count() int64
		At(float64) int64
		Max() int64
	}
}

// latencies are the histograms of a phase, by their names in reports.
func (p *PhaseReport) latencies() []named {
	f := &p.Figures
	return []named{
		{"published", &f.Published}, {"venue", &f.Venue}, {"join", &f.Join}, {"subscribe", &f.Subscribe}, {"resume", &f.Resume},
	}
}

func counts(m map[string]uint64) string {
	if len(m) == 0 {
		return "none"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(parts, ", ")
}

// WriteCSV writes one row for each phase, times in ms.
func (r *Report) WriteCSV(to io.Writer) error {
	w := csv.NewWriter(to)
	head := []string{"profile", "phase", "measured", "seconds", "connections", "joined", "messages_per_s", "bytes_per_s", "updates",
		"offered", "delivered", "faults", "chained", "rebuilt", "ended", "resumed", "cpu_us_per_message", "cpu",
		"resident_bytes_per_connection", "tcp_bytes_per_connection", "client_busy"}
	for _, l := range (&PhaseReport{}).latencies() {
		for _, q := range []string{"p50", "p99", "p99.9", "max"} {
			head = append(head, l.name+"_"+q+"_ms")
		}
	}
	rows := [][]string{head}
	for i := range r.Phases {
		rows = append(rows, r.row(&r.Phases[i]))
	}
	return w.WriteAll(rows)
}

func (r *Report) row(p *PhaseReport) []string {
	f := &p.Figures
	ended := uint64(0)
	for _, n := range f.Ended {
		ended += n
	}
	row := []string{string(r.Profile), p.Name, strconv.FormatBool(p.Measured), number(p.Seconds), fmt.Sprint(p.Gauges.Open), fmt.Sprint(p.Gauges.Joined),
		number(p.MessagesPerS), number(p.BytesPerS), fmt.Sprint(f.Updates), number(p.Offered), number(p.Delivered), fmt.Sprint(f.Faults),
		fmt.Sprint(f.Chained), fmt.Sprint(f.Rebuilt), fmt.Sprint(ended), fmt.Sprint(f.Resumed), number(p.CPUPerMessage), number(p.CPU),
		number(p.BytesPerConn), number(p.TCPPerConn), number(p.ClientBusy)}
	for _, l := range p.latencies() {
		if l.of.Count() == 0 {
			row = append(row, "", "", "", "")
			continue
		}
		row = append(row, ms(l.of.At(50)), ms(l.of.At(99)), ms(l.of.At(99.9)), ms(l.of.Max()))
	}
	return row
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
