package fanout

import (
	"fmt"
	"os"
	"testing"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// size is short in `make test`, and long in `make test-long`.
func size(short, long int) int {
	if os.Getenv("DEPTHCAST_LONG") != "" {
		return long
	}
	return short
}

// huge has a book whose snapshot no socket of a test takes.
const huge = "SIM:HUGE"

// freezeAll has n readers subscribe that stop reading in the middle of a snapshot.
// What the kernel holds of it is of large packets, so that it stays full: it makes
// room by joining small ones.
func (r *rig) freezeAll(n int) {
	r.t.Helper()
	b := r.book(huge)
	for i := range int64(40_000) { // some 300 KB
		b.bids[i+1], b.asks[i+1_000_000] = 1<<20+i, 1<<20+i
	}
	for range n {
		c := r.dial(proto.CodecProto)
		c.subscribe(&pb.SubscribeItem{Symbol: huge})
		c.ask(subscribeTo(2, book))
	}
	full := 0
	r.until("full sockets", func() bool {
		if full++; r.blocked() < uint64(n) || r.hub.Stats().Subscriptions < 2*int64(n) {
			full = 0
		}
		return full > 20
	})
}

// TestManyFrozenReadersCostTheOthersNoSystemCall: the others get every record by
// itself, and nothing is tried for those who are frozen.
func TestManyFrozenReadersCostTheOthersNoSystemCall(t *testing.T) {
	n := size(100, 1000)
	r := newRig(t, small, btc, huge)
	r.freezeAll(n)
	alert := r.dial(proto.CodecProto)
	m := newModel(t, alert.subscribe(book))
	seq, _ := r.book(btc).where()
	m.follow(alert, seq)
	r.sync()
	m.merged = 0 // what came since the snapshot was made
	before, random := r.hub.Stats(), seeded(41)
	const records = 300
	for range records {
		r.book(btc).publish(random, 40)
		seq, _ := r.book(btc).where()
		m.follow(alert, seq)
	}
	r.sync()
	after := r.hub.Stats()
	if m.merged > 0 || m.snapshots != 1 {
		t.Errorf("the reader beside %d frozen ones got %d merged deltas and %d snapshots", n, m.merged, m.snapshots)
	}
	// The kernel may yet move some of what it holds to a frozen reader's end, which
	// makes room for a send or two there. Tried in vain they would be for every record.
	if sends := after.Sends - before.Sends; sends > records+3*uint64(n) {
		t.Errorf("%d system calls for %d records to one reader", sends, records)
	}
	if after.Conns != int64(n)+1 {
		t.Errorf("%d connections left of %d", after.Conns, n+1)
	}
}

// TestReaderAtATenthOfTheRateAlwaysHoldsTheServersBook: at whatever seq it stands,
// its book is the one that the server had there.
func TestReaderAtATenthOfTheRateAlwaysHoldsTheServersBook(t *testing.T) {
	for _, codec := range []proto.Codec{proto.CodecProto, proto.CodecJSON} {
		t.Run(fmt.Sprint(codec), func(t *testing.T) {
			r := newRig(t, small, btc)
			b, random := r.book(btc), seeded(42)
			b.publish(random, 40)
			seq, hash := b.where()
			truth := map[int64]uint32{seq: hash}
			c := r.dial(codec)
			m := newModel(t, c.subscribe(book))
			stands := func() {
				if want, known := truth[m.mine]; m.held && (!known || m.hash() != want) {
					t.Fatalf("at %d its book has hash %08x, the server's had %08x", m.mine, m.hash(), want)
				}
			}
			for range size(400, 4000) {
				for range 10 {
					b.publish(random, 40)
					seq, hash = b.where()
					truth[seq] = hash
				}
				if m.mine < seq {
					m.apply(c.next())
					stands()
				}
			}
			for m.mine < seq {
				m.apply(c.next())
				stands()
			}
			if m.merged == 0 && m.snapshots < 2 {
				t.Error("it was never behind, so this shows nothing")
			}
		})
	}
}

// TestLappedReadersAreResyncedOrDroppedAsTheirPolicySays: the two side by side.
func TestLappedReadersAreResyncedOrDroppedAsTheirPolicySays(t *testing.T) {
	r := newRig(t, small, btc)
	patient := r.dial(proto.CodecProto)
	m := newModel(t, patient.subscribe(book))
	strict := r.dial(proto.CodecProto)
	strict.subscribe(&pb.SubscribeItem{Symbol: btc, Policy: pb.Policy_POLICY_DROP})
	b, random := r.book(btc), seeded(43)
	r.hold(func() {
		for range 3 * r.hub.config.RingEntries {
			b.publish(random, 4)
		}
	})
	seq, hash := b.where()
	m.follow(patient, seq)
	if m.hash() != hash || m.reasons[len(m.reasons)-1] != pb.SnapshotReason_SNAPSHOT_REASON_LAPPED {
		t.Errorf("resynced to hash %08x, the server has %08x; reasons %v", m.hash(), hash, m.reasons)
	}
	if code, _ := strict.closed(); code != drops[DropLapped].Code {
		t.Errorf("the one that wants every record was closed with %d", code)
	}
	if n := r.hub.Stats().Drops[DropLapped]; n != 1 {
		t.Errorf("%d dropped as lapped", n)
	}
}

// TestMemoryStaysFlatWhileReadersAreFrozen: what is published meanwhile takes the
// place of what the ring held.
func TestMemoryStaysFlatWhileReadersAreFrozen(t *testing.T) {
	n := size(100, 5000)
	r := newRig(t, small, btc, huge)
	r.freezeAll(n)
	b, random := r.book(btc), seeded(44)
	publish := func() {
		for range 4 * r.hub.config.RingEntries {
			b.publish(random, 40)
		}
		r.sync()
	}
	publish()
	before := heapInUse()
	for range 10 {
		publish()
	}
	if after := heapInUse(); after > before+1<<20 {
		t.Errorf("%d bytes of heap, %d before, with %d readers frozen", after, before, n)
	}
	if frozen := r.blocked(); frozen < uint64(n)*9/10 {
		t.Errorf("only %d of %d are frozen", frozen, n)
	}
}

// TestMemoryIsBoundedWhileReadersAreFrozenInDifferentSnapshots: each has begun to be
// sent a full-depth snapshot in JSON that nobody else has, larger than its socket.
func TestMemoryIsBoundedWhileReadersAreFrozenInDifferentSnapshots(t *testing.T) {
	const levels = 5000 // a side: some 300 KB
	n, limit := size(40, 5000), int64(size(4<<20, 256<<20))
	r := newRig(t, func(c *Config) { small(c); c.PinnedBytes = limit }, btc)
	b := r.book(btc)
	for i := range int64(levels) {
		b.bids[i+1], b.asks[i+1_000_000] = 1_000_000+i, 1_000_000+i
	}
	seen := map[*frame]bool{}
	var largest int64
	before := heapInUse()
	for i := range n {
		b.restart(proto.SnapshotReset, b.state.Exponents, false) // another snapshot
		r.dial(proto.CodecJSON).subscribe(&pb.SubscribeItem{Symbol: btc})
		r.until("a snapshot half sent", func() bool {
			s := r.hub.Stats()
			return r.blocked()+s.Drops[DropPinnedBytes] == uint64(i)+1
		})
		r.hub.ask(0, func(s *shard) {
			for c := s.stalls.first; c != nil; c = c.after {
				if c.flight != nil {
					seen[c.flight], largest = true, max(largest, int64(len(c.flight.bytes)))
				}
			}
		})
		if pinned := r.hub.Stats().PinnedBytes; pinned > limit+limit/excessShare+largest {
			t.Fatalf("%d bytes pinned, at most %d", pinned, limit)
		}
	}
	different := len(seen)
	clear(seen) // or it would keep them
	s := r.hub.Stats()
	if different != n || s.Drops[DropPinnedBytes] == 0 {
		t.Errorf("%d different snapshots for %d readers, %d dropped, so this shows little", different, n, s.Drops[DropPinnedBytes])
	}
	most := before + uint64(limit+limit/excessShare+8*largest) + 8192*uint64(n)
	if after := heapInUse(); after > most {
		t.Errorf("%d bytes of heap, %d before, with %d pinned; at most %d", after, before, s.PinnedBytes, most)
	}
	t.Logf("%d readers, %d left; snapshots of %d bytes; %d bytes pinned of %d; heap %d, before %d", n, s.Conns, largest, s.PinnedBytes, limit, heapInUse(), before)
}
