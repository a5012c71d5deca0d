package ingest

import (
	"errors"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

type fixedInstruments proto.Exponents

func (f fixedInstruments) Exponents(string) proto.Exponents { return proto.Exponents(f) }

func TestProtoCodecTakesExponentsWhereTheRecordNamesNone(t *testing.T) {
	known := fixedInstruments{Price: -4, Qty: -5}
	for _, c := range []struct {
		name  string
		batch proto.Batch
		want  proto.Exponents
	}{
		{"its own", proto.Batch{Symbol: "X", HasExponents: true, Exponents: proto.Exponents{Price: -1, Qty: 2}}, proto.Exponents{Price: -1, Qty: 2}},
		{"the instrument's", proto.Batch{Symbol: "X"}, proto.Exponents(known)},
		{"those that it defines", proto.Batch{Symbol: "X", Events: []proto.Event{{Kind: proto.EventInstrument,
			Instrument: &proto.Instrument{Exponents: proto.Exponents{Price: -7, Qty: 0}}}}}, proto.Exponents{Price: -7, Qty: 0}},
	} {
		b, err := newProtoCodec(known).Decode(&Record{Value: proto.AppendEvents(nil, &c.batch)})
		if err != nil || b.Exponents != c.want {
			t.Errorf("%s: %v, %v, want %v", c.name, b, err, c.want)
		}
	}
}

func TestProtoCodecNamesWhatIsWrong(t *testing.T) {
	long := proto.Batch{Symbol: "X", Feed: string(make([]byte, proto.MaxFeedBytes+1))}
	for code, value := range map[string][]byte{
		CodeMalformed: {0xff},
		CodeTooLarge:  proto.AppendEvents(nil, &long),
		CodeBadValue:  proto.AppendEvents(nil, &proto.Batch{Symbol: "X", HasExponents: true, Exponents: proto.Exponents{Price: 100}}),
	} {
		_, err := newProtoCodec(fixedInstruments{}).Decode(&Record{Value: value})
		var r *proto.RecordError
		if !errors.As(err, &r) || r.Code != code || r.Reason != proto.ReasonBadRecord {
			t.Errorf("%v, want code %s", err, code)
		}
	}
}

func FuzzRecord(f *testing.F) {
	b := proto.Batch{Symbol: "X", Feed: "F", Events: []proto.Event{{Kind: proto.EventSetLevels, Bids: []proto.Level{{Price: 1, Qty: 2}}}}}
	for _, format := range Formats() {
		f.Add("X", ContentType(format), proto.AppendEvents(nil, &b))
	}
	f.Add("", "", []byte(nil))
	cfg := Config{KafkaTopics: []TopicConfig{{Name: "events"}}}
	if err := cfg.validate(); err != nil {
		f.Fatal(err)
	}
	cfg.Log = quiet
	f.Fuzz(func(t *testing.T, key, contentType string, value []byte) {
		books := &diary{}
		p := newPartition(&cfg, partitionConfig{topic: cfg.KafkaTopics[0], count: 1, source: &script{id: PartitionID{"events", 0}},
			books: books, directory: newDirectory(), now: rigNow})
		r := Record{Key: []byte(key), Value: value, ContentType: contentType}
		p.fetched(&Fetched{Records: []Record{r}, Next: 1, HighWatermark: 1})
		// Every record ends in exactly one way.
		s := p.Stats()
		ends := s.Applied.Load() + s.NoBatch.Load()
		for _, n := range s.Refused() {
			ends += n
		}
		if ends != 1 || !p.CaughtUp() {
			t.Errorf("%d ends of one record; books were told %q", ends, books.lines)
		}
	})
}
