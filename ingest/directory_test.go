package ingest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// home is the partition of three that Kafka's partitioner puts key into.
func home(key string) int32 {
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic("events").Partition(&kgo.Record{Key: []byte(key)}, 3))
}

// symbolAt is a symbol that Kafka's partitioner puts into partition n of three.
func symbolAt(n int32) string {
	for i := 0; ; i++ {
		if s := fmt.Sprintf("S%d", i); home(s) == n {
			return s
		}
	}
}

func TestRecordOnWrongPartitionHarmsNobody(t *testing.T) {
	x := symbolAt(0)
	d := newDirectory()
	right := newRigIn(t, d, PartitionID{"events", 0}, nil)
	wrong := newRigIn(t, d, PartitionID{"events", 1}, nil)
	right.records(rec(0, x, "level"))
	wrong.records(rec(7, x, "level"), rec(8, x, "garbage"))
	right.records(rec(1, x, "level"))
	right.want("apply "+x+"@0", "apply "+x+"@1")
	wrong.want("refuse "+x+"@7 bad_record", "refuse "+x+"@8 bad_record") // its own books, which do not know it
	wrong.wantRefused(CodeWrongPartition, 2)
	if p, ok := d.Find(x); !ok || p != right.Partition {
		t.Errorf("%s lives in %v", x, p)
	}
	if len(wrong.letters.got) != 2 {
		t.Errorf("dead letters: %q", wrong.letters.got)
	}
}

// A partition was added and some producers know: what they send comes where the
// symbol does not live, so its book there lacks it, until the next snapshot.
func TestSymbolWhoseRecordsMoveMakesItsBookRecovering(t *testing.T) {
	d := newDirectory()
	was := newRigIn(t, d, PartitionID{"events", 0}, nil)
	is := newRigIn(t, d, PartitionID{"events", 1}, nil)
	other := newRigIn(t, d, PartitionID{"copy", 1}, nil) // whose symbols are another's too
	moved, stays := symbolAt(1), symbolAt(0)
	for _, r := range []*rig{is, other} {
		r.give(Fetched{HighWatermark: 0}, nil)
	}
	was.records(rec(0, moved, "level"), rec(1, stays, "level"))
	was.want("apply "+moved+"@0", "apply "+stays+"@1")
	other.records(rec(0, moved, "level"))
	heartbeat := Fetched{Next: 2, HighWatermark: 2}
	was.give(heartbeat, nil)
	was.want()
	is.records(rec(0, moved, "level"), rec(1, stays, "level"))
	is.wantRefused(CodeWrongPartition, 2)
	if _, err := is.news(0, -1); err == nil {
		t.Error("a checkpoint would make the next start pass over the record that moved")
	}
	was.give(heartbeat, nil)
	was.want(fmt.Sprintf("refuse %s@%d offset_gap", moved, math.MaxInt64))
	was.give(heartbeat, nil)
	was.want()
}

func TestOwnerDoesNotDependOnReadingOrder(t *testing.T) {
	x := symbolAt(0)
	elsewhere := symbolAt(2) // neither of the partitions below
	for _, c := range []struct {
		name, symbol  string
		right, wrong  PartitionID
		first, second int64 // offsets, which are times too, of the first record in right and in wrong
	}{
		{"where the key belongs", x, PartitionID{"events", 0}, PartitionID{"events", 1}, 9, 3},
		{"the first Kafka topic", x, PartitionID{"events", 0}, PartitionID{"more", 0}, 9, 3},
		{"the earlier record", elsewhere, PartitionID{"events", 1}, PartitionID{"events", 0}, 3, 9},
		{"the lower number", elsewhere, PartitionID{"events", 0}, PartitionID{"events", 1}, 3, 3},
	} {
		for _, rightFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, read first: %v", c.name, rightFirst), func(t *testing.T) {
				d := newDirectory()
				right, wrong := newRigIn(t, d, c.right, nil), newRigIn(t, d, c.wrong, nil)
				read := []func(){
					func() {
						right.give(Fetched{Records: []Record{rec(c.first, c.symbol, "level")}, Next: c.first + 1, HighWatermark: 99}, nil)
					},
					func() {
						wrong.give(Fetched{Records: []Record{rec(c.second, c.symbol, "level")}, Next: c.second + 1, HighWatermark: 99}, nil)
					},
				}
				if !rightFirst {
					slices.Reverse(read)
				}
				read[0]()
				read[1]()
				wrong.give(Fetched{Records: []Record{rec(c.second+1, c.symbol, "level"), rec(c.second+2, c.symbol, "level")}, Next: 99, HighWatermark: 99}, nil)
				right.give(Fetched{Records: []Record{rec(c.first+1, c.symbol, "level")}, Next: 99, HighWatermark: 99}, nil)
				if p, ok := d.Find(c.symbol); !ok || p != right.Partition {
					t.Errorf("%s lives in %v, want %v", c.symbol, p, c.right)
				}
				if n := right.Stats().Refused()[CodeWrongPartition]; n != 0 {
					t.Errorf("%d records refused where the symbol lives", n)
				}
				if n := wrong.Stats().Refused()[CodeWrongPartition]; n == 0 {
					t.Error("nothing refused where it does not")
				}
				if r, w := right.Stats().Symbols.Load(), wrong.Stats().Symbols.Load(); r != 1 || w != 0 {
					t.Errorf("%d symbols live where it does, %d where it does not", r, w)
				}
				if !slices.Equal(d.Symbols(), []string{c.symbol}) {
					t.Errorf("symbols %v", d.Symbols())
				}
			})
		}
	}
}

