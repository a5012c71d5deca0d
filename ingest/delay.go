package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// delayed is a Source whose records come when they are due: when the log has had
// them for the delay. They come in order, so each waits for those before it too.
//
// A record's timestamp, which its producer chose, says when it came into the log,
// as far as the looks that the watcher takes at the log's end allow; so it can
// neither let a record out early nor hold it for ever. Only where nobody looked,
// before this process and while Kafka did not answer, does it count alone, and even
// there a record is held no longer than the delay from when it was fetched.
//
// What was fetched and is not due is held, and nothing more is fetched until it has
// been handed out: the rest waits in the log. The high watermark told is the one
// that is due, too, or, where that is not known, the last that is. What is wrong with
// the log is told when the first record that it may concern can be due.
type delayed struct {
	delayable
	delay    time.Duration
	patience time.Duration // longest time between two answers
	now      func() time.Time
	sleep    func(context.Context, time.Duration)
	log      *slog.Logger

	// Owned by the goroutine that calls Next.
	held    Fetched   // what was fetched and not handed out
	fetched time.Time // when it came
	span    span      // around the record judged last
	spanOf  uint64    // count at that time
	fault   error     // of the log, not told yet; nil: none
	faultAt time.Time // when it is told
	begun   bool      // something was fetched

	mu       sync.Mutex // guards what follows
	seen     sightings
	count    uint64    // of looks noted
	topicID  [16]byte  // of the log that they are of
	logStart int64     // at the last
	coming   sightings // of a log that Next has not come to yet
	comingID [16]byte  // of that
	next     int64     // what was handed out ends before it
	shown    int64     // records before it were due when a checkpoint was made
	answered time.Time // when the broker last did
}

// delayable is a Source that can be made a delayed one.
type delayable interface {
	Source
	seeker
	Recheck()
}

const (
	// idleFor is after how long without a fetch the connection is made anew, so that
	// the log's identity is looked at: a fetch that is under way fails when the log
	// becomes another, while one that comes later may just go on. Brokers close
	// connections that are idle for much longer.
	idleFor = time.Second
	// dueTogether is by how much a record may come later than it is due, so that
	// what becomes due within it comes together.
	dueTogether = 5 * time.Millisecond
	// aheadBytes bounds what is fetched before it is due, as the broker stores it.
	// It is exceeded by a single batch that is larger.
	aheadBytes = 1 << 20
)

func newDelayed(source delayable, topicID [16]byte, delay, patience time.Duration, now func() time.Time, log *slog.Logger) *delayed {
	return &delayed{delayable: source, delay: delay, patience: patience, now: now, sleep: sleep, log: log,
		fetched: now(), seen: newSightings(delay), topicID: topicID}
}

// sleep returns after d, or when ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Next is Source's. An empty answer says that no more is due.
func (d *delayed) Next(ctx context.Context) (Fetched, error) {
	if len(d.held.Records) == 0 && d.fault == nil {
		if err := d.fetch(ctx); err != nil {
			return Fetched{}, err
		}
	}
	n, wait := d.due()
	if n == 0 && wait > 0 {
		d.sleep(ctx, min(max(wait, dueTogether), d.patience))
		if ctx.Err() != nil {
			return Fetched{}, ctx.Err()
		}
		n, wait = d.due()
	}
	if d.fault != nil && wait <= 0 {
		err := d.fault
		d.fault, d.held = nil, d.nothing()
		return Fetched{}, err
	}
	return d.handOut(n), nil
}

// fetch replaces what is held. A fault of the log is no error yet.
func (d *delayed) fetch(ctx context.Context) error {
	if d.now().Sub(d.fetched) > idleFor {
		d.Recheck()
	}
	f, err := d.delayable.Next(ctx)
	d.span, d.fetched = span{}, d.now()
	if err == nil {
		d.held, d.begun = f, true
		d.heard()
		return nil
	}
	if !errors.Is(err, ErrRecreated) && !errors.Is(err, ErrOutOfRange) && !errors.Is(err, ErrCorrupt) {
		return err
	}
	at := d.current() // before looks are given up
	d.failed(err)
	if !d.begun || !at.After(d.fetched) {
		d.held = d.nothing()
		return err
	}
	d.fault, d.faultAt = err, at
	d.held = Fetched{From: d.held.From, Next: d.held.From, HighWatermark: d.held.From, LogStart: d.held.LogStart}
	d.log.Error("something is wrong with the log, which is not due yet", "partition", d.Partition(), "due_in", at.Sub(d.fetched), "err", err)
	return nil
}

// nothing is what is held where the source goes on.
func (d *delayed) nothing() Fetched {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Fetched{From: d.next, Next: d.next, HighWatermark: d.next, LogStart: d.logStart}
}

