package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/depthcast/depthcast/bench/feed"
	"github.com/depthcast/depthcast/bench/load"
)

// fleetCmd starts a broker with a feed and several servers that share a port, and
// loads them: as many connections as one machine bears.
type fleetCmd struct {
	Depthcast string        `help:"The depthcast program." default:"bin/depthcast" type:"path" placeholder:"FILE"`
	Gateways  int           `help:"Servers that share the port (--reuse-port). 0: as many as the limit on open files asks for." default:"0"`
	Conns     int           `short:"n" help:"Connections." default:"100000"`
	Symbols   int           `help:"Symbols." default:"20"`
	PerConn   int           `help:"Subscriptions of each connection, of different symbols." default:"1"`
	Rate      float64       `help:"Records a second, all symbols together: each goes to the connections of its symbol." default:"10"`
	Depth     uint32        `help:"Levels a side." default:"10"`
	RampUp    float64       `help:"Connections opened a second." default:"2500"`
	Duration  time.Duration `help:"How long all are connected and served." default:"60s"`
	Verify    int           `help:"One connection in so many rebuilds its book. 0: none." default:"100"`
	Restart   bool          `help:"Then kill the servers without goodbye, start them again, and wait until all connections are back."`
	ServeFlag []string      `help:"Flag for each depthcast serve, such as --serve-flag=--batch-delay=1ms." placeholder:"FLAG" sep:"none"`
	Evidence  string        `help:"Folder for the evidence of faults." default:"bench-evidence" type:"path" placeholder:"DIR"`

	limitFlags `embed:""`
	outFlags   `embed:""`
}

// perGateway is how many connections a server bears under this machine's limit on
// open files, with room for an uneven spread: depthcast keeps 2560 for itself.
func perGateway() int { return max(1, (load.PerProcess()-2560)*9/10) }

// Validate is called by kong.
func (c *fleetCmd) Validate() error {
	if c.Conns < 1 || c.Gateways < 0 || c.PerConn < 1 || c.Symbols < c.PerConn || c.Rate <= 0 || c.RampUp <= 0 {
		return errors.New("--conns, --per-conn, --rate and --ramp-up must be positive, and there must be as many --symbols as --per-conn")
	}
	if c.Gateways == 0 {
		c.Gateways = (c.Conns + perGateway() - 1) / perGateway()
	}
	return nil
}

func (c *fleetCmd) Run(ctx context.Context) (err error) {
	d := &deployment{program: c.Depthcast}
	defer d.stop()
	if err := d.startBroker(ctx); err != nil {
		return err
	}
	producer, err := feed.Open(ctx, feed.Config{Brokers: []string{d.broker}, Symbols: feed.Symbols(c.Symbols), Rate: c.Rate})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFeed(ctx, producer)) }()
	f := loadFlags{
		Conns: c.Conns, PerConn: c.PerConn, Depth: []uint32{c.Depth}, Policy: "conflate", Duration: c.Duration, RampUp: c.RampUp,
		JoinWithin: time.Duration(float64(c.Conns)/c.RampUp*1e9) + 2*time.Minute, Verify: c.Verify, Evidence: c.Evidence, Processes: 1, Seed: 1,
		Symbols: feed.Symbols(c.Symbols), limitFlags: c.limitFlags, outFlags: c.outFlags,
	}
	listen, pids, err := c.start(ctx, d, "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d servers share %s\n", c.Gateways, listen)
	f.PID, f.URL = pids, []string{"ws://" + listen}
	if c.Restart {
		f.MaxEnded = -1
	}
	return f.run(ctx, load.Steady, 1, func(l *load.Config) {
		l.Feed = producer
		if c.Restart {
			l.Restart = func(ctx context.Context) ([]int, error) {
				d.kill(pids)
				_, pids, err = c.start(ctx, d, listen)
				return pids, err
			}
		}
	})
}

// start starts the servers, of which one writes checkpoints.
func (c *fleetCmd) start(ctx context.Context, d *deployment, listen string) (address string, pids []int, err error) {
	checkpoints := "write"
	for range c.Gateways {
		flags := append([]string{"--reuse-port", "--listen=" + listen, "--checkpoints=" + checkpoints}, c.ServeFlag...)
		p, err := d.serve(ctx, -1, nil, flags...)
		if err != nil {
			return "", nil, err
		}
		listen, checkpoints = p.address, "read"
		pids = append(pids, p.pid)
	}
	return listen, pids, nil
}
