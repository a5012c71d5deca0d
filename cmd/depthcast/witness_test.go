package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// witness is a client that follows books for as long as the test lasts, holds
// each book that it is shown against the ledger, and notes what it lived through.
type witness struct {
	t      *testing.T
	server *running
	ledger *ledger
	client *client.Client
	stop   func() // ends it and waits; may be called twice

	mu    sync.Mutex
	notes map[string]*notes // by symbol
}

// notes are of one symbol; guarded by the witness's lock.
type notes struct {
	standing  []string // state and reason, each when it changed
	deltas    []int64  // seqs
	sets      []string // reasons of snapshots
	seq       int64
	epoch     uint64
	firstLive int64 // seq of the book when it was first live
	resumed   int   // grants that went on without a snapshot
	refused   []string
	lost      int
	cut       int // times that it was disconnected
	connected int
}

// stand is the last standing, such as "live" or "recovering bad_record".
func (n *notes) stand() string {
	if len(n.standing) == 0 {
		return ""
	}
	return n.standing[len(n.standing)-1]
}

// answered counts how often a server said where the book goes on from: by a
// resume or a snapshot. Before that the notes are of an earlier connection.
func (n *notes) answered() int { return n.resumed + len(n.sets) }

// follow starts a witness of full books that is sent every frame.
func (g *ledger) follow(r *running, codec proto.Codec, symbols ...string) *witness {
	r.t.Helper()
	return g.witness(r, r.dial(codec), symbols...)
}

// witness is follow with a client of the test's choice.
func (g *ledger) witness(r *running, c *client.Client, symbols ...string) *witness {
	r.t.Helper()
	return g.witnessOf(r, c, client.Item{Policy: pb.Policy_POLICY_DROP}, symbols...)
}

// witnessOf is witness of other views than whole books.
func (g *ledger) witnessOf(r *running, c *client.Client, item client.Item, symbols ...string) *witness {
	r.t.Helper()
	w := &witness{t: r.t, server: r, ledger: g, client: c, notes: map[string]*notes{}}
	for _, s := range symbols {
		w.notes[s] = &notes{seq: -1, firstLive: -1}
		item.Symbol = s
		subscribe(r.t, w.client, item)
	}
	ctx, cancel := context.WithCancel(g.lab.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for event, err := range w.client.Events(ctx) {
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					w.t.Errorf("a witness ended: %v", err)
				}
				return
			}
			w.note(event)
		}
	}()
	w.stop = func() { cancel(); <-ended }
	r.t.Cleanup(w.stop)
	return w
}

// note is called by the loop over the client's events.
func (w *witness) note(event client.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sub *client.Subscription
	switch e := event.(type) {
	case *client.Connected:
		for _, n := range w.notes {
			n.connected++
		}
	case *client.Disconnected:
		for _, n := range w.notes {
			n.cut++
		}
	case *client.Refused:
		sub = e.Sub
		n := w.notes[sub.Item().Symbol]
		n.refused = append(n.refused, proto.ErrorCodeWord(e.Error.GetCode()))
	case *client.BookLost:
		sub = e.Sub
		w.notes[sub.Item().Symbol].lost++
	case *client.Granted:
		sub = e.Sub
		if e.Ack.Resumed {
			w.notes[sub.Item().Symbol].resumed++
		}
	case *client.BookSet:
		sub = e.Sub
		n := w.notes[sub.Item().Symbol]
		n.sets = append(n.sets, proto.SnapshotReasonWord(e.Reason))
	case *client.BookChanged:
		sub = e.Sub
		n := w.notes[sub.Item().Symbol]
		n.deltas = append(n.deltas, e.Delta.Seq)
	case *client.StatusChanged:
		sub = e.Sub
	case *client.Alive:
		sub = e.Sub
	}
	if sub != nil {
		w.look(sub)
	}
}

// look holds the book of sub against the ledger.
func (w *witness) look(sub *client.Subscription) {
	symbol, b := sub.Item().Symbol, sub.Book()
	n := w.notes[symbol]
	standing := proto.StateWord(b.State())
	if b.Reason() != proto.ReasonNone {
		standing += " " + proto.ReasonWord(b.Reason())
	}
	if n.stand() != standing {
		n.standing = append(n.standing, standing)
	}
	if b.State() == proto.Live && n.firstLive < 0 {
		n.firstLive = b.Seq()
	}
	n.seq, n.epoch = b.Seq(), b.Epoch()
	if b.State() == proto.Recovering {
		if b.Len(proto.Bid)+b.Len(proto.Ask) > 0 {
			w.t.Errorf("%s shows levels while it is recovering", symbol)
		}
		return
	}
	bids, asks := slices.Collect(b.Levels(proto.Bid)), slices.Collect(b.Levels(proto.Ask))
	if wrong := w.ledger.wrong(symbol, sub.Item().Group != "", b.Seq(), proto.HashLevels(bids, asks)); wrong != "" {
		w.t.Errorf("%s %s %s", symbol, standing, wrong)
	}
}

// until waits for what a witness lives through with symbol.
func (w *witness) until(what, symbol string, happened func(*notes) bool) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.t.Logf("%s: %+v", symbol, *w.notes[symbol])
		}
	}()
	w.server.until(symbol+": "+what, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return happened(w.notes[symbol])
	})
}

// live waits until the witness has the live book of symbol at seq or later.
func (w *witness) live(symbol string, seq int64) {
	w.t.Helper()
	w.until("live", symbol, func(n *notes) bool { return n.stand() == "live" && n.seq >= seq })
}

// unmoved fails unless the witness, live with symbol from the beginning, has been
// sent all of deltas and nothing else.
func (w *witness) unmoved(symbol string, deltas []int64) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.notes[symbol]
	if !slices.Equal(n.deltas, deltas) || len(n.sets) != 1 || n.stand() != "live" || len(n.standing) > 2 ||
		n.lost+n.cut+len(n.refused) > 0 {
		w.t.Errorf("%s noticed what was not its own: %+v; want deltas %v", symbol, *n, deltas)
	}
}
