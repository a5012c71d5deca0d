package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/depthcast/depthcast/bench/swarm"
)

// worker is a process with a swarm, as its leader sees it.
type worker struct {
	cmd    *exec.Cmd
	in     orderPipe
	orders *json.Encoder
	joined bool // in the present phase
	marked int  // the last mark it has answered
	gauges swarm.Gauges
	books  []swarm.Standing // the answer to the last order for them
}

// orderPipe is the standard input of a worker.
type orderPipe interface {
	io.WriteCloser
	SetWriteDeadline(time.Time) error
}

// told is the news of one worker; err ends the run.
type told struct {
	from *worker
	news news
	err  error
}

// reservedFiles is what a worker needs besides its connections.
const reservedFiles = 200

// PerProcess is how many connections one process can have: the hard limit on open
// files, to which Go raises the soft one.
func PerProcess() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1000
	}
	return max(1, int(min(limit.Max, 1<<30))-reservedFiles)
}

// parts divides the plan over processes: at least atLeast of them, and as many as
// perProcess requires.
func parts(plan swarm.Plan, atLeast, perProcess int) []swarm.Plan {
	n := max(1, atLeast, (plan.Conns+perProcess-1)/perProcess)
	n = min(n, plan.Conns)
	all := make([]swarm.Plan, n)
	share := 1 / float64(n)
	for i := range all {
		p := plan
		p.First = plan.Conns * i / n
		p.Conns = plan.Conns*(i+1)/n - p.First
		p.RampPerS *= share
		p.ChurnSubs *= share
		p.ChurnConns *= share
		p.ResumeRate *= share
		all[i] = p
	}
	return all
}

// startWorkers starts a process for each part; what they tell goes to the channel.
func startWorkers(ctx context.Context, command []string, plans []swarm.Plan, tell chan<- told) ([]*worker, error) {
	var all []*worker
	for i := range plans {
		w, err := startWorker(ctx, command, tell)
		if err != nil {
			return all, err
		}
		all = append(all, w)
		if err := w.order(order{Plan: &plans[i]}); err != nil {
			return all, err
		}
	}
	return all, nil
}

func startWorker(ctx context.Context, command []string, tell chan<- told) (*worker, error) {
	w := &worker{cmd: exec.CommandContext(ctx, command[0], command[1:]...)}
	w.cmd.Stderr = os.Stderr
	// A signal for the leader is the leader's alone.
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	w.in = in.(orderPipe) // an os.File, as every pipe of os/exec
	w.orders = json.NewEncoder(w.in)
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("load: worker: %w", err)
	}
	go w.listen(ctx, out, tell)
	return w, nil
}

// listen passes on what the worker tells until it ends.
func (w *worker) listen(ctx context.Context, out io.Reader, tell chan<- told) {
	for d := json.NewDecoder(bufio.NewReader(out)); ; {
		t := told{from: w}
		t.err = d.Decode(&t.news)
		if t.err == nil && t.news.Failed != "" {
			t.err = errors.New(t.news.Failed)
		}
		select {
		case tell <- t:
		case <-ctx.Done():
			return
		}
		if t.err != nil {
			return
		}
	}
}

// takenWithin bounds writing an order, which a living worker reads at once.
const takenWithin = 10 * time.Second

func (w *worker) order(o order) error {
	err := w.in.SetWriteDeadline(time.Now().Add(takenWithin))
	if err == nil {
		err = w.orders.Encode(o)
	}
	if err != nil {
		return fmt.Errorf("load: worker %d does not take its orders: %w", w.cmd.Process.Pid, err)
	}
	return nil
}

// stopWithin bounds the end of a worker.
const stopWithin = 10 * time.Second

// end waits for the process, which ends with its standard input.
func (w *worker) end() {
	_ = w.in.Close() // it may be gone
	late := time.AfterFunc(stopWithin, func() { _ = w.cmd.Process.Kill() })
	defer late.Stop()
	_ = w.cmd.Wait() // what it had to say it has said
}
