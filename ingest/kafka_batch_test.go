package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A batch of few bytes that stands for very many is skipped as corrupt, and what
// lies before and after it is read.
func TestKafkaCompressionBombIsSkipped(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *KafkaConfig) { c.MaxBatchBytes = 1 << 20 })
	for name, codec := range map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		topic := l.topic(1, nil)
		l.produce(topic, numbered("before", 3)...)
		bomb := l.raw(kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(16<<20), kgo.DefaultProduceTopic(topic))
		if err := bomb.ProduceSync(l.ctx, &kgo.Record{Value: make([]byte, 8<<20)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		l.produce(topic, numbered("after", 2)...)
		s := l.open(topic, Start{})
		l.collect(s, 3)
		var e *Corrupt
		if err := l.nextError(s); !errors.As(err, &e) || e.Offset != 3 || e.Next != 4 || !errors.Is(err, errTooLarge) {
			t.Fatalf("%s: error is %v", name, err)
		}
		got, gaps := l.collect(s, 2)
		if got[0].Offset != 4 || string(got[1].Value) != "after-1" || len(gaps) != 0 {
			t.Fatalf("%s: went on with %+v, gaps %v", name, got, gaps)
		}
	}
}

// A batch that is stored larger than allowed is not even received.
func TestKafkaOversizedBatchIsSkipped(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(c *KafkaConfig) { c.MaxBytes, c.MaxBatchBytes = 1000, 100_000 })
	topic := l.topic(1, nil)
	noise := make([]byte, 300_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never an error
	l.produce(topic, Record{Value: noise})
	l.produce(topic, numbered("after", 1)...)
	s := l.open(topic, Start{})
	if err := l.nextError(s); !errors.Is(err, ErrCorrupt) || !errors.Is(err, errTooLarge) {
		t.Fatalf("error is %v", err)
	}
	if got, _ := l.collect(s, 1); got[0].Offset != 1 {
		t.Fatalf("went on with %+v", got)
	}
}

