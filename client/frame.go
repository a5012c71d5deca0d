package client

import (
	"cmp"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// take handles one frame of the server. Frames of topics that are not (or no
// longer) subscribed to, and of kinds that are not known, mean nothing. An error
// ends the connection.
func (c *Client) take(f *pb.Frame) (Event, error) {
	now := c.now()
	switch body := f.Body.(type) {
	case *pb.Frame_Ack:
		return c.takeAck(body.Ack, now)
	case *pb.Frame_Error:
		return c.takeError(body.Error, now)
	case *pb.Frame_Snapshot:
		return c.takeSnapshot(c.subscribed(body.Snapshot.GetTopic()), body.Snapshot, now)
	case *pb.Frame_Delta:
		return c.takeDelta(c.subscribed(body.Delta.GetTopic()), body.Delta, now)
	case *pb.Frame_Orders:
		return c.takeOrders(c.subscribed(body.Orders.GetTopic()), body.Orders, now)
	case *pb.Frame_Trades:
		return c.takeTrades(c.subscribed(body.Trades.GetTopic()), body.Trades)
	case *pb.Frame_Ticker:
		return c.takeTicker(c.subscribed(body.Ticker.GetTopic()), body.Ticker)
	case *pb.Frame_Instruments:
		return c.takeInstruments(c.subscribed(body.Instruments.GetTopic()), body.Instruments, now)
	case *pb.Frame_Status:
		return c.takeStatus(c.subscribed(body.Status.GetTopic()), body.Status, now)
	case *pb.Frame_Keepalive:
		return c.takeKeepalive(c.subscribed(body.Keepalive.GetTopic()), body.Keepalive, now)
	case *pb.Frame_Hello: // the answer to auth
		return nil, c.takeHello(f)
	case *pb.Frame_Drain:
		wait := time.Duration(body.Drain.GetReconnectAfterMs()) * time.Millisecond
		c.drainedBy = now.Add(wait)
		return &Draining{RetryIn: wait}, nil
	}
	return nil, nil
}

// subscribed returns the subscription that has this topic; nil: none.
func (c *Client) subscribed(topic uint32) *Subscription {
	if s := c.topics[topic]; s != nil && s.standing == granted {
		return s
	}
	return nil
}

func (c *Client) takeAck(a *pb.Ack, now time.Time) (Event, error) {
	switch {
	case a.Ended:
		delete(c.topics, a.Topic)
		return nil, nil
	case a.PatternTopic != 0:
		return c.takeBrought(a, now)
	}
	s := c.answered(a.Id, a.Item)
	if s == nil {
		return nil, nil
	}
	if s.modifying != 0 && s.modifying == a.Id {
		return c.takeModified(s, a, now)
	}
	if err := s.grant(a); err != nil {
		return nil, err
	}
	if s.pattern != nil {
		c.patterns[a.Topic] = s
		s.pattern.id, s.pattern.item = a.Id, a.Item
	} else {
		c.topics[a.Topic] = s
	}
	if s.leaving {
		c.schedule(s, now)
		return nil, nil
	}
	c.expectSnapshot(s, now)
	c.after(s, now)
	return &Granted{Sub: s, Ack: a}, nil
}

// answered returns the subscription that an answer to a subscribe concerns, once;
// nil: none.
func (c *Client) answered(id, item uint32) *Subscription {
	subs := c.requests[id]
	if int64(item) >= int64(len(subs)) || subs[item] == nil {
		return nil
	}
	s := subs[item]
	subs[item] = nil
	for _, other := range subs {
		if other != nil {
			return s
		}
	}
	delete(c.requests, id)
	return s
}

// takeError finds whom an error concerns: items of a subscribe, or a topic whose
// snapshot was asked for. Others concern requests that need no answer.
func (c *Client) takeError(e *pb.Error, now time.Time) (Event, error) {
	if e.Code == pb.ErrorCode_ERROR_CODE_REVOKED {
		if s := cmp.Or(c.subscribed(e.Topic), c.patterns[e.Topic]); s != nil {
			return c.refuse(s, e, now), nil
		}
	}
	if subs := c.requests[e.Id]; e.Item == nil && len(subs) > 0 {
		delete(c.requests, e.Id)
		for _, s := range subs {
			if s == nil {
				continue
			}
			if event := c.refuse(s, e, now); event != nil {
				c.events = append(c.events, event)
			}
		}
		return nil, nil
	}
	if s := c.answered(e.Id, e.GetItem()); s != nil {
		return c.refuse(s, e, now), nil
	}
	for _, s := range c.subs {
		if s.standing == granted && s.lost.Attempt > 0 && s.lost.request == e.Id {
			return c.refuse(s, e, now), nil
		}
	}
	return c.takeIncomplete(e), nil
}

// refuse ends s or schedules what was refused anew, as the server's retry rule
// says.
func (c *Client) refuse(s *Subscription, e *pb.Error, now time.Time) Event {
	wait := retryAfter(e)
	switch {
	case s.modifying != 0 && s.modifying == e.Id:
		return c.unmodified(s, e, now)
	case s.leaving:
		s.end(nil)
		c.left(s, now)
		return nil
	case wait < 0:
		if s.topic != 0 {
			delete(c.topics, s.topic)
			delete(c.patterns, s.topic)
		}
		s.end(&RefusedError{Symbol: s.item.Symbol, Code: e.Code, Text: e.Message})
	default:
		if s.standing == asked {
			s.standing = waiting
		}
		c.schedule(s, now.Add(wait))
	}
	return &Refused{Sub: s, Error: e, RetryIn: wait}
}

func (c *Client) takeSnapshot(s *Subscription, f *pb.Snapshot, now time.Time) (Event, error) {
	if s == nil {
		return nil, nil
	}
	if err := setSnapshot(&c.snapshot, f); err != nil {
		return nil, err
	}
	s.exponents = c.snapshot.Exponents
	if s.tape != nil { // it tells of another epoch, other exponents, or a step back
		s.tape.replace(c.snapshot.Epoch, c.snapshot.Seq)
	}
	if s.quote != nil { // likewise
		s.quote.replace(c.snapshot.Epoch, false)
	}
	switch {
	case s.book == nil && proto.IsPattern(s.item.Symbol): // it has no state
		return nil, nil
	case s.book == nil:
		return &StatusChanged{Sub: s, Status: statusIn(&c.snapshot)}, nil
	}
	if s.book.ApplySnapshot(&c.snapshot) == Mismatch {
		if s.lost.Attempt > 0 {
			// Two wrong snapshots in a row: not to be asked for at once, but after
			// the time-out that runs.
			return nil, nil
		}
		return c.lost(s, Mismatch, now)
	}
	s.lost = BookLost{}
	c.schedule(s, time.Time{})
	return &BookSet{Sub: s, Book: s.book, Reason: proto.SnapshotReason(f.Reason), Times: c.snapshot.Times}, nil
}

func (c *Client) takeDelta(s *Subscription, f *pb.Delta, now time.Time) (Event, error) {
	if s == nil || s.book == nil {
		return nil, nil
	}
	if err := setDelta(&c.delta, f); err != nil {
		return nil, err
	}
	return c.change(s, now)
}

func (c *Client) takeOrders(s *Subscription, f *pb.OrdersDelta, now time.Time) (Event, error) {
	if s == nil || s.book == nil {
		return nil, nil
	}
	if err := setOrders(&c.delta, &c.orders, f); err != nil {
		return nil, err
	}
	return c.change(s, now)
}

// change applies the delta that was just decoded.
func (c *Client) change(s *Subscription, now time.Time) (Event, error) {
	switch outcome := s.book.ApplyDelta(&c.delta); outcome {
	case Applied:
		return &BookChanged{Sub: s, Book: s.book, Delta: &c.delta}, nil
	case Ignored:
		return nil, nil
	default:
		return c.lost(s, outcome, now)
	}
}

func (c *Client) takeTrades(s *Subscription, f *pb.Trades) (Event, error) {
	if s == nil || s.tape == nil {
		return nil, nil
	}
	setTrades(&c.trades, f)
	if !s.tape.take(&c.trades) {
		return nil, nil
	}
	return &Traded{Sub: s, Trades: &c.trades}, nil
}

func (c *Client) takeStatus(s *Subscription, f *pb.Status, now time.Time) (Event, error) {
	if s == nil {
		return nil, nil
	}
	status := statusOf(f)
	if s.book != nil {
		s.book.ApplyStatus(status)
	}
	if s.quote != nil && status.State == proto.Recovering {
		s.quote.void()
	}
	if status.State == proto.Recovering && s.book != nil {
		// The snapshot comes when the book has recovered, however long that takes.
		s.lost = BookLost{}
		c.schedule(s, time.Time{})
	}
	c.expectSnapshot(s, now)
	if status.Final {
		delete(c.topics, s.topic)
		s.end(ErrFinal)
	}
	return &StatusChanged{Sub: s, Status: status}, nil
}

func (c *Client) takeKeepalive(s *Subscription, f *pb.Keepalive, now time.Time) (Event, error) {
	if s == nil {
		return nil, nil
	}
	k := &proto.Keepalive{Seq: f.Seq, Hash: f.Hash, SymbolAgeMS: f.SymbolAgeMs, FeedAgeMS: f.FeedAgeMs, Published: f.Published}
	if s.tape != nil {
		s.tape.advance(k.Seq)
		return &Alive{Sub: s, Keepalive: k}, nil
	}
	switch {
	case s.quote != nil:
		s.quote.seq = max(s.quote.seq, k.Seq)
		return &Alive{Sub: s, Keepalive: k}, nil
	case s.listings != nil:
		s.listings.seq = max(s.listings.seq, k.Seq)
		return &Alive{Sub: s, Keepalive: k}, nil
	}
	switch s.book.ApplyKeepalive(k) {
	case Mismatch:
		return c.lost(s, Mismatch, now)
	case Applied:
		return &Alive{Sub: s, Keepalive: k}, nil
	}
	return nil, nil
}
