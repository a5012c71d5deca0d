package fanout

import (
	"sync"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// join has n clients subscribe to all symbols at once, and returns when the last one
// holds all their books. For each frame that one reads, meanwhile happens.
func (r *rig) join(n int, symbols []string, meanwhile func()) {
	r.t.Helper()
	var items []*pb.SubscribeItem
	for _, symbol := range symbols {
		items = append(items, &pb.SubscribeItem{Symbol: symbol})
	}
	var storm sync.WaitGroup
	for i := range n {
		c := r.dial(proto.Codec(i % int(proto.NumCodecs)))
		storm.Go(func() {
			models := map[uint32]*model{}
			c.want(items...)
			for held := 0; held < len(symbols); {
				f := c.next()
				meanwhile()
				if ack := f.GetAck(); ack != nil {
					models[ack.Topic] = newModel(r.t, ack)
					continue
				}
				m := models[topicOf(f)]
				was := m.held
				if m.apply(f); m.held && !was {
					held++
				}
			}
		})
	}
	storm.Wait()
}

// versions counts the snapshots that topics have taken of books.
func (r *rig) versions() (n int) {
	r.books.mu.Lock()
	defer r.books.mu.Unlock()
	return r.books.shown
}

// However many join at once, of a snapshot that does not change one is made a codec;
// while books change, at most one a codec of each version.
func TestStormOfJoinersCostsOneEncodingOfEachSnapshotVersion(t *testing.T) {
	const clients = 60
	names := make([]string, 0, 20)
	for _, name := range symbols(20) {
		names = append(names, name[len(name)-4:])
	}
	r := newRig(t, func(c *Config) { c.Shards, c.RequestsPerSecond = 4, 1000 }, names...)
	for _, name := range names {
		r.book(name).publish(seeded(1), 5)
	}
	r.join(clients, names, func() {})
	r.sync()
	s, codecs := r.hub.Stats(), uint64(proto.NumCodecs)
	if want := codecs * uint64(len(names)); s.SnapshotsMade != want || s.Snapshots != uint64(clients*len(names)) {
		t.Errorf("%d snapshots made for %d sent; want %d: one a codec of each symbol", s.SnapshotsMade, s.Snapshots, want)
	}
	if n := r.versions(); n != len(names) {
		t.Errorf("%d versions of %d books that did not change", n, len(names))
	}

	before := r.versions()
	var mu sync.Mutex
	random := seeded(2)
	r.join(clients, names, func() {
		mu.Lock()
		defer mu.Unlock()
		r.book(names[random.IntN(len(names))]).publish(random, 5)
	})
	r.sync()
	fresh := r.hub.Stats()
	made, versions := fresh.SnapshotsMade-s.SnapshotsMade, uint64(r.versions()-before)
	if sent := fresh.Snapshots - s.Snapshots; made > codecs*versions*reasons || versions == 0 || sent < uint64(clients*len(names)) {
		t.Errorf("%d snapshots made for %d sent, of %d versions", made, sent, versions)
	}
}

// reasons are those for which a joiner may be sent a snapshot: its own, and that it
// was lapped before it was live.
const reasons = 2

// Two shards that need the same frame at the same moment do not both make it.
func TestShardsThatNeedASnapshotAtOnceMakeItOnce(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Shards = 4 }, btc)
	random := seeded(3)
	for range 100 {
		r.book(btc).publish(random, 50)
	}
	r.dial(proto.CodecProto).subscribe(&pb.SubscribeItem{Symbol: btc})
	r.hub.mu.Lock()
	topic := r.hub.topics[proto.TopicKey{Symbol: btc, Channel: proto.ChannelBook, View: proto.View{Depth: proto.GrantDepth(0)}}]
	r.hub.mu.Unlock()
	const rounds = 300
	before := r.hub.Stats().SnapshotsMade
	for range rounds {
		snap := &snapshot{state: topic.snapshot.Load().state}
		begin := make(chan struct{})
		var all sync.WaitGroup
		frames := make([]*frame, 4)
		for i := range frames {
			s := &shard{hub: r.hub, config: &r.hub.config}
			all.Go(func() {
				<-begin
				frames[i] = s.snapshotFrame(topic, snap, proto.SnapshotInitial, framingJSON)
				r.hub.shards[0].stats.snapshotsMade.Add(s.stats.snapshotsMade.Load())
			})
		}
		close(begin)
		all.Wait()
		for _, f := range frames {
			if f != frames[0] {
				t.Fatal("two frames of one snapshot")
			}
		}
	}
	if made := r.hub.Stats().SnapshotsMade - before; made != rounds {
		t.Errorf("%d made of %d snapshots", made, rounds)
	}
}
