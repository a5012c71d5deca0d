package ingest

import (
	"errors"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// header returns the header that is there.
func (s store) header() (h proto.CheckpointHeader) {
	s.t.Helper()
	data, err := s.read()[""].assemble(nil)
	if err = errors.Join(err, proto.DecodeCheckpointHeader(data, &h)); err != nil {
		s.t.Fatal(err)
	}
	return h
}

func TestKafkaCheckpointForgetsEndedInstrumentsAsTheBooksDo(t *testing.T) {
	b := newBench(t)
	b.put("SIM:2", "SIM:2|F|instrument")
	b.checkpointed(20)
	if n := len(b.store().header().Ended); n != 1 {
		t.Fatalf("the header tells of %d instruments that have ended, want 1", n)
	}
	p := b.process().await()
	p.Do(func() { delete(p.books.books, "SIM:2") }) // as when many others have ended since
	b.put("SIM:1", "SIM:1|F|level")
	p.await().stop()
	if n := len(b.store().header().Ended); n != 0 {
		t.Errorf("the header still tells of %d instruments that have ended", n)
	}
	q := b.process().await()
	q.wantRestored(5, 0, 22)
	q.Do(func() {
		if q.books.books["SIM:2"] != nil {
			t.Error("a book that was forgotten is back")
		}
		if s := q.symbols["SIM:2"]; s == nil || !s.defined {
			t.Error("what the partition knows of the symbol is gone")
		}
	})
}

func TestACheckpointThatNoStartWouldReadIsNotWritten(t *testing.T) {
	c := checkpointer{ended: map[string][]byte{"SIM:1": make([]byte, proto.MaxHeaderBytes)}}
	err := c.header(t.Context(), &written{})
	if !errors.Is(err, errHeaderLarge) || checkpointFailure(err) != "too_large" {
		t.Errorf("a header beyond what a start reads: %v", err)
	}
}
