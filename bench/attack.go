package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/depthcast/depthcast/bench/attack"
	"github.com/depthcast/depthcast/bench/feed"
	"github.com/depthcast/depthcast/bench/load"
	"github.com/depthcast/depthcast/bench/observe"
)

// attackCmd attacks a server in one way after the other while honest subscribers
// follow it, and fails when they notice more than they may.
type attackCmd struct {
	Depthcast string   `help:"The depthcast program, which is started with a broker and a feed where no --url is given." default:"bin/depthcast" type:"path" placeholder:"FILE"`
	URL       string   `help:"Attack this server, which must be your own: ws://HOST:PORT or wss://HOST:PORT." placeholder:"URL"`
	Insecure  bool     `help:"Take any TLS certificate."`
	PID       int      `help:"With --url: its process, where it runs on this machine: for memory." name:"pid" placeholder:"PID"`
	Metrics   string   `help:"With --url: the address of its metrics." placeholder:"http://HOST:9080/metrics"`
	Symbols   []string `help:"With --url: symbols to follow. Default: all that the server lists." placeholder:"NAME"`

	Attack    []string `help:"Which attacks: slowloris, handshakes, ping, churn, snapshots, bytes, bigframe, bomb, stall, log, connections, garbage. Default: all." placeholder:"NAME"`
	Attackers int      `help:"Connections that attack at a time. 0: as many as each attack is known to need." default:"0"`
	From      int      `help:"Addresses that the attackers come from, where the server is at a loopback address." default:"4"`

	Conns      int           `short:"n" help:"Honest subscribers." default:"1000"`
	Depth      uint32        `help:"Levels a side that they follow." default:"10"`
	FeedRate   float64       `help:"Records a second of the feed, all symbols together." default:"200"`
	FeedSyms   int           `help:"Symbols of the feed." name:"feed-symbols" default:"20"`
	Newcomers  float64       `help:"Honest subscribers that leave and come anew a second, to see who still gets in." default:"5"`
	Verify     int           `help:"One honest subscriber in so many rebuilds its books." default:"10"`
	Length     time.Duration `help:"How long each attack lasts." default:"12s"`
	Calm       time.Duration `help:"How long nobody attacks before and after each." default:"3s"`
	Evidence   string        `help:"Folder for the evidence of faults." default:"bench-evidence" type:"path" placeholder:"DIR"`
	ServeFlag  []string      `help:"Flag for depthcast serve, such as --serve-flag=--max-conns=4000." placeholder:"FLAG" sep:"none"`
	ServerCPU  int           `help:"Processor of the server that is started here. -1: any." default:"0" name:"server-cpu"`
	ClientCPU  int           `help:"Processor of everything else. -1: any." default:"1" name:"client-cpu"`
	MaxRatio   float64       `help:"Fail when the honest subscribers' p99 during an attack is more than so many times that before the first. 0: no limit." default:"4"`
	Noticeable time.Duration `help:"… unless it is below this." default:"50ms"`
	MaxMemory  int64         `help:"Fail when the server's resident memory ever grows by more bytes than this above that before the first attack. 0: no limit." default:"268435456"`

	JSON  string `help:"Write the figures as JSON. -: to standard output, in place of the table." name:"json" placeholder:"FILE"`
	Quiet bool   `help:"No progress on standard error."`

	log serverLog // of a server that was started here
}

// Validate is called by kong.
func (c *attackCmd) Validate() error {
	for _, name := range c.Attack {
		if attack.Named(name) == nil {
			return fmt.Errorf("--attack: there is no %q; there are %v", name, attack.Names())
		}
	}
	if c.Conns < 1 || c.From < 1 || c.From > 200 || c.Attackers < 0 || c.Length <= 0 || c.Calm <= 0 || c.FeedRate <= 0 || c.FeedSyms < 1 || min(c.MaxRatio, c.Newcomers) < 0 || c.MaxMemory < 0 {
		return errors.New("numbers and durations must be positive, and --from at most 200")
	}
	if c.URL == "" && (c.PID != 0 || c.Metrics != "" || len(c.Symbols) > 0) {
		return errors.New("--pid, --metrics and --symbols are those of --url")
	}
	return nil
}

func (c *attackCmd) Run(ctx context.Context) (err error) {
	f := &loadFlags{
		Conns: c.Conns, PerConn: 1, Depth: []uint32{c.Depth}, Policy: "conflate", Duration: c.Length, RampUp: 1000, JoinWithin: time.Minute,
		ProveWithin: 30 * time.Second, Verify: c.Verify, Evidence: c.Evidence, Processes: 1, Seed: 1, outFlags: outFlags{Quiet: c.Quiet},
		URL: []string{c.URL}, Insecure: c.Insecure, Symbols: c.Symbols,
	}
	d := &deployment{program: c.Depthcast}
	defer d.stop()
	var producer *feed.Feed
	if c.URL == "" {
		if producer, err = c.start(ctx, d, f); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeFeed(ctx, producer)) }()
	} else {
		if c.PID != 0 {
			f.PID = []int{c.PID}
		}
		if c.Metrics != "" {
			f.Metrics = []string{c.Metrics}
		}
	}
	config, err := f.config(load.Siege)
	if err != nil {
		return err
	}
	if producer != nil {
		config.Feed = producer
	}
	if config.Plan.Symbols, err = f.symbols(ctx); err != nil {
		return err
	}
	return c.siege(ctx, config)
}

