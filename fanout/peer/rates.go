package peer

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

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

	// mu guards of, and is a leaf.
	mu sync.Mutex
	of generations[netip.Prefix, *rate.Limiter]
}

// NewRates allows each address perSecond on average, of which it may save up burst;
// those of exempt as often as they like. 0: all may.
func NewRates(perSecond, burst int, exempt Nets) *Rates {
	return &Rates{each: rate.Limit(perSecond), burst: burst, exempt: exempt}
}

// Allow reports whether a may once more now.
func (r *Rates) Allow(a netip.Addr) bool {
	if r.each == 0 || r.exempt.Has(a) || r.limiter(keyOf(a)).Allow() {
		return true
	}
	r.refused.Add(1)
	return false
}

// Charge has the address of n pay as for so many times, however few it has left: up to
// mostDebts bursts of them. nil pays nothing.
func (r *Rates) Charge(n *Count, times int) {
	if n == nil || r.each == 0 {
		return
	}
	l := r.limiter(n.key)
	if l.Tokens() > -mostDebts*float64(r.burst) {
		l.ReserveN(time.Now(), min(times, r.burst))
	}
}

// mostDebts bounds for how long an address may have to wait.
const mostDebts = 4

func (r *Rates) limiter(key netip.Prefix) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of.get(key, func() *rate.Limiter { return rate.NewLimiter(r.each, r.burst) })
}

// Refused returns how often Allow refused.
func (r *Rates) Refused() uint64 { return r.refused.Load() }
