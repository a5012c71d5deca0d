package fanout

import (
	"cmp"
	"slices"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// A server that stops tells each client when its connection will be closed, at a
// moment of its own within Config.DrainWindow, and serves it until then. So the
// clients come to the other servers, or come again, one after the other.

// drainAll says goodbye to everybody, each in its time.
func (s *shard) drainAll() {
	window := int(time.Duration(s.hub.window.Load()).Milliseconds())
	for _, c := range slices.Clone(s.conns) {
		if c.state == open {
			s.drain(c, time.Duration(s.jitter.IntN(window+1))*time.Millisecond)
		}
	}
	slices.SortFunc(s.leaving, func(a, b *conn) int { return cmp.Compare(a.deadline, b.deadline) })
}

// drain says goodbye to c, which is closed after so long.
func (s *shard) drain(c *conn, after time.Duration) {
	if c.state != open {
		return
	}
	if c.framing.dialect() {
		s.sayLeaving(c)
	} else {
		s.sayDrain(c, after)
	}
	if after == 0 {
		s.drop(c, DropShutdown)
		return
	}
	c.deadline = s.since + after
	s.leaving = append(s.leaving, c)
	s.enqueue(c)
}

// closeLeaving closes the connections whose time has come.
func (s *shard) closeLeaving() {
	done := 0
	for done < len(s.leaving) && s.since >= s.leaving[done].deadline {
		s.drop(s.leaving[done], DropShutdown)
		s.leaving[done] = nil
		done++
	}
	s.leaving = s.leaving[done:]
}

// sayDrain tells c that the server stops. Where all are closed at once, when to come
// back differs by connection.
func (s *shard) sayDrain(c *conn, after time.Duration) {
	back := int(after.Milliseconds())
	if s.hub.window.Load() == 0 {
		back = s.jitter.IntN(maxReconnectMS)
	}
	if c.events != nil {
		s.sayRetry(c, back)
	}
	s.say(c, &pb.Frame{Body: &pb.Frame_Drain{Drain: &pb.Drain{
		DeadlineMs: uint32(after.Milliseconds()), ReconnectAfterMs: uint32(back),
	}}}, proto.Exponents{})
}

// maxReconnectMS bounds the time over which clients are spread that are closed at
// once.
const maxReconnectMS = 5000
