package client

import (
	"slices"
	"strings"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// pattern is what a subscription to a pattern has, in every channel but that of
// instruments, where a pattern is one topic. Each symbol that matches gets a
// subscription of its own.
type pattern struct {
	brought  map[string]*Subscription // not ended ones, by symbol
	declined map[string]bool          // symbols whose subscription the user has ended
	id, item uint32                   // of the request that asked for it on this connection: later errors have them
}

func isWildcard(item *Item) bool {
	return proto.IsPattern(item.Symbol) && item.Channel != proto.ChannelInstruments
}

// covers reports whether a topic of item may be one of those that s has, or brings.
func (s *Subscription) covers(item *Item) bool {
	symbol := s.item.Symbol == item.Symbol ||
		s.pattern != nil && strings.HasPrefix(item.Symbol, strings.TrimSuffix(s.item.Symbol, "*"))
	return symbol && s.item.Channel == item.Channel
}

// Pattern returns the subscription to a pattern that has brought s; nil where s was
// subscribed to.
func (s *Subscription) Pattern() *Subscription { return s.broughtBy }

// takeBrought takes the ack of a topic that a pattern has brought: a subscription
// begins, or goes on that the pattern had brought on an earlier connection.
func (c *Client) takeBrought(a *pb.Ack, now time.Time) (Event, error) {
	p := c.patterns[a.PatternTopic]
	if p == nil || p.standing != granted || p.leaving {
		return nil, nil // the server ends it with its pattern
	}
	item := p.item
	item.Symbol = a.Symbol
	s := p.pattern.brought[a.Symbol]
	if p.pattern.declined[a.Symbol] || s != nil && (s.standing == granted || s.item != item) {
		// The user has ended it, or made another view of it.
		return nil, c.send(unsubscribe(c.nextID(), []uint32{a.Topic}))
	}
	if s == nil {
		s = newSubscription(item)
		s.broughtBy = p
		p.pattern.brought[a.Symbol] = s
		c.subs = append(c.subs, s)
	}
	c.forgetRequest(s) // it may be asked for by name: that answer is not about s any more
	if err := s.grant(a); err != nil {
		return nil, err
	}
	s.byPattern = true
	c.topics[a.Topic] = s
	c.expectSnapshot(s, now)
	c.after(s, now)
	return &Granted{Sub: s, Ack: a}, nil
}

func (c *Client) forgetRequest(s *Subscription) {
	if s.standing != asked {
		return
	}
	for _, subs := range c.requests {
		if i := slices.Index(subs, s); i >= 0 {
			subs[i] = nil
			return
		}
	}
}

// takeIncomplete finds the pattern that an error concerns which was granted: a topic
// that matches could not be had.
func (c *Client) takeIncomplete(e *pb.Error) Event {
	for _, p := range c.patterns {
		if e.Item != nil && p.pattern.id == e.Id && p.pattern.item == *e.Item {
			return &Incomplete{Sub: p, Error: e}
		}
	}
	return nil
}

// leavePattern ends what s, a pattern that has ended, has brought, and returns the
// topics to unsubscribe from beside its own number. What it has brought on this
// connection the server ends by itself.
func (c *Client) leavePattern(s *Subscription) (topics []uint32) {
	for _, b := range s.pattern.brought {
		switch {
		case b.standing == asked || b.modifying != 0:
			b.leaving = true
			continue
		case b.standing == granted && !b.byPattern:
			topics = append(topics, b.topic)
		}
		b.end(nil)
	}
	slices.Sort(topics)
	return topics
}

func unsubscribe(id uint32, topics []uint32) *pb.Request {
	return &pb.Request{Id: id, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: topics}}}
}
