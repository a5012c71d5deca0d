package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// deliveryCmd compares depthcast with a loop over send(2), both alive, window by
// window in turns: the machine's speed drifts, ratios of neighbouring windows do not.
//
// In a window the client has k messages published back to back, waits until every
// connection has all of them, and does that again. The server has one processor for
// itself, the client another.
type deliveryCmd struct {
	Depthcast  string        `help:"The depthcast program." default:"bin/depthcast" type:"existingfile" placeholder:"FILE"`
	Against    []string      `help:"Other builds of depthcast, measured in the same run." type:"existingfile" placeholder:"FILE,…"`
	Conns      int           `help:"Connections to each server." default:"4500"`
	K          []int         `name:"k" help:"Messages published back to back." default:"1,16"`
	Rate       float64       `help:"Publish no more often than so many times a second, so that servers idle in between. 0: as soon as all have the last." default:"0" placeholder:"HZ"`
	FrameBytes int           `help:"Size of a frame, its header included." default:"102"`
	Windows    int           `help:"Windows for each server and k." default:"15"`
	Window     time.Duration `help:"Length of a window." default:"400ms"`
	ServerCPU  int           `help:"Processor of the servers." default:"0" name:"server-cpu"`
	ClientCPU  int           `help:"Processor of the client." default:"1" name:"client-cpu"`
	Env        []string      `help:"Added to depthcast's environment." placeholder:"GOMAXPROCS=2,…"`
	CPUProfile string        `name:"cpu-profile" help:"Have --depthcast write a CPU profile. It costs a little." placeholder:"FILE" type:"path"`
	MaxRatio   float64       `help:"Fail when the median ratio to the reference is above it. 0: no limit." default:"0"`
	JSON       bool          `help:"Print JSON."`

	servers []*server // that were started
}

// deliveryReport is what a run found. Costs are µs of CPU for each delivered message.
type deliveryReport struct {
	Setting   setting        `json:"setting"`
	Conns     int            `json:"conns"`
	Bytes     int            `json:"frame_bytes"`
	Reference string         `json:"reference"`
	Softirqd  bool           `json:"with_ksoftirqd"`
	Results   []deliveryLine `json:"results"`
}

type deliveryLine struct {
	Server string `json:"server"`
	K      int    `json:"k"`
	CPU    spread `json:"cpu_us"`
	Ratio  spread `json:"ratio"`
	Rate   spread `json:"deliveries_per_s"`
	Sleeps spread `json:"client_sleeps_per_delivery"`
	// Means over all windows: the runtime counts allocations in steps.
	Allocs *float64 `json:"allocations_per_delivery,omitempty"`
	Calls  *float64 `json:"calls_per_delivery,omitempty"`
}

// Validate is called by kong.
func (c *deliveryCmd) Validate() error {
	if c.Conns < 1 || c.Windows < 1 || c.Window <= 0 || len(c.K) == 0 || slices.Min(c.K) < 1 || c.Rate < 0 {
		return errors.New("--conns, --windows, --window and every --k must be positive")
	}
	return nil
}

