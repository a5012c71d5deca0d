package ingest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

func TestKafkaCheckpointSparesReadingTheLogAgain(t *testing.T) {
	b := newBench(t)
	b.checkpointed(100)
	p := b.process()
	b.same(p)
	p.wantRestored(5, 0, 100)
	b.write(50)
	b.same(p)
	p.stop()
	q := b.process()
	b.same(q)
	q.wantRestored(5, 0, 150)
}

func TestKafkaCheckpointRewritesOnlyWhatChanged(t *testing.T) {
	b := newBench(t)
	b.checkpointed(100)
	p := b.process()
	b.put("SIM:3", "SIM:3|F|level")
	p.await().stop()
	if got := p.Checkpoints().Symbols.Load(); got != 1 {
		t.Errorf("%d states were copied, want 1", got)
	}
	q := b.process()
	b.same(q)
	q.wantRestored(5, 0, 101)
	q.stop()
	if got := q.Checkpoints().Rounds.Load(); got != 0 {
		t.Errorf("%d checkpoints were written though nothing was new", got)
	}
}

func TestKafkaCheckpointComesEveryManyRecords(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Checkpoints.Records = 40 })
	p := b.process()
	b.write(100)
	p.until(func() bool { return p.Checkpoints().Floor.Load() >= 40 })
	b.same(p)
}

// While states are copied one by one, records go on: each state is of an offset of
// its own, and a start passes over what is in it.
func TestKafkaCheckpointHoldsStatesOfManyOffsets(t *testing.T) {
	b := newBench(t)
	b.checkpointed(20)
	b.write(30)
	p := b.process().await()
	c, w := p.checkpoints, &written{kept: map[string]kept{}, ended: map[string][]byte{}}
	w.sum, w.states = c.sum, c.states
	if !p.openRound(&c.round) || c.tx.begin() != nil {
		t.Fatal("no round")
	}
	floor := int64(b.next) - 1
	copies := make([]proto.SymbolState, 1)
	for i := range 5 {
		if n, err := p.copyStates(&c.round, copies, 1); n != 1 || err != nil || copies[0].Offset != floor+int64(7*i) {
			t.Fatalf("%d copied, at offset %d: %v", n, copies[0].Offset, err)
		}
		if err := c.state(b.ctx, w, &copies[0]); err != nil {
			t.Fatal(err)
		}
		b.write(7)
		p.await()
	}
	if err := errors.Join(p.closeRound(&c.round), c.header(b.ctx, w), c.tx.commit(b.ctx)); err != nil {
		t.Fatal(err)
	}
	b.settled()
	b.put("SIM:4", "SIM:0|F|level") // empties both books, which were copied at different offsets
	q := b.process()                // fences p, which writes no other
	b.same(q)
	q.wantRestored(5, 0, floor+1)
	if got := q.Stats().Skipped.Load(); got != 14 {
		t.Errorf("%d records were passed over, want 14", got)
	}
}

func TestKafkaCheckpointOfAGreatBookComesInManyChunks(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Checkpoints.ChunkBytes, c.Checkpoints.HoldBytes = 64, 64 })
	b.checkpointed(2000)
	if n := len(b.store().read()["SIM:0"].chunks); n < 10 {
		t.Errorf("the state of 400 levels has %d chunks of 64 bytes", n)
	}
	p := b.process()
	b.same(p)
	p.wantRestored(5, 0, 2000)
	b.put("no symbol", "garbage") // every book is empty after it
	p.await().stop()
	for symbol, s := range b.store().read() {
		if symbol != "" && len(s.chunks) > 3 {
			t.Errorf("%s still has %d chunks", symbol, len(s.chunks))
		}
	}
	b.same(b.process())
}

func TestKafkaNewerWriterOfCheckpointsFencesTheOlder(t *testing.T) {
	b := newBench(t)
	b.write(50)
	older := b.process().await()
	newer := b.process().await()
	b.write(50)
	older.await().stop()
	if s := older.Checkpoints(); !s.Fenced.Load() || s.Failures()["fenced"] != 1 || s.Rounds.Load() != 0 {
		t.Errorf("the older wrote %d checkpoints, failures %v", s.Rounds.Load(), s.Failures())
	}
	newer.await().stop()
	if s := newer.Checkpoints(); s.Rounds.Load() != 1 || s.Fenced.Load() {
		t.Errorf("the newer wrote %d checkpoints, failures %v", s.Rounds.Load(), s.Failures())
	}
	p := b.process()
	b.same(p)
	p.wantRestored(5, 0, 100)
}

