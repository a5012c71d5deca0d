package main

import (
	"slices"
	"strings"

	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// partitionBooks are the books of one partition, and the shards that what they
// publish is for.
type partitionBooks struct {
	*book.Engine
	wakes fanout.Wakes
}

// maxSymbols bounds the symbols of a partition that have not ended. Its books have room for as many
// that have ended or turned out to live elsewhere.
const maxSymbols = 1 << 16

// newBooks makes the books of one partition, otherwise within the default bounds.
func newBooks(ingest.PartitionID) ingest.Books {
	e, err := book.New(book.Config{MaxSymbols: 2 * maxSymbols})
	if err != nil {
		panic(err) // the defaults are valid
	}
	return &partitionBooks{Engine: e}
}

// Release is ingest.Books's.
func (b *partitionBooks) Release() { b.wakes.Flush() }

// books is how the hub reaches the books: it finds a symbol's partition and takes
// its lock.
type books struct {
	ingest *ingest.Ingest
}

var _ fanout.Books = books{}

// in calls f with the engine that holds symbol, under its partition's lock.
func (b books) in(symbol string, f func(p *ingest.Partition, e *partitionBooks) error) error {
	// Asked before the symbol is looked for: one that comes in between is found.
	caughtUp := b.ingest.CaughtUp()
	p, ok := b.ingest.Directory().Find(symbol)
	if !ok {
		if !caughtUp {
			return proto.ErrNotReady
		}
		return proto.ErrUnknownSymbol
	}
	var err error
	p.Do(func() { err = f(p, p.Books().(*partitionBooks)) })
	return err
}

// OpenView is fanout.Books's.
func (b books) OpenView(key proto.TopicKey, t *fanout.Topic) error {
	if key.Channel == proto.ChannelInstruments && proto.IsPattern(key.Symbol) {
		return b.openPattern(key, t)
	}
	return b.in(key.Symbol, func(p *ingest.Partition, e *partitionBooks) error {
		v, err := e.Open(key, t)
		if err == nil {
			t.Opened(view{v, p}, &e.wakes)
		}
		return err
	})
}

// ReadView is fanout.Books's.
func (b books) ReadView(key proto.TopicKey, s *proto.Snapshot) error {
	return b.in(key.Symbol, func(_ *ingest.Partition, e *partitionBooks) error { return e.Read(key, s) })
}

// CaughtUp is fanout.Books's.
func (b books) CaughtUp() bool { return b.ingest.CaughtUp() }

// Symbols is fanout.Books's.
func (b books) Symbols() []proto.SymbolInfo {
	var all []proto.SymbolInfo
	for _, p := range b.ingest.Partitions() {
		var here []proto.SymbolInfo
		p.Do(func() { here = p.Books().(*partitionBooks).Symbols() })
		for _, s := range here {
			// A symbol may have been seen in a partition that it turned out not to live in.
			if owner, found := b.ingest.Directory().Find(s.Symbol); found && owner == p {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b proto.SymbolInfo) int { return strings.Compare(a.Symbol, b.Symbol) })
	return all
}

// view is a book's view as its topic holds it.
type view struct {
	*book.View
	partition *ingest.Partition
}

// Close takes the partition's lock.
func (v view) Close() { v.partition.Do(v.View.Close) }
