package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// written is what a round would change of what the Kafka topic holds.
type written struct {
	kept    map[string]kept   // by symbol; without chunks: gone
	ended   map[string][]byte // states that the header is to carry; nil: not any more
	sum     inventory
	states  int
	bytes   int64
	symbols int
}

// make makes one round and tells what became of it. nil also where nothing is new.
func (c *checkpointer) make(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.RoundTimeout)
	defer cancel()
	began := time.Now()
	w, err := c.attempt(ctx)
	took := time.Since(began)
	log := c.partition.log
	switch {
	case err == nil && w == nil: // nothing is new
	case err == nil:
		c.stats.wrote(w, c.floor, took)
		log.Debug("checkpoint written", "floor", c.floor, "symbols", w.symbols, "bytes", w.bytes, "took", took.Round(time.Millisecond))
	case errors.Is(err, ErrFenced):
		c.stats.fail("fenced")
		c.stats.Fenced.Store(true)
		log.Warn("another process writes the checkpoints of this partition now: this one has stopped writing them", "err", err)
	default:
		reason := checkpointFailure(err)
		c.stats.fail(reason)
		log.Warn("no checkpoint: it will be tried again", "reason", reason, "err", err)
	}
	return err
}

// checkpointFailure is the word for why a round was given up.
func checkpointFailure(err error) string {
	switch {
	case errors.Is(err, errRoundVoid):
		return "log_changed"
	case errors.Is(err, errKeysMoved):
		return "keys_moved"
	case errors.Is(err, errLogCut):
		return "log_cut"
	case errors.Is(err, errHeaderLarge):
		return "too_large"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "timeout"
	}
	return "kafka"
}

// attempt makes a round; nil if nothing is new.
func (c *checkpointer) attempt(ctx context.Context) (*written, error) {
	if news, err := c.partition.news(c.epoch, c.floor); !news {
		return nil, err
	}
	if err := c.ready(ctx); err != nil {
		return nil, err
	}
	c.partition.touchForgotten(c.ended)
	r := &c.round
	if !c.partition.openRound(r) {
		return nil, nil
	}
	if r.header.Epoch != c.epoch {
		c.disown()
	}
	w := &written{kept: map[string]kept{}, ended: map[string][]byte{}, sum: c.sum, states: c.states}
	err := c.tx.begin()
	if err == nil {
		err = c.write(ctx, w)
	}
	if err == nil {
		if err = c.tx.commit(ctx); err != nil {
			c.kept = nil // whether it counts is not known
		}
	}
	if err != nil {
		c.undo(ctx)
		c.partition.redo(r)
		return nil, err
	}
	c.adopt(w)
	return w, nil
}

// ready makes what a round needs: a producer, and knowledge of what the Kafka
// topic holds.
func (c *checkpointer) ready(ctx context.Context) error {
	if c.tx == nil {
		c.kept = nil // another process may have written until now
	}
	if err := c.open(ctx); err != nil || c.kept != nil {
		return err
	}
	found, err := c.cluster.readCheckpoint(ctx, c.cfg, c.to, c.partition.id, c.partition.log)
	if err != nil {
		return err
	}
	c.know(found)
	c.partition.Do(c.partition.marks.touchAll) // none of what is there is vouched for
	return nil
}

// open makes the producer, which ends what its predecessors have begun.
func (c *checkpointer) open(ctx context.Context) error {
	if c.tx != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkpointPatience)
	defer cancel()
	var err error
	c.tx, err = c.cluster.newTransaction(ctx, c.cfg, c.to, c.partition.id)
	return err
}

// know takes note of what the Kafka topic holds. None of it counts yet.
func (c *checkpointer) know(found *storedStates) {
	c.kept = map[string]kept{}
	for symbol, s := range found.states {
		c.kept[symbol] = kept{chunks: len(s.chunks)}
	}
	c.disown()
}

// disown says that nothing in the Kafka topic belongs to the next round's header.
func (c *checkpointer) disown() {
	for symbol, k := range c.kept {
		k.counts = false
		c.kept[symbol] = k
	}
	c.ended, c.sum, c.states, c.epoch, c.floor = map[string][]byte{}, 0, 0, 0, -1
}

// write hands all of a round over.
func (c *checkpointer) write(ctx context.Context, w *written) error {
	if c.copies == nil {
		c.copies = make([]proto.SymbolState, maxCopies)
	}
	for {
		n, err := c.partition.copyStates(&c.round, c.copies, c.cfg.HoldBytes)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		for i := range c.copies[:n] {
			s := &c.copies[i]
			if err := c.state(ctx, w, s); err != nil {
				return err
			}
			if stateMemory(s) > c.cfg.HoldBytes {
				*s = proto.SymbolState{} // the memory of a large book is not kept for small ones
			}
		}
	}
	for symbol, k := range c.kept {
		if _, now := w.kept[symbol]; !now && !k.counts && symbol != "" {
			if err := c.remove(ctx, w, symbol); err != nil {
				return err
			}
		}
	}
	if err := c.partition.closeRound(&c.round); err != nil {
		return err
	}
	return c.header(ctx, w)
}

