package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
)

// ErrLate ends a run in which not all connections had their snapshots in time.
var ErrLate = errors.New("load: not all connections have their snapshots")

// ErrSilent ends a run with a client process that does not answer.
var ErrSilent = errors.New("load: a worker is silent")

// leader leads the workers of one run. Owned by Run's goroutine.
type leader struct {
	config  *Config
	workers []*worker
	news    chan told
	report  *Report
	phase   *PhaseReport // under way
	began   time.Time    // of the run
	second  swarm.Figures
	marks   int
	usage   observe.Usage             // at the last boundary of phases
	offered []uint64                  // likewise
	busy    map[*worker]time.Duration // CPU time at the last boundary
}

// Run runs a load test. An error means that there are no figures; what they are
// worth, Report.Verdict says.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &leader{config: &c, news: make(chan told), report: newReport(&c), began: time.Now(), busy: map[*worker]time.Duration{}}
	err := l.run(ctx)
	for _, w := range l.workers {
		_ = w.order(order{Stop: true}) // it may be gone
	}
	cancel()
	for _, w := range l.workers {
		w.end()
	}
	if err != nil {
		return nil, err
	}
	l.report.conclude(&c)
	return l.report, nil
}

func (l *leader) run(ctx context.Context) error {
	c := l.config
	if err := l.observe(ctx); err != nil {
		return err
	}
	l.report.Before = l.usage
	var err error
	l.workers, err = startWorkers(ctx, c.Command, parts(c.Plan, c.Processes, c.PerProcess), l.news)
	if err != nil {
		return err
	}
	l.report.Processes = len(l.workers)
	for _, p := range c.phases() {
		if err := l.through(ctx, p); err != nil {
			return err
		}
	}
	if c.Feed == nil || c.Plan.Verify == 0 {
		return nil
	}
	return l.prove(ctx)
}

// observe takes the figures of the boundary between two phases.
func (l *leader) observe(ctx context.Context) error {
	if l.config.Feed != nil {
		l.offered = append([]uint64(nil), l.config.Feed.Offered()...)
	}
	for _, w := range l.workers {
		if used, err := observe.CPUTime(w.cmd.Process.Pid); err == nil { // it may be gone, which is told elsewhere
			l.busy[w] = used
		}
	}
	var err error
	l.usage, err = l.config.Server.Read(ctx)
	return err
}

// through leads the workers through one phase.
func (l *leader) through(ctx context.Context, p phase) error {
	before, offered, busy := l.usage, l.offered, map[*worker]time.Duration{}
	for w, used := range l.busy {
		busy[w] = used
	}
	l.report.Phases = append(l.report.Phases, PhaseReport{Name: p.name, Measured: p.measured, Start: time.Since(l.began).Seconds()})
	l.phase = &l.report.Phases[len(l.report.Phases)-1]
	for _, w := range l.workers {
		w.joined = false
		if err := w.order(order{Step: p.step}); err != nil {
			return err
		}
	}
	began := time.Now()
	if p.restart {
		var err error
		if l.config.Server.PIDs, err = l.config.Restart(ctx); err != nil {
			return err
		}
		before.CPU = 0 // of processes that are no more
	}
	if err := l.during(ctx, p); err != nil {
		return err
	}
	if err := l.mark(ctx); err != nil {
		return err
	}
	l.phase.Seconds = time.Since(began).Seconds()
	if err := l.observe(ctx); err != nil {
		return err
	}
	l.phase.close(l.config, before, l.usage, offered, l.offered)
	for w, used := range l.busy {
		l.phase.ClientBusy = max(l.phase.ClientBusy, (used-busy[w]).Seconds()/l.phase.Seconds)
	}
	for _, w := range l.workers {
		l.phase.Gauges.Add(w.gauges)
	}
	return nil
}

// during waits until the phase is over, and with it the attack that it has.
func (l *leader) during(ctx context.Context, p phase) error {
	if p.attack == nil {
		return l.wait(ctx, p)
	}
	if err := p.attack.Begin(ctx); err != nil {
		return err
	}
	err := l.wait(ctx, p)
	return errors.Join(err, p.attack.End(ctx))
}

