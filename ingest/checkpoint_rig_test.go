package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/depthcast/depthcast/proto"
)

// ledger is Books whose state is the list of offsets applied to each symbol, so
// that a record left out, or applied twice, shows.
type ledger struct {
	books    map[string]*account
	whole    bool
	changed  chan struct{} // has room for one
	restored map[string]int64
}

type account struct {
	offsets []int64 // rising
	reason  proto.Reason
	fresh   bool // it began whole
	ended   bool
}

func newLedger() *ledger {
	return &ledger{books: map[string]*account{}, restored: map[string]int64{}, changed: make(chan struct{}, 1)}
}

func (l *ledger) of(symbol string) *account {
	a := l.books[symbol]
	if a == nil {
		a = &account{fresh: l.whole}
		if !l.whole {
			a.reason = proto.ReasonNoSnapshot
		}
		l.books[symbol] = a
	}
	return a
}

func (l *ledger) Begin(_ uint64, complete bool) { l.whole = complete; clear(l.books) }
func (l *ledger) Apply(b *proto.Batch) (proto.Outcome, error) {
	a := l.of(b.Symbol)
	a.offsets = append(a.offsets, b.Seq)
	a.ended = a.ended || b.Events[0].Kind == proto.EventInstrument
	return proto.Applied, nil
}

func (l *ledger) Refuse(symbol string, seq int64, r proto.Reason) {
	if symbol == "" {
		l.whole = false
	}
	for name, a := range l.books {
		anew := r == proto.ReasonTruncated || r == proto.ReasonRecreated
		if (symbol == "" || symbol == name) && (anew || seq > l.restoredAt(name)) {
			a.offsets, a.reason = nil, r
		}
	}
	if symbol != "" && l.books[symbol] == nil {
		l.books[symbol] = &account{reason: r}
	}
}

func (l *ledger) restoredAt(name string) int64 {
	if at, ok := l.restored[name]; ok {
		return at
	}
	return -1
}

func (l *ledger) CatchingUp(bool)                     {}
func (l *ledger) Living() int                         { return 0 }
func (l *ledger) Best(string) (proto.Quote, bool)     { return proto.Quote{}, false }
func (l *ledger) SetStale(string, proto.Reason, bool) {}
func (l *ledger) Tick(int64)                          {}
func (l *ledger) Release() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *ledger) SaveShared(to *proto.SharedState) { *to = proto.SharedState{Whole: l.whole} }
func (l *ledger) RestoreShared(s *proto.SharedState) error {
	l.whole = s.Whole
	return nil
}

func (l *ledger) Save(symbol string, to *proto.SymbolState) bool {
	a := l.books[symbol]
	if a == nil {
		return false
	}
	to.Book = proto.BookState{Seq: -1, Whole: a.reason == 0, Reason: a.reason, Kind: proto.BookByLevel,
		Bids: to.Book.Bids[:0], Chain: proto.ChainState{Offset: -1, Origin: -1}}
	if a.fresh {
		to.Book.Limit = 1
	}
	if a.ended {
		to.Book.EndReason = proto.ReasonDelisted
	}
	for _, o := range slices.Backward(a.offsets) {
		to.Book.Bids = append(to.Book.Bids, proto.Level{Price: o, Qty: 1})
	}
	return true
}

func (l *ledger) Restore(s *proto.SymbolState) error {
	a := &account{reason: s.Book.Reason, fresh: s.Book.Limit == 1, ended: s.Book.EndReason != 0}
	for _, level := range slices.Backward(s.Book.Bids) {
		a.offsets = append(a.offsets, level.Price)
	}
	l.books[s.Symbol] = a
	l.restored[s.Symbol] = s.Offset
	return nil
}

// state is all of it in text.
func (l *ledger) state() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(l.books)) {
		a := l.books[name]
		fmt.Fprintf(&b, "%s %s %v %v%s\n", name, proto.ReasonWord(a.reason), a.ended, a.offsets, map[bool]string{false: " began unknown"}[a.fresh])
	}
	return b.String()
}

// bench is one Kafka topic with checkpoints beside it, of which processes come and go.
type bench struct {
	*lab
	topic string
	cfg   Config
	next  int // records written
}

// newBench makes a Kafka topic of one partition in the text format, complete from
// offset 0.
func newBench(t *testing.T, change ...func(*Config)) *bench {
	l := newLab(t)
	b := &bench{lab: l, topic: l.topic(1, map[string]string{"retention.ms": "-1"})} // its records are old
	b.cfg = Config{
		KafkaTopics: []TopicConfig{{Name: b.topic, Format: textFormat, Complete: true}},
		Checkpoints: CheckpointConfig{Mode: CheckpointsWrite, KafkaTopic: b.topic + "-checkpoints", Interval: time.Hour},
		Log:         quiet,
	}
	for _, f := range change {
		f(&b.cfg)
	}
	l.t.Cleanup(func() { l.deleteTopic(b.cfg.Checkpoints.KafkaTopic) })
	return b
}

// write writes n records, round robin to SIM:0 to SIM:4.
func (b *bench) write(n int) {
	b.t.Helper()
	records := make([]Record, n)
	for i := range records {
		name := symbolName(b.next % 5)
		records[i] = Record{Key: []byte(name), Value: []byte(name + "|F|level"), Time: int64(1_700_000_000_000+b.next) * 1e6}
		b.next++
	}
	b.produce(b.topic, records...)
}

// put writes one record.
func (b *bench) put(key, value string) {
	b.t.Helper()
	b.produce(b.topic, Record{Key: []byte(key), Value: []byte(value), Time: int64(1_700_000_000_000+b.next) * 1e6})
	b.next++
}