func TestKafkaCheckpointThatWasNeverFinishedDoesNotCount(t *testing.T) {
	b := newBench(t)
	b.checkpointed(100)
	dying := b.process().await()
	dying.stop()
	c := dying.checkpoints
	b.write(7)
	// A process that dies between two chunks leaves this behind.
	ctx := b.ctx
	if err := c.open(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.tx.begin(); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := c.tx.put(ctx, chunkKey(c.partition.id, symbolName(i), 0), []byte("half a round")); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.tx.client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	c.close()
	for _, mode := range []CheckpointMode{CheckpointsRead, CheckpointsWrite} {
		p := b.process(func(c *Config) { c.Checkpoints.Mode = mode })
		b.same(p)
		p.wantRestored(5, 0, 100)
		p.stop()
	}
	p := b.process()
	b.same(p)
	p.wantRestored(5, 0, 107)
}

func TestKafkaDamagedStateIsMadeAnewAndNoOther(t *testing.T) {
	for name, damage := range map[string]func(s store, chunks []chunk){
		"a bit flipped": func(s store, chunks []chunk) {
			v := appendChunk(nil, chunkKey(s.id, "SIM:2", 1), &chunks[1])
			v[len(v)-10] ^= 4
			s.put("SIM:2", 1, v)
		},
		"a chunk missing":     func(s store, _ []chunk) { s.put("SIM:2", 2, nil) },
		"the first missing":   func(s store, _ []chunk) { s.put("SIM:2", 0, nil) },
		"the last cut short":  func(s store, chunks []chunk) { s.put("SIM:2", len(chunks)-1, []byte{1, 2, 3}) },
		"no state in a chunk": func(s store, chunks []chunk) { s.put("SIM:2", 1, []byte{}) },
		"right chunks of nonsense": func(s store, chunks []chunk) {
			chunks[0].data = slices.Clone(chunks[0].data)
			chunks[0].data[0] ^= 1
			s.put("SIM:2", 0, appendChunk(nil, chunkKey(s.id, "SIM:2", 0), &chunks[0]))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.Checkpoints.ChunkBytes = 64 })
			b.checkpointed(500)
			b.put("SIM:1", "SIM:2|F|level") // empties both books, the one by way of the other's records
			b.write(9)
			damage(b.store(), b.store().read()["SIM:2"].chunks)
			p := b.process()
			b.same(p)
			p.wantRestored(4, 1, 0)
			if got := p.Stats().Applied.Load(); got > 120 {
				t.Errorf("%d records were applied, want those of one symbol and the last", got)
			}
			p.stop()
			q := b.process()
			b.same(q)
			q.wantRestored(5, 0, 510)
		})
	}
}

func TestKafkaDamagedStateIsMadeAnewWholeThoughLaterRecordsWereLost(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Checkpoints.ChunkBytes = 64 })
	b.write(20)
	b.put("no symbol", "garbage") // from here on no symbol begins whole
	b.checkpointed(100)
	b.store().put("SIM:2", 1, []byte{})
	p := b.process()
	b.same(p)
	p.wantRestored(4, 1, 0)
	b.put("SIM:7", "SIM:7|F|level")
	b.same(p)
}

func TestKafkaCheckpointThatDoesNotFitIsNotUsed(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(b *bench)
		reason string
	}{
		"of another epoch": {func(b *bench) { b.store().change(func(h *proto.CheckpointHeader) { h.Epoch++ }) }, "epoch"},
		"with other instruments": {func(b *bench) {
			b.cfg.Instruments = map[string]proto.Exponents{"SIM:1": {Price: -2, Qty: -3}}
		}, "epoch"},
		"with other settings":   {func(b *bench) { b.cfg.MaxFeeds = 17 }, "settings"},
		"of a newer version":    {func(b *bench) { b.store().change(func(h *proto.CheckpointHeader) { h.Version++ }) }, "version"},
		"with a damaged header": {func(b *bench) { b.store().put("", 0, []byte("nonsense of fifty bytes, which is longer than a head")) }, "damaged"},
		"of another record at its floor": {func(b *bench) {
			b.store().change(func(h *proto.CheckpointHeader) { h.Fingerprint.CRC++ })
		}, "fingerprint"},
		"of another record at its ceiling": {func(b *bench) {
			b.store().change(func(h *proto.CheckpointHeader) { h.Last.Time++ })
		}, "fingerprint"},
		"behind the end of the log": {func(b *bench) {
			b.store().change(func(h *proto.CheckpointHeader) { h.Ceiling += 20 })
		}, "log_shorter"},
		"without one of its states": {func(b *bench) { b.store().put("SIM:4", 0, nil) }, "incomplete"},
		"with an older state": {func(b *bench) {
			old := b.store().read()["SIM:4"].chunks[0]
			b.checkpointed(10)
			b.store().put("SIM:4", 0, appendChunk(nil, chunkKey(b.store().id, "SIM:4", 0), &old))
		}, "incomplete"},
		"that is too large": {func(b *bench) { b.cfg.Checkpoints.MaxBytes = 100 }, "too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.checkpointed(100)
			c.spoil(b)
			p := b.process()
			b.same(p)
			p.wantNotUsed(c.reason)
			p.stop()
			if c.reason == "too_large" {
				return
			}
			q := b.process() // the next one is good again
			b.same(q)
			q.wantRestored(5, 0, int64(b.next))
		})
	}
}

