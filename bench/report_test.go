package main

import "testing"

func TestSpreadIsThatOfTheSeries(t *testing.T) {
	got := spreadOf([]float64{5, 1, 4, 2, 3})
	if want := (spread{Median: 3, Min: 1, Max: 5, Q1: 2, Q3: 4, N: 5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := spreadOf([]float64{1, 2}); got.Median != 1.5 {
		t.Errorf("median of 1 and 2: %v", got.Median)
	}
	if got := spreadOf(nil); got != (spread{}) {
		t.Errorf("of nothing: %+v", got)
	}
}
