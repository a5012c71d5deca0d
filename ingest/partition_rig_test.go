package ingest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// The parts that tests of a partition are made of: a source that does what the
// test says, books that write down what is called, and a format in plain text.

const textFormat = "text-of-tests"

func init() {
	formats[textFormat] = format{contentType: "text/x-test", complete: true, new: newTextCodec}
	formats["raw-of-tests"] = format{contentType: "text/x-raw-test", new: newTextCodec}
	for name, f := range formats {
		formatNames[f.contentType] = name
	}
}

// textCodec reads "SYMBOL|FEED|KIND,KIND…". Its only state is how many records
// each instance has seen, which it puts into LastSourceSeq.
type textCodec struct {
	instruments Instruments
	seen        uint64
	batch       proto.Batch
}

func newTextCodec(i Instruments) Codec { return &textCodec{instruments: i} }

func (c *textCodec) Decode(rec *Record) (*proto.Batch, error) {
	c.seen++
	parts := strings.Split(string(rec.Value), "|")
	if len(parts) != 3 {
		return nil, refuse(CodeMalformed, "", proto.ReasonBadRecord, "%d parts", len(parts))
	}
	b := &c.batch
	*b = proto.Batch{Symbol: parts[0], Feed: parts[1], LastSourceSeq: c.seen,
		Exponents: c.instruments.Exponents(parts[0]), Events: b.Events[:0]}
	for _, kind := range strings.Split(parts[2], ",") {
		switch kind {
		case "level":
			b.Events = append(b.Events, proto.Event{Kind: proto.EventSetLevels})
		case "heartbeat":
			b.Events = append(b.Events, proto.Event{Kind: proto.EventHeartbeat})
		case "instrument":
			b.Events = append(b.Events, proto.Event{Kind: proto.EventInstrument,
				Instrument: &proto.Instrument{Exponents: proto.Exponents{Price: -2, Qty: -3}}})
		case "buffered":
			return nil, nil
		case "badtrade":
			return nil, refuse("bad_trade", b.Symbol, proto.ReasonNone, "a trade of nothing")
		default:
			return nil, refuse("unset_event", b.Symbol, proto.ReasonBadRecord, "nothing set in %q", kind)
		}
	}
	return b, nil
}

// answer is one answer of a script.
type answer struct {
	fetched Fetched
	err     error
}

// script is a Source that hands out what the test gives it.
type script struct {
	id    PartitionID
	asked chan struct{} // Next was called: what was handed out before is done with
	steps chan answer

	rechecks atomic.Int64
}

func (s *script) Partition() PartitionID { return s.id }
func (s *script) Close() error           { return nil }
func (s *script) Recheck()               { s.rechecks.Add(1) }

func (s *script) Next(ctx context.Context) (Fetched, error) {
	select {
	case s.asked <- struct{}{}:
	case <-ctx.Done():
		return Fetched{}, ctx.Err()
	}
	select {
	case st := <-s.steps:
		return st.fetched, st.err
	case <-ctx.Done():
		return Fetched{}, ctx.Err()
	}
}

// diary is Books that write down every call, in a line each.
type diary struct {
	best   proto.Quote // zero: the book is not whole
	living int
	lines  []string
	apply  func(*proto.Batch) (proto.Outcome, error) // nil: applied
}

func (d *diary) note(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *diary) Begin(_ uint64, complete bool) { d.note("begin complete=%v", complete) }
func (d *diary) Apply(b *proto.Batch) (proto.Outcome, error) {
	d.note("apply %s@%d", b.Symbol, b.Seq)
	if d.apply != nil {
		return d.apply(b)
	}
	return proto.Applied, nil
}
func (d *diary) Refuse(symbol string, seq int64, r proto.Reason) {
	d.note("refuse %s@%d %s", symbol, seq, proto.ReasonWord(r))
}
func (d *diary) CatchingUp(on bool)              { d.note("catching_up %v", on) }
func (d *diary) Living() int                     { return d.living }
func (d *diary) Best(string) (proto.Quote, bool) { return d.best, d.best != proto.Quote{} }

func (d *diary) SetStale(feed string, r proto.Reason, on bool) {
	d.note("stale %s %s %v", feed, proto.ReasonWord(r), on)
}
func (d *diary) Release() {}

func (d *diary) Tick(int64) {}

