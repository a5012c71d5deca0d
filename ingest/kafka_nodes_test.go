package ingest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nodesLimit is testLimit where nodes start, die, and are missed by others.
const nodesLimit = 10 * time.Minute

// nodes is a cluster of three Kafka nodes, 1 to 3, that a test can stop, kill and
// start. A record is stored by those that its Kafka topic is assigned to.
type nodes struct {
	*lab
	dir string
}

// startNodes starts a cluster by the script that DEPTHCAST_TEST_KAFKA_UP names.
func startNodes(t *testing.T) *nodes {
	t.Helper()
	up := os.Getenv("DEPTHCAST_TEST_KAFKA_UP")
	if up == "" {
		t.Skip("several real nodes are needed (no DEPTHCAST_TEST_KAFKA_UP; make test-kafka): skipped")
	}
	dir := t.TempDir()
	ctx := testContextFor(t, nodesLimit)
	t.Cleanup(func() {
		if out, err := exec.Command(filepath.Join(filepath.Dir(up), "down"), dir).CombinedOutput(); err != nil {
			t.Errorf("down: %v: %s", err, out)
		}
	})
	out, err := exec.CommandContext(ctx, up, dir, "3").Output()
	if err != nil {
		t.Fatalf("%s: %v", up, err)
	}
	return &nodes{newLabIn(t, ctx, KafkaConfig{Brokers: strings.Split(strings.TrimSpace(string(out)), ","),
		BackoffMin: time.Millisecond, BackoffMax: 50 * time.Millisecond, RequestTimeout: 30 * time.Second}), dir}
}

// ctl stops, kills or starts a node.
func (n *nodes) ctl(node int32, verb string) {
	n.t.Helper()
	if out, err := exec.CommandContext(n.ctx, filepath.Join(n.dir, fmt.Sprint(node), "ctl"), verb).CombinedOutput(); err != nil {
		n.t.Fatalf("node %d: %s: %v: %s", node, verb, err, out)
	}
}

