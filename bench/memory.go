package main

import (
	"context"
	"errors"
	"fmt"
	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
	"io"
	"os"
	"strings"
	"time"
)

// memoryCmd measures (RSS(N) - RSS(0)) / N of `depthcast serve`, fed through Kafka
// by a demo in a process of its own whose market hardly moves.
type memoryCmd struct {
	Depthcast  string        `help:"The depthcast program." default:"bin/depthcast" type:"path" placeholder:"FILE"`
	Conns      int           `help:"Connections, each with one subscription. A server started here that may have 20,000 files open takes 18,848." default:"18000"`
	PerConn    int           `help:"Subscriptions that each has in the end, of different symbols: what the further ones take is the report's last line. The market has 20 symbols." default:"1"`
	TLS        bool          `help:"Over TLS."`
	Idle       time.Duration `help:"How long the connections are idle before the second look." default:"60s"`
	Settle     time.Duration `help:"How long the server is left alone before the first look." default:"10s"`
	Symbol     string        `help:"Symbol to subscribe to." default:"SIM:BTC-USD"`
	Env        []string      `help:"Added to the server's environment." placeholder:"GOGC=50,…"`
	ServerPID  int           `name:"server-pid" help:"Measure this process at --address, instead of starting one." placeholder:"PID"`
	Address    string        `help:"Where the clients of --server-pid connect." placeholder:"HOST:PORT"`
	Profile    string        `help:"Write the server's heap profile at the end, after a collection." type:"path" placeholder:"FILE"`
	MaxBytes   float64       `help:"Fail when a connection takes more. 0: no limit." default:"0"`
	MaxFurther float64       `help:"Fail when a further subscription takes more. 0: no limit." default:"0"`
	JSON       bool          `help:"Print JSON."`
}

// memoryReport is what a run found, in bytes.
type memoryReport struct {
	Setting setting `json:"setting"`
	Conns   int     `json:"conns"`
	TLS     bool    `json:"tls"`
	GOGC    string  `json:"gogc"`
	Idle    string  `json:"idle"`
	Before  int64   `json:"rss_before"`
	Joined  int64   `json:"rss_joined"` // when the last connection had its snapshot
	After   int64   `json:"rss_after"`  // after Idle
	PerConn float64 `json:"bytes_per_connection"`
	Subs    int     `json:"subscriptions_per_connection"` // in the end
	Further int64   `json:"rss_further"`                  // with all subscriptions, after Idle again
	PerSub  float64 `json:"bytes_per_further_subscription"`
	Heap    float64 `json:"heap_in_use_per_connection"` // spans in use; 0 where it is not known
	Stacks  float64 `json:"stacks_per_connection"`
}

// Validate is called by kong.
func (c *memoryCmd) Validate() error {
	if c.Conns < 1 || c.PerConn < 1 {
		return errors.New("--conns and --per-conn must be positive")
	}
	if (c.ServerPID != 0) != (c.Address != "") {
		return errors.New("--server-pid and --address go together")
	}
	if c.ServerPID != 0 && c.Profile != "" {
		return errors.New("--profile is for a server started here; ask the other's admin address for /debug/pprof/heap?gc=1")
	}
	return nil
}

func (c *memoryCmd) Run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &deployment{program: c.Depthcast}
	defer d.stop()
	s, err := c.subject(ctx, d, dir)
	if err != nil {
		return err
	}
	report, err := c.measure(ctx, s)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(os.Stdout, report); err != nil {
			return err
		}
	} else {
		report.print(os.Stdout)
	}
	if c.MaxBytes > 0 && report.PerConn > c.MaxBytes {
		return fmt.Errorf("%w: %.0f bytes per connection; limit %.0f", errLimit, report.PerConn, c.MaxBytes)
	}
	if c.MaxFurther > 0 && report.PerSub > c.MaxFurther {
		return fmt.Errorf("%w: %.0f bytes per further subscription; limit %.0f", errLimit, report.PerSub, c.MaxFurther)
	}
	return nil
}

