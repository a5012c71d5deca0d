package fanout

import (
	"github.com/depthcast/depthcast/fanout/ring"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/binance"
	"github.com/depthcast/depthcast/proto/kraken"
)

// nothing is the frame of what a dialect has no word for.
var nothing = &frame{}

// dialectFrame returns the frame of e, which is neither a status nor a reset; nil if
// it needs the state after e and that cannot be had any more.
func (s *shard) dialectFrame(t *Topic, e *entry, w framing) *frame {
	d, v := t.dialects.Load(), &e.Value
	switch {
	case v.kind == kindTrades:
		return v.frames.store(w, s.dialectTrades(t, v.exponents, v.trades, w))
	case w == framingKraken && v.kind == kindDelta:
		sum, ok := d.mirror.sum(t, e.Position())
		if !ok {
			return nil
		}
		return s.storeMessage(&v.frames, w, kraken.AppendUpdate(s.encoder.begin(), kraken.Symbol(d.pair), v.exponents, v.delta, sum))
	case w == framingKraken && v.kind == kindTicker:
		return s.storeMessage(&v.frames, w, kraken.AppendTicker(s.encoder.begin(), kraken.Symbol(d.pair), v.exponents, v.summary.ticker, false))
	case w == framingKraken && v.kind == kindInstruments:
		return v.frames.store(w, &frame{bytes: s.appendPages(nil, t.form(v.exponents), v.summary.instruments, w)})
	case v.kind == kindDelta:
		b := s.beginStream(t, w)
		b = binance.AppendDiff(b, binance.ID(d.pair), v.exponents, v.delta)
		return s.storeMessage(&v.frames, w, endStream(b, w))
	}
	return nothing
}

// storeMessage makes a frame of one message, appended to begin's buffer.
func (s *shard) storeMessage(made *frames, w framing, b []byte) *frame {
	s.stats.encoded.Add(1)
	return s.encoder.store(made.slot(w), w, b)
}

// store keeps made as the frame of w and returns it; if another was faster, that one.
func (f *frames) store(w framing, made *frame) *frame {
	slot := f.slot(w)
	if slot.CompareAndSwap(nil, made) {
		return made
	}
	return slot.Load()
}

// dialectDelta returns a frame of d, the net delta up to position to; nil if it
// needs the state there and that cannot be had any more.
func (s *shard) dialectDelta(t *Topic, d *proto.Delta, x proto.Exponents, to uint64, w framing) *frame {
	pair := t.dialects.Load().pair
	if w == framingKraken {
		sum, ok := t.dialects.Load().mirror.sum(t, to)
		if !ok {
			return nil
		}
		return newFrame(s.encoder.wrap(w, kraken.AppendUpdate(s.encoder.begin(), kraken.Symbol(pair), x, d, sum)))
	}
	b := binance.AppendDiff(s.beginStream(t, w), binance.ID(pair), x, d)
	return newFrame(s.encoder.wrap(w, endStream(b, w)))
}

// dialectTrades returns a frame of trades: of several messages where there is one
// a trade.
func (s *shard) dialectTrades(t *Topic, x proto.Exponents, trades *proto.Trades, w framing) *frame {
	pair := t.dialects.Load().pair
	s.stats.encoded.Add(1)
	if w == framingKraken {
		b := s.encoder.begin()
		begin := len(b)
		if b = kraken.AppendTrades(b, kraken.Symbol(pair), x, trades); len(b) == begin {
			return nothing
		}
		return newFrame(s.encoder.wrap(w, b))
	}
	var all []byte
	for i := range trades.Trades {
		if trade := &trades.Trades[i]; binance.Tells(trade) {
			b := binance.AppendTrade(s.beginStream(t, w), binance.ID(pair), x, trade, trades.Times)
			all = append(all, s.encoder.wrap(w, endStream(b, w))...)
		}
	}
	if all == nil {
		return nothing
	}
	return &frame{bytes: all}
}

// dialectSnapshot returns the frame of all that snap shows.
func (s *shard) dialectSnapshot(t *Topic, snap *snapshot, made *frames, w framing) *frame {
	pair, state := t.dialects.Load().pair, &snap.state
	b := s.encoder.begin()
	switch {
	case w != framingKraken:
		b = endStream(appendState(s.beginStream(t, w), t, state.Seq, state.Bids, state.Asks, state.Exponents), w)
	case t.key.Channel == proto.ChannelTicker:
		ticker := state.Ticker
		ticker.Times = state.Times
		b = kraken.AppendTicker(b, kraken.Symbol(pair), state.Exponents, &ticker, true)
	default:
		b = kraken.AppendSnapshot(b, kraken.Symbol(pair), state)
	}
	return s.storeMessage(made, w, b)
}

