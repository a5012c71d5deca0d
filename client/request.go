package client

import (
	"fmt"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// send sends one request under the next id.
func (c *Client) send(req *pb.Request) error {
	message, err := c.encode(req)
	if err != nil {
		return err
	}
	return c.sendMessage(message)
}

func (c *Client) sendMessage(message []byte) error {
	if err := c.conn.write(opcode(c.config.Codec), message); err != nil {
		return fmt.Errorf("client: connection lost: %w", err)
	}
	return nil
}

func (c *Client) nextID() uint32 {
	c.lastID++
	return c.lastID
}

// doDue does what the time has come for: leaving a server that drains, asking a
// silent one for a sign of life, and what the subscriptions wait for.
func (c *Client) doDue(now time.Time) (Event, error) {
	if !c.drainedBy.IsZero() && !now.Before(c.drainedBy) {
		return nil, ErrDrained
	}
	if silent := now.Sub(c.heard); silent >= c.config.PingAfter {
		if c.pinged && silent >= c.config.PingAfter+c.config.PongTimeout {
			return nil, fmt.Errorf("%w for %v", ErrSilent, silent.Round(time.Millisecond))
		}
		if !c.pinged {
			c.pinged = true
			if err := c.conn.write(ws.OpPing, nil); err != nil {
				return nil, fmt.Errorf("client: connection lost: %w", err)
			}
		}
	}
	if c.due.IsZero() || now.Before(c.due) {
		return nil, nil
	}
	return c.doDueSubscriptions(now)
}

// doDueSubscriptions yields at most one event; what else is due is done next time.
func (c *Client) doDueSubscriptions(now time.Time) (Event, error) {
	var ask []*Subscription
	for _, s := range c.subs {
		if s.due.IsZero() || now.Before(s.due) {
			continue
		}
		switch {
		case s.standing == asked, s.modifying != 0:
			return nil, fmt.Errorf("%w: %s", ErrNoAnswer, s.item.Symbol)
		case s.leaving:
			if err := c.leave(s); err != nil {
				return nil, err
			}
		case s.standing == waiting:
			if first := c.leavingFirst(s); first != nil {
				s.due = first.due // or sooner: see left
				continue
			}
			ask = append(ask, s)
		case s.standing == granted && s.wish != nil:
			if err := c.modify(s, now); err != nil {
				return nil, err
			}
		case s.standing == granted:
			return c.resync(s, now)
		}
	}
	// A pattern passes over what the connection has: that comes first, with its resume.
	slices.SortStableFunc(ask, func(a, b *Subscription) int { return patternsLast(a) - patternsLast(b) })
	if err := c.subscribe(ask, now); err != nil {
		return nil, err
	}
	c.subs = slices.DeleteFunc(c.subs, (*Subscription).Ended)
	c.due = time.Time{}
	for _, s := range c.subs {
		c.schedule(s, s.due)
	}
	return nil, nil
}

func patternsLast(s *Subscription) int {
	if s.pattern != nil {
		return 1
	}
	return 0
}

// schedule sets when s is to be looked at; zero: never.
func (c *Client) schedule(s *Subscription, due time.Time) {
	s.due = due
	if !due.IsZero() && (c.due.IsZero() || due.Before(c.due)) {
		c.due = due
	}
}

// subscribe asks for subs, in as few requests as the server's limits allow.
func (c *Client) subscribe(subs []*Subscription, now time.Time) error {
	limits := c.hello.GetLimits()
	most := len(subs)
	if n := int(limits.GetMaxItems()); n > 0 {
		most = min(most, n)
	}
	for len(subs) > 0 {
		n := min(most, len(subs))
		req := &pb.Request{Id: c.nextID()}
		body := &pb.Subscribe{MaxHz: c.config.MaxHz, MaxBytesPerS: c.config.MaxBytesPerSecond}
		for _, s := range subs[:n] {
			body.Items = append(body.Items, s.request())
		}
		req.Body = &pb.Request_Subscribe{Subscribe: body}
		message, err := c.encode(req)
		if err != nil {
			return err
		}
		if limit := int(limits.GetMaxMessageBytes()); limit > 0 && len(message) > limit && n > 1 {
			most = (n + 1) / 2
			continue
		}
		if err := c.sendMessage(message); err != nil {
			return err
		}
		c.requests[req.Id] = slices.Clone(subs[:n])
		for _, s := range subs[:n] {
			s.standing, s.due = asked, now.Add(c.config.AnswerTimeout)
		}
		subs = subs[n:]
	}
	return nil
}

// leave ends s as the user wants it. Its topic stays known until the server's
// answer: frames that are on their way need its exponents.
func (c *Client) leave(s *Subscription) error {
	topics := []uint32{s.topic}
	if s.topic == 0 {
		topics = nil
	}
	if s.broughtBy != nil {
		s.broughtBy.pattern.declined[s.item.Symbol] = true
	}
	s.end(nil)
	if s.pattern != nil {
		delete(c.patterns, s.topic)
		topics = append(topics, c.leavePattern(s)...)
	}
	c.left(s, c.now())
	most := max(1, int(c.hello.GetLimits().GetMaxItems()))
	for some := range slices.Chunk(topics, most) {
		if err := c.send(unsubscribe(c.nextID(), some)); err != nil {
			return err
		}
	}
	return nil
}

// leavingFirst returns the subscription that s must not overtake: one of the same
// channel that the server may already have, but cannot be told to end yet.
func (c *Client) leavingFirst(s *Subscription) *Subscription {
	for _, other := range c.subs {
		if other.leaving && other.standing == asked && other.covers(&s.item) {
			return other
		}
	}
	return nil
}

// left has those asked for that had to wait for the end of s.
func (c *Client) left(s *Subscription, now time.Time) {
	for _, other := range c.subs {
		if other.standing == waiting && s.covers(&other.item) {
			c.schedule(other, now)
		}
	}
}

// lost says that the book of s is void, and asks for a snapshot: once, and again
// only after ResyncTimeout. Deltas are ignored until it comes.
func (c *Client) lost(s *Subscription, cause Outcome, now time.Time) (Event, error) {
	s.lost = BookLost{Sub: s, Cause: cause}
	if cause == Mismatch {
		return c.askForSnapshot(s, now, &pb.Request{Body: &pb.Request_Mismatch{
			Mismatch: &pb.Mismatch{Topic: s.topic, Seq: s.book.seq, Hash: s.book.hash},
		}})
	}
	return c.resync(s, now)
}

// expectSnapshot sees to it that a live book does not stay void for want of a
// snapshot: it is asked for when none comes by itself.
func (c *Client) expectSnapshot(s *Subscription, now time.Time) {
	if s.book != nil && !s.book.whole && s.book.state == proto.Live && s.due.IsZero() {
		c.schedule(s, now.Add(c.config.ResyncTimeout))
	}
}

// resync asks for the snapshot of a loss, or for one that did not come.
func (c *Client) resync(s *Subscription, now time.Time) (Event, error) {
	if s.lost.Attempt == 0 {
		s.lost = BookLost{Sub: s, Cause: Gap}
	}
	return c.askForSnapshot(s, now, &pb.Request{Body: &pb.Request_Resync{
		Resync: &pb.Resync{Topics: []uint32{s.topic}},
	}})
}

func (c *Client) askForSnapshot(s *Subscription, now time.Time, req *pb.Request) (Event, error) {
	req.Id = c.nextID()
	if err := c.send(req); err != nil {
		return nil, err
	}
	s.lost.Attempt++
	s.lost.request = req.Id
	c.schedule(s, now.Add(c.config.ResyncTimeout))
	lost := s.lost
	return &lost, nil
}
