package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"

	"github.com/depthcast/depthcast/proto"
)

// wire is Books whose calls arrive on a channel, which any goroutine may read.
type wire struct {
	id    PartitionID
	calls chan string // must not fill up
}

func (w *wire) say(format string, args ...any) { w.calls <- fmt.Sprintf(format, args...) }

func (w *wire) Begin(epoch uint64, complete bool) { w.say("begin %v %x", complete, epoch) }
func (w *wire) Apply(b *proto.Batch) (proto.Outcome, error) {
	w.say("apply %s@%d/%d %d", b.Symbol, w.id.Partition, b.Seq, len(b.Events))
	return proto.Applied, nil
}
func (w *wire) Refuse(symbol string, _ int64, r proto.Reason) {
	w.say("refuse %s %s", symbol, proto.ReasonWord(r))
}
func (w *wire) CatchingUp(on bool)              { w.say("catching_up %v", on) }
func (w *wire) Living() int                     { return 0 }
func (w *wire) Best(string) (proto.Quote, bool) { return proto.Quote{}, false }

func (w *wire) SetStale(_ string, r proto.Reason, on bool) {
	w.say("stale %s %v", proto.ReasonWord(r), on)
}
func (w *wire) Tick(int64) {}
func (w *wire) Release()   {}

func (w *wire) Save(string, *proto.SymbolState) bool   { return false }
func (w *wire) Restore(*proto.SymbolState) error       { return nil }
func (w *wire) SaveShared(*proto.SharedState)          {}
func (w *wire) RestoreShared(*proto.SharedState) error { return nil }

// started is an Ingest at work.
type started struct {
	*Ingest
	t     *testing.T
	ctx   context.Context
	calls chan string

	wantEnd error  // of Run
	stop    func() // returns when it has ended
}

func start(l *lab, cfg Config) *started {
	l.t.Helper()
	return startWith(l, cfg, func(w *wire) Books { return w })
}

// startWith is start with books around those that tell of calls.
func startWith(l *lab, cfg Config, around func(*wire) Books) *started {
	l.t.Helper()
	if cfg.Log == nil {
		cfg.Log = quiet
	}
	s := &started{t: l.t.(*testing.T), ctx: l.ctx, calls: make(chan string, 1<<16)}
	in, err := Open(l.ctx, l.Cluster, cfg, func(id PartitionID) Books { return around(&wire{id, s.calls}) })
	if err != nil {
		l.t.Fatal(err)
	}
	s.Ingest = in
	ctx, cancel := context.WithCancel(l.ctx)
	l.t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	s.stop = func() {
		if s.wantEnd == nil {
			cancel()
		}
		if err := <-ended; !errors.Is(err, s.wantEnd) {
			l.t.Errorf("Run: %v, want %v", err, s.wantEnd)
		}
		ended <- s.wantEnd
	}
	l.t.Cleanup(s.stop)
	return s
}

// await returns the calls up to the first one that begins with prefix, n times.
func (s *started) await(prefix string, n int) []string {
	s.t.Helper()
	var seen []string
	for n > 0 {
		select {
		case call := <-s.calls:
			seen = append(seen, call)
			if strings.HasPrefix(call, prefix) {
				n--
			}
		case <-s.ctx.Done():
			s.t.Fatalf("no %q; the books were told %q", prefix, seen)
		}
	}
	return seen
}

// levels is a record that sets one level of symbol.
func levels(symbol string, price int64) Record {
	b := proto.Batch{Symbol: symbol, Feed: "SIM", Events: []proto.Event{
		{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: price, Qty: 1}}}}}
	return Record{Key: []byte(symbol), Value: proto.AppendEvents(nil, &b)}
}

