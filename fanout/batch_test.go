package fanout

import (
	"testing"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
)

// guarded is a transport that notes what is sent after its end: by then the
// descriptor's number may be somebody else's.
type guarded struct {
	transport
	ended, after bool
	left         int // bytes pending; Flush is told that the socket is full
}

func (g *guarded) Send(b []byte) (int, poll.Class) {
	g.after = g.after || g.ended
	return g.transport.Send(b)
}

func (g *guarded) Pending() int { return g.left }

func (g *guarded) Flush() poll.Class { return poll.Partial }

func (g *guarded) Close() error {
	g.ended = true
	return g.transport.Close()
}

func TestNothingIsSentToWhoIsDroppedWhileTheBatchIsCollected(t *testing.T) {
	r := newRig(t, func(c *Config) { c.PinnedBytes = 1000 })
	r.dial(proto.CodecProto)
	r.dial(proto.CodecProto)
	s := r.hub.shards[0]
	done := make(chan *guarded, 1)
	s.do(func() {
		ready, full := s.conns[0], s.conns[1]
		first := &guarded{transport: ready.transport}
		ready.transport = first
		// It was full, and its socket takes more now.
		s.block(ready, false)
		ready.blocked = false
		ready.control = append(ready.control, 0x89, 0)
		full.transport = &guarded{transport: full.transport, left: 2000}
		s.enqueue(ready)
		s.enqueue(full)
		s.serveQueue()
		done <- first
	})
	r.sync()
	if first := <-done; !first.ended || first.after {
		t.Errorf("dropped: %v, sent to afterwards: %v", first.ended, first.after)
	}
}