// state hands over one symbol's state, or tombstones where there is none. Where there
// was one at the floor, an empty one keeps a start from the records in between.
func (c *checkpointer) state(ctx context.Context, w *written, s *proto.SymbolState) error {
	w.symbols++
	if _, was := c.ended[s.Symbol]; was {
		w.ended[s.Symbol] = nil
	}
	if s.HasBook && s.Book.EndReason != proto.ReasonNone {
		w.ended[s.Symbol] = proto.AppendSymbolState(nil, s)
		return c.remove(ctx, w, s.Symbol)
	}
	if !known(s) && s.Offset <= c.round.header.Floor {
		return c.remove(ctx, w, s.Symbol)
	}
	c.bytes = proto.AppendSymbolState(c.bytes[:0], s)
	return c.put(ctx, w, s.Symbol, s.Offset, c.bytes)
}

// header hands over what holds for the whole round.
func (c *checkpointer) header(ctx context.Context, w *written) error {
	h := &c.round.header
	h.States, h.Inventory = uint32(w.states), uint64(w.sum)
	h.Ended = h.Ended[:0]
	for symbol, state := range c.ended {
		if _, changed := w.ended[symbol]; !changed {
			h.Ended = append(h.Ended, state)
		}
	}
	for _, state := range w.ended {
		if state != nil {
			h.Ended = append(h.Ended, state)
		}
	}
	c.bytes = proto.AppendCheckpointHeader(c.bytes[:0], h)
	if len(c.bytes) > proto.MaxHeaderBytes {
		return fmt.Errorf("%w: %d bytes, %d symbols that have ended", errHeaderLarge, len(c.bytes), len(h.Ended))
	}
	return c.put(ctx, w, "", h.Floor, c.bytes)
}

// put hands over a state in chunks, and tombstones for those that the one before
// had more.
func (c *checkpointer) put(ctx context.Context, w *written, symbol string, offset int64, state []byte) error {
	count := max(1, (len(state)+c.cfg.ChunkBytes-1)/c.cfg.ChunkBytes)
	if count > maxChunks {
		return fmt.Errorf("the state of %q has %d bytes: more than %d chunks of %d", symbol, len(state), maxChunks, c.cfg.ChunkBytes)
	}
	for i := range count {
		from := i * c.cfg.ChunkBytes
		key := chunkKey(c.partition.id, symbol, i)
		part := chunk{epoch: c.round.header.Epoch, offset: offset, index: uint32(i), count: uint32(count),
			data: state[from:min(from+c.cfg.ChunkBytes, len(state))]}
		value := appendChunk(make([]byte, 0, len(part.data)+chunkOver), key, &part)
		w.bytes += int64(len(value))
		if err := c.tx.put(ctx, key, value); err != nil {
			return err
		}
	}
	return c.note(ctx, w, symbol, kept{chunks: count, counts: true, offset: offset})
}

// remove hands over the tombstones of a symbol's state.
func (c *checkpointer) remove(ctx context.Context, w *written, symbol string) error {
	return c.note(ctx, w, symbol, kept{})
}

// note replaces what is kept of a symbol, with tombstones for what is no longer.
func (c *checkpointer) note(ctx context.Context, w *written, symbol string, is kept) error {
	was, again := w.kept[symbol]
	if !again {
		was = c.kept[symbol]
	}
	for i := is.chunks; i < was.chunks; i++ {
		if err := c.tx.put(ctx, chunkKey(c.partition.id, symbol, i), nil); err != nil {
			return err
		}
	}
	w.kept[symbol] = is
	if symbol == "" {
		return nil
	}
	if was.counts {
		w.sum, w.states = w.sum.with(symbol, was.offset), w.states-1
	}
	if is.counts {
		w.sum, w.states = w.sum.with(symbol, is.offset), w.states+1
	}
	return nil
}

// undo takes back what was written of a round.
func (c *checkpointer) undo(ctx context.Context) {
	if err := c.tx.abort(ctx); err != nil {
		c.close() // the next producer's first request ends its transaction
	}
}

// adopt says that a round counts.
func (c *checkpointer) adopt(w *written) {
	for symbol, k := range w.kept {
		if k.chunks == 0 {
			delete(c.kept, symbol)
		} else {
			c.kept[symbol] = k
		}
	}
	for symbol, state := range w.ended {
		if state == nil {
			delete(c.ended, symbol)
		} else {
			c.ended[symbol] = state
		}
	}
	c.sum, c.states = w.sum, w.states
	c.epoch, c.floor = c.round.header.Epoch, c.round.header.Floor
}
