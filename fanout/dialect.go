package fanout

import (
	"github.com/depthcast/depthcast/proto"
)

// A dialect is the protocol of an exchange, spoken so that its clients may connect
// here. It reads the same rings by the same cursors; what differs is how requests
// are read and answered (kraken.go, binance.go), what frames say (dialect_frame.go)
// and, as a dialect has no word for the state of a book, what is sent when
// (dialect_plan.go): a book that is not live is never shown as if it were.

// dialect reports whether w is that of an exchange's protocol.
func (w framing) dialect() bool { return w >= framingKraken }

// manner is how a subscription is told of changes.
type manner uint8

const (
	native  manner = iota // snapshot, deltas, statuses: the client protocol
	updates               // snapshot and updates; a book that is not live is an empty snapshot
	diffs                 // deltas alone; when the book is not live any more, the connection ends
	whole                 // the newest state, all of it each time; one that is not live is empty
)

// dialectTopic is what dialects need of a topic beside its ring.
type dialectTopic struct {
	pair   proto.Pair // that its symbol had when it was first asked for
	mirror mirror
}

// dialect returns what dialects need of t. The first to ask says the pair.
func (t *Topic) dialect(pair proto.Pair) *dialectTopic {
	if t.dialects.Load() == nil {
		t.dialects.CompareAndSwap(nil, &dialectTopic{pair: pair})
	}
	return t.dialects.Load()
}

// wish is what a client of a dialect asks for.
type wish struct {
	key      proto.TopicKey
	pair     proto.Pair // of the key's symbol; none for a pattern
	framing  framing
	manner   manner
	step     uint8  // index of the interval
	last     uint32 // past trades to begin with
	snapshot bool   // begin with the state, not with the next change
}

// grantWish begins what w says.
func (s *shard) grantWish(c *conn, w wish) refused {
	sub := newSubscription(c, w.manner == diffs, w.last)
	sub.framing, sub.manner = w.framing, w.manner
	if no := s.begin(sub, w.key, w.step, s.config.MaxSubscriptions); no.code != 0 {
		return no
	}
	t := sub.feed.topic
	d := t.dialect(w.pair)
	if w.framing == framingKraken && w.key.Channel == proto.ChannelBook {
		d.mirror.prime(t)
	}
	switch {
	case w.manner == diffs, w.key.Channel == proto.ChannelTrades && w.last == 0:
		sub.next = t.ring.Head() + 1 // what comes after this
		s.waive(c, t)
	case !w.snapshot && t.snapshot.Load().state.State == proto.Live:
		sub.state, sub.next = live, t.ring.Head()+1
		s.waive(c, t)
	}
	return refused{}
}

// largeMessage is from where on a message of a dialect over the rate is refused unread.
const largeMessage = 1024

// ask handles one message of c, which speaks a dialect. Whatever it holds, it is
// answered and c goes on.
func (s *shard) ask(c *conn, msg []byte) {
	wait, _ := s.mayAsk(c)
	granted := wait == 0
	if c.framing == framingKraken {
		s.askKraken(c, msg, granted)
	} else {
		s.askBinance(c, msg, granted)
	}
}

// greet says to c what its dialect says first, and begins what its address asks for.
func (s *shard) greet(c *conn, streams []string) {
	if c.framing == framingKraken {
		s.stats.kraken.Add(1)
		s.krakens = append(s.krakens, c)
		s.sayKrakenStatus(c, "online")
		return
	}
	s.greetBinance(c, streams)
}

// sayLeaving tells c, which speaks a dialect, that the server stops.
func (s *shard) sayLeaving(c *conn) {
	if c.framing == framingKraken {
		s.sayKrakenStatus(c, "maintenance")
		return
	}
	s.sayShutdown(c)
}

// tellDialect puts a message of c's own, appended to begin's buffer, before its data.
func (s *shard) tellDialect(c *conn, b []byte) {
	if c.state == open {
		s.append(c, s.encoder.wrap(c.framing, b))
	}
}
