// Command bench measures depthcast from outside: what a delivery costs the server,
// and what a connection takes of its memory. It shares none of the fan-out's logic.
// Each command prints its figures with their spread, as text or as JSON, and ends
// with status 1 when a limit given by flag is exceeded. Linux only.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/depthcast/depthcast/bench/load"
)

// errLimit ends a run whose figures are worse than asked for.
var errLimit = errors.New("bench: over the limit")

type cli struct {
	Steady steadyCmd `cmd:"" help:"Load: all connections read all the time." group:"Load"`
	Burst  burstCmd  `cmd:"" help:"Load: the feed produces in bursts. Needs --feed." group:"Load"`
	Churn  churnCmd  `cmd:"" help:"Load: subscriptions and connections leave and join." group:"Load"`
	Storm  stormCmd  `cmd:"" help:"Load: all connect at once, and again." group:"Load"`
	Slow   slowCmd   `cmd:"" help:"Load: a share of the connections read slowly, or not at all; what the others notice." group:"Load"`
	Idle   idleCmd   `cmd:"" help:"Load: connections only stay. What they take of the server's memory." group:"Load"`
	Resume resumeCmd `cmd:"" help:"Load: connections break, come back and resume." group:"Load"`
	Worker workerCmd `cmd:"" hidden:"" help:"A client process of a load."`

	Attack   attackCmd   `cmd:"" help:"Attack a server, your own, in many ways while honest subscribers follow it."`
	Attacker attackerCmd `cmd:"" hidden:"" help:"The process that makes an attack."`
	Compare  compareCmd  `cmd:"" help:"Depthcast beside other servers and a loop over send(2): CPU, memory, latency, overload."`
	Fleet    fleetCmd    `cmd:"" help:"Load on several servers that share a port, with a broker and a feed: all started here."`
	Delivery deliveryCmd `cmd:"" help:"CPU time of the server for each delivered message, beside that of a loop over send(2)."`
	Memory   memoryCmd   `cmd:"" help:"Resident memory of the server for each idle connection with one subscription."`
	Peer     struct {
		SendLoop sendLoopCmd `cmd:"" help:"A loop over sendto(2)."`
	} `cmd:"" hidden:"" help:"Servers to compare with."`
}

// workerCmd is a client process of a load: its leader talks to it over standard
// input and output.
type workerCmd struct{}

func (workerCmd) Run(ctx context.Context) error { return load.Work(ctx, os.Stdin, os.Stdout) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parsed := kong.Parse(&c, kong.Name("bench"), kong.Description("Measures depthcast from outside."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}