// What a prompt server has seen may not be due, whatever its checkpoint's Kafka topic is
// called.
func TestKafkaCheckpointOfAServerThatIsNotAsLateIsNotUsed(t *testing.T) {
	const suffix = ".delay-1000"
	b := newBench(t, func(c *Config) { c.Checkpoints.KafkaTopic += suffix })
	b.checkpointed(100)
	b.cfg.Delay, b.cfg.Checkpoints.KafkaTopic = time.Second, strings.TrimSuffix(b.cfg.Checkpoints.KafkaTopic, suffix)
	p := b.process()
	b.same(p)
	p.wantNotUsed("settings")
}

func TestKafkaLogTruncatedBehindTheCheckpointMakesBooksRecovering(t *testing.T) {
	b := newBench(t)
	b.checkpointed(100)
	b.write(50)
	b.deleteRecords(b.topic, 120)
	p := b.process().await()
	want := ""
	for i := range 5 {
		want += fmt.Sprintf("%s truncated false [%d %d %d %d %d %d]\n", symbolName(i), 120+i, 125+i, 130+i, 135+i, 140+i, 145+i)
	}
	if got := p.state(); got != want {
		t.Errorf("books are\n%swant\n%s", got, want)
	}
	if n := p.Stats().Truncations.Load(); n != 1 {
		t.Errorf("%d truncations counted", n)
	}
	p.stop()
	q := b.process().await()
	if got := q.state(); got != want {
		t.Errorf("after another start books are\n%swant\n%s", got, want)
	}
}

func TestKafkaCheckpointOfARecreatedLogIsNotUsed(t *testing.T) {
	b := newBench(t)
	b.checkpointed(100)
	b.recreate(b.topic)
	b.next = 0
	b.write(130)
	p := b.process()
	b.same(p)
	p.wantNotUsed("epoch")
}

func TestKafkaCheckpointsOfARecreatedLogReplaceThoseOfTheOld(t *testing.T) {
	b := newBench(t)
	b.put("SIM:OLD", "SIM:OLD|F|level")
	b.write(100)
	p := b.process().await()
	if err := p.checkpoints.make(b.ctx); err != nil || b.store().read()["SIM:OLD"] == nil {
		t.Fatal("no checkpoint of the old log", err)
	}
	b.recreate(b.topic)
	b.next = 0
	b.write(60)
	p.until(func() bool { return p.begun && p.next == 60 })
	p.stop()
	if got := p.Checkpoints().Floor.Load(); got != 59 {
		t.Errorf("the checkpoint is at %d, want 59 (%v)", got, p.Checkpoints().Failures())
	}
	states := b.store().read()
	if states["SIM:OLD"] != nil || len(states) != 6 {
		t.Errorf("%d states are there, want 5 and a header, without SIM:OLD", len(states))
	}
	q := b.process()
	b.same(q)
	q.wantRestored(5, 0, 60)
}

func TestKafkaStateOfAnEndedInstrumentIsATombstone(t *testing.T) {
	b := newBench(t)
	b.checkpointed(100)
	b.put("SIM:2", "SIM:2|F|instrument")
	p := b.process().await()
	p.stop()
	if s := b.store().read()["SIM:2"]; s != nil {
		t.Errorf("the state is still there, in %d chunks", len(s.chunks))
	}
	q := b.process()
	b.same(q)
	q.wantRestored(5, 0, 101)
	q.Do(func() {
		if got := q.Exponents("SIM:2"); got != (proto.Exponents{Price: -2, Qty: -3}) {
			t.Errorf("its exponents are %v, not those of its definition", got)
		}
	})
	b.put("SIM:1", "SIM:1|F|level")
	q.await().stop()
	b.same(b.process())
}

func TestKafkaTopicForCheckpointsMustBeCompacted(t *testing.T) {
	b := newBench(t)
	b.create(b.cfg.Checkpoints.KafkaTopic, 1, map[string]string{"cleanup.policy": "delete"})
	_, err := Open(b.ctx, b.Cluster, b.cfg, func(PartitionID) Books { return newLedger() })
	wantError(t, err, ErrNotCompacted, b.cfg.Checkpoints.KafkaTopic, "cleanup.policy=compact")
}