func TestKafkaEventsReachTheBooksEndToEnd(t *testing.T) {
	l := newLab(t)
	events, dead := l.topic(3, nil), l.topic(1, nil)
	box, err := l.NewDeadLetters(dead)
	if err != nil {
		t.Fatal(err)
	}
	var before []Record
	for i := range 300 {
		before = append(before, levels(fmt.Sprintf("SIM:%d", i%10), int64(i)))
	}
	l.produce(events, before...)
	s := start(l, Config{KafkaTopics: []TopicConfig{{Name: events, Complete: true}}, DeadLetters: box})
	seen := s.await("catching_up false", 3)
	applied := slices.DeleteFunc(slices.Clone(seen), func(c string) bool { return !strings.HasPrefix(c, "apply") })
	if len(applied) != 300 || !s.CaughtUp() {
		t.Errorf("caught up: %v; %d records applied before that, want 300", s.CaughtUp(), len(applied))
	}
	if got := s.Directory().Symbols(); len(got) != 10 || got[0] != "SIM:0" {
		t.Errorf("symbols %v", got)
	}
	p, ok := s.Directory().Find("SIM:7")
	if !ok {
		t.Fatal("SIM:7 is not known")
	}

	bad := Record{Key: []byte("SIM:7"), Value: []byte("not protobuf")}
	l.produce(events, bad, levels("SIM:7", 1))
	if got := s.await("apply SIM:7", 1); len(got) != 2 || got[0] != "refuse SIM:7 bad_record" {
		t.Errorf("books were told %q", got)
	}
	letters, _ := l.collect(l.open(dead, Start{}), 1)
	headers := map[string]string{}
	for _, h := range letters[0].Headers {
		headers[h.Key] = string(h.Value)
	}
	if string(letters[0].Value) != "not protobuf" || headers[DeadLetterReason] != CodeMalformed || headers[DeadLetterText] == "" ||
		headers[DeadLetterTopic] != events || headers[DeadLetterPartition] != fmt.Sprint(p.ID().Partition) {
		t.Errorf("dead letter %q with %q", letters[0].Value, headers)
	}
	if err := box.Close(l.ctx); err != nil {
		t.Error(err)
	}
}

func TestKafkaTopicRecreatedUnderIngestBeginsAnotherEpoch(t *testing.T) {
	l := newLab(t)
	events := l.topic(1, nil)
	l.produce(events, levels("SIM:A", 1), levels("SIM:A", 2))
	s := start(l, Config{KafkaTopics: []TopicConfig{{Name: events}}})
	first := s.await("begin", 1)
	s.await("catching_up false", 1)
	l.recreate(events)
	l.produce(events, levels("SIM:B", 1))
	seen := s.await("apply SIM:B", 1)
	recreated := slices.Index(seen, "refuse  recreated")
	begun := slices.IndexFunc(seen, func(c string) bool { return strings.HasPrefix(c, "begin") })
	if recreated < 0 || begun < recreated || seen[begun] == first[len(first)-1] {
		t.Errorf("books were told %q after %q", seen, first)
	}
	s.await("catching_up false", 1)
}

func TestKafkaBrokerThatFreezesMakesBooksStaleAndBack(t *testing.T) {
	g := newGate()
	l := newLab(t, func(c *KafkaConfig) {
		c.dial = g.dial
		c.MaxWait, c.ReadTimeout = 20*time.Millisecond, 100*time.Millisecond
	})
	events := l.topic(1, nil)
	s := start(l, Config{KafkaTopics: []TopicConfig{{Name: events}},
		UnreachableAfter: 300 * time.Millisecond, TickEvery: 10 * time.Millisecond})
	s.await("catching_up false", 1)
	g.freeze()
	s.await("stale kafka_unreachable true", 1)
	g.open()
	s.await("stale kafka_unreachable false", 1)
	l.produce(events, levels("SIM:A", 1))
	s.await("apply SIM:A", 1)
}

func TestKafkaNodesAgreeOnEpochs(t *testing.T) {
	l := newLab(t)
	events := l.topic(2, nil)
	epochs := func() []string {
		begun := slices.DeleteFunc(start(l, Config{KafkaTopics: []TopicConfig{{Name: events}}}).await("begin", 2),
			func(c string) bool { return !strings.HasPrefix(c, "begin") })
		slices.Sort(begun)
		return begun
	}
	a, b := epochs(), epochs()
	if !slices.Equal(a, b) || a[0] == a[1] {
		t.Errorf("epochs of one node %q, of another %q", a, b)
	}
}

func TestWatcherFindingsReachThePartitions(t *testing.T) {
	r, other := newRig(t, nil), newRigIn(t, newDirectory(), PartitionID{"more", 0}, nil)
	in := &Ingest{partitions: []*Partition{r.Partition, other.Partition}, log: quiet, logLimit: rate.NewLimiter(0, 0)}
	here := PartitionID{KafkaTopic: "events"}
	if err := in.watched(WatchEvent{Kind: WatchOffsets, Partition: here, Offsets: Offsets{HighWatermark: 7}}); err != nil {
		t.Error(err)
	}
	if a, b := r.Stats().Lag(), other.Stats().Lag(); a != 7 || b != 0 {
		t.Errorf("lags %d and %d, want 7 and 0", a, b)
	}
	for _, k := range []WatchKind{WatchShrunk, WatchRecreated} {
		if err := in.watched(WatchEvent{Kind: k, Partition: here}); err != nil {
			t.Error(err)
		}
	}
	if a, b := r.source.rechecks.Load(), other.source.rechecks.Load(); a != 2 || b != 0 {
		t.Errorf("%d and %d rechecks, want 2 and 0", a, b)
	}
	r.want()
	added := in.watched(WatchEvent{Kind: WatchOffsets, Partition: PartitionID{"events", 3}})
	wantError(t, added, ErrPartitionAdded, "events/3")
	other.want()
	for _, k := range []WatchKind{WatchUnreachable, WatchMissing, WatchReachable} {
		if err := in.watched(WatchEvent{Kind: k, Since: rigStart}); err != nil {
			t.Error(err)
		}
	}
	r.want()
}