func TestClaimsOfARecreatedKafkaTopicAreVoid(t *testing.T) {
	d := newDirectory()
	a, b := newRigIn(t, d, PartitionID{"events", 0}, nil), newRigIn(t, d, PartitionID{"events", 1}, nil)
	x, y := symbolAt(0), symbolAt(1)
	a.records(rec(0, x, "level"))
	b.records(rec(0, y, "level"))
	b.give(Fetched{}, &Recreated{WasID: [16]byte{1}, IsID: [16]byte{2}})
	if len(d.Symbols()) != 0 {
		t.Errorf("still known: %v", d.Symbols())
	}
	// a has not noticed yet: what it reads is of the old log, and claims nothing.
	a.records(rec(1, symbolAt(2), "level"))
	a.wantRefused(CodeWrongPartition, 1)
	b.records(rec(0, x, "level")) // nobody else has records of it in the new log
	a.give(Fetched{}, &Recreated{WasID: [16]byte{1}, IsID: [16]byte{2}})
	a.records(rec(0, y, "level"))
	if p, ok := d.Find(x); !ok || p != b.Partition {
		t.Errorf("%s lives in %v", x, p)
	}
}

func TestSymbolIsNotFoundWhileItsPartitionIsInDoubt(t *testing.T) {
	d := newDirectory()
	a := newRigIn(t, d, PartitionID{"events", 0}, nil)
	b := newRigIn(t, d, PartitionID{"events", 1}, nil)
	x := symbolAt(2)
	a.records(rec(0, x, "level"))
	if _, ok := d.Find(x); ok {
		t.Error("found while another partition may have the better claim")
	}
	b.records(rec(0, symbolAt(1), "level"))
	if _, ok := d.Find(x); !ok {
		t.Error("not found although all partitions have caught up")
	}
}

func TestClaimsOfManyPartitionsAtOnceAgree(t *testing.T) {
	d := newDirectory()
	cfg := Config{KafkaTopics: []TopicConfig{{Name: "events", Format: textFormat}}}
	if err := cfg.validate(); err != nil {
		t.Fatal(err)
	}
	var ps []*Partition
	for n := range int32(3) {
		ps = append(ps, newPartition(&cfg, partitionConfig{topic: cfg.KafkaTopics[0], count: 3, topicID: [16]byte{1},
			source: &script{id: PartitionID{"events", n}}, books: &diary{}, directory: d, now: rigNow}))
	}
	var wg sync.WaitGroup
	for _, p := range ps {
		wg.Go(func() {
			for i := range 1000 {
				s := fmt.Sprintf("S%d", i)
				d.claim(s, p, p.hashed([]byte(s)), int64(p.id.Partition))
				d.Find(s)
			}
			d.catchingUp(false)
		})
	}
	wg.Wait()
	for i := range 1000 {
		s := fmt.Sprintf("S%d", i)
		if p, ok := d.Find(s); !ok || p.id.Partition != home(s) {
			t.Fatalf("%s lives in %v, want partition %d", s, p, home(s))
		}
	}
}
