package ingest

import "fmt"

var errBinanceWaiting = fmt.Errorf("%w: more diffs wait than a partition may keep", errState)

func (s *binanceState) appendTo(to []byte) []byte {
	to = appendStateBool(appendStateBool(to, s.chained), s.bridged)
	to = appendStateUint(appendStateUint(to, s.last), s.lost)
	to = appendStateUint(appendStateUint(to, uint64(s.trades)), s.lastTrade)
	to = appendStateUint(to, uint64(len(s.waiting)))
	for i := range s.waiting {
		w := &s.waiting[i]
		to = appendStateUint(appendStateUint(appendStateUint(to, w.first), w.last), w.previous)
		to = appendStateBytes(to, w.value)
	}
	return appendStateBytes(to, s.held)
}

func (s *binanceState) readFrom(r *stateReader) {
	*s = binanceState{chained: r.bool(), bridged: r.bool(), last: r.uint(), lost: r.uint()}
	trades := r.uint()
	s.trades, s.lastTrade = binanceKind(trades), r.uint()
	r.check(trades == uint64(binanceOther) || trades == uint64(binanceTrade) || trades == uint64(binanceAggTrade), "a kind of trades")
	n := r.count(maxBinanceDiffs, 4)
	r.check(!s.chained && !s.bridged || n == 0, "diffs that wait behind a snapshot")
	r.check(s.chained || !s.bridged, "a chain without a beginning")
	s.waiting = make([]binanceWaiting, 0, n)
	for range n {
		w := binanceWaiting{first: r.uint(), last: r.uint(), previous: r.uint()}
		w.value = append([]byte(nil), r.bytes(maxBinanceDiffBytes)...)
		if k := len(s.waiting); k > 0 {
			before := s.waiting[k-1].last
			overlaps := w.previous == w.first-1 && w.previous < before // spot
			r.check((w.previous == before || overlaps) && w.last > before, "diffs that wait without a chain")
		}
		s.bytes += len(w.value)
		r.check(w.first > 0 && w.first <= w.last && s.bytes <= maxBinanceDiffBytes, "a diff that waits")
		s.waiting = append(s.waiting, w)
	}
	if n == 0 {
		s.waiting = nil
	}
	if held := r.bytes(maxBinanceDiffBytes); len(held) > 0 {
		s.held = append([]byte(nil), held...)
		s.bytes += len(held)
		r.check(n == 0 && !s.chained && s.last > 0, "a snapshot that is held")
	}
}

func (c *binanceCodec) save(symbol string, to []byte) []byte {
	return saveVenue(&c.symbols, symbol, to)
}

// restore may pass the bound of what waits in all, as the states of symbols are
// not all of the same offset; by as much again at the most.
func (c *binanceCodec) restore(symbol string, state []byte) error {
	if err := restoreVenue(&c.symbols, symbol, state); err != nil {
		return err
	}
	c.buffered += c.symbols.of[symbol].state.bytes
	if c.buffered > 2*maxBinanceTotalBytes {
		c.forget(symbol)
		return errBinanceWaiting
	}
	return nil
}

func (c *binanceCodec) forget(symbol string) {
	if s := c.symbols.of[symbol]; s != nil {
		c.buffered -= s.state.bytes
		delete(c.symbols.of, symbol)
	}
}
