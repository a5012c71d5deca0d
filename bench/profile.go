package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/depthcast/depthcast/bench/feed"
	"github.com/depthcast/depthcast/bench/load"
	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
	"github.com/depthcast/depthcast/proto"
)

// loadFlags are those of all profiles.
type loadFlags struct {
	URL      []string `help:"Where to connect: ws://HOST:PORT or wss://HOST:PORT; several take connections in turn." required:"" placeholder:"URL"`
	Insecure bool     `help:"Take any TLS certificate."`

	Conns    int             `short:"n" help:"Connections." default:"1000"`
	PerConn  int             `help:"Subscriptions of each, of different symbols." default:"1"`
	Symbols  []string        `help:"Symbols to subscribe to. Default: those of --feed, else all that the server lists." placeholder:"NAME"`
	Zipf     float64         `help:"Exponent of the symbols' popularity with subscribers (and of their activity with --feed). 0: all alike." default:"0"`
	Depth    []uint32        `help:"Levels a side. 0: all. Of several each subscription has one by chance." default:"10" placeholder:"N"`
	Interval []time.Duration `help:"Least time between deltas that is asked for. Of several each subscription has one by chance." default:"0" placeholder:"TIME"`
	Codec    []string        `help:"Form of the frames: proto or json. Of several each connection has one by chance." enum:"proto,json" default:"proto" placeholder:"NAME"`
	Policy   string          `help:"What the server does with a subscription that reads slowly." enum:"conflate,drop" default:"conflate"`

	Duration    time.Duration `help:"How long the measured phase lasts." default:"30s"`
	RampUp      float64       `help:"Connections opened a second. 0: all at once." default:"1000"`
	JoinWithin  time.Duration `help:"How long it may take until all have their snapshots." default:"2m"`
	Verify      int           `help:"One connection in so many rebuilds its books and compares their hash at every frame. 0: none." default:"100"`
	ProveWithin time.Duration `help:"With --feed: how long the rebuilt books may take to become the feed's, after its end." default:"10s"`
	Evidence    string        `help:"Folder for the evidence of faults." default:"bench-evidence" type:"path" placeholder:"DIR"`

	Processes  int      `help:"Client processes, each with one event loop. More are started where the limit on open files asks for it." default:"1"`
	PerProcess int      `help:"Most connections of a process. 0: what the limit on open files allows." default:"0"`
	Source     []string `help:"Local addresses to connect from. Default for servers at a loopback address: enough of 127.0.0.x for the ports." placeholder:"IP"`
	Seed       uint64   `help:"Seed of what is random." default:"1"`

	PID     []int    `help:"Processes of the server, where it runs on this machine: for CPU and memory." name:"pid" placeholder:"PID"`
	Metrics []string `help:"Addresses of its metrics." placeholder:"http://HOST:9080/metrics"`

	Feed        []string `help:"Kafka brokers to produce to: a feed of its own symbols." placeholder:"HOST:PORT"`
	FeedTLS     bool     `help:"Encrypt connections to these brokers." name:"feed-tls"`
	FeedCA      string   `help:"PEM file with the certificates that theirs must descend from; implies --feed-tls. Default: the system's." name:"feed-ca" type:"existingfile" placeholder:"FILE"`
	FeedCert    string   `help:"PEM file with the certificate to show to them; with --feed-key." type:"existingfile" placeholder:"FILE"`
	FeedKey     string   `help:"PEM file with its key." type:"existingfile" placeholder:"FILE"`
	FeedSASL    string   `help:"SASL mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. The password is taken from BENCH_FEED_PASSWORD." name:"feed-sasl" enum:",PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" default:"" placeholder:"MECHANISM"`
	FeedUser    string   `help:"SASL user." placeholder:"USER"`
	FeedTopic   string   `help:"Kafka topic that the feed writes to; it must exist." default:"depthcast.events"`
	FeedRate    float64  `help:"Records a second, all symbols together." default:"100"`
	FeedSymbols int      `help:"Symbols of the feed." default:"20"`
	FeedLevels  int      `help:"Levels that a record changes." default:"5"`
	FeedDepth   int      `help:"Levels a side of each of its books." default:"50"`

	limitFlags `embed:""`
	outFlags   `embed:""`
}

// limitFlags end the run with status 1 when the measured phase is worse.
type limitFlags struct {
	MaxP50           time.Duration `help:"Limit on latency from publishing to receipt: half of all." group:"Limits" name:"max-p50"`
	MaxP99           time.Duration `help:"… 99 %." group:"Limits" name:"max-p99"`
	MaxP999          time.Duration `help:"… 99.9 %." group:"Limits" name:"max-p999"`
	MaxLatency       time.Duration `help:"… all." group:"Limits"`
	MaxVenueP99      time.Duration `help:"Limit on 99 % of latencies from the venue's time, which --feed sets to the intended one." group:"Limits" name:"max-venue-p99"`
	MaxJoin          time.Duration `help:"Limit on the slowest join: from connecting to the last snapshot." group:"Limits"`
	MaxCPUPerMessage float64       `help:"Limit on the server's CPU for each message received, µs." group:"Limits" name:"max-cpu-per-message"`
	MaxBytesPerConn  float64       `help:"Limit on the server's resident memory for each connection." group:"Limits"`
	MinDelivered     float64       `help:"Least share of the updates offered by --feed that must arrive in the measured phase, such as 0.98." group:"Limits"`
	MinRate          float64       `help:"Least messages a second." group:"Limits"`
	MaxEnded         int           `help:"Most connections that may be ended by the server or the network. -1: any number." default:"0" group:"Limits"`
}

