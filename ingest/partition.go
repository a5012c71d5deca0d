package ingest

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"

	"github.com/depthcast/depthcast/proto"
)

// Books is what a partition applies batches to; book.Engine is it, but for
// Release, which wakes those who deliver. All calls are made under the
// partition's lock.
type Books interface {
	// Begin says that the records that follow belong to the log epoch; books of
	// another log are void. complete: the log is read from offset 0 and tells
	// everything from there, so that a symbol begins with an empty, whole book.
	Begin(epoch uint64, complete bool)
	// Apply applies a batch, or refuses it as a whole with a *proto.RecordError,
	// having put its book into recovering if it concerns one. A batch without a
	// symbol holds heartbeats of its feed.
	Apply(b *proto.Batch) (proto.Outcome, error)
	// Best returns the best bid and offer of a symbol's book; false if it is not
	// known to be whole.
	Best(symbol string) (proto.Quote, bool)
	// Living is how many symbols have a book and have not ended.
	Living() int
	// Refuse puts a book into recovering because of something at the offset seq
	// that Apply never saw. A symbol without a book will not begin whole. "":
	// every book, and no symbol to come begins whole. ReasonNone: its book is not
	// concerned, but trades of it may be missing. With ReasonTruncated and
	// ReasonRecreated offsets may come a second time; else a book that was
	// restored as of seq or later is passed over.
	Refuse(symbol string, seq int64, reason proto.Reason)
	// CatchingUp: while on, no book is live.
	CatchingUp(on bool)
	// SetStale begins or ends a reason for which the books of a feed ("": all)
	// are stale. Reasons are independent of one another.
	SetStale(feed string, reason proto.Reason, on bool)
	// Tick renews the marks of open views. now is in ns since 1970.
	Tick(now int64)
	// Save copies the symbol's book into to.Book, as it is behind the last record
	// applied, and reports whether there is one; if not, to.Tainted is set where
	// none would begin whole. It reuses the memory of to, whose other fields it
	// leaves alone, and takes as long as copying does: what must
	// be put in order is left to proto.AppendSymbolState, outside the lock. An
	// instrument that has ended has a book until it is forgotten.
	Save(symbol string, to *proto.SymbolState) bool
	// Restore makes the book that Save copied, in place of none, and judges it as
	// strictly as records; with an error the symbol has no book. From then on
	// Refuse passes over what lies at or before s.Offset. It comes between Begin
	// and the first Apply.
	Restore(s *proto.SymbolState) error
	// SaveShared copies what the books have in common, and RestoreShared puts it
	// back, after Begin and before any Restore. Whole and Tainted are to be of the
	// offset from which the log is read on; Feeds, which only grow, of one that no
	// restored book is beyond. Where symbols are made anew, RestoreShared comes
	// once more behind the last Restore, for them.
	SaveShared(to *proto.SharedState)
	RestoreShared(s *proto.SharedState) error
	// Release comes last under each hold of the lock: what was published under it
	// may be delivered.
	Release()
}

// rulesVersion is part of every epoch; see Epoch.
const rulesVersion = 1

// Partition reads one partition and applies it to its books.
type Partition struct {
	// Static.
	id        PartitionID
	topic     TopicConfig
	order     int // of its Kafka topic among those configured
	count     int // partitions of its Kafka topic
	cfg       *Config
	source    Source
	late      *delayed // source, if it is one; else nil
	directory *Directory
	clusterID func(context.Context) (string, error)
	now       func() time.Time
	log       *slog.Logger
	stats     *Stats

	moved moved // any goroutine

	checkpoint  *CheckpointStats
	checkpoints *checkpointer // nil: none; it starts with Run

	mu          sync.Mutex // the lock: guards books and what follows
	books       Books
	feeds       feeds
	catchingUp  bool
	answered    time.Time // when the broker last answered
	leastLag    int64     // since the last tick
	unreachable hysteresis
	behind      hysteresis
	epoch       uint64
	complete    bool
	next        int64 // offset after the last one seen
	target      int64 // caught up when next reaches it; -1: not known
	codecs      map[string]Codec
	symbols     map[string]*symbol
	marks       marks
	last        proto.Fingerprint // of the last record read, if checkpoints are written

	// Written by Run's goroutine under the lock.
	topicID [16]byte // the log being read; see Directory.begin
	begun   bool     // Books.Begin was called for it

	// Owned by Run's goroutine.
	failing    bool // the last Next failed
	hasher     kgo.TopicPartitioner
	tally      tally
	logLimit   *rate.Limiter
	suppressed int // log lines left out since the last
}

// partitionConfig is what Ingest gives a partition.
type partitionConfig struct {
	topic     TopicConfig
	order     int
	count     int
	topicID   [16]byte
	source    Source
	books     Books
	directory *Directory
	clusterID func(context.Context) (string, error)
	now       func() time.Time
}

func newPartition(cfg *Config, c partitionConfig) *Partition {
	id := c.source.Partition()
	p := &Partition{
		id: id, topic: c.topic, order: c.order, count: c.count, cfg: cfg, source: c.source,
		directory: c.directory, clusterID: c.clusterID, now: c.now,
		log:   cfg.Log.With("kafka_topic", id.KafkaTopic, "partition", id.Partition),
		stats: &Stats{}, books: c.books,
		feeds: feeds{of: map[string]*feed{}, max: cfg.MaxFeeds}, answered: c.now(),
		hasher:   kgo.StickyKeyPartitioner(nil).ForTopic(id.KafkaTopic),
		logLimit: rate.NewLimiter(1, 10), checkpoint: &CheckpointStats{}, marks: newMarks(cfg.MaxSymbols),
	}
	p.late, _ = c.source.(*delayed)
	p.checkpoint.Floor.Store(-1)
	p.directory.begin(p, c.topicID)
	p.setCatchingUp(true)
	p.forget()
	return p
}

