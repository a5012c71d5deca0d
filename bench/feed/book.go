package feed

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/depthcast/depthcast/proto"
)

// book is one symbol's, as the feed changes it.
type book struct {
	bids, asks []proto.Level
	sourceSeq  uint64
	next       int // level that changed last: bids even, asks odd
}

// middle is the price between the sides.
const middle = 1_000_000

// near is how many levels of a side change, where no more are asked for: within the
// depths that most readers see.
const near = 10

// change produces k records. Each changes the best bid, so that every depth sees
// it, and other levels in turn; no state comes twice for a long time, so that a
// frame left out shows.
func (f *Feed) change(symbol, k int, intended int64) {
	b := &f.books[symbol]
	most := min(f.config.Depth, max(near, (f.config.Levels+1)/2))
	for range k {
		e := proto.Event{Kind: proto.EventSetLevels}
		for i := range f.config.Levels {
			at := 0
			if i > 0 {
				b.next = b.next%(2*most-1) + 1 // 1 to 2*most-1: never the best bid
				at = b.next
			}
			side, to := b.bids, &e.Bids
			if at%2 == 1 {
				side, to = b.asks, &e.Asks
			}
			l := &side[at/2]
			l.Qty = 1<<20 + int64(b.sourceSeq%(1<<18)) // its varint keeps its size
			*to = append(*to, *l)
		}
		f.send(symbol, intended, e)
	}
	f.offered[symbol].Add(uint64(k))
}

// send hands one record to the client.
func (f *Feed) send(symbol int, intended int64, e proto.Event) {
	b := &f.books[symbol]
	b.sourceSeq++
	name := f.config.Symbols[symbol]
	f.produce(&kgo.Record{Key: []byte(name)}, &proto.Batch{
		Symbol: name, Feed: feedName, Session: f.session, VenueTime: intended, FirstSourceSeq: b.sourceSeq, LastSourceSeq: b.sourceSeq,
		Exponents: proto.Exponents{Price: -2, Qty: -4}, HasExponents: true, Events: []proto.Event{e},
	})
}
