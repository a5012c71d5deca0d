package main

import (
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// gate is a listener that accepts nobody while as many connections as it has
// places are still in HTTP: the rest wait in the kernel's queue, and descriptors
// do not run out. A connection gives its place back when it is closed or handed
// to the hub, which has a limit of its own.
type gate struct {
	net.Listener
	places chan struct{}
	shut   chan struct{}
	once   sync.Once
	waits  atomic.Uint64 // how often all places were taken
	log    *rate.Limiter
}

func newGate(l net.Listener, places int) *gate {
	return &gate{Listener: l, places: make(chan struct{}, places), shut: make(chan struct{}),
		log: rate.NewLimiter(rate.Every(10*time.Second), 1)}
}

// Accept waits for a place, then for a connection.
func (g *gate) Accept() (net.Conn, error) {
	select {
	case g.places <- struct{}{}:
	default:
		g.waits.Add(1)
		if g.log.Allow() {
			slog.Warn("accepting waits: too many connections are in their handshake or in plain HTTP", "places", cap(g.places))
		}
		select {
		case g.places <- struct{}{}:
		case <-g.shut:
			return nil, net.ErrClosed
		}
	}
	c, err := g.Listener.Accept()
	if err != nil {
		<-g.places
	}
	return c, err
}

// state is for http.Server.ConnState.
func (g *gate) state(_ net.Conn, s http.ConnState) {
	if s == http.StateHijacked || s == http.StateClosed {
		<-g.places
	}
}

func (g *gate) Close() error {
	g.once.Do(func() { close(g.shut) })
	return g.Listener.Close()
}
