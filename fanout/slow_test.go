package fanout

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/fanout/poll/polltest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// small makes sockets and rings small, so that a reader is soon slow.
func small(c *Config) {
	c.SendBufferBytes = 4 << 10
	c.RingEntries = 64
	c.MaxLaps = 1 << 15
}

// freeze publishes until a reader that does not read has met a full socket, which
// stays full: what the kernel had yet to move to the reader's end has been moved.
func (r *rig) freeze(b *testBook, random *rand.Rand) {
	r.t.Helper()
	before := r.hub.Stats().Again
	full := 0
	r.until("a full socket", func() bool {
		if r.blocked() == 0 {
			full = 0
			b.publish(random, 40)
		} else {
			full++
		}
		return r.hub.Stats().Again > before && full > 20
	})
}

// stallOut waits until the one reader that is frozen has been dropped. The kernel may
// make room in a socket that was full: then it is filled again first.
func (r *rig) stallOut(b *testBook, random *rand.Rand) {
	r.t.Helper()
	full := 0
	r.until("the drop", func() bool {
		if r.hub.Stats().Drops[DropStalled] == 1 {
			return true
		}
		if full++; r.blocked() == 0 {
			full = 0
			b.publish(random, 40)
		}
		if full > 20 {
			full = 0
			r.advance(r.hub.config.StallTimeout + time.Second)
		}
		return false
	})
}

// blocked counts the blocked connections.
func (r *rig) blocked() (n uint64) {
	for _, s := range r.hub.shards {
		done := make(chan struct{})
		s.do(func() {
			for c := s.stalls.first; c != nil; c = c.after {
				n++
			}
			close(done)
		})
		<-done
	}
	return n
}

func TestFrozenReaderDoesNotDelayOthers(t *testing.T) {
	r := newRig(t, small, btc)
	random := seeded(2)
	frozen := r.dial(proto.CodecProto)
	frozen.subscribe(book)
	r.freeze(r.book(btc), random)

	full := r.hub.Stats().Again
	alert := r.dial(proto.CodecProto)
	m := newModel(t, alert.subscribe(book))
	seq, _ := r.book(btc).where()
	m.follow(alert, seq)
	m.merged = 0 // what came since the snapshot was made
	const n = 1000
	joined := 0 // what came since the snapshot that it began with may have come as one
	for i := range n {
		r.book(btc).publish(random, 40)
		seq, _ := r.book(btc).where()
		m.follow(alert, seq)
		if i == 0 {
			joined = m.merged
		}
	}
	if m.merged > joined || m.snapshots != 1 {
		t.Errorf("the reader beside a frozen one got %d merged deltas, %d of them on joining, and %d snapshots", m.merged, joined, m.snapshots)
	}
	if r.blocked() != 1 && r.hub.Stats().Again == full {
		t.Error("the frozen reader is not blocked any more, so this shows nothing")
	}
}

func TestLappedReaderGetsSnapshot(t *testing.T) {
	r := newRig(t, small, btc)
	random := seeded(3)
	c := r.dial(proto.CodecProto)
	m := newModel(t, c.subscribe(book))
	r.freeze(r.book(btc), random)
	r.hold(func() {
		for range 1000 {
			r.book(btc).publish(random, 3)
		}
	})
	seq, hash := r.book(btc).where()
	m.follow(c, seq)
	if m.hash() != hash {
		t.Error("the book differs from the server's")
	}
	if last := m.reasons[len(m.reasons)-1]; last != pb.SnapshotReason_SNAPSHOT_REASON_LAPPED {
		t.Errorf("the last snapshot's reason is %v", last)
	}
	if r.hub.Stats().Laps == 0 {
		t.Error("no lap was counted")
	}
}

func TestReaderWithPolicyDropEndsAtItsFirstLap(t *testing.T) {
	r := newRig(t, small, btc)
	random := seeded(4)
	c := r.dial(proto.CodecProto)
	m := newModel(t, c.subscribe(&pb.SubscribeItem{Symbol: btc, Policy: pb.Policy_POLICY_DROP}))
	r.freeze(r.book(btc), random)
	for range 1000 {
		r.book(btc).publish(random, 3)
	}
	if code, text := c.closed(); code != drops[DropLapped].Code {
		t.Errorf("closed with %d %s", code, text)
	}
	if m.merged > 0 {
		t.Error("a reader that wants every frame got merged ones")
	}
	if n := r.hub.Stats().Drops[DropLapped]; n != 1 {
		t.Errorf("%d drops counted", n)
	}
}

