package fanout

import (
	"slices"

	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
)

// The channels ticker and instruments say the whole of what they speak of anew:
// each ticker replaces the one before, each listing that of its symbol. So what a
// reader missed is the last of each, nothing needs a hash, and whoever comes back
// is told all rather than finding its place. Only a resume token, which comes back with
// each poll, has a place: that in the ring of this very topic.

type (
	tickerEntry struct {
		entry
		summary
		ticker proto.Ticker
	}
	instrumentsEntry struct {
		entry
		summary
		instruments proto.Instruments
		room        [1]*proto.Listing // most changes are of one
	}

	// summary is the one of its entry's kind.
	summary struct {
		ticker      *proto.Ticker
		instruments *proto.Instruments
	}
)

// sums reports whether a channel says the whole anew each time.
func sums(c proto.Channel) bool { return c == proto.ChannelTicker || c == proto.ChannelInstruments }

// bare reports whether what a channel begins with carries neither state nor epoch
// nor exponents. What breaks a book does not break such a channel.
func bare(c proto.Channel) bool { return c == proto.ChannelTrades || sums(c) }

// name tells t from the topics of other processes, as far as 32 bits can. Never 0, which
// is what clients have as hash that know of none.
func (t *Topic) name() uint32 { return max(1, t.hub.nonce^t.number) }

// seenUpTo returns the ring position up to which the reader of a summary has seen all
// that has a resume token of this topic.
func (t *Topic) seenUpTo(r resume) (position uint64, found bool) {
	if r.hash != t.name() || r.ordinal < t.snapshot.Load().since || r.ordinal > t.ring.Head() {
		return 0, false
	}
	_, status := t.ring.Get(r.ordinal + 1)
	return r.ordinal, status != ring.Lapped
}

// listingBytes is about what a listing takes in both codecs.
const listingBytes = 150 + 350

// Ticker publishes a ticker.
func (t *Topic) Ticker(ticker *proto.Ticker) {
	now := t.hub.now()
	e := &tickerEntry{ticker: *ticker}
	e.ticker.PrevSeq = t.seq
	e.ticker.Times.Published = now
	e.summary.ticker = &e.ticker
	t.seq = ticker.Seq
	e.Value.kind, e.Value.summary = kindTicker, &e.summary
	t.publish(&e.entry, 0, t.forms.weigh(0, 0), now)
}

// Instruments publishes listings that have changed.
func (t *Topic) Instruments(in *proto.Instruments) {
	now := t.hub.now()
	e := &instrumentsEntry{instruments: *in}
	e.instruments.PrevSeq = t.seq
	e.instruments.Listings = append(e.room[:0], in.Listings...)
	e.instruments.Times.Published = now
	e.summary.instruments = &e.instruments
	t.seq = in.Seq
	e.Value.kind, e.Value.summary = kindInstruments, &e.summary
	n := uint32(len(in.Listings))
	t.publish(&e.entry, n, t.forms.weigh(listingBytes, n), now)
}

// summaryFrame returns what a ticker or instruments topic begins with: all that
// snap says, in one frame or several behind one another.
func (s *shard) summaryFrame(t *Topic, snap *snapshot, w framing) *frame {
	slot := snap.frames[proto.SnapshotInitial].slot(w) // the reason is not said
	if f := slot.Load(); f != nil {
		return f
	}
	snap.making.Lock()
	defer snap.making.Unlock()
	if f := slot.Load(); f != nil {
		return f
	}
	s.stats.snapshotsMade.Add(1)
	c, state, form := w.codec(), &snap.state, t.form(snap.state.Exponents)
	var b []byte
	if t.key.Channel == proto.ChannelTicker {
		ticker := state.Ticker
		ticker.Seq, ticker.PrevSeq, ticker.Times.Published = state.Seq, state.Seq, state.Times.Published
		b = append(b, s.encoder.wrap(w, c.AppendTicker(s.encoder.begin(), form, &ticker))...)
	} else {
		list := proto.Instruments{PrevSeq: state.Seq, Seq: state.Seq, Listings: state.Listings, Snapshot: true, Times: state.Times}
		b = s.appendPages(b, form, &list, w)
	}
	s.stats.encoded.Add(1)
	f := &frame{bytes: b}
	slot.Store(f)
	return f
}

