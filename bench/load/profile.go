package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
)

// ErrConfig marks a configuration that cannot work.
var ErrConfig = errors.New("load: bad configuration")

// Profile names a load.
type Profile string

const (
	Steady Profile = "steady" // all read, all the time
	Burst  Profile = "burst"  // likewise, while the feed produces in bursts
	Churn  Profile = "churn"  // subscriptions and connections leave and join
	Storm  Profile = "storm"  // all connect at once, again and again
	Slow   Profile = "slow"   // some read slowly or not at all; first without, then with them
	Idle   Profile = "idle"   // connections that only stay
	Resume Profile = "resume" // connections break, come back and resume
	Siege  Profile = "siege"  // somebody attacks the server, in one way after the other, while all read
)

// Config is one run.
type Config struct {
	Profile    Profile
	Plan       swarm.Plan    // of all connections together
	Duration   time.Duration // of the phase that is measured
	Repeat     int           // storm: how many
	JoinWithin time.Duration // for all to have their snapshots. Default 2 min

	AnswerWithin time.Duration // for a client process to tell its figures. Default 60 s
	ProveWithin  time.Duration // for the rebuilt books to become those of the feed, after its end. Default 10 s

	Processes  int      // at least so many workers; more where the limit on open files asks for it
	PerProcess int      // most connections of a worker. Default: PerProcess()
	Command    []string // that starts a worker: Work on its standard input and output

	Server observe.Server
	Feed   Feed // nil: somebody else produces
	Limits Limits

	// Restart, if not nil, ends the server without goodbye and starts it anew, when all
	// else is over: the run then lasts until all are back. It returns the new PIDs.
	Restart func(ctx context.Context) ([]int, error)

	// Attacks are made one after the other, each for Duration, with Calm before and
	// after. Connections churn meanwhile as Plan says.
	Attacks []Attack
	Calm    time.Duration // default Duration

	EvidenceDir string            // where faults are written; empty: nowhere
	Progress    func(line string) // is told every second; nil: nobody
}

// Feed is what is produced during a run.
type Feed interface {
	// Offered returns the records produced so far, by symbol of the plan: each is
	// one update for each subscriber of the symbol.
	Offered() []uint64
	// Finish ends producing and waits for the broker to have everything.
	Finish(ctx context.Context) error
	// Hash returns the state hash that a view of a symbol has then; depth 0: all.
	Hash(symbol int, depth uint32) uint32
	// Failed tells of the end of producing, which ends the run.
	Failed() <-chan error
}

// Attack is what somebody does to the server during a phase.
type Attack interface {
	Name() string // of the phase
	// Begin begins it.
	Begin(ctx context.Context) error
	// End ends it, and waits until it is over.
	End(ctx context.Context) error
}

func (c *Config) validate() error {
	if c.Calm == 0 {
		c.Calm = c.Duration
	}
	if c.JoinWithin == 0 {
		c.JoinWithin = 2 * time.Minute
	}
	if c.AnswerWithin == 0 {
		c.AnswerWithin = time.Minute
	}
	if c.ProveWithin == 0 {
		c.ProveWithin = 10 * time.Second
	}
	if c.PerProcess == 0 {
		c.PerProcess = PerProcess()
	}
	if c.Repeat == 0 {
		c.Repeat = 1
	}
	switch {
	case c.Duration <= 0 || min(c.JoinWithin, c.AnswerWithin, c.ProveWithin, c.Calm) < 0 || c.PerProcess < 1 || c.Repeat < 1:
		return fmt.Errorf("%w: a duration or number that is not positive", ErrConfig)
	case len(c.Command) == 0:
		return fmt.Errorf("%w: no command for workers", ErrConfig)
	case c.Profile == Burst && c.Feed == nil:
		return fmt.Errorf("%w: a burst needs --feed, which makes it", ErrConfig)
	case c.Profile == Slow && c.Plan.Slow == 0, c.Profile != Slow && c.Plan.Slow != 0:
		return fmt.Errorf("%w: slow readers belong to the profile slow", ErrConfig)
	case c.Profile == Churn && c.Plan.ChurnSubs+c.Plan.ChurnConns == 0:
		return fmt.Errorf("%w: churn of nothing", ErrConfig)
	case c.Profile == Resume && c.Plan.ResumeRate == 0:
		return fmt.Errorf("%w: no connection is to break", ErrConfig)
	case (c.Profile == Siege) != (len(c.Attacks) > 0):
		return fmt.Errorf("%w: a siege is made of attacks", ErrConfig)
	case c.Profile == Idle && !c.Server.Known():
		return fmt.Errorf("%w: what is idle can only be seen at the server: --pid or --metrics", ErrConfig)
	}
	if err := c.Plan.Validate(); err != nil {
		return err
	}
	return c.Limits.possible(c)
}

// phase is a part of a run.
type phase struct {
	name     string
	step     swarm.Step
	join     bool          // it ends when all have their snapshots, else after length
	length   time.Duration // 0 with join: at once
	measured bool          // its figures are held against the limits
	restart  bool          // it begins with Config.Restart
	attack   Attack        // under way during it; nil: none
}

// phases of a profile.
func (c *Config) phases() []phase {
	ramp := phase{name: "ramp-up", step: swarm.StepRamp, join: true}
	switch c.Profile {
	case Churn:
		return []phase{ramp, {name: "churn", step: swarm.StepChurn, length: c.Duration, measured: true}}
	case Resume:
		return []phase{ramp, {name: "resume", step: swarm.StepResume, length: c.Duration, measured: true}}
	case Storm:
		all := []phase{{name: "storm 1", step: swarm.StepRamp, join: true, measured: true}}
		for i := range c.Repeat - 1 {
			all = append(all,
				phase{name: fmt.Sprintf("after storm %d", i+1), step: swarm.StepSteady, length: c.Duration},
				phase{name: fmt.Sprintf("storm %d", i+2), step: swarm.StepStorm, join: true, measured: true})
		}
		return append(all, phase{name: "afterwards", step: swarm.StepSteady, length: c.Duration, measured: true})
	case Siege:
		return append([]phase{ramp}, c.siege()...)
	case Slow:
		return []phase{ramp,
			{name: "without slow readers", step: swarm.StepSteady, length: c.Duration},
			{name: "slow readers join", step: swarm.StepSlow, join: true},
			{name: "with slow readers", step: swarm.StepSteady, length: c.Duration, measured: true}}
	}
	all := []phase{ramp, {name: string(c.Profile), step: swarm.StepSteady, length: c.Duration, measured: true}}
	if c.Restart != nil {
		all = append(all, phase{name: "restart", step: swarm.StepSteady, join: true, restart: true},
			phase{name: "afterwards", step: swarm.StepSteady, length: c.Duration, measured: true})
	}
	return all
}

// siege are the phases of one.
func (c *Config) siege() []phase {
	step := swarm.StepSteady
	if c.Plan.ChurnSubs+c.Plan.ChurnConns > 0 {
		step = swarm.StepChurn
	}
	all := []phase{{name: BeforeAttacks, step: step, length: c.Calm}}
	for _, a := range c.Attacks {
		all = append(all, phase{name: a.Name(), step: step, length: c.Duration, attack: a, measured: true},
			phase{name: AfterAttack(a.Name()), step: step, length: c.Calm, measured: true})
	}
	return all
}

// BeforeAttacks is the phase of a siege before the first attack.
const BeforeAttacks = "before"

// AfterAttack names the phase after an attack.
func AfterAttack(name string) string { return "after " + name }
