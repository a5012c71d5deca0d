package main

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"

	"github.com/depthcast/depthcast/book"
	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// orderFollower rebuilds a view of orders as a client does, without a wire.
type orderFollower struct {
	t    *testing.T
	view *book.View
	book *client.Book
	shot proto.Snapshot
}

func followOrders(t *testing.T, e *book.Engine, symbol string) *orderFollower {
	t.Helper()
	f := &orderFollower{t: t, book: client.NewBookByOrder()}
	var err error
	if f.view, err = e.Open(proto.TopicKey{Symbol: symbol, Channel: proto.ChannelOrders}, f); err != nil {
		t.Fatal(err)
	}
	f.Reset(proto.SnapshotInitial)
	return f
}

func (f *orderFollower) Delta(d *proto.Delta) {
	if got := f.book.ApplyDelta(d); got != client.Applied {
		f.t.Fatalf("the delta of seq %d: %v", d.Seq, got)
	}
}

func (f *orderFollower) Reset(proto.SnapshotReason) {
	f.view.Snapshot(&f.shot)
	if got := f.book.ApplySnapshot(&f.shot); got != client.Applied {
		f.t.Fatalf("the snapshot of seq %d: %v", f.shot.Seq, got)
	}
}

func (f *orderFollower) Status(s *proto.Status)         { f.book.ApplyStatus(s) }
func (f *orderFollower) Trades(*proto.Trades)           {}
func (f *orderFollower) Ticker(*proto.Ticker)           {}
func (f *orderFollower) Instruments(*proto.Instruments) {}
func (f *orderFollower) Mark(proto.Mark)                {}

// nameless is from where on identifiers are of orders whose own LOBSTER does not
// tell.
const nameless = 1 << 63

// queueJudge counts which orders executions hit, by their place in the queue that
// the book had before.
type queueJudge struct {
	first, namelessFirst, other int
}

// judge takes a message, "time,type,order_id,size,price,direction", before it is
// applied to b.
func (j *queueJudge) judge(t *testing.T, message []byte, b *client.Book) {
	columns := bytes.Split(message, []byte{','})
	if len(columns) != 6 || string(columns[1]) != "4" {
		return // no execution of a visible order
	}
	id, err1 := strconv.ParseUint(string(columns[2]), 10, 64)
	price, err2 := strconv.ParseInt(string(columns[4]), 10, 64)
	if err1 != nil || err2 != nil {
		t.Fatalf("%s: %v, %v", message, err1, err2)
	}
	side := proto.Bid
	if columns[5][0] == '-' {
		side = proto.Ask
	}
	queue := b.Queue(side, price)
	orders, _, known := b.Ahead(id)
	switch {
	case known && orders == 0 && queue[0].ID == id:
		j.first++
	case !known && len(queue) > 0 && queue[0].ID >= nameless:
		j.namelessFirst++
	default:
		j.other++
	}
}

// An exchange serves the orders at a price by their time. So the order that an
// execution hits stands first in its queue, as far as the recording tells orders.
func TestTruthLobsterExecutionsHitTheOrderServedFirst(t *testing.T) {
	dir := truthDir(t)
	alone, j := newBookAlone(t, googDay.format), &queueJudge{}
	var f *orderFollower
	records, _ := eachRecord(t, googDay.config(dir, false), func(offset int64, r *ingest.Record) error {
		if f != nil {
			j.judge(t, bytes.Split(r.Value, []byte{'\n'})[1], f.book)
		}
		if b := alone.apply(t, offset, r); b != nil && f == nil {
			f = followOrders(t, alone.engine, b.Symbol)
		}
		return nil
	})
	if records != googRows+2 {
		t.Fatalf("%d records", records)
	}
	figure := fmt.Sprintf("%d/%d/%d", j.first, j.namelessFirst, j.other)
	finding{googDay.name, pathAlone, "orders, full", "executions that hit the order served first: of known id/of none/another order", figure, "6944/815/5"}.report(t)
}