// summary adds what sub, which is joining, is to be shown, and returns the cursor
// after it; next is that after snap. What came after snap follows as one.
//
// Of a ticker the newest says all that snap says, anew, so that nobody is shown an
// older one first. No status or reset lies between the two: snap would be of it.
func (p *plan) summary(sub *subscription, snap *snapshot, next uint64) (uint64, bool) {
	t, limit := sub.feed.topic, sub.limit()
	if before := p.passed(sub, snap); before != nil && !p.single(sub, before, sub.next) {
		return 0, false
	}
	var frame *frame
	if limit >= next {
		if e, status := t.ring.Get(limit); status == ring.OK && e.Value.kind == kindTicker {
			frame, next = p.shard.entryFrame(t, e, sub.framing), limit+1
		}
	}
	if frame == nil {
		frame = p.shard.summaryFrame(t, snap, sub.framing)
	}
	p.shard.stats.snapshots.Add(1)
	return next, p.add(part{bytes: frame.bytes, frame: frame, sub: sub, next: next, frames: 1, joins: true})
}

// pageListings is how many listings one frame holds at most.
const pageListings = 256

// appendPages appends the frames of in, as many as its listings need.
func (s *shard) appendPages(b []byte, form proto.TopicForm, in *proto.Instruments, w framing) []byte {
	page := *in
	for rest := in.Listings; ; {
		n := min(len(rest), pageListings)
		page.Listings, rest = rest[:n], rest[n:]
		page.More = len(rest) > 0
		message := s.encoder.begin()
		if w == framingKraken {
			message = s.hub.appendKrakenPage(message, &page)
		} else {
			message = w.codec().AppendInstruments(message, form, &page)
		}
		b = append(b, s.encoder.wrap(w, message)...)
		if !page.More {
			return b
		}
		page.Snapshot = false
	}
}

// mergeTickers returns the frame of the last of the tickers from…to, which stands
// for all of them; nil if the ring no longer has them.
func (s *shard) mergeTickers(t *Topic, from, to uint64, w framing) *frame {
	first, status := t.ring.Get(from)
	last, too := t.ring.Get(to)
	if status != ring.OK || too != ring.OK {
		return nil
	}
	ticker := *last.Value.summary.ticker
	ticker.PrevSeq, ticker.Merged = first.Value.summary.ticker.PrevSeq, uint32(to-from+1)
	ticker.Times.VenueFirst = first.Value.summary.ticker.Times.VenueFirst
	b := w.codec().AppendTicker(s.encoder.begin(), t.form(last.Value.exponents), &ticker)
	return newFrame(s.encoder.wrap(w, b))
}

// mergeListings returns the frames of the last listing of each symbol in from…to,
// in the order of their last changes; nil if the ring no longer has them.
func (s *shard) mergeListings(t *Topic, from, to uint64, w framing) *frame {
	var net proto.Instruments
	seen := map[string]bool{}
	for position := to; position >= from; position-- {
		e, status := t.ring.Get(position)
		if status != ring.OK {
			return nil
		}
		in := e.Value.summary.instruments
		if position == to {
			net.Seq, net.Times = in.Seq, in.Times
		}
		net.PrevSeq, net.Times.VenueFirst = in.PrevSeq, in.Times.VenueFirst
		for i := len(in.Listings) - 1; i >= 0; i-- {
			if l := in.Listings[i]; !seen[l.Symbol] {
				seen[l.Symbol] = true
				net.Listings = append(net.Listings, l)
			}
		}
	}
	slices.Reverse(net.Listings)
	return &frame{bytes: s.appendPages(nil, t.form(proto.Exponents{}), &net, w)}
}
