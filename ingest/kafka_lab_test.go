package ingest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// testLimit ends a test that hangs. Nothing is measured against it.
const testLimit = 60 * time.Second

func testContext(t testing.TB) context.Context { return testContextFor(t, testLimit) }

func testContextFor(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// lab is a broker to test against: the one at DEPTHCAST_TEST_KAFKA, or an
// embedded one of the test's own.
type lab struct {
	*Cluster
	t   testing.TB
	ctx context.Context
	cfg KafkaConfig
}

func newLab(t testing.TB, change ...func(*KafkaConfig)) *lab {
	t.Helper()
	address := os.Getenv("DEPTHCAST_TEST_KAFKA")
	if address == "" {
		e, err := StartEmbedded(EmbeddedConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		address = e.Address()
	}
	return newLabAt(t, address, change...)
}

func newLabAt(t testing.TB, address string, change ...func(*KafkaConfig)) *lab {
	t.Helper()
	cfg := KafkaConfig{Brokers: []string{address}, BackoffMin: time.Millisecond, BackoffMax: 50 * time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	return newLabIn(t, testContext(t), cfg)
}

func newLabIn(t testing.TB, ctx context.Context, cfg KafkaConfig) *lab {
	t.Helper()
	c, err := Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &lab{Cluster: c, t: t, ctx: ctx, cfg: cfg}
}

// topic creates a Kafka topic that no other test uses.
func (l *lab) topic(partitions int32, configs map[string]string) string {
	l.t.Helper()
	name := "ingest-" + strings.ToLower(rand.Text())
	l.create(name, partitions, configs)
	l.t.Cleanup(func() { l.deleteTopic(name) })
	return name
}

func (l *lab) create(name string, partitions int32, configs map[string]string) {
	l.t.Helper()
	if err := l.EnsureTopics(l.ctx, TopicSpec{Name: name, Partitions: partitions, Configs: configs}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) deleteTopic(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), testLimit)
	defer cancel()
	req := kmsg.NewPtrDeleteTopicsRequest()
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, t)
	req.TopicNames = []string{name}
	_, _ = req.RequestWith(ctx, l.client) // a broker that is gone took the topic with it
}

// recreate deletes the Kafka topic and creates it again under the same name.
func (l *lab) recreate(name string) {
	l.t.Helper()
	was := l.topicID(name)
	l.deleteTopic(name)
	for l.ctx.Err() == nil {
		l.create(name, 1, map[string]string{"retention.ms": "-1"})
		if info, err := l.Describe(l.ctx, name); err == nil && info.Topics[0].ID != was {
			return
		}
	}
	l.t.Fatal("the Kafka topic was not recreated")
}

func (l *lab) topicID(name string) [16]byte {
	l.t.Helper()
	info, err := l.Describe(l.ctx, name)
	if err != nil {
		l.t.Fatal(err)
	}
	return info.Topics[0].ID
}

// addPartitions makes them count.
func (l *lab) addPartitions(name string, count int32) {
	l.t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = name, count
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(l.ctx, l.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// deleteRecords truncates partition 0 below offset.
func (l *lab) deleteRecords(name string, offset int64) {
	l.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic = name
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Offset = offset
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(l.ctx, l.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// raw is a franz-go client that writes to partition 0.
func (l *lab) raw(opts ...kgo.Opt) *kgo.Client {
	l.t.Helper()
	all := append(l.Cluster.cfg.clientOptions(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	client, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(client.Close)
	return client
}

// produce writes records as one batch or several and returns when they are stored.
func (l *lab) produce(topic string, records ...Record) {
	l.t.Helper()
	p, err := l.NewProducer(ProducerConfig{KafkaTopic: topic})
	if err != nil {
		l.t.Fatal(err)
	}
	if err := p.Produce(l.ctx, records); err != nil {
		l.t.Fatal(err)
	}
	if err := p.Close(l.ctx); err != nil {
		l.t.Fatal(err)
	}
}

// open opens partition 0.
func (l *lab) open(topic string, start Start) *KafkaSource {
	l.t.Helper()
	s, err := l.Open(l.ctx, PartitionID{topic, 0}, start)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { s.Close() })
	return s
}

// collect reads until n records came, which it copies, with all gaps.
func (l *lab) collect(s Source, n int) ([]Record, []OffsetGap) {
	l.t.Helper()
	var records []Record
	var gaps []OffsetGap
	for len(records) < n {
		f, err := s.Next(l.ctx)
		if err != nil {
			l.t.Fatalf("after %d of %d records: %v", len(records), n, err)
		}
		for _, r := range f.Records {
			r.Key, r.Value = append([]byte(nil), r.Key...), append([]byte(nil), r.Value...)
			records = append(records, r)
		}
		gaps = append(gaps, f.Gaps...)
	}
	return records, gaps
}

// nextError calls Next until it fails.
func (l *lab) nextError(s Source) error {
	l.t.Helper()
	for {
		if _, err := s.Next(l.ctx); err != nil {
			if l.ctx.Err() != nil {
				l.t.Fatalf("Next hangs: %v", err)
			}
			return err
		}
	}
}

// numbered makes n records with keys and values that tell them apart.
func numbered(prefix string, n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{Key: []byte("SIM:A"), Value: fmt.Appendf(nil, "%s-%d", prefix, i), Time: int64(1_700_000_000_000+i) * 1e6}
	}
	return records
}

// gate stands between a client and its brokers. It can stop forwarding, as a
// frozen broker does, and change responses.
type gate struct {
	mu     sync.Mutex
	thaw   chan struct{} // closed while open
	mangle func([]byte)
}

func newGate() *gate {
	g := &gate{thaw: make(chan struct{})}
	close(g.thaw)
	return g
}

func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.thaw = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.thaw)
}

func (g *gate) set(mangle func([]byte)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mangle = mangle
}

// dial returns one end of a connection to address that passes through the gate.
func (g *gate) dial(ctx context.Context, network, address string) (net.Conn, error) {
	broker, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	go func() { // requests
		_, _ = io.Copy(broker, far)
		broker.Close()
	}()
	go func() { // responses, whole ones
		defer far.Close()
		for {
			head := make([]byte, 4)
			if _, err := io.ReadFull(broker, head); err != nil {
				return
			}
			frame := append(head, make([]byte, binary.BigEndian.Uint32(head))...)
			if _, err := io.ReadFull(broker, frame[4:]); err != nil {
				return
			}
			g.mu.Lock()
			thaw, mangle := g.thaw, g.mangle
			g.mu.Unlock()
			<-thaw
			if mangle != nil {
				mangle(frame)
			}
			if _, err := far.Write(frame); err != nil {
				return
			}
		}
	}()
	return near, nil
}

func wantError(t testing.TB, err, want error, text ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
	for _, s := range text {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not mention %q", err, s)
		}
	}
}
