package load

import (
	"context"
	"fmt"
	"time"

	"github.com/depthcast/depthcast/bench/swarm"
	"github.com/depthcast/depthcast/proto"
)

// askAgain is the pause between two looks at books that are not yet the feed's.
const askAgain = 200 * time.Millisecond

// flushWithin bounds the end of the feed.
const flushWithin = 10 * time.Second

// Proof is what became of the rebuilt books when the feed had ended: what the
// server says of itself cannot show that it read the log wrongly, this does.
type Proof struct {
	Wanted int `json:"wanted"` // subscriptions of fast readers that rebuild their books
	Books  int `json:"books"`  // of them, that were live at last
	Equal  int `json:"equal"`  // of these, to the feed's
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
	within, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	if err := l.config.Feed.Finish(within); err != nil {
		return fmt.Errorf("load: the feed: %w", err)
	}
	for deadline := time.Now().Add(l.config.ProveWithin); ; {
		rows, err := l.standings(ctx)
		if err != nil {
			return err
		}
		proof, wrong := l.compare(rows)
		if proof.Equal == proof.Wanted || time.Now().After(deadline) {
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
			return fmt.Errorf("load: while the rebuilt books become the feed's: %w", context.Cause(ctx))
		}
	}
}

// standings asks all workers for their rebuilt books, of which a worker may have none.
func (l *leader) standings(ctx context.Context) (all []swarm.Standing, err error) {
	if err := l.ask(ctx, order{Books: true}, "how its books stand"); err != nil {
		return nil, err
	}
	for _, w := range l.workers {
		all = append(all, w.books...)
	}
	return all, nil
}

// compare counts the books that are the feed's; wrong is the first that is not.
func (l *leader) compare(rows []swarm.Standing) (p Proof, wrong *swarm.Fault) {
	plan := &l.config.Plan
	p.Wanted = plan.Rebuilt() * plan.PerConn
	for _, row := range rows {
		p.Books += row.Books
		truth := l.config.Feed.Hash(int(row.Symbol), proto.GrantDepth(row.Depth))
		if row.Hash == truth {
			p.Equal += row.Books
			continue
		}
		if wrong == nil {
			wrong = &swarm.Fault{
				Time: time.Now().UTC(), Kind: swarm.WrongBook, Conn: row.Conn, Full: true, Symbol: plan.Symbols[row.Symbol],
				Text: fmt.Sprintf("%d rebuilt books have hash %08x %v after the end of the feed, whose own has %08x", row.Books, row.Hash, l.config.ProveWithin, truth),
				Mine: row.Seq, Hash: fmt.Sprintf("%08x", row.Hash), Says: fmt.Sprintf("%08x", truth),
			}
		}
	}
	return p, wrong
}
