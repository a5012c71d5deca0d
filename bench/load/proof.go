package load

import (
	"context"
	"fmt"
	"time"

	"github.com/depthcast/depthcast/bench/swarm"
	"github.com/depthcast/depthcast/proto"
)

const (
	// provenWithin bounds the time until all rebuilt books are those of the feed,
	// after its end.
	provenWithin = 10 * time.Second
	askAgain     = 200 * time.Millisecond
)

// Proof is what became of the rebuilt books when the feed had ended: what the
// server says of itself cannot show that it read the log wrongly, this does.
type Proof struct {
	Books int `json:"books"` // rebuilt ones, of all connections
	Equal int `json:"equal"` // to the feed's
}

// prove ends the feed and compares the rebuilt books with its own.
func (l *leader) prove(ctx context.Context) error {
	// What comes now is in no phase, but a fault is one.
	last := l.phase
	l.phase = &PhaseReport{}
	defer func() { last.Figures.Faults += l.phase.Figures.Faults }()
	for _, w := range l.workers {
		if err := w.order(order{Step: swarm.StepSteady}); err != nil {
			return err
		}
	}
	within, cancel := context.WithTimeout(ctx, provenWithin)
	defer cancel()
	if err := l.config.Feed.Finish(within); err != nil {
		return fmt.Errorf("load: the feed: %w", err)
	}
	for deadline := time.Now().Add(provenWithin); ; {
		rows, err := l.standings(ctx)
		if err != nil {
			return err
		}
		proof, wrong := l.compare(rows)
		if wrong == nil || time.Now().After(deadline) {
			l.report.Proof = &proof
			if wrong != nil {
				l.phase.Figures.Faults++
				return l.report.fault(l.config, wrong)
			}
			return nil
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// standings asks all workers for their rebuilt books.
func (l *leader) standings(ctx context.Context) (all []swarm.Standing, err error) {
	for _, w := range l.workers {
		w.books = nil
		if err := w.order(order{Books: true}); err != nil {
			return nil, err
		}
	}
	if err := l.hear(ctx, "its rebuilt books", func(w *worker) bool { return w.books != nil }); err != nil {
		return nil, err
	}
	for _, w := range l.workers {
		all = append(all, w.books.Rows...)
	}
	return all, nil
}

// compare counts the books that are the feed's; wrong is the first that is not.
func (l *leader) compare(rows []swarm.Standing) (p Proof, wrong *swarm.Fault) {
	depth := proto.GrantDepth(l.config.Plan.Depth)
	for _, row := range rows {
		p.Books += row.Books
		truth := l.config.Feed.Hash(int(row.Symbol), depth)
		if row.Hash == truth {
			p.Equal += row.Books
			continue
		}
		if wrong == nil {
			wrong = &swarm.Fault{
				Time: time.Now().UTC(), Kind: swarm.WrongBook, Conn: row.Conn, Full: true, Symbol: l.config.Plan.Symbols[row.Symbol],
				Text: fmt.Sprintf("%d rebuilt books have hash %08x %v after the end of the feed, whose own has %08x", row.Books, row.Hash, provenWithin, truth),
				Mine: row.Seq, Hash: fmt.Sprintf("%08x", row.Hash), Says: fmt.Sprintf("%08x", truth),
			}
		}
	}
	return p, wrong
}
