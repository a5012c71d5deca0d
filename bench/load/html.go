package load

import (
	"bytes"
	"errors"
	"fmt"
	"html"
	"io"
	"math"
	"strings"

	"github.com/go-echarts/go-echarts/v2/charts"
	"github.com/go-echarts/go-echarts/v2/components"
	"github.com/go-echarts/go-echarts/v2/opts"
)

// WriteHTML writes the report as a page: the text, then plots. It fetches the library
// that draws them (Apache ECharts) from the network when it is opened.
func (r *Report) WriteHTML(to io.Writer) error {
	page := components.NewPage()
	page.SetPageTitle(fmt.Sprintf("depthcast bench: %s", r.Profile))
	page.SetLayout(components.PageFlexLayout)
	page.AddCharts(
		r.bySecond("Messages and updates", "a second", map[string]func(*Point) float64{
			"messages": func(p *Point) float64 { return float64(p.Messages) },
			"updates":  func(p *Point) float64 { return float64(p.Updates) },
		}, "messages", "updates"),
		r.bySecond("Latency from publishing to receipt", "ms", map[string]func(*Point) float64{
			"p50": func(p *Point) float64 { return float64(p.P50) / 1e6 },
			"p99": func(p *Point) float64 { return float64(p.P99) / 1e6 },
			"max": func(p *Point) float64 { return float64(p.Max) / 1e6 },
		}, "p50", "p99", "max"),
		r.percentiles(),
		r.bySecond("Connections", "", map[string]func(*Point) float64{
			"open":           func(p *Point) float64 { return float64(p.Open) },
			"with snapshots": func(p *Point) float64 { return float64(p.Joined) },
			"ended":          func(p *Point) float64 { return float64(p.Ended) },
			"faults":         func(p *Point) float64 { return float64(p.Faults) },
		}, "open", "with snapshots", "ended", "faults"),
		r.bySecond("Bytes received", "MB/s", map[string]func(*Point) float64{
			"bytes": func(p *Point) float64 { return float64(p.Bytes) / 1e6 },
		}, "bytes"),
		r.bySecond("Server: resident memory", "MiB", map[string]func(*Point) float64{
			"resident": func(p *Point) float64 { return float64(p.Resident) / (1 << 20) },
		}, "resident"),
		r.processors(),
	)
	var drawn, text bytes.Buffer
	if err := page.Render(&drawn); err != nil {
		return err
	}
	if r.Setting != nil {
		fmt.Fprintln(&text, r.Setting)
	}
	r.Print(&text)
	before, after, found := strings.Cut(drawn.String(), "<body>")
	if !found {
		return errors.New("load: the plots have no body")
	}
	_, err := fmt.Fprintf(to, "%s<body>\n<pre style=\"margin: 2em; white-space: pre-wrap\">%s</pre>%s", before, html.EscapeString(text.String()), after)
	return err
}

func line(title, unit string) *charts.Line {
	c := charts.NewLine()
	c.SetGlobalOptions(
		charts.WithInitializationOpts(opts.Initialization{Width: "640px", Height: "360px"}),
		charts.WithTitleOpts(opts.Title{Title: title}),
		charts.WithYAxisOpts(opts.YAxis{Name: unit}),
		charts.WithTooltipOpts(opts.Tooltip{Show: opts.Bool(true), Trigger: "axis"}),
		charts.WithLegendOpts(opts.Legend{Top: "bottom", Type: "scroll"}),
		charts.WithGridOpts(opts.Grid{Bottom: "80"}),
	)
	return c
}

// bySecond plots values over the run, one line each, in the order of names.
func (r *Report) bySecond(title, unit string, values map[string]func(*Point) float64, names ...string) *charts.Line {
	c := line(title, unit)
	var at []string
	for i := range r.Series {
		at = append(at, fmt.Sprintf("%.0f s, %s", r.Series[i].At, r.Series[i].Phase))
	}
	c.SetXAxis(at)
	for _, name := range names {
		var data []opts.LineData
		for i := range r.Series {
			data = append(data, opts.LineData{Value: round(values[name](&r.Series[i]))})
		}
		c.AddSeries(name, data)
	}
	return c
}

// processors plots what the server used of processors in each second.
func (r *Report) processors() *charts.Line {
	c := line("Server: CPU", "processors")
	var at []string
	var data []opts.LineData
	for i := 1; i < len(r.Series); i++ {
		before, p := &r.Series[i-1], &r.Series[i]
		used := 0.0
		if before.CPU > 0 && p.CPU > 0 {
			used = (p.CPU - before.CPU).Seconds() / (p.At - before.At)
		}
		at = append(at, fmt.Sprintf("%.0f s, %s", p.At, p.Phase))
		data = append(data, opts.LineData{Value: round(used)})
	}
	return c.SetXAxis(at).AddSeries("CPU", data)
}

// shownPercentiles are those of the plot, evenly spaced in the number of nines.
var shownPercentiles = []float64{0, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999, 100}

// percentiles plots latency by percentile: from publishing for each phase in which
// nobody joins, from the venue and to join for those that are measured.
func (r *Report) percentiles() *charts.Line {
	c := line("Latency by percentile", "ms")
	var at []string
	for _, p := range shownPercentiles {
		at = append(at, fmt.Sprintf("%g %%", p))
	}
	c.SetXAxis(at)
	for i := range r.Phases {
		phase := &r.Phases[i]
		for _, l := range phase.latencies() {
			if l.of.Count() == 0 || l.name == "subscribe" || !phase.Measured && (l.name != "published" || phase.Figures.Join.Count() > 0) {
				continue
			}
			var data []opts.LineData
			for _, p := range shownPercentiles {
				data = append(data, opts.LineData{Value: round(float64(l.of.At(p)) / 1e6)})
			}
			c.AddSeries(phase.Name+": "+l.name, data)
		}
	}
	return c
}

func round(v float64) float64 { return math.Round(v*1000) / 1000 }
