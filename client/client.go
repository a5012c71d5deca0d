package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// ErrRunning ends a second loop over Events while another one runs.
var ErrRunning = errors.New("client: Events is being looped over already")

// Client is one connection to a depthcast server, kept up for as long as a loop
// over Events runs.
type Client struct {
	// Static after New.
	config Config

	// Guarded by mu.
	mu       sync.Mutex
	running  bool
	added    []*Subscription // not yet known to the loop
	removed  []*Subscription // to be ended by the loop
	modified []modification  // to be asked for by the loop
	live     *conn           // the connection of the loop, for interrupt; nil when none

	// Owned by the loop. Its times are those of now(), which stands still during
	// the body of the loop: a slow body is not taken for a silent server.
	conn      *conn
	away      time.Duration // spent in the body
	hello     *pb.Hello
	token     tokens
	backoff   backoff
	retryAt   time.Time       // when to connect next
	began     time.Time       // of the connection
	heard     time.Time       // when bytes came last
	pinged    bool            // since heard
	drainedBy time.Time       // when to leave a server that drains; zero: it does not
	due       time.Time       // the earliest of the subscriptions' due times, or before it; zero: none
	subs      []*Subscription // not ended, in the order of Subscribe
	topics    map[uint32]*Subscription
	patterns  map[uint32]*Subscription   // by their numbers, which no frame carries
	requests  map[uint32][]*Subscription // subscribes by id; an item is nil once answered
	lastID    uint32
	events    []Event // yielded before anything else is done

	// Reused by events.
	snapshot proto.Snapshot
	delta    proto.Delta
	orders   proto.Orders
	trades   proto.Trades
}

// New returns a client that connects when Events is looped over. An error is
// ErrConfig.
func New(config Config) (*Client, error) {
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Client{
		config:   config,
		backoff:  backoff{min: config.BackoffMin, max: config.BackoffMax, random: config.random},
		topics:   map[uint32]*Subscription{},
		patterns: map[uint32]*Subscription{},
		requests: map[uint32][]*Subscription{},
	}, nil
}

// Subscribe adds an item, at any time and from any goroutine. The answer is an
// event of the loop: Granted or Refused. A pattern (but in the channel of instruments,
// where it is one topic) has nothing of its own: after its Granted comes one for
// each symbol that matches, with a subscription of its own, also for those that are
// listed later. An error is ErrBadItem.
func (c *Client) Subscribe(item Item) (*Subscription, error) {
	if item.Channel == 0 {
		item.Channel = proto.ChannelBook
	}
	if err := item.validate(); err != nil {
		return nil, err
	}
	s := newSubscription(item)
	c.interrupt(func() { c.added = append(c.added, s) })
	return s, nil
}

// Unsubscribe ends s, at any time and from any goroutine; a pattern with all that it
// has brought. The loop yields nothing of it after it has heard of it. A symbol that a
// pattern has brought is not brought again.
func (c *Client) Unsubscribe(s *Subscription) {
	c.interrupt(func() { c.removed = append(c.removed, s) })
}

// interrupt changes what mu guards and wakes a loop that waits for the server.
func (c *Client) interrupt(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	if c.live != nil {
		_ = c.live.net.SetReadDeadline(time.Unix(1, 0)) // a closed connection wakes the loop by itself
	}
}

// Events connects and yields what happens, until the loop is left, ctx is done or
// there is an error that connecting again cannot mend, which is yielded last with
// a nil event: that of ctx, ErrRunning, ErrIncompatible, ErrTooBig,
// *HandshakeError or *ClosedError. The connection ends with the loop; another loop
// goes on where this one ended.
func (c *Client) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if !c.begin() {
			yield(nil, ErrRunning)
			return
		}
		defer c.end()
		stop := context.AfterFunc(ctx, func() { c.interrupt(func() {}) })
		defer stop()
		for {
			event, err := c.next(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			left := c.config.clock()
			if !yield(event, nil) {
				return
			}
			c.away += c.config.clock().Sub(left)
		}
	}
}

// now is the time less what was spent in the body of the loop.
func (c *Client) now() time.Time { return c.config.clock().Add(-c.away) }

func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running {
		return false
	}
	c.running = true
	return true
}

// end closes the connection. It runs also when the body of the loop panics.
func (c *Client) end() {
	if c.conn != nil {
		c.lose(ws.StatusNormalClosure, "")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = false
}

// next returns the next event, or why there are no more.
func (c *Client) next(ctx context.Context) (Event, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(c.events) > 0 {
			event := c.events[0]
			c.events = c.events[1:]
			return event, nil
		}
		if c.conn == nil {
			return c.connect(ctx)
		}
		event, err := c.turn(ctx)
		if err != nil {
			return c.disconnected(err)
		}
		if event != nil {
			return event, nil
		}
	}
}

// turn does what is due and then one thing: it takes a message that has come, or
// waits for more.
func (c *Client) turn(ctx context.Context) (Event, error) {
	if err := c.renew(ctx, c.now()); err != nil {
		return nil, err
	}
	event, err := c.doDue(c.now())
	if event != nil || err != nil {
		return event, err
	}
	message, err := c.read(ctx, c.wakeAt())
	if message == nil || err != nil {
		return nil, err
	}
	return c.take(message)
}

// wakeAt is when the loop has something to do, whatever the server does.
func (c *Client) wakeAt() time.Time {
	at := c.heard.Add(c.config.PingAfter)
	if c.pinged {
		at = at.Add(c.config.PongTimeout)
	}
	for _, t := range []time.Time{c.due, c.drainedBy, c.token.renewAt} {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	return at
}

// read returns the next frame of what has come, or else waits for more until the
// deadline or an interrupt and returns nil. It answers pings.
func (c *Client) read(ctx context.Context, deadline time.Time) (*pb.Frame, error) {
	op, payload, ok, err := c.conn.next()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, c.wait(ctx, deadline)
	}
	switch op {
	case ws.OpPing:
		return nil, c.conn.write(ws.OpPong, payload)
	case ws.OpPong:
		return nil, nil
	case ws.OpClose:
		return nil, closedBy(payload)
	}
	return c.decode(op, payload)
}

// wait reads more bytes. To be interrupted, or to meet the deadline, is no error.
func (c *Client) wait(ctx context.Context, deadline time.Time) error {
	c.mu.Lock()
	if c.adopt() || ctx.Err() != nil {
		c.mu.Unlock()
		return nil
	}
	// Set under mu: an interrupt from here on replaces this deadline.
	err := c.conn.net.SetReadDeadline(deadline.Add(c.away))
	c.mu.Unlock()
	if err == nil {
		err = c.conn.fill()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("client: connection lost: %w", err)
	}
	c.heard, c.pinged = c.now(), false
	return nil
}

// adopt takes over what Subscribe and Unsubscribe left, and reports whether there
// was anything. mu is held.
func (c *Client) adopt() bool {
	if len(c.added)+len(c.removed)+len(c.modified) == 0 {
		return false
	}
	now := c.now()
	for _, s := range c.added {
		s.due = now
		c.subs = append(c.subs, s)
	}
	for _, s := range c.removed {
		s.leaving = s.standing != ended
		if s.standing == waiting || s.standing == granted && s.modifying == 0 {
			s.due = now
		}
	}
	for _, m := range c.modified {
		m.sub.change(m.item, now)
	}
	c.added, c.removed, c.modified = nil, nil, nil
	c.due = now
	return true
}
