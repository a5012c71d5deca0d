package fanout

import (
	"sync/atomic"

	"github.com/depthcast/depthcast/proto/pb"
)

// numErrorCodes is one more than the greatest error code.
const numErrorCodes = int(pb.ErrorCode_ERROR_CODE_REVOKED) + 1

// stats are a shard's counters: written by its goroutine, read by any.
type stats struct {
	accepted         atomic.Uint64
	frames           atomic.Uint64
	bytes            atomic.Uint64
	sends            atomic.Uint64
	again            atomic.Uint64
	encoded          atomic.Uint64
	merged           atomic.Uint64
	deflated         atomic.Uint64
	deflateIn        atomic.Uint64
	deflateOut       atomic.Uint64
	deflating        atomic.Int64
	snapshots        atomic.Uint64
	snapshotsMade    atomic.Uint64
	laps             atomic.Uint64
	requests         atomic.Uint64
	items            atomic.Uint64
	mismatches       atomic.Uint64
	resyncs          atomic.Uint64
	snapshotsRefused atomic.Uint64
	sharesRefused    atomic.Uint64
	resumed          atomic.Uint64
	subscribed       atomic.Uint64
	subscriptions    atomic.Int64
	kraken           atomic.Uint64
	binance          atomic.Uint64
	voids            atomic.Uint64
	drops            [dropReasons]atomic.Uint64
	errors           [numErrorCodes]atomic.Uint64
}

// sentCounts are what a shard has sent since it last told its stats: atomic
// additions for each send would cost as much as collecting what is to be sent.
type sentCounts struct {
	sends, bytes, frames uint64
}

// add moves what c counts.
func (s *stats) add(c *sentCounts) {
	s.sends.Add(c.sends)
	s.bytes.Add(c.bytes)
	s.frames.Add(c.frames)
	*c = sentCounts{}
}

// hubStats are the counters of what happens before a connection has a shard.
type hubStats struct {
	HandshakesRefused atomic.Uint64 // answered with plain HTTP
	HandshakesFailed  atomic.Uint64 // broken off
	RelaysRefused     atomic.Uint64
	WholeReadsRefused atomic.Uint64
}

// Stats are the sums over all shards since the hub began, and what it holds now.
type Stats struct {
	Accepted         uint64 // connections
	Frames           uint64 // data frames handed to the kernel, begun ones included
	Bytes            uint64 // handed to the kernel (of TLS: plaintext)
	Sends            uint64 // system calls that send
	Again            uint64 // of these, met a full socket
	Encoded          uint64 // frames made; compare with Frames
	Merged           uint64 // net deltas among them
	Deflated         uint64 // frames compressed, each once for all who are sent it
	DeflateIn        uint64 // bytes of these frames
	DeflateOut       uint64 // bytes of what they became
	Snapshots        uint64 // sent
	SnapshotsMade    uint64 // among Encoded: one a version, reason and form
	Laps             uint64 // cursors that the ring went past
	Requests         uint64 // messages from clients
	Items            uint64 // of those that were heard; a pattern is as many as it counts for
	Mismatches       uint64 // reported by clients
	Resyncs          uint64 // snapshots asked for and granted
	SnapshotsRefused uint64 // beyond Config.SnapshotBytesPerSecond
	SharesRefused    uint64 // requests beyond Config.SnapshotBytesPerUser
	Resumed          uint64 // subscriptions that went on without a snapshot
	Subscribed       uint64 // subscriptions begun

	HandshakesRefused uint64
	HandshakesFailed  uint64

	Kraken, Binance uint64 // connections that speak a dialect, of those accepted
	Voids           uint64 // frames made that show a dialect's clients a book that is not live as empty
	LeftOut         int    // symbols without a name in the dialects, as others would have the same

	Drops  map[DropReason]uint64
	Errors map[pb.ErrorCode]uint64 // error frames

	Relays            int64  // event streams over HTTP/2 and polls under way
	RelaysRefused     uint64 // beyond Config.MaxRelays
	WholeReadsRefused uint64 // beyond Config.WholeReads

	Addresses              int    // that have connections, exempt ones aside
	AddressConnsRefused    uint64 // connections beyond Config.MaxConnsPerAddress
	AddressRelaysRefused   uint64 // relays beyond Config.MaxRelaysPerAddress
	AddressRequestsRefused uint64 // requests beyond Config.HTTPRequestsPerAddress
	Conns                  int64
	Deflating              int64 // of Conns, those that agreed on compression
	Users                  int   // with connections
	Subscriptions          int64
	Topics                 int   // open, lingering ones included
	RingBytes              int64 // of all rings
	PinnedBytes            int64 // kept for slow readers
	ShardConns             []int // connections by shard
}