// outFlags say where the report goes, besides the text on standard output.
type outFlags struct {
	JSON  string `help:"Write the report as JSON. -: to standard output, in place of the text." name:"json" placeholder:"FILE"`
	CSV   string `help:"Write one row for each phase." name:"csv" placeholder:"FILE"`
	HTML  string `help:"Write a page with plots, which fetches its drawing library from the network." name:"html" placeholder:"FILE"`
	Quiet bool   `help:"No progress on standard error."`
}

func (f *limitFlags) limits() load.Limits {
	return load.Limits{
		MaxP50: f.MaxP50, MaxP99: f.MaxP99, MaxP999: f.MaxP999, MaxLatency: f.MaxLatency, MaxVenueP99: f.MaxVenueP99, MaxJoin: f.MaxJoin,
		MaxCPUPerMessage: f.MaxCPUPerMessage, MaxBytesPerConn: f.MaxBytesPerConn,
		MinDelivered: f.MinDelivered, MinRate: f.MinRate, MaxEnded: f.MaxEnded,
	}
}

// tokenVariable holds what the clients show at the door: a flag would stand in every
// report.
const tokenVariable = "BENCH_TOKEN"

// config is what the flags say of a load, but for its symbols and feed.
func (f *loadFlags) config(profile load.Profile) (load.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return load.Config{}, err
	}
	c := load.Config{
		Profile: profile, Duration: f.Duration, JoinWithin: f.JoinWithin, ProveWithin: f.ProveWithin, Processes: f.Processes, PerProcess: f.PerProcess,
		Command: []string{self, "worker"}, Server: observe.Server{PIDs: f.PID, Metrics: f.Metrics}, Limits: f.limits(), EvidenceDir: f.Evidence,
		Plan: swarm.Plan{
			URLs: f.URL, Insecure: f.Insecure, Token: os.Getenv(tokenVariable), Codecs: f.codecs(), Depths: f.Depth, IntervalsMS: f.intervals(), PerConn: f.PerConn, Zipf: f.Zipf, Drop: f.Policy == "drop", Conns: f.Conns, RampPerS: f.RampUp,
			Verify: f.Verify, Sources: f.sources(), PerSource: perSource, Seed: f.Seed,
		},
	}
	if !f.Quiet {
		c.Progress = func(line string) { fmt.Fprintln(os.Stderr, line) }
	}
	return c, nil
}

// run carries out a profile.
func (f *loadFlags) run(ctx context.Context, profile load.Profile, burst int, change func(*load.Config)) (err error) {
	c, err := f.config(profile)
	if err != nil {
		return err
	}
	if change != nil {
		change(&c)
	}
	if len(f.Feed) > 0 {
		producer, err := f.feed(ctx, burst)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, closeFeed(ctx, producer)) }()
		c.Feed = producer
	}
	if c.Plan.Symbols, err = f.symbols(ctx); err != nil {
		return err
	}
	return f.conclude(ctx, c)
}

func (f *loadFlags) codecs() (all []proto.Codec) {
	for _, name := range f.Codec {
		if name == "json" {
			all = append(all, proto.CodecJSON)
		} else {
			all = append(all, proto.CodecProto)
		}
	}
	return all
}

func (f *loadFlags) intervals() (all []uint32) {
	for _, d := range f.Interval {
		all = append(all, uint32(d.Milliseconds()))
	}
	return all
}

// conclude runs the load and writes what came of it.
func (f *loadFlags) conclude(ctx context.Context, c load.Config) error {
	report, err := load.Run(ctx, c)
	if err != nil {
		return err
	}
	s := settingNow()
	report.Setting = s
	if err := f.outFlags.write(&s, report); err != nil {
		return err
	}
	if failed := report.Failed(); len(failed) > 0 {
		return fmt.Errorf("%w: %v", errLimit, failed[0])
	}
	return nil
}

func (f *outFlags) write(s *setting, r *load.Report) error {
	if f.JSON != "-" {
		s.print(os.Stdout)
		r.Print(os.Stdout)
	}
	for _, o := range []struct {
		to    string
		write func(io.Writer) error
	}{
		{f.JSON, func(w io.Writer) error { return printJSON(w, r) }},
		{f.CSV, r.WriteCSV},
		{f.HTML, r.WriteHTML},
	} {
		if err := writeTo(o.to, o.write); err != nil {
			return err
		}
	}
	return nil
}

func writeTo(name string, write func(io.Writer) error) error {
	switch name {
	case "":
		return nil
	case "-":
		return write(os.Stdout)
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

// wanted are the symbols that are named, or the feed's, each once and in order; the
// feed and the subscribers mean the same by an index.
func (f *loadFlags) wanted() []string {
	wanted := f.Symbols
	if len(wanted) == 0 && len(f.Feed) > 0 {
		wanted = feed.Symbols(f.FeedSymbols)
	}
	return slices.Compact(slices.Sorted(slices.Values(wanted)))
}

// symbols are those to subscribe to, once the server has them all.
func (f *loadFlags) symbols(ctx context.Context) ([]string, error) {
	wanted := f.wanted()
	for _, text := range f.URL {
		listed, err := waitForSymbols(ctx, text, f.Insecure, os.Getenv(tokenVariable), wanted)
		if err != nil {
			return nil, err
		}
		if len(wanted) == 0 {
			wanted = listed
		}
	}
	return wanted, nil
}

// perSource is how many connections have the same source address: well below the
// number of ephemeral ports, since those of ended connections are taken for a while.
const perSource = 8_000

// sources are the local addresses that the ports are taken from.
func (f *loadFlags) sources() []string {
	if len(f.Source) > 0 || !slices.ContainsFunc(f.URL, loopback) {
		return f.Source
	}
	return loopbacks(f.Conns)
}

func loopback(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false // told when it is used
	}
	ip := net.ParseIP(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || ip != nil && ip.IsLoopback() && ip.To4() != nil
}
