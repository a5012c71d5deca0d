package book

import "github.com/depthcast/depthcast/proto"

// Symbols describes the symbols that have not ended, in order of their first record or of being restored.
func (e *Engine) Symbols() []proto.SymbolInfo {
	infos := make([]proto.SymbolInfo, 0, len(e.list)-len(e.ended))
	for _, b := range e.list {
		if b.ended {
			continue
		}
		info := proto.SymbolInfo{
			Symbol: b.symbol, State: b.told.state, Reason: b.told.reason, Phase: b.told.phase,
			Epoch: b.epoch, Seq: b.seq, Exponents: b.exponents,
		}
		if b.instrument != nil {
			instrument := *b.instrument
			info.Instrument = &instrument
		}
		infos = append(infos, info)
	}
	return infos
}

// Stats are counts of an engine at one moment; Skipped and OffTick count from its
// start.
type Stats struct {
	Live, Recovering, Stale int // books by state
	Ended                   int // books whose instrument has ended, not counted above
	Levels, Orders          int
	Views                   int // open
	Feeds                   int
	HeldRecords, HeldBytes  int    // held back until their event is complete
	Skipped                 uint64 // level and order events of books that were not whole
	OffTick                 uint64 // levels that came at a price off the instrument's tick
}

// Stats walks all books.
func (e *Engine) Stats() Stats {
	s := Stats{Views: len(e.views), Feeds: len(e.feeds), HeldBytes: e.heldBytes, Skipped: e.skipped, OffTick: e.offTick}
	for _, b := range e.list {
		switch {
		case b.ended:
			s.Ended++
			continue
		case b.told.state == proto.Live:
			s.Live++
		case b.told.state == proto.Stale:
			s.Stale++
		default:
			s.Recovering++
		}
		s.Levels += b.bids.len() + b.asks.len()
		s.Orders += b.orders.index.n
		s.HeldRecords += len(b.held.records)
	}
	return s
}