func TestKafkaReaderOfCheckpointsStartsBeforeThereAreAny(t *testing.T) {
	b := newBench(t)
	b.write(10)
	p := b.process(func(c *Config) { c.Checkpoints.Mode = CheckpointsRead })
	b.same(p)
	p.wantRestored(0, 0, 0)
	p.stop()
	_, err := b.Describe(b.ctx, b.cfg.Checkpoints.KafkaTopic)
	wantError(t, err, ErrNoTopic)
}

func TestKafkaStartElsewhereThanTheBeginningHasNoCheckpoints(t *testing.T) {
	b := newBench(t)
	b.checkpointed(100)
	p := b.process(func(c *Config) { c.Start.From = FromEnd })
	b.write(5)
	p.await().stop()
	p.wantRestored(0, 0, 100)
	if n := p.Checkpoints().Rounds.Load(); n != 0 {
		t.Errorf("it wrote %d checkpoints", n)
	}
}

func TestKafkaTopicForCheckpointsThatIsGoneStopsNothingElse(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Checkpoints.Records, c.Checkpoints.RoundTimeout, c.Checkpoints.StopTimeout = 10, 1e9, 1e9
	})
	p := b.process().await()
	b.deleteTopic(b.cfg.Checkpoints.KafkaTopic)
	b.write(300)
	p.until(func() bool { return p.Checkpoints().Failures()["kafka"]+p.Checkpoints().Failures()["timeout"] > 0 })
	b.write(300)
	b.same(p)
	p.stop()
	if n := p.Checkpoints().Rounds.Load(); n != 0 {
		t.Errorf("%d checkpoints were written", n)
	}
}

func TestKafkaRefusedRecordsAreNotSentAgainAfterARestart(t *testing.T) {
	sent := &letters{}
	b := newBench(t, func(c *Config) { c.DeadLetters = sent })
	b.put("SIM:0", "SIM:0|F|level,none")
	b.write(10)
	b.process().await().stop()
	p := b.process().await()
	p.wantRestored(5, 0, 11)
	if len(sent.got) != 1 {
		t.Errorf("dead letters: %q", sent.got)
	}
}

func TestChunksOfAStateAreReadAsTheyWereWritten(t *testing.T) {
	id := PartitionID{"events", 3}
	for _, symbol := range []string{"", "A", "VENUE:A/B", "é"} {
		key := chunkKey(id, symbol, 7)
		got, index, ok := parseChunkKey(key[len(chunkPrefix(id)):])
		if got != symbol || index != 7 || !ok {
			t.Errorf("key %q reads as %q, %d, %v", key, got, index, ok)
		}
	}
	for _, rest := range []string{"", "7", "07/A", "-1/A", "x/A", "65536/A"} {
		if _, _, ok := parseChunkKey(rest); ok {
			t.Errorf("%q is taken for a key", rest)
		}
	}
}

func FuzzParseChunk(f *testing.F) {
	key := chunkKey(PartitionID{"events", 0}, "A", 1)
	f.Add(appendChunk(nil, key, &chunk{epoch: 1, offset: 2, index: 1, count: 3, data: []byte("state")}))
	f.Fuzz(func(t *testing.T, value []byte) {
		c := parseChunk(key, 1, value)
		var s storedState
		s.put(1, c)
		if data, err := s.assemble(nil); err == nil {
			t.Fatalf("a state of chunk 1 alone: %q", data)
		}
		if c.err == nil && string(appendChunk(nil, key, &c)) != string(value) {
			t.Fatal("it is written otherwise than it was read")
		}
		if c.err != nil && !errors.Is(c.err, errChunkDamaged) && !errors.Is(c.err, errChunkFormat) {
			t.Fatal(c.err)
		}
	})
}

// Diffs that wait for their snapshot wait on through a restart.
func TestKafkaCheckpointHoldsWhatACodecKeeps(t *testing.T) {
	b := newBench(t, func(c *Config) { c.KafkaTopics[0].Format, c.KafkaTopics[0].Complete = "binance", false })
	diff := func(id int) {
		b.put("BINANCE:X", fmt.Sprintf(`{"e":"depthUpdate","E":%d,"s":"X","U":%d,"u":%[2]d,"b":[["99.%02[2]d","1"]],"a":[["101.00","2"]]}`, id, id))
	}
	for id := range 10 {
		diff(1 + id)
	}
	p := b.process().await()
	p.stop()
	b.put("BINANCE:X", `{"lastUpdateId":5,"bids":[["99.00","1"]],"asks":[["101.00","1"]]}`)
	diff(11)
	q := b.process()
	b.same(q)
	q.wantRestored(1, 0, 10)
	if got := q.books.of("BINANCE:X").offsets; !slices.Equal(got, []int64{10, 11}) {
		t.Errorf("applied were %v, want the snapshot with what waited, and what followed", got)
	}
}
