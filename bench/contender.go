package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/depthcast/depthcast/bench/observe"
	"github.com/depthcast/depthcast/bench/swarm"
)

// contender is a server with its connections and its figures in a closed loop.
type contender struct {
	name    string
	swarm   *swarm.Swarm
	conns   int
	meter   observe.Meter
	publish func(k int) error
	tell    func() (counters, error) // nil: it has no counters

	// By k, in the order of windows.
	cpu, rate map[int][]float64
	// Likewise: how often the client went to sleep for each delivery, so that the
	// server paid for waking it.
	sleeps map[int][]float64
	// Likewise, of a server that tells: objects allocated and system calls made for
	// each delivery.
	allocs, calls map[int][]float64
}

// newContender connects to a server.
func newContender(ctx context.Context, name string, m observe.Meter, plan swarm.Plan, publish func(k int) error) (*contender, error) {
	plan.Count = true
	s, err := join(ctx, name, plan)
	if err != nil {
		return nil, err
	}
	return &contender{
		name: name, swarm: s, conns: plan.Conns, meter: m, publish: publish,
		cpu: map[int][]float64{}, rate: map[int][]float64{}, sleeps: map[int][]float64{}, allocs: map[int][]float64{}, calls: map[int][]float64{},
	}, nil
}

// runWindows runs the windows in turns, the first of each to warm up. Each round has
// an order of its own, the same in every run: who always comes after the same
// contender always finds the caches and the client as that one leaves them.
func runWindows(contenders []*contender, ks []int, windows int, length time.Duration) error {
	order := rand.New(rand.NewPCG(1, 1))
	for round := range windows + 1 {
		for _, k := range ks {
			for _, i := range order.Perm(len(contenders)) {
				if err := contenders[i].window(k, length, round > 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *contender) window(k int, length time.Duration, keep bool) error {
	was, err := s.counters()
	if err != nil {
		return err
	}
	before, err := s.meter.Read()
	if err != nil {
		return err
	}
	slept := observe.Sleeps()
	began := time.Now()
	rounds, err := s.swarm.Window(k, length, s.publish)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	took := time.Since(began)
	slept = observe.Sleeps() - slept
	after, err := s.meter.Read()
	if err != nil {
		return err
	}
	is, err := s.counters()
	if err != nil || !keep {
		return err
	}
	deliveries := float64(rounds) * float64(k) * float64(s.conns)
	s.cpu[k] = append(s.cpu[k], float64(after-before)/float64(time.Microsecond)/deliveries)
	s.rate[k] = append(s.rate[k], deliveries/took.Seconds())
	s.sleeps[k] = append(s.sleeps[k], float64(slept)/deliveries)
	if s.tell != nil {
		s.allocs[k] = append(s.allocs[k], (is.objects-was.objects)/deliveries)
		s.calls[k] = append(s.calls[k], (is.calls-was.calls)/deliveries)
	}
	return nil
}

func (s *contender) counters() (counters, error) {
	if s.tell == nil {
		return counters{}, nil
	}
	return s.tell()
}

// ratios relates every window to the reference's of the same round.
func (s *contender) ratios(k int, reference *contender) []float64 {
	all := make([]float64, len(s.cpu[k]))
	for i, cost := range s.cpu[k] {
		all[i] = cost / reference.cpu[k][i]
	}
	return all
}
