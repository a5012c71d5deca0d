package ingest

import (
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// deafBooks cost nothing.
type deafBooks struct{}

func (deafBooks) Begin(uint64, bool)                        {}
func (deafBooks) Apply(*proto.Batch) (proto.Outcome, error) { return proto.Applied, nil }
func (deafBooks) Refuse(string, int64, proto.Reason)        {}
func (deafBooks) CatchingUp(bool)                           {}
func (deafBooks) Living() int                               { return 0 }
func (deafBooks) Best(string) (proto.Quote, bool)           { return proto.Quote{}, false }
func (deafBooks) SetStale(string, proto.Reason, bool)       {}
func (deafBooks) Tick(int64)                                {}
func (deafBooks) Release()                                  {}
func (deafBooks) Save(string, *proto.SymbolState) bool      { return false }
func (deafBooks) Restore(*proto.SymbolState) error          { return nil }
func (deafBooks) SaveShared(*proto.SharedState)             {}
func (deafBooks) RestoreShared(*proto.SharedState) error    { return nil }

// BenchmarkPartition is the cost of a record between Source and Books: decoding,
// checking, dispatch and counting, of 1,000 symbols with one level change each.
func BenchmarkPartition(b *testing.B) {
	cfg := Config{KafkaTopics: []TopicConfig{{Name: "events"}}, Log: quiet}
	if err := cfg.validate(); err != nil {
		b.Fatal(err)
	}
	p := newPartition(&cfg, partitionConfig{topic: cfg.KafkaTopics[0], count: 1, source: &script{id: PartitionID{"events", 0}},
		books: deafBooks{}, directory: newDirectory(), now: rigNow})
	records := make([]Record, 4096)
	for i := range records {
		records[i] = levels(symbolName(i%1000), int64(6_000_000+i))
		records[i].Offset = int64(i)
	}
	f := Fetched{Records: records, Next: 4096, HighWatermark: 4096}
	p.fetched(&f)
	b.ReportAllocs()
	b.SetBytes(int64(len(records[0].Value)))
	b.ResetTimer()
	for n := b.N; n > 0; n -= len(f.Records) {
		f.Records = records[:min(n, len(records))]
		p.fetched(&f)
	}
}
