package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// outage is a broker that a test can take away and bring back, with its records.
type outage struct {
	*lab
	down, up func()
}

// newOutage is the embedded broker with its records on disk, or the one that
// DEPTHCAST_TEST_KAFKA_CTL stops and starts.
func newOutage(t *testing.T, verb string) *outage {
	t.Helper()
	if os.Getenv("DEPTHCAST_TEST_KAFKA") != "" {
		ctl := os.Getenv("DEPTHCAST_TEST_KAFKA_CTL")
		if ctl == "" {
			t.Skip("the real broker cannot be stopped (no DEPTHCAST_TEST_KAFKA_CTL): skipped")
		}
		run := func(verb string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			if out, err := exec.CommandContext(ctx, ctl, verb).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", verb, err, out)
			}
		}
		l := newLab(t, 1)
		t.Cleanup(func() { run("start") }) // for the tests to come
		return &outage{l, func() { run(verb) }, func() { run("start") }}
	}
	cfg := ingest.EmbeddedConfig{DataDir: t.TempDir()}
	start := func() *ingest.Embedded {
		t.Helper()
		b, err := ingest.StartEmbedded(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	broker := start()
	_, port, err := net.SplitHostPort(broker.Address())
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	return &outage{labAt(t, broker.Address(), 1), func() { broker.Close() }, func() { broker = start() }}
}

// While the broker is away, books are kept and shown as stale; when it is back
// they go on where they were, and nothing is lost.
func TestEndToEndBooksAreStaleWhileTheBrokerIsAwayAndGoOnAfterwards(t *testing.T) {
	for _, verb := range []string{"stop", "kill"} {
		t.Run(verb, func(t *testing.T) {
			if verb == "kill" && os.Getenv("DEPTHCAST_TEST_KAFKA") == "" {
				t.Skip("the embedded broker cannot be killed apart from the test: skipped")
			}
			brokerGoesAway(t, newOutage(t, verb))
		})
	}
}

func brokerGoesAway(t *testing.T, o *outage) {
	g := newLedger(o.lab, 1)
	g.whole(victim, 5)
	server := o.serve(func(r *readFlags, _ *serverFlags) { r.MaxOutage = 300 * time.Millisecond })
	server.caughtUpTo(o.lab)
	var all []*witness
	for codec := range proto.NumCodecs {
		w := g.follow(server, codec, victim)
		w.live(victim, 0)
		all = append(all, w)
	}
	seqs := []int64{g.change(victim, proto.Bid, 99, 1)}
	for _, w := range all {
		w.live(victim, seqs[0])
	}
	o.down()
	for _, w := range all {
		w.until("stale", victim, func(n *notes) bool { return n.stand() == "stale kafka_unreachable" })
	}
	if got := server.book(victim); got.State != proto.Stale || len(got.Bids) != 2 || g.wrong(victim, false, got.Seq, got.Hash) != "" {
		t.Errorf("the stale book is %+v", got)
	}
	late := g.follow(server, proto.CodecProto, victim) // the stale book is shown to those who come, too
	late.until("stale", victim, func(n *notes) bool { return n.stand() == "stale kafka_unreachable" && n.seq == seqs[0] })
	o.up()
	for _, w := range append(all, late) {
		w.live(victim, seqs[0])
	}
	for i := range int64(20) {
		seqs = append(seqs, g.change(victim, proto.Ask, 201+i, 1))
	}
	for _, w := range append(all, late) {
		w.live(victim, seqs[len(seqs)-1])
	}
	for _, w := range all {
		w.mu.Lock()
		n := w.notes[victim]
		if len(n.deltas) != len(seqs) || len(n.sets) != 1 || n.lost+n.cut != 0 {
			t.Errorf("%+v; want every delta of %v after one snapshot", *n, seqs)
		}
		w.mu.Unlock()
	}
}

// A Kafka topic that was deleted and made again is another history: its books are
// unknown until the new one tells them, under another epoch, although its offsets
// are those of the old one.
func TestEndToEndRecreatedKafkaTopicBeginsAnotherHistory(t *testing.T) {
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(victim, 5)
	server := l.serve(nil)
	server.caughtUpTo(l)
	w := g.follow(server, proto.CodecProto, victim)
	w.live(victim, g.change(victim, proto.Bid, 99, 1))
	epoch := server.book(victim).Epoch
	l.recreate(1)
	w.until("recovering", victim, func(n *notes) bool { return n.stand() == "recovering recreated" })
	g.restart()
	g.whole(victim, 6)
	last := g.change(victim, proto.Ask, 201, 3)
	w.until("the new history", victim, func(n *notes) bool {
		return n.stand() == "live" && n.seq == last && n.epoch != epoch && n.epoch != 0
	})
	server.counted(`depthcast_ingest_recreations_total{kafka_topic="`+l.events+`",partition="0"}`, "1")
}

// Records that were deleted before they were read are missed: their books wait
// for a snapshot.
func TestEndToEndRecordsDeletedBeforeTheyWereReadMakeBooksRecovering(t *testing.T) {
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(victim, 5)
	first := l.serve(nil)
	first.caughtUpTo(l)
	w := g.follow(first, proto.CodecProto, victim)
	w.live(victim, 0)
	w.stop()
	first.stop()
	g.change(victim, proto.Bid, 99, 1)
	l.deleteRecords(1) // the snapshot is gone
	second := l.serve(nil)
	second.caughtUpTo(l)
	w = g.follow(second, proto.CodecJSON, victim)
	w.until("recovering", victim, func(n *notes) bool { return n.stand() == "recovering no_snapshot" })
	w.live(victim, g.whole(victim, 6))
}

// deleteRecords deletes the lab's records before offset.
func (l *lab) deleteRecords(offset int64) {
	l.t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(l.kafka.Brokers...))
	if err != nil {
		l.t.Fatal(err)
	}
	defer k.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	topic := kmsg.NewDeleteRecordsRequestTopic()
	topic.Topic = l.events
	partition := kmsg.NewDeleteRecordsRequestTopicPartition()
	partition.Offset = offset
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(l.ctx, k)
	if err != nil {
		l.t.Fatal(err)
	}
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != 0 {
		l.t.Fatalf("deleting records: error code %d", code)
	}
}
