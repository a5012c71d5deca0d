package main

import (
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// ledger writes records and knows, without any code of the product's, which book
// of each symbol is right after each of them. It is the only one to write to the
// lab's events, so that it knows the offset of each record beforehand.
type ledger struct {
	lab        *lab
	kafka      *kgo.Client
	partitions int32
	ends       []int64 // offset of the next record, by partition
	unit       int64   // price mantissas of a group, for witnesses of grouped books; 0: there are none

	mu    sync.Mutex
	books map[string]*page
}

// page is what the ledger knows of one symbol; guarded by the ledger's lock.
type page struct {
	levels map[level]int64
	lines  []entry
}

type level struct {
	side  proto.Side
	price int64
}

// entry says that from seq on, until the next line, the book has this hash; or
// that nobody can know it.
type entry struct {
	seq  int64
	hash uint32
	lost bool

	grouped uint32 // hash of the book by groups
}

func newLedger(l *lab, partitions int32) *ledger {
	l.t.Helper()
	g := &ledger{lab: l, partitions: partitions}
	g.restart()
	l.t.Cleanup(func() { g.kafka.Close() })
	return g
}

// restart begins a new log, under the same name.
func (g *ledger) restart() {
	g.lab.t.Helper()
	if g.kafka != nil {
		g.kafka.Close()
	}
	var err error
	g.kafka, err = kgo.NewClient(
		kgo.SeedBrokers(g.lab.kafka.Brokers...), kgo.DefaultProduceTopic(g.lab.events),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		// A record may be far longer than what it is compressed to.
		kgo.ProducerBatchMaxBytes(16<<20), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	if err != nil {
		g.lab.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ends, g.books = make([]int64, g.partitions), map[string]*page{}
}

// home is the partition that Kafka's partitioner chooses for symbol.
func (g *ledger) home(symbol string) int32 {
	r := &kgo.Record{Key: []byte(symbol)}
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic(g.lab.events).Partition(r, int(g.partitions)))
}

// page returns the page of symbol. Called under the lock.
func (g *ledger) page(symbol string) *page {
	p := g.books[symbol]
	if p == nil {
		p = &page{levels: map[level]int64{}}
		g.books[symbol] = p
	}
	return p
}

// note writes down what the page holds from seq on.
func (g *ledger) note(p *page, seq int64, lost bool) {
	e := entry{seq: seq, hash: p.hash(1), lost: lost}
	if g.unit != 0 {
		e.grouped = p.hash(g.unit)
	}
	p.lines = append(p.lines, e)
}

// hash is the state hash of what the page holds, summed over multiples of unit:
// a bid at the one at or below it, an ask at the one at or above.
func (p *page) hash(unit int64) uint32 {
	groups := map[level]int64{}
	for at, qty := range p.levels {
		above := (at.price%unit + unit) % unit
		at.price -= above
		if at.side == proto.Ask && above > 0 {
			at.price += unit
		}
		groups[at] += qty
	}
	var sum uint32
	for at, qty := range groups {
		one := []proto.Level{{Price: at.price, Qty: qty}}
		if at.side == proto.Bid {
			sum += proto.HashLevels(one, nil)
		} else {
			sum += proto.HashLevels(nil, one)
		}
	}
	return sum
}

// lost says whether the book is not to be known after the last line.
func (p *page) lost() bool { return len(p.lines) == 0 || p.lines[len(p.lines)-1].lost }

// change writes a record that adds an order to a book by order, and returns its
// offset.
func (g *ledger) change(symbol string, side proto.Side, price, qty int64) int64 {
	g.lab.t.Helper()
	g.mu.Lock()
	p := g.page(symbol)
	seq := g.ends[g.home(symbol)]
	p.levels[level{side, price}] += qty
	g.note(p, seq, p.lost())
	g.mu.Unlock()
	g.batch(&proto.Batch{Symbol: symbol, Events: []proto.Event{
		{Kind: proto.EventAdd, OrderID: uint64(1000 + seq), Side: side, Price: price, Qty: qty},
	}})
	return seq
}

// changes writes n changes of one level each, and returns when the broker has all.
func (g *ledger) changes(symbol string, n int) int64 {
	g.lab.t.Helper()
	g.mu.Lock()
	p := g.page(symbol)
	home := g.home(symbol)
	records := make([]*kgo.Record, n)
	for i := range records {
		price := int64(201 + i%10)
		p.levels[level{proto.Ask, price}]++
		g.note(p, g.ends[home], p.lost())
		records[i] = protoRecord(symbol, &proto.Batch{Symbol: symbol, Feed: "F", Events: []proto.Event{
			{Kind: proto.EventAdd, OrderID: uint64(1000 + g.ends[home]), Side: proto.Ask, Price: price, Qty: 1}}})
		records[i].Partition = home
		g.ends[home]++
	}
	last := g.ends[home] - 1
	g.mu.Unlock()
	if err := g.kafka.ProduceSync(g.lab.ctx, records...).FirstErr(); err != nil {
		g.lab.t.Fatal(err)
	}
	return last
}

// whole writes a snapshot by order: one bid and one ask of the quantity, with ids
// 1 and 2.
func (g *ledger) whole(symbol string, qty int64) int64 {
	g.lab.t.Helper()
	g.mu.Lock()
	p := g.page(symbol)
	seq := g.ends[g.home(symbol)]
	p.levels = map[level]int64{{proto.Bid, 100}: qty, {proto.Ask, 200}: qty}
	g.note(p, seq, false)
	g.mu.Unlock()
	g.batch(&proto.Batch{Symbol: symbol, Events: []proto.Event{{
		Kind: proto.EventSnapshot, ByOrder: true,
		BidOrders: []proto.Order{{ID: 1, Price: 100, Qty: qty}}, AskOrders: []proto.Order{{ID: 2, Price: 200, Qty: qty}},
	}}})
	return seq
}

// batch writes a record as its feed would.
func (g *ledger) batch(b *proto.Batch) {
	g.lab.t.Helper()
	b.Feed = "F"
	g.write(g.home(b.Symbol), protoRecord(b.Symbol, b))
}

// protoRecord is a record of depthcast's own format.
func protoRecord(key string, b *proto.Batch) *kgo.Record {
	return rawRecord(key, ingest.ContentType("proto"), proto.AppendEvents(nil, b))
}

func rawRecord(key, contentType string, value []byte) *kgo.Record {
	return &kgo.Record{Key: []byte(key), Value: value,
		Headers: []kgo.RecordHeader{{Key: ingest.ContentTypeHeader, Value: []byte(contentType)}}}
}

// write produces one record to a partition, and waits until the broker has it.
func (g *ledger) write(partition int32, r *kgo.Record) int64 {
	g.lab.t.Helper()
	r.Partition = partition
	r, err := g.kafka.ProduceSync(g.lab.ctx, r).First()
	if err != nil {
		g.lab.t.Fatal(err)
	}
	if r.Offset != g.ends[partition] {
		g.lab.t.Fatalf("a record has the offset %d, want %d", r.Offset, g.ends[partition])
	}
	g.ends[partition]++
	return r.Offset
}

// spoil writes a record after which the books of symbols cannot be known.
func (g *ledger) spoil(partition int32, r *kgo.Record, symbols ...string) int64 {
	g.lab.t.Helper()
	g.mu.Lock()
	for _, s := range symbols {
		p := g.page(s)
		p.lines = append(p.lines, entry{seq: g.ends[partition], lost: true})
	}
	g.mu.Unlock()
	return g.write(partition, r)
}

// wrong says what is wrong with a book that is shown as whole, by groups or not;
// "": nothing.
func (g *ledger) wrong(symbol string, grouped bool, seq int64, hash uint32) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	lines := g.page(symbol).lines
	next := sort.Search(len(lines), func(i int) bool { return lines[i].seq > seq })
	if next == 0 {
		return fmt.Sprintf("shows a book at seq %d, before there was one", seq)
	}
	at := lines[next-1]
	if grouped {
		at.hash = at.grouped
	}
	switch {
	case at.lost:
		return fmt.Sprintf("shows a book at seq %d, where nobody can know it", seq)
	case at.hash != hash:
		return fmt.Sprintf("shows a wrong book at seq %d: hash %08x, want %08x", seq, hash, at.hash)
	}
	return ""
}

// letters waits for n dead letters and returns them.
func (l *lab) letters(n int) []*kgo.Record {
	l.t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(l.kafka.Brokers...), kgo.ConsumeTopics(l.deadLetter),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		l.t.Fatal(err)
	}
	defer k.Close()
	var all []*kgo.Record
	for len(all) < n {
		f := k.PollFetches(l.ctx)
		if err := l.ctx.Err(); err != nil {
			l.t.Fatalf("%d dead letters, want %d: %v", len(all), n, err)
		}
		all = append(all, f.Records()...)
	}
	return all
}

