package book

import "github.com/depthcast/depthcast/proto"

// chain is how far a symbol's records have been seen, held ones included. It is
// never rolled back: a refused record was seen too.
type chain struct {
	offset     int64  // of the log; -1: none
	epoch      uint64 // of the origin; 0: none, records count by their own offset
	origin     int64  // newest origin seq; -1: none
	generation uint64
	session    string
	source     uint64 // newest source sequence; 0: none
	venue      int64  // newest venue time

	former       string // the session before this one
	formerSource uint64 // and its newest source sequence; 0: none
}

func newChain() chain { return chain{offset: -1, origin: -1} }

// verdict is what the sequences of a record say about it.
type verdict struct {
	outcome proto.Outcome // Applied: to be applied; else where the record ends
	lost    proto.Reason  // what came before is not all known; ReasonNone: it is
	anew    bool          // another origin: what was known belongs to another history
	overlap bool          // a part of it was applied before
	turned  bool          // it is of another session than the records before
	need    uint64        // a snapshot in it that is behind this source sequence is too old
}

// admit judges a record and moves the chain on. A snapshot of what is known
// already may pass as no duplicate, for a book that needs one. v is the verdict,
// to be given as its zero value: returned, it would be copied while it is being
// written, which the processor waits for.
func (c *chain) admit(r *proto.Batch, snapshot bool, v *verdict) {
	if r.Seq <= c.offset {
		v.outcome = proto.Duplicate
		return
	}
	c.offset = r.Seq
	if r.Generation < c.generation {
		v.outcome = proto.Ignored
		return
	}
	c.generation = r.Generation
	if r.OriginEpoch != c.epoch {
		*c = chain{offset: c.offset, epoch: r.OriginEpoch, origin: -1, generation: c.generation}
		v.anew = true
	}
	if c.epoch != 0 {
		if r.OriginSeq <= c.origin {
			*v = verdict{outcome: proto.Duplicate}
			return
		}
		if r.OriginPrevSeq > c.origin {
			v.lost = proto.ReasonOffsetGap
		}
		v.overlap = r.OriginPrevSeq < c.origin
		c.origin = r.OriginSeq
	}
	first, last := r.FirstSourceSeq, lastSource(r)
	if first == 0 {
		first = last
	}
	v.need = c.source
	if r.Session != c.session && numbered(r) {
		c.turn(r.Session, v)
	}
	switch {
	case last == 0 || c.source == 0:
	case last <= c.source && r.VenueTime > c.venue && kindsOf(r)&changeKinds != 0:
		// It never came before, so the source counts anew.
		v.lost, v.need, c.source = proto.ReasonSourceGap, first, 0
	case last <= c.source:
		if !snapshot || last < c.source {
			v.outcome = proto.Duplicate
			return
		}
	case first <= c.source:
		v.overlap = true
	case first > c.source+1:
		v.lost, v.need = proto.ReasonSourceGap, first-1
	}
	c.source, c.venue = max(c.source, last), max(c.venue, r.VenueTime)
}

// turn begins another session, whose numbers start anew. Where it is the one that
// was left last, its producer may still be sending, or its records come again:
// which of the two sessions says the truth is not known.
func (c *chain) turn(session string, v *verdict) {
	v.turned, v.need = true, 0
	if c.formerSource != 0 && session == c.former {
		v.lost, v.need = proto.ReasonSourceGap, c.formerSource+1
	}
	c.former, c.formerSource = c.session, c.source
	c.session, c.source = session, 0
}

func lastSource(r *proto.Batch) uint64 { return max(r.FirstSourceSeq, r.LastSourceSeq) }

// numbered reports whether r has a source sequence, or a snapshot that has: only
// then does its session mean anything.
func numbered(r *proto.Batch) bool {
	if lastSource(r) != 0 {
		return true
	}
	for i := range r.Events {
		if r.Events[i].Kind == proto.EventSnapshot && r.Events[i].SourceSeq != 0 {
			return true
		}
	}
	return false
}
