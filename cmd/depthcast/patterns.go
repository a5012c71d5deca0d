package main

import (
	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// pattern brings what one partition lists to the board of a pattern. Called under
// the partition's lock.
type pattern struct {
	board     *fanout.Board
	partition *ingest.Partition
	directory *ingest.Directory
	wakes     *fanout.Wakes
}

var _ book.Lister = (*pattern)(nil)

// Listed is book.Lister's. A symbol may have been seen in a partition that it
// turned out not to live in.
func (p *pattern) Listed(l *proto.Listing, times proto.Times) {
	if owner, _ := p.directory.Find(l.Symbol); owner == p.partition {
		p.board.Listed(l, times, p.wakes)
	}
}

// Restarted is book.Lister's. With the claims of the Kafka topic that was recreated
// went those of all its partitions; what they list anew they claim first.
func (p *pattern) Restarted() {
	p.board.Keep(func(symbol string) bool {
		owner, _ := p.directory.Find(symbol)
		return owner != nil
	}, p.wakes)
}

// Tick is book.Lister's.
func (p *pattern) Tick() { p.board.Tick() }

// openPattern opens the instruments topic of a pattern over all partitions, one
// after the other. Before all have caught up nobody knows what matches.
func (b books) openPattern(key proto.TopicKey, t *fanout.Topic) error {
	if !b.ingest.CaughtUp() {
		return proto.ErrNotReady
	}
	board := fanout.NewBoard(t)
	partitions := b.ingest.Partitions()
	lists := make([]*book.List, len(partitions))
	for i, p := range partitions {
		p.Do(func() {
			e := p.Books().(*partitionBooks)
			lists[i] = e.List(key.Symbol, &pattern{board, p, b.ingest.Directory(), &e.wakes})
		})
	}
	board.Open(func() {
		for i, p := range partitions {
			p.Do(lists[i].Close)
		}
	})
	return nil
}
