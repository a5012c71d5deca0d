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
)

// errLimit ends a run whose figures are worse than asked for.
var errLimit = errors.New("bench: over the limit")

type cli struct {
	Delivery deliveryCmd `cmd:"" help:"CPU time of the server for each delivered message, beside that of a loop over send(2)."`
	Memory   memoryCmd   `cmd:"" help:"Resident memory of the server for each idle connection with one subscription."`
	Peer     struct {
		SendLoop sendLoopCmd `cmd:"" help:"A loop over sendto(2)."`
	} `cmd:"" hidden:"" help:"Servers to compare with."`
}

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
