//go:build verify

package book

import (
	"strings"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

func TestVerifyNamesTheBrokenInvariant(t *testing.T) {
	order := func(id uint64, price int64) proto.Order { return proto.Order{ID: id, Price: price, Qty: 5} }
	fill := proto.Event{Kind: proto.EventSnapshot, BidOrders: []proto.Order{order(1, 100), order(2, 100), order(3, 99)}}
	for sentence, damage := range map[string]func(b *book){
		"not whole": func(b *book) { b.whole = false },
		"out of order": func(b *book) {
			r := b.bids.levels.far.rungs
			r[0], r[1] = r[1], r[0]
		},
		"has quantity 0":   func(b *book) { b.bids.get(99).qty = 0 },
		"its queue":        func(b *book) { b.bids.get(100).count++ },
		"behind order 1":   func(b *book) { b.orders.slab[b.bids.get(100).head].rankIndex = 7 },
		"wrong queue":      func(b *book) { b.orders.slab[1].key++ },
		"its index":        func(b *book) { b.orders.index.n++ },
		"its levels say":   func(b *book) { b.views[0].hash++ },
		"ahead of it":      func(b *book) { b.views[0].last = 99 },
		"left uninstalled": func(b *book) { b.parts.active = true },
	} {
		t.Run(sentence, func(t *testing.T) {
			e := liveEngine(t)
			must(t, e, &proto.Batch{Symbol: "SIM:A", Seq: 1, Events: []proto.Event{fill}})
			if _, err := e.Open(bookKey(10), &silent{}); err != nil {
				t.Fatal(err)
			}
			b := e.books["SIM:A"]
			b.verify()
			defer func() {
				if said, _ := recover().(string); !strings.Contains(said, sentence) {
					t.Fatalf("said %q", said)
				}
			}()
			damage(b)
			b.verify()
		})
	}
}
