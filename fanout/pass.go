package fanout

import (
	"container/heap"
	"errors"
	"slices"
	"time"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// pass is what a connection may have, in a hub with a gate. Nothing is asked of it
// for a delivery: what it does not cover is not subscribed to, or ends. Owned by the
// shard.
type pass struct {
	conn     *conn
	grant    *Grant        // nil: a stranger's, who has to show a token first
	account  *peer.Account // what its user's connections share; nil: nothing, or no user is known
	ends     time.Duration // on the shard's clock: when the token ends, or must have come; noEnd: never
	place    int           // in shard.passes; -1: it is not there
	refused  uint8         // tokens in a row
	checking bool          // a token of it is with the gate
}

const (
	noEnd = time.Duration(-1)
	// maxRefused is how many tokens a stranger may try.
	maxRefused = 3
)

// granting returns the grant of c; nil: everything. Strangers have none either,
// and are not asked what they want.
func (c *conn) granting() *Grant {
	if c.pass == nil {
		return nil
	}
	return c.pass.grant
}

// stranger reports whether c has yet to show a token.
func (c *conn) stranger() bool { return c.pass != nil && c.pass.grant == nil }

// metered reports whether somebody counts that its user has sub. The listings that
// a wildcard reads are not sent.
func (sub *subscription) metered() bool {
	p := sub.conn.pass
	return p != nil && p.grant != nil && sub.conn.shard.config.Meter != nil && sub.state != apart
}

// errStranger refuses what comes before a token.
var errStranger = errors.New("a valid token is needed first")

// allows returns nil if c may have a topic, else an error that wraps errForbidden
// or errStranger.
func (c *conn) allows(key proto.TopicKey) error {
	if c.stranger() {
		return errStranger
	}
	return c.granting().allows(key, c.shard.config.Delay)
}

// forStrangers reports whether a request may come before a token.
func forStrangers(req *pb.Request) bool { return req.GetAuth() != nil || req.GetPing() != nil }

// issue gives a new connection its pass, if there is a gate.
func (s *shard) issue(c *conn, g *Grant) {
	if s.config.Gate == nil {
		return
	}
	c.pass = &pass{conn: c, grant: g, place: -1, account: s.accountOf(g)}
	if g == nil {
		s.expect(c.pass, s.since+s.config.AuthTimeout)
		return
	}
	s.expect(c.pass, s.endOf(g))
	s.confirm(g)
}

// accountOf returns what the connections of g's user share; nil: nothing.
func (s *shard) accountOf(g *Grant) *peer.Account {
	if g == nil || s.config.SnapshotBytesPerUser == 0 {
		return nil
	}
	return s.hub.accounts.OfUser(g.User)
}

// confirm sees to it that a grant which the gate has changed since it was given is
// noticed, though Reconsider came too early for its connection.
func (s *shard) confirm(g *Grant) {
	if s.config.Gate.Present(g) != g {
		s.reconsider.Store(true)
		s.poller.Wake()
	}
}

// endOf returns when g ends, on the shard's clock.
func (s *shard) endOf(g *Grant) time.Duration {
	if g.Until.IsZero() {
		return noEnd
	}
	return max(0, g.Until.Sub(s.hub.started))
}

// expect sets when p ends.
func (s *shard) expect(p *pass, at time.Duration) {
	p.ends = at
	switch {
	case at == noEnd && p.place >= 0:
		heap.Remove(&s.passes, p.place)
	case at == noEnd:
	case p.place >= 0:
		heap.Fix(&s.passes, p.place)
	default:
		heap.Push(&s.passes, p)
	}
}

// handIn ends the pass of a connection that closes.
func (s *shard) handIn(c *conn) {
	if c.pass == nil {
		return
	}
	s.expect(c.pass, noEnd)
	s.hub.users.leave(c.pass.grant)
}

// sweepPasses drops the connections whose time is over.
func (s *shard) sweepPasses() {
	for len(s.passes) > 0 && s.passes[0].ends <= s.since {
		p := s.passes[0]
		s.expect(p, noEnd)
		if p.conn.stranger() {
			s.drop(p.conn, DropUnauthenticated)
		} else {
			s.drop(p.conn, DropTokenEnded)
		}
	}
}

// reconsiderAll holds every pass against what its token grants by now.
func (s *shard) reconsiderAll() {
	for _, c := range slices.Clone(s.conns) {
		g := c.granting()
		if g == nil || c.state != open {
			continue
		}
		switch now := s.config.Gate.Present(g); now {
		case g:
		case nil:
			s.drop(c, DropTokenEnded)
		default:
			if c.framing.dialect() { // which has no word for it: it comes again
				s.drop(c, DropTokenEnded)
				continue
			}
			s.regrant(c, 0, now)
			s.hello(c)
			s.dropIdle(c)
			s.enqueue(c)
		}
	}
}

// regrant puts g in the place of what c was granted before. What it does not cover
// any more ends, each with an error (revoked) that answers the request id; what
// came more often than it grants comes as often as it does.
func (s *shard) regrant(c *conn, id uint32, g *Grant) {
	c.pass.grant, c.pass.refused, c.pass.account = g, 0, s.accountOf(g)
	s.expect(c.pass, s.endOf(g))
	for _, sub := range slices.Clone(c.subs) {
		if s.relieve(c, 1); c.state != open {
			return // and so has every subscription of it
		}
		key, number := sub.feed.topic.key, sub.number()
		if w := s.wildcards[sub]; w != nil {
			key = w.key
		}
		if err := c.allows(key); err != nil {
			if w := s.bringer(sub); w != nil {
				delete(w.brought, key.Symbol)
			}
			s.remove(sub)
			s.refuse(c, answer{id: id, topic: number}, pb.ErrorCode_ERROR_CODE_REVOKED, err.Error()+" any more: the topic has ended")
		} else if step := g.step(sub.step); step != sub.step && sub.state != apart {
			s.setInterval(sub, step)
			s.say(c, &pb.Frame{Body: &pb.Frame_Ack{Ack: sub.ack(answer{id: id})}}, proto.Exponents{})
		}
	}
}

// narrow takes out of a hello what p does not grant. Strangers are told what they
// need to know in order to show a token. p may be nil.
func (p *pass) narrow(h *pb.Hello) {
	switch {
	case p == nil:
	case p.grant == nil:
		h.AuthRequired, h.Server = true, ""
	default:
		g := p.grant
		if !g.Until.IsZero() {
			h.AuthUntil = g.Until.UnixNano()
		}
		h.IntervalsMs = intervalsMS[g.step(0):]
		h.Limits.MaxDepth, h.Limits.MaxConnections = g.MaxDepth, uint32(max(0, g.MaxConns))
		if g.MaxDepth > 0 {
			h.Depths = slices.DeleteFunc(slices.Clone(h.Depths), func(d uint32) bool { return d > g.MaxDepth })
		}
		if len(g.Channels) > 0 {
			h.Channels = slices.DeleteFunc(slices.Clone(h.Channels), func(c pb.Channel) bool { return !slices.Contains(g.Channels, proto.Channel(c)) })
		}
	}
}

// passes is a heap, the next to end first.
type passes []*pass

func (p passes) Len() int           { return len(p) }
func (p passes) Less(i, j int) bool { return p[i].ends < p[j].ends }
func (p passes) Swap(i, j int) {
	p[i], p[j] = p[j], p[i]
	p[i].place, p[j].place = i, j
}
func (p *passes) Push(x any) {
	x.(*pass).place = len(*p)
	*p = append(*p, x.(*pass))
}
func (p *passes) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	x.place = -1
	(*p)[last] = nil
	*p = (*p)[:last]
	return x
}
