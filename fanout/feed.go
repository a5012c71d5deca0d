package fanout

import (
	"sync/atomic"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// feed is a topic as one shard sees it: the subscriptions there, and what they
// share within a turn.
type feed struct {
	// Static.
	topic *Topic
	shard *shard

	// dirty is set by the topic's writer and cleared by the shard. Whoever sets it
	// owns next until the shard has taken the feed from its list.
	dirty atomic.Bool
	next  *feed

	// Owned by the shard.
	readers                        // who is told of every change
	paces   []*pace                // who is told at intervals
	turn    uint64                 // of the shard, for which head and runs hold
	head    uint64                 // newest position that this turn delivers
	runs    [2 * framingKraken]run // the last that was built: by framing, then of compressed frames
	active  time.Duration          // on the shard's clock: when something was last published or said
	said    *mark                  // in the last keepalive
}

// run is consecutive frames in the shard's arena, for all who stand at from.
type run struct {
	from, next uint64
	bytes      []byte
	frames     uint32
}

// subState is what a subscription needs next. One that is gone is in no list.
type subState uint8

const (
	joining subState = iota // a snapshot, for the reason noted
	live                    // what the ring has from its cursor on
	waiting                 // nothing: the node is behind its client; shard.waiting has until when
	gone                    // nothing
	apart                   // nothing either: it reads for a wildcard
)

// subscription is a connection's cursor into a topic's ring. There are several on
// many connections, so every word counts: they are 48 bytes. Owned by the shard.
type subscription struct {
	// What every delivery looks at comes first.
	conn  *conn
	feed  *feed
	next  uint64        // cursor: the ring position to be sent next
	dirty *subscription // next in the connection's list of those that may have something pending

	place     uint32 // in its readers
	step      uint8  // index of its interval; 0: every change
	last      uint8  // trades channel: how many past trades it begins with
	state     subState
	framing   framing              // of what it is sent
	manner    manner               // how it is told of changes
	reason    proto.SnapshotReason // of the snapshot, while joining
	drop      bool                 // policy drop: every frame, and the end at the first lap
	listed    bool                 // in the connection's list
	catchUp   bool                 // it has resumed or joined: what came meanwhile comes as a net delta
	keepalive bool                 // a keepalive is due
	voided    bool                 // a dialect's: it was shown that there is nothing to see
}

// tradesRead is what the client of a trades channel has been sent. Owned by the
// shard.
type tradesRead struct {
	began   bool   // seq and ordinal are known
	seq     int64  // of the last frame
	ordinal uint64 // of the last trade sent, 0: none yet
}

// newSubscription makes a subscription of c, of which begin makes one of the shard's.
// last: of a trades channel, how many past trades to begin with.
func newSubscription(c *conn, drop bool, last uint32) *subscription {
	return &subscription{conn: c, framing: c.framing, drop: drop, last: uint8(min(last, proto.MaxPastTrades))}
}

// past returns with how many past trades sub begins; 0 in other channels.
func (sub *subscription) past() uint32 {
	if sub.read() == nil {
		return 0
	}
	return uint32(sub.last)
}

// wake tells the shard that the ring has more, by way of w if there is one. For
// the topic's writer.
func (f *feed) wake(w *Wakes) {
	if f.dirty.Load() || f.dirty.Swap(true) {
		return
	}
	for {
		head := f.shard.dirty.Load()
		f.next = head
		if f.shard.dirty.CompareAndSwap(head, f) {
			break
		}
	}
	if w != nil {
		w.add(f.shard)
		return
	}
	f.shard.poller.Wake()
}

// look fixes, once a turn, what the turn delivers.
func (f *feed) look() {
	if f.turn == f.shard.turns {
		return
	}
	f.turn = f.shard.turns
	f.head = f.topic.ring.Head()
	for i := range f.runs {
		f.runs[i].from = 0 // no position
	}
}

// feed returns the shard's feed of a topic, opening the topic if nobody has.
func (s *shard) feed(key proto.TopicKey) (*feed, error) {
	if f := s.feeds[key]; f != nil && !f.topic.ended.Load() {
		return f, nil
	}
	t, err := s.hub.acquire(key)
	if err != nil {
		return nil, err
	}
	f := &feed{topic: t, shard: s, active: s.since}
	s.feeds[key] = f
	// From here on the writer tells of what it publishes; what it published before
	// is seen by whoever then looks at the ring.
	t.feeds[s.index].Store(f)
	return f, nil
}

func (s *shard) end(f *feed) {
	f.topic.feeds[s.index].Store(nil)
	if s.feeds[f.topic.key] == f {
		delete(s.feeds, f.topic.key)
	}
	s.hub.release(f.topic)
}