// besieged are the flags of the server that is started here: no address of this machine
// is exempt from what addresses may have (nobody is at that of TEST-NET-1), or the
// attackers would be.
var besieged = []string{"--listen=127.0.0.1:0", "--log-level=info", "--exempt-address=192.0.2.1"}

// start starts a broker with a feed and the server, each on its processor.
func (c *attackCmd) start(ctx context.Context, d *deployment, f *loadFlags) (*feed.Feed, error) {
	if c.ClientCPU >= 0 {
		if err := observe.PinSelf(c.ClientCPU); err != nil {
			return nil, err
		}
	}
	if err := d.startBroker(ctx); err != nil {
		return nil, err
	}
	d.stderr = &c.log // the server's alone
	f.Symbols = feed.Symbols(c.FeedSyms)
	producer, err := feed.Open(ctx, feed.Config{Brokers: []string{d.broker}, Symbols: f.Symbols, Rate: c.FeedRate})
	if err != nil {
		return nil, err
	}
	p, err := d.serve(ctx, c.ServerCPU, nil, append(besieged, c.ServeFlag...)...)
	if err != nil {
		return nil, errors.Join(err, closeFeed(ctx, producer))
	}
	f.URL, f.PID, f.Metrics = []string{"ws://" + p.address}, []int{p.pid}, []string{p.admin + "/metrics"}
	return producer, nil
}

// siege makes the attacks, prints the table and judges it.
func (c *attackCmd) siege(ctx context.Context, config load.Config) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := []string{self, "attacker"}
	if c.URL == "" && c.ClientCPU >= 0 {
		command = append(command, "--yield") // the processor is that of the honest ones, too
	}
	config.Calm, config.Plan.ChurnConns = c.Calm, c.Newcomers
	var from []string
	if loopback(config.Plan.URLs[0]) {
		// Honest ones come from many addresses, as they do, and not from those of the others.
		config.Plan.Sources, config.Plan.PerSource = honestSources, 16
		from = attackSources[:c.From]
	}
	var all []*attackRun
	for _, name := range attack.Names() {
		if len(c.Attack) > 0 && !slices.Contains(c.Attack, name) {
			continue
		}
		a := &attackRun{command: command, server: config.Server, log: &c.log, config: attack.Config{
			Kind: name, URL: config.Plan.URLs[0], Insecure: c.Insecure, Token: config.Plan.Token, Symbols: config.Plan.Symbols[:min(100, len(config.Plan.Symbols))],
			Sources: from, Conns: c.Attackers, Length: c.Length + overWithin, // it is ended before
		}}
		all = append(all, a)
		config.Attacks = append(config.Attacks, a)
	}
	report, err := load.Run(ctx, config)
	if err != nil {
		return err
	}
	r := c.report(report, all)
	if c.JSON != "-" {
		r.print(os.Stdout)
	}
	if err := writeTo(c.JSON, r.writeJSON); err != nil {
		return err
	}
	if failed := r.failed(); failed != "" {
		return fmt.Errorf("%w: %s", errLimit, failed)
	}
	return nil
}

// Addresses of this machine that the two sides come from: 127.0.2.1 and on, and
// 127.0.3.1 and on.
var honestSources, attackSources = loopbackBlock(2), loopbackBlock(3)

func loopbackBlock(block int) (all []string) {
	for i := range 200 {
		all = append(all, fmt.Sprintf("127.0.%d.%d", block, i+1))
	}
	return all
}

// serverLog counts what a server logs, and shows it from a panic on. The copier
// of its standard error alone writes to it.
type serverLog struct {
	bytes atomic.Int64
	fatal bool
}

func (l *serverLog) Write(b []byte) (int, error) {
	l.bytes.Add(int64(len(b)))
	l.fatal = l.fatal || bytes.Contains(b, []byte("panic: ")) || bytes.Contains(b, []byte("fatal error: "))
	if l.fatal {
		return os.Stderr.Write(b)
	}
	return len(b), nil
}

// attackerCmd is the process that makes an attack: its leader tells it which one over
// standard input, whose end says that it is enough, and hears what came of it on
// standard output.
type attackerCmd struct {
	Yield bool `help:"Take only what other processes leave of the processor."`
}

func (c attackerCmd) Run(ctx context.Context) error {
	if c.Yield {
		if err := observe.Yield(); err != nil {
			return err
		}
	}
	orders := json.NewDecoder(os.Stdin)
	var config attack.Config
	if err := orders.Decode(&config); err != nil {
		return err
	}
	enough := make(chan struct{})
	go func() {
		defer close(enough)
		var more any
		_ = orders.Decode(&more) // its end is what is waited for
	}()
	result, err := attack.Run(ctx, config, enough)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
