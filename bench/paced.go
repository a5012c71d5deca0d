package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
)

// paced is what came of messages published at a fixed rate. Latencies are from the
// intended moment to receipt, in ms, of all messages that arrived at all.
type paced struct {
	Rate          float64 `json:"rate"` // messages a second
	Offered       uint64  `json:"offered"`
	CPU           float64 `json:"cpu_us"`          // of the server for each message delivered, until all had arrived
	Delivered     uint64  `json:"delivered"`       // in the end
	DeliveredPerS float64 `json:"delivered_per_s"` // while they were offered
	P50           float64 `json:"p50_ms"`
	P99           float64 `json:"p99_ms"`
	P999          float64 `json:"p999_ms"`
	Max           float64 `json:"max_ms"`
	Ended         uint64  `json:"connections_ended"`
}

// alone is what was measured of a server that was alone.
type alone struct {
	BytesPerConn float64  `json:"resident_bytes_per_connection"`
	Paced        []*paced `json:"paced"` // by rate
	Overload     *paced   `json:"overload,omitempty"`
}

// trouble names what besides lateness became of the messages.
func (p *paced) trouble() string {
	switch {
	case p.Ended > 0:
		return fmt.Sprintf(" (%d connections dropped)", p.Ended)
	case p.Delivered < p.Offered:
		return fmt.Sprintf(" (%d missing)", p.Offered-p.Delivered)
	}
	return ""
}

// checkedOne in so many connections to depthcast rebuilds its book while it is paced.
const checkedOne = 500

// alone measures one server that is alone: memory, latency, overload.
func (c *compareCmd) alone(ctx context.Context, e entrant, row *compareRow) error {
	s, err := c.enter(ctx, e)
	if err != nil {
		return err
	}
	defer s.stop()
	row.Server = s.name
	fmt.Fprintf(os.Stderr, "memory, latency, overload: %s\n", s.name)
	// The first connection touches the code.
	first, err := join(ctx, s.name, s.plan(1))
	if err != nil {
		return err
	}
	defer first.Close()
	before, err := c.idle(ctx, s)
	if err != nil {
		return err
	}
	plan := s.plan(c.PacedConns)
	if plan.Dialect == swarm.Depthcast {
		plan.Verify = checkedOne
	}
	all, err := join(ctx, s.name, plan)
	if err != nil {
		return err
	}
	defer all.Close()
	after, err := c.idle(ctx, s)
	if err != nil {
		return err
	}
	a := &alone{BytesPerConn: float64(after-before) / float64(c.PacedConns)}
	row.Alone = append(row.Alone, a)
	for _, rate := range c.Rate {
		p, err := c.pace(ctx, s, all, rate)
		if err != nil {
			return err
		}
		a.Paced = append(a.Paced, p)
	}
	if c.Overload > 0 {
		a.Overload, err = c.pace(ctx, s, all, c.Overload)
	}
	return err
}

// idle leaves the server alone, then looks at its memory.
func (c *compareCmd) idle(ctx context.Context, s *rival) (int64, error) {
	select {
	case <-time.After(c.Settle):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return observe.Resident(s.pid)
}

// drained is how long what was published may take to arrive.
const drained = 20 * time.Second

// pace has messages published at a rate, each at its intended moment or, when the
// server does not even take the command, as soon as it does.
func (c *compareCmd) pace(ctx context.Context, s *rival, all *swarm.Swarm, rate float64) (*paced, error) {
	all.Take() // what was before
	p := &paced{Rate: rate}
	meter := observe.Meter{Server: s.pid, Softirqd: observe.Softirqd(c.ServerCPU)}
	before, err := meter.Read()
	if err != nil {
		return nil, err
	}
	n := max(1, int(rate*c.Paced.Seconds()))
	published := make(chan error, 1)
	start := time.Now().Add(50 * time.Millisecond)
	go func() {
		for i := range n {
			at := start.Add(time.Duration(float64(i) / rate * 1e9))
			time.Sleep(time.Until(at))
			if err := s.publishAt(1, at); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	var sum swarm.Figures
	p.Offered = uint64(n) * uint64(c.PacedConns)
	select {
	case <-time.After(time.Until(start.Add(c.Paced))):
	case <-ctx.Done():
		return p, ctx.Err()
	}
	take := func() error {
		sample := all.Take()
		sum.Add(&sample.Figures)
		if len(sample.Faults) > 0 {
			return fmt.Errorf("%w: %v", errWrong, sample.Faults[0])
		}
		return nil
	}
	if err := take(); err != nil {
		return p, err
	}
	p.DeliveredPerS = float64(sum.Updates) / time.Since(start).Seconds()
	for end := time.Now().Add(drained); sum.Updates < p.Offered && len(sum.Ended) == 0 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
		if err := take(); err != nil {
			return p, err
		}
	}
	after, err := meter.Read()
	if err != nil {
		return nil, err
	}
	p.take(&sum, after-before)
	select {
	case err = <-published:
		return p, err
	case <-time.After(drained):
		return p, fmt.Errorf("bench: %s does not take commands any more", s.name)
	}
}

// take concludes from what was counted.
func (p *paced) take(sum *swarm.Figures, used time.Duration) {
	ms := func(percentile float64) float64 { return float64(sum.Venue.At(percentile)) / 1e6 }
	p.Delivered, p.P50, p.P99, p.P999, p.Max = sum.Updates, ms(50), ms(99), ms(99.9), float64(sum.Venue.Max())/1e6
	if p.Delivered > 0 {
		p.CPU = float64(used) / 1e3 / float64(p.Delivered)
	}
	for _, ended := range sum.Ended {
		p.Ended += ended
	}
}

// errWrong ends a comparison in which depthcast showed something wrong.
var errWrong = errors.New("bench: a wrong book or a broken chain")