func TestReaderLappedTooOftenIsDropped(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { small(c); c.MaxLaps = 2; c.Sockets = sockets }, btc)
	random := seeded(5)
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	m := newModel(t, c.subscribe(book))
	b := r.book(btc)
	b.publish(random, 3)
	seq, _ := b.where()
	m.follow(c, seq)
	for range 3 {
		// The next send meets a full socket; while the shard waits for room, the
		// ring goes round.
		r.hold(func() {
			for range 200 {
				b.publish(random, 3)
			}
		})
		r.sync()
	}
	if code, text := c.closed(); code != drops[DropLappedOften].Code {
		t.Errorf("closed with %d %s", code, text)
	}
}

// hold runs f while the shards stand still.
func (r *rig) hold(f func()) {
	held, release := make(chan struct{}), make(chan struct{})
	for _, s := range r.hub.shards {
		s.do(func() { held <- struct{}{}; <-release })
	}
	for range r.hub.shards {
		<-held
	}
	f()
	close(release)
}

func TestBlockedReaderIsDroppedWithReason(t *testing.T) {
	r := newRig(t, small, btc)
	c := r.dial(proto.CodecProto)
	c.subscribe(book)
	r.freeze(r.book(btc), seeded(6))
	timeout := r.hub.config.StallTimeout
	r.advance(timeout - time.Second)
	r.sync()
	if n := r.hub.Stats().Conns; n != 1 {
		t.Fatal("dropped before its time")
	}
	r.until("the drop", func() bool { // the kernel may make room once more, and time begins anew
		r.advance(2 * time.Second)
		return r.hub.Stats().Conns == 0
	})
	if n := r.hub.Stats().Drops[DropStalled]; n != 1 {
		t.Errorf("%d drops counted as stalled", n)
	}
	c.ended()
	if s := r.hub.Stats(); s.PinnedBytes != 0 || s.Subscriptions != 0 {
		t.Errorf("%d bytes pinned and %d subscriptions left behind", s.PinnedBytes, s.Subscriptions)
	}
}

func TestBlockedGoodbyeIsCutOff(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets; c.CloseTimeout = time.Hour }, btc)
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	r.sync()
	sockets.OnSend(c.fd, polltest.Again(1<<30))
	c.write(ws.OpText, []byte("not for this protocol"))
	r.until("the drop", func() bool { return r.hub.Stats().Drops[DropWrongType] == 1 && r.blocked() == 1 })
	r.advance(r.hub.config.StallTimeout + time.Second)
	r.until("its end", func() bool { return r.hub.Stats().Conns == 0 })
	if n := r.hub.Stats().Drops[DropStalled]; n != 0 {
		t.Error("counted twice")
	}
}

func TestSlowReaderGetsOneNetDelta(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets }, btc)
	random := seeded(7)
	b := r.book(btc)
	for range 20 {
		b.publish(random, 40)
	}
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	m := newModel(t, c.subscribe(book))
	seq, _ := b.where()
	m.follow(c, seq)

	sockets.OnSend(c.fd, polltest.Again(1))
	r.hold(func() {
		for range 10 {
			b.publish(random, 2)
		}
	})
	seq, _ = b.where()
	m.follow(c, seq)
	if m.deltas != 1 || m.merged != 1 || m.snapshots != 1 {
		t.Errorf("%d deltas of which %d merged, %d snapshots; want one net delta", m.deltas, m.merged, m.snapshots)
	}

	// Once it has caught up it is like any other.
	r.sync()
	r.hold(func() {
		for range 3 {
			b.publish(random, 2)
		}
	})
	seq, _ = b.where()
	m.follow(c, seq)
	if m.deltas != 4 || m.merged != 1 {
		t.Errorf("%d deltas of which %d merged, after it has caught up; want 4, 1", m.deltas, m.merged)
	}
}

