package book

import (
	"fmt"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// groupedViews opens one view of ten groups of each increment given, on a book of
// 328 levels a side, and returns a round of the benchmark.
func groupedViews(tb testing.TB, mantissas ...int64) (e *Engine, heard *silent, round func(i int)) {
	e = liveEngine(tb)
	changes := levelChanges(tb, e, 1, 328, false)
	heard = &silent{}
	for _, m := range mantissas {
		key := proto.TopicKey{Symbol: name(0), Channel: proto.ChannelBook, View: proto.View{Depth: 10, Group: groupOf(m)}}
		if _, err := e.Open(key, heard); err != nil {
			tb.Fatal(err)
		}
	}
	r := &proto.Batch{Symbol: name(0), Feed: "f", Events: make([]proto.Event, 1)}
	return e, heard, func(i int) {
		r.Seq = int64(i) + 1
		changes[i%drawn].put(&r.Events[0])
		must(tb, e, r)
	}
}

func TestGroupedViewAllocatesNothingInSteadyState(t *testing.T) {
	_, heard, round := groupedViews(t, 5, 10)
	i := 0
	for ; i < drawn; i++ {
		round(i)
	}
	if verifying {
		t.Skip("verification allocates")
	}
	if n := testing.AllocsPerRun(drawn, func() { round(i); i++ }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
	if heard.deltas < drawn {
		t.Errorf("%d deltas of %d records: the run proves little", heard.deltas, i)
	}
}

// TestGroupNobodyFollowsCostsNothing: with its last view nothing is kept of it.
func TestGroupNobodyFollowsCostsNothing(t *testing.T) {
	e, _, round := groupedViews(t, 5, 10, 5)
	b := e.books[name(0)]
	if len(b.groupings) != 2 {
		t.Fatalf("%d groupings of two increments", len(b.groupings))
	}
	round(0)
	for len(b.views) > 0 {
		b.views[0].Close()
		b.verifyGroupings(t)
	}
	if len(b.groupings) != 0 {
		t.Errorf("%d groupings without a view", len(b.groupings))
	}
	var s proto.Snapshot
	if err := e.Read(proto.TopicKey{Symbol: name(0), Channel: proto.ChannelBook, View: proto.View{Group: groupOf(7)}}, &s); err != nil || len(s.Bids) == 0 {
		t.Fatalf("%v, %d bids", err, len(s.Bids))
	}
	if len(b.groupings) != 0 {
		t.Error("a view that was only read has left a grouping")
	}
}

func (b *book) verifyGroupings(t *testing.T) {
	for _, g := range b.groupings {
		views := 0
		for _, v := range b.views {
			if v.grouping == g {
				views++
			}
		}
		if views != g.views {
			t.Errorf("group %s: %d views, it counts %d", g.by, views, g.views)
		}
	}
}

// BenchmarkRecordGrouped: a whole record with one level of 328 a side, with views
// of the best ten levels or groups, which get their delta and hash.
func BenchmarkRecordGrouped(b *testing.B) {
	for _, c := range []struct {
		name   string
		groups []int64
	}{{"group=1", []int64{1}}, {"group=5", []int64{5}}, {"group=100", []int64{100}}, {"groups=5,10,25,50", []int64{5, 10, 25, 50}}} {
		b.Run(c.name, func(b *testing.B) {
			_, heard, round := groupedViews(b, c.groups...)
			for i := range 2 * drawn {
				round(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				round(2*drawn + i)
			}
			b.ReportMetric(float64(heard.deltas)/float64(b.N+2*drawn), "deltas/op")
		})
	}
}

// BenchmarkOpenGrouped: what a view of a new increment costs to open, by levels.
func BenchmarkOpenGrouped(b *testing.B) {
	for _, levels := range []int{328, 10_000} {
		b.Run(fmt.Sprintf("levels=%d", levels), func(b *testing.B) {
			e := liveEngine(b)
			levelChanges(b, e, 1, levels, false)
			key := proto.TopicKey{Symbol: name(0), Channel: proto.ChannelBook, View: proto.View{Depth: 10, Group: groupOf(5)}}
			b.ReportAllocs()
			for b.Loop() {
				v, err := e.Open(key, &silent{})
				if err != nil {
					b.Fatal(err)
				}
				v.Close()
			}
		})
	}
}
