package main

import (
	"math/rand/v2"
	"time"
)

// rota deals out the seconds after which those who were turned away come back. None
// is given to more than have lately passed the lobby in one, so that they find room;
// the storm lasts no longer than it must.
type rota struct {
	least  int       // taken for what passes in a second until more was seen
	second time.Time // that is being counted; has begun
	here   int       // passed in it
	before int       // passed in the one before
	dealt  time.Time // up to here all seconds are given
}

// latest bounds what anybody is told to wait.
const latest = 60 * time.Second

// passed counts one who went through the lobby.
func (r *rota) passed(now time.Time) {
	r.look(now)
	r.here++
}

// look begins another second if it is time.
func (r *rota) look(now time.Time) {
	switch passed := now.Sub(r.second); {
	case passed >= 2*time.Second:
		r.second, r.here, r.before = now, 0, 0
	case passed >= time.Second:
		r.second, r.here, r.before = r.second.Add(time.Second), 0, r.here
	}
}

// deal returns the whole seconds after which the next is to come back, while ahead
// of it so many wait.
func (r *rota) deal(now time.Time, ahead int) int {
	r.look(now)
	each := time.Second / time.Duration(max(r.least, r.here, r.before, 1))
	if begin := now.Add(time.Duration(ahead) * each); r.dealt.Before(begin) {
		r.dealt = begin
	}
	if r.dealt.Sub(now) > latest-time.Second { // all are given: chance spreads the rest
		return int(latest/time.Second) - rand.IntN(int(latest/time.Second)/2)
	}
	r.dealt = r.dealt.Add(each)
	return int((r.dealt.Sub(now) + time.Second - 1) / time.Second)
}
