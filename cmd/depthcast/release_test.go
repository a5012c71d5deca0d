package main

import "testing"

// judged looks until the rush is judged anew, after fresh arrivals, and returns what
// was due: the greatest.
func judged(w *wave, arrived *uint64, fresh uint64) (due relief) {
	*arrived += fresh
	for range ebbLooks {
		due = max(due, w.look(*arrived))
	}
	return due
}

func TestMemoryIsReleasedOnceWhenAWaveIsOver(t *testing.T) {
	var w wave
	var arrived uint64
	for i, step := range []struct {
		fresh uint64
		want  relief
	}{
		{0, none},
		{waveMin - 1, none}, // too few, and still coming
		{0, none},           // too few
		{ebb + 1, collect},  // enough, and still coming
		{4000, collect},
		{ebb, release}, // over
		{0, none},
	} {
		if got := judged(&w, &arrived, step.fresh); got != step.want {
			t.Errorf("look %d: %v, want %v", i, got, step.want)
		}
	}
}

func TestSteadyArrivalsReleaseMemoryRarely(t *testing.T) {
	var w wave
	var arrived uint64
	released := 0
	const looks = 10 * releaseLooks
	for range looks {
		if judged(&w, &arrived, ebb) == release {
			released++
		}
	}
	if released < 2 || released > looks/releaseLooks {
		t.Errorf("%d releases in %d looks, at most %d wanted", released, looks, looks/releaseLooks)
	}
}

// TestCollectionsOfAWaveGrowRarerAsItGrows: each costs as much as there is, so that
// their number may only grow with the logarithm of that.
func TestCollectionsOfAWaveGrowRarerAsItGrows(t *testing.T) {
	var w wave
	collections := map[uint64]int{}
	for arrived := uint64(0); arrived < 128_000; arrived += 100 {
		if w.look(arrived) == collect {
			for magnitude := uint64(4_000); magnitude <= 128_000; magnitude *= 2 {
				if arrived < magnitude {
					collections[magnitude]++
					break
				}
			}
		}
	}
	for magnitude, n := range collections {
		if n > waveShare || n == 0 {
			t.Errorf("%d collections until %d have arrived, since half of them", n, magnitude)
		}
	}
	if len(collections) != 6 {
		t.Errorf("collections %v", collections)
	}
}
