package ingest

import (
	"errors"

	"github.com/depthcast/depthcast/proto"
)

// failed turns an error of the source into what the books must know.
func (p *Partition) failed(err error) {
	var recreated *Recreated
	var outOfRange *OutOfRange
	var corrupt *Corrupt
	switch {
	case errors.As(err, &recreated):
		p.stats.Recreations.Add(1)
		p.log.Error("recreated", "err", err)
		p.Do(func() { p.recreated(recreated) })
	case errors.As(err, &outOfRange):
		p.stats.Truncations.Add(1)
		p.log.Error("truncated: every book is recovering", "err", err)
		if p.late != nil && outOfRange.Truncated() {
			p.log.Error("records were deleted before they were due: the Kafka topic's retention is too short for --delay", "delay", p.cfg.Delay)
		}
		p.Do(func() { p.outOfRange(outOfRange) })
	case errors.As(err, &corrupt):
		p.stats.refuse(CodeCorruptBatch)
		p.warn("every book is recovering", "err", err)
		p.Do(func() { p.lost(corrupt.Next-1, proto.ReasonBadRecord) })
	default:
		p.stats.FetchErrors.Add(1)
		if !p.failing {
			p.failing = true
			p.log.Error("cannot read", "err", err)
			return
		}
		p.warn("still cannot read", "err", err)
	}
}

// recreated is called under the lock.
func (p *Partition) recreated(e *Recreated) {
	beyond := p.marks.until + 1 // so that no restored book is passed over
	if e.WasID == e.IsID {
		p.marks.void()
		p.lost(max(e.Offset, beyond), proto.ReasonRecreated)
		return
	}
	p.books.Refuse("", max(0, p.next-1, beyond), proto.ReasonRecreated)
	p.setCatchingUp(true)
	p.directory.begin(p, e.IsID)
	p.forget() // Begin follows with the first fetch
}

// outOfRange is called under the lock.
func (p *Partition) outOfRange(e *OutOfRange) {
	if !p.begun { // the log lost records between opening and the first fetch
		return
	}
	if e.Truncated() {
		p.next = e.LogStart
		p.lost(e.LogStart-1, proto.ReasonTruncated)
		return
	}
	// Offsets will come a second time, for other records.
	beyond := p.marks.until + 1
	p.marks.void()
	p.next, p.target = e.HighWatermark, min(p.target, e.HighWatermark)
	p.last = proto.Fingerprint{Offset: -1}
	p.lost(max(0, e.HighWatermark-1, beyond), proto.ReasonTruncated)
}

// gapsBefore judges the gaps that end at or before offset, and returns the rest.
func (p *Partition) gapsBefore(offset int64, gaps []OffsetGap) []OffsetGap {
	for len(gaps) > 0 && gaps[0].To <= offset {
		if g := gaps[0]; !p.topic.Compacted {
			p.stats.OffsetGaps.Add(1)
			p.warn("offsets missing: every book is recovering", "from", g.From, "to", g.To)
			// Source sequences cannot vouch for symbols of which no record has
			// come yet, and few producers number the records of each symbol; so
			// no book is spared.
			p.lost(g.To-1, proto.ReasonOffsetGap)
		}
		gaps = gaps[1:]
	}
	return gaps
}

// lost says that records up to seq are missing, of whichever symbols. Called
// under the lock.
func (p *Partition) lost(seq int64, reason proto.Reason) {
	p.marks.touchAll()
	p.resetCodecs(seq, reason) // what they hold does not continue either
	p.books.Refuse("", seq, reason)
}

// seen notes the ends of the log as a watcher sees them. Any goroutine.
func (p *Partition) seen(e *WatchEvent) {
	o := e.Offsets
	if p.late != nil {
		p.late.note(e) // it is no lag until it is due
		return
	}
	// The source's own word is older, or the log was cut: then the source says so.
	for high := p.stats.HighWatermark.Load(); o.HighWatermark > high; high = p.stats.HighWatermark.Load() {
		if p.stats.HighWatermark.CompareAndSwap(high, o.HighWatermark) {
			return
		}
	}
}

// recheck makes the source look at the log's identity. Any goroutine.
func (p *Partition) recheck() {
	if s, ok := p.source.(interface{ Recheck() }); ok {
		s.Recheck()
	}
}

// refused gives up a record that the books have not seen.
func (p *Partition) refused(rec *Record, err *proto.RecordError) {
	p.discard(rec, err)
	switch {
	case err.Reason == proto.ReasonNone && !proto.ValidSymbol(string(rec.Key)):
	case proto.ValidSymbol(string(rec.Key)):
		p.refuseBook(string(rec.Key), rec.Offset, err.Reason)
	case proto.ValidSymbol(err.Symbol):
		p.refuseBook(err.Symbol, rec.Offset, err.Reason)
	default:
		p.lost(rec.Offset, err.Reason)
	}
}

// discard counts, logs and keeps a copy of a refused record.
func (p *Partition) discard(rec *Record, err *proto.RecordError) {
	p.stats.refuse(err.Code)
	text := err.Err.Error()
	if len(text) > 200 {
		text = text[:200]
	}
	name := rec.Key
	if len(name) > proto.MaxSymbolBytes {
		name = name[:proto.MaxSymbolBytes]
	}
	p.warn("record refused", "code", err.Code, "symbol", string(name), "offset", rec.Offset, "reason", proto.ReasonWord(err.Reason), "err", text)
	if p.cfg.DeadLetters == nil {
		return
	}
	letter := *rec
	letter.Headers = append(rec.Headers[:len(rec.Headers):len(rec.Headers)], Header{DeadLetterText, []byte(text)})
	p.cfg.DeadLetters.Put(p.id, letter, err.Code) // it counts what it drops
}

// DeadLetterText is the header of a dead letter that says in words what is wrong.
const DeadLetterText = "depthcast-error"

// recordError is err as what Codec and Books promise it to be.
func recordError(err error) *proto.RecordError {
	var r *proto.RecordError
	if errors.As(err, &r) {
		return r
	}
	return refuse(CodeMalformed, "", proto.ReasonBadRecord, "%w", err)
}