// What is no record does not make a log begin later.
func TestKafkaLogThatBeginsWithAnAbortedTransactionIsComplete(t *testing.T) {
	l := newLab(t)
	events := l.topic(1, nil)
	tx := l.writer(events, "tx")
	tx.begin()
	tx.write("aborted")
	tx.end(kgo.TryAbort)
	l.produce(events, levels("SIM:A", 1))
	s := start(l, Config{KafkaTopics: []TopicConfig{{Name: events, Complete: true}}})
	seen := s.await("apply SIM:A@0/", 1)
	if got := strings.Join(seen, ", "); !strings.Contains(got, "begin true") || strings.Contains(got, "refuse") {
		t.Errorf("books were told %s", got)
	}
}

// Reading ends, so that who runs it opens it again: with the partition.
func TestKafkaAddedPartitionEndsReadingAndIsReadByTheNext(t *testing.T) {
	l := newLab(t)
	events := l.topic(1, nil)
	l.produce(events, levels("SIM:A", 1))
	s := start(l, Config{KafkaTopics: []TopicConfig{{Name: events}}})
	s.await("catching_up false", 1)
	l.addPartitions(events, 2)
	s.wantEnd = ErrPartitionAdded
	s.stop()
	moved := ""
	for i := 0; moved == ""; i++ { // a symbol that the partitioner puts into the new one
		if name := symbolName(i); kgo.StickyKeyPartitioner(nil).ForTopic(events).Partition(&kgo.Record{Key: []byte(name)}, 2) == 1 {
			moved = name
		}
	}
	l.produce(events, levels(moved, 1))
	s = start(l, Config{KafkaTopics: []TopicConfig{{Name: events}}})
	s.await("apply "+moved+"@1/0", 1)
}

func TestIngestSaysAtOnceWhatIsWrong(t *testing.T) {
	l := newLab(t)
	events := l.topic(1, nil)
	books := func(id PartitionID) Books { return &diary{} }
	_, err := Open(l.ctx, l.Cluster, Config{KafkaTopics: []TopicConfig{{Name: events}, {Name: "no-such-topic"}}}, books)
	wantError(t, err, ErrNoTopic, "no-such-topic", "--kafka-topic")
	for want, cfg := range map[string]Config{
		"no Kafka topic given":           {},
		"without a name":                 {KafkaTopics: []TopicConfig{{}}},
		"given twice":                    {KafkaTopics: []TopicConfig{{Name: "a"}, {Name: "a"}}},
		`no format "xml"`:                {KafkaTopics: []TopicConfig{{Name: "a", Format: "xml"}}},
		"cannot be complete":             {KafkaTopics: []TopicConfig{{Name: "a", Format: "raw-of-tests", Complete: true}}},
		"missing offsets":                {KafkaTopics: []TopicConfig{{Name: "a", Complete: true, Compacted: true}}},
		"an offset is no start":          {KafkaTopics: []TopicConfig{{Name: "a"}}, Start: Start{From: FromOffset}},
		`instrument "a b"`:               {KafkaTopics: []TopicConfig{{Name: "a"}}, Instruments: map[string]proto.Exponents{"a b": {}}},
		`instrument "X"`:                 {KafkaTopics: []TopicConfig{{Name: "a"}}, Instruments: map[string]proto.Exponents{"X": {Price: 10}}},
		"MaxLag -1":                      {KafkaTopics: []TopicConfig{{Name: "a"}}, MaxLag: -1},
		"SilentAfter -1s is below":       {KafkaTopics: []TopicConfig{{Name: "a"}}, SilentAfter: -time.Second},
		"HoldRecords -1 is not within 1": {KafkaTopics: []TopicConfig{{Name: "a"}}, HoldRecords: -1},
	} {
		if _, err := Open(l.ctx, l.Cluster, cfg, books); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestEpochDependsOnConfiguredInstruments(t *testing.T) {
	a := Config{Instruments: map[string]proto.Exponents{"X": {Price: -2}, "Y": {Qty: -3}}}
	b := Config{Instruments: map[string]proto.Exponents{"X": {Price: -2}, "Y": {Qty: -4}}}
	if string(a.instrumentConfig()) == string(b.instrumentConfig()) || len((&Config{}).instrumentConfig()) != 0 {
		t.Error("the epoch would not tell them apart")
	}
}