// wait listens until the phase is over.
func (l *leader) wait(ctx context.Context, p phase) error {
	limit := p.length
	if p.join {
		limit = l.config.JoinWithin
	}
	end := time.NewTimer(limit)
	defer end.Stop()
	second := time.NewTicker(sampleEvery)
	defer second.Stop()
	var failed <-chan error
	if l.config.Feed != nil {
		failed = l.config.Feed.Failed()
	}
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("load: in the phase %q: %w", p.name, context.Cause(ctx))
		case err := <-failed:
			return fmt.Errorf("load: the feed has ended: %w", err)
		case t := <-l.news:
			if err := l.take(&t); err != nil {
				return err
			}
			if p.join && l.all(func(w *worker) bool { return w.joined }) {
				return nil
			}
		case <-second.C:
			l.tick(ctx)
		case <-end.C:
			select {
			case <-second.C: // which was over before the phase
				l.tick(ctx)
			default:
			}
			if p.join {
				g := l.gauges()
				f := &l.phase.Figures
				return fmt.Errorf("%w: %d of %d after %v, %d connected; ended: %s; refused: %s", ErrLate, g.Joined, g.Want, limit, g.Open,
					counts(f.Ended), counts(f.Refused))
			}
			return nil
		}
	}
}

// mark waits until every worker has told what it counted up to now.
func (l *leader) mark(ctx context.Context) error { return l.ask(ctx, order{}, "its figures") }

// ask gives all workers an order and waits until all have answered.
func (l *leader) ask(ctx context.Context, o order, what string) error {
	l.marks++
	o.Mark = l.marks
	for _, w := range l.workers {
		if err := w.order(o); err != nil {
			return err
		}
	}
	late := time.NewTimer(l.config.AnswerWithin)
	defer late.Stop()
	answered := func(w *worker) bool { return w.marked == l.marks }
	for !l.all(answered) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("load: waiting for a worker to tell %s: %w", what, context.Cause(ctx))
		case t := <-l.news:
			if err := l.take(&t); err != nil {
				return err
			}
		case <-late.C:
			silent := slices.IndexFunc(l.workers, func(w *worker) bool { return !answered(w) })
			return fmt.Errorf("%w: worker %d of %d (process %d) has not told %s in %v", ErrSilent, silent+1, len(l.workers),
				l.workers[silent].cmd.Process.Pid, what, l.config.AnswerWithin)
		}
	}
	return nil
}

func (l *leader) all(is func(*worker) bool) bool {
	for _, w := range l.workers {
		if !is(w) {
			return false
		}
	}
	return true
}

// take takes one piece of news.
func (l *leader) take(t *told) error {
	if errors.Is(t.err, io.EOF) {
		return errors.New("load: a worker has ended")
	}
	if t.err != nil {
		return t.err
	}
	n := &t.news
	t.from.joined = t.from.joined || n.Joined
	t.from.marked = max(t.from.marked, n.Mark)
	if n.Mark != 0 {
		t.from.books = n.Books
	}
	if n.Sample == nil {
		return nil
	}
	t.from.gauges = n.Sample.Gauges
	l.phase.Figures.Add(&n.Sample.Figures)
	l.second.Add(&n.Sample.Figures)
	for _, f := range n.Sample.Faults {
		if err := l.report.fault(l.config, f); err != nil {
			return err
		}
	}
	return nil
}

func (l *leader) gauges() swarm.Gauges {
	var sum swarm.Gauges
	for _, w := range l.workers {
		sum.Add(w.gauges)
	}
	return sum
}

// tick closes a second of the series and tells of it.
func (l *leader) tick(ctx context.Context) {
	g, f := l.gauges(), &l.second
	point := Point{
		At: time.Since(l.began).Seconds(), Phase: l.phase.Name, Open: g.Open, Joined: g.Joined,
		Messages: f.Messages, Bytes: f.Bytes, Updates: f.Updates, Faults: f.Faults,
		P50: f.Published.At(50), P99: f.Published.At(99), Max: f.Published.Max(),
	}
	for _, n := range f.Ended {
		point.Ended += n
	}
	// What cannot be read now is not worth ending the run: the boundaries count.
	if u, err := l.config.Server.Read(ctx); err == nil && l.config.Server.Known() {
		point.Resident, point.CPU = u.Resident, u.CPU
	}
	l.report.Series = append(l.report.Series, point)
	l.second = swarm.Figures{}
	if l.config.Progress != nil {
		l.config.Progress(point.line(g.Want))
	}
}

func (p *Point) line(want int) string {
	return fmt.Sprintf("%4.0f s  %-22s %6d open, %6d of %d with snapshots  %8d msg/s %6.1f MB/s  p50 %s p99 %s  faults %d, ended %d",
		p.At, p.Phase, p.Open, p.Joined, want, p.Messages, float64(p.Bytes)/1e6, ms(p.P50), ms(p.P99), p.Faults, p.Ended)
}
