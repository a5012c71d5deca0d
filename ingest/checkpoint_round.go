package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// round is one checkpoint being made. It is opened at the floor, then the states
// of all symbols that changed since the last round are copied, each at its own
// offset at or behind the floor, then it is closed. What did not change is in the
// Kafka topic already.
type round struct {
	header proto.CheckpointHeader
	due    []*mark // to be copied
	at     int     // of due, what comes next
	voided int     // marks.voided when it was opened
}

// errRoundVoid: the log is not any more what it was when the round began.
var errRoundVoid = errors.New("the log changed meanwhile")

// errKeysMoved: see marks.moved.
var errKeysMoved = errors.New("records of symbols that live in other partitions come here since partitions were added: the next start has to read them again, so it must not begin behind them")

// errLogCut: see marks.cut.
var errLogCut = errors.New("the log lost records that are in the books: the next start has to read it again, so it must not begin behind them")

// errHeaderLarge: proto.MaxHeaderBytes. No start would read it.
var errHeaderLarge = errors.New("the header is larger than a start reads")

// news reports whether there is anything to say since the checkpoint at floor of the
// log epoch.
func (p *Partition) news(epoch uint64, floor int64) (bool, error) {
	p.mu.Lock()
	defer p.release()
	p.marks.since = 0
	if p.marks.moved {
		return false, errKeysMoved
	}
	if p.marks.cut {
		return false, errLogCut
	}
	return p.checkpointable() && (p.epoch != epoch || p.next-1 != floor || len(p.marks.dirty) > 0), nil
}

// checkpointable reports whether the partition is past all that it was restored
// with. Called under the lock.
func (p *Partition) checkpointable() bool {
	return p.begun && p.next > 0 && p.next > p.marks.until && !p.marks.moved && !p.marks.cut
}

// openRound begins a round, unless the log has just begun anew.
func (p *Partition) openRound(r *round) bool {
	p.mu.Lock()
	defer p.release()
	if !p.checkpointable() {
		return false
	}
	m := &p.marks
	h := &r.header
	h.Version, h.Epoch, h.TopicID = proto.CheckpointVersion, p.epoch, p.topicID
	h.Settings = p.settings()
	h.Floor, h.Complete, h.Fingerprint = p.next-1, p.complete, p.last
	p.books.SaveShared(&h.Shared)
	r.due, m.dirty, r.at = m.dirty, r.due[:0], 0
	r.voided = m.voided
	return true
}

// touchForgotten sees to it that the next round says of what the books remember no
// more. ended is by symbol.
func (p *Partition) touchForgotten(ended map[string][]byte) {
	p.mu.Lock()
	defer p.release()
	var s proto.SymbolState
	for name := range ended {
		if !p.books.Save(name, &s) {
			p.marks.touch(p.symbols[name], []byte(name))
		}
	}
}

// copyStates copies the next states of the round into to, at most about hold
// bytes and at least one, and returns how many; 0: all were copied.
// One of nothing but a name is a symbol of which nothing is known.
func (p *Partition) copyStates(r *round, to []proto.SymbolState, hold int) (int, error) {
	p.mu.Lock()
	defer p.release()
	if p.marks.voided != r.voided {
		return 0, errRoundVoid
	}
	from := time.Now()
	n, size := 0, 0
	for ; n < len(to) && r.at < len(r.due) && (n == 0 || size < hold); n++ {
		k := r.due[r.at]
		r.at++
		k.dirty = false
		p.save(k, &to[n])
		switch {
		case known(&to[n]):
		case to[n].Offset > r.header.Floor:
			p.marks.add(k) // an empty state, which the next round takes away
		default:
			p.marks.drop(k)
		}
		size += stateMemory(&to[n])
	}
	p.checkpoint.held(time.Since(from))
	return n, nil
}

// closeRound ends a round, after its last state was copied.
func (p *Partition) closeRound(r *round) error {
	p.mu.Lock()
	defer p.release()
	if p.marks.voided != r.voided {
		return errRoundVoid
	}
	r.header.Ceiling, r.header.Last = p.next-1, p.last
	var now proto.SharedState
	p.books.SaveShared(&now)
	r.header.Shared.Feeds = now.Feeds // of all states
	return nil
}

