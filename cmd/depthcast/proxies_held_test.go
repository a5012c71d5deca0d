package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// A page behind an NGINX that lets no WebSocket through, and gathers what an event stream
// says instead of handing it on, shows a live ladder by polls: it notices in bounded time
// that nothing comes.
func TestProxiesThatHoldEventsBackHavePagesPoll(t *testing.T) {
	p := proxies[0]
	if _, err := exec.LookPath(p.program); err != nil {
		if os.Getenv("DEPTHCAST_PROXIES") != "" {
			t.Error(err)
		}
		t.Skip(err)
	}
	l := newLab(t, 1)
	r := &exampleRun{t: t, lab: l, producer: l.producer()}
	steps := exampleSteps()
	r.produce(steps["beginning"])
	r.server = l.serve(func(_ *readFlags, s *serverFlags) { s.Keepalive = 5 * time.Second })
	r.server.caughtUpTo(l)
	noSockets := []string{"default upgrade;", "default close;", "Upgrade           $http_upgrade;", `Upgrade "";`}
	handsOn := p.before(t, r.server, "ws", noSockets...)
	gathers := p.before(t, r.server, "ws", append(noSockets, "proxy_buffering    off;", "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;")...)
	b := newBrowser(t)
	b.open(handsOn.http("/"))
	b.shows("2da08de4", "event stream")
	b.open(gathers.http("/"))
	b.shows("2da08de4", "polling")
	r.produce(steps["change"])
	b.shows("c082577f", "polling")
}