func (d *diary) Save(string, *proto.SymbolState) bool   { return false }
func (d *diary) Restore(*proto.SymbolState) error       { return nil }
func (d *diary) SaveShared(*proto.SharedState)          {}
func (d *diary) RestoreShared(*proto.SharedState) error { return nil }

// letters is a DeadLetterQueue that keeps everything.
type letters struct{ got []string }

func (l *letters) Put(from PartitionID, r Record, reason string) bool {
	text := ""
	for _, h := range r.Headers {
		if h.Key == DeadLetterText {
			text = string(h.Value)
		}
	}
	l.got = append(l.got, fmt.Sprintf("%s@%d %s=%s %s: %s", from, r.Offset, r.Key, r.Value, reason, text))
	return true
}

// rig is one partition under test. Its clock stands still until moved.
type rig struct {
	*testing.T
	*Partition
	source  *script
	books   *diary
	letters *letters
	logged  *bytes.Buffer // read it after stop
	clock   time.Time     // written between steps only
	stop    func()
}

var rigStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func rigNow() time.Time { return rigStart }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func symbolName(i int) string { return fmt.Sprintf("SIM:%d", i) }

// newRig starts a partition; change may alter its topic and bounds.
func newRig(t *testing.T, change func(*TopicConfig, *Config)) *rig {
	t.Helper()
	return newRigIn(t, newDirectory(), PartitionID{"events", 0}, change)
}

// newRigIn is newRig for one of three partitions that share a directory.
func newRigIn(t *testing.T, d *Directory, id PartitionID, change func(*TopicConfig, *Config)) *rig {
	t.Helper()
	r := &rig{T: t, clock: rigStart, books: &diary{}, letters: &letters{}, logged: &bytes.Buffer{},
		source: &script{id: id, asked: make(chan struct{}), steps: make(chan answer)}}
	cfg := Config{KafkaTopics: []TopicConfig{{Name: id.KafkaTopic, Format: textFormat}},
		DeadLetters: r.letters, Log: slog.New(slog.NewTextHandler(r.logged, nil))}
	if change != nil {
		change(&cfg.KafkaTopics[0], &cfg)
	}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	order := 0
	if id.KafkaTopic != "events" {
		order = 1
	}
	r.Partition = newPartition(&cfg, partitionConfig{
		topic: cfg.KafkaTopics[0], order: order, count: 3, topicID: [16]byte{1}, source: r.source, books: r.books,
		directory: d, now: func() time.Time { return r.clock },
		clusterID: func(context.Context) (string, error) { return "cluster", nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Partition.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		ended <- nil // a second stop
	}
	t.Cleanup(r.stop)
	<-r.source.asked
	return r
}

// give hands one answer over and returns when the partition has dealt with it.
func (r *rig) give(f Fetched, err error) {
	r.Helper()
	r.source.steps <- answer{f, err}
	select {
	case <-r.source.asked:
	case <-time.After(30 * time.Second):
		r.Fatal("the partition does not come back for more")
	}
}

// records hands over records that are the whole log, up to its end.
func (r *rig) records(rs ...Record) {
	r.Helper()
	next := rs[len(rs)-1].Offset + 1
	r.give(Fetched{Records: rs, Next: next, HighWatermark: next}, nil)
}

// said returns and forgets the diary, without the lines of a normal start.
func (r *rig) said() []string {
	var lines []string
	r.Do(func() { lines, r.books.lines = r.books.lines, nil })
	return slices.DeleteFunc(lines, func(s string) bool {
		return strings.HasPrefix(s, "begin") || strings.HasPrefix(s, "catching_up")
	})
}

// want fails unless the diary says exactly lines.
func (r *rig) want(lines ...string) {
	r.Helper()
	if got := r.said(); !slices.Equal(got, lines) {
		r.Errorf("books were told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

func (r *rig) wantRefused(code string, n uint64) {
	r.Helper()
	if got := r.Stats().Refused()[code]; got != n {
		r.Errorf("refused %s: %d, want %d (all: %v)", code, got, n, r.Stats().Refused())
	}
}

// rec is a record of the text format; value without "|" stands for the kinds of
// a record of key on feed F.
func rec(offset int64, key, value string) Record {
	if !strings.Contains(value, "|") && value != "garbage" {
		value = key + "|F|" + value
	}
	return Record{Offset: offset, Time: rigStart.UnixNano() + offset, Key: []byte(key), Value: []byte(value)}
}
