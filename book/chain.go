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
}

func newChain() chain { return chain{offset: -1, origin: -1} }

// verdict is what the sequences of a record say about it.
type verdict struct {
	outcome proto.Outcome // Applied: to be applied; else where the record ends
	lost    proto.Reason  // what came before is not all known; ReasonNone: it is
	anew    bool          // another origin: what was known belongs to another history
	overlap bool          // a part of it was applied before
	need    uint64        // a snapshot in it that is behind this source sequence is too old
}

// admit judges a record and moves the chain on. A snapshot of what is known
// already may pass as no duplicate, for a book that needs one.
func (c *chain) admit(r *proto.Batch, snapshot bool) verdict {
	if r.Seq <= c.offset {
		return verdict{outcome: proto.Duplicate}
	}
	c.offset = r.Seq
	if r.Generation < c.generation {
		return verdict{outcome: proto.Ignored}
	}
	c.generation = r.Generation

	v := verdict{outcome: proto.Applied}
	if r.OriginEpoch != c.epoch {
		*c = chain{offset: c.offset, epoch: r.OriginEpoch, origin: -1, generation: c.generation}
		v.anew = true
	}
	if c.epoch != 0 {
		if r.OriginSeq <= c.origin {
			return verdict{outcome: proto.Duplicate}
		}
		if r.OriginPrevSeq > c.origin {
			v.lost = proto.ReasonOffsetGap
		}
		c.origin = r.OriginSeq
	}
	if r.Session != c.session {
		c.session, c.source = r.Session, 0
	}
	first, last := r.FirstSourceSeq, max(r.FirstSourceSeq, r.LastSourceSeq)
	if first == 0 {
		first = last
	}
	v.need = c.source
	switch {
	case last == 0 || c.source == 0:
	case last <= c.source:
		if !snapshot || last < c.source {
			v.outcome = proto.Duplicate
			return v
		}
	case first <= c.source:
		v.overlap = true
	case first > c.source+1:
		v.lost, v.need = proto.ReasonSourceGap, first-1
	}
	c.source = max(c.source, last)
	return v
}
