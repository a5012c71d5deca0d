package ingest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

func TestKafkaProducerKeepsKeysTogetherAndInOrder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(4, nil)
	p, err := l.NewProducer(ProducerConfig{KafkaTopic: topic, MaxRecords: 50}) // so that Produce must wait
	if err != nil {
		t.Fatal(err)
	}
	const keys, each = 21, 40 // no multiple of the partitions
	batch := make([]Record, 1)
	for i := range each {
		for k := range keys {
			batch[0] = Record{Key: fmt.Appendf(nil, "SIM:%d", k), Value: fmt.Appendf(nil, "%d", i)}
			if err := p.Produce(l.ctx, batch); err != nil {
				t.Fatal(err)
			}
			clear(batch[0].Key) // the caller may use its memory again
		}
	}
	if err := p.Close(l.ctx); err != nil {
		t.Fatal(err)
	}
	if p.Acked() != keys*each || p.Failed() != 0 || p.Buffered() != 0 {
		t.Fatalf("acked %d, failed %d, buffered %d", p.Acked(), p.Failed(), p.Buffered())
	}
	seen := map[string]int{}
	used := 0
	for part := range int32(4) {
		s, err := l.Open(l.ctx, PartitionID{topic, part}, Start{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.Next(l.ctx)
		if err != nil {
			t.Fatal(err)
		}
		records, _ := f.Records, f.Gaps
		for int64(len(records)) < f.HighWatermark {
			more, _ := l.collect(s, 1)
			records = append(records, more...)
		}
		if len(records) > 0 {
			used++
		}
		for _, r := range records {
			if want := fmt.Sprint(seen[string(r.Key)]); string(r.Value) != want {
				t.Fatalf("key %s: %s, want %s", r.Key, r.Value, want)
			}
			seen[string(r.Key)]++
		}
		s.Close()
	}
	if len(seen) != keys || used < 2 {
		t.Fatalf("%d keys on %d partitions", len(seen), used)
	}
}

func TestKafkaProducerReportsWhatItGaveUp(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	p, err := l.NewProducer(ProducerConfig{KafkaTopic: topic})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Produce(l.ctx, []Record{{Value: make([]byte, 4<<20)}, {Value: []byte("small")}}); err != nil && p.Failed() == 0 {
		t.Fatal(err)
	}
	if err := p.Flush(l.ctx); err == nil || !strings.Contains(err.Error(), topic) || len(err.Error()) > 500 {
		t.Fatalf("error is %v", err)
	}
	if err := p.Produce(l.ctx, []Record{{Value: []byte("next")}}); err != nil { // told once, then usable
		t.Fatal(err)
	}
	if err := p.Close(l.ctx); err != nil || p.Failed() != 1 {
		t.Fatalf("%v, failed %d", err, p.Failed())
	}
}

func TestKafkaProduceWaitsAtItsBoundUntilCancelled(t *testing.T) {
	t.Parallel()
	g := newGate()
	l := newLab(t, func(c *KafkaConfig) { c.dial = g.dial })
	topic := l.topic(1, nil)
	p, err := l.NewProducer(ProducerConfig{KafkaTopic: topic, MaxRecords: 3})
	if err != nil {
		t.Fatal(err)
	}
	g.freeze()
	defer g.open()
	ctx, cancel := context.WithCancel(l.ctx)
	done := make(chan error, 1)
	go func() { done <- p.Produce(ctx, numbered("r", 10)) }()
	for p.Buffered() < 3 && l.ctx.Err() == nil {
		select {
		case err := <-done:
			t.Fatalf("Produce returned early: %v", err)
		default:
		}
	}
	cancel()
	select {
	case err := <-done:
		wantError(t, err, context.Canceled)
	case <-l.ctx.Done():
		t.Fatal("Produce did not return")
	}
	expired, cancel := context.WithCancel(l.ctx)
	cancel()
	wantError(t, p.Close(expired), context.Canceled, "not yet acknowledged")
}

func TestKafkaDeadLettersSayWhyAndWhereFrom(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(1, nil)
	d, err := l.NewDeadLetters(topic)
	if err != nil {
		t.Fatal(err)
	}
	bad := Record{Offset: 1234, Time: 1_700_000_000_123_000_000, Key: []byte("SIM:A"), Value: []byte{0xff, 0},
		ContentType: "x", Headers: []Header{{ContentTypeHeader, []byte("x")}}}
	if !d.Put(PartitionID{"depthcast.events", 3}, bad, "decode") {
		t.Fatal("no room")
	}
	if err := d.Close(l.ctx); err != nil {
		t.Fatal(err)
	}
	if d.Sent() != 1 || d.Dropped() != 0 || len(bad.Headers) != 1 {
		t.Fatalf("sent %d, dropped %d", d.Sent(), d.Dropped())
	}
	got, _ := l.collect(l.open(topic, Start{}), 1)
	r := got[0]
	if string(r.Key) != "SIM:A" || !bytes.Equal(r.Value, bad.Value) || r.Time <= bad.Time || r.ContentType != "x" {
		t.Fatalf("%+v", r)
	}
	hs := map[string]string{}
	for _, h := range r.Headers {
		hs[h.Key] = string(h.Value)
	}
	want := map[string]string{ContentTypeHeader: "x", DeadLetterReason: "decode", DeadLetterTopic: "depthcast.events",
		DeadLetterPartition: "3", DeadLetterOffset: "1234", DeadLetterTime: "1700000000123000000"}
	if fmt.Sprint(hs) != fmt.Sprint(want) {
		t.Fatalf("headers %v", hs)
	}
}

// A broker that is away must cost letters, never the partition's time.
func TestKafkaDeadLettersNeverWait(t *testing.T) {
	t.Parallel()
	g := newGate()
	l := newLab(t, func(c *KafkaConfig) { c.dial = g.dial })
	d, err := l.NewDeadLetters(l.topic(1, nil))
	if err != nil {
		t.Fatal(err)
	}
	g.freeze()
	defer g.open()
	for range 4096 {
		if !d.Put(PartitionID{"t", 0}, Record{Value: []byte("v")}, "decode") {
			t.Fatal("refused below the bound")
		}
	}
	for range 10 {
		if d.Put(PartitionID{"t", 0}, Record{Value: []byte("v")}, "decode") {
			t.Fatal("took more than its bound")
		}
	}
	if d.Dropped() != 10 {
		t.Fatalf("dropped %d", d.Dropped())
	}
	expired, cancel := context.WithCancel(l.ctx)
	cancel()
	wantError(t, d.Close(expired), context.Canceled)
}

func TestKafkaEnsureTopicsLeavesExistingOnesAlone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	topic := l.topic(2, map[string]string{"retention.ms": "60000"})
	id := l.topicID(topic)
	l.create(topic, 5, nil)
	info, err := l.Describe(l.ctx, topic)
	if err != nil || info.ClusterID == "" || info.Topics[0].ID != id || len(info.Topics[0].Partitions) != 2 {
		t.Fatalf("%+v, %v", info, err)
	}
	err = l.EnsureTopics(l.ctx, TopicSpec{Name: topic + "-none", Partitions: -7})
	if err == nil || !strings.Contains(err.Error(), topic+"-none") {
		t.Fatalf("error is %v", err)
	}
}

