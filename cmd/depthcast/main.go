// Command depthcast streams order books from Kafka to WebSocket clients.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is that of the newest entry of CHANGELOG.md.
const version = "0.1.0"

// cli is the whole command line. Every flag can also be given as an environment
// variable DEPTHCAST_FLAG_NAME, or in a YAML file by --config, in this order.
type cli struct {
	Demo  demoCmd  `cmd:"" help:"Everything in one process: an embedded Kafka-protocol broker, a simulated market that is produced into it, and the server."`
	Serve serveCmd `cmd:"" help:"Read Kafka topics, build the books and serve them."`
	Feed  feedCmd  `cmd:"" help:"Produce market data into Kafka."`
	Watch watchCmd `cmd:"" help:"Subscribe to symbols and print their ladders."`

	Key keyCmd `cmd:"" help:"Draw an API key, and its entry in the file of --auth-keys."`

	ConformanceEcho conformanceEchoCmd `cmd:"" name:"conformance-echo" hidden:"" help:"A WebSocket server that answers every message with itself; make conformance starts it."`

	FanoutBench fanoutBenchCmd `cmd:"" name:"fanout-bench" hidden:"" help:"The fan-out alone, publishing on command; bench delivery starts it."`

	Config    kong.ConfigFlag  `help:"YAML file with flags as keys, such as listen; below the name of a command, only for it." placeholder:"FILE"`
	LogLevel  slog.Level       `help:"Least severe log lines to write: debug, info, warn or error." default:"info"`
	LogFormat string           `help:"Form of log lines: text or json." enum:"text,json" default:"text"`
	Version   kong.VersionFlag `help:"Print the version and exit."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "depthcast:", err)
		os.Exit(1)
	}
}

// run is the program, from its arguments to its end. An interrupt is no error.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c cli
	parser, err := kong.New(&c,
		kong.Name("depthcast"),
		kong.Description("Market data from Kafka to very many WebSocket subscribers: order books, provably right."),
		kong.DefaultEnvars("DEPTHCAST"),
		kong.Configuration(loadFlags),
		kong.ValueFormatter(helpOf),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr),
		kong.Vars{"version": "depthcast " + version},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindTo(stdout, (*io.Writer)(nil)),
	)
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("%w (depthcast --help lists commands and flags)", err)
	}
	slog.SetDefault(slog.New(logHandler(stderr, c.LogFormat, c.LogLevel)))
	if err := parsed.Run(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// helpOf shows a flag's default also where a placeholder stands for its value.
func helpOf(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.Flag == nil || v.Default == "" || v.Flag.PlaceHolder == "" {
		return help
	}
	return fmt.Sprintf("%s Default: %s.", help, v.Default)
}

func logHandler(w io.Writer, format string, level slog.Level) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}
