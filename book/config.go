package book

import (
	"errors"
	"fmt"
	"math"

	"github.com/depthcast/depthcast/proto"
)

// Config bounds an engine. Zero fields take their defaults. At each limit the
// record that would pass it is refused.
type Config struct {
	// MaxSymbols is how many symbols may be listed; a record of a further one is
	// refused (too_many_symbols) and no book is concerned. Default 100,000.
	MaxSymbols int

	// MaxFeeds is how many feeds may be told apart; a record of a further one is
	// refused (too_many_feeds). Default 1,024.
	MaxFeeds int

	// MaxLevels is how many levels a side of a book may have (32 bytes each);
	// beyond, its book is recovering, overflow. Default 50,000.
	MaxLevels int

	// MaxOrders is how many orders a book may have (48 bytes each, and 16 to 48 in
	// the index); beyond, its book is recovering, overflow. Default 1,048,576.
	MaxOrders int

	// MaxGroups is how many price increments of a symbol views may have at once; a
	// view with a further one is not opened. Each holds at most as many levels as
	// the book. Default 32.
	MaxGroups int

	// KeptTrades is how many of a symbol's last trades a snapshot of its trades
	// holds. Default 100.
	KeptTrades int

	// KeptEnded is how many symbols whose instrument has ended are remembered, so
	// that their records are refused and, listed again, they go on where they
	// were. Beyond, the one that ended longest ago is forgotten: a later record
	// begins a new symbol, which does not begin whole; beyond 65,536 of those,
	// no symbol does. Default 1,024.
	KeptEnded int

	// HeldRecords and HeldBytes bound what one symbol holds back of an event in
	// several records (`more`), HeldBytesAll what all symbols of the engine hold
	// back together, in bytes of memory. Beyond, the symbol's book is recovering,
	// overflow. Defaults 4,096 records, 32 MiB, 256 MiB.
	HeldRecords  int
	HeldBytes    int
	HeldBytesAll int
}

// ErrConfig is the class of all errors of New.
var ErrConfig = errors.New("book: bad configuration")

// validate fills in the defaults and refuses what cannot work.
func (c *Config) validate() error {
	for _, f := range []struct {
		name     string
		value    *int
		standard int
		most     int
	}{
		{"MaxSymbols", &c.MaxSymbols, 100_000, math.MaxInt32},
		{"MaxFeeds", &c.MaxFeeds, 1024, math.MaxInt32},
		{"MaxLevels", &c.MaxLevels, 50_000, math.MaxInt32},
		{"MaxOrders", &c.MaxOrders, 1 << 20, math.MaxInt32 / 2},
		{"MaxGroups", &c.MaxGroups, 32, math.MaxInt32},
		{"KeptTrades", &c.KeptTrades, proto.MaxPastTrades, math.MaxUint16},
		{"KeptEnded", &c.KeptEnded, 1024, math.MaxInt32},
		{"HeldRecords", &c.HeldRecords, 4096, math.MaxInt32},
		{"HeldBytes", &c.HeldBytes, 32 << 20, math.MaxInt},
		{"HeldBytesAll", &c.HeldBytesAll, 256 << 20, math.MaxInt},
	} {
		if *f.value == 0 {
			*f.value = f.standard
		}
		if *f.value < 1 || *f.value > f.most {
			return fmt.Errorf("%w: %s is %d, want 1 to %d", ErrConfig, f.name, *f.value, f.most)
		}
	}
	return nil
}