func (c *deliveryCmd) Run(ctx context.Context) error {
	// Ends the servers, whatever happens.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := observe.PinSelf(c.ClientCPU); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	report := deliveryReport{Setting: settingNow(), Conns: c.Conns, Bytes: c.FrameBytes}
	contenders, err := c.start(ctx, dir)
	if err != nil {
		return err
	}
	if c.Rate > 0 {
		for _, s := range contenders {
			s.publish = paceBy(c.Rate, s.publish)
		}
	}
	if err := runWindows(contenders, c.K, c.Windows, c.Window); err != nil {
		return err
	}
	for _, s := range c.servers {
		if err := s.stop(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	report.Softirqd = contenders[0].meter.Softirqd != 0
	c.conclude(&report, contenders)
	if c.JSON {
		err = printJSON(os.Stdout, report)
	} else {
		report.print(os.Stdout)
	}
	if err != nil {
		return err
	}
	return c.judge(&report)
}

// paceBy returns publish as it is called at the next moment of a fixed rate. What
// was published before has arrived everywhere, so the client has nothing else to do.
func paceBy(rate float64, publish func(k int) error) func(k int) error {
	every := time.Duration(float64(time.Second) / rate)
	return func(k int) error {
		now := time.Now()
		time.Sleep(time.Until(now.Truncate(every).Add(every)))
		return publish(k)
	}
}

// start starts the servers and connects to each, the references first: whichever
// comes first of all measures a few percent slower than it does later. Which is
// returned first is depthcast, then the references, which send what it sends.
func (c *deliveryCmd) start(ctx context.Context, dir string) ([]*contender, error) {
	frame, err := c.frame(ctx)
	if err != nil {
		return nil, err
	}
	loops, err := sendLoops(ctx, dir)
	if err != nil {
		return nil, err
	}
	contenders := make([]*contender, 1, 4)
	for _, l := range loops {
		s, err := c.startServer(ctx, l.name, nil, append(l.command, hex.EncodeToString(frame))...)
		if err != nil {
			return nil, err
		}
		loop, err := c.join(ctx, s, swarm.Plan{URLs: []string{"ws://" + s.address}, Dialect: swarm.Frames, Conns: c.Conns})
		if err != nil {
			return nil, err
		}
		contenders = append(contenders, loop)
	}
	var flags []string
	if c.CPUProfile != "" {
		flags = append(flags, "--cpu-profile="+c.CPUProfile)
	}
	if contenders[0], err = c.joinDepthcast(ctx, "depthcast, fan-out alone", c.Depthcast, c.Env, flags); err != nil {
		return nil, err
	}
	for _, program := range c.Against {
		other, err := c.joinDepthcast(ctx, filepath.Base(program), program, c.Env, nil)
		if err != nil {
			return nil, err
		}
		contenders = append(contenders, other)
	}
	return contenders, nil
}

// frame returns a frame as depthcast sends them, from one that is stopped again.
func (c *deliveryCmd) frame(ctx context.Context) ([]byte, error) {
	s, err := c.startDepthcast(ctx, "depthcast", c.Depthcast, c.Env, nil)
	if err != nil {
		return nil, err
	}
	t := target{address: s.address, symbol: benchSymbol}
	frame, err := t.sample(ctx, s.publish)
	if err != nil {
		return nil, fmt.Errorf("bench: %s: %w", s.name, err)
	}
	if len(frame) != c.FrameBytes {
		return nil, fmt.Errorf("bench: %s sends frames of %d bytes, not %d", s.name, len(frame), c.FrameBytes)
	}
	c.servers = c.servers[:len(c.servers)-1]
	return frame, s.stop()
}

func (c *deliveryCmd) startServer(ctx context.Context, name string, env []string, command ...string) (*server, error) {
	s, err := startServer(ctx, name, c.ServerCPU, env, command...)
	if err == nil {
		c.servers = append(c.servers, s)
	}
	return s, err
}

func (c *deliveryCmd) startDepthcast(ctx context.Context, name, program string, env, flags []string) (*server, error) {
	command := append([]string{program, "fanout-bench", fmt.Sprintf("--frame-bytes=%d", c.FrameBytes)}, flags...)
	return c.startServer(ctx, name, env, command...)
}

// joinDepthcast starts one build and connects to it.
func (c *deliveryCmd) joinDepthcast(ctx context.Context, name, program string, env, flags []string) (*contender, error) {
	s, err := c.startDepthcast(ctx, name, program, env, flags)
	if err != nil {
		return nil, err
	}
	t := target{address: s.address, symbol: benchSymbol}
	joined, err := c.join(ctx, s, t.plan(c.Conns))
	if err != nil {
		return nil, err
	}
	joined.tell = s.counters
	return joined, nil
}

// benchSymbol is the one that `depthcast fanout-bench` has.
const benchSymbol = "SIM:BENCH"

// join makes a contender of a server that was started.
func (c *deliveryCmd) join(ctx context.Context, s *server, plan swarm.Plan) (*contender, error) {
	return newContender(ctx, s.name, observe.Meter{Server: s.cmd.Process.Pid, Softirqd: observe.Softirqd(c.ServerCPU)}, plan, s.publish)
}

// conclude relates every window to the reference's of the same round.
func (c *deliveryCmd) conclude(r *deliveryReport, contenders []*contender) {
	reference := contenders[1]
	r.Reference = reference.name
	for _, k := range c.K {
		for _, s := range contenders {
			line := deliveryLine{Server: s.name, K: k, CPU: spreadOf(s.cpu[k]), Ratio: spreadOf(s.ratios(k, reference)), Rate: spreadOf(s.rate[k]), Sleeps: spreadOf(s.sleeps[k])}
			if s.tell != nil {
				allocs, calls := mean(s.allocs[k]), mean(s.calls[k])
				line.Allocs, line.Calls = &allocs, &calls
			}
			r.Results = append(r.Results, line)
		}
	}
}

func (r *deliveryReport) print(w io.Writer) {
	r.Setting.print(w)
	with := "and ksoftirqd's"
	if !r.Softirqd {
		with = "(ksoftirqd cannot be seen here)"
	}
	fmt.Fprintf(w, "%d connections, frames of %d bytes; CPU is the server's own clock %s, in µs for each delivered message;\n"+
		"ratio to the %s of the same round\n\n", r.Conns, r.Bytes, with, r.Reference)
	fmt.Fprintf(w, "%-26s %3s  %7s  %7s  %-15s %-15s %12s %8s %8s %8s\n",
		"server", "k", "CPU", "ratio", "half within", "all within", "deliveries/s", "sleeps", "calls", "allocs")
	for _, l := range r.Results {
		calls, allocs := "", ""
		if l.Allocs != nil {
			calls, allocs = fmt.Sprintf("%.4f", *l.Calls), fmt.Sprintf("%.5f", *l.Allocs)
		}
		fmt.Fprintf(w, "%-26s %3d  %7.3f  %7.3f  %-15s %-15s %12.0f %8.4f %8s %8s\n", l.Server, l.K, l.CPU.Median, l.Ratio.Median,
			l.Ratio.middle(), l.Ratio.reach(), l.Rate.Median, l.Sleeps.Median, calls, allocs)
	}
	fmt.Fprintln(w, "\ncalls and allocs: sendto calls made and objects allocated for each delivered message, as the server counts them")
}

// judge holds depthcast's ratios against the limit.
func (c *deliveryCmd) judge(r *deliveryReport) error {
	if c.MaxRatio == 0 {
		return nil
	}
	for i, l := range r.Results {
		if i%(len(r.Results)/len(c.K)) == 0 && l.Ratio.Median > c.MaxRatio {
			return fmt.Errorf("%w: %s takes %.3f times the CPU of the %s at k = %d; limit %.2f", errLimit, l.Server, l.Ratio.Median, r.Reference, l.K, c.MaxRatio)
		}
	}
	return nil
}