// voidFrame returns the frame that shows nothing of a book that is not live.
func (s *shard) voidFrame(t *Topic, snap *snapshot, w framing) *frame {
	made := &snap.frames[0]
	if f := made.slot(w).Load(); f != nil {
		return f
	}
	s.stats.voids.Add(1)
	pair, state := t.dialects.Load().pair, &snap.state
	b := s.encoder.begin()
	switch {
	case w != framingKraken:
		b = endStream(appendState(s.beginStream(t, w), t, max(0, state.Seq), nil, nil, state.Exponents), w)
	case t.key.Channel == proto.ChannelTicker:
		b = kraken.AppendTicker(b, kraken.Symbol(pair), state.Exponents, &proto.Ticker{Times: state.Times}, true)
	default:
		b = kraken.AppendVoid(b, kraken.Symbol(pair), state.Times)
	}
	return s.storeMessage(made, w, b)
}

// latestFrame returns a frame of t's state at position limit or after it, and the
// cursor after that; nil: it cannot be had now.
func (s *shard) latestFrame(t *Topic, snap *snapshot, limit uint64, w framing) (f *frame, next uint64) {
	if limit <= snap.position {
		return s.snapshotFrame(t, snap, proto.SnapshotInitial, w), snap.position + 1
	}
	if t.key.Channel == proto.ChannelTicker {
		// No status or reset is after the snapshot, which would be of it.
		e, status := t.ring.Get(limit)
		if status != ring.OK || e.Value.kind != kindTicker {
			return nil, 0
		}
		return s.entryFrame(t, e, w), limit + 1
	}
	m := &t.dialects.Load().mirror
	m.mu.Lock()
	defer m.mu.Unlock()
	if (!m.began || m.position < limit) && !m.advance(t, limit) {
		return nil, 0
	}
	e, status := t.ring.Get(m.position)
	if status != ring.OK {
		return nil, 0
	}
	if f := e.Value.frames.slot(w).Load(); f != nil {
		return f, m.position + 1
	}
	b := appendState(s.beginStream(t, w), t, m.seq, m.bids, m.asks, m.exponents)
	return s.storeMessage(&e.Value.frames, w, endStream(b, w)), m.position + 1
}

// appendState appends the levels of t, a book's view that Binance shows whole.
func appendState(b []byte, t *Topic, seq int64, bids, asks []proto.Level, x proto.Exponents) []byte {
	if t.key.View.Depth == 1 {
		return binance.AppendQuote(b, binance.ID(t.dialects.Load().pair), seq, bids, asks, x)
	}
	return binance.AppendDepth(b, seq, bids, asks, x)
}

// beginStream returns the buffer to append the data of one of t's streams to: where
// streams are combined, within what names the stream.
func (s *shard) beginStream(t *Topic, w framing) []byte {
	b := s.encoder.begin()
	if w == framingBinance {
		return b
	}
	stream := streamOf(t.key, t.dialects.Load().pair, speeds[w])
	b = stream.AppendName(append(b, `{"stream":"`...))
	return append(b, `","data":`...)
}

func endStream(b []byte, w framing) []byte {
	if w == framingBinance {
		return b
	}
	return append(b, '}')
}

// speeds are those of combined streams, by how they are framed.
var speeds = [framings]binance.Speed{framingFastStreams: binance.Fast, framingSlowStreams: binance.Slow}

// streamOf returns the stream that a topic is to Binance's clients, at a speed if it
// has any.
func streamOf(key proto.TopicKey, pair proto.Pair, speed binance.Speed) binance.Stream {
	id := binance.ID(pair)
	switch {
	case key.Channel == proto.ChannelTrades:
		return binance.Stream{ID: id, Kind: binance.Trades}
	case key.View.Depth == 0:
		return binance.Stream{ID: id, Kind: binance.Diff, Speed: speed}
	case key.View.Depth == 1:
		return binance.Stream{ID: id, Kind: binance.Quote}
	}
	return binance.Stream{ID: id, Kind: binance.Partial, Levels: key.View.Depth, Speed: speed}
}
