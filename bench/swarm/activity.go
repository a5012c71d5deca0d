package swarm

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"
)

// Step is what a swarm does next, on top of reading.
type Step string

const (
	StepRamp   Step = "ramp"   // connect all but those that are to be slow
	StepSteady Step = "steady" // read, all that was planned
	StepChurn  Step = "churn"  // leave and join
	StepResume Step = "resume" // break connections, which come back and resume
	StepStorm  Step = "storm"  // end all connections and connect at once
	StepSlow   Step = "slow"   // connect those that are slow
	StepMore   Step = "more"   // begin the subscriptions that were left for later, at the rate of the ramp
)

// activity is a step under way.
type activity struct {
	step    Step
	last    int64   // ns; when it was advanced
	next    int     // link to connect, or to churn
	credit  float64 // things that are due and were not done
	credit2 float64
}

// Begin begins a step in place of the one before.
func (w *Swarm) Begin(step Step) error {
	var err error
	w.Do(func() {
		w.activity = activity{step: step, last: w.now}
		switch step {
		case StepRamp:
			w.gauges.Want = 0
			for _, l := range w.links {
				if !l.slow {
					w.gauges.Want++
				}
			}
		case StepSlow:
			w.slowly, w.gauges.Want = true, len(w.links)
		case StepStorm:
			w.storm()
		case StepMore:
			w.gauges.Joined = 0
			for _, l := range w.links {
				l.joined = false
			}
		case StepSteady:
			for _, l := range w.links {
				l.restore()
			}
		case StepChurn, StepResume:
		default:
			err = fmt.Errorf("%w: step %q", ErrPlan, step)
		}
	})
	if err == nil {
		w.poller.Wake()
	}
	return err
}

// storm ends all connections; the agenda opens them again at the next tick, as new
// clients.
func (w *Swarm) storm() {
	for _, l := range w.links {
		l.leave()
		l.again = false
		w.later(l, w.now)
	}
}

// connectBurst bounds the connections begun in one turn, so that answers are read
// in between.
const connectBurst = 500

// advance does what is due of the activity, and reports whether more may follow.
func (w *Swarm) advance() bool {
	a := &w.activity
	passed := time.Duration(w.now - a.last)
	a.last = w.now
	switch a.step {
	case StepRamp, StepSlow, StepMore:
		w.ramp(a, passed)
	case StepChurn:
		w.churn(a, passed)
	case StepResume:
		a.credit += w.plan.ResumeRate * passed.Seconds()
		for ; a.credit >= 1; a.credit-- {
			if l := w.pick(a); l != nil && l.phase == ready && l.joined {
				l.close()
				l.again = true
				w.later(l, w.now+int64(w.plan.ResumeGapMS)*1e6)
			}
		}
	}
	if w.slowly && w.plan.SlowBytes > 0 {
		for _, l := range w.links {
			if l.slow {
				l.trickle(passed)
			}
		}
	}
	w.sweep()
	return a.step != ""
}

// sweep looks for connections that do not open in time, at some of them each turn.
func (w *Swarm) sweep() {
	for range min(len(w.links), len(w.links)/200+1) {
		w.swept = (w.swept + 1) % len(w.links)
		w.links[w.swept].overdue(w.now)
	}
}

// ramp connects those whose turn it is.
func (w *Swarm) ramp(a *activity, passed time.Duration) {
	a.credit += w.plan.RampPerS * passed.Seconds()
	burst := connectBurst
	for a.next < len(w.links) && burst > 0 && (w.plan.RampPerS == 0 || a.credit >= 1) {
		l := w.links[a.next]
		a.next++
		if a.step == StepMore {
			l.more()
		} else if l.slow != (a.step == StepSlow) {
			continue
		} else {
			l.connect()
		}
		a.credit--
		burst--
	}
}

