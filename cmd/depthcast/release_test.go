package main

import "testing"

func TestMemoryIsReleasedOnceWhenAWaveIsOver(t *testing.T) {
	var w wave
	arrived := uint64(0)
	look := func(fresh uint64) bool { arrived += fresh; return w.over(arrived) }
	for i, step := range []struct {
		fresh uint64
		want  bool
	}{
		{0, false},
		{waveMin - 1, false}, // too few, and still coming
		{0, false},           // too few
		{ebb + 1, false},     // enough, and still coming
		{4000, false},
		{ebb, true}, // over
		{0, false},
	} {
		if got := look(step.fresh); got != step.want {
			t.Errorf("look %d: %v, want %v", i, got, step.want)
		}
	}
}

func TestSteadyArrivalsReleaseMemoryRarely(t *testing.T) {
	var w wave
	released := 0
	const looks = 10 * releaseLooks
	for i := range uint64(looks) {
		if w.over((i + 1) * ebb) {
			released++
		}
	}
	if released < 2 || released > looks/releaseLooks {
		t.Errorf("%d releases in %d looks, at most %d wanted", released, looks, looks/releaseLooks)
	}
}
