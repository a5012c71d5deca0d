package swarm

import (
	"testing"
	"time"

	"github.com/depthcast/depthcast/bench/swarm/swarmtest"
)

// patience is how long a test waits for an event that must come.
const patience = time.Minute

// rig is a swarm that has joined the stub.
func rig(t *testing.T, s *swarmtest.Server, change func(*Plan)) *Swarm {
	t.Helper()
	plan := Plan{URLs: []string{s.URL()}, Symbols: []string{"0", "1", "2"}, PerConn: 2, Conns: 6, Verify: 3, Depths: []uint32{10}, Insecure: true}
	if change != nil {
		change(&plan)
	}
	w, err := New(plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	begin(t, w, StepRamp)
	joined(t, w)
	return w
}

func begin(t *testing.T, w *Swarm, step Step) {
	t.Helper()
	if err := w.Begin(step); err != nil {
		t.Fatal(err)
	}
}

func joined(t *testing.T, w *Swarm) {
	t.Helper()
	select {
	case <-w.Joined():
	case err := <-w.Failed():
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatalf("not all joined: %+v", w.Take().Gauges)
	}
}

// until takes figures until they are enough.
func until(t *testing.T, w *Swarm, what string, enough func(*Figures) bool) (*Figures, []*Fault) {
	t.Helper()
	var sum Figures
	var faults []*Fault
	for deadline := time.Now().Add(patience); ; {
		sample := w.Take()
		sum.Add(&sample.Figures)
		faults = append(faults, sample.Faults...)
		if enough(&sum) {
			return &sum, faults
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen: %+v", what, sum)
		}
	}
}
