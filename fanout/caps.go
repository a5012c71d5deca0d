package fanout

import (
	"container/heap"
	"time"
)

// caps are the most that a client wants to be sent, on average. What they hold
// back is not queued: when the time comes the client is sent the net change. Acks,
// errors, pings and pongs do not wait; their bytes count. Owned by the shard.
type caps struct {
	hz      uint32 // frames a second; 0: any
	bytes   uint64 // a second; 0: any
	until   time.Duration
	waiting bool // in shard.pauses
}

// Bounds of caps that can be granted, and of the time that one send is paid for
// with: a client that takes a great snapshot slowly is not cut off for ever.
const (
	minBytesPerSecond = 1024
	maxCapPause       = 60 * time.Second
)

// setCaps takes over what c wishes; 0: no wish, what holds goes on to hold.
func (c *conn) setCaps(hz uint32, bytes uint64) {
	if hz == 0 && bytes == 0 {
		return
	}
	if c.caps == nil {
		c.caps = &caps{}
	}
	if hz != 0 {
		c.caps.hz = hz
	}
	if bytes != 0 {
		c.caps.bytes = max(bytes, minBytesPerSecond)
	}
}

// granted returns the caps of c; 0: none.
func (c *conn) granted() (hz uint32, bytes uint64) {
	if c.caps == nil {
		return 0, 0
	}
	return c.caps.hz, c.caps.bytes
}

// spend counts what c was sent.
func (c *conn) spend(now time.Duration, frames uint32, bytes int) {
	k := c.caps
	if k == nil || frames == 0 && bytes == 0 {
		return
	}
	pause := 0.0 // seconds
	if k.hz != 0 {
		pause = float64(frames) / float64(k.hz)
	}
	if k.bytes != 0 {
		pause = max(pause, float64(bytes)/float64(k.bytes))
	}
	k.until = min(max(k.until, now)+time.Duration(pause*float64(time.Second)), now+maxCapPause)
}

// capped reports whether c has had what it wants for now; it is served again when
// the time comes.
func (s *shard) capped(c *conn) bool {
	k := c.caps
	if k == nil {
		return false
	}
	c.conflating = true // what it missed comes as the net of it
	if k.until <= s.since {
		return false
	}
	if !k.waiting {
		k.waiting = true
		heap.Push(&s.pauses, pausing{c, k.until})
	}
	return true
}

// resumeCapped has those served whose time has come.
func (s *shard) resumeCapped() {
	for len(s.pauses) > 0 && s.pauses[0].until <= s.since {
		c := heap.Pop(&s.pauses).(pausing).conn
		c.caps.waiting = false
		if c.state == open {
			s.enqueue(c)
		}
	}
}

// pausing is a connection and when it is to be served again.
type pausing struct {
	conn  *conn
	until time.Duration
}

// pauses is a heap, the next first.
type pauses []pausing

func (p pauses) Len() int           { return len(p) }
func (p pauses) Less(i, j int) bool { return p[i].until < p[j].until }
func (p pauses) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *pauses) Push(x any)        { *p = append(*p, x.(pausing)) }
func (p *pauses) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	(*p)[last] = pausing{}
	*p = (*p)[:last]
	return x
}
