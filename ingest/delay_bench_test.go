package ingest

import (
	"context"
	"testing"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/depthcast/depthcast/proto"
)

// tireless is a source of records that come at a pace, as many an answer as a
// KafkaSource gives. Its memory is used again.
type tireless struct {
	pace    time.Duration // from record to record
	began   time.Time
	next    int64
	records []Record
}

func (s *tireless) Partition() PartitionID           { return PartitionID{"events", 0} }
func (s *tireless) Close() error                     { return nil }
func (s *tireless) Recheck()                         {}
func (s *tireless) StartAt(int64, proto.Fingerprint) {}
func (s *tireless) at(offset int64) time.Time        { return s.began.Add(time.Duration(offset) * s.pace) }
func (s *tireless) end(now time.Time) (offset int64) { return int64(now.Sub(s.began) / s.pace) }
func (s *tireless) Next(context.Context) (Fetched, error) {
	from := s.next
	for i := range s.records {
		r := &s.records[i]
		r.Offset, r.Time = s.next, s.at(s.next).UnixNano()
		s.next++
	}
	return Fetched{From: from, Records: s.records, Next: s.next, HighWatermark: s.next}, nil
}

// BenchmarkDelay hands out records at 100,000 a second of a clock that the waits move,
// a quarter of an hour late, with a look at the log's end each second: by the source
// alone, by the stage when all are due (as after an outage), and as they become due.
// One op is one record.
func BenchmarkDelay(b *testing.B) {
	const delay, pace = 15 * time.Minute, 10 * time.Microsecond
	for _, name := range []string{"none", "all due", "as they become due"} {
		b.Run(name, func(b *testing.B) {
			feed := &tireless{pace: pace, began: time.Now(), records: make([]Record, 4096)}
			clock := feed.began.Add(delay)
			source, most := Source(feed), time.Duration(b.N)*pace
			if name != "none" {
				stage := newDelayed(feed, [16]byte{}, delay, time.Second, func() time.Time { return clock }, quiet)
				look := feed.began
				looks := func() {
					for ; !look.After(clock); look = look.Add(time.Second) {
						stage.seen.note(sighting{look, look, feed.end(look), feed.end(look)}, 0)
						stage.count++
					}
				}
				looks()
				if name == "all due" { // and was seen to be there
					clock = clock.Add(most)
					looks()
					clock = clock.Add(delay)
				}
				stage.sleep = func(_ context.Context, d time.Duration) { clock = clock.Add(d); looks() }
				source = stage
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				f, err := source.Next(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				n += len(f.Records)
			}
		})
	}
}

// BenchmarkDelayHeld is what a partition holds whose records wait: of what was fetched
// ahead, and of a quarter of an hour's looks at the log's end. The records are those of
// BenchmarkKafkaSource, many more than are fetched ahead.
func BenchmarkDelayHeld(b *testing.B) {
	l := newLab(b)
	for _, codec := range []struct {
		name string
		opt  kgo.CompressionCodec
	}{{"plain", kgo.NoCompression()}, {"lz4", kgo.Lz4Compression()}} {
		topic := l.topic(1, map[string]string{"retention.ms": "-1"})
		l.fill(b, topic, codec.opt)
		b.Run(codec.name, func(b *testing.B) {
			const delay = 15 * time.Minute
			clock := time.Now().Add(-time.Hour) // nothing is due
			for b.Loop() {
				s, err := l.Open(l.ctx, PartitionID{topic, 0}, Start{})
				if err != nil {
					b.Fatal(err)
				}
				s.bytes = aheadBytes
				stage := newDelayed(s, s.TopicID(), delay, time.Millisecond, func() time.Time { return clock }, quiet)
				for range delay / time.Second {
					clock = clock.Add(time.Second)
					stage.note(&WatchEvent{TopicID: s.TopicID(), Asked: clock})
				}
				if _, err := stage.Next(l.ctx); err != nil {
					b.Fatal(err)
				}
				fetched := cap(*s.answer.response) + cap(s.records)*int(unsafe.Sizeof(Record{})) + cap(s.headers)*int(unsafe.Sizeof(Header{}))
				for _, plain := range s.answer.plain {
					if plain != nil {
						fetched += cap(*plain)
					}
				}
				b.ReportMetric(float64(fetched), "B-fetched")
				b.ReportMetric(float64(cap(stage.seen.looks)*int(unsafe.Sizeof(sighting{}))), "B-looks")
				b.ReportMetric(float64(len(stage.held.Records)), "records-held")
				stage.Close()
			}
		})
	}
}
