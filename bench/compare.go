package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/depthcast/depthcast/bench/observe"
)

// compareCmd measures depthcast beside other servers and a loop over send(2), all
// driven by the same client and sending the same frames: closed loops in turns, then
// each alone for memory, latency and overload.
type compareCmd struct {
	Depthcast string   `help:"The depthcast program." default:"bin/depthcast" type:"path" placeholder:"FILE"`
	Peers     string   `help:"The program of bench/peers. Default: it is built." type:"path" placeholder:"FILE"`
	Servers   []string `help:"Which to measure besides the limit: serve, fanout, nbio, gobwas, gorilla, centrifuge, coder. Default: all."`

	Conns      int           `help:"Connections to each server in the closed loops." default:"4500"`
	K          []int         `name:"k" help:"Messages published back to back." default:"1,16"`
	Windows    int           `help:"Windows for each server and k. 0: no closed loops." default:"9"`
	Window     time.Duration `help:"Length of a window." default:"400ms"`
	FrameBytes int           `help:"Size of a frame, its header included (of the finished server: about that)." default:"102"`
	Levels     int           `help:"Levels in each frame of the finished server." default:"6"`

	PacedConns int           `help:"Connections to each server for memory, latency and overload." default:"10000"`
	Rate       []float64     `help:"Messages a second for latency, one after the other." default:"10" placeholder:"N"`
	Overload   float64       `help:"Messages a second for overload. 0: none." default:"30"`
	Paced      time.Duration `help:"How long each of these lasts." default:"6s"`
	Rounds     int           `help:"How often each server is measured alone, in turns." default:"1"`
	Settle     time.Duration `help:"How long a server is idle before each look at its memory." default:"5s"`

	ServeFlag []string `help:"Flag for depthcast serve, such as --serve-flag=--batch-delay=1ms." placeholder:"FLAG" sep:"none"`
	ServerCPU int      `help:"Processor of the servers." default:"0" name:"server-cpu"`
	ClientCPU int      `help:"Processor of everything else." default:"1" name:"client-cpu"`
	MaxRatio  float64  `help:"Fail when the median ratio of depthcast to the limit is above it. 0: no limit." default:"0"`
	JSON      string   `help:"Write the figures as JSON." name:"json" placeholder:"FILE" type:"path"`

	dir     string
	frame   []byte // that all send, with its header
	payload []byte // of it
	offset  int    // of the venue's time in frame
}

// compareReport is what a run found. CPU is in µs for each delivered message.
type compareReport struct {
	Setting    setting       `json:"setting"`
	Conns      int           `json:"conns"`
	PacedConns int           `json:"paced_conns"`
	Overload   float64       `json:"overload"`
	Reference  string        `json:"reference"`
	Rows       []*compareRow `json:"servers"`
}

type compareRow struct {
	Server string         `json:"server"`
	Ours   bool           `json:"ours"`
	CPU    map[int]spread `json:"cpu_us"`
	Ratio  map[int]spread `json:"ratio"`                       // to the reference in windows of the same round
	Calls  map[int]spread `json:"sends_per_message,omitempty"` // system calls that send; of depthcast
	Alone  []*alone       `json:"alone"`                       // by round
}

// inGroup is how many servers are alive at a time besides the limit: the client may
// have so many files.
const inGroup = 3

// Validate is called by kong.
func (c *compareCmd) Validate() error {
	if min(c.Conns, c.Windows+1, c.PacedConns, c.FrameBytes, c.Levels, c.Rounds) < 1 || min(c.Window, c.Paced, c.Settle) <= 0 ||
		len(c.Rate) == 0 || slices.Min(c.Rate) <= 0 || c.Overload < 0 || len(c.K) == 0 || slices.Min(c.K) < 1 {
		return errors.New("numbers and durations must be positive")
	}
	if c.Windows == 0 && c.MaxRatio > 0 {
		return errors.New("--max-ratio is held against closed loops, which --windows=0 leaves out")
	}
	for _, key := range c.Servers {
		if !slices.ContainsFunc(entrants[1:], func(e entrant) bool { return e.key == key }) {
			return fmt.Errorf("--servers: there is no %q", key)
		}
	}
	return nil
}

func (c *compareCmd) Run(ctx context.Context) error {
	// Ends the servers, whatever happens.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var err error
	if c.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	defer os.RemoveAll(c.dir)
	if c.Peers == "" {
		if c.Peers, err = buildPeers(ctx, c.dir); err != nil {
			return err
		}
	}
	if err := observe.PinSelf(c.ClientCPU); err != nil {
		return err
	}
	if err := c.sample(ctx); err != nil {
		return err
	}
	r := &compareReport{Setting: settingNow(), Conns: c.Conns, PacedConns: c.PacedConns, Overload: c.Overload}
	if err := c.measure(ctx, r); err != nil {
		return err
	}
	r.print(os.Stdout, c.K)
	if err := writeTo(c.JSON, func(w io.Writer) error { return printJSON(w, r) }); err != nil {
		return err
	}
	return c.judge(r)
}

