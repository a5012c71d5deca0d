package ring

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"
)

// ErrConfig marks a configuration that contradicts itself.
var ErrConfig = errors.New("ring: bad configuration")

// Config sets the limits of one ring.
type Config struct {
	// MinEntries is the number of slots a ring starts with and shrinks back to,
	// a power of two. A quiet topic pays 8 bytes for each. Default 16.
	MinEntries int

	// MaxEntries is the number of slots a ring may grow to, a power of two not
	// below MinEntries. It bounds the slot array at 8·MaxEntries bytes, which
	// are not part of MaxBytes. Default 4096, or MinEntries if that is more.
	MaxEntries int

	// MaxBytes bounds the bytes of the entries held: what the caller states for
	// each and the entry's own size. Default 16 MiB.
	MaxBytes int64

	// KeepEntries is how many of the newest entries no byte limit takes, at most
	// MinEntries. They may exceed MaxBytes and the Budget: with the default of
	// 1 by the size of one entry for each ring. Default 1.
	KeepEntries int

	// Window is how far back a reader should be able to resume. When the slots
	// are full and the oldest entry is younger than this, the ring doubles
	// instead of giving that entry up, until MaxEntries. 0 means 5 s.
	Window time.Duration

	// Budget is the byte limit shared with other rings; nil for none.
	Budget *Budget

	// BeforeGiveUp, if set, runs on the writer's goroutine just before every
	// entry below position oldest is given up. What readers who start afresh
	// depend on (a cached snapshot) must be brought to oldest-1 or later before
	// it returns. During Publish the new entry is not yet visible and oldest is
	// at most its position. It must not call the ring's writing methods.
	BeforeGiveUp func(oldest uint64)
}

func (c *Config) validate() error {
	if c.MinEntries == 0 {
		c.MinEntries = 16
	}
	if c.MaxEntries == 0 {
		c.MaxEntries = max(4096, c.MinEntries)
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 16 << 20
	}
	if c.KeepEntries == 0 {
		c.KeepEntries = 1
	}
	if c.Window == 0 {
		c.Window = 5 * time.Second
	}
	switch {
	case !powerOfTwo(c.MinEntries), !powerOfTwo(c.MaxEntries):
		return fmt.Errorf("%w: MinEntries %d and MaxEntries %d must be powers of two", ErrConfig, c.MinEntries, c.MaxEntries)
	case c.MaxEntries < c.MinEntries:
		return fmt.Errorf("%w: MaxEntries %d is below MinEntries %d", ErrConfig, c.MaxEntries, c.MinEntries)
	case c.MaxBytes < 0:
		return fmt.Errorf("%w: MaxBytes %d is negative", ErrConfig, c.MaxBytes)
	case c.KeepEntries < 0 || c.KeepEntries > c.MinEntries:
		return fmt.Errorf("%w: KeepEntries %d is not in 1…MinEntries (%d)", ErrConfig, c.KeepEntries, c.MinEntries)
	case c.Window < 0:
		return fmt.Errorf("%w: Window %v is negative", ErrConfig, c.Window)
	}
	return nil
}

func powerOfTwo(n int) bool { return n > 0 && bits.OnesCount(uint(n)) == 1 }

// Budget is a byte limit shared by many rings. A ring that publishes while it is
// exceeded gives up its own oldest entries; it never takes from another, whose
// writer may be at work. A ring that went quiet while it was large therefore
// keeps its bytes until its owner calls Expire.
type Budget struct {
	limit int64
	used  atomic.Int64
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// Used returns the bytes held by all rings of the budget. Any goroutine may ask.
func (b *Budget) Used() int64 { return b.used.Load() }

// Limit returns the bytes that may be held.
func (b *Budget) Limit() int64 { return b.limit }

// add takes n bytes, or returns them if n is negative, and reports by how many
// bytes the budget is now exceeded (zero or less: it is not). A nil budget has
// no limit.
func (b *Budget) add(n int64) (over int64) {
	if b == nil {
		return 0
	}
	return b.used.Add(n) - b.limit
}