func TestStatusIsNeverConflatedAway(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets }, btc)
	random := seeded(8)
	b := r.book(btc)
	for range 20 {
		b.publish(random, 40)
	}
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	m := newModel(t, c.subscribe(book))
	seq, _ := b.where()
	m.follow(c, seq)

	sockets.OnSend(c.fd, polltest.Again(1))
	r.hold(func() {
		b.publish(random, 2)
		b.publish(random, 2)
		b.enter(proto.Halted)
		b.publish(random, 2)
		b.publish(random, 2)
		b.enter(proto.Auction)
		b.publish(random, 2)
	})
	seq, _ = b.where()
	m.follow(c, seq)
	if m.statuses != 2 || m.deltas != 3 || m.merged != 2 || m.phase != pb.Phase_PHASE_AUCTION {
		t.Errorf("%d statuses, %d deltas, %d merged, phase %v; want 2, 3, 2, auction", m.statuses, m.deltas, m.merged, m.phase)
	}
}

func TestPartialSendKeepsFramesWhole(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets }, btc)
	random := seeded(9)
	b := r.book(btc)
	b.publish(random, 40)
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	m := newModel(t, c.subscribe(&pb.SubscribeItem{Symbol: btc, Policy: pb.Policy_POLICY_DROP}))
	for k := 1; k < 200; k++ {
		sockets.OnSend(c.fd, polltest.Take(k), polltest.Take(1+k%7), polltest.Again(1), polltest.Take(3))
		r.hold(func() {
			b.publish(random, 6)
			b.publish(random, 6)
			b.publish(random, 6)
		})
		seq, _ := b.where()
		m.follow(c, seq)
	}
	if m.snapshots != 1 || m.merged != 0 || m.deltas != 3*199 {
		t.Errorf("%d snapshots, %d deltas, %d merged; want 1, %d, 0", m.snapshots, m.deltas, m.merged, 3*199)
	}
	r.sync() // the client may have the bytes before the shard has counted them
	if pinned := r.hub.Stats().PinnedBytes; pinned != 0 {
		t.Errorf("%d bytes still pinned", pinned)
	}
}

func TestPartialSendKeepsControlFramesWhole(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets }, btc)
	r.book(btc).publish(seeded(1), 5)
	c := r.dialScripted(proto.CodecProto, func(fd int) {
		sockets.Forget(fd)
		sockets.OnSend(fd, polltest.Take(1), polltest.Take(30), polltest.Again(1), polltest.Take(3))
	})
	sockets.OnSend(c.fd, polltest.Take(2), polltest.Again(2), polltest.Take(20))
	m := newModel(t, c.subscribe(book))
	seq, _ := r.book(btc).where()
	m.follow(c, seq)
}

func TestSlowReaderBehindResetGetsOnlyTheSnapshot(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets }, btc)
	random := seeded(12)
	b := r.book(btc)
	b.publish(random, 40)
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	m := newModel(t, c.subscribe(book))
	seq, _ := b.where()
	m.follow(c, seq)
	sockets.OnSend(c.fd, polltest.Again(1<<30))
	b.publish(random, 2)
	r.until("a full socket", func() bool { return r.blocked() == 1 })
	r.hold(func() {
		b.publish(random, 2)
		b.become(proto.Recovering, proto.ReasonSourceGap)
		b.become(proto.Live, proto.ReasonNone)
		b.publish(random, 2)
		sockets.Forget(c.fd) // from here on it has room
	})
	seq, _ = b.where()
	m.follow(c, seq)
	if m.snapshots != 2 || m.deltas != 1 || m.statuses != 0 {
		t.Errorf("%d snapshots, %d deltas, %d statuses; want the first and the new snapshot, and the delta after it", m.snapshots, m.deltas, m.statuses)
	}
}

