package main

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/depthcast/depthcast/fanout"
)

// wave tells when many connections or subscriptions have arrived and the rush is
// over. What handshakes and requests leave behind (the buffers of net/http and crypto/tls, several times
// what a connection keeps) is then garbage that a quiet server would keep: it
// allocates too little to be collected, and freed pages stay with the process.
type wave struct {
	released  uint64 // arrivals by the last release
	last      uint64 // arrivals at the last look
	forbidden int    // looks until the next release is allowed
}

const (
	lookEvery = 2 * time.Second
	// waveMin is how many arrivals are worth a collection.
	waveMin = 500
	// ebb is how many may still arrive between two looks when the rush is over.
	ebb = 50
	// releaseLooks is how many looks lie between two releases at least.
	releaseLooks = 15
)

// subscribedPerArrival is how many subscriptions leave behind about what the
// handshake of one connection does.
const subscribedPerArrival = 8

// arrivals weighs what has come so far.
func arrivals(s fanout.Stats) uint64 { return s.Accepted + s.Subscribed/subscribedPerArrival }

// over looks at the count of arrivals so far.
func (w *wave) over(arrived uint64) bool {
	fresh := arrived - w.last
	w.last = arrived
	if w.forbidden > 0 {
		w.forbidden--
		return false
	}
	if arrived-w.released < waveMin || fresh > ebb {
		return false
	}
	w.released, w.forbidden = arrived, releaseLooks-1
	return true
}

// releaseMemory returns memory to the system after each wave, until ctx ends.
func releaseMemory(ctx context.Context, arrived func() uint64) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	w := wave{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			if w.over(arrived()) {
				debug.FreeOSMemory()
			}
		}
	}
}