// header is the value of a record's last header of that key.
func header(r *kgo.Record, key string) string {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value)
		}
	}
	return ""
}

// recreate deletes the lab's Kafka topic of events and makes it again.
func (l *lab) recreate(partitions int32) {
	l.t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(l.kafka.Brokers...))
	if err != nil {
		l.t.Fatal(err)
	}
	defer k.Close()
	was, err := l.cluster.Describe(l.ctx, l.events)
	if err != nil {
		l.t.Fatal(err)
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = kmsg.StringPtr(l.events)
	req.Topics, req.TopicNames = append(req.Topics, topic), []string{l.events}
	if _, err := req.RequestWith(l.ctx, k); err != nil {
		l.t.Fatal(err)
	}
	for l.ctx.Err() == nil {
		// Deleting takes a moment on a real broker.
		if err := l.cluster.EnsureTopics(l.ctx, ingest.TopicSpec{Name: l.events, Partitions: partitions}); err != nil {
			continue
		}
		if is, err := l.cluster.Describe(l.ctx, l.events); err == nil && is.Topics[0].ID != was.Topics[0].ID {
			return
		}
	}
	l.t.Fatal("the Kafka topic was not recreated")
}

// metric reads one line of /metrics: a name with its labels in order.
func (r *running) metric(name string) string {
	r.t.Helper()
	for line := range strings.Lines(fetchText(r.t, "http://"+r.doors.inside.Addr().String()+"/metrics", http.StatusOK)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return "absent"
}

// counted waits until a metric has a value.
func (r *running) counted(name, value string) {
	r.t.Helper()
	got := ""
	defer func() {
		if got != value {
			r.t.Logf("%s is %s", name, got)
		}
	}()
	r.until(name+" is "+value, func() bool { got = r.metric(name); return got == value })
}

// fetchText is the body of what a plain GET answers.
func fetchText(t *testing.T, url string, status int) string {
	t.Helper()
	_, body := fetch(t, url, status)
	return body
}

// fetch is the header and the body of what a plain GET answers; status 0: any.
func fetch(t *testing.T, url string, status int) (http.Header, string) {
	t.Helper()
	client := http.Client{Timeout: patience}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if status != 0 && resp.StatusCode != status {
		t.Fatalf("GET %s: %s, want %d: %s", url, resp.Status, status, body)
	}
	return resp.Header, string(body)
}

// sweep gives n orders at prices of their own another quantity in one record: one
// large delta, however often. The first time it adds them.
func (g *ledger) sweep(symbol string, round, n int) int64 {
	g.lab.t.Helper()
	g.mu.Lock()
	p := g.page(symbol)
	seq := g.ends[g.home(symbol)]
	events := make([]proto.Event, n)
	for i := range events {
		price, qty := int64(1000+i*1_000_003), int64(round+1)
		at := level{proto.Ask, price}
		events[i] = proto.Event{Kind: proto.EventModify, OrderID: uint64(1_000_000 + i), Side: proto.Ask, Price: price, Qty: qty}
		if p.levels[at] == 0 {
			events[i].Kind = proto.EventAdd
		}
		p.levels[at] = qty
	}
	g.note(p, seq, p.lost())
	g.mu.Unlock()
	g.batch(&proto.Batch{Symbol: symbol, Events: events})
	return seq
}
