package ingest

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/depthcast/depthcast/proto"
)

// moved are symbols that live in a partition while a record of them came to
// another, where Kafka's partitioner puts them by now: a partition was added since
// they were claimed, and producers follow one by one. The owner has not got that
// record, so its book cannot be known to be whole. The zero value holds none. Any
// goroutine may add, whatever partition's lock it holds.
type moved struct {
	some    atomic.Bool // whether symbols is worth a look
	mu      sync.Mutex
	symbols map[string]struct{} // guarded by mu; each lives in the partition, which bounds them
}

func (m *moved) add(symbol string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.symbols == nil {
		m.symbols = map[string]struct{}{}
	}
	m.symbols[symbol] = struct{}{}
	m.some.Store(true)
}

// take returns the symbols added since the last call.
func (m *moved) take() map[string]struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.symbols
	m.symbols = nil
	m.some.Store(false)
	return taken
}

// judgeMoved is called under the lock, before anything else. No restored state
// knows of another partition's record.
func (p *Partition) judgeMoved() {
	if !p.moved.some.Load() {
		return
	}
	for symbol := range p.moved.take() {
		p.unchain(symbol)
		p.marks.touch(p.symbols[symbol], []byte(symbol))
		p.books.Refuse(symbol, math.MaxInt64, proto.ReasonOffsetGap)
		p.warn("records of a symbol that lives here go to another partition now: its book is recovering; start anew once all producers know of the partitions added", "symbol", symbol)
	}
}
