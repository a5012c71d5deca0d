package ingest

import (
	"math"
	"time"
)

// sighting is a look at the end of a log: at some moment from asked to answered,
// consumers could read all before high, and nothing from there on. One that stands
// for several has the times and high of the last; they began at low, and what came
// between is taken to have been lacking, so that it is late rather than early.
type sighting struct {
	asked, answered time.Time
	low, high       int64
}

// sightings are the looks at the end of one log within some time. They bound when
// a record came into it, whatever its timestamp says: after the last look that
// lacked it, and before the first that had it. Ages are measured by the clock
// that does not jump, as far as the times given have it.
//
// A log may lose its end, and use the offsets again. A look that had an offset
// tells nothing of the record that is there since, while one that lacked it still
// does.
type sightings struct {
	within time.Duration // what is longer ago than this need not be told apart
	apart  time.Duration // looks closer together than this are kept as one

	looks  []sighting // in order of time
	sound  int        // those of looks from here on are of the log as it is now
	leader int32      // its epoch, at the last look
	high   int64      // at the last look; -1: there was none
	old    int64      // the log has had the records before it for within; -1: not known of any
	oldAt  time.Time  // of the last look that says so
}

// maxLooks bounds the looks that are kept of a log, besides the last.
const maxLooks = 1 << 14

func newSightings(d time.Duration) sightings {
	return sightings{within: d, apart: d / (maxLooks - 1), leader: -1, high: -1, old: -1}
}

// successor begins those of a log that took the place of this one: while somebody saw
// this one, it had nothing.
func (s *sightings) successor() sightings {
	next := newSightings(s.within)
	if n := len(s.looks); n > 0 {
		last := &s.looks[n-1]
		next.note(sighting{asked: last.asked, answered: last.answered}, -1)
	}
	return next
}

// note takes another look, by which the log's leader was of an epoch; -1: it does
// not say.
func (s *sightings) note(look sighting, leader int32) {
	if s.high >= 0 && (look.high < s.high || leader != s.leader) {
		s.void() // a new leader may lack what the one before had, without any look that shows it
	}
	s.high, s.leader = look.high, leader
	s.forget(look.answered)
	n := len(s.looks)
	if n >= 2 && s.looks[n-1].answered.Sub(s.looks[n-2].answered) < s.apart {
		look.low = min(look.low, s.looks[n-1].low)
		s.looks[n-1] = look
		s.sound = min(s.sound, n-1)
		return
	}
	s.looks = append(s.looks, look)
}

// void says that offsets may have come to mean other records.
func (s *sightings) void() { s.sound, s.old = len(s.looks), -1 }

// forget drops looks that are too long ago to matter.
func (s *sightings) forget(now time.Time) {
	n := 0
	for ; n < len(s.looks) && now.Sub(s.looks[n].answered) >= s.within; n++ {
		if n >= s.sound {
			s.old, s.oldAt = max(s.old, s.looks[n].high), s.looks[n].answered
		}
	}
	if n > 0 {
		s.looks = s.looks[n:]
		s.sound = max(0, s.sound-n)
	}
}

// lookedAway is for how long nobody may have looked at a log whose end is known.
const lookedAway = 5 * time.Second

// end is where the log ended within ago, if somebody looked then.
func (s *sightings) end(now time.Time) (int64, bool) {
	return s.old, s.old >= 0 && now.Sub(s.oldAt) <= s.within+2*s.apart+lookedAway
}

// span is what the looks say of the records before the offset to: when the log
// lacked them for the last time, and when it had them for the first. Zero: there
// was no such look.
type span struct {
	to          int64
	lacked, had time.Time
}

// around returns the span that offset lies in. It holds for the offsets from that
// one on, until the next look.
func (s *sightings) around(offset int64) span {
	at := span{to: math.MaxInt64}
	for i := range s.looks {
		look := &s.looks[i]
		if look.low <= offset {
			at.lacked = look.asked
		} else {
			at.to = min(at.to, look.low)
		}
		if look.high <= offset {
			continue
		}
		at.to = min(at.to, look.high)
		if i >= s.sound && at.had.IsZero() {
			at.had = look.answered
		}
	}
	return at
}

// age is for how long the log has had a record with the timestamp written (ns
// since 1970; 0 or less: none), of which somebody had a copy at held. A timestamp
// that the looks contradict is moved to the next moment that they do not.
func (at *span) age(written int64, held, now time.Time) time.Duration {
	least := now.Sub(held)
	if !at.had.IsZero() {
		least = max(least, now.Sub(at.had))
	}
	if written <= 0 {
		return least
	}
	age := now.Sub(time.Unix(0, written))
	if !at.lacked.IsZero() {
		age = min(age, now.Sub(at.lacked))
	}
	return max(age, least)
}