// ID is the partition read.
func (p *Partition) ID() PartitionID { return p.id }

// Stats are the partition's counts.
func (p *Partition) Stats() *Stats { return p.stats }

// Checkpoints are the counts of its checkpoints.
func (p *Partition) Checkpoints() *CheckpointStats { return p.checkpoint }

// Books are the partition's books, for use inside Do only.
func (p *Partition) Books() Books { return p.books }

// Do calls f while nothing else touches the partition's books. f must be brief:
// the partition waits. It must not call Do.
func (p *Partition) Do(f func()) {
	p.mu.Lock()
	defer p.release()
	f()
}

// Waiting is how many records are in the log and not due yet: see Config.Delay.
func (p *Partition) Waiting() int64 {
	if p.late == nil {
		return 0
	}
	return p.late.waiting()
}

// release ends a hold of the lock.
func (p *Partition) release() {
	p.books.Release()
	p.mu.Unlock()
}

// CaughtUp reports whether the partition has reached the end of its log since
// its start, or since the Kafka topic was recreated.
func (p *Partition) CaughtUp() bool { return !p.stats.CatchingUp.Load() }

// Run reads until ctx ends, and closes the source. It fails by no error of the
// source: those become states of the books, counts and log lines. It begins where
// a checkpoint was made, and returns after the last one was written.
func (p *Partition) Run(ctx context.Context) error {
	defer p.source.Close()
	if c := p.checkpoints; c != nil {
		c.start(ctx)
		if p.marks.writing {
			written := make(chan struct{})
			go func() { c.run(ctx); close(written) }()
			defer func() { <-written }()
		}
	}
	for {
		f, err := p.source.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			p.failed(err)
			continue
		}
		if !p.begun && !p.begin(ctx, &f) {
			return nil
		}
		p.fetched(&f)
	}
}

// begin starts the books on the log that f is from. It waits for the cluster's
// id, which the epoch needs, and reports false when ctx ended before.
func (p *Partition) begin(ctx context.Context, f *Fetched) bool {
	clusterID, err := p.clusterID(ctx)
	for err != nil {
		p.failed(err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Second):
		}
		clusterID, err = p.clusterID(ctx)
	}
	p.mu.Lock()
	defer p.release()
	p.begun, p.target = true, f.HighWatermark
	p.epoch = p.epochOf(clusterID)
	from := f.From
	p.complete = p.topic.Complete && from == 0
	if p.topic.Complete && !p.complete {
		p.log.Warn("not complete: the log is not read from offset 0; books wait for snapshots", "from", from)
	}
	p.log.Info("reading", "from", from, "high_watermark", f.HighWatermark, "complete", p.complete)
	p.books.Begin(p.epoch, p.complete)
	return true
}

// fetched applies what a call of Next brought, HoldRecords to a hold of the lock.
func (p *Partition) fetched(f *Fetched) {
	now := p.now()
	if p.failing {
		p.failing = false
		p.log.Info("reading again")
	}
	p.stats.answered(f, p.lastAnswer(now))
	records, gaps := f.Records, f.Gaps
	for {
		n := min(len(records), p.cfg.HoldRecords)
		last := n == len(records)
		p.mu.Lock()
		p.answered = now
		if p.late != nil { // what is due may turn out to end before what was told of it
			p.target = min(p.target, f.HighWatermark)
		}
		p.judgeMoved()
		for i := range records[:n] {
			gaps = p.gapsBefore(records[i].Offset, gaps)
			p.record(&records[i], now)
		}
		if last {
			p.gapsBefore(f.Next, gaps)
			p.advance(f.Next)
		} else {
			p.advance(records[n-1].Offset + 1)
		}
		p.noteRead(records[:n])
		p.release()
		p.stats.add(&p.tally)
		if last {
			return
		}
		records = records[n:]
	}
}

// lastAnswer is when the broker last answered, if something was fetched now.
func (p *Partition) lastAnswer(now time.Time) time.Time {
	if p.late == nil {
		return now
	}
	return p.late.lastAnswer()
}

// advance moves the position and sees whether that is caught up.
func (p *Partition) advance(next int64) {
	p.next = next
	p.stats.NextOffset.Store(next)
	lag := p.stats.Lag()
	p.leastLag = min(p.leastLag, lag)
	if p.catchingUp && next >= p.target && lag <= p.cfg.MaxLag {
		p.setCatchingUp(false)
		p.log.Info("caught up", "next", next)
	}
}

// setCatchingUp is called under the lock.
func (p *Partition) setCatchingUp(on bool) {
	if p.catchingUp == on {
		return
	}
	p.catchingUp = on
	p.stats.CatchingUp.Store(on)
	p.directory.catchingUp(on)
	if !on {
		p.judgeSilence(p.now()) // of a feed that is dead nothing is shown as live
	}
	p.books.CatchingUp(on)
}

// forget drops everything that was learnt from an earlier log.
func (p *Partition) forget() {
	p.begun, p.complete, p.next, p.target = false, false, 0, -1
	p.codecs = map[string]Codec{}
	p.symbols = map[string]*symbol{}
	p.marks.forget()
	p.last = proto.Fingerprint{Offset: -1}
	p.stats.Symbols.Store(0)
}

// warn logs at a limited rate, and says how much it left out.
func (p *Partition) warn(text string, args ...any) {
	if !p.logLimit.Allow() {
		p.suppressed++
		return
	}
	if p.suppressed > 0 {
		args = append(args, "suppressed", p.suppressed)
		p.suppressed = 0
	}
	p.log.Warn(text, args...)
}
