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
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/depthcast/depthcast/bench/observe"
)

// deployment is depthcast as it is deployed: a broker, and servers that read from
// it, as processes.
type deployment struct {
	program string
	broker  string // address; empty until startBroker

	stderr  io.Writer   // of the servers; nil: this process's own
	started []*exec.Cmd // to be ended
}

// stop ends what was started and waits for it, the servers before their broker.
func (d *deployment) stop() {
	for _, cmd := range slices.Backward(d.started) {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // says that it was killed
	}
}

// kill ends processes that were started, without goodbye, and waits for their end.
func (d *deployment) kill(pids []int) {
	d.started = slices.DeleteFunc(d.started, func(cmd *exec.Cmd) bool {
		if !slices.Contains(pids, cmd.Process.Pid) {
			return false
		}
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // says that it was killed
		return true
	})
}

// anywhere has a server listen where there is room, and say only what matters.
var anywhere = []string{"--admin-listen=127.0.0.1:0", "--log-level=warn"}

// startBroker starts a demo, whose market hardly moves, for its broker.
func (d *deployment) startBroker(ctx context.Context) error {
	kafka, err := freePort()
	if err != nil {
		return err
	}
	_, err = d.launch(ctx, -1, nil, append([]string{"demo", "--listen=127.0.0.1:0", "--kafka-port=" + strconv.Itoa(kafka), "--rate=1"}, anywhere...)...)
	d.broker = "127.0.0.1:" + strconv.Itoa(kafka)
	return err
}

// serve starts a server and waits until it has caught up. cpu < 0: on any
// processor.
func (d *deployment) serve(ctx context.Context, cpu int, env []string, flags ...string) (*launched, error) {
	args := append([]string{"serve", "--brokers=" + d.broker}, anywhere...)
	p, err := d.launch(ctx, cpu, env, append(args, flags...)...)
	if err != nil {
		return nil, err
	}
	return p, ready(ctx, p.admin)
}

// subject is the server whose memory is looked at.
type subject struct {
	pid   int
	to    target
	admin string // URL of its metrics; empty: none
}

// subject starts a broker with a market, and the server; or names the one given.
func (c *memoryCmd) subject(ctx context.Context, d *deployment, dir string) (*subject, error) {
	s := &subject{pid: c.ServerPID, to: target{address: c.Address, symbol: c.Symbol}}
	if c.TLS {
		s.to.tls = &tls.Config{InsecureSkipVerify: true} // a certificate made for this run, or the operator's own
	}
	if c.ServerPID != 0 {
		return s, nil
	}
	if err := d.startBroker(ctx); err != nil {
		return nil, err
	}
	// Fewer descriptors are kept for handshakes and relays, so that more can be connections.
	flags := []string{"--listen=127.0.0.1:0", "--max-handshakes=256", "--max-relays=64"}
	if c.TLS {
		cert, key, err := writeCertificate(dir)
		if err != nil {
			return nil, err
		}
		flags = append(flags, "--tls-cert="+cert, "--tls-key="+key)
	}
	p, err := d.serve(ctx, -1, c.Env, flags...)
	if err != nil {
		return nil, err
	}
	s.pid, s.to.address, s.admin = p.pid, p.address, p.admin
	return s, nil
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
func (d *deployment) launch(ctx context.Context, cpu int, env []string, args ...string) (*launched, error) {
	cmd := exec.CommandContext(ctx, d.program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	if d.stderr != nil {
		cmd.Stderr = d.stderr
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := observe.PinnedTo(cpu, cmd.Start); err != nil {
		return nil, err
	}
	d.started = append(d.started, cmd)
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
		return nil, fmt.Errorf("bench: depthcast %s does not say where it serves", args[0])
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // or it would block on what else it prints
	return p, nil
}

// ready waits until the server has caught up.
func ready(ctx context.Context, admin string) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		if body, err := get(ctx, admin+"/readyz"); err == nil {
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

// heapProfile has the server collect garbage and write what is left.
func (s *subject) heapProfile(ctx context.Context, file string) error {
	body, err := get(ctx, s.admin+"/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close())
}