func TestEmbeddedBrokerForgetsByRetention(t *testing.T) {
	t.Parallel()
	e, err := StartEmbedded(EmbeddedConfig{RetentionBytes: 1 << 20, KafkaTopics: []TopicSpec{{Name: "t", Partitions: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	l := newLabAt(t, e.Address())
	value := make([]byte, 64<<10)
	if _, err := rand.Read(value); err != nil { // what compresses fills nothing
		t.Fatal(err)
	}
	records := make([]Record, 32)
	for i := range records {
		records[i].Value = value
	}
	for start := int64(0); start == 0; { // the broker's own cleaner must do it, not we
		if l.ctx.Err() != nil {
			t.Fatal("nothing was ever deleted")
		}
		l.produce("t", records...)
		o, err := l.Offsets(l.ctx, PartitionID{"t", 0})
		if err != nil {
			t.Fatal(err)
		}
		start = o[PartitionID{"t", 0}].LogStart
	}
}

func TestEmbeddedBrokerSaysThatItsPortIsTaken(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if _, err := StartEmbedded(EmbeddedConfig{Port: atoi(t, port)}); err == nil || !strings.Contains(err.Error(), port) {
		t.Fatalf("error is %v", err)
	}
}

func TestConfigRefusesNonsense(t *testing.T) {
	good := func() KafkaConfig { return KafkaConfig{Brokers: []string{"h:9092"}} }
	for name, change := range map[string]func(*KafkaConfig){
		"no brokers":      func(c *KafkaConfig) { c.Brokers = nil },
		"no port":         func(c *KafkaConfig) { c.Brokers = []string{"h"} },
		"negative wait":   func(c *KafkaConfig) { c.MaxWait = -time.Second },
		"huge fetch":      func(c *KafkaConfig) { c.MaxBytes = 1 << 31 },
		"backoff order":   func(c *KafkaConfig) { c.BackoffMin, c.BackoffMax = time.Second, time.Millisecond },
		"SASL mechanism":  func(c *KafkaConfig) { c.SASL.Mechanism = "GSSAPI" },
		"negative record": func(c *KafkaConfig) { c.BatchRecords = -1 },
	} {
		c := good()
		change(&c)
		if c.validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c := good()
	if err := c.validate(); err != nil || c.MaxWait != 250*time.Millisecond || c.MaxBytes != 8<<20 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestPasswordShowsItselfNowhere(t *testing.T) {
	c := KafkaConfig{Brokers: []string{"h:1"}, SASL: SASL{Mechanism: "PLAIN", User: "u", Password: "hunter2"}}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", c, "password", c.SASL.Password)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "sasl", c.SASL)
	j, _ := json.Marshal(c.SASL)
	out := log.String() + string(j) + fmt.Sprintf("%v %+v %#v %s %q", c, c, c.SASL, c.SASL.Password, c.SASL.Password)
	if strings.Contains(out, "hunter2") {
		t.Errorf("it does: %s", out)
	}
}
