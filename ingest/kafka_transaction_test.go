package ingest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// writer is a producer in a test, transactional if it was given an id.
type writer struct {
	l     *lab
	topic string
	*kgo.Client
}

func (l *lab) writer(topic string, transactionalID ...string) *writer {
	opts := []kgo.Opt{kgo.DefaultProduceTopic(topic)}
	if len(transactionalID) > 0 {
		opts = append(opts, kgo.TransactionalID(topic+"-"+transactionalID[0]))
	}
	return &writer{l, topic, l.raw(opts...)}
}

func (w *writer) begin() {
	w.l.t.Helper()
	if err := w.BeginTransaction(); err != nil {
		w.l.t.Fatal(err)
	}
}

// write stores each value as a batch of its own.
func (w *writer) write(values ...string) {
	w.l.t.Helper()
	for _, v := range values {
		if err := w.ProduceSync(w.l.ctx, &kgo.Record{Key: []byte(v), Value: []byte(v)}).FirstErr(); err != nil {
			w.l.t.Fatalf("writing %s: %v", v, err)
		}
	}
}

func (w *writer) end(how kgo.TransactionEndTry) {
	w.l.t.Helper()
	if err := w.EndTransaction(w.l.ctx, how); err != nil {
		w.l.t.Fatal(err)
	}
}

// stored is a record as a test compares it.
func stored(offset int64, value []byte) string { return fmt.Sprintf("%d=%s", offset, value) }

// truth is what franz-go's consumer reads of partition 0, committed records only,
// up to the one with the value last.
func (l *lab) truth(topic, last string) []string {
	l.t.Helper()
	c, err := kgo.NewClient(append(l.Cluster.cfg.clientOptions(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))...)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	var all []string
	for {
		fetches := c.PollFetches(l.ctx)
		if err := fetches.Err(); err != nil {
			l.t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			if all = append(all, stored(r.Offset, r.Value)); string(r.Value) == last {
				return all
			}
		}
	}
}

// readUntil reads until the record with the value last, and wants no gaps.
func (l *lab) readUntil(s Source, last string) []string {
	l.t.Helper()
	var all []string
	for {
		f, err := s.Next(l.ctx)
		if err != nil {
			l.t.Fatalf("after %d records: %v", len(all), err)
		}
		if len(f.Gaps) != 0 {
			l.t.Fatalf("gaps %v", f.Gaps)
		}
		for _, r := range f.Records {
			if all = append(all, stored(r.Offset, r.Value)); string(r.Value) == last {
				return all
			}
		}
	}
}

// Three transactional producers and one other write in turns and commit or abort
// as chance has it. Wherever reading begins, and however little a fetch brings,
// what is read is what was committed.
func TestKafkaAbortedRecordsAreNeverHandedOut(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	plain := l.writer(topic)
	txs := []*writer{l.writer(topic, "a"), l.writer(topic, "b"), l.writer(topic, "c")}
	open := make([]bool, len(txs))
	r := rand.New(rand.NewPCG(7, 11))
	end := func(i int) {
		how := kgo.TryAbort
		if r.IntN(2) == 0 {
			how = kgo.TryCommit
		}
		txs[i].end(how)
		open[i] = false
	}
	for n := range 120 {
		i := r.IntN(len(txs))
		switch {
		case r.IntN(4) == 0:
			plain.write(fmt.Sprint("plain-", n))
		case open[i] && r.IntN(4) == 0:
			end(i)
		default:
			if !open[i] {
				txs[i].begin()
				open[i] = true
			}
			txs[i].write(fmt.Sprintf("tx%d-%d", i, n))
		}
	}
	for i := range txs {
		if open[i] {
			end(i)
		}
	}
	plain.write("last")
	want := l.truth(topic, "last")
	if len(want) > 100 || len(want) < 40 {
		t.Fatalf("a weak test: %d records of 121 are to be read", len(want))
	}
	for _, maxBytes := range []int{1, 500, 8 << 20} { // 1: a fetch brings one batch
		l := newLabAt(t, l.cfg.Brokers[0], func(c *KafkaConfig) { c.MaxBytes = maxBytes })
		if got := l.readUntil(l.open(topic, Start{}), "last"); !slices.Equal(got, want) {
			t.Fatalf("fetching %d bytes read\n%v, want\n%v", maxBytes, got, want)
		}
		for from := int64(1); from < 121; from += 7 {
			rest := slices.DeleteFunc(slices.Clone(want), func(s string) bool {
				var offset int64
				_, _ = fmt.Sscan(strings.SplitN(s, "=", 2)[0], &offset)
				return offset < from
			})
			if got := l.readUntil(l.open(topic, Start{From: FromOffset, Offset: from}), "last"); !slices.Equal(got, rest) {
				t.Fatalf("fetching %d bytes from %d read\n%v, want\n%v", maxBytes, from, got, rest)
			}
		}
	}
}

