package fanout

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// errorOf returns the code that tells a client of an error of opening a topic.
func errorOf(err error) pb.ErrorCode {
	switch {
	case errors.Is(err, proto.ErrUnknownSymbol):
		return pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL
	case errors.Is(err, proto.ErrNotReady):
		return pb.ErrorCode_ERROR_CODE_NOT_READY
	case errors.Is(err, proto.ErrUnknownChannel):
		return pb.ErrorCode_ERROR_CODE_UNKNOWN_CHANNEL
	case errors.Is(err, proto.ErrBadView):
		return pb.ErrorCode_ERROR_CODE_BAD_VIEW
	case errors.Is(err, errOverloaded), errors.Is(err, proto.ErrTooManyGroups):
		return pb.ErrorCode_ERROR_CODE_OVERLOADED
	case errors.Is(err, errStranger):
		return pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED
	case errors.Is(err, errForbidden):
		return pb.ErrorCode_ERROR_CODE_FORBIDDEN
	case errors.Is(err, ErrClosed):
		return pb.ErrorCode_ERROR_CODE_DRAINING
	}
	return pb.ErrorCode_ERROR_CODE_INTERNAL
}

// textOf says more than the table does of why the topic of key cannot be opened;
// empty: there is no more to say.
func textOf(key proto.TopicKey, err error) string {
	switch {
	case errors.Is(err, proto.ErrBadView):
		return err.Error()
	case errors.Is(err, proto.ErrTooManyGroups):
		return "as many groups (price increments) of the symbol are followed as can be at once"
	case errors.Is(err, errNumbers):
		return "the server has no numbers for new topics any more: it has to be started anew"
	case errors.Is(err, errPatterns):
		return "as many patterns are followed as the server has open at once"
	case errors.Is(err, errOverloaded):
		return "as many topics are followed as the server has open at once"
	case errors.Is(err, proto.ErrUnknownSymbol) && strings.Contains(key.Symbol, "*"):
		return "no such symbol: * stands for others at the end only"
	}
	return ""
}

// notOfPatterns refuses to change, or send again, what a pattern stands for.
const notOfPatterns = "this is of the topics that the pattern has brought: name them"

// nameable reports why symbol names nothing in a channel, whatever the books hold.
// The error wraps proto.ErrUnknownSymbol.
func nameable(symbol string, channel proto.Channel) error {
	switch {
	case len(symbol) > proto.MaxSymbolBytes:
		return fmt.Errorf("%w: %d bytes, at most %d", proto.ErrUnknownSymbol, len(symbol), proto.MaxSymbolBytes)
	case !proto.IsPattern(symbol):
		return nil
	case strings.Count(symbol, "*") > 1:
		return fmt.Errorf("%w: a pattern has one *, at its end", proto.ErrUnknownSymbol)
	}
	return nil
}

// grant returns the topic that stands for what an item asks, with the depth that
// can be given. Whether the symbol's prices can be grouped so is for its book to
// say. err wraps proto.ErrUnknownSymbol, ErrBadView or ErrUnknownChannel.
func grant(symbol string, channel pb.Channel, depth uint32, group string, counts bool) (proto.TopicKey, error) {
	key := proto.TopicKey{Symbol: symbol, Channel: proto.ChannelBook}
	if channel != pb.Channel_CHANNEL_UNSPECIFIED {
		if channel < 0 || channel > math.MaxUint8 {
			return key, proto.ErrUnknownChannel
		}
		key.Channel = proto.Channel(channel)
	}
	if err := nameable(symbol, key.Channel); err != nil {
		return key, err
	}
	by, err := proto.ParseGroup(group)
	switch {
	case err != nil:
		return key, err
	case key.Channel == proto.ChannelBook:
		key.View = proto.View{Depth: proto.GrantDepth(depth), Group: by, Counts: counts}
	case !by.None():
		return key, fmt.Errorf("%w: only the channel book can be grouped", proto.ErrBadView)
	case key.Channel == proto.ChannelOrders:
		key.View.Depth = proto.GrantDepth(depth)
	}
	return key, nil
}

// subscribe begins what item asks for and answers it, whatever becomes of the
// others of its request.
func (s *shard) subscribe(c *conn, a answer, item *pb.SubscribeItem) {
	key, err := grant(item.Symbol, item.Channel, item.Depth, item.Group, item.Counts)
	if err != nil {
		s.refuse(c, a, errorOf(err), err.Error())
		return
	}
	if isWildcard(key) {
		s.subscribeAll(c, a, item, key)
		return
	}
	sub := newSubscription(c, item.Policy == pb.Policy_POLICY_DROP, item.Last)
	if !s.beginOr(sub, a, key, grantInterval(item.IntervalMs), c.mostSubs()) {
		return
	}
	t := sub.feed.topic
	ack := sub.ack(a)
	if r := item.Resume; r != nil {
		s.resume(sub, resume{epoch: r.Epoch, seq: r.Seq, hash: r.Hash, ordinal: r.Ordinal}, ack)
	}
	s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: ack}}, t.snapshot.Load().state.Exponents)
}

