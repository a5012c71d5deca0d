package fanout

import (
	"context"
	"errors"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// checks are the tokens of auth requests that are with the gate. A signature takes
// its time, and the key for it may have to be fetched: a shard does not wait for
// that. At most maxChecks run at once, each on a goroutine of its own.
type checks struct {
	places chan struct{}
	ctx    context.Context // ends with the hub
	end    context.CancelFunc
}

const maxChecks = 64

func newChecks() checks {
	ctx, end := context.WithCancel(context.Background())
	return checks{places: make(chan struct{}, maxChecks), ctx: ctx, end: end}
}

// verdict is what the gate said of a connection's token.
type verdict struct {
	conn  *conn
	id    uint32 // of the request
	grant *Grant
	err   error
}

// auth has the gate check a token. The connection goes on meanwhile with what it
// has; the answer comes by takeVerdicts.
func (s *shard) auth(c *conn, id uint32, token string) {
	a := answer{id: id}
	switch {
	case c.pass == nil:
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED, "this server knows no tokens: connect without one")
		return
	case c.pass.checking:
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, "another token of this connection is being checked")
		return
	}
	h := s.hub
	select {
	case h.checks.places <- struct{}{}:
	default:
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_OVERLOADED, "too many tokens are being checked")
		return
	}
	c.pass.checking = true
	go func() {
		defer func() { <-h.checks.places }()
		v := verdict{conn: c, id: id}
		ctx, cancel := context.WithTimeout(h.checks.ctx, admitWithin)
		defer cancel()
		v.grant, v.err = s.config.Gate.Admit(ctx, token)
		s.mu.Lock()
		s.verdicts = append(s.verdicts, v)
		s.mu.Unlock()
		s.poller.Wake()
	}()
}

// takeVerdicts carries out what the gate has said.
func (s *shard) takeVerdicts() {
	s.mu.Lock()
	verdicts := s.verdicts
	s.verdicts = nil
	s.mu.Unlock()
	for _, v := range verdicts {
		if v.conn.state == open {
			s.judge(v.conn, v)
			s.answered(v.conn)
		}
	}
	if s.reconsider.Swap(false) {
		s.reconsiderAll()
	}
}

func (s *shard) judge(c *conn, v verdict) {
	p, a := c.pass, answer{id: v.id}
	p.checking = false
	switch {
	case errors.Is(v.err, ErrGate):
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_OVERLOADED, "tokens cannot be checked now")
		return
	case v.err != nil:
		s.config.Log.Debug("token refused", "remote", c.remote, "credential", "auth", "err", v.err)
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED, "")
		if p.refused++; p.grant == nil && p.refused >= maxRefused {
			s.drop(c, DropUnauthenticated)
		}
		return
	case p.grant != nil && p.grant.User != v.grant.User:
		s.refuse(c, a, pb.ErrorCode_ERROR_CODE_FORBIDDEN, "another user's token needs a connection of its own")
		return
	case p.grant == nil && !s.hub.users.enter(v.grant):
		s.drop(c, DropUserFull)
		return
	}
	ack := &pb.Ack{Id: v.id, DelayMs: uint32(s.config.Delay.Milliseconds())}
	if !v.grant.Until.IsZero() {
		ack.AuthUntil = v.grant.Until.UnixNano()
	}
	s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: ack}}, proto.Exponents{})
	s.regrant(c, v.id, v.grant)
	s.hello(c)
	s.confirm(v.grant)
}

// Reconsider holds all connections against what their tokens grant by now: for when
// the gate has learnt that some grant less, or nothing. It does not wait for that.
// Any goroutine may call it.
func (h *Hub) Reconsider() {
	for _, s := range h.shards {
		s.reconsider.Store(true)
		s.poller.Wake()
	}
}

// meter tells of a single answer.
func (h *Hub) meter(g *Grant, key proto.TopicKey) {
	if g == nil || h.config.Meter == nil {
		return
	}
	now := h.config.Now()
	h.config.Meter.Began(g.User, key, now)
	h.config.Meter.Ended(g.User, key, now)
}
