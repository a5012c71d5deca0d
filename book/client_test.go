package book

import (
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// client follows one view by the rule of a subscriber: apply what follows, ignore
// what is old, and let a snapshot replace. Beside it, a slow twin applies only net
// deltas, merged by the last write to each level.
type client struct {
	m       *market
	view    *View
	live    bool // or stale: it shows a book
	partial bool
	mine    int64 // seq
	book    map[naiveKey]proto.Level

	entry int64 // seq of the entry before
	slow  map[naiveKey]proto.Level
	net   map[naiveKey]proto.Level // what the twin has yet to apply
}

func (m *market) join(v proto.View) {
	c := &client{m: m}
	view, err := m.engine.Open(proto.TopicKey{Symbol: "SIM:A", Channel: proto.ChannelBook, View: v}, c)
	if err != nil {
		m.fatalf("open: %v", err)
	}
	c.view = view
	m.clients = append(m.clients, c)
	c.replace()
}

// replace takes the snapshot in place of all.
func (c *client) replace() {
	var s proto.Snapshot
	c.view.Snapshot(&s)
	c.book = map[naiveKey]proto.Level{}
	c.slow, c.net = map[naiveKey]proto.Level{}, map[naiveKey]proto.Level{}
	for _, l := range s.Bids {
		c.book[naiveKey{proto.Bid, l.Price}] = l
		c.slow[naiveKey{proto.Bid, l.Price}] = l
	}
	for _, l := range s.Asks {
		c.book[naiveKey{proto.Ask, l.Price}] = l
		c.slow[naiveKey{proto.Ask, l.Price}] = l
	}
	c.partial = s.Partial
	c.mine, c.entry, c.live = s.Seq, s.Seq, s.State != proto.Recovering
}

func (c *client) Delta(d *proto.Delta) {
	c.m.deltas++
	switch {
	case !c.live:
		c.m.fatalf("a delta to a book that is not live")
	case d.PrevSeq != c.entry || d.PrevSeq > c.mine || c.mine >= d.Seq:
		c.m.fatalf("delta %d->%d after an entry of seq %d, the client being at %d", d.PrevSeq, d.Seq, c.entry, c.mine)
	case d.Levels() == 0:
		c.m.fatalf("an empty delta at %d", d.Seq)
	}
	c.apply(proto.Bid, d.Bids)
	c.apply(proto.Ask, d.Asks)
	c.mine, c.entry = d.Seq, d.Seq
	if c.m.choose(4) == 0 {
		merge(c.slow, c.net)
		clear(c.net)
	}
}

func (c *client) apply(side proto.Side, levels []proto.Level) {
	if !slices.IsSortedFunc(levels, func(a, b proto.Level) int { return bestFirst(side, a.Price, b.Price) }) {
		c.m.fatalf("a delta is not best first: %v", levels)
	}
	for _, l := range levels {
		c.net[naiveKey{side, l.Price}] = l
		merge(c.book, map[naiveKey]proto.Level{{side, l.Price}: l})
	}
}

func merge(to, changes map[naiveKey]proto.Level) {
	for k, l := range changes {
		if l.Qty == 0 {
			delete(to, k)
		} else {
			to[k] = l
		}
	}
}

func (c *client) Trades(*proto.Trades)           { c.m.fatalf("trades on a view of the book") }
func (c *client) Ticker(*proto.Ticker)           { c.m.fatalf("a ticker on a view of the book") }
func (c *client) Instruments(*proto.Instruments) { c.m.fatalf("a listing on a view of the book") }

func (c *client) Status(s *proto.Status) {
	live := s.State != proto.Recovering
	if live && !c.live {
		c.m.fatalf("live again without a snapshot, at %d", s.Seq)
	}
	if s.Seq < c.entry {
		c.m.fatalf("a status of seq %d after an entry of seq %d", s.Seq, c.entry)
	}
	c.partial = s.Partial
	c.live, c.entry, c.mine = live, s.Seq, max(c.mine, s.Seq)
}

func (c *client) Reset(proto.SnapshotReason) {
	c.m.resets++
	c.replace()
	if !c.live {
		c.m.fatalf("a reset to a book that is not live")
	}
}

func (c *client) Mark(proto.Mark) {}

// compare fails if the client shows as live what is not the book.
func (c *client) compare(bids, asks []proto.Level, whole bool) {
	if c.live != whole {
		c.m.fatalf("the client believes that the book is live: %v; it is whole: %v", c.live, whole)
	}
	if !c.live {
		return
	}
	want := map[naiveKey]proto.Level{}
	for _, l := range bids {
		want[naiveKey{proto.Bid, l.Price}] = l
	}
	for _, l := range asks {
		want[naiveKey{proto.Ask, l.Price}] = l
	}
	twin := map[naiveKey]proto.Level{}
	merge(twin, c.slow)
	merge(twin, c.net)
	for _, got := range []map[naiveKey]proto.Level{c.book, twin} {
		if len(got) != len(want) {
			c.m.fatalf("view %+v: the client has\n%v\nthe book is\n%v", c.view.key.View, got, want)
		}
		for k, l := range want {
			if got[k] != l {
				c.m.fatalf("view %+v: the client has\n%v\nthe book is\n%v", c.view.key.View, got, want)
			}
		}
	}
}