// refused is why a subscription does not begin: an error of the table, with a text
// where there is more to say than the table does. The zero value: nothing is.
type refused struct {
	code  pb.ErrorCode
	text  string
	topic uint32 // number, where the connection has it already
}

// begin gives sub its topic, at an interval, and makes it one of at most most
// subscriptions of its connection, in whatever protocol that asked for it. Nobody has
// a topic but by way of it, so it is where grants are kept.
func (s *shard) begin(sub *subscription, key proto.TopicKey, step uint8, most int) refused {
	c := sub.conn
	if s.obeyed != orderNone {
		return refused{code: pb.ErrorCode_ERROR_CODE_DRAINING}
	}
	if err := c.allows(key); err != nil && sub.state != apart { // that of a wildcard is asked for what it stands for
		return refused{code: errorOf(err), text: err.Error()}
	}
	if len(c.subs) >= most {
		return refused{code: pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS}
	}
	if c.events != nil && !c.events.holds(c, s.named(sub, key)) {
		return refused{code: pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS, text: tokenFull}
	}
	if !s.affords(c) {
		s.stats.snapshotsRefused.Add(1)
		return refused{code: pb.ErrorCode_ERROR_CODE_RATE_LIMITED, text: tooManySnapshots}
	}
	step = c.granting().step(step)
	f, err := s.feed(key)
	if err != nil {
		code := errorOf(err)
		if code == pb.ErrorCode_ERROR_CODE_INTERNAL {
			s.config.Log.Error("cannot open a topic", "symbol", key.Symbol, "channel", proto.ChannelWord(key.Channel), "err", err)
		}
		return refused{code: code, text: textOf(key, err)}
	}
	if sub.state != apart && c.reads(f.topic, sub.framing, step) {
		return refused{code: pb.ErrorCode_ERROR_CODE_ALREADY_SUBSCRIBED, topic: f.topic.number}
	}
	sub.next = f.topic.snapshot.Load().position + 1
	if sub.state != apart {
		sub.rejoin(proto.SnapshotInitial)
	}
	s.owe(c, f.topic)
	f.join(sub, step)
	f.topic.forms.note(sub.framing, c.deflate != 0)
	c.add(sub, s.coming)
	if c.events != nil {
		c.events.named += tokenBytes(s.named(sub, key))
	}
	s.stats.subscriptions.Add(1)
	s.stats.subscribed.Add(1)
	if sub.metered() {
		s.config.Meter.Began(c.pass.grant.User, key, s.now)
	}
	s.list(sub)
	return refused{}
}

// add makes sub one of c's, of which so many are to come at least. Room is made for
// these, and a few, since append would double it.
func (c *conn) add(sub *subscription, coming int) {
	if n := len(c.subs); n == cap(c.subs) {
		c.subs = append(make([]*subscription, 0, n+max(1, coming, n/8)), c.subs...)
	}
	c.subs = append(c.subs, sub)
}

// reads reports whether c has t in framing w; in a dialect, at that interval too.
func (c *conn) reads(t *Topic, w framing, step uint8) bool {
	return slices.ContainsFunc(c.subs, func(sub *subscription) bool {
		return sub.feed.topic == t && sub.framing == w && sub.state != apart && (!w.dialect() || sub.step == step)
	})
}

// beginOr is begin, which answers why not, and returns false, where it is refused.
func (s *shard) beginOr(sub *subscription, a answer, key proto.TopicKey, step uint8, most int) bool {
	if sub.conn.state != open {
		return false
	}
	no := s.begin(sub, key, step, most)
	if no.code == 0 {
		return true
	}
	if no.topic != 0 {
		a.topic = no.topic
	}
	s.refuse(sub.conn, a, no.code, no.text)
	return false
}

// ack says what was granted to sub, and how its book stands.
func (sub *subscription) ack(a answer) *pb.Ack {
	t := sub.feed.topic
	state := &t.snapshot.Load().state
	policy := pb.Policy_POLICY_CONFLATE
	if sub.drop {
		policy = pb.Policy_POLICY_DROP
	}
	hz, bytes := sub.conn.granted()
	return &pb.Ack{
		Last: sub.past(),
		Id:   a.id, Item: a.item, Topic: t.number, Symbol: t.key.Symbol, Channel: pb.Channel(t.key.Channel),
		IntervalMs: intervalMS(sub.step), MaxHz: hz, MaxBytesPerS: bytes,
		Depth: t.key.View.Depth, Group: t.key.View.Group.Text(state.Exponents.Price), Counts: t.key.View.Counts, Policy: policy,
		PriceExponent: int32(state.Exponents.Price), QtyExponent: int32(state.Exponents.Qty), Epoch: state.Epoch,
		State: pb.State(state.State), Reason: pb.Reason(state.Reason), Phase: pb.Phase(state.Phase),
		DelayMs: uint32(sub.conn.shard.config.Delay.Milliseconds()),
	}
}

