package fanout

import (
	"maps"
	"slices"

	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// wildcard is an item whose symbol is a pattern, in a channel that has topics by
// symbol. It stands for the topic of every symbol that matches, also of those that
// are listed later, and each is acknowledged for itself. It reads the listings of
// the pattern as subscribers of the channel instruments do, and is sent none of
// them. Owned by the shard.
type wildcard struct {
	sub     *subscription // of the listings; it is apart
	number  uint32        // by which its client ends it: of no topic
	answer  answer
	item    *pb.SubscribeItem
	key     proto.TopicKey   // of what it stands for, with the pattern as symbol
	waiting []*proto.Listing // of symbols that are yet to be subscribed to; may be a snapshot's
	told    bool             // the client knows that there is no room for more
	unfit   bool             // likewise, that its view cannot be made of every symbol

	// brought has the number of the topic that it has brought of a symbol, or what modify
	// has made of it; declined where the client has ended that: the symbol's next listings
	// do not bring it again. What has ended by itself may still be there.
	brought map[string]uint32
}

// declined is the number of no topic.
const declined = 0

const (
	// maxWildcards bounds those of a connection.
	maxWildcards = 16
	// wildcardsPerTurn is how many topics one may open before the others of its shard
	// have their turn, and allPerTurn how many all of them may: each may wait for a
	// partition.
	wildcardsPerTurn = 32
	allPerTurn       = 128
)

// isWildcard reports whether an item of a channel stands for topics of many symbols.
func isWildcard(key proto.TopicKey) bool {
	return key.Channel != proto.ChannelInstruments && proto.IsPattern(key.Symbol)
}

// number is by which sub's client names it.
func (sub *subscription) number() uint32 {
	if sub.state == apart {
		return sub.conn.shard.wildcards[sub].number
	}
	return sub.feed.topic.number
}

// subscribeAll begins a wildcard.
func (s *shard) subscribeAll(c *conn, a answer, item *pb.SubscribeItem, key proto.TopicKey) {
	if n := s.wildcardsOf(c); n >= maxWildcards {
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS, "as many patterns as a connection may have")
		return
	}
	if err := c.allows(key); err != nil {
		s.refuse(c, a, errorOf(err), err.Error())
		return
	}
	sub := &subscription{conn: c, framing: c.framing, state: apart}
	number, err := s.hub.newNumber()
	if err != nil {
		s.refuse(c, a, errorOf(err), textOf(key, err))
		return
	}
	w := &wildcard{sub: sub, number: number, answer: a, item: item, key: key}
	if s.wildcards == nil {
		s.wildcards = make(map[*subscription]*wildcard)
	}
	s.wildcards[sub] = w
	if !s.beginOr(sub, a, proto.TopicKey{Symbol: key.Symbol, Channel: proto.ChannelInstruments}, 0, c.mostSubs()) {
		delete(s.wildcards, sub)
		return
	}
	w.list(sub.feed.topic.snapshot.Load())
	ack := sub.ack(a)
	ack.Topic, ack.Channel, ack.Depth, ack.Counts = w.number, pb.Channel(key.Channel), key.View.Depth, key.View.Counts
	ack.Group, ack.IntervalMs = key.View.Group.String(), intervalMS(grantInterval(item.IntervalMs))
	if item.Policy == pb.Policy_POLICY_DROP {
		ack.Policy = pb.Policy_POLICY_DROP
	}
	s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: ack}}, proto.Exponents{})
	s.list(sub)
}

func (s *shard) wildcardsOf(c *conn) (n int) {
	if len(s.wildcards) == 0 {
		return 0
	}
	for _, sub := range c.subs {
		if sub.state == apart {
			n++
		}
	}
	return n
}

// list begins anew with what a snapshot lists.
func (w *wildcard) list(snap *snapshot) {
	w.sub.next, w.waiting = snap.position+1, snap.state.Listings
}

// read takes what has been listed since, when nothing is waiting: until then the
// ring keeps it. A symbol that has ended needs nothing: its
// topics end by themselves.
func (w *wildcard) read() {
	t := w.sub.feed.topic
	for w.sub.next <= t.ring.Head() {
		e, status := t.ring.Get(w.sub.next)
		if status == ring.Lapped || e.Value.kind == kindReset {
			w.list(t.snapshot.Load())
			continue
		}
		w.sub.next++
		if e.Value.kind != kindInstruments {
			continue
		}
		for _, l := range e.Value.summary.instruments.Listings {
			if !l.Ended {
				w.waiting = append(slices.Clip(w.waiting), l)
			} else if n, had := w.brought[l.Symbol]; had && n == declined {
				delete(w.brought, l.Symbol) // what has its name later is another instrument
			}
		}
	}
}