// process is one life of a reader of the bench.
type process struct {
	*Partition
	b     *bench
	books *ledger
	stop  func() // returns when its last checkpoint was tried
}

// process starts one with the bench's configuration, changed.
func (b *bench) process(change ...func(*Config)) *process {
	b.t.Helper()
	cfg := b.cfg
	cfg.KafkaTopics = slices.Clone(cfg.KafkaTopics)
	for _, f := range change {
		f(&cfg)
	}
	p := &process{b: b, books: newLedger()}
	in, err := Open(b.ctx, b.Cluster, cfg, func(PartitionID) Books { return p.books })
	if err != nil {
		b.t.Fatal(err)
	}
	p.Partition = in.Partitions()[0]
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	p.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Run: %v", err)
		}
		ended <- nil
		b.settled()
	}
	b.t.Cleanup(p.stop)
	return p
}

// await returns when all that was written has been read.
func (p *process) await() *process { return p.until(func() bool { return p.next >= int64(p.b.next) }) }

// until returns when what is asked under the lock is so.
func (p *process) until(so func() bool) *process {
	p.b.t.Helper()
	for {
		ok := false
		p.Do(func() { ok = so() })
		if ok {
			return p
		}
		select {
		case <-p.books.changed:
		case <-p.b.ctx.Done():
			p.b.t.Fatalf("it does not come to that; at offset %d:\n%s", p.Stats().NextOffset.Load(), p.books.state())
		}
	}
}

func (p *process) state() (s string) {
	p.Do(func() { s = p.books.state() })
	return s
}

// checkpointed writes n records, reads them and leaves a checkpoint.
func (b *bench) checkpointed(n int) {
	b.t.Helper()
	b.write(n)
	p := b.process().await()
	p.stop()
	if got := p.Checkpoints().Floor.Load(); got != int64(b.next)-1 {
		b.t.Fatalf("the checkpoint is at %d, want %d (%v)", got, b.next-1, p.Checkpoints().Failures())
	}
}

// settled returns when no checkpoint is half committed. Kafka answers a commit before
// it writes the markers, and until then a reader finds the checkpoint before.
func (b *bench) settled() {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), testLimit)
	defer cancel()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{b.cfg.Checkpoints.KafkaTopic + "/" + b.topic + "/0"}
	for {
		resp, err := req.RequestWith(ctx, b.client)
		if err != nil || len(resp.TransactionStates) != 1 {
			return // a broker that is gone has nothing to read
		}
		if state := resp.TransactionStates[0].State; state != "PrepareCommit" && state != "PrepareAbort" {
			return
		}
	}
}

// same fails unless p, all read, is what a process without checkpoints is.
func (b *bench) same(p *process) {
	b.t.Helper()
	got := p.await().state()
	whole := b.process(func(c *Config) { c.Checkpoints.Mode = CheckpointsOff }).await()
	if want := whole.state(); got != want {
		b.t.Errorf("with checkpoints:\n%swithout:\n%s", got, want)
	}
	whole.stop()
}

// wantRestored fails unless p took so many symbols from a checkpoint, of which so
// many were damaged, and read its log from the offset on.
func (p *process) wantRestored(symbols, damaged int, from int64) {
	p.b.t.Helper()
	s := p.Checkpoints()
	if got := int(s.Restored.Load()); got != symbols {
		p.b.t.Errorf("%d symbols restored, want %d (refused: %v)", got, symbols, s.Refusals())
	}
	if got := int(s.Damaged.Load()); got != damaged {
		p.b.t.Errorf("%d symbols damaged, want %d", got, damaged)
	}
	if got := int64(p.b.next) - int64(p.Stats().Records.Load()); got != from {
		p.b.t.Errorf("read from offset %d, want %d", got, from)
	}
}

// wantRefused fails unless p found a checkpoint, refused it for the reason, and
// read the whole log.
func (p *process) wantNotUsed(reason string) {
	p.b.t.Helper()
	if got := p.Checkpoints().Refusals()[reason]; got != 1 {
		p.b.t.Errorf("refusals: %v, want one for %s", p.Checkpoints().Refusals(), reason)
	}
	p.wantRestored(0, 0, 0)
}

// store is how tests reach into the Kafka topic for checkpoints.
type store struct {
	*bench
	id PartitionID
}

func (b *bench) store() store { return store{b, PartitionID{b.topic, 0}} }

// read returns what is there.
func (s store) read() map[string]*storedState {
	s.t.Helper()
	cfg := s.cfg.Checkpoints
	if err := cfg.validate(); err != nil {
		s.t.Fatal(err)
	}
	got, err := s.readCheckpoint(s.ctx, &cfg, s.at(), s.id, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	return got.states
}

func (s store) at() PartitionID { return PartitionID{s.cfg.Checkpoints.KafkaTopic, 0} }

// put writes a record outside any transaction; nil is a tombstone.
func (s store) put(symbol string, index int, value []byte) {
	s.t.Helper()
	r := &kgo.Record{Topic: s.at().KafkaTopic, Key: []byte(chunkKey(s.id, symbol, index)), Value: value}
	if err := s.raw().ProduceSync(s.ctx, r).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// change puts another header in the place of the one that is there.
func (s store) change(f func(*proto.CheckpointHeader)) {
	s.t.Helper()
	data, err := s.read()[""].assemble(nil)
	var h proto.CheckpointHeader
	if err == nil {
		err = proto.DecodeCheckpointHeader(data, &h)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	f(&h)
	c := chunk{epoch: h.Epoch, offset: h.Floor, count: 1, data: proto.AppendCheckpointHeader(nil, &h)}
	s.put("", 0, appendChunk(nil, chunkKey(s.id, "", 0), &c))
}
