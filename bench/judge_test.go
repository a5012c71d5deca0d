package main

import (
	"errors"
	"testing"
)

// TestDepthcastAboveItsLimitEndsARunWithAnError: in whatever k, and nobody else does.
func TestDepthcastAboveItsLimitEndsARunWithAnError(t *testing.T) {
	for _, c := range []struct {
		ours, others map[int]float64
		fails        bool
	}{
		{map[int]float64{1: 1.10, 16: 1.10}, map[int]float64{1: 2.2, 16: 10}, false},
		{map[int]float64{1: 1.101, 16: 1.0}, map[int]float64{1: 1.0, 16: 1.0}, true},
		{map[int]float64{1: 1.0, 16: 1.101}, map[int]float64{1: 1.0, 16: 1.0}, true},
	} {
		compare := compareCmd{K: []int{1, 16}, MaxRatio: 1.10}
		compared := &compareReport{Rows: []*compareRow{{Server: "limit", Ratio: ratios(nil)}, {Server: "ours", Ours: true, Ratio: ratios(c.ours)}, {Server: "other", Ratio: ratios(c.others)}}}
		delivery := deliveryCmd{K: compare.K, MaxRatio: compare.MaxRatio}
		delivered := &deliveryReport{}
		for _, k := range delivery.K {
			delivered.Results = append(delivered.Results, deliveryLine{K: k, Ratio: ratios(c.ours)[k]}, deliveryLine{K: k, Ratio: ratios(c.others)[k]})
		}
		if err := compare.judge(compared); errors.Is(err, errLimit) != c.fails {
			t.Errorf("compare, ours %v: %v", c.ours, err)
		}
		if err := delivery.judge(delivered); errors.Is(err, errLimit) != c.fails {
			t.Errorf("delivery, ours %v: %v", c.ours, err)
		}
		compare.MaxRatio, delivery.MaxRatio = 0, 0
		if err := errors.Join(compare.judge(compared), delivery.judge(delivered)); err != nil {
			t.Errorf("without a limit: %v", err)
		}
	}
}

func ratios(medians map[int]float64) map[int]spread {
	all := map[int]spread{}
	for k, m := range medians {
		all[k] = spread{Median: m}
	}
	return all
}