// unfoldAll subscribes to what wildcards have matched. It says something: not while
// what is pending is being collected.
func (s *shard) unfoldAll() {
	work := s.unfold
	s.unfold = nil
	for i, n := 0, 0; i < len(work); i++ {
		if n >= allPerTurn {
			s.unfold = append(slices.Clip(work[i:]), s.unfold...) // the others have had their turn
			s.poller.Wake()
			return
		}
		work[i].listed = false
		if w := s.wildcards[work[i]]; w != nil {
			n += s.unfoldOne(w)
		}
	}
}

// unfoldOne returns how many symbols it has looked at.
func (s *shard) unfoldOne(w *wildcard) (n int) {
	for c := w.sub.conn; c.state == open; n++ {
		if len(w.waiting) == 0 {
			w.read()
		}
		if len(w.waiting) == 0 {
			return n
		}
		if s.relieve(c, 1); c.state != open {
			return n
		}
		room := len(c.control)+maxAnswerBytes <= s.config.ControlBytes && s.affords(c) && s.shareUsedUp(c) == 0
		if !room || n == wildcardsPerTurn {
			s.list(w.sub)
			if room {
				s.poller.Wake() // else when the socket has taken something, or c can afford more, at the next sweep
			}
			return n
		}
		symbol := w.waiting[0].Symbol
		w.waiting = w.waiting[1:]
		s.bring(w, symbol)
	}
	return n
}

// bring subscribes to one symbol of w, which pays for it as for an item, also where it
// is passed over.
func (s *shard) bring(w *wildcard, symbol string) {
	c, key := w.sub.conn, w.key
	if n, had := w.brought[symbol]; had && (n == declined || c.subscription(n) != nil) {
		return
	}
	key.Symbol = symbol
	sub := newSubscription(c, w.item.Policy == pb.Policy_POLICY_DROP, w.item.Last)
	no := s.begin(sub, key, grantInterval(w.item.IntervalMs), c.mostSubs())
	c.account().Spend(s.since, s.share(itemBytes, s.config.SnapshotBytesPerUser))
	if no.code != 0 {
		c.snapshots.spend(s.since, s.share(itemBytes, s.config.SnapshotBytesPerSecond), 0)
	}
	switch no.code {
	case 0:
		w.told = false
		w.remember(symbol, sub.feed.topic.number)
		ack := sub.ack(w.answer)
		ack.PatternTopic = w.number
		s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: ack}}, sub.feed.topic.snapshot.Load().state.Exponents)
	case pb.ErrorCode_ERROR_CODE_ALREADY_SUBSCRIBED:
		// The client has asked for it by name.
	case pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, pb.ErrorCode_ERROR_CODE_UNKNOWN_CHANNEL, pb.ErrorCode_ERROR_CODE_NOT_READY:
		// It has ended meanwhile, or has no such channel: it does not match.
	case pb.ErrorCode_ERROR_CODE_BAD_VIEW:
		if !w.unfit {
			w.unfit = true
			s.refuse(c, w.answer, no.code, symbol+", and maybe others: "+no.text)
		}
	default:
		w.waiting = nil
		if !w.told {
			w.told = true
			s.refuse(c, w.answer, no.code, no.text)
		}
	}
}

// remember notes what w has brought of a symbol. Where that becomes more than twice what
// its connection may have, it forgets what has ended by itself, then what was declined.
func (w *wildcard) remember(symbol string, number uint32) {
	c := w.sub.conn
	if w.brought == nil {
		w.brought = make(map[string]uint32)
	}
	for _, forget := range []func(n uint32) bool{
		func(n uint32) bool { return n != declined && c.subscription(n) == nil },
		func(n uint32) bool { return n == declined },
	} {
		if len(w.brought) >= 2*c.mostSubs() {
			maps.DeleteFunc(w.brought, func(_ string, n uint32) bool { return forget(n) })
		}
	}
	w.brought[symbol] = number
}

// endWildcard ends a wildcard and the topics that it has brought, each answered
// for itself.
func (s *shard) endWildcard(c *conn, a answer, w *wildcard) {
	s.asksFor(c, len(w.brought))
	for _, number := range slices.Sorted(maps.Values(w.brought)) {
		s.relieve(c, 2)
		if sub := c.subscription(number); number != declined && sub != nil {
			one := a
			one.topic = number
			s.unsubscribe(c, one, sub)
		}
	}
	if c.state != open {
		return // it did not take the answers, and has no subscription any more
	}
	ack := &pb.Ack{Id: a.id, Item: a.item, Topic: w.number, Ended: true, Symbol: w.key.Symbol, Channel: pb.Channel(w.key.Channel)}
	s.remove(w.sub)
	s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: ack}}, proto.Exponents{})
}

// bringer returns the wildcard that has brought sub; nil: none has.
func (s *shard) bringer(sub *subscription) *wildcard {
	if len(s.wildcards) == 0 || sub.state == apart {
		return nil
	}
	t := sub.feed.topic
	for _, other := range sub.conn.subs {
		if other.state != apart {
			continue
		}
		if w := s.wildcards[other]; w.brought[t.key.Symbol] == t.number {
			return w
		}
	}
	return nil
}
