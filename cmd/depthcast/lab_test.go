package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// patience bounds every wait of a test for what must happen.
const patience = 60 * time.Second

// forever lets records of long ago come from a feed that is not silent.
const forever = time.Duration(math.MaxInt64)

// lab is a Kafka cluster with Kafka topics of the test's own: the embedded
// broker, or the one that DEPTHCAST_TEST_KAFKA names.
type lab struct {
	t          *testing.T
	ctx        context.Context
	kafka      kafkaFlags
	cluster    *ingest.Cluster
	events     string // Kafka topic
	deadLetter string // Kafka topic
}

func newLab(t *testing.T, partitions int32) *lab {
	t.Helper()
	address := os.Getenv("DEPTHCAST_TEST_KAFKA")
	if address == "" {
		broker, err := ingest.StartEmbedded(ingest.EmbeddedConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(broker.Close)
		address = broker.Address()
	}
	return labAt(t, address, partitions)
}

// labAt is a lab on the broker at address.
func labAt(t *testing.T, address string, partitions int32) *lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	name := "e2e-" + hex.EncodeToString(randomBytes(6))
	l := &lab{t: t, ctx: ctx, events: name, deadLetter: name + ".deadletter",
		kafka: kafkaFlags{Brokers: []string{address}, KafkaTimeout: 20 * time.Second}}
	var err error
	if l.cluster, err = l.kafka.connect(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.cluster.Close)
	err = l.cluster.EnsureTopics(ctx,
		ingest.TopicSpec{Name: l.events, Partitions: partitions, Configs: map[string]string{"retention.ms": "-1"}},
		ingest.TopicSpec{Name: l.deadLetter, Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// producer writes to the lab's events.
func (l *lab) producer() *ingest.Producer {
	l.t.Helper()
	p, err := l.cluster.NewProducer(ingest.ProducerConfig{KafkaTopic: l.events})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Close(ctx) // what a test needs it has flushed
	})
	return p
}

// writeRaw produces records and waits for the broker.
func (l *lab) writeRaw(p *ingest.Producer, records ...ingest.Record) {
	l.t.Helper()
	if err := p.Produce(l.ctx, records); err != nil {
		l.t.Fatal(err)
	}
	if err := p.Flush(l.ctx); err != nil {
		l.t.Fatal(err)
	}
}

// running is a server that a test has started.
type running struct {
	*server
	t    *testing.T
	stop func() // ends it and waits; may be called twice
}

// serve starts a server on the lab's Kafka topics; change may set its flags.
func (l *lab) serve(change func(*readFlags, *serverFlags)) *running {
	l.t.Helper()
	r, start := l.open(change)
	start()
	return r
}

// open is serve for a test that has something to do before the server reads its
// first record, which start makes it do. It must be started.
func (l *lab) open(change func(*readFlags, *serverFlags)) (_ *running, start func()) {
	l.t.Helper()
	read := readFlags{KafkaTopic: []string{l.events}, DeadLetterTopic: l.deadLetter, Start: "beginning", MaxSilence: forever, MaxOutage: forever}
	serve := serverFlags{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Keepalive: 50 * time.Millisecond}
	if change != nil {
		change(&read, &serve)
	}
	s, err := openServer(l.ctx, l.cluster, &read, &serve)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.ctx)
	ended := make(chan error, 1)
	r := &running{server: s, t: l.t}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			l.t.Error(err)
		}
	})
	l.t.Cleanup(r.stop)
	return r, func() { go func() { ended <- s.run(ctx) }() }
}

// stream is the server's WebSocket URL.
func (r *running) stream() string { return "ws" + r.url()[len("http"):] + "/v1/stream" }

// until waits for a condition that the server brings about.
func (r *running) until(what string, condition func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			r.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// caughtUpTo waits until the server has applied all that the log holds.
func (r *running) caughtUpTo(l *lab) {
	r.t.Helper()
	for _, p := range r.ingest.Partitions() {
		o, err := l.cluster.Offsets(l.ctx, p.ID())
		if err != nil {
			r.t.Fatal(err)
		}
		r.until("the end of the log", func() bool {
			return p.CaughtUp() && p.Stats().NextOffset.Load() >= o[p.ID()].HighWatermark
		})
	}
}

// book reads the server's book of symbol, whole.
func (r *running) book(symbol string) *proto.Snapshot {
	r.t.Helper()
	var s proto.Snapshot
	if err := r.hub.ReadView(proto.TopicKey{Symbol: symbol, Channel: proto.ChannelBook}, &s); err != nil {
		r.t.Fatal(err)
	}
	return &s
}

// known waits until the server knows symbol.
func (r *running) known(symbol string) {
	r.t.Helper()
	r.until(symbol+" known", func() bool {
		_, ok := r.ingest.Directory().Find(symbol)
		return ok
	})
}

// dial makes a client of the server.
func (r *running) dial(codec proto.Codec) *client.Client {
	r.t.Helper()
	return r.dialAt(r.stream(), codec)
}

// dialAt makes a client that finds the server under another URL.
func (r *running) dialAt(url string, codec proto.Codec) *client.Client {
	r.t.Helper()
	c, err := client.New(client.Config{URL: url, Codec: codec, DialTimeout: patience, PongTimeout: patience, AnswerTimeout: patience,
		BackoffMin: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// subscribe subscribes or fails.
func subscribe(t *testing.T, c *client.Client, item client.Item) *client.Subscription {
	t.Helper()
	s, err := c.Subscribe(item)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// recordings returns the folder of recordings, and an error where there is none.
func recordings() (string, error) {
	dir := os.Getenv("DEPTHCAST_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(filepath.Join(dir, "README.md")); err != nil {
		return "", fmt.Errorf("no recordings in %s (set DEPTHCAST_DATA)", dir)
	}
	return dir, nil
}

// dataDir is the folder of recordings; the test is skipped where there is none.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := recordings()
	if err != nil {
		t.Skipf("%v: skipped", err)
	}
	return dir
}
