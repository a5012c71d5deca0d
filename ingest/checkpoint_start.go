package ingest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// checkpointRefusal says why a start does not use the checkpoint it found. All of
// it is refused then, and the log is read as without checkpoints.
type checkpointRefusal struct {
	reason string // see CheckpointStats.Refusals
	err    error
}

func (r *checkpointRefusal) Error() string { return r.reason + ": " + r.err.Error() }

func refuseCheckpoint(reason, text string, args ...any) error {
	return &checkpointRefusal{reason, fmt.Errorf(text, args...)}
}

// restored is what a start takes from a checkpoint.
type restored struct {
	header  proto.CheckpointHeader
	symbols []string // whose states count, rising
	log     Offsets  // of the partition
}

// start restores the partition from its checkpoint, if there is one that fits.
// What cannot be used is told and counted, and costs no more than the time until
// the log is read again.
func (c *checkpointer) start(ctx context.Context) {
	if ctx.Err() != nil {
		return // nor may it fence anybody
	}
	began := time.Now()
	log := c.partition.log
	if c.cfg.Mode == CheckpointsWrite {
		// First, so that what a predecessor has left half written is taken back.
		if err := c.open(ctx); err != nil && ctx.Err() == nil {
			c.stats.fail(checkpointFailure(err))
			log.Warn("checkpoints cannot be written yet", "err", err)
		}
	}
	found, err := c.cluster.readCheckpoint(ctx, c.cfg, c.to, c.partition.id, log)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		reason := "unreadable"
		if errors.Is(err, errCheckpointLarge) {
			reason = "too_large"
		}
		c.refuse(&checkpointRefusal{reason, err})
		return
	}
	c.know(found)
	if found.states[""] == nil {
		log.Info("no checkpoint: reading the whole log")
		return
	}
	r, err := c.judge(ctx, found)
	if err == nil {
		err = c.restore(found, r)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		c.refuse(err)
		return
	}
	took := time.Since(began)
	c.stats.Start.Store(int64(took))
	log.Info("restored from a checkpoint", "floor", r.header.Floor, "symbols", c.stats.Restored.Load(),
		"damaged", c.stats.Damaged.Load(), "bytes", found.bytes, "took", took.Round(time.Millisecond))
}

// refuse tells of a checkpoint that is not used.
func (c *checkpointer) refuse(err error) {
	reason := "unreadable"
	var r *checkpointRefusal
	if errors.As(err, &r) {
		reason = r.reason
	}
	c.stats.refuse(reason)
	c.disown()
	c.partition.log.Warn("the checkpoint is not used: reading the whole log", "reason", reason, "err", err)
}

// judge sees whether a checkpoint is whole and of the log as it is.
func (c *checkpointer) judge(ctx context.Context, found *storedStates) (*restored, error) {
	r := &restored{}
	h := &r.header
	data, err := found.states[""].assemble(nil)
	if err == nil {
		err = proto.DecodeCheckpointHeader(data, h)
	}
	if err != nil {
		return nil, refuseCheckpoint("damaged", "its header: %w", err)
	}
	p := c.partition
	clusterID, err := p.clusterID(ctx)
	if err != nil {
		return nil, refuseCheckpoint("unreadable", "the cluster's id: %w", err)
	}
	switch epoch := p.epochOf(clusterID); {
	case h.Version != proto.CheckpointVersion:
		return nil, refuseCheckpoint("version", "version %d, this program writes %d", h.Version, proto.CheckpointVersion)
	case h.Epoch != epoch || h.TopicID != p.topicID:
		return nil, refuseCheckpoint("epoch", "it is of the epoch %x, the log's is %x: another Kafka topic or cluster, other instruments or rules", h.Epoch, epoch)
	case h.Settings != p.settings():
		return nil, refuseCheckpoint("settings", "it was written with other formats or bounds, another --complete, --compacted or --delay, or before partitions were added")
	}
	for _, state := range h.Ended {
		if err := proto.DecodeSymbolState(state, new(proto.SymbolState)); err != nil {
			return nil, refuseCheckpoint("damaged", "a symbol that has ended: %w", err)
		}
	}
	sum := inventory(0)
	for symbol, s := range found.states {
		if of := s.newest(); symbol != "" && of.epoch == h.Epoch {
			sum = sum.with(symbol, of.offset)
			r.symbols = append(r.symbols, symbol)
		}
	}
	if uint64(sum) != h.Inventory || len(r.symbols) != int(h.States) {
		return nil, refuseCheckpoint("incomplete", "its header tells of %d states, %d are there, or one is not the newest", h.States, len(r.symbols))
	}
	slices.Sort(r.symbols)
	r.log, err = c.matchLog(ctx, h)
	return r, err
}

