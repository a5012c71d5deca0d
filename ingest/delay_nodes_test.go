package ingest

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/depthcast/depthcast/proto"
)

// lateNodes is a cluster of three nodes, and an Ingest that is late by a clock which
// hardly goes on until the test moves it.
type lateNodes struct {
	*lab
	broker *kfake.Cluster
	topic  string
	in     *started

	mu    sync.Mutex
	clock time.Time
	came  map[string]time.Time // when the log had a symbol's only record
}

const (
	nodesDelay = MinDelay // as short as can be, so that looks are frequent
	nodesSlack = 20 * time.Millisecond
)

func newLateNodes(t *testing.T) *lateNodes {
	t.Helper()
	n := &lateNodes{broker: newBroker(t, kfake.NumBrokers(3)), clock: time.Now().Truncate(time.Millisecond), came: map[string]time.Time{}}
	n.lab = newLabAt(t, n.broker.ListenAddrs()[0], func(c *KafkaConfig) { c.MaxWait = 20 * time.Millisecond })
	n.topic = n.lab.topic(1, map[string]string{"retention.ms": "-1"})
	n.in = startWith(n.lab, Config{KafkaTopics: []TopicConfig{{Name: n.topic, Complete: true}}, Delay: nodesDelay, Now: n.now, MaxLag: 1,
		SilentAfter: time.Hour}, func(w *wire) Books { return &punctual{w, n} })
	return n
}

func (n *lateNodes) now() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clock = n.clock.Add(nodesDelay / 10_000) // so that looks can be told apart
	return n.clock
}

func (n *lateNodes) pass(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clock = n.clock.Add(d + nodesSlack)
}

// write writes the only record of a symbol, whose timestamp is off by some time, and
// waits until that was seen.
func (n *lateNodes) write(symbol string, off time.Duration, pad int) {
	n.t.Helper()
	n.look()
	n.put(symbol, off, pad)
	n.look()
}

// put is write without looks.
func (n *lateNodes) put(symbol string, off time.Duration, pad int) {
	n.t.Helper()
	now := n.now()
	n.mu.Lock()
	n.came[symbol] = now
	n.mu.Unlock()
	r := levels(symbol, 1)
	r.Time, r.Headers = now.Add(off).UnixNano(), []Header{{"pad", []byte(strings.Repeat("x", pad))}}
	n.produce(n.topic, r)
}

// look waits until the watcher has had a look that began after now.
func (n *lateNodes) look() {
	n.t.Helper()
	stage := n.in.Partitions()[0].late
	looks := func() uint64 {
		stage.mu.Lock()
		defer stage.mu.Unlock()
		return stage.count
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for was := looks(); looks() < was+2; { // one may be under way
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			n.t.Fatal("nobody looks")
		}
	}
}

// move gives the log another leader, and waits until that was seen.
func (n *lateNodes) move() {
	n.t.Helper()
	if err := n.broker.MoveTopicPartition(n.topic, 0, (n.broker.LeaderFor(n.topic, 0)+1)%3); err != nil {
		n.t.Fatal(err)
	}
	n.look()
}

// applied waits until a symbol's record is, and fails where anything is told to the
// books beside records.
func (n *lateNodes) applied(symbols ...string) {
	n.t.Helper()
	for _, symbol := range symbols {
		for _, call := range n.in.await("apply", 1) {
			if !strings.HasPrefix(call, "apply "+symbol+"@") {
				n.t.Errorf("%q, want the record of %s", call, symbol)
			}
		}
	}
}

// punctual are books that know when records may come.
type punctual struct {
	*wire
	nodes *lateNodes
}

func (p *punctual) Apply(b *proto.Batch) (proto.Outcome, error) {
	p.nodes.mu.Lock()
	if age := p.nodes.clock.Sub(p.nodes.came[b.Symbol]); age < nodesDelay-nodesSlack {
		p.nodes.t.Errorf("%s came after %v", b.Symbol, age)
	}
	p.nodes.mu.Unlock()
	return p.wire.Apply(b)
}

// The log's leader changes again and again while records wait: each comes when it is
// due, in order, and books hear of nothing else.
func TestKafkaLateRecordsOutliveLeaders(t *testing.T) {
	t.Parallel()
	n := newLateNodes(t)
	n.in.await("catching_up false", 1)
	const steps, held = 9, 4 // records, and how many wait at a time
	for i := range steps + held {
		if i >= held {
			n.pass(nodesDelay / held)
			n.applied(symbolName(i - held))
		} else {
			n.pass(nodesDelay / held)
		}
		if i < steps {
			n.write(symbolName(i), 0, 0)
		}
		if i%2 == 0 {
			n.move()
		}
	}
}

// Nor do timestamps that are false make one early then, and none is held for long.
func TestKafkaLateRecordsOutliveLeadersWithFalseTimestamps(t *testing.T) {
	t.Parallel()
	n := newLateNodes(t)
	n.in.await("catching_up false", 1)
	var all []string
	for i, off := range []time.Duration{-time.Hour, time.Hour, -nodesDelay / 2, time.Hour, -time.Hour, 0} {
		all = append(all, symbolName(i))
		n.write(symbolName(i), off, 0)
		n.move()
		n.pass(nodesDelay / 8)
	}
	n.pass(nodesDelay)
	n.applied(all...)
}

// Records that are deleted while they wait show as missing when they would have come,
// and those behind them come.
func TestKafkaLateRecordsThatAreDeletedAreMissedWhenTheyAreDue(t *testing.T) {
	t.Parallel()
	n := newLateNodes(t)
	n.in.await("catching_up false", 1)
	const large = 600 << 10 // so that not all are fetched ahead
	for i := range 4 {
		n.write(symbolName(i), 0, large)
		n.pass(nodesDelay / 8)
	}
	n.deleteRecords(n.topic, 3)
	n.look()
	n.pass(nodesDelay / 2)
	n.applied(symbolName(0)) // it was fetched at once
	n.pass(nodesDelay / 8)   // the next may have been, but not that behind it
	n.pass(nodesDelay / 8)
	calls := n.in.await("refuse", 1)
	if last := calls[len(calls)-1]; last != "refuse  truncated" || len(calls) > 2 {
		t.Errorf("books are told %q", calls)
	}
	n.pass(nodesDelay / 8)
	n.applied(symbolName(3))
}

// A log that takes the place of another while its records wait: what was fetched of the
// first comes when it is due, then what was not is missed, and the other begins, whose
// records are late as well, whatever their timestamps say.
func TestKafkaLateRecordsOfALogThatIsReplacedComeFirst(t *testing.T) {
	t.Parallel()
	n := newLateNodes(t)
	n.in.await("catching_up false", 1)
	for i := range 2 {
		n.write(symbolName(i), 0, 0)
		n.pass(nodesDelay / 8)
	}
	n.look()
	n.recreate(n.topic)
	n.put(symbolName(2), -time.Hour, 0)
	n.pass(nodesDelay / 2)
	n.put(symbolName(3), time.Hour, 0)
	n.pass(nodesDelay / 4)
	n.applied(symbolName(0))
	n.pass(nodesDelay / 8)
	calls := n.in.await("catching_up false", 1)
	if len(calls) != 4 || calls[0] != "refuse  recreated" || !strings.HasPrefix(calls[2], "begin true") {
		t.Errorf("books are told %q", calls)
	}
	n.pass(nodesDelay)
	n.applied(symbolName(2), symbolName(3))
}
