package ingest

import (
	"maps"
	"slices"
	"sync"
)

// Directory says in which partition each symbol lives: exactly one. Records of
// it elsewhere are refused there. Safe for use by several goroutines.
//
// Partitions are read at the same time, so who comes first is chance, and chance
// must not decide: the same logs give the same owners on every node. Of several
// partitions with records of a symbol it lives, in this order of importance,
//
//  1. in one that Kafka's own partitioner would choose for its key,
//  2. in the Kafka topic that is configured first,
//  3. where its first record has the earlier timestamp,
//  4. in the partition with the lower number.
//
// Where partitions are added to a Kafka topic, records of a symbol may begin to
// come to the first of these while it lives elsewhere: see contested.
//
// A claim is final when nothing can outrank it: at once when the first two speak
// for it fully, otherwise when all partitions have caught up. Later, first come,
// first served. Only symbols with final claims can be found.
//
// Partitions ask while they hold their own lock; the directory takes no other.
type Directory struct {
	mu       sync.RWMutex
	claims   map[string]claim
	catching int                 // partitions that have not caught up
	topicIDs map[string][16]byte // by Kafka topic: the log that claims must come from
}

// claim is a partition's claim to a symbol.
type claim struct {
	owner *Partition
	hash  bool  // Kafka's partitioner chooses owner
	first int64 // Kafka time of the owner's first record of it
	final bool
}

func newDirectory() *Directory {
	return &Directory{claims: map[string]claim{}, topicIDs: map[string][16]byte{}}
}

// Find returns the partition that symbol lives in. While partitions catch up, a
// symbol that is not found may still come.
func (d *Directory) Find(symbol string) (*Partition, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	c := d.claims[symbol]
	return c.owner, c.final
}

// Symbols lists those that can be found, in order.
func (d *Directory) Symbols() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := slices.Collect(maps.Keys(d.claims))
	list = slices.DeleteFunc(list, func(s string) bool { return !d.claims[s].final })
	slices.Sort(list)
	return list
}

// outranks reports whether c wins against o, a claim of another partition.
func (c claim) outranks(o claim) bool {
	switch {
	case c.hash != o.hash:
		return c.hash
	case c.owner.order != o.owner.order:
		return c.owner.order < o.owner.order
	case c.first != o.first:
		return c.first < o.first
	}
	return c.owner.id.Partition < o.owner.id.Partition
}

// mayClaim reports whether claim would succeed.
func (d *Directory) mayClaim(symbol string, p *Partition, hash bool, first int64) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.mayClaimLocked(symbol, claim{owner: p, hash: hash, first: first})
}

func (d *Directory) mayClaimLocked(symbol string, c claim) bool {
	if d.topicIDs[c.owner.id.KafkaTopic] != c.owner.topicID {
		return false // a partition that does not yet know that its Kafka topic was recreated
	}
	was, taken := d.claims[symbol]
	return !taken || was.owner == c.owner || !was.final && c.outranks(was)
}

// contested tells the owner of symbol that a record of it was refused by p, if
// Kafka's partitioner puts it into p (hash) and not where it lives. Another Kafka
// topic's copy of a symbol contests nothing. True if it was told.
func (d *Directory) contested(symbol string, p *Partition, hash bool) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	c, taken := d.claims[symbol]
	if taken && hash && !c.hash && c.final && c.owner != p && c.owner.id.KafkaTopic == p.id.KafkaTopic {
		c.owner.moved.add(symbol)
		return true
	}
	return false
}

// claim makes p the owner of symbol unless another is with better right.
func (d *Directory) claim(symbol string, p *Partition, hash bool, first int64) (owned, final bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := claim{owner: p, hash: hash, first: first}
	if !d.mayClaimLocked(symbol, c) {
		return false, false
	}
	was := d.claims[symbol]
	c.final = was.final || d.catching == 0 || hash && p.order == 0
	d.claims[symbol] = c
	return true, c.final
}

// begin says that p reads from the log topicID. The claims from an earlier log
// of the same Kafka topic are void.
func (d *Directory) begin(p *Partition, topicID [16]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.topicID = topicID
	name := p.id.KafkaTopic
	if was, known := d.topicIDs[name]; known && was != topicID {
		maps.DeleteFunc(d.claims, func(_ string, c claim) bool { return c.owner.id.KafkaTopic == name })
	}
	d.topicIDs[name] = topicID
}

// catchingUp says that one partition more, or one fewer, is catching up.
func (d *Directory) catchingUp(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if on {
		d.catching++
		return
	}
	if d.catching--; d.catching > 0 {
		return
	}
	for symbol, c := range d.claims {
		c.final = true
		d.claims[symbol] = c
	}
}

func (d *Directory) caughtUp() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.catching == 0
}
