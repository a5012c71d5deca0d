package book

import (
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// held are the records of an event that continues (`more`), copied, as the codec
// reuses its batches. They are applied together at the last one.
type held struct {
	records []proto.Batch
	bytes   int // of memory, see proto.Batch.Memory
}

// hold keeps a copy of r.
func (b *book) hold(r *proto.Batch) *refusal {
	size := r.Memory()
	c := &b.engine.config
	if len(b.held.records) >= c.HeldRecords || b.held.bytes+size > c.HeldBytes ||
		b.engine.heldBytes+size > c.HeldBytesAll {
		return errHeld
	}
	b.held.bytes += size
	b.engine.heldBytes += size
	b.held.records = append(b.held.records, clone(r))
	return nil
}

// drop forgets what is held.
func (b *book) drop() {
	if len(b.held.records) == 0 {
		return
	}
	b.engine.heldBytes -= b.held.bytes
	b.held = held{}
}

// numberedAs reports whether r has the same number as the newest record held, of
// which there must be one.
func (h *held) numberedAs(r *proto.Batch) bool {
	newest := &h.records[len(h.records)-1]
	if r.OriginEpoch != 0 && r.OriginEpoch == newest.OriginEpoch && r.OriginSeq == newest.OriginSeq {
		return true
	}
	return lastSource(r) != 0 && lastSource(r) == lastSource(newest) && r.Session == newest.Session
}

// clone copies r with all that it points to.
func clone(r *proto.Batch) proto.Batch {
	c := *r
	c.Events = slices.Clone(r.Events)
	for i := range c.Events {
		e := &c.Events[i]
		e.Bids, e.Asks = slices.Clone(e.Bids), slices.Clone(e.Asks)
		e.BidOrders, e.AskOrders = slices.Clone(e.BidOrders), slices.Clone(e.AskOrders)
		if e.Instrument != nil {
			instrument := *e.Instrument
			e.Instrument = &instrument
		}
		if e.Statistics != nil {
			statistics := *e.Statistics
			e.Statistics = &statistics
		}
	}
	return c
}
