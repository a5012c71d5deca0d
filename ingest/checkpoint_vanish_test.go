package ingest

import (
	"errors"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// What was known of a symbol at the floor may be nothing when it is copied. A start
// must not tell it the records in between, which led there, without what was known.
func TestKafkaStateThatVanishesWhileACheckpointIsMadeStaysAway(t *testing.T) {
	b := newBench(t)
	b.checkpointed(20)
	p := b.process()
	b.put("SIM:9", "garbage")
	p.await()
	c, w := p.checkpoints, &written{kept: map[string]kept{}, ended: map[string][]byte{}}
	w.sum, w.states = c.sum, c.states
	if !p.openRound(&c.round) || c.tx.begin() != nil {
		t.Fatal("no round")
	}
	b.put("SIM:9", "garbage")
	p.await().Do(func() { delete(p.books.books, "SIM:9") })
	copies := make([]proto.SymbolState, 2)
	if n, err := p.copyStates(&c.round, copies, 1<<20); n != 1 || err != nil || known(&copies[0]) {
		t.Fatalf("%d copied, %v, want one of which nothing is known", n, err)
	}
	if err := errors.Join(c.state(b.ctx, w, &copies[0]), p.closeRound(&c.round), c.header(b.ctx, w), c.tx.commit(b.ctx)); err != nil {
		t.Fatal(err)
	}
	b.settled()
	q := b.process().await()
	q.Do(func() {
		if q.books.books["SIM:9"] != nil {
			t.Error("a record that was in the state came again")
		}
	})
	q.stop()
	if b.store().read()["SIM:9"] != nil {
		t.Error("the empty state is there for good")
	}
}
