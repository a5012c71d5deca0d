package fanout

import (
	"github.com/depthcast/depthcast/fanout/ring"
)

// run returns consecutive frames from e on, at from, up to the feed's head: built
// once in a turn for all who stand there. A run of one has no bytes.
func (s *shard) run(f *feed, e *entry, from uint64, sub *subscription) run {
	c, form := sub.conn, sub.framing
	if from == f.head || c.deflate != 0 && c.deflate != wholeWindow {
		return run{from: from, next: from + 1, frames: 1}
	}
	if c.deflate != 0 {
		form += framingKraken
	}
	if r := &f.runs[form]; r.from == from {
		return *r
	}
	r := run{from: from, next: from}
	begin := len(s.arena)
	limit := min(begin+s.config.MaxBytesPerTurn, cap(s.arena))
	for {
		frame := s.entryFrame(f.topic, e, sub.framing)
		if c.deflate != 0 {
			frame = s.deflated(frame, c.deflate)
		}
		b := frame.bytes
		if len(s.arena)+len(b) > limit {
			break
		}
		s.arena = append(s.arena, b...)
		r.next++
		r.frames++
		if r.next > f.head {
			break
		}
		var status ring.Status
		if e, status = f.topic.ring.Get(r.next); status != ring.OK || !e.Value.runs() {
			break
		}
	}
	r.bytes = s.arena[begin:len(s.arena):len(s.arena)]
	f.runs[form] = r
	return r
}

// commit moves what the bytes that have left carried: cursors past the frames that
// have left or begun to, the frame that is half sent into flight. It returns how many
// frames have begun to leave.
func (p *plan) commit() (frames uint32) {
	c, n, list := p.conn, p.took, p.list()
	if c.events != nil {
		c.events.untold += n
	}
	for i := range list {
		if n == 0 {
			break
		}
		part := &list[i]
		took := min(n, len(part.bytes))
		n -= took
		whole := took == len(part.bytes)
		switch {
		case part.flight && whole:
			c.land()
		case part.flight:
			c.sent += uint32(took)
		case part.stand:
			c.events.untold, c.events.tokenSize = n, len(part.bytes)
			if !whole {
				c.begin(newFrame(part.bytes), took)
			}
		case part.sub == nil && whole:
			c.control = nil
		case part.sub == nil:
			c.control = c.control[:copy(c.control, c.control[took:])]
		case part.frame == nil && !whole:
			frames += p.commitRun(part, took)
		default:
			part.move()
			frames += part.frames
			if part.last {
				p.over = append(p.over, part.sub)
			}
			if !whole {
				c.begin(part.frame, took)
			}
		}
	}
	return frames
}

// move sets the cursor to where it is after the part. A frame that has begun to
// leave counts: nothing can come before the rest of it.
func (part *part) move() {
	sub := part.sub
	sub.next = part.next
	if part.joins {
		sub.state, sub.voided = live, false
	} else if part.voids {
		sub.state, sub.voided = joining, true
	}
	if read := sub.read(); read != nil && part.trades {
		*read = tradesRead{began: true, seq: part.seq, ordinal: part.ordinal}
	}
}

// commitRun is commit for a run of which took bytes have left, not all.
func (p *plan) commitRun(part *part, took int) (frames uint32) {
	b, next := part.bytes, part.from
	for took > 0 {
		size := part.sub.framing.size(b)
		if took < size {
			p.conn.begin(runFrame(part.sub, next, b[:size]), took)
		}
		took -= min(took, size)
		b = b[size:]
		next++
		frames++
	}
	part.sub.next = next
	return frames
}

// runFrame returns the frame at position, of which b is a copy: the shared one if
// the ring still has it.
func runFrame(sub *subscription, position uint64, b []byte) *frame {
	if e, status := sub.feed.topic.ring.Get(position); status == ring.OK {
		f := e.Value.frames.slot(sub.framing).Load()
		if f != nil && sub.conn.deflate != 0 {
			f = f.deflated.Load()
		}
		if f != nil {
			return f
		}
	}
	return newFrame(b)
}
