package swarm

import "time"

// freeze stops reading when something comes; a slow reader then reads by the clock.
func (l *link) freeze() { _ = l.swarm.poller.Mod(l.fd, 0) } // it fails only when the poller is closed

// slowRead is the most that a slow reader reads at once.
const slowRead = 4 << 10

// trickle lets a slow reader read what its rate allows.
func (l *link) trickle(passed time.Duration) {
	if l.phase != ready || !l.joined {
		return
	}
	rate := float64(l.swarm.plan.SlowBytes)
	l.credit = min(l.credit+rate*passed.Seconds(), max(slowRead, rate))
	for l.phase == ready && l.credit >= 1 {
		before := l.swarm.figures.Bytes
		l.read(l.swarm.buf[:min(int(l.credit), slowRead)])
		n := l.swarm.figures.Bytes - before
		if n == 0 {
			return
		}
		l.credit -= float64(n)
	}
}
