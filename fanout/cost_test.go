package fanout

import (
	"syscall"
	"testing"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// What things cost, counted rather than timed.

// nowhere returns n descriptors for subscribeN of which nobody asks the kernel.
func nowhere(n int) []int {
	fds := make([]int, n)
	for i := range fds {
		fds[i] = 1<<20 + i
	}
	return fds
}

var btcBook = proto.TopicKey{Symbol: btc, Channel: proto.ChannelBook}

// TestPublishingTouchesNoSubscriber: with 18,000 subscribers a publish allocates
// what it allocates with none, and leaves behind one feed in its shard's list and
// nothing at any connection.
func TestPublishingTouchesNoSubscriber(t *testing.T) {
	const messages = 100
	allocs := map[int]float64{}
	for _, n := range []int{0, 18_000} {
		h, _ := benchRig(t, null{})
		topic, err := h.acquire(btcBook)
		if err != nil {
			t.Fatal(err)
		}
		subscribeN(h, nowhere(n))
		d := delta(5)
		on(h, func(s *shard) {
			allocs[n] = testing.AllocsPerRun(1, func() {
				for range messages {
					d.Seq++
					topic.Delta(d)
				}
			})
			feeds := 0
			for f := s.dirty.Load(); f != nil; f = f.next {
				feeds++
			}
			if want := min(n, 1); feeds != want {
				t.Errorf("%d subscribers: %d feeds are listed, want %d", n, feeds, want)
			}
			for _, c := range s.conns {
				if c.queued || c.listed != nil || c.subs[0].listed {
					t.Fatal("publishing has touched a subscriber")
				}
			}
		})
	}
	if allocs[0] != allocs[18_000] {
		t.Errorf("%v allocations for %d messages with no subscriber, %v with 18,000", allocs[0], messages, allocs[18_000])
	}
}

// TestConnectionCostsOneSendATurnHoweverManySymbols: 20 symbols, of which each has
// changed three times.
func TestConnectionCostsOneSendATurnHoweverManySymbols(t *testing.T) {
	const conns, changes = 50, 3
	symbols := many(20)
	r := newRig(t, func(c *Config) { c.Sockets = null{} }, symbols...)
	on(r.hub, func(s *shard) {
		for _, fd := range nowhere(conns) {
			c := s.unregistered(fd)
			s.conns = append(s.conns, c)
			s.load.Add(1)
			r.hub.conns.Add(1)
			for _, symbol := range symbols {
				s.subscribe(c, answer{}, &pb.SubscribeItem{Symbol: symbol})
			}
		}
		s.turn()
		random := seeded(20)
		for _, symbol := range symbols {
			for range changes {
				r.book(symbol).publish(random, 2)
			}
		}
		sends, frames := s.stats.sends.Load(), s.stats.frames.Load()
		s.turn()
		if n := s.stats.sends.Load() - sends; n != conns {
			t.Errorf("%d sends to %d connections", n, conns)
		}
		if n, want := s.stats.frames.Load()-frames, uint64(conns*len(symbols)*changes); n != want {
			t.Errorf("%d frames in them, want %d", n, want)
		}
		for len(s.conns) > 0 {
			s.close(s.conns[0])
		}
	})
}

// TestRunIsBuiltOnceForAllWhoStandAtTheSameCursor: what a turn has built takes as
// many bytes as one reader was sent.
func TestRunIsBuiltOnceForAllWhoStandAtTheSameCursor(t *testing.T) {
	const readers, k = 300, 16
	h, _ := benchRig(t, null{})
	subscribeN(h, nowhere(readers))
	d := delta(5)
	on(h, func(s *shard) {
		topic := s.feeds[btcBook].topic
		bytes, frames := s.stats.bytes.Load(), s.stats.frames.Load()
		for range k {
			d.Seq++
			topic.Delta(d)
		}
		s.turn()
		each := (s.stats.bytes.Load() - bytes) / readers
		if n := s.stats.frames.Load() - frames; n != readers*k {
			t.Errorf("%d frames delivered, want %d", n, readers*k)
		}
		if uint64(len(s.arena)) != each || each == 0 {
			t.Errorf("%d bytes of runs were built for %d readers of %d bytes", len(s.arena), readers, each)
		}
	})
}

// sendOrder notes to whom is sent, in order.
type sendOrder struct {
	null
	fds []int
}

func (o *sendOrder) Send(fd int, b []byte) (int, poll.Class, syscall.Errno) {
	o.fds = append(o.fds, fd)
	return o.null.Send(fd, b)
}

// TestNobodyIsAlwaysServedLast: who is last in one turn is not in the next, and
// everybody's place moves.
func TestNobodyIsAlwaysServedLast(t *testing.T) {
	const readers, turns = 200, 40
	sockets := &sendOrder{}
	h, _ := benchRig(t, sockets)
	subscribeN(h, nowhere(readers))
	d := delta(1)
	on(h, func(s *shard) {
		topic := s.feeds[btcBook].topic
		last := map[int]int{}
		before := -1
		for range turns {
			sockets.fds = sockets.fds[:0]
			d.Seq++
			topic.Delta(d)
			s.turn()
			if len(sockets.fds) != readers {
				t.Fatalf("%d sends to %d readers", len(sockets.fds), readers)
			}
			fd := sockets.fds[readers-1]
			if fd == before {
				t.Error("last twice in a row")
			}
			before = fd
			last[fd]++
		}
		for fd, n := range last {
			if n > turns/8 {
				t.Errorf("descriptor %d was last in %d of %d turns", fd, n, turns)
			}
		}
	})
}

func TestConnectionsAreSpreadEvenlyOverShards(t *testing.T) {
	const shards, each = 4, 10
	r := newRig(t, func(c *Config) { c.Shards = shards }, btc)
	var all []*client
	for range shards * each {
		all = append(all, r.dial(proto.CodecProto))
	}
	even := func() bool {
		for _, n := range r.hub.Stats().ShardConns {
			if n != each {
				return false
			}
		}
		return true
	}
	if !even() {
		t.Fatalf("spread as %v", r.hub.Stats().ShardConns)
	}
	// Whoever leaves makes room where they were.
	for i := 0; i < len(all); i += 3 {
		_ = all[i].conn.Close()
	}
	left := len(all) - (len(all)+2)/3
	r.until("those are gone", func() bool { return r.hub.Stats().Conns == int64(left) })
	for range len(all) - left {
		r.dial(proto.CodecProto)
	}
	if !even() {
		t.Errorf("spread as %v after some left and others came", r.hub.Stats().ShardConns)
	}
}

// TestBusyShardNeverBlocksIngest: while one shard does not turn at all, far more
// than a ring holds is published, the readers of the other have every change, and
// those of the busy one the right book once it turns again.
func TestBusyShardNeverBlocksIngest(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Shards, c.RingEntries = 2, 64 }, btc)
	first, second := r.dial(proto.CodecProto), r.dial(proto.CodecProto)
	b, random := r.book(btc), seeded(8)
	b.publish(random, 20)
	stuck, served := newModel(t, first.subscribe(book)), newModel(t, second.subscribe(book))
	stuck.apply(first.next())
	served.apply(second.next())

	held, release := make(chan struct{}), make(chan struct{})
	r.hub.shards[0].do(func() { close(held); <-release })
	<-held
	for range 50 {
		for range 20 {
			b.publish(random, 3)
		}
		seq, _ := b.where()
		served.follow(second, seq)
	}
	if served.snapshots != 1 || served.merged != 0 {
		t.Errorf("the other shard's reader had %d snapshots and %d merged deltas", served.snapshots, served.merged)
	}
	close(release)
	seq, _ := b.where()
	stuck.follow(first, seq)
	if n := r.hub.Stats().Laps; n != 1 {
		t.Errorf("%d laps; the busy shard's reader must have been lapped, or this shows nothing", n)
	}
}
