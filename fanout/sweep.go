package fanout

import (
	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto/kraken"
)

// sweep looks at everything that waits for a time to come.
func (s *shard) sweep() {
	s.sweepAt = s.since + sweepEvery
	s.sweeps++
	for s.stalls.first != nil && s.since-s.stalls.first.stalled >= s.config.StallTimeout {
		s.cut(s.stalls.first, DropStalled)
	}
	s.sweepFarewell()
	s.sweepSilent()
	s.sweepPasses()
	s.sweepBeats()
	for _, f := range s.feeds {
		s.sweepFeed(f)
	}
	if s.index == 0 && s.sweeps%expireSweeps == 0 {
		s.hub.expire()
	}
}

// sweepFarewell closes the connections whose peers have not answered the close
// frame in time.
func (s *shard) sweepFarewell() {
	done := 0
	for _, c := range s.farewell {
		if c.state != closed && s.since < c.deadline {
			break
		}
		s.close(c)
		done++
	}
	n := copy(s.farewell, s.farewell[done:])
	clear(s.farewell[n:])
	s.farewell = s.farewell[:n]
}

// sweepSilent looks at some of the connections, at each four times within
// Config.SilenceTimeout.
func (s *shard) sweepSilent() {
	rounds := max(1, int(s.config.SilenceTimeout/4/sweepEvery))
	for range (len(s.conns) + rounds - 1) / rounds {
		if len(s.conns) == 0 {
			return
		}
		if s.swept >= len(s.conns) {
			s.swept = 0
		}
		c := s.conns[s.swept]
		s.swept++
		silent := s.since - c.heard
		switch {
		case c.state != open:
		case c.events != nil:
			s.sayAlive(c)
		case silent >= s.config.SilenceTimeout:
			s.drop(c, DropSilent)
		case silent >= s.config.SilenceTimeout/2 && !c.pinged:
			c.pinged = true
			s.reply(c, ws.OpPing, nil)
			s.enqueue(c)
		}
	}
}

// Kraken's clients hear a heartbeat about every second in which nothing else came to
// them (docs.kraken.com, WebSocket v2, Heartbeat). Each is looked at every beatRounds
// sweeps, half a second, so that they are not all told at once.
const (
	beatRounds = 2
	beatLooks  = 3 // a heartbeat comes with the third look since data was sent
)

// sweepBeats sends the heartbeats that are due.
func (s *shard) sweepBeats() {
	for i := int(s.sweeps % beatRounds); i < len(s.krakens); i += beatRounds {
		c := s.krakens[i]
		switch {
		case c.state == closed: // the last one takes its place, and is looked at half a second later
			last := len(s.krakens) - 1
			s.krakens[i] = s.krakens[last]
			s.krakens[last] = nil
			s.krakens = s.krakens[:last]
		case c.blocked || len(c.subs) == 0:
			c.quiet = 0
		case c.quiet < beatLooks-1:
			c.quiet++
		default:
			c.quiet = 1 // the next is due in a second
			s.tellDialect(c, append(s.encoder.begin(), kraken.Heartbeat...))
			s.enqueue(c)
		}
	}
}

// sweepFeed has the subscribers of a topic told that it lives, if it has been idle
// and there is something new to say.
func (s *shard) sweepFeed(f *feed) {
	if s.since-f.active < s.config.KeepaliveInterval {
		return
	}
	m := f.topic.mark.Load()
	if m == nil || m == f.said || m.position != f.topic.ring.Head() {
		return
	}
	f.said, f.active = m, s.since
	f.everyone(func(sub *subscription) {
		sub.keepalive = true
		s.list(sub)
	})
}

// settleAll ends the waits that are over.
func (s *shard) settleAll() {
	kept := s.waiting[:0]
	for i := range s.waiting {
		w := &s.waiting[i]
		switch {
		case w.sub.state == gone:
		case s.settle(w):
			s.list(w.sub)
		default:
			kept = append(kept, *w)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
}
