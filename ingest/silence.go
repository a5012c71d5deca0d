package ingest

import (
	"time"

	"github.com/depthcast/depthcast/proto"
)

// hysteresis is a condition that begins above a limit and ends at half of it, so
// that what hovers around the limit does not flap.
type hysteresis struct {
	on bool
}

// judge reports whether value against limit changed the condition.
func (h *hysteresis) judge(value, limit int64) (changed bool) {
	switch {
	case !h.on && value > limit, h.on && value <= limit/2:
		h.on = !h.on
		return true
	}
	return false
}

// feed is a feed of a partition. What lives shows itself by records or
// heartbeats; a quiet symbol on a living feed is no cause for alarm.
type feed struct {
	seen   time.Time // arrival of its last record; in what is caught up on, when it was due
	silent hysteresis
}

// feeds by name, guarded by the partition's lock.
type feeds struct {
	of  map[string]*feed
	max int
}

// note notes a sign of life at a time, and reports whether there was room for the
// feed.
func (f *feeds) note(name string, at time.Time) bool {
	s := f.of[name]
	if s == nil {
		if len(f.of) >= f.max {
			return false
		}
		s = &feed{}
		f.of[name] = s
	}
	if at.After(s.seen) {
		s.seen = at
	}
	return true
}

// lived is when a record was a sign of life: at its arrival, but for one that the
// partition only catches up on, which may be long past.
func (p *Partition) lived(rec *Record, now time.Time) time.Time {
	if at := time.Unix(0, rec.Time).Add(p.cfg.Delay); p.catchingUp && rec.Time > 0 && at.Before(now) {
		return at
	}
	return now
}

// Tick judges what no record announces, and lets the books renew the marks of
// open views. It is called about every Config.TickEvery; by Ingest, or by tests
// with a time of their own.
func (p *Partition) Tick(now time.Time) {
	p.mu.Lock()
	defer p.release()
	if p.late != nil { // an outage that ends before it is due does not show
		p.current(now)
	}
	if p.unreachable.judge(int64(now.Sub(p.answered)), int64(p.cfg.UnreachableAfter)) {
		p.stale("", proto.ReasonKafkaUnreachable, p.unreachable.on)
		p.stats.Unreachable.Store(p.unreachable.on)
	}
	// The least lag since the last tick: a burst is not worth a word.
	if lag := min(p.leastLag, p.stats.Lag()); !p.catchingUp && p.behind.judge(lag, p.cfg.MaxLag) {
		p.stale("", proto.ReasonBehind, p.behind.on)
		p.stats.Behind.Store(p.behind.on)
	}
	p.leastLag = p.stats.Lag()
	p.judgeSilence(now)
	p.books.Tick(now.UnixNano())
}

// current takes it for an answer that all which is due by now was read.
func (p *Partition) current(now time.Time) {
	until := p.late.current()
	if until.After(now) {
		until = now
	}
	if until.After(p.answered) {
		p.answered = until
	}
}

// judgeSilence is called under the lock.
func (p *Partition) judgeSilence(now time.Time) {
	silent := int64(0)
	for name, f := range p.feeds.of {
		if f.silent.judge(int64(now.Sub(f.seen)), int64(p.cfg.SilentAfter)) {
			p.stale(name, proto.ReasonSourceSilent, f.silent.on)
		}
		if f.silent.on {
			silent++
		}
	}
	p.stats.SilentFeeds.Store(silent)
}

func (p *Partition) stale(feed string, reason proto.Reason, on bool) {
	p.books.SetStale(feed, reason, on)
	p.log.Info("staleness", "reason", proto.ReasonWord(reason), "feed", feed, "on", on)
}
