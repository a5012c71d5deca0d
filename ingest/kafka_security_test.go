package ingest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"hash/crc32"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func newBroker(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	b, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestKafkaSASL(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "user", "right"))
			with := func(password Secret) func(*KafkaConfig) {
				return func(c *KafkaConfig) { c.SASL = SASL{Mechanism: mechanism, User: "user", Password: password} }
			}
			l := newLabAt(t, b.ListenAddrs()[0], with("right"))
			topic := l.topic(1, nil)
			l.produce(topic, numbered("r", 3)...)
			l.collect(l.open(topic, Start{}), 3)

			wrong := l.cfg
			with("wrong")(&wrong)
			_, err := Connect(l.ctx, wrong)
			wantError(t, err, ErrUnreachable, "user", "password") // this broker just hangs up
			// The reading side authenticates for itself.
			if err := wrong.validate(); err != nil {
				t.Fatal(err)
			}
			_, err = dialLeader(l.ctx, &wrong, PartitionID{topic, 0}, b.ListenAddrs()[0])
			wantError(t, err, ErrDenied, "password")
		})
	}
}

func TestKafkaTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	b := newBroker(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}))
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	l := newLabAt(t, b.ListenAddrs()[0], func(c *KafkaConfig) { c.TLS = &tls.Config{RootCAs: roots} })
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 3)...)
	l.collect(l.open(topic, Start{}), 3)

	_, err = Connect(l.ctx, KafkaConfig{Brokers: l.cfg.Brokers, TLS: &tls.Config{}, DialTimeout: testLimit, RequestTimeout: testLimit})
	wantError(t, err, ErrUnreachable, "certificate")
}

// A leader that moves costs one error and nothing else.
func TestKafkaMovedLeaderIsFollowed(t *testing.T) {
	t.Parallel()
	b := newBroker(t, kfake.NumBrokers(2))
	l := newLabAt(t, b.ListenAddrs()[0])
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 3)...)
	s := l.open(topic, Start{})
	l.collect(s, 3)
	if err := b.MoveTopicPartition(topic, 0, 1-b.LeaderFor(topic, 0)); err != nil {
		t.Fatal(err)
	}
	l.produce(topic, numbered("moved", 2)...)
	wantError(t, l.nextError(s), ErrUnreachable)
	if got, gaps := l.collect(s, 2); got[0].Offset != 3 || string(got[1].Value) != "moved-1" || len(gaps) != 0 {
		t.Fatalf("went on with %+v, gaps %v", got, gaps)
	}
}

// Every gap in a compacted Kafka topic is reported, also inside a batch, and the
// source reaches the end though the records at the end of a batch are gone.
func TestKafkaCompactedTopicIsReadWithItsGaps(t *testing.T) {
	t.Parallel()
	b := newBroker(t, kfake.BrokerConfigs(map[string]string{"log.segment.bytes": "200"}))
	l := newLabAt(t, b.ListenAddrs()[0])
	topic := l.topic(1, map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"})
	var rs []Record
	for i := range 30 {
		rs = append(rs, Record{Key: []byte{byte('a' + i)}, Value: []byte{byte(i)}})
	}
	l.produce(topic, rs...)
	l.produce(topic, rs[3:6]...)
	l.produce(topic, rs[20:]...)
	l.produce(topic, Record{Key: []byte("z"), Value: []byte("z")}, Record{Key: []byte("y"), Value: []byte("y")})
	b.Compact()
	id := PartitionID{topic, 0}
	ends, err := l.Offsets(l.ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	total := ends[id].HighWatermark - ends[id].LogStart
	for _, maxBytes := range []int{1, 8 << 20} { // 1: a fetch brings one batch
		l := newLabAt(t, b.ListenAddrs()[0], func(c *KafkaConfig) { c.MaxBytes = maxBytes })
		s := l.open(topic, Start{})
		var missing, present int64
		for next := int64(0); next < ends[id].HighWatermark; {
			f, err := s.Next(l.ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range f.Gaps {
				missing += g.To - g.From
			}
			present += int64(len(f.Records))
			next = f.Next
		}
		if missing == 0 || missing+present != total {
			t.Errorf("%d records, %d offsets in gaps, of %d", present, missing, total)
		}
	}
}

// Compaction may take the records at the end of a batch and leave the batch. Where
// a fetch brings nothing else, the source must find the next batch all the same.
func TestKafkaBatchWithoutItsEndIsPassed(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	l := newLabAt(t, b.ListenAddrs()[0])
	topic := l.topic(1, nil)
	l.produce(topic, numbered("r", 12)...) // for the ends of the log
	first, second := rawBatch(0, 9, 5), rawBatch(10, 1, 2)
	b.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		p := kmsg.NewFetchResponseTopicPartition()
		p.HighWatermark, p.LastStableOffset, p.LogStartOffset = 12, 12, 0
		switch at := req.Topics[0].Partitions[0].FetchOffset; {
		case at < 10:
			p.RecordBatches = first
		case at < 12:
			p.RecordBatches = second
		}
		rt := kmsg.NewFetchResponseTopic()
		rt.Topic, rt.TopicID = topic, req.Topics[0].TopicID
		rt.Partitions = append(rt.Partitions, p)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	got, gaps := l.collect(l.open(topic, Start{}), 7)
	if got[4].Offset != 4 || got[5].Offset != 10 || len(gaps) != 1 || gaps[0] != (OffsetGap{5, 10}) {
		t.Fatalf("read %+v, gaps %v", got, gaps)
	}
}

// rawBatch encodes a batch of the offsets from first to first+lastDelta, of which
// only the first n have a record.
func rawBatch(first int64, lastDelta, n int32) []byte {
	var records []byte
	for i := range n {
		r := kmsg.Record{OffsetDelta: i, Value: []byte("v")}
		r.Length = int32(len(r.AppendTo(nil))) - 1 // the length itself takes one byte
		records = r.AppendTo(records)
	}
	b := kmsg.RecordBatch{FirstOffset: first, Magic: 2, LastOffsetDelta: lastDelta, FirstTimestamp: 1, MaxTimestamp: 1,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: n, Records: records}
	b.Length = int32(len(b.AppendTo(nil))) - 12 // first offset and length are not counted
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[21:], castagnoli))
	return b.AppendTo(nil)
}
