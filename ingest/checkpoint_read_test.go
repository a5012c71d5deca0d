package ingest

import "testing"

func TestKafkaCheckpointThatIsWrittenWhileItIsReadIsReadToItsEnd(t *testing.T) {
	b := newBench(t)
	b.checkpointed(20)
	s := b.store()
	r := checkpointReader{cluster: b.Cluster, cfg: &b.cfg.Checkpoints, from: s.at(), of: s.id, log: quiet, leader: -1, end: -1,
		got: storedStates{states: map[string]*storedState{}}}
	r.cfg.MaxBytes = 1 << 30
	if err := r.begin(b.ctx); err != nil {
		t.Fatal(err)
	}
	for r.end < 0 || r.next < r.end {
		if err := r.fetch(b.ctx); err != nil {
			t.Fatal(err)
		}
	}
	was := r.end
	b.checkpointed(20)
	if err := r.fetch(b.ctx); err != nil {
		t.Fatal(err)
	}
	if r.next <= was || r.end < r.next {
		t.Errorf("at offset %d the read would end at %d, where it ended before the last answer: in the midst of another checkpoint", r.next, r.end)
	}
}

// A process that cannot become the writer when it starts may do so when another has
// written meanwhile.
func TestKafkaLateWriterOfCheckpointsReadsWhatAnotherWroteBefore(t *testing.T) {
	b := newBench(t)
	b.checkpointed(20)
	late := b.process().await()
	late.stop() // it has no producer any more
	floor := int64(b.next)
	b.put("SIM:NEW", "SIM:NEW|F|level")
	b.process().await().stop()
	late.Do(late.marks.touchAll)
	if err := late.checkpoints.make(b.ctx); err != nil {
		t.Fatal(err)
	}
	late.checkpoints.close()
	p := b.process()
	b.same(p)
	p.wantRestored(5, 0, floor)
}
