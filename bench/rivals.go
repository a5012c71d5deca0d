package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/bench/feed"
	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
)

// rival is a server at work: how to connect to it and how to have it publish.
type rival struct {
	name      string
	pid       int
	plan      func(n int) swarm.Plan
	publish   func(k int) error
	publishAt func(k int, intended time.Time) error
	tell      func() (counters, error) // nil: it has no counters
	stop      func() error
}

// entrant is a way to start a server.
type entrant struct {
	key, name string
	ours      bool // held against the limit
	start     func(c *compareCmd, ctx context.Context) (*rival, error)
}

// entrants are all that can be compared, the limit first.
var entrants = []entrant{
	{"limit", "", false, (*compareCmd).startLoop},
	{"serve", "depthcast, finished, through Kafka", true, (*compareCmd).startServe},
	{"fanout", "depthcast, fan-out alone", true, (*compareCmd).startFanout},
	{"nbio", "nbio", false, startPeer("nbio", swarm.WebSocket)},
	{"gobwas", "gobwas/ws, goroutine per connection", false, startPeer("gobwas", swarm.WebSocket)},
	{"gorilla", "gorilla hub, PreparedMessage", false, startPeer("gorilla", swarm.WebSocket)},
	{"centrifuge", "centrifuge", false, startPeer("centrifuge", swarm.Centrifuge)},
	{"coder", "coder/websocket", false, startPeer("coder", swarm.WebSocket)},
}

// rivalPlan is the plan for n connections to one server here.
func rivalPlan(address string, dialect swarm.Dialect, n int) swarm.Plan {
	return swarm.Plan{URLs: []string{"ws://" + address}, Dialect: dialect, Conns: n, Sources: loopbacks(n), PerSource: perSource}
}

// ofServer is a rival that takes commands on its standard input.
func ofServer(s *server, plan func(n int) swarm.Plan) *rival {
	return &rival{
		name: s.name, pid: s.cmd.Process.Pid, plan: plan, stop: s.stop,
		publish:   func(k int) error { return s.publishAt(k, time.Now()) },
		publishAt: s.publishAt,
	}
}

func (c *compareCmd) startFanout(ctx context.Context) (*rival, error) {
	s, err := startServer(ctx, "depthcast, fan-out alone", c.ServerCPU, nil, c.Depthcast, "fanout-bench", fmt.Sprintf("--frame-bytes=%d", c.FrameBytes))
	if err != nil {
		return nil, err
	}
	t := target{address: s.address, symbol: benchSymbol}
	r := ofServer(s, t.plan)
	r.tell = s.counters
	return r, nil
}

func (c *compareCmd) startLoop(ctx context.Context) (*rival, error) {
	loops, err := sendLoops(ctx, c.dir)
	if err != nil {
		return nil, err
	}
	s, err := startServer(ctx, loops[0].name, c.ServerCPU, nil, append(loops[0].command, hex.EncodeToString(c.frame), strconv.Itoa(c.offset))...)
	if err != nil {
		return nil, err
	}
	return ofServer(s, func(n int) swarm.Plan { return rivalPlan(s.address, swarm.Frames, n) }), nil
}

// startPeer starts one of bench/peers.
func startPeer(name string, dialect swarm.Dialect) func(*compareCmd, context.Context) (*rival, error) {
	return func(c *compareCmd, ctx context.Context) (*rival, error) {
		header := len(c.frame) - len(c.payload)
		s, err := startServer(ctx, name, c.ServerCPU, nil, c.Peers, name, hex.EncodeToString(c.payload), strconv.Itoa(c.offset-header))
		if err != nil {
			return nil, err
		}
		return ofServer(s, func(n int) swarm.Plan { return rivalPlan(s.address, dialect, n) }), nil
	}
}

// startServe starts a broker, a server and a feed without a rate. The broker and the
// feed run beside the client.
func (c *compareCmd) startServe(ctx context.Context) (_ *rival, err error) {
	d := &deployment{program: c.Depthcast}
	defer func() {
		if err != nil {
			d.stop()
		}
	}()
	if err := d.startBroker(ctx); err != nil {
		return nil, err
	}
	symbols := feed.Symbols(1)
	producer, err := feed.Open(ctx, feed.Config{Brokers: []string{d.broker}, Symbols: symbols, Levels: c.Levels})
	if err != nil {
		return nil, err
	}
	p, err := d.serve(ctx, c.ServerCPU, nil, append([]string{"--listen=127.0.0.1:0"}, c.ServeFlag...)...)
	if err != nil {
		return nil, errors.Join(err, closeFeed(ctx, producer))
	}
	if _, err := waitForSymbols(ctx, "ws://"+p.address, false, "", symbols); err != nil {
		return nil, errors.Join(err, closeFeed(ctx, producer))
	}
	t := target{address: p.address, symbol: symbols[0]}
	return &rival{
		pid: p.pid, plan: t.plan,
		publish:   func(k int) error { return producer.Publish(0, k, time.Now()) },
		publishAt: func(k int, at time.Time) error { return producer.Publish(0, k, at) },
		tell: func() (counters, error) {
			u, err := (&observe.Server{Metrics: []string{p.admin + "/metrics"}}).Read(ctx)
			return counters{frames: u.Frames, calls: u.Sends}, err
		},
		stop: func() error {
			defer d.stop()
			return closeFeed(ctx, producer)
		},
	}, nil
}

// sample takes from depthcast the frame that all others send, and finds the place of
// the venue's time in it.
func (c *compareCmd) sample(ctx context.Context) error {
	s, err := startServer(ctx, "depthcast, fan-out alone", c.ServerCPU, nil, c.Depthcast, "fanout-bench", fmt.Sprintf("--frame-bytes=%d", c.FrameBytes))
	if err != nil {
		return err
	}
	t, at := target{address: s.address, symbol: benchSymbol}, time.Now()
	c.frame, err = t.sample(ctx, func(k int) error { return s.publishAt(k, at) })
	if err := errors.Join(err, s.stop()); err != nil {
		return fmt.Errorf("bench: a frame of depthcast's: %w", err)
	}
	h, err := ws.ReadHeader(bytes.NewReader(c.frame))
	if err != nil {
		return err
	}
	c.payload = c.frame[len(c.frame)-int(h.Length):]
	c.offset = bytes.Index(c.frame, binary.LittleEndian.AppendUint64(nil, uint64(at.UnixNano())))
	if c.offset < 0 {
		return errors.New("bench: the venue's time is not in the frame")
	}
	return nil
}

// buildPeers builds bench/peers, a module of its own, so that depthcast does not
// depend on what it is compared with.
func buildPeers(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "peers")
	cmd := exec.CommandContext(ctx, "go", "build", "-C", "bench/peers", "-o", program, ".")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("bench: building bench/peers (run this at the root of the repository, or give --peers): %w", err)
	}
	return program, nil
}