// What snappy and zstd claim is checked before memory is taken for it.
func TestClaimsOfCompressedDataAreCheckedFirst(t *testing.T) {
	const limit = 1 << 20
	chunk := func(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	large := append(binary.AppendUvarint(nil, 4<<30-1), 0)
	framed := append(append([]byte{}, xerialMagic...), 0, 0, 0, 1, 0, 0, 0, 1)
	for name, c := range map[string]struct {
		kind compress.Compression
		data []byte
	}{
		"snappy":                {compress.Snappy, large},
		"snappy, framed":        {compress.Snappy, append(append(framed, chunk([]byte{1, 0, 'x'})...), chunk(large)...)},
		"snappy, long chunk":    {compress.Snappy, binary.BigEndian.AppendUint32(framed[:16:16], 4<<30-1)},
		"zstd, window":          {compress.Zstd, []byte{0x28, 0xB5, 0x2F, 0xFD, 0, 19 << 3, 1, 0, 0}},
		"zstd, single segment":  {compress.Zstd, []byte{0x28, 0xB5, 0x2F, 0xFD, 3<<6 | 1<<5, 0, 0, 0, 0, 1, 0, 0, 0}},
		"zstd, with dictionary": {compress.Zstd, []byte{0x28, 0xB5, 0x2F, 0xFD, 2<<6 | 1<<5 | 1, 9, 0, 0, 0, 0x80}},
	} {
		var was, is runtime.MemStats
		runtime.ReadMemStats(&was)
		_, err := decompress(int(c.kind), c.data, limit, nil)
		runtime.ReadMemStats(&is)
		if !errors.Is(err, errTooLarge) {
			t.Errorf("%s: error is %v", name, err)
		}
		if n := is.TotalAlloc - was.TotalAlloc; n > limit {
			t.Errorf("%s: took %d bytes", name, n)
		}
	}
	for kind := compress.Gzip; kind <= compress.Zstd; kind++ {
		for _, n := range []int{0, 1, 100_000, limit} { // what is within the limit is no claim too many
			var b bytes.Buffer
			w := kind.Codec().NewWriter(&b)
			_, _ = w.Write(make([]byte, n)) // to memory: an error shows below
			w.Close()
			if plain, err := decompress(int(kind), b.Bytes(), limit, nil); err != nil || len(plain) != n {
				t.Errorf("%s of %d bytes: %v", kind, n, err)
			}
		}
	}
}

// Where the broker's clock counts, what it put into the batch is the time of all of it.
func TestRecordsOfABatchHaveTheTimeThatTheBrokerGaveIt(t *testing.T) {
	b := rawBatch(0, 2, 3)
	for attributes, want := range map[uint16]int64{0: 1e6, logAppendTime: 7e6} {
		binary.BigEndian.PutUint16(b[21:], attributes)
		binary.BigEndian.PutUint64(b[35:], 7) // its MaxTimestamp
		binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
		a := fetchAnswer{cfg: &KafkaConfig{}, rest: b}
		var names headerNames
		n := 0
		for more, err := a.nextBatch(); more || err != nil; more = a.left > 0 {
			var r Record
			if err == nil {
				_, err = a.nextRecord(&r, nil, &names)
			}
			if err != nil || r.Time != want {
				t.Fatalf("attributes %b: record %d is of %d, want %d: %v", attributes, n, r.Time, want, err)
			}
			n++
		}
		if n != 3 {
			t.Errorf("attributes %b: %d records", attributes, n)
		}
	}
}

// FuzzKafkaAnswer feeds bytes as the batches of a fetch, with lengths and CRCs put
// right so that it gets further: it must end, and hand out nothing from elsewhere.
func FuzzKafkaAnswer(f *testing.F) {
	f.Add(rawBatch(0, 9, 5), true)
	f.Add(append(rawBatch(0, 1, 2), rawBatch(2, 0, 1)...), true)
	h := kmsg.Record{Value: []byte("v"), Key: []byte("k"), Headers: []kmsg.Header{{Key: ContentTypeHeader, Value: []byte("json")}}}
	h.Length = int32(len(h.AppendTo(nil))) - 1
	b := kmsg.RecordBatch{Magic: 2, NumRecords: 1, Records: h.AppendTo(nil), Attributes: transactional}
	f.Add(b.AppendTo(nil), true)
	for kind := compress.Gzip; kind <= compress.Zstd; kind++ {
		var z bytes.Buffer
		w := kind.Codec().NewWriter(&z)
		_, _ = w.Write(h.AppendTo(nil)) // to memory
		w.Close()
		b.Attributes, b.Records = int16(kind), z.Bytes()
		f.Add(b.AppendTo(nil), true)
	}
	cfg := KafkaConfig{MaxBatchBytes: 1 << 16}
	f.Fuzz(func(t *testing.T, batches []byte, mend bool) {
		if mend && len(batches) >= 61 {
			binary.BigEndian.PutUint32(batches[8:], uint32(len(batches)-batchOverhead))
			binary.BigEndian.PutUint32(batches[17:], crc32.Checksum(batches[21:], castagnoli))
		}
		a := fetchAnswer{cfg: &cfg, rest: batches}
		defer a.done()
		var names headerNames
		var headers []Header
		for {
			more, err := a.nextBatch()
			if !more || err != nil {
				return
			}
			if len(a.records) > max(cfg.MaxBatchBytes, len(batches)) {
				t.Fatalf("%d bytes of records", len(a.records))
			}
			for a.left > 0 {
				var r Record
				if headers, err = a.nextRecord(&r, headers[:0], &names); err != nil {
					return
				}
				if r.Offset < a.header.FirstOffset || r.Offset >= a.end() || len(r.Headers) > maxHeaders {
					t.Fatalf("record %+v in a batch of %d to %d", r, a.header.FirstOffset, a.end())
				}
			}
		}
	})
}