// on creates a Kafka topic of one partition whose replicas are on these nodes; the
// first leads.
func (n *nodes) on(name string, configs map[string]string, replicas ...int32) {
	n.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	a.Replicas = replicas
	t.ReplicaAssignment = append(t.ReplicaAssignment, a)
	for k, v := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, kmsg.StringPtr(v)
		t.Configs = append(t.Configs, c)
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(n.ctx, n.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err == nil {
		err = n.awaitLeaders(n.ctx, []TopicSpec{{Name: name, Partitions: 1}})
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

// open is the lab's, but asks again while the node that was asked has not heard of
// the Kafka topic yet.
func (n *nodes) open(topic string, start Start) *KafkaSource {
	n.t.Helper()
	for {
		s, err := n.Open(n.ctx, PartitionID{topic, 0}, start)
		switch {
		case err == nil:
			n.t.Cleanup(func() { s.Close() })
			return s
		case !errors.Is(err, ErrNoTopic):
			n.t.Fatal(err)
		}
	}
}

// partition describes partition 0, asking until condition holds of it.
func (n *nodes) partition(name string, what string, condition func(p *kmsg.MetadataResponseTopicPartition) bool) *kmsg.MetadataResponseTopicPartition {
	n.t.Helper()
	for n.ctx.Err() == nil {
		m, err := n.metadata(n.ctx, []string{name})
		if err != nil || len(m.Topics[0].Partitions) == 0 {
			continue // the node that was asked knows nothing at the moment
		}
		if p := &m.Topics[0].Partitions[0]; condition(p) {
			return p
		}
	}
	n.t.Fatalf("%s: never %s", name, what)
	return nil
}

// through reads n records, whatever nodes come and go meanwhile.
func (n *nodes) through(s Source, count int) []Record {
	n.t.Helper()
	var all []Record
	for len(all) < count {
		f, err := s.Next(n.ctx)
		if err != nil && !errors.Is(err, ErrUnreachable) {
			n.t.Fatalf("after %d of %d records: %v", len(all), count, err)
		}
		if len(f.Gaps) > 0 {
			n.t.Fatalf("gaps %v", f.Gaps)
		}
		for _, r := range f.Records {
			all = append(all, Record{Offset: r.Offset, Value: append([]byte(nil), r.Value...)})
		}
	}
	return all
}

func TestKafkaNodesComeAndGo(t *testing.T) {
	n := startNodes(t)
	t.Run("a leader that goes loses nothing", func(t *testing.T) { leaderGoes(t, n) })
	t.Run("an unclean leader is noticed", func(t *testing.T) { uncleanLeader(t, n) })
}

// Whether its leader is stopped, so that it hands its partitions over, or killed:
// what was acknowledged is read once, in order, from the next leader.
func leaderGoes(t *testing.T, n *nodes) {
	for _, verb := range []string{"stop", "kill"} {
		topic := "leader-" + verb
		n.on(topic, map[string]string{"min.insync.replicas": "2"}, 1, 2, 3)
		s := n.open(topic, Start{})
		next := 0
		more := func() {
			t.Helper()
			n.produce(topic, numbered(fmt.Sprint(next), 100)...)
			for i, r := range n.through(s, 100) {
				if want := fmt.Sprintf("%d-%d", next, i); r.Offset != int64(next+i) || string(r.Value) != want {
					t.Fatalf("%s: at %d came %d %q", verb, next+i, r.Offset, r.Value)
				}
			}
			next += 100
		}
		more()
		for range 2 { // two nodes are a majority, and enough in sync
			was := n.partition(topic, "led", func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader >= 0 && len(p.ISR) == 3 }).Leader
			n.ctl(was, verb)
			more()
			n.ctl(was, "start")
			more()
		}
	}
}

// A node that lacks the log's end becomes the leader although others had more
// (unclean election). Who stood at the end is told that the log lost it; who comes
// back when there are new records in its place is told that they are others.
func uncleanLeader(t *testing.T, n *nodes) {
	const topic = "unclean"
	n.on(topic, map[string]string{"unclean.leader.election.enable": "true", "min.insync.replicas": "1"}, 1, 2)
	n.produce(topic, numbered("both", 5)...)
	n.partition(topic, "in sync", func(p *kmsg.MetadataResponseTopicPartition) bool { return len(p.ISR) == 2 })
	n.ctl(2, "stop")
	n.partition(topic, "alone", func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader == 1 && len(p.ISR) == 1 })
	n.produce(topic, numbered("one", 5)...)
	atOnce, later := n.open(topic, Start{}), n.open(topic, Start{})
	for _, s := range []*KafkaSource{atOnce, later} {
		if got := n.through(s, 10); string(got[9].Value) != "one-4" {
			t.Fatalf("read %q", got[9].Value)
		}
	}
	n.ctl(1, "kill")
	n.ctl(2, "start")
	n.partition(topic, "led by node 2", func(p *kmsg.MetadataResponseTopicPartition) bool { return p.Leader == 2 })

	var short *OutOfRange
	if err := n.failure(atOnce); !errors.As(err, &short) || short.Truncated() || short.Wanted != 10 || short.HighWatermark != 5 {
		t.Fatalf("error is %v", err)
	}
	p := n.raw(kgo.DefaultProduceTopic(topic))
	for i := range 8 {
		if err := p.ProduceSync(n.ctx, &kgo.Record{Value: fmt.Appendf(nil, "two-%d", i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.through(atOnce, 8); got[0].Offset != 5 || string(got[0].Value) != "two-0" {
		t.Fatalf("went on with %d %q", got[0].Offset, got[0].Value)
	}
	var other *Recreated
	if err := n.failure(later); !errors.As(err, &other) || other.WasID != other.IsID || other.Offset != 9 {
		t.Fatalf("error is %v", err)
	}
	if got := n.through(later, 3); got[0].Offset != 10 || string(got[0].Value) != "two-5" {
		t.Fatalf("went on with %d %q", got[0].Offset, got[0].Value)
	}
}

// failure is the first error of s that says more than that nobody answers.
func (n *nodes) failure(s Source) error {
	n.t.Helper()
	for {
		if err := n.nextError(s); !errors.Is(err, ErrUnreachable) {
			return err
		}
	}
}
