package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/depthcast/depthcast/fanout"
)

// wave tells when many connections or subscriptions arrive, and when the rush is
// over. What handshakes and requests leave behind (the buffers of net/http and
// crypto/tls, several times what a connection keeps) is then garbage that a quiet
// server would keep: it allocates too little to be collected, and freed pages stay
// with the process. Left to itself for as long as the heap may double, garbage also
// lies between what stays, and no collection moves that together.
type wave struct {
	collected uint64 // arrivals by the last collection
	released  uint64 // arrivals by the last release
	looks     int    // since the last judgement of ebb
	begun     uint64 // arrivals then
	forbidden int    // judgements until the next release is allowed
}

const (
	lookEvery = 250 * time.Millisecond
	// ebbLooks is how many looks judge whether the rush is over.
	ebbLooks = 8
	// waveMin is how many arrivals are worth a collection.
	waveMin = 500
	// waveShare is the part of all arrivals that is worth one while the rush goes on:
	// the more there are, the more a collection has to look at.
	waveShare = 8
	// ebb is how many may still arrive within ebbLooks when the rush is over.
	ebb = 50
	// releaseLooks is how many judgements lie between two releases at least.
	releaseLooks = 15
)

// subscribedPerArrival is how many subscriptions leave behind about what the
// handshake of one connection does.
const subscribedPerArrival = 8

// arrivals weighs what has come so far.
func arrivals(h *fanout.Hub) uint64 {
	conns, subscriptions := h.Arrivals()
	return conns + subscriptions/subscribedPerArrival
}

// relief is what a look finds to be due.
type relief uint8

const (
	none    relief = iota
	collect        // garbage
	release        // likewise, and return memory to the system
)

// look looks at the count of arrivals so far.
func (w *wave) look(arrived uint64) relief {
	if w.looks++; w.looks == ebbLooks {
		fresh := arrived - w.begun
		w.looks, w.begun = 0, arrived
		if w.forbidden > 0 {
			w.forbidden--
		} else if arrived-w.released >= waveMin && fresh <= ebb {
			w.released, w.collected, w.forbidden = arrived, arrived, releaseLooks-1
			return release
		}
	}
	if arrived-w.collected >= max(waveMin, arrived/waveShare) {
		w.collected = arrived
		return collect
	}
	return none
}

// releaseMemory collects garbage during each wave, and returns memory to the system
// after it, until ctx ends.
func releaseMemory(ctx context.Context, arrived func() uint64) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	w := wave{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			switch w.look(arrived()) {
			case collect:
				runtime.GC()
			case release:
				debug.FreeOSMemory()
			}
		}
	}
}