// However little the rings may keep, a joiner's snapshot is never further back
// than they reach.
func TestJoinersAreWholeWhileRingsKeepAlmostNothing(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AllRingsBytes = 1 }, btc)
	b := r.book(btc)
	random := seeded(13)
	for range 50 {
		b.publish(random, 5)
		c := r.dial(proto.CodecProto)
		m := newModel(t, c.subscribe(book))
		seq, _ := b.where()
		m.follow(c, seq)
		b.publish(random, 5)
		seq, _ = b.where()
		m.follow(c, seq)
		_ = c.conn.Close()
	}
	if laps := r.hub.Stats().Laps; laps != 0 {
		t.Errorf("%d laps of readers that were not slow", laps)
	}
}

func TestPinnedBytesAreBoundedLongestStalledFirst(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets; c.PinnedBytes = 1 }, btc)
	b := r.book(btc)
	b.publish(seeded(10), 40)
	var clients []*client
	for range 2 {
		c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
		m := newModel(t, c.subscribe(book))
		seq, _ := b.where()
		m.follow(c, seq)
		clients = append(clients, c)
	}
	for i, c := range clients {
		// The kernel takes a part of the frame and then nothing: the socket never
		// becomes writable for this test.
		sockets.OnSend(c.fd, polltest.Again(1_000_000))
		if i == 0 {
			r.hold(func() { b.publish(seeded(11), 4) })
			r.sync()
			r.advance(time.Second)
			r.sync()
		}
	}
	first := clients[0]
	s := r.hub.shards[0]
	s.do(func() {
		for _, c := range s.conns {
			c.begin(newFrame([]byte(fmt.Sprint("pinned by ", c.fd))), 1)
		}
	})
	r.until("drops", func() bool { return r.hub.Stats().Drops[DropPinnedBytes] > 0 })
	first.ended()
}

// Whatever sockets do, a client that follows the rule holds a book that equals the
// server's at its seq: every frame's hash says so.
func TestRandomFaultsNeverMakeAWrongBook(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			sockets := &polltest.Sockets{}
			r := newRig(t, func(c *Config) {
				small(c)
				c.Shards = 2
				c.Sockets = sockets
				c.MaxBytesPerTurn = minBytesPerTurn << (seed % 3)
			}, btc)
			random := seeded(100 + seed)
			b := r.book(btc)
			var clients []*client
			var models []*model
			for i := range 6 {
				c := r.dialScripted(proto.Codec(i%2), func(fd int) { sockets.Forget(fd) })
				item := book
				if i >= 4 {
					item = orders
				}
				models = append(models, newModel(t, c.subscribe(item)))
				clients = append(clients, c)
			}
			wrong := func(i int, seq int64, hash uint32) bool {
				if models[i].byOrder {
					_, hash = b.whereOrders()
				}
				models[i].follow(clients[i], seq)
				return models[i].hash() != hash
			}
			for range 60 {
				for _, c := range clients {
					for range random.IntN(4) {
						if random.IntN(3) == 0 {
							sockets.OnSend(c.fd, polltest.Again(1+random.IntN(3)))
						} else {
							sockets.OnSend(c.fd, polltest.Take(1+random.IntN(300)))
						}
					}
				}
				for range random.IntN(120) {
					b.publish(random, 8)
					switch random.IntN(60) {
					case 0:
						b.enter(proto.Phase(1 + random.IntN(5)))
					case 1:
						b.become(proto.Recovering, proto.ReasonSourceGap)
						b.become(proto.Live, proto.ReasonNone)
					}
				}
				seq, hash := b.where()
				for i := range clients {
					if random.IntN(3) == 0 {
						if wrong(i, seq, hash) {
							t.Fatalf("client %d: the book differs from the server's at %d", i, seq)
						}
					}
				}
			}
			seq, hash := b.where()
			for i := range clients {
				if wrong(i, seq, hash) {
					t.Fatalf("client %d: the book differs from the server's", i)
				}
			}
			s := r.hub.Stats()
			if s.Again == 0 || s.Merged == 0 || s.Laps == 0 || s.Snapshots <= uint64(len(clients)) {
				t.Errorf("the faults were too tame to show anything: %d full sockets, %d net deltas, %d laps, %d snapshots",
					s.Again, s.Merged, s.Laps, s.Snapshots)
			}
		})
	}
}

