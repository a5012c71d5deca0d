package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto/pb"
)

// ErrIncompatible marks a server that does not speak this client's protocol.
var ErrIncompatible = errors.New("client: not a server for this client")

// backoff computes waits between attempts to connect.
type backoff struct {
	min, max time.Duration
	random   func() float64
	attempts int // failed in a row
}

// next returns the wait before the next attempt: between half and all of
// min * 2^attempts, at most max.
func (b *backoff) next() time.Duration {
	wait := b.max
	if b.min <= b.max>>b.attempts { // else it would exceed max, or 64 bits
		wait = b.min << b.attempts
	}
	b.attempts++
	return wait/2 + time.Duration(b.random()*float64(wait-wait/2))
}

// permanent reports whether connecting anew after err is of no use: the same words
// would meet the same answer.
func permanent(err error) bool {
	if errors.Is(err, ErrIncompatible) || errors.Is(err, ErrTooBig) {
		return true
	}
	if h := (*HandshakeError)(nil); errors.As(err, &h) {
		switch h.Status {
		case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
			return false
		}
		return h.Status < 500
	}
	if c := (*ClosedError)(nil); errors.As(err, &c) {
		return closedForGood(c.Code)
	}
	return false
}

// connect waits until it is time and connects.
func (c *Client) connect(ctx context.Context) (Event, error) {
	sleep(ctx, c.retryAt.Sub(c.now()))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	started := c.now()
	dialCtx, cancel := context.WithTimeout(ctx, c.config.DialTimeout)
	defer cancel()
	conn, err := c.dialOnce(dialCtx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return c.disconnected(err)
	}
	now := c.now()
	c.conn, c.began, c.heard, c.pinged = conn, now, now, false
	c.mu.Lock()
	c.live = conn
	c.mu.Unlock()
	if err := c.greet(dialCtx, started.Add(c.config.DialTimeout)); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return c.disconnected(err)
	}
	return &Connected{Hello: c.hello}, nil
}

// greet reads the hello.
func (c *Client) greet(ctx context.Context, deadline time.Time) error {
	for {
		message, err := c.read(ctx, deadline)
		if err != nil {
			return err
		}
		if message != nil {
			return c.takeHello(message)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: no hello", ErrSilent)
		}
	}
}

func (c *Client) takeHello(message *pb.Frame) error {
	hello := message.GetHello()
	if hello == nil {
		return fmt.Errorf("%w: the first frame is no hello", ErrProtocol)
	}
	if hello.Version != 1 {
		return fmt.Errorf("%w: it speaks version %d", ErrIncompatible, hello.Version)
	}
	c.hello = hello
	c.expire(hello, c.now())
	return nil
}

// disconnected ends the connection, if there is one, and says so, unless err is
// permanent.
func (c *Client) disconnected(err error) (Event, error) {
	now := c.now()
	if c.conn != nil {
		if now.Sub(c.began) >= c.config.BackoffMax {
			c.backoff.attempts = 0
		}
		c.lose(closeCode(err))
	}
	if !c.mayHaveAnother(err) && permanent(err) {
		return nil, err
	}
	wait := c.waitBefore(err, now)
	c.retryAt = now.Add(wait)
	return &Disconnected{Err: err, RetryIn: wait}, nil
}

// lose closes the connection and puts the subscriptions back to the beginning.
func (c *Client) lose(code ws.StatusCode, reason string) {
	c.mu.Lock()
	c.live = nil
	c.mu.Unlock()
	c.conn.closeWith(code, reason)
	c.conn, c.hello = nil, nil
	c.token.renewAt = time.Time{}
	clear(c.topics)
	clear(c.patterns)
	clear(c.requests)
	now := c.now()
	for _, s := range c.subs {
		s.disconnect(now)
	}
	c.subs = slices.DeleteFunc(c.subs, (*Subscription).Ended)
	c.due = now
}

// closeCode says what to tell the server about err; 0: nothing.
func closeCode(err error) (ws.StatusCode, string) {
	switch {
	case errors.Is(err, ErrTooBig):
		return ws.StatusMessageTooBig, "message over the limit"
	case errors.Is(err, ErrProtocol):
		return ws.StatusProtocolError, "protocol error"
	case errors.Is(err, ErrSilent), errors.Is(err, ErrNoAnswer), errors.Is(err, ErrDrained):
		return ws.StatusNormalClosure, ""
	}
	var closed *ClosedError
	if errors.As(err, &closed) {
		return ws.StatusNormalClosure, ""
	}
	return 0, ""
}

// waitBefore returns how long to wait before connecting anew after err.
func (c *Client) waitBefore(err error, now time.Time) time.Duration {
	if !c.drainedBy.IsZero() {
		wait := max(0, c.drainedBy.Sub(now))
		c.drainedBy = time.Time{}
		return wait
	}
	wait := c.backoff.next()
	if h := (*HandshakeError)(nil); errors.As(err, &h) && h.RetryAfter > 0 {
		// Others are told the same second.
		wait = max(wait, h.RetryAfter+time.Duration(c.backoff.random()*float64(time.Second)))
	}
	return wait
}

// retryAfter returns how long to wait before asking again after e; negative: never.
// A server that names no time is not asked more often than every second.
func retryAfter(e *pb.Error) time.Duration {
	switch e.Retry {
	case pb.Retry_RETRY_NOW:
		return 0
	case pb.Retry_RETRY_AFTER:
		if e.RetryAfterMs == 0 {
			return time.Second
		}
		return time.Duration(e.RetryAfterMs) * time.Millisecond
	}
	return -1
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
