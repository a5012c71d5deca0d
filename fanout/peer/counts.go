package peer

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// Counts counts what each address has, and bounds it. All methods are for any
// goroutine.
type Counts struct {
	// Static.
	most     int // 0: any number
	exempt   Nets
	accounts *Accounts // nil: none are kept

	refused atomic.Uint64

	// mu guards the fields below. It comes before that of accounts alone.
	mu sync.Mutex
	of map[netip.Prefix]*Count
}

// Count is what one address has. It is its Counts'; others only keep it. nil is that
// of who is not counted.
type Count struct {
	key     netip.Prefix
	n       int
	account *Account // nil: none is kept
}

// Account returns what the connections of the address share; nil: nothing.
func (n *Count) Account() *Account { return n.account }

// NewCounts returns Counts of at most most each, save for those of exempt, who are
// not counted. 0: nobody is.
func NewCounts(most int, exempt Nets) *Counts {
	return &Counts{most: most, exempt: exempt, of: make(map[netip.Prefix]*Count)}
}

// Keep has each Count know the account of its address, also where nobody is bound.
// Before the first Enter.
func (c *Counts) Keep(a *Accounts) { c.accounts = a }

// Enter counts one more of a, and reports whether it may have it. Each success is
// followed by one Leave.
func (c *Counts) Enter(a netip.Addr) (*Count, bool) {
	if c.most == 0 && c.accounts == nil || c.exempt.Has(a) {
		return nil, true
	}
	key := keyOf(a)
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.of[key]
	if n == nil {
		n = &Count{key: key}
		if c.accounts != nil {
			n.account = c.accounts.ofAddress(key)
		}
		c.of[key] = n
	}
	if c.most > 0 && n.n >= c.most {
		c.refused.Add(1)
		return nil, false
	}
	n.n++
	return n, true
}

// Leave takes back one Enter.
func (c *Counts) Leave(n *Count) {
	if n == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.n--; n.n == 0 {
		delete(c.of, n.key)
	}
}

// Addresses returns how many addresses have any.
func (c *Counts) Addresses() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.of)
}

// Refused returns how often Enter refused.
func (c *Counts) Refused() uint64 { return c.refused.Load() }
