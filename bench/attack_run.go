package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/depthcast/depthcast/bench/attack"
	"github.com/depthcast/depthcast/bench/observe"
)

// attackRun is one attack of a siege: a process that makes it, and what the server says
// of itself before and after. Owned by the siege.
type attackRun struct {
	// Static.
	command []string // that starts the process
	config  attack.Config
	server  observe.Server
	log     *serverLog

	cmd *exec.Cmd
	in  io.Closer
	out *json.Decoder

	before   map[string]float64 // the server's numbers
	resident int64              // bytes before
	began    int64              // bytes of the log before

	// Set by End.
	result  attack.Result
	refused map[string]float64 // what the server's numbers of refusals have grown by
	peak    int64              // bytes of resident memory; 0: not known
	logged  int64              // bytes
}

// Name implements load.Attack.
func (a *attackRun) Name() string { return a.config.Kind }

// Begin implements load.Attack.
func (a *attackRun) Begin(ctx context.Context) (err error) {
	a.began = a.log.bytes.Load()
	for _, from := range a.server.Metrics {
		if a.before, err = observe.Counters(ctx, from); err != nil {
			return err
		}
	}
	for _, pid := range a.server.PIDs {
		if a.resident, err = observe.Resident(pid); err != nil {
			return err
		}
		if err := observe.ResetPeak(pid); err != nil {
			return err
		}
	}
	a.cmd = exec.CommandContext(ctx, a.command[0], a.command[1:]...)
	a.cmd.Stderr = os.Stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // as workers of a load
	in, err := a.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := a.cmd.Start(); err != nil {
		return fmt.Errorf("bench: attacker: %w", err)
	}
	a.in, a.out = in, json.NewDecoder(out)
	return json.NewEncoder(in).Encode(a.config)
}

// overWithin bounds how much longer an attack may take, to be answered as documented
// and to end.
const overWithin = 30 * time.Second

// End implements load.Attack.
func (a *attackRun) End(ctx context.Context) error {
	late := time.AfterFunc(2*overWithin, func() { _ = a.cmd.Process.Kill() }) // it may have ended
	defer late.Stop()
	if err := a.await(ctx); err != nil {
		return err
	}
	_ = a.in.Close() // it may have ended, which is told next
	if err := a.out.Decode(&a.result); err != nil {
		return fmt.Errorf("bench: attacker %s: %w", a.Name(), err)
	}
	if err := a.cmd.Wait(); err != nil {
		return fmt.Errorf("bench: attacker %s: %w", a.Name(), err)
	}
	for _, pid := range a.server.PIDs {
		var err error
		if a.peak, err = observe.Peak(pid); err != nil {
			return err
		}
	}
	a.logged = a.log.bytes.Load() - a.began
	return a.count(ctx)
}

// await waits until the server has counted what the documents say, where attackers are
// not told of it.
func (a *attackRun) await(ctx context.Context) error {
	kind := attack.Named(a.Name())
	if !kind.Counted() || len(a.server.Metrics) == 0 {
		return nil
	}
	for deadline := time.Now().Add(overWithin); time.Now().Before(deadline); {
		if err := a.count(ctx); err != nil || kind.Documented(nil, a.refused) {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// count takes what the server's counters of refusals have grown by.
func (a *attackRun) count(ctx context.Context) error {
	a.refused = map[string]float64{}
	for _, from := range a.server.Metrics {
		now, err := observe.Counters(ctx, from)
		if err != nil {
			return err
		}
		for name, n := range now {
			if grown := n - a.before[name]; grown > 0 && refusal(name) {
				a.refused[name] = grown
			}
		}
	}
	return nil
}

// refusal reports whether a metric counts something that a server did not let be: by
// its name, as bench knows of no table of the server's.
func refusal(name string) bool {
	word, _, _ := strings.Cut(name, "{")
	if !strings.HasPrefix(word, "depthcast_") || !strings.HasSuffix(word, "_total") {
		return false
	}
	for _, part := range []string{"drops", "errors", "refused", "failed", "turned_away", "waits", "limited", "throttled"} {
		if strings.Contains(word, part) {
			return true
		}
	}
	return false
}
