package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/ingest/feed"
	"github.com/depthcast/depthcast/proto"
)

// survivors are producers of all kinds of records, drawn from a seed: a simulated
// market order by order with trades, statistics and snapshots in parts; symbols by
// level with source sequences, gaps, events in parts, bad records, ends and
// listings anew; and a raw Binance feed whose changes wait for snapshots.
type survivors struct {
	rand    *rand.Rand
	market  *feed.Market
	now     int64
	levels  []*leveled
	binance []*binanceFeed
}

const survivorStep = 20_000_000 // ns of a market's time

func newSurvivors(seed uint64) (*survivors, error) {
	m, err := feed.NewMarket(feed.MarketConfig{Seed: seed, Rate: 1500, Instruments: 4, SnapshotEvery: 1e9})
	if err != nil {
		return nil, err
	}
	s := &survivors{rand: rand.New(rand.NewPCG(seed, 1)), market: m, now: 1_767_225_600_000_000_000}
	for i := range 6 {
		s.levels = append(s.levels, &leveled{symbol: "L2:" + strconv.Itoa(i), rand: s.rand, fresh: true})
	}
	for i := range 2 {
		s.binance = append(s.binance, &binanceFeed{name: "PAIR" + strconv.Itoa(i), rand: s.rand, last: 1000})
	}
	return s, nil
}

// step lets some time go by and returns what was sent meanwhile, to the Kafka topic
// of depthcast's own records and to that of raw ones.
func (s *survivors) step() (own, raw []ingest.Record) {
	s.now += survivorStep
	own = s.records(s.market.Step(s.now))
	for range 5 + s.rand.IntN(10) {
		own = append(own, s.levels[s.rand.IntN(len(s.levels))].next(s.now))
	}
	for range 3 + s.rand.IntN(10) {
		raw = append(raw, s.binance[s.rand.IntN(len(s.binance))].next(s.now))
	}
	return own, raw
}

// heal makes every book whole.
func (s *survivors) heal() (own, raw []ingest.Record) {
	for range 60 { // past the market's next snapshots
		o, r := s.step()
		own, raw = append(own, o...), append(raw, r...)
	}
	for _, l := range s.levels {
		own = append(own, l.snapshot(s.now)...)
	}
	for _, b := range s.binance {
		raw = append(raw, b.snapshot(s.now), b.diff(s.now))
	}
	return own, raw
}

func (s *survivors) records(batches []*proto.Batch) []ingest.Record {
	var out []ingest.Record
	for _, b := range batches {
		out = append(out, ownRecord(b, s.now))
	}
	return out
}

func ownRecord(b *proto.Batch, now int64) ingest.Record {
	return ingest.Record{Key: []byte(b.Symbol), Value: proto.AppendEvents(nil, b), Time: now}
}

// leveled is one symbol by level.
type leveled struct {
	symbol string
	rand   *rand.Rand
	source uint64
	trade  uint64
	fresh  bool // nothing was sent yet
	ended  bool
}

// next is a record, most often of some levels.
func (l *leveled) next(now int64) ingest.Record {
	if l.fresh {
		l.fresh = false
		return l.snapshot(now)[0]
	}
	b := l.batch(now)
	switch n := l.rand.IntN(100); {
	case l.ended:
		l.ended = false
		l.define(b)
	case n == 0:
		return ingest.Record{Key: []byte(l.symbol), Value: []byte("no record"), Time: now}
	case n == 1:
		l.source += 3 // lost on the way
		b.FirstSourceSeq, b.LastSourceSeq = l.source, l.source
		l.set(b)
	case n == 2:
		b.Events = append(b.Events, proto.Event{Kind: proto.EventInstrumentEnd, EndReason: proto.ReasonDelisted})
		l.ended = true
	case n < 8:
		return l.snapshot(now)[0]
	case n < 14:
		l.define(b)
	case n < 20:
		b.More = true // the next one of this symbol ends the event
		l.set(b)
	case n < 40:
		l.trade++
		b.Events = append(b.Events, proto.Event{Kind: proto.EventTrade, Trade: proto.Trade{ID: l.trade, Price: 10_000 + int64(n), Qty: int64(1 + n)}})
	default:
		l.set(b)
	}
	return ownRecord(b, now)
}

