package load

import (
	"fmt"
	"time"
)

// Limits are what the measured phases are held against. 0: no limit, but for
// MaxEnded.
type Limits struct {
	MaxP50, MaxP99, MaxP999, MaxLatency time.Duration // from published to receipt
	MaxVenueP99                         time.Duration // from the venue's time to receipt
	MaxJoin                             time.Duration // of the last connection, from connecting to its snapshots
	MaxCPUPerMessage                    float64       // µs of the server
	MaxBytesPerConn                     float64       // resident, of the server
	MinDelivered                        float64       // share of what the feed offered
	MinRate                             float64       // messages a second
	MaxEnded                            int           // connections ended by the server or the network; -1: no limit
}

// Finding is one figure of a phase and its limit.
type Finding struct {
	Phase string `json:"phase"`
	What  string `json:"what"`
	Is    string `json:"is"`
	Limit string `json:"limit"`
	OK    bool   `json:"ok"`
}

func (f Finding) String() string {
	return fmt.Sprintf("%s: %s %s, limit %s", f.Phase, f.What, f.Is, f.Limit)
}

// possible refuses limits on what the run cannot know.
func (l *Limits) possible(c *Config) error {
	switch {
	case l.MaxCPUPerMessage+l.MaxBytesPerConn > 0 && !c.Server.Known():
		return fmt.Errorf("%w: a limit on the server's CPU or memory needs --pid or --metrics", ErrConfig)
	case l.MinDelivered > 0 && c.Feed == nil:
		return fmt.Errorf("%w: only with --feed is it known what should be delivered; use --min-rate", ErrConfig)
	}
	return nil
}

// judge holds the measured phases against the limits. That a book was wrong, or
// that nothing was checked, is a finding whatever the limits.
func (l *Limits) judge(r *Report) []Finding {
	var all []Finding
	faults, rebuilt, ended := uint64(0), uint64(0), uint64(0)
	for i := range r.Phases {
		p := &r.Phases[i]
		faults += p.Figures.Faults
		rebuilt += p.Figures.Rebuilt
		for _, n := range p.Figures.Ended {
			ended += n
		}
		if p.Measured {
			all = append(all, l.phase(p)...)
		}
	}
	all = append(all, Finding{"run", "faults", fmt.Sprint(faults), "0", faults == 0})
	if r.Plan.Verify > 0 {
		all = append(all, Finding{"run", "frames compared with a rebuilt book", fmt.Sprint(rebuilt), "at least 1", rebuilt > 0})
	}
	if p := r.Proof; p != nil {
		all = append(all, Finding{"run", "rebuilt books equal to the feed's", fmt.Sprint(p.Equal), fmt.Sprint(max(1, p.Wanted)), p.Wanted > 0 && p.Equal == p.Wanted})
	}
	if l.MaxEnded >= 0 {
		all = append(all, Finding{"run", "connections ended", fmt.Sprint(ended), fmt.Sprint(l.MaxEnded), ended <= uint64(l.MaxEnded)})
	}
	return all
}

func (l *Limits) phase(p *PhaseReport) (all []Finding) {
	atMost := func(what string, is, limit time.Duration, there bool) {
		if limit > 0 {
			all = append(all, Finding{p.Name, what, fmt.Sprint(is), fmt.Sprint(limit), there && is <= limit})
		}
	}
	f := &p.Figures
	some, venue, joins := f.Published.Count() > 0, f.Venue.Count() > 0, f.Join.Count() > 0
	atMost("p50", time.Duration(f.Published.At(50)), l.MaxP50, some)
	atMost("p99", time.Duration(f.Published.At(99)), l.MaxP99, some)
	atMost("p99.9", time.Duration(f.Published.At(99.9)), l.MaxP999, some)
	atMost("greatest latency", time.Duration(f.Published.Max()), l.MaxLatency, some)
	atMost("p99 from the venue", time.Duration(f.Venue.At(99)), l.MaxVenueP99, venue)
	if joins {
		atMost("last join", time.Duration(f.Join.Max()), l.MaxJoin, true)
	}
	number := func(what string, is, limit float64, ok bool) {
		if limit > 0 {
			all = append(all, Finding{p.Name, what, fmt.Sprintf("%.4g", is), fmt.Sprintf("%.4g", limit), ok})
		}
	}
	number("CPU µs per message", p.CPUPerMessage, l.MaxCPUPerMessage, p.CPUPerMessage > 0 && p.CPUPerMessage <= l.MaxCPUPerMessage)
	number("bytes per connection", p.BytesPerConn, l.MaxBytesPerConn, p.Gauges.Open > 0 && p.BytesPerConn <= l.MaxBytesPerConn)
	number("delivered", p.Delivered, l.MinDelivered, p.Delivered >= l.MinDelivered)
	number("messages/s", p.MessagesPerS, l.MinRate, p.MessagesPerS >= l.MinRate)
	return all
}