// chosen are the entrants to measure, without the limit.
func (c *compareCmd) chosen() (all []entrant) {
	for _, e := range entrants[1:] {
		if len(c.Servers) == 0 || slices.Contains(c.Servers, e.key) {
			all = append(all, e)
		}
	}
	return all
}

func (c *compareCmd) measure(ctx context.Context, r *compareReport) error {
	limit := &compareRow{CPU: map[int]spread{}, Ratio: map[int]spread{}}
	r.Rows = append(r.Rows, limit)
	if c.Windows == 0 {
		c.K = nil
		for _, e := range c.chosen() {
			r.Rows = append(r.Rows, &compareRow{Server: e.name})
		}
		return c.allAlone(ctx, r)
	}
	for group := range slices.Chunk(c.chosen(), inGroup) {
		rows, err := c.closedLoops(ctx, limit, group)
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, rows...)
	}
	r.Reference = limit.Server
	return c.allAlone(ctx, r)
}

// allAlone measures one server after the other, in turns. Who begins rotates.
func (c *compareCmd) allAlone(ctx context.Context, r *compareReport) error {
	all := append([]entrant{entrants[0]}, c.chosen()...)
	for round := range c.Rounds {
		for i := range all {
			at := (i + round) % len(all)
			if err := c.alone(ctx, all[at], r.Rows[at]); err != nil {
				return err
			}
		}
	}
	return nil
}

// closedLoops measures a group of servers and the limit, all alive, in turns. The
// limit's own figures are those of the first group.
func (c *compareCmd) closedLoops(ctx context.Context, limit *compareRow, group []entrant) ([]*compareRow, error) {
	var contenders []*contender
	var rows []*compareRow
	for i, e := range append([]entrant{entrants[0]}, group...) {
		s, err := c.enter(ctx, e)
		if err != nil {
			return nil, err
		}
		defer s.stop()
		meter := observe.Meter{Server: s.pid, Softirqd: observe.Softirqd(c.ServerCPU)}
		joined, err := newContender(ctx, s.name, meter, s.plan(c.Conns), s.publish)
		if err != nil {
			return nil, err
		}
		defer joined.swarm.Close()
		joined.tell = s.tell
		contenders = append(contenders, joined)
		if i > 0 {
			rows = append(rows, &compareRow{Server: s.name, Ours: e.ours, CPU: map[int]spread{}, Ratio: map[int]spread{}, Calls: map[int]spread{}})
		}
		limit.Server = contenders[0].name
	}
	fmt.Fprintf(os.Stderr, "closed loops: %s\n", names(contenders))
	if err := runWindows(contenders, c.K, c.Windows, c.Window); err != nil {
		return nil, err
	}
	for _, k := range c.K {
		if _, measured := limit.CPU[k]; !measured {
			limit.CPU[k], limit.Ratio[k] = spreadOf(contenders[0].cpu[k]), spreadOf(contenders[0].ratios(k, contenders[0]))
		}
		for i, row := range rows {
			row.CPU[k], row.Ratio[k] = spreadOf(contenders[i+1].cpu[k]), spreadOf(contenders[i+1].ratios(k, contenders[0]))
			if contenders[i+1].tell != nil {
				row.Calls[k] = spreadOf(contenders[i+1].calls[k])
			}
		}
	}
	return rows, nil
}

// enter starts a server.
func (c *compareCmd) enter(ctx context.Context, e entrant) (*rival, error) {
	s, err := e.start(c, ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.key, err)
	}
	if e.name != "" {
		s.name = e.name
	}
	return s, nil
}

func names(contenders []*contender) string {
	var all []string
	for _, s := range contenders {
		all = append(all, s.name)
	}
	return strings.Join(all, "; ")
}

// judge holds depthcast's ratios against the limit.
func (c *compareCmd) judge(r *compareReport) error {
	for _, row := range r.Rows {
		for _, k := range c.K {
			if ratio := row.Ratio[k].Median; row.Ours && c.MaxRatio > 0 && ratio > c.MaxRatio {
				return fmt.Errorf("%w: %s takes %.3f times the CPU of the %s at k = %d; limit %.2f", errLimit, row.Server, ratio, r.Reference, k, c.MaxRatio)
			}
		}
	}
	return nil
}
