package fanout

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// kind of an item.
type kind uint8

const (
	kindDelta kind = iota + 1
	kindTrades
	kindTicker
	kindInstruments
	kindStatus
	kindReset // what was shown is void: readers are sent the snapshot
)

// item is what the entries of a topic's ring hold. It never changes once it was
// published, save for frames.
type item struct {
	kind      kind
	reason    proto.SnapshotReason // of a reset
	exponents proto.Exponents      // of its frames
	hash      uint32               // of the view after it
	seq       int64                // of the book after it
	ordinal   uint64               // trades channel: of the last trade up to it
	since     uint64               // position of the last reset up to it; 0: none
	barrier   uint64               // position of the last status or reset up to it, which no merge crosses

	// The one of its kind; nil for a reset.
	delta   *proto.Delta
	trades  *proto.Trades
	summary *summary
	status  *proto.Status

	frames frames
}

type entry = ring.Entry[item]

// merges reports whether one frame can stand for several entries of this kind.
func (k kind) merges() bool { return k == kindDelta || k == kindTicker || k == kindInstruments }

// runs reports whether the frame of an entry may stand in a run behind others: not
// a reset, which has none, nor what ends a subscription.
func (i *item) runs() bool {
	return i.kind != kindReset && (i.kind != kindStatus || !i.status.Final)
}

// One allocation holds an entry and what it refers to.
type (
	deltaEntry struct {
		entry
		delta proto.Delta
	}
	ordersEntry struct {
		entry
		delta  proto.Delta
		orders proto.Orders
	}
	tradesEntry struct {
		entry
		trades proto.Trades
		room   [1]proto.Trade // most records have one
	}
	statusEntry struct {
		entry
		status proto.Status
	}
)

// Bytes that an entry counts for in its ring beside its own: its body, and its
// frames in both codecs as they may be made later. What is written in other forms too
// counts for more: see forms.
const (
	bodyBytes  = 560
	levelBytes = 24 + 10 + 36
	orderBytes = 40 + 20 + 60
	tradeBytes = 56 + 30 + 160
)

// forms are the forms in which a topic's entries are written for readers that it has
// had, beside the two that are always counted: a bit for each framing, and one above
// for what is compressed of each. Writer and shards share it.
type forms struct{ atomic.Uint32 }

// note adds the form in which a connection is sent frames of w. Protobuf hardly ever
// becomes smaller, and then there is no further frame.
func (f *forms) note(w framing, compressed bool) {
	var form uint32
	if w >= usualFramings {
		form = 1 << w
	}
	if compressed && w != framingProto {
		form |= 1 << (framings + w)
	}
	if f.Load()&form != form {
		f.Or(form)
	}
}

// weigh returns what an entry with n items of so many bytes counts for. A further
// form is JSON, which is half of what the two codecs and the items take; compressed it
// is a third of that, and takes a frame of its own.
func (f *forms) weigh(each, n uint32) uint32 {
	noted, items := f.Load(), each*n
	further := uint32(bits.OnesCount32(noted & (1<<framings - 1)))
	compressed := uint32(bits.OnesCount32(noted >> framings))
	return bodyBytes + items + further*(bodyBytes+items)/2 + compressed*(bodyBytes/3+items/6)
}

// keeps returns the bytes of a frame of w with its compressed form, which is shorter,
// where readers have come that are sent that.
func (f *forms) keeps(one *frame, w framing) int {
	if f.Load()&(1<<(framings+w)) != 0 {
		return 2 * len(one.bytes)
	}
	return len(one.bytes)
}

// snapshot is a topic's state at one ring position: who takes it follows the ring
// from position+1. It never changes, save for frames.
type snapshot struct {
	position uint64
	since    uint64 // position of the last reset up to it, before which nobody may resume; 0: none
	barrier  uint64 // position of the last status or reset up to it
	final    uint64 // position of the status that ended the instrument; 0: none
	ordinal  uint64 // trades channel: of the last trade up to it
	void     bool   // there is nothing to show: joiners wait
	state    proto.Snapshot

	frames [proto.SnapshotReset + 1]frames // by reason; of none: a status with its state
	making sync.Mutex                      // held while one of them, of the whole state, is made
}

// levels returns what it weighs against a net delta, as Delta.Levels does.
func (s *snapshot) levels() uint64 {
	return uint64(len(s.state.Bids) + len(s.state.Asks) + s.state.Orders.Len() + len(s.state.Listings))
}

// mark is what a keepalive may say to a cursor that has read all up to position.
// It never changes, save for frames.
type mark struct {
	position  uint64
	exponents proto.Exponents
	value     proto.Mark
	frames    frames
}