// redo says that the round was given up: what it was to hold is due again.
func (p *Partition) redo(r *round) {
	p.mu.Lock()
	defer p.release()
	m := &p.marks
	if m.voided != r.voided {
		return // everything is due
	}
	for i, k := range r.due {
		if i >= r.at || !k.dirty {
			m.add(k)
		}
	}
}

// save copies what is known of a symbol.
func (p *Partition) save(k *mark, to *proto.SymbolState) {
	to.Symbol, to.Offset = k.name, p.next-1
	to.HasBook = p.books.Save(k.name, to)
	s := p.symbols[k.name]
	if to.Claimed = s != nil; s != nil {
		to.Claim = proto.ClaimState{First: s.first, Raw: s.raw, Defined: s.defined, Exponents: s.exponents}
	}
	p.saveCodecs(k.name, to)
}

// known reports whether a state says anything.
func known(s *proto.SymbolState) bool { return s.HasBook || s.Claimed || len(s.Codecs) > 0 }

// stateMemory is about how many bytes copying s took.
func stateMemory(s *proto.SymbolState) int {
	b := &s.Book
	n := 256 + 24*(len(b.Bids)+len(b.Asks)) + 40*(len(b.BidOrders)+len(b.AskOrders)) + 64*len(b.Trades)
	for i := range s.Codecs {
		n += len(s.Codecs[i].State)
	}
	for i := range b.Held {
		n += b.Held[i].Memory()
	}
	return n
}

// checkpointer writes the checkpoints of one partition.
type checkpointer struct {
	// Static.
	cluster   *Cluster
	cfg       *CheckpointConfig
	partition *Partition
	to        PartitionID // of the Kafka topic for checkpoints
	stats     *CheckpointStats
	wake      chan struct{} // enough was read; see marks

	// Owned by who runs: Partition.Run until it starts run, then that.
	tx     *transaction      // nil: to be made
	kept   map[string]kept   // what the Kafka topic holds by symbol; nil: not known
	ended  map[string][]byte // states of symbols that have ended, which the header carries
	sum    inventory         // of the states that count
	states int               // that count
	epoch  uint64            // of the last round
	floor  int64             // of the last round
	round  round
	copies []proto.SymbolState
	bytes  []byte // a state
}

// newCheckpointer gives p checkpoints, in one of so many partitions of the Kafka
// topic for them.
func newCheckpointer(cluster *Cluster, cfg *CheckpointConfig, p *Partition, spread int32) *checkpointer {
	c := &checkpointer{cluster: cluster, cfg: cfg, partition: p, stats: p.checkpoint, wake: make(chan struct{}, 1),
		to: PartitionID{cfg.KafkaTopic, checkpointPartition(p.id, spread)}, floor: -1}
	p.marks.writing, p.marks.due, p.marks.wake = cfg.Mode == CheckpointsWrite, cfg.Records, c.wake
	return c
}

// kept is what the Kafka topic for checkpoints holds under a symbol.
type kept struct {
	chunks int   // indexes in use
	counts bool  // it is of the last round's epoch, and counted by its header
	offset int64 // where it counts
}

// maxCopies bounds how many symbols are copied in one hold of the lock.
const maxCopies = 64

// run makes a round whenever one is due, and a last one after ctx has ended, until
// another process takes over.
func (c *checkpointer) run(ctx context.Context) {
	defer c.close()
	lasting, cancel := outlive(ctx, c.cfg.StopTimeout)
	defer cancel()
	timer := time.NewTimer(c.cfg.Interval)
	defer timer.Stop()
	wake := c.wake
	for {
		select {
		case <-ctx.Done():
			_ = c.make(lasting) // it has told
			return
		case <-wake:
		case <-timer.C:
		}
		err := c.make(lasting)
		wake = c.wake
		switch {
		case errors.Is(err, ErrFenced):
			return
		case err != nil:
			wake = nil // not before the next interval
		}
		timer.Reset(c.cfg.Interval)
	}
}

// outlive returns a context that ends so long after ctx.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	lasting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(by, cancel)
		context.AfterFunc(lasting, func() { t.Stop() })
	})
	return lasting, func() { stop(); cancel() }
}

func (c *checkpointer) close() {
	if c.tx != nil {
		c.tx.close()
		c.tx = nil
	}
}
