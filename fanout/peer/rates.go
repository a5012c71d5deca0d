package peer

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// maxRated bounds the addresses of one generation of Rates.
const maxRated = 32 << 10

// Rates bounds how often each address may do something. All methods are for any
// goroutine.
//
// It remembers two generations of addresses. When the newer one is full the older
// one is forgotten, and with it what its addresses have used up: who comes from more
// than 65,536 addresses at once has more than a rate in any case.
type Rates struct {
	// Static.
	each   rate.Limit
	burst  int
	exempt Nets

	refused atomic.Uint64

	// mu guards the fields below, and is a leaf.
	mu           sync.Mutex
	newer, older map[netip.Prefix]*rate.Limiter
}

// NewRates allows each address perSecond on average, of which it may save up burst;
// those of exempt as often as they like. 0: all may.
func NewRates(perSecond, burst int, exempt Nets) *Rates {
	return &Rates{each: rate.Limit(perSecond), burst: burst, exempt: exempt, newer: make(map[netip.Prefix]*rate.Limiter)}
}

// Allow reports whether a may once more now.
func (r *Rates) Allow(a netip.Addr) bool {
	if r.each == 0 || r.exempt.Has(a) || r.limiter(keyOf(a)).Allow() {
		return true
	}
	r.refused.Add(1)
	return false
}

func (r *Rates) limiter(key netip.Prefix) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.newer[key]
	if l != nil {
		return l
	}
	if l = r.older[key]; l == nil {
		l = rate.NewLimiter(r.each, r.burst)
	}
	if len(r.newer) >= maxRated {
		r.older, r.newer = r.newer, make(map[netip.Prefix]*rate.Limiter)
	}
	r.newer[key] = l
	return l
}

// Refused returns how often Allow refused.
func (r *Rates) Refused() uint64 { return r.refused.Load() }
