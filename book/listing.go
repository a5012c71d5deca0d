package book

import (
	"slices"
	"strings"

	"github.com/depthcast/depthcast/proto"
)

// Lister is told how symbols are listed: definitions, phases, ends, in the order of
// the log. A listing never changes, and may be kept.
type Lister interface {
	Listed(l *proto.Listing, times proto.Times)
	// Restarted says that another log is read now, of which nothing is known yet:
	// what was told of the one before is void.
	Restarted()
	// Tick says that all is told up to now.
	Tick()
}

// List is what one Lister follows of an engine.
type List struct {
	engine *Engine
	prefix string // of its symbols
	to     Lister
}

// List tells to at once how the symbols are listed that match the pattern (see
// proto.IsPattern) and have not ended, in the order of their first records or of
// being restored, and from then on of every change. While the engine catches up it tells nothing, and
// afterwards what has changed.
func (e *Engine) List(pattern string, to Lister) *List {
	l := &List{engine: e, prefix: pattern[:len(pattern)-1], to: to}
	for _, b := range e.list {
		if !b.ended && strings.HasPrefix(b.symbol, l.prefix) {
			to.Listed(b.listing(), b.times)
		}
	}
	e.lists = append(e.lists, l)
	return l
}

// Close ends l; its Lister hears no more. Closing again does nothing.
func (l *List) Close() {
	e := l.engine
	e.lists = slices.DeleteFunc(e.lists, func(o *List) bool { return o == l })
}

// listing is how the book's symbol is listed.
func (b *book) listing() *proto.Listing {
	return &proto.Listing{
		Symbol: b.symbol, Instrument: b.instrument, Phase: b.phase,
		Ended: b.ended, EndReason: b.endReason, NewSymbol: b.newSymbol, Epoch: b.epoch, Seq: b.seq,
	}
}

// tellLists tells those that follow of the book's listing.
func (b *book) tellLists() {
	b.unlisted = false
	var listing *proto.Listing
	for _, l := range b.engine.lists {
		if !strings.HasPrefix(b.symbol, l.prefix) {
			continue
		}
		if listing == nil {
			listing = b.listing()
		}
		l.to.Listed(listing, b.times)
	}
}

// tellListing publishes how the book's symbol is listed, if that has changed.
func (v *View) tellListing() {
	b := v.book
	if !b.unlisted {
		return
	}
	in := &b.engine.newListing
	*in = proto.Instruments{PrevSeq: v.last, Seq: b.seq, Listings: append(in.Listings[:0], b.listing()), Times: b.times}
	v.last = b.seq
	v.to.Instruments(in)
}