// matchLog sees that the log still has what the checkpoint was made of, as far as
// it can be told, and returns its ends.
func (c *checkpointer) matchLog(ctx context.Context, h *proto.CheckpointHeader) (Offsets, error) {
	id := c.partition.id
	ends, err := c.cluster.Offsets(ctx, id)
	log, ok := ends[id]
	if err != nil || !ok {
		return log, refuseCheckpoint("unreadable", "the ends of the log: %w", errors.Join(err, ErrUnreachable))
	}
	if h.Ceiling >= log.HighWatermark || h.Floor > h.Ceiling {
		return log, refuseCheckpoint("log_shorter", "it was made at offset %d, the log ends before %d", h.Ceiling, log.HighWatermark)
	}
	for _, f := range []proto.Fingerprint{h.Fingerprint, h.Last} {
		if f.Offset < log.LogStart {
			continue // gone, or there was none
		}
		is, err := c.cluster.Fingerprint(ctx, id, f.Offset)
		switch {
		case errors.Is(err, ErrNoRecord) && c.partition.topic.Compacted:
		case errors.Is(err, ErrUnreachable), errors.Is(err, ErrDenied):
			return log, refuseCheckpoint("unreadable", "%w", err)
		case err != nil:
			return log, refuseCheckpoint("fingerprint", "%w", err)
		case is != (Fingerprint{Time: f.Time, CRC: f.CRC}):
			return log, refuseCheckpoint("fingerprint", "the record at offset %d is another one", f.Offset)
		}
	}
	return log, nil
}

// restore puts the partition where the checkpoint was made. What is damaged of one
// symbol concerns that symbol only.
func (c *checkpointer) restore(found *storedStates, r *restored) error {
	p := c.partition
	if err := p.openRestored(r); err != nil {
		return refuseCheckpoint("damaged", "%w", err)
	}
	h := &r.header
	c.epoch, c.floor = h.Epoch, h.Floor
	c.sum, c.states = inventory(h.Inventory), int(h.States)
	var damaged []string
	var state proto.SymbolState
	var data []byte
	for _, symbol := range r.symbols {
		s := found.states[symbol]
		offset := s.newest().offset
		c.kept[symbol] = kept{chunks: len(s.chunks), counts: true, offset: offset}
		var err error
		if data, err = s.assemble(data); err == nil {
			err = p.restore(&state, data, symbol, offset, h)
		}
		if err != nil {
			c.damage(symbol, err)
			damaged = append(damaged, symbol)
		}
		delete(found.states, symbol) // its memory goes as the books' comes
	}
	ended := map[string][]byte{}
	for _, data := range h.Ended {
		err := proto.DecodeSymbolState(data, &state)
		if err == nil {
			err = p.restore(&state, data, state.Symbol, state.Offset, h)
		}
		if err != nil {
			c.damage(state.Symbol, err)
			damaged = append(damaged, state.Symbol)
			continue
		}
		ended[state.Symbol] = data
	}
	c.ended = ended
	from := p.closeRestored(r, damaged)
	if len(damaged) > 0 {
		p.log.Warn("symbols are made anew from the log", "from", from, "symbols", len(damaged))
	}
	c.stats.Floor.Store(h.Floor)
	return nil
}

func (c *checkpointer) damage(symbol string, err error) {
	c.stats.Damaged.Add(1)
	c.partition.warn("the state of a symbol cannot be used: it is made anew from the log", "symbol", symbol, "err", err)
}

// settings is a hash of what is configured, is not in the epoch, and decides what
// records do; how many partitions there are decides where symbols live.
func (p *Partition) settings() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %t %t %d %d %d", p.topic.Format, p.topic.Complete, p.topic.Compacted, p.count, p.cfg.MaxSymbols, p.cfg.MaxFeeds)
	if p.cfg.Delay > 0 { // what a server that is less late has seen may not be due
		fmt.Fprintf(h, " %d", p.cfg.Delay)
	}
	return h.Sum64()
}

// epochOf is the epoch of the log being read.
func (p *Partition) epochOf(clusterID string) uint64 {
	return Epoch(clusterID, p.topicID, p.id.Partition, rulesVersion, p.cfg.instrumentConfig())
}
