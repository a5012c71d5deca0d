package peer

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Accounts has an Account for each user and address. All methods are for any goroutine.
//
// It remembers two generations of them, as Rates does, and of each a hash.
type Accounts struct {
	// Static.
	seed maphash.Seed

	// mu guards of, and is a leaf.
	mu sync.Mutex
	of generations[uint64, *Account]
}

// NewAccounts returns accounts of which nothing has been spent.
func NewAccounts() *Accounts { return &Accounts{seed: maphash.MakeSeed()} }

// OfUser returns the account of a user.
func (a *Accounts) OfUser(name string) *Account { return a.account(maphash.String(a.seed, name)) }

// ofAddress returns the account of an address.
func (a *Accounts) ofAddress(key netip.Prefix) *Account {
	return a.account(maphash.Comparable(a.seed, key))
}

func (a *Accounts) account(hash uint64) *Account {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.of.get(hash, func() *Account { return new(Account) })
}

// Account is what somebody has spent, as the time until all of it has come back. A nil
// one is of somebody who may spend any amount. All methods are for any goroutine.
type Account struct {
	full atomic.Int64 // when that is, in ns on the callers' clock
}

// Spend takes what comes back after cost, or gives that back where it is below 0.
func (a *Account) Spend(now, cost time.Duration) {
	if a == nil || cost == 0 {
		return
	}
	for {
		full := a.full.Load()
		if a.full.CompareAndSwap(full, max(full, int64(now))+int64(cost)) {
			return
		}
	}
}

// Owed returns how long it is until all that was spent has come back.
func (a *Account) Owed(now time.Duration) time.Duration {
	if a == nil {
		return 0
	}
	return max(0, time.Duration(a.full.Load())-now)
}

// generations remembers a value for each of the keys that were asked for last: two
// generations of up to maxRated of them. When the newer one is full the older one is
// forgotten.
type generations[K comparable, V any] struct {
	newer, older map[K]V
}

// get returns the value of key, which is made where none is remembered.
func (g *generations[K, V]) get(key K, begin func() V) V {
	v, known := g.newer[key]
	if known {
		return v
	}
	if v, known = g.older[key]; !known {
		v = begin()
	}
	if g.newer == nil || len(g.newer) >= maxRated {
		g.older, g.newer = g.newer, make(map[K]V)
	}
	g.newer[key] = v
	return v
}
