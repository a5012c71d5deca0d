package client

import (
	"slices"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// tape follows the trades of one symbol: it lets none pass twice and counts those
// that are missing, whether the server announces them or not.
type tape struct {
	begun   bool   // seq, epoch and ordinal are known, if only as none yet
	epoch   uint64 // history that seq belongs to
	seq     int64
	ordinal uint64 // of the last trade seen or counted as missed; 0: none yet
}

// grant begins anew, unless the history is the one that t knows.
func (t *tape) grant(a *pb.Ack) {
	if !t.begun || a.Epoch != t.epoch {
		*t = tape{begun: true, epoch: a.Epoch, seq: -1}
	}
}

// advance moves t to seq, as a keepalive does.
func (t *tape) advance(seq int64) { t.seq = max(t.seq, seq) }

// take moves t on over f and leaves in f what is new: trades beyond the last one
// seen, and the number and range of all those missed before them. It reports
// whether anything is. A gap in seq needs no resync, since ordinals tell what it
// hid.
func (t *tape) take(f *proto.Trades) bool {
	if f.Seq <= t.seq && !f.History {
		return false
	}
	t.advance(f.Seq)
	last := t.ordinal
	fresh := f.Trades[:0]
	for _, trade := range f.Trades {
		// A correction or cancellation may carry the ordinal of the trade it
		// concerns; live ones are all new, by seq.
		amends := trade.Flags&(proto.TradeCorrection|proto.TradeCancellation) != 0
		if trade.Ordinal <= last && (f.History || !amends) {
			continue
		}
		fresh = append(fresh, trade)
		t.ordinal = max(t.ordinal, trade.Ordinal)
	}
	f.Trades = fresh
	t.countMissed(f, last)
	return len(f.Trades) > 0 || f.Missed > 0
}

// countMissed sets f.Missed and its range to the trades between last and the first
// new one of f. Where none was seen before, only what the server announced counts.
func (t *tape) countMissed(f *proto.Trades, last uint64) {
	first, upTo := last+1, f.MissedLast
	if last == 0 {
		first = f.MissedFirst
	} else if i := slices.IndexFunc(f.Trades, func(n proto.Trade) bool { return n.Ordinal > last }); i >= 0 {
		upTo = f.Trades[i].Ordinal - 1
	}
	t.ordinal = max(t.ordinal, upTo)
	f.Missed, f.MissedFirst, f.MissedLast = 0, 0, 0
	if first > 0 && upTo >= first {
		f.Missed, f.MissedFirst, f.MissedLast = upTo-first+1, first, upTo
	}
}
