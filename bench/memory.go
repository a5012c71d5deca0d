package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// memoryCmd measures (RSS(N) - RSS(0)) / N of `depthcast serve`, fed through Kafka
// by a demo in a process of its own whose market hardly moves.
type memoryCmd struct {
	Depthcast string        `help:"The depthcast program." default:"bin/depthcast" type:"existingfile" placeholder:"FILE"`
	Conns     int           `help:"Connections, each with one subscription." default:"9000"`
	TLS       bool          `help:"Over TLS."`
	Idle      time.Duration `help:"How long the connections are idle before the second look." default:"60s"`
	Settle    time.Duration `help:"How long the server is left alone before the first look." default:"10s"`
	Symbol    string        `help:"Symbol to subscribe to." default:"SIM:BTC-USD"`
	Env       []string      `help:"Added to the server's environment." placeholder:"GOGC=50,…"`
	ServerPID int           `name:"server-pid" help:"Measure this process at --address, instead of starting one." placeholder:"PID"`
	Address   string        `help:"Where the clients of --server-pid connect." placeholder:"HOST:PORT"`
	MaxBytes  float64       `help:"Fail when a connection takes more. 0: no limit." default:"0"`
	JSON      bool          `help:"Print JSON."`
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
	Heap    float64 `json:"heap_in_use_per_connection"` // spans in use; 0 where it is not known
	Stacks  float64 `json:"stacks_per_connection"`
}

// subject is the server whose memory is looked at.
type subject struct {
	pid   int
	to    target
	admin string // URL of its metrics; empty: none
}

func (c *memoryCmd) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends what was started
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := c.subject(ctx, dir)
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
	return nil
}

func (c *memoryCmd) measure(ctx context.Context, s *subject) (*memoryReport, error) {
	r := &memoryReport{Setting: settingNow(), Conns: c.Conns, TLS: c.TLS, GOGC: c.gogc(), Idle: c.Idle.String()}
	// The first connection opens the topic and touches the code.
	first, err := newSwarm("the first connection", 1)
	if err != nil {
		return nil, err
	}
	if err := first.connect(ctx, s.to); err != nil {
		return nil, err
	}
	if err := wait(ctx, c.Settle, first); err != nil {
		return nil, err
	}
	heap := s.metrics(ctx)
	if r.Before, err = residentBytes(s.pid); err != nil {
		return nil, err
	}
	swarm, err := newSwarm("depthcast serve", c.Conns)
	if err != nil {
		return nil, err
	}
	if err := swarm.connect(ctx, s.to); err != nil {
		return nil, err
	}
	if r.Joined, err = residentBytes(s.pid); err != nil {
		return nil, err
	}
	if err := wait(ctx, c.Idle, swarm); err != nil {
		return nil, err
	}
	if r.After, err = residentBytes(s.pid); err != nil {
		return nil, err
	}
	for name, value := range s.metrics(ctx) {
		heap[name] = value - heap[name]
	}
	n := float64(c.Conns)
	r.PerConn = float64(r.After-r.Before) / n
	r.Heap, r.Stacks = heap["go_memstats_heap_inuse_bytes"]/n, heap["go_memstats_stack_inuse_bytes"]/n
	return r, nil
}

// wait lets time pass, unless a connection fails meanwhile.
func wait(ctx context.Context, d time.Duration, s *swarm) error {
	select {
	case <-time.After(d):
		return nil
	case err := <-s.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *memoryCmd) gogc() string {
	for _, v := range append([]string{"GOGC=" + os.Getenv("GOGC")}, c.Env...) {
		if value, ok := strings.CutPrefix(v, "GOGC="); ok && value != "" {
			return value
		}
	}
	return "100 (Go's default)"
}

// subject starts a broker with a market, and the server; or names the one given.
func (c *memoryCmd) subject(ctx context.Context, dir string) (*subject, error) {
	s := &subject{pid: c.ServerPID, to: target{address: c.Address, symbol: c.Symbol}}
	if c.TLS {
		s.to.tls = &tls.Config{InsecureSkipVerify: true} // a certificate made for this run, or the operator's own
	}
	if (c.ServerPID != 0) != (c.Address != "") {
		return nil, errors.New("bench: --server-pid and --address go together")
	}
	if c.ServerPID != 0 {
		return s, nil
	}
	kafka, err := freePort()
	if err != nil {
		return nil, err
	}
	nowhere := []string{"--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}
	demo := append([]string{"demo", "--kafka-port=" + strconv.Itoa(kafka), "--rate=1"}, nowhere...)
	if _, err := c.launch(ctx, demo, nil); err != nil {
		return nil, err
	}
	serve := append([]string{"serve", "--brokers=127.0.0.1:" + strconv.Itoa(kafka)}, nowhere...)
	if c.TLS {
		cert, key, err := writeCertificate(dir)
		if err != nil {
			return nil, err
		}
		serve = append(serve, "--tls-cert="+cert, "--tls-key="+key)
	}
	p, err := c.launch(ctx, serve, c.Env)
	if err != nil {
		return nil, err
	}
	s.pid, s.to.address, s.admin = p.pid, p.address, p.admin
	return s, s.ready(ctx)
}

// freePort returns a port that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// launched is a process of depthcast as it has announced itself.
type launched struct {
	pid            int
	address, admin string
}

// launch starts depthcast and reads its announcement, to the line for operators.
func (c *memoryCmd) launch(ctx context.Context, args, env []string) (*launched, error) {
	cmd := exec.CommandContext(ctx, c.Depthcast, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &launched{pid: cmd.Process.Pid}
	for lines := bufio.NewScanner(out); p.admin == "" && lines.Scan(); {
		fields := strings.Fields(lines.Text())
		for i, field := range fields {
			u, err := url.Parse(field)
			if err != nil || u.Port() == "" {
				continue
			}
			switch {
			case u.Scheme == "ws", u.Scheme == "wss":
				p.address = net.JoinHostPort("127.0.0.1", u.Port())
			case u.Scheme == "http" && i > 0 && fields[i-1] == "operators":
				p.admin = "http://" + u.Host
			}
		}
	}
	if p.address == "" || p.admin == "" {
		return nil, errors.Join(fmt.Errorf("bench: depthcast %s does not say where it serves", args[0]), cmd.Wait())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // or it would block on what else it prints
	return p, nil
}

// ready waits until the server has caught up.
func (s *subject) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		if body, err := get(ctx, s.admin+"/readyz"); err == nil {
			return body.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("bench: the server is not ready: %w", ctx.Err())
		}
	}
}

func get(ctx context.Context, from string) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close() // the status is what counts
		return nil, fmt.Errorf("bench: %s: %s", from, answer.Status)
	}
	return answer.Body, nil
}

// metrics returns the server's numbers without labels; none if it has no address
// for that.
func (s *subject) metrics(ctx context.Context) map[string]float64 {
	all := map[string]float64{}
	if s.admin == "" {
		return all
	}
	body, err := get(ctx, s.admin+"/metrics")
	if err != nil {
		return all
	}
	defer body.Close()
	for lines := bufio.NewScanner(body); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(value) {
			all[name] = value
		}
	}
	return all
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
}