// resume puts sub where its client stands, if that can be found: what follows is
// nothing or a net delta instead of a snapshot. A node that is behind its client
// says so and lets it wait.
func (s *shard) resume(sub *subscription, r resume, ack *pb.Ack) {
	t := sub.feed.topic
	snap := t.snapshot.Load()
	if snap.void || snap.state.Epoch != r.epoch {
		return
	}
	if sums(t.key.Channel) {
		if position, found := t.seenUpTo(r); found {
			s.takeUp(sub, position+1, ack)
			return
		}
	}
	if t.key.Channel == proto.ChannelInstruments {
		return
	}
	if t.key.Channel == proto.ChannelTrades {
		// Wherever it goes on, what it missed is counted from here.
		*sub.read() = tradesRead{began: true, seq: r.seq, ordinal: r.ordinal}
	}
	if t.bookSeq() < r.seq {
		sub.state = waiting
		s.waiting = append(s.waiting, behind{sub, r, s.since + s.config.BehindWait})
		ack.State, ack.Reason = pb.State_STATE_STALE, pb.Reason_REASON_BEHIND
		return
	}
	if sums(t.key.Channel) {
		return
	}
	if next, found := t.place(r); found {
		s.takeUp(sub, next, ack)
	}
}

// takeUp has sub go on from a ring position, and its ack say so.
func (s *shard) takeUp(sub *subscription, next uint64, ack *pb.Ack) {
	sub.goOn(next)
	ack.Resumed = true
	s.waive(sub.conn, sub.feed.topic)
	s.stats.resumed.Add(1)
}

// goOn makes sub live without a snapshot; what it missed comes as one net delta.
func (s *subscription) goOn(next uint64) {
	s.state, s.next, s.catchUp = live, next, true
}

// unsubscribe ends sub at its client's wish.
func (s *shard) unsubscribe(c *conn, a answer, sub *subscription) {
	if w := s.wildcards[sub]; w != nil {
		s.endWildcard(c, a, w)
		return
	}
	if w := s.bringer(sub); w != nil {
		w.brought[sub.feed.topic.key.Symbol] = declined
	}
	ack := &pb.Ack{Id: a.id, Item: a.item, Topic: a.topic, Ended: true,
		Symbol: sub.feed.topic.key.Symbol, Channel: pb.Channel(sub.feed.topic.key.Channel)}
	s.remove(sub)
	s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: ack}}, proto.Exponents{})
}

// modify changes what sub's client gets. Another view is another topic, which takes
// the place of the first; if it cannot be had, the first goes on.
func (s *shard) modify(c *conn, a answer, item *pb.ModifyItem) {
	old := c.subscription(item.Topic)
	if old == nil {
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_UNKNOWN_TOPIC, "")
		return
	}
	if old.state == apart {
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_BAD_REQUEST, notOfPatterns)
		return
	}
	had := old.feed.topic.key
	depth, group, counts := had.View.Depth, had.View.Group.String(), had.View.Counts
	if item.Depth != nil {
		depth = *item.Depth
	}
	if item.Group != nil {
		group = *item.Group
	}
	if item.Counts != nil {
		counts = *item.Counts
	}
	step := old.step
	if item.IntervalMs != nil {
		step = c.granting().step(grantInterval(*item.IntervalMs))
	}
	drop := old.drop
	if item.Policy != nil {
		drop = *item.Policy == pb.Policy_POLICY_DROP
	}
	key, err := grant(had.Symbol, pb.Channel(had.Channel), depth, group, counts)
	if err != nil {
		s.refuse(c, a, errorOf(err), err.Error())
		return
	}
	if key == had {
		old.drop = drop
		s.setInterval(old, step)
		s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: old.ack(a)}}, proto.Exponents{})
		return
	}
	sub := newSubscription(c, drop, old.past())
	if !s.beginOr(sub, a, key, step, c.mostSubs()+1) {
		return
	}
	if w := s.bringer(old); w != nil {
		w.brought[key.Symbol] = sub.feed.topic.number // and ends with it
	}
	s.remove(old)
	ack := sub.ack(a)
	ack.Replaces = a.topic
	s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: ack}}, proto.Exponents{})
}

// remove ends one subscription.
func (s *shard) remove(sub *subscription) {
	c := sub.conn
	for i := range c.subs {
		if c.subs[i] == sub {
			last := len(c.subs) - 1
			c.subs[i], c.subs[last] = c.subs[last], nil
			c.subs = c.subs[:last]
			break
		}
	}
	if c.events != nil {
		c.events.named -= tokenBytes(s.named(sub, sub.feed.topic.key))
	}
	s.leave(sub)
}

func (s *shard) unsubscribeAll(c *conn) {
	for _, sub := range c.subs {
		s.leave(sub)
	}
	c.subs, c.listed = nil, nil
}

// leave takes sub out of its feed, and the feed out of its topic if it was the last.
func (s *shard) leave(sub *subscription) {
	f := sub.feed
	f.part(sub)
	if sub.metered() {
		s.config.Meter.Ended(sub.conn.pass.grant.User, f.topic.key, s.now)
	}
	if sub.state == apart {
		delete(s.wildcards, sub)
	}
	sub.state = gone
	s.stats.subscriptions.Add(-1)
	if f.empty() {
		s.end(f)
	}
}