// TestSlowReaderThatTakesBytesIsNotSilent: a ping reaches it behind all that it has
// yet to read, so its socket's word is taken for its own.
func TestSlowReaderThatTakesBytesIsNotSilent(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets; c.KeepaliveInterval = time.Hour }, btc)
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	c.subscribe(book)
	c.next()
	b, random := r.book(btc), seeded(21)
	step := r.hub.config.SilenceTimeout / 12
	for range 40 {
		r.sync()
		sockets.OnSend(c.fd, polltest.Take(1), polltest.Again(1))
		r.hold(func() { b.publish(random, 4) })
		f, err := c.raw()
		if err != nil || f.Header.OpCode != ws.OpBinary {
			t.Fatalf("got %v, %v, not the delta", f.Header, err)
		}
		r.advance(step)
	}
	if n := r.hub.Stats().Conns; n != 1 {
		t.Errorf("ended: %v", r.hub.Stats().Drops)
	}
}

// peak notes the most that was pinned at any send and at any end of a connection.
type peak struct {
	poll.Kernel
	pinned *atomic.Int64
	most   int64 // of the only shard
}

func (p *peak) Send(fd int, b []byte) (int, poll.Class, syscall.Errno) {
	p.most = max(p.most, p.pinned.Load())
	return p.Kernel.Send(fd, b)
}

func (p *peak) Close(fd int) error {
	p.most = max(p.most, p.pinned.Load())
	return p.Kernel.Close(fd)
}

// TestPinnedBytesAreBoundedWithinATurn: one turn may half send a snapshot of its own
// to each of very many readers whose sockets are full at once.
func TestPinnedBytesAreBoundedWithinATurn(t *testing.T) {
	const readers, limit = 40, 1 << 20
	symbols := many(readers)
	sockets := &peak{}
	r := newRig(t, func(c *Config) { small(c); c.Sockets = sockets; c.PinnedBytes = limit }, symbols...)
	sockets.pinned = &r.hub.pinned
	var largest int
	for _, symbol := range symbols {
		b := r.book(symbol)
		for i := range int64(15_000) { // far more than a socket takes here
			b.bids[i+1], b.asks[i+50_000] = 1<<20+i, 1<<20+i
		}
	}
	for range readers {
		r.dial(proto.CodecProto)
	}
	r.hub.ask(0, func(s *shard) {
		for i, c := range s.conns {
			s.request(c, asksForAll(t, symbols[i:i+1]))
			s.enqueue(c)
		}
		s.turn() // the acks
		s.turn()
		for _, c := range s.conns {
			if c.flight != nil {
				largest = max(largest, len(c.flight.bytes))
			}
		}
		if most := int64(limit + limit/excessShare + largest); sockets.most > most || sockets.most < limit {
			t.Errorf("%d bytes were pinned at once; want more than the limit of %d, so that this shows something, and at most %d", sockets.most, limit, most)
		}
	})
	r.until("the limit is kept", func() bool { return r.hub.Stats().PinnedBytes <= limit })
	s := r.hub.Stats()
	if s.Drops[DropPinnedBytes] == 0 || s.Conns*int64(largest) < limit*9/10 {
		t.Errorf("%d dropped for it, %d left, of frames up to %d bytes", s.Drops[DropPinnedBytes], s.Conns, largest)
	}
}

// TestNetDeltasKeptAreBounded: also where old ones are asked for again and again.
func TestNetDeltasKeptAreBounded(t *testing.T) {
	const limit, size = 100_000, 1000
	m := newMergedFrames(limit)
	ask := func(i int) {
		key := mergedKey{topic: uint32(i)}
		one := m.find(key)
		one.once.Do(func() { one.frame = newFrame(make([]byte, size)); m.made(one, size) })
	}
	for i := range 2000 {
		for back := range min(i, 60) {
			ask(i - back)
		}
		held := 0
		for _, half := range []map[mergedKey]*merged{m.recent, m.previous} {
			for _, one := range half {
				held += one.bytes
			}
		}
		if most := limit + 2*(size+mergedKeyBytes); held > most {
			t.Fatalf("%d bytes kept, at most %d", held, most)
		}
	}
}
