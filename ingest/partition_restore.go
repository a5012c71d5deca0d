package ingest

import (
	"fmt"
	"slices"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// seeker is a Source that can be sent to an offset before its first Next. last is
// the record before it, to be read again when the source connects.
type seeker interface {
	StartAt(next int64, last proto.Fingerprint)
}

// openRestored begins the books on the log of a checkpoint, with what they have in
// common. After an error nothing has begun.
func (p *Partition) openRestored(r *restored) error {
	h := &r.header
	if _, ok := p.source.(seeker); !ok {
		return fmt.Errorf("%T cannot be sent to an offset", p.source)
	}
	p.mu.Lock()
	defer p.release()
	p.books.Begin(h.Epoch, h.Complete)
	if err := p.books.RestoreShared(&h.Shared); err != nil {
		p.books.Refuse("", h.Ceiling, proto.ReasonNoSnapshot) // nothing begins whole on its word
		return err
	}
	p.begun, p.epoch, p.complete, p.target = true, h.Epoch, h.Complete, r.log.HighWatermark
	for _, f := range h.Shared.Feeds {
		p.feeds.note(f.Name, time.Unix(0, f.Time).Add(p.cfg.Delay)) // one too many is refused with its next record
	}
	p.marks.floor, p.marks.until = h.Floor, h.Floor
	return nil
}

// restore makes a symbol what it was at an offset. After an error nothing is known
// of it.
func (p *Partition) restore(into *proto.SymbolState, data []byte, symbol string, offset int64, h *proto.CheckpointHeader) error {
	if err := proto.DecodeSymbolState(data, into); err != nil {
		return err
	}
	if into.Symbol != symbol || into.Offset != offset || offset > h.Ceiling {
		return fmt.Errorf("it is of %q at offset %d", into.Symbol, into.Offset)
	}
	p.mu.Lock()
	defer p.release()
	if p.symbols[symbol] != nil || into.Claimed && len(p.symbols) >= claimsASymbol*p.cfg.MaxSymbols {
		return fmt.Errorf("there twice, or one too many")
	}
	into.Offset = max(offset, h.Floor) // it has no records in between
	k := &mark{name: symbol, claimed: into.Claimed, through: into.Offset}
	if into.Claimed {
		p.reclaim(k, &into.Claim) // first, as codecs ask for its exponents
	}
	err := p.restoreCodecs(into)
	if err == nil && (into.HasBook || into.Tainted) {
		if err = p.books.Restore(into); err != nil {
			p.forgetCodecs(symbol)
		}
	}
	if err != nil {
		p.disclaim(symbol)
		return err
	}
	p.marks.of[symbol] = k
	p.marks.until = max(p.marks.until, k.through)
	if !k.claimed {
		p.marks.loose++
	}
	if !known(into) && p.marks.writing {
		p.marks.add(k) // an empty state: it has served
	}
	p.checkpoint.Restored.Add(1)
	return nil
}

// disclaim undoes reclaim.
func (p *Partition) disclaim(name string) {
	if s := p.symbols[name]; s != nil && s.owned {
		p.stats.Symbols.Add(-1)
	}
	delete(p.symbols, name)
}

// reclaim claims a symbol that was restored, unless another partition has the
// better claim.
func (p *Partition) reclaim(k *mark, c *proto.ClaimState) {
	s := &symbol{name: k.name, mark: k, first: c.First, hash: p.hashed([]byte(k.name)),
		raw: c.Raw, defined: c.Defined, exponents: c.Exponents}
	p.symbols[k.name] = s
	if s.owned, s.final = p.directory.claim(s.name, p, s.hash, s.first); s.owned {
		p.stats.Symbols.Add(1)
	}
}

// closeRestored sends the source to where the log goes on: behind the floor, or,
// if symbols are to be made anew, to its start. Returns that offset.
func (p *Partition) closeRestored(r *restored, damaged []string) int64 {
	p.mu.Lock()
	defer p.release()
	p.next, p.last = r.header.Floor+1, r.header.Fingerprint
	if gone := r.log.LogStart > p.next; gone || len(damaged) > 0 {
		p.next, p.last = r.log.LogStart, proto.Fingerprint{Offset: -1}
		if gone {
			p.stats.Truncations.Add(1)
			p.log.Error("truncated: records behind the checkpoint are gone", "floor", r.header.Floor, "log_start", r.log.LogStart)
			p.lost(r.log.LogStart-1, proto.ReasonTruncated)
		}
	}
	if len(damaged) > 0 && r.log.LogStart == 0 {
		p.beginAnew(&r.header, damaged)
	}
	for _, name := range damaged {
		k := &mark{name: name, through: -1}
		p.marks.of[name] = k
		p.marks.loose++
		if p.marks.writing {
			p.marks.add(k)
		}
		if r.log.LogStart > 0 { // its first records are gone: it does not begin whole
			p.books.Refuse(name, r.log.LogStart-1, proto.ReasonNoSnapshot)
		}
	}
	p.stats.NextOffset.Store(p.next)
	p.stats.HighWatermark.Store(r.log.HighWatermark)
	p.stats.LogStart.Store(r.log.LogStart)
	p.source.(seeker).StartAt(p.next, p.last)
	if p.late != nil {
		p.late.wasDue(r.header.Ceiling) // settings are those of a server as late as this one
	}
	p.log.Info("reading", "from", p.next, "high_watermark", r.log.HighWatermark, "complete", p.complete)
	return p.next
}

// beginAnew tells the books how the log began, of which the damaged symbols are made
// anew: records missing for every book will be told again. Which symbols had a record
// refused will not be, so where those were too many to name, none begins whole.
func (p *Partition) beginAnew(h *proto.CheckpointHeader, damaged []string) {
	if !h.Shared.Whole && len(h.Shared.Tainted) >= proto.MaxTainted {
		return
	}
	began := h.Shared
	began.Whole = h.Complete
	began.Tainted = slices.DeleteFunc(slices.Clone(began.Tainted), func(name string) bool { return slices.Contains(damaged, name) })
	if err := p.books.RestoreShared(&began); err != nil { // they took as much before
		p.books.Refuse("", h.Ceiling, proto.ReasonNoSnapshot)
	}
}

// resetCodecs drops what the codecs keep, since records up to seq are missing, but
// not of symbols whose books Refuse passes over.
func (p *Partition) resetCodecs(seq int64, reason proto.Reason) {
	var ahead []proto.SymbolState
	if seq <= p.marks.until && reason != proto.ReasonTruncated && reason != proto.ReasonRecreated {
		for name := range p.marks.of {
			if s := (proto.SymbolState{Symbol: name}); p.marks.has([]byte(name), seq) {
				if p.saveCodecs(name, &s); len(s.Codecs) > 0 {
					ahead = append(ahead, s)
				}
			}
		}
	}
	clear(p.codecs)
	for i := range ahead {
		if err := p.restoreCodecs(&ahead[i]); err != nil { // it has just come from there
			p.books.Refuse(ahead[i].Symbol, p.marks.until+1, proto.ReasonBadRecord)
		}
	}
}
