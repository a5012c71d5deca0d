package client

import (
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// tape follows the trades of one symbol: it lets none pass twice and counts those
// that are missing, whether the server announces them or not.
type tape struct {
	begun   bool   // seq, epoch and ordinal are known, if only as none yet
	epoch   uint64 // history that seq belongs to
	seq     int64
	ordinal uint64 // of the last trade seen or counted as missed; 0: none yet
}

// begin starts anew, unless epoch is the one that t knows.
func (t *tape) begin(epoch uint64) {
	if !t.begun || epoch != t.epoch {
		*t = tape{begun: true, epoch: epoch, seq: -1}
	}
}

// replace takes a snapshot of epoch at seq, which says that what follows is counted
// from there, even if t had come further.
func (t *tape) replace(epoch uint64, seq int64) {
	t.begin(epoch)
	t.seq = min(t.seq, seq-1)
}

// advance moves t to seq, as a keepalive does.
func (t *tape) advance(seq int64) { t.seq = max(t.seq, seq) }

// take moves t on over f and leaves in f what is new: the trades that were not
// seen, and the number and range of those missed before them. It reports whether
// anything is. A gap in seq needs no resync, since ordinals tell what it hid.
//
// Seq decides what is new where it can; ordinals decide within a frame that begins
// before t.seq. A server that had to count from a later point of the log gives
// smaller ordinals than before: those are new trades too.
func (t *tape) take(f *proto.Trades) bool {
	if f.Seq <= t.seq && !f.History {
		return false
	}
	last := t.ordinal
	if n := len(f.Trades); f.History && n > 0 && f.Seq >= t.seq && f.Trades[n-1].Ordinal < last {
		last = 0 // counted from a later point
	}
	if f.History || f.PrevSeq < t.seq {
		f.Trades = slices.DeleteFunc(f.Trades, func(x proto.Trade) bool { return x.Ordinal <= last })
	}
	t.advance(f.Seq)
	t.ordinal = countMissed(f, last)
	for i := range f.Trades {
		x := &f.Trades[i]
		amends := x.Flags&(proto.TradeCorrection|proto.TradeCancellation) != 0
		if x.Ordinal > t.ordinal || !amends {
			t.ordinal = x.Ordinal
		}
	}
	return len(f.Trades) > 0 || f.Missed > 0
}

// countMissed sets f.Missed and its range to the trades between last and the first
// greater one of f, and returns the last that is accounted for by then. Where none
// was seen before, only what the server announced counts.
func countMissed(f *proto.Trades, last uint64) uint64 {
	first, upTo := last+1, f.MissedLast
	if last == 0 {
		first = f.MissedFirst
	} else if len(f.Trades) > 0 && f.Trades[0].Ordinal > last {
		upTo = f.Trades[0].Ordinal - 1
	}
	f.Missed, f.MissedFirst, f.MissedLast = 0, 0, 0
	if first == 0 || upTo < first {
		return last
	}
	f.Missed, f.MissedFirst, f.MissedLast = upTo-first+1, first, upTo
	return upTo
}
