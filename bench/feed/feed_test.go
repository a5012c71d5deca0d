package feed

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto/pb"
)

const (
	kafkaTopic = "events"
	partitions = 3
	patience   = time.Minute
)

// record is one that the feed produced.
type record struct {
	partition int32
	key       string
	events    *pb.Events
}

// rig is a broker, and a reader of everything in it.
func rig(t *testing.T) (brokers []string, next func() record) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, kafkaTopic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	reader, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(kafkaTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	var fetched []*kgo.Record
	return cluster.ListenAddrs(), func() record {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for len(fetched) == 0 {
			fetches := reader.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetched = fetches.Records()
		}
		r := fetched[0]
		fetched = fetched[1:]
		e := &pb.Events{}
		if err := googleproto.Unmarshal(r.Value, e); err != nil {
			t.Fatal(err)
		}
		return record{r.Partition, string(r.Key), e}
	}
}

func open(t *testing.T, c Config) *Feed {
	t.Helper()
	c.KafkaTopic = kafkaTopic
	f, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

func TestFeedIsWholeChainedAndPacedByIntendedTimes(t *testing.T) {
	brokers, next := rig(t)
	const rate, burst, levels = 2000, 4, 5
	f := open(t, Config{Brokers: brokers, Symbols: Symbols(6), Rate: rate, Burst: burst, Levels: levels})
	where := map[string]int32{}
	seen := map[string]uint64{}
	best := map[string]int64{}
	heartbeats := map[int32]bool{}
	var times []int64
	for len(times) < 400 {
		r := next()
		if r.key == "" {
			if len(r.events.Events) != 1 || r.events.Events[0].GetHeartbeat() == nil || r.events.Symbol != "" {
				t.Fatalf("%v", r.events)
			}
			heartbeats[r.partition] = true
			continue
		}
		if at, known := where[r.key]; known && at != r.partition {
			t.Fatalf("%s is in partitions %d and %d", r.key, at, r.partition)
		}
		where[r.key] = r.partition
		e := r.events
		seen[r.key]++
		if e.Symbol != r.key || e.Feed != feedName || e.FirstSourceSeq != seen[r.key] || e.LastSourceSeq != seen[r.key] {
			t.Fatalf("record %d of %s: %v", seen[r.key], r.key, e)
		}
		if seen[r.key] == 1 {
			if s := e.Events[0].GetSnapshot(); len(s.GetBids().GetPrice()) != 50 || len(s.GetAsks().GetQty()) != 50 {
				t.Fatalf("the first record of %s: %v", r.key, e)
			}
			continue
		}
		set := e.Events[0].GetSetLevels()
		if n := len(set.GetBids().GetPrice()) + len(set.GetAsks().GetPrice()); n != levels {
			t.Fatalf("%d levels", n)
		}
		if set.Bids.Price[0] != middle-1 || set.Bids.Qty[0] == best[r.key] {
			t.Fatalf("the best bid does not change: %v", set)
		}
		best[r.key] = set.Bids.Qty[0]
		times = append(times, e.VenueTime)
	}
	if len(heartbeats) == 0 {
		t.Error("no heartbeat")
	}
	first := times[0]
	for _, at := range times {
		first = min(first, at)
	}
	const period = int64(time.Second) * burst / rate
	bursts := map[int64]int{}
	for _, at := range times {
		if off := (at - first) % period; off > 1 && off < period-1 { // rounding
			t.Fatalf("%d ns off the beat", off)
		}
		bursts[(at-first+1)/period]++
	}
	whole := 0
	for _, n := range bursts {
		if n > burst {
			t.Fatalf("%d records at one moment", n)
		}
		if n == burst {
			whole++
		}
	}
	if whole < len(bursts)/2 {
		t.Errorf("%d of %d bursts are whole", whole, len(bursts))
	}
	sum := uint64(0)
	for _, n := range f.Offered() {
		sum += n
	}
	if sum < uint64(len(times)) {
		t.Errorf("%d offered, %d came", sum, len(times))
	}
}

func TestPublishProducesWhatItIsTold(t *testing.T) {
	brokers, next := rig(t)
	f := open(t, Config{Brokers: brokers, Symbols: Symbols(2)})
	intended := time.Now().Add(-time.Hour)
	if err := f.Publish(1, 3, intended); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 3; {
		if r := next(); r.events.VenueTime == intended.UnixNano() {
			if r.key != f.config.Symbols[1] {
				t.Fatalf("%v", r)
			}
			n++
		}
	}
	if offered := f.Offered(); offered[0] != 0 || offered[1] != 3 {
		t.Errorf("%v", offered)
	}
}

func TestFeedThatCannotWorkIsRefused(t *testing.T) {
	brokers, _ := rig(t)
	good := Config{Brokers: brokers, KafkaTopic: kafkaTopic, Symbols: Symbols(1)}
	for name, change := range map[string]func(*Config){
		"no brokers":         func(c *Config) { c.Brokers = nil },
		"no symbols":         func(c *Config) { c.Symbols = nil },
		"negative rate":      func(c *Config) { c.Rate = -1 },
		"more than the book": func(c *Config) { c.Levels = 101 },
	} {
		c := good
		change(&c)
		if _, err := Open(t.Context(), c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	missing := good
	missing.KafkaTopic = "nowhere"
	if _, err := Open(t.Context(), missing); err == nil {
		t.Error("a Kafka topic that is not there was accepted")
	}
}