// batch begins one with the next source sequence.
func (l *leveled) batch(now int64) *proto.Batch {
	l.source++
	return &proto.Batch{Symbol: l.symbol, Feed: "L2", Session: "s", FirstSourceSeq: l.source, LastSourceSeq: l.source,
		VenueTime: now, HasExponents: true, Exponents: proto.Exponents{Price: -2, Qty: -1}}
}

func (l *leveled) set(b *proto.Batch) {
	e := proto.Event{Kind: proto.EventSetLevels}
	for range 1 + l.rand.IntN(4) {
		e.Bids = append(e.Bids, proto.Level{Price: 10_000 - int64(l.rand.IntN(60)), Qty: int64(l.rand.IntN(9))})
		e.Asks = append(e.Asks, proto.Level{Price: 10_001 + int64(l.rand.IntN(60)), Qty: int64(l.rand.IntN(9))})
	}
	b.Events = append(b.Events, e)
}

func (l *leveled) define(b *proto.Batch) {
	b.Events = append(b.Events, proto.Event{Kind: proto.EventInstrument,
		Instrument: &proto.Instrument{Exponents: b.Exponents, Tick: 1, Lot: int64(1 + l.rand.IntN(3))}})
}

func (l *leveled) snapshot(now int64) []ingest.Record {
	b := l.batch(now)
	if l.ended {
		l.ended = false
		l.define(b)
	}
	e := proto.Event{Kind: proto.EventSnapshot, SourceSeq: l.source}
	for i := range 20 {
		e.Bids = append(e.Bids, proto.Level{Price: 10_000 - int64(i), Qty: int64(1 + l.rand.IntN(50))})
		e.Asks = append(e.Asks, proto.Level{Price: 10_001 + int64(i), Qty: int64(1 + l.rand.IntN(50))})
	}
	b.Events = append(b.Events, e)
	return []ingest.Record{ownRecord(b, now)}
}

// binanceFeed is one pair of a raw Binance feed.
type binanceFeed struct {
	name  string
	rand  *rand.Rand
	last  uint64 // update id
	trade int
}

func (f *binanceFeed) next(now int64) ingest.Record {
	switch n := f.rand.IntN(40); {
	case n == 0:
		f.last += 7 // lost on the way: the diffs that follow wait for a snapshot
		return f.diff(now)
	case n < 4:
		return f.snapshot(now)
	case n < 12:
		f.trade++
		return f.record(now, `{"e":"trade","E":%d,"s":"%s","t":%d,"p":"100.%02d","q":"0.5","T":%[1]d,"m":true}`, now/1e6, f.name, f.trade, n)
	}
	return f.diff(now)
}

func (f *binanceFeed) diff(now int64) ingest.Record {
	first := f.last + 1
	f.last += uint64(1 + f.rand.IntN(3))
	return f.record(now, `{"e":"depthUpdate","E":%d,"s":"%s","U":%d,"u":%d,"b":[%s],"a":[%s]}`,
		now/1e6, f.name, first, f.last, f.side("99.", 3), f.side("101.", 3))
}

// snapshot is one of some updates ago, which the diffs since then bring up to date.
func (f *binanceFeed) snapshot(now int64) ingest.Record {
	return f.record(now, `{"lastUpdateId":%d,"bids":[%s],"asks":[%s]}`, f.last, f.side("99.", 30), f.side("101.", 30))
}

func (f *binanceFeed) side(whole string, n int) string {
	var b strings.Builder
	at := 10 + f.rand.IntN(10)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		price := at + i
		if whole == "99." {
			price = 99 - price // falling, as the venue has it
		}
		fmt.Fprintf(&b, `["%s%02d","%d.25"]`, whole, price, f.rand.IntN(5))
	}
	return b.String()
}

func (f *binanceFeed) record(now int64, format string, args ...any) ingest.Record {
	return ingest.Record{Key: []byte("BINANCE:" + f.name), Value: fmt.Appendf(nil, format, args...), Time: now}
}
