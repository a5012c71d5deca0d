package client

import (
	"fmt"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// Modify has s show another view, or come at another interval or by another policy,
// in place: item says what is wanted from now on; its Symbol, Channel and Last must be
// those of s. It may be called at any time and from any goroutine. The answer is an
// event of the loop: Granted, after which another view begins with a snapshot, or
// Refused with a negative RetryIn, and then s goes on as it was. An error is
// ErrBadItem.
func (c *Client) Modify(s *Subscription, item Item) error {
	if item.Channel == 0 {
		item.Channel = proto.ChannelBook
	}
	if err := item.validate(); err != nil {
		return err
	}
	if s.pattern != nil {
		return fmt.Errorf("%w: a pattern cannot be modified, what it has brought can", ErrBadItem)
	}
	c.interrupt(func() { c.modified = append(c.modified, modification{s, item}) })
	return nil
}

// modification is what a subscription is to become.
type modification struct {
	sub  *Subscription
	item Item
}

// change takes a wish over: at once where nothing was asked of the server yet,
// otherwise when it has answered.
func (s *Subscription) change(item Item, now time.Time) {
	item.Symbol, item.Channel, item.Last = s.item.Symbol, s.item.Channel, s.item.Last
	switch s.standing {
	case ended:
	case waiting:
		s.item = item
	default:
		s.wish = &item
		if s.standing == granted && s.modifying == 0 {
			s.due = now
		}
	}
}

// modify asks for what s is to become.
func (c *Client) modify(s *Subscription, now time.Time) error {
	item := s.wish
	group, policy := item.Group, item.Policy
	interval := uint32(item.Interval.Milliseconds())
	req := &pb.Request{Id: c.nextID(), Body: &pb.Request_Modify{Modify: &pb.Modify{Items: []*pb.ModifyItem{{
		Topic: s.topic, Depth: &item.Depth, Group: &group, Counts: &item.Counts, IntervalMs: &interval, Policy: &policy,
	}}}}}
	s.before, s.item, s.wish, s.modifying = s.item, *item, nil, req.Id
	c.requests[req.Id] = []*Subscription{s}
	c.schedule(s, now.Add(c.config.AnswerTimeout))
	return c.send(req)
}

// takeModified takes the answer to a modify over.
func (c *Client) takeModified(s *Subscription, a *pb.Ack, now time.Time) (Event, error) {
	s.modifying, s.due = 0, time.Time{}
	if a.Topic != s.topic { // another view
		delete(c.topics, s.topic)
		if err := s.grant(a); err != nil {
			return nil, err
		}
		c.topics[a.Topic] = s
	}
	c.expectSnapshot(s, now)
	c.after(s, now)
	return &Granted{Sub: s, Ack: a}, nil
}

// unmodified has s go on as it was.
func (c *Client) unmodified(s *Subscription, e *pb.Error, now time.Time) Event {
	s.modifying, s.due, s.item = 0, time.Time{}, s.before
	c.expectSnapshot(s, now)
	c.after(s, now)
	return &Refused{Sub: s, Error: e, RetryIn: -1}
}

// after does what had to wait for an answer about s.
func (c *Client) after(s *Subscription, now time.Time) {
	if s.leaving || s.wish != nil {
		c.schedule(s, now)
	}
}
