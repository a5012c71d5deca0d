package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// benchRecords is how many records the benchmark's Kafka topic holds.
const benchRecords = 1_000_000

// BenchmarkKafkaSource reads records of 120 bytes with a 12-byte key, in batches
// as producers make them, by KafkaSource and by kafka-go's Conn, which checks no
// CRC and cannot tell transaction markers. One op is one record. cpu-ns/record is
// the whole process: with the embedded broker that includes its work, so set
// DEPTHCAST_TEST_KAFKA to compare.
func BenchmarkKafkaSource(b *testing.B) {
	l := newLab(b, func(c *KafkaConfig) { c.RequestTimeout = 30 * time.Second })
	for _, codec := range []struct {
		name string
		opt  kgo.CompressionCodec
	}{{"plain", kgo.NoCompression()}, {"lz4", kgo.Lz4Compression()}} {
		topic := l.topic(1, nil)
		l.fill(b, topic, codec.opt)
		b.Run(codec.name+"/KafkaSource", func(b *testing.B) { benchSource(b, l, topic) })
		b.Run(codec.name+"/Conn.ReadMessage", func(b *testing.B) {
			benchConn(b, l, topic, func(batch *kafka.Batch) error { _, err := batch.ReadMessage(); return err })
		})
		b.Run(codec.name+"/Conn.Read", func(b *testing.B) {
			value := make([]byte, 1<<20)
			benchConn(b, l, topic, func(batch *kafka.Batch) error { _, err := batch.Read(value); return err })
		})
	}
}

// BenchmarkKafkaProducer writes records like those of BenchmarkKafkaSource in
// slices of 1,000. One op is one acknowledged record.
func BenchmarkKafkaProducer(b *testing.B) {
	l := newLab(b)
	p, err := l.NewProducer(ProducerConfig{KafkaTopic: l.topic(1, nil)})
	if err != nil {
		b.Fatal(err)
	}
	records := numbered("SIM:BTC-USD", 1000)
	for i := range records {
		records[i].Value = append(records[i].Value, make([]byte, 120-len(records[i].Value))...)
	}
	b.ReportAllocs()
	defer cpuPerOp(b)()
	for n := 0; n < b.N; n += len(records) {
		if err := p.Produce(l.ctx, records[:min(len(records), b.N-n)]); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(l.ctx); err != nil {
		b.Fatal(err)
	}
}

// fill writes benchRecords records that compress about as market data does.
func (l *lab) fill(b *testing.B, topic string, codec kgo.CompressionCodec) {
	b.Helper()
	client := l.raw(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(5*time.Millisecond))
	r := rand.New(rand.NewPCG(1, 2))
	value := make([]byte, 0, 160)
	for range benchRecords {
		value = fmt.Appendf(value[:0], `{"e":"depthUpdate","s":"BTCUSDT","U":%d,"u":%d,"b":[["%d.%02d","0.%08d"]],"a":[]}`,
			r.Int64N(1e12), r.Int64N(1e12), 60000+r.IntN(1000), r.IntN(100), r.IntN(1e8))
		for len(value) < 120 {
			value = append(value, ' ')
		}
		client.Produce(context.Background(), &kgo.Record{Topic: topic, Key: []byte("SIM:BTC-USD1"), Value: append([]byte(nil), value[:120]...)}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := client.Flush(l.ctx); err != nil {
		b.Fatal(err)
	}
}

func benchSource(b *testing.B, l *lab, topic string) {
	b.ReportAllocs()
	ctx := context.Background()
	s, err := l.Open(ctx, PartitionID{topic, 0}, Start{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { s.Close() }()
	defer cpuPerOp(b)()
	for n := 0; n < b.N; {
		f, err := s.Next(ctx)
		if err != nil {
			b.Fatal(err)
		}
		n += len(f.Records)
		if f.Next == benchRecords {
			s.Close()
			if s, err = l.Open(ctx, PartitionID{topic, 0}, Start{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func benchConn(b *testing.B, l *lab, topic string, read func(*kafka.Batch) error) {
	b.ReportAllocs()
	conn, err := kafka.DialLeader(context.Background(), "tcp", l.cfg.Brokers[0], topic, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	defer cpuPerOp(b)()
	for n := 0; n < b.N; {
		batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: 8 << 20, MaxWait: 250 * time.Millisecond})
		for read(batch) == nil {
			n++
		}
		at := batch.Offset()
		if err := batch.Close(); err != nil {
			b.Fatal(err)
		}
		if at == benchRecords {
			if _, err := conn.Seek(0, kafka.SeekAbsolute); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// cpuPerOp resets the timer and reports the process's CPU time per operation.
func cpuPerOp(b *testing.B) func() {
	var from, to syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &from)
	b.ResetTimer()
	return func() {
		b.StopTimer()
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &to)
		used := to.Utime.Nano() + to.Stime.Nano() - from.Utime.Nano() - from.Stime.Nano()
		b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/record")
	}
}