// more begins the subscriptions that l does not have yet; it has joined again when
// their snapshots are there.
func (l *link) more() {
	if l.phase != ready {
		return // it has lost its connection, and subscribes to all when it comes back
	}
	l.first = l.swarm.now
	for from := len(l.subs) - l.swarm.plan.Later; from < len(l.subs) && l.phase == ready; from += itemsPerRequest {
		to := min(from+itemsPerRequest, len(l.subs))
		for i := from; i < to; i++ {
			l.subs[i].stage = asked
			l.unsettled++
		}
		l.ask(from, to)
	}
}

// churn lets subscriptions and connections leave and join.
func (w *Swarm) churn(a *activity, passed time.Duration) {
	a.credit += w.plan.ChurnSubs * passed.Seconds()
	for ; a.credit >= 1; a.credit-- {
		if l := w.pick(a); l != nil && l.phase == ready && l.joined {
			l.toggle(rand.IntN(len(l.subs)))
		}
	}
	a.credit2 += w.plan.ChurnConns * passed.Seconds()
	for ; a.credit2 >= 1; a.credit2-- {
		if l := w.pick(a); l != nil && l.phase == ready && l.joined {
			l.leave()
			l.again = false
			w.later(l, w.now)
		}
	}
}

// pick returns the links in turn, in strides, so that neighbours are not alike.
func (w *Swarm) pick(a *activity) *link {
	if len(w.links) == 0 {
		return nil
	}
	a.next = (a.next + 7919) % len(w.links)
	return w.links[a.next]
}

// toggle ends a subscription or begins it anew.
func (l *link) toggle(i int) {
	switch s := &l.subs[i]; s.stage {
	case off:
		s.stage = asked
		l.unsettled++
		l.ask(i, i+1)
	case live, void:
		s.stage = leaving
		l.swarm.figures.Unsubs++
		l.request(unsubscribe(i, s.topic))
	}
}

// restore subscribes again to what a churn has left; what is being left now, when
// that has ended.
func (l *link) restore() {
	for i := range l.subs {
		switch s := &l.subs[i]; {
		case s.stage == off && l.phase == ready:
			l.toggle(i)
		case s.stage == off:
			s.stage = asked
		}
	}
}

// Bounds of what a link waits before it tries again, those of the Go client.
const (
	leastPatience = 250 * time.Millisecond
	mostPatience  = 15 * time.Second
)

// patience is when a link that lost its connection tries again, as the Go client
// does: after half to all of a time that doubles with each failure in a row, not
// before the server asked for it.
func (w *Swarm) patience(l *link) int64 {
	wait := min(leastPatience<<l.failures, mostPatience)
	l.failures = min(l.failures+1, 10)
	at := w.now + int64(wait/2) + rand.Int64N(int64(wait/2))
	if l.waitUntil > w.now {
		at = max(at, l.waitUntil)
		l.waitUntil = 0
	}
	return at
}

// later connects l at a time.
func (w *Swarm) later(l *link, at int64) { w.laterSub(l, -1, at) }

// laterSub subscribes again to one of the link's subscriptions at a time.
func (w *Swarm) laterSub(l *link, sub int, at int64) {
	heap.Push(&w.waiting, appointment{at: at, link: l, sub: sub, began: l.began})
	w.poller.WakeAt(time.Now().Add(tick))
}

// due does what the agenda says.
func (w *Swarm) due() {
	for burst := connectBurst; burst > 0 && len(w.waiting) > 0 && w.waiting[0].at <= w.now; burst-- {
		e := heap.Pop(&w.waiting).(appointment)
		l := e.link
		switch {
		case e.sub < 0 && l.phase == closed:
			l.connect()
		case e.sub >= 0 && l.phase == ready && l.began == e.began && l.subs[e.sub].stage == asked:
			l.ask(e.sub, e.sub+1)
		}
	}
}

// appointment is something to do at a time.
type appointment struct {
	at    int64 // ns
	link  *link
	sub   int   // -1: connect
	began int64 // of the connection that it concerns
}

// agenda is a heap, the earliest first.
type agenda []appointment

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at < a[j].at }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(e any)        { *a = append(*a, e.(appointment)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
