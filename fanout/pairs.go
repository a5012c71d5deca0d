package fanout

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// pairs knows the symbols by the names that dialects have for them. A name that two
// symbols would have is left out, and both with it: nobody is to be shown another
// market than the one that was meant.
type pairs struct {
	// Static.
	hub   *Hub
	venue string // of the symbols that have names; empty: all

	table atomic.Pointer[pairTable]

	// mu guards what follows, and lets one table be made at a time. The partitions'
	// locks are taken under it.
	mu   sync.Mutex
	told map[string]bool // names that were logged as left out, at most maxToldNames
}

// maxToldNames bounds the names that are logged as left out.
const maxToldNames = 1000

// pairTable is what was listed at one moment. It never changes.
type pairTable struct {
	made    time.Time
	early   bool                   // not all symbols were known
	byID    map[string]*listedPair // by Base+Quote
	list    []*listedPair          // by symbol
	shared  map[string]bool        // IDs that several symbols would have
	leftOut int                    // these symbols
}

// listedPair is a symbol that dialects have a name for.
type listedPair struct {
	proto.Pair
	proto.SymbolInfo
}

// Ages at which the table is made anew: where a name is in it, which another symbol
// may have come to share, where it is not, and where all of it is asked for.
const (
	pairsHitAge  = 30 * time.Second
	pairsMissAge = 5 * time.Second
	pairsListAge = time.Second
)

// find returns the symbol with an ID (Base+Quote), if the bearer of may may know of it.
// Whether any other exists is told (proto.ErrUnknownSymbol) to who may know of all that
// have names; everybody else is refused both alike (errForbidden). While the node cannot
// know all symbols, it knows none (proto.ErrNotReady): another might have the same name.
func (p *pairs) find(may *Grant, id string) (*listedPair, error) {
	t, age := p.table.Load(), pairsMissAge
	switch {
	case t == nil:
	case t.early:
		age = pairsListAge
	case t.byID[id] != nil:
		age = pairsHitAge
	}
	t = p.fresh(age)
	if t.early {
		return nil, proto.ErrNotReady
	}
	delay := p.hub.config.Delay
	if found := t.known(may, id, delay); found != nil {
		return found, nil
	}
	if may.knows(p.pattern(), delay) {
		return nil, proto.ErrUnknownSymbol
	}
	return nil, errForbidden
}

// known returns the symbol with an ID, if the bearer of may may know of it; else nil.
func (t *pairTable) known(may *Grant, id string, delay time.Duration) *listedPair {
	if found := t.byID[id]; found != nil && may.knows(found.Symbol, delay) {
		return found
	}
	return nil
}

// named is find by the name that Kraken's clients have for a symbol.
func (p *pairs) named(may *Grant, name string) (*listedPair, error) {
	base, quote, _ := strings.Cut(name, "/")
	found, err := p.find(may, base+quote)
	if err == nil && found.Pair != (proto.Pair{Base: base, Quote: quote}) {
		return nil, proto.ErrUnknownSymbol
	}
	return found, err
}

// pattern is that of all symbols that may have names.
func (p *pairs) pattern() string {
	if p.venue == "" {
		return "*"
	}
	return p.venue + ":*"
}

// owns reports whether a listing has its pair for itself, as far as is known
// without asking the books.
func (t *pairTable) owns(pair proto.Pair, symbol string) bool {
	id := pair.Base + pair.Quote
	if had := t.byID[id]; had != nil {
		return had.Symbol == symbol
	}
	return !t.shared[id]
}

// fresh returns a table that is no older than age.
func (p *pairs) fresh(age time.Duration) *pairTable {
	now := p.hub.config.Now()
	if t := p.table.Load(); t != nil && now.Sub(t.made) < age {
		return t
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.table.Load(); t != nil && now.Sub(t.made) < age {
		return t
	}
	t := p.make(now)
	p.table.Store(t)
	return t
}

func (p *pairs) make(now time.Time) *pairTable {
	infos, whole := p.hub.symbols()
	t := &pairTable{made: now, early: !whole, byID: make(map[string]*listedPair), shared: make(map[string]bool)}
	taken := map[string][]string{}
	for _, info := range infos {
		if p.venue != "" && proto.VenueOf(info.Symbol) != p.venue {
			continue
		}
		pair, ok := proto.PairOf(info.Symbol, info.Instrument)
		if !ok {
			continue
		}
		id := pair.Base + pair.Quote
		taken[id] = append(taken[id], info.Symbol)
		t.byID[id] = &listedPair{Pair: pair, SymbolInfo: info}
	}
	for id, symbols := range taken {
		if len(symbols) > 1 {
			delete(t.byID, id)
			t.shared[id] = true
			t.leftOut += len(symbols)
			p.tell(id, symbols)
			continue
		}
		t.list = append(t.list, t.byID[id])
	}
	slices.SortFunc(t.list, func(a, b *listedPair) int { return strings.Compare(a.Symbol, b.Symbol) })
	return t
}

// tell logs, once, that symbols have no name since it would be the same. Under mu.
func (p *pairs) tell(id string, symbols []string) {
	if p.told[id] || len(p.told) >= maxToldNames {
		return
	}
	p.told[id] = true
	p.hub.config.Log.Warn("symbols are left out of the exchange dialects: they would have the same name (--dialect-venue chooses one venue)",
		"name", id, "symbols", strings.Join(symbols[:min(len(symbols), 5)], " "))
}