// failed notes where the source goes on, and what of the looks still counts.
func (d *delayed) failed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var recreated *Recreated
	var outOfRange *OutOfRange
	var corrupt *Corrupt
	switch {
	case errors.As(err, &recreated) && recreated.WasID != recreated.IsID:
		if d.comingID != recreated.IsID {
			d.coming = d.seen.successor()
		}
		d.seen, d.topicID, d.next, d.shown, d.logStart = d.coming, recreated.IsID, 0, 0, 0
		d.coming, d.comingID = sightings{}, [16]byte{}
	case errors.As(err, &recreated):
		d.seen.void()
		d.shown = 0
	case errors.As(err, &outOfRange) && outOfRange.Truncated():
		d.next = outOfRange.LogStart
	case errors.As(err, &outOfRange):
		d.seen.void()
		d.next, d.shown = outOfRange.HighWatermark, 0
	case errors.As(err, &corrupt):
		d.next = corrupt.Next
	}
}

// due counts the records held that are due, and says how long the next one, or the
// fault, is not.
func (d *delayed) due() (n int, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if d.fault != nil {
		return 0, d.faultAt.Sub(now)
	}
	d.seen.forget(now)
	past := max(d.shown, d.seen.old)
	for i := range d.held.Records {
		r := &d.held.Records[i]
		if r.Offset < past {
			continue
		}
		if r.Offset >= d.span.to || d.spanOf != d.count {
			d.span, d.spanOf = d.seen.around(r.Offset), d.count
		}
		if age := d.span.age(r.Time, d.fetched, now); age < d.delay {
			return i, d.delay - age
		}
	}
	return len(d.held.Records), 0
}

// handOut takes the first n records of what is held, which are all that are due.
func (d *delayed) handOut(n int) Fetched {
	f := d.held
	more := n < len(f.Records)
	if more {
		f.Records, f.Next = f.Records[:n], f.From
		if n > 0 {
			f.Next = f.Records[n-1].Offset + 1
		}
		gaps := 0
		for gaps < len(f.Gaps) && f.Gaps[gaps].To <= f.Next {
			gaps++
		}
		f.Gaps = f.Gaps[:gaps]
		d.held.Gaps = d.held.Gaps[gaps:]
	}
	d.held.Records, d.held.From = d.held.Records[n:], f.Next
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault == nil { // else it is of another log, or where that goes on
		d.next = f.Next
	}
	f.LogStart = max(f.LogStart, d.logStart)
	if more || d.fault != nil {
		f.HighWatermark = f.Next // as of the delay ago, that is all
	} else if end, known := d.seen.end(d.now()); known {
		f.HighWatermark = max(f.Next, end)
	}
	return f
}

// note takes a look that the watcher has had. Any goroutine.
func (d *delayed) note(e *WatchEvent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answered = d.now()
	look := sighting{asked: e.Asked, answered: d.answered, low: e.Offsets.HighWatermark, high: e.Offsets.HighWatermark}
	if e.TopicID != d.topicID { // of a log that Next has not come to yet, or has left
		if e.TopicID != d.comingID {
			d.coming, d.comingID = d.seen.successor(), e.TopicID
		}
		d.coming.note(look, e.Offsets.Leader)
		return
	}
	if d.seen.high >= 0 && e.Offsets.Leader != d.seen.leader {
		d.Recheck() // it may lack what was read, and Next would not notice while records wait
	}
	d.seen.note(look, e.Offsets.Leader)
	d.count++
	d.logStart = e.Offsets.LogStart
}

// heard notes that the broker has answered.
func (d *delayed) heard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answered = d.fetched
}

// lastAnswer is when the broker last answered, the watcher or Next. Any goroutine.
func (d *delayed) lastAnswer() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answered
}

// current is until when all that is due has been handed out, whether or not the
// broker answers: nothing is due before the delay has passed since the log lacked it.
// Zero: not known. Any goroutine.
func (d *delayed) current() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	lacked := d.seen.around(d.next).lacked
	if lacked.IsZero() {
		return lacked
	}
	return lacked.Add(d.delay)
}

// waiting is how many records the log has that were not handed out. Any goroutine.
func (d *delayed) waiting() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(0, d.seen.high-d.next)
}

// StartAt is seeker's.
func (d *delayed) StartAt(next int64, last proto.Fingerprint) {
	d.mu.Lock()
	d.next = next
	d.mu.Unlock()
	d.delayable.StartAt(next, last)
}

// wasDue says that the records up to offset were due before this process began.
func (d *delayed) wasDue(offset int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shown = offset + 1
}