// What follows the beginning of an open transaction is not readable: that is no
// lag, and no reason to distrust anything. When the transaction ends it comes.
func TestKafkaReadingStopsAtAnOpenTransaction(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		how  kgo.TransactionEndTry
		want string
	}{{"committed", kgo.TryCommit, "1=in-1 2=behind 3=in-2 5=last"}, {"aborted", kgo.TryAbort, "2=behind 5=last"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			topic := l.topic(1, nil)
			id := PartitionID{topic, 0}
			plain, tx := l.writer(topic), l.writer(topic, "tx")
			plain.write("before")
			tx.begin()
			tx.write("in-1")
			plain.write("behind")
			s := l.open(topic, Start{})
			if got := l.readUntil(s, "before"); len(got) != 1 {
				t.Fatalf("read %v", got)
			}
			for range 2 { // the broker's heartbeats
				f, err := s.Next(l.ctx)
				if err != nil || len(f.Records) != 0 || f.Next != 1 || f.HighWatermark != 1 || f.Undecided != 2 {
					t.Fatalf("with the transaction open: %+v, %v", f, err)
				}
			}
			if ends, err := l.Offsets(l.ctx, id); err != nil || ends[id].HighWatermark != 1 {
				t.Fatalf("the watcher sees %+v, %v", ends, err)
			}
			tx.write("in-2")
			tx.end(c.how)
			for ends := map[PartitionID]Offsets{}; ends[id].HighWatermark != 5; { // the marker is written later
				var err error
				if ends, err = l.Offsets(l.ctx, id); err != nil {
					t.Fatal(err)
				}
			}
			plain.write("last")
			if got := strings.Join(l.readUntil(s, "last"), " "); got != c.want {
				t.Fatalf("read %s, want %s", got, c.want)
			}
		})
	}
}

// Compaction takes records of both kinds, and markers, in its own time.
func TestKafkaAbortedRecordsStayAwayThroughCompaction(t *testing.T) {
	t.Parallel()
	b := newBroker(t, kfake.BrokerConfigs(map[string]string{"log.segment.bytes": "300"}))
	l := newLabAt(t, b.ListenAddrs()[0])
	topic := l.topic(1, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "delete.retention.ms": "0"})
	plain, tx := l.writer(topic), l.writer(topic, "tx")
	for n := range 12 {
		plain.write("x", fmt.Sprint("kept-", n))
		tx.begin()
		tx.write("x", fmt.Sprint("tx-", n))
		tx.end(n%3 != 0)
	}
	plain.write("last")
	for range 2 {
		b.Compact()
		want := l.truth(topic, "last")
		s := l.open(topic, Start{})
		var got []string
		var missing int64
		for next := int64(0); next < 61; {
			f, err := s.Next(l.ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range f.Gaps {
				missing += g.To - g.From
			}
			for _, r := range f.Records {
				got = append(got, stored(r.Offset, r.Value))
			}
			next = f.Next
		}
		if !slices.Equal(got, want) || missing == 0 {
			t.Fatalf("read\n%v, want\n%v; %d offsets missing", got, want, missing)
		}
	}
}