func (c *memoryCmd) measure(ctx context.Context, s *subject) (*memoryReport, error) {
	r := &memoryReport{Setting: settingNow(), Conns: c.Conns, TLS: c.TLS, GOGC: c.gogc(), Idle: c.Idle.String()}
	// The first connection opens the topic and touches the code.
	first, err := join(ctx, "the first connection", s.to.plan(1))
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, c.Settle, first); err != nil {
		return nil, err
	}
	heap := s.metrics(ctx)
	if r.Before, err = observe.Resident(s.pid); err != nil {
		return nil, err
	}
	plan, err := c.plan(ctx, s)
	if err != nil {
		return nil, err
	}
	all, err := join(ctx, "depthcast serve", plan)
	if err != nil {
		return nil, err
	}
	if r.Joined, err = observe.Resident(s.pid); err != nil {
		return nil, err
	}
	if err := wait(ctx, c.Idle, all); err != nil {
		return nil, err
	}
	if r.After, err = observe.Resident(s.pid); err != nil {
		return nil, err
	}
	for name, value := range s.metrics(ctx) {
		heap[name] = value - heap[name]
	}
	if err := c.further(ctx, r, s, all); err != nil {
		return nil, err
	}
	if c.Profile != "" {
		if err := s.heapProfile(ctx, c.Profile); err != nil {
			return nil, err
		}
	}
	n := float64(c.Conns)
	r.PerConn = float64(r.After-r.Before) / n
	r.Heap, r.Stacks = heap["go_memstats_heap_inuse_bytes"]/n, heap["go_memstats_stack_inuse_bytes"]/n
	return r, nil
}

// plan has all subscriptions but the first of each connection come later.
func (c *memoryCmd) plan(ctx context.Context, s *subject) (swarm.Plan, error) {
	plan := s.to.plan(c.Conns)
	if c.PerConn == 1 {
		return plan, nil
	}
	var err error
	plan.Symbols, err = waitForSymbols(ctx, plan.URLs[0], true, "", nil)
	if err == nil && len(plan.Symbols) < c.PerConn {
		err = fmt.Errorf("bench: --per-conn %d of %d symbols", c.PerConn, len(plan.Symbols))
	}
	plan.PerConn, plan.Later = c.PerConn, c.PerConn-1
	return plan, err
}

// further has the connections begin the rest of their subscriptions.
func (c *memoryCmd) further(ctx context.Context, r *memoryReport, s *subject, all *swarm.Swarm) (err error) {
	r.Subs = c.PerConn
	if c.PerConn == 1 {
		return nil
	}
	if err := all.Begin(swarm.StepMore); err != nil {
		return err
	}
	if err := joined(ctx, all); err != nil {
		return err
	}
	if err := wait(ctx, c.Idle, all); err != nil {
		return err
	}
	if r.Further, err = observe.Resident(s.pid); err != nil {
		return err
	}
	r.PerSub = float64(r.Further-r.After) / float64(c.Conns*(c.PerConn-1))
	return nil
}

// wait lets time pass, unless a connection ends meanwhile.
func wait(ctx context.Context, d time.Duration, s *swarm.Swarm) error {
	select {
	case <-time.After(d):
	case err := <-s.Failed():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
	if f := s.Take().Figures; len(f.Ended)+int(f.Faults) > 0 {
		return fmt.Errorf("bench: connections ended: %v; faults: %d", f.Ended, f.Faults)
	}
	return nil
}

func (c *memoryCmd) gogc() string {
	for _, v := range append([]string{"GOGC=" + os.Getenv("GOGC")}, c.Env...) {
		if value, ok := strings.CutPrefix(v, "GOGC="); ok && value != "" {
			return value
		}
	}
	return "100 (Go's default)"
}

func (r *memoryReport) print(w io.Writer) {
	r.Setting.print(w)
	transport := "plain TCP"
	if r.TLS {
		transport = "TLS"
	}
	const mib = 1 << 20
	fmt.Fprintf(w, "%d connections over %s, one subscription each, GOGC %s\n\n", r.Conns, transport, r.GOGC)
	fmt.Fprintf(w, "resident before %.1f MiB, with all subscribed %.1f MiB, after %s idle %.1f MiB\n",
		float64(r.Before)/mib, float64(r.Joined)/mib, r.Idle, float64(r.After)/mib)
	fmt.Fprintf(w, "%.0f bytes per connection; by the server's metrics %.0f of heap in use, %.0f of stacks\n",
		r.PerConn, r.Heap, r.Stacks)
	if r.Subs > 1 {
		fmt.Fprintf(w, "with %d subscriptions each, after %s idle again %.1f MiB: %.0f bytes per further subscription\n",
			r.Subs, r.Idle, float64(r.Further)/mib, r.PerSub)
	}
}