// Arrivals returns how many connections were accepted and subscriptions begun so far:
// two of the counters, for those who look often. Any goroutine may call it.
func (h *Hub) Arrivals() (conns, subscriptions uint64) {
	for _, s := range h.shards {
		conns += s.stats.accepted.Load()
		subscriptions += s.stats.subscribed.Load()
	}
	return conns, subscriptions
}

// Stats returns the counters. Any goroutine may call it.
func (h *Hub) Stats() Stats {
	sum := Stats{
		Drops: make(map[DropReason]uint64), Errors: make(map[pb.ErrorCode]uint64),
		Relays: h.relays.Load(), RelaysRefused: h.stats.RelaysRefused.Load(), WholeReadsRefused: h.stats.WholeReadsRefused.Load(),
		Conns: h.conns.Load(), RingBytes: h.budget.Used(), PinnedBytes: h.pinned.Load(),
		HandshakesRefused: h.stats.HandshakesRefused.Load(), HandshakesFailed: h.stats.HandshakesFailed.Load(),
	}
	for _, s := range h.shards {
		sum.add(&s.stats)
		sum.ShardConns = append(sum.ShardConns, int(s.load.Load()))
	}
	sum.Users = h.users.count()
	sum.Addresses, sum.AddressConnsRefused = h.addresses.Addresses(), h.addresses.Refused()
	sum.AddressRelaysRefused, sum.AddressRequestsRefused = h.relaying.Refused(), h.asking.Refused()
	if t := h.pairs.table.Load(); t != nil {
		sum.LeftOut = t.leftOut
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	sum.Topics = len(h.topics)
	return sum
}

func (sum *Stats) add(s *stats) {
	sum.Accepted += s.accepted.Load()
	sum.Frames += s.frames.Load()
	sum.Bytes += s.bytes.Load()
	sum.Sends += s.sends.Load()
	sum.Again += s.again.Load()
	sum.Encoded += s.encoded.Load()
	sum.Merged += s.merged.Load()
	sum.Deflated += s.deflated.Load()
	sum.DeflateIn += s.deflateIn.Load()
	sum.DeflateOut += s.deflateOut.Load()
	sum.Deflating += s.deflating.Load()
	sum.Snapshots += s.snapshots.Load()
	sum.SnapshotsMade += s.snapshotsMade.Load()
	sum.Laps += s.laps.Load()
	sum.Requests += s.requests.Load()
	sum.Items += s.items.Load()
	sum.Mismatches += s.mismatches.Load()
	sum.Resyncs += s.resyncs.Load()
	sum.SnapshotsRefused += s.snapshotsRefused.Load()
	sum.SharesRefused += s.sharesRefused.Load()
	sum.Resumed += s.resumed.Load()
	sum.Subscribed += s.subscribed.Load()
	sum.Kraken += s.kraken.Load()
	sum.Binance += s.binance.Load()
	sum.Voids += s.voids.Load()
	sum.Subscriptions += s.subscriptions.Load()
	for r := range s.drops {
		sum.Drops[DropReason(r)] += s.drops[r].Load()
	}
	for code := range s.errors {
		sum.Errors[pb.ErrorCode(code)] += s.errors[code].Load()
	}
}
