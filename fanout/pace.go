package fanout

import (
	"slices"
	"time"

	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// intervals are those that can be granted, rising; 0 is every change.
var intervals = [...]time.Duration{
	0, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
	200 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
}

// grantInterval returns the index of the least interval that is not below ms; of
// the greatest for more.
func grantInterval(ms uint32) uint8 {
	for i, d := range intervals {
		if time.Duration(ms)*time.Millisecond <= d {
			return uint8(i)
		}
	}
	return uint8(len(intervals) - 1)
}

// intervalsMS are the same in ms, for hello.
var intervalsMS = func() []uint32 {
	ms := make([]uint32, len(intervals))
	for i := range intervals {
		ms[i] = intervalMS(uint8(i))
	}
	return ms
}()

func intervalMS(step uint8) uint32 { return uint32(intervals[step].Milliseconds()) }

// readers are subscriptions that are visited together. Owned by the shard.
type readers struct {
	subs  []*subscription
	reads []tradesRead // of each, in a trades channel; none in others
	first int          // where the next round begins: nobody is always last
}

func (r *readers) add(s *subscription) {
	s.place = uint32(len(r.subs))
	r.subs = append(r.subs, s)
	if s.feed.topic.key.Channel == proto.ChannelTrades {
		r.reads = append(r.reads, tradesRead{})
	}
}

// remove takes s out; the last one takes its place.
func (r *readers) remove(s *subscription) {
	last := len(r.subs) - 1
	r.subs[s.place] = r.subs[last]
	r.subs[s.place].place = s.place
	r.subs[last] = nil
	r.subs = r.subs[:last]
	if len(r.reads) > 0 {
		r.reads[s.place] = r.reads[last]
		r.reads = r.reads[:last]
	}
}

// round calls visit for each subscription, beginning elsewhere each time.
func (r *readers) round(visit func(*subscription)) {
	n := len(r.subs)
	if n == 0 {
		return
	}
	r.first = (r.first + n/3 + 1) % n
	for _, s := range r.subs[r.first:] {
		visit(s)
	}
	for _, s := range r.subs[:r.first] {
		visit(s)
	}
}

// pace is the subscriptions of a feed that share an interval: they are served at
// wall-clock multiples of it. Owned by the shard.
type pace struct {
	readers
	feed    *feed
	step    uint8  // index of the interval
	pending bool   // in shard.ticks
	head    uint64 // newest position that they are shown before the next tick
}

// tick is when the paces of one interval are served next.
type tick struct {
	at    time.Time // wall clock; means something while there are paces
	paces []*pace   // with something new
	taken []*pace   // its other half
}

// fixedHead is how far the readers of a topic are shown at a tick: fixed by the
// first shard that comes to it, so that all shards share the net deltas.
type fixedHead struct {
	tick int64 // wall clock in intervals
	head uint64
}

// headAt returns the ring position that a tick of an interval shows.
func (t *Topic) headAt(step uint8, number int64) uint64 {
	for {
		was := t.fixed[step].Load()
		// One from further ahead was fixed before the clock was put back.
		if was != nil && was.tick >= number && was.tick-number <= 1 {
			return was.head
		}
		now := &fixedHead{tick: number, head: t.ring.Head()}
		if t.fixed[step].CompareAndSwap(was, now) {
			return now.head
		}
	}
}

// nextTick returns the first multiple of an interval after now.
func nextTick(now time.Time, step uint8) time.Time {
	n := int64(intervals[step])
	return time.Unix(0, (now.UnixNano()/n+1)*n)
}

// pend has p served at its next tick. What changes the state of a book, and what
// came before that, does not wait for it.
func (s *shard) pend(p *pace) {
	r := p.feed.topic.ring
	if e, status := r.Get(r.Head()); status == ring.OK && e.Value.barrier > p.head {
		p.head = e.Value.barrier
		p.round(s.list)
	}
	if p.pending {
		return
	}
	p.pending = true
	t := &s.ticks[p.step]
	if len(t.paces) == 0 {
		t.at = nextTick(s.now, p.step)
	}
	t.paces = append(t.paces, p)
}

// tick lists the subscriptions whose time has come.
func (s *shard) tick() {
	for i := range s.ticks {
		t, step := &s.ticks[i], uint8(i)
		switch {
		case len(t.paces) == 0:
			continue
		case t.at.Sub(s.now) > intervals[step]: // the clock was put back
			t.at = nextTick(s.now, step)
			continue
		case s.now.Before(t.at):
			continue
		}
		t.taken, t.paces = t.paces, t.taken[:0]
		for j, p := range t.taken {
			t.taken[j] = nil
			p.pending = false
			p.head = max(p.head, p.feed.topic.headAt(step, s.now.UnixNano()/int64(intervals[step])))
			p.round(s.list)
			if len(p.subs) > 0 && p.feed.topic.ring.Head() > p.head {
				s.pend(p) // more came after another shard had fixed this tick
			}
		}
	}
}

// nextTick returns when the next tick is due, if there is one.
func (s *shard) nextTick() (at time.Time, any bool) {
	for i := range s.ticks {
		if t := &s.ticks[i]; len(t.paces) > 0 && (!any || t.at.Before(at)) {
			at, any = t.at, true
		}
	}
	return at, any
}

// readers returns what sub is visited with.
func (sub *subscription) readers() *readers {
	if sub.step == 0 {
		return &sub.feed.readers
	}
	return &sub.feed.pace(sub.step).readers
}

// read returns what sub has been sent of a trades channel, until another joins or
// leaves its feed; nil in other channels, and of one that is gone.
func (sub *subscription) read() *tradesRead {
	if sub.state == gone {
		return nil
	}
	if r := sub.readers(); len(r.reads) > 0 {
		return &r.reads[sub.place]
	}
	return nil
}

// limit returns the newest position that sub may be shown in this turn.
func (sub *subscription) limit() uint64 {
	if sub.step == 0 {
		return sub.feed.head
	}
	return min(sub.feed.head, sub.feed.pace(sub.step).head)
}

// join makes sub one of f's subscriptions, at an interval.
func (f *feed) join(sub *subscription, step uint8) {
	sub.feed, sub.step = f, step
	sub.readers().add(sub)
	if step != 0 {
		f.shard.pend(f.pace(step)) // the snapshot that it begins with may be behind the ring
	}
}

// part takes sub out of f.
func (f *feed) part(sub *subscription) {
	r := sub.readers()
	r.remove(sub)
	if sub.step != 0 && len(r.subs) == 0 {
		f.paces = slices.DeleteFunc(f.paces, func(p *pace) bool { return p.step == sub.step })
	}
}

// pace returns f's pace of an interval, of which there are few.
func (f *feed) pace(step uint8) *pace {
	for _, p := range f.paces {
		if p.step == step {
			return p
		}
	}
	p := &pace{feed: f, step: step}
	f.paces = append(f.paces, p)
	return p
}

// setInterval changes the interval of sub.
func (s *shard) setInterval(sub *subscription, step uint8) {
	if sub.step == step {
		return
	}
	var had tradesRead
	if read := sub.read(); read != nil {
		had = *read
	}
	f := sub.feed
	f.part(sub)
	f.join(sub, step)
	if read := sub.read(); read != nil {
		*read = had
	}
	s.list(sub)
}

// empty reports whether nobody reads f.
func (f *feed) empty() bool { return len(f.subs) == 0 && len(f.paces) == 0 }

// everyone calls visit for each subscription of f.
func (f *feed) everyone(visit func(*subscription)) {
	f.round(visit)
	for _, p := range f.paces {
		p.round(visit)
	}
}
