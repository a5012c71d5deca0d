package book

import (
	"fmt"

	"github.com/depthcast/depthcast/proto"
	"pgregory.net/rapid"
)

// Random logs of a few symbols in which everything happens that can: by level and
// by order, sessions, origins, generations, definitions, ends and new listings,
// events in several records, trades and what is said of them, refusals.

var logSymbols = []string{"A", "B", "C"}

// drawLog draws a log that begins at offset 0. What its records hold comes from few
// values, so that they meet.
func drawLog(t *rapid.T) []logged {
	n := func(most int, what string) int { return rapid.IntRange(0, most).Draw(t, what) }
	log := []logged{{begin: true, epoch: 7, complete: n(3, "complete") > 0}}
	d := logDrawer{t: t, n: n, seq: -1, source: map[string]uint64{}, origin: map[string]int64{}, byOrder: n(1, "by order") == 1}
	if n(1, "caught up") == 1 {
		log = append(log, logged{catching: true, on: false})
	}
	for range 5 + n(60, "things") {
		switch k := n(40, "thing"); k {
		case 0:
			log = append(log, logged{refuse: true, symbol: d.symbol(), reason: d.reason()})
		case 1:
			log = append(log, logged{refuse: true, reason: d.reason()})
		case 2:
			log = append(log, logged{catching: true, on: n(2, "on") == 0})
		case 3:
			log = append(log, logged{stale: true, feed: d.feed(), reason: proto.ReasonSourceSilent, on: n(1, "on") == 0})
		default:
			log = append(log, logged{batch: d.record()})
			continue
		}
		if log[len(log)-1].refuse {
			d.seq++
		}
	}
	return log
}

type logDrawer struct {
	t       *rapid.T
	n       func(most int, what string) int
	seq     int64
	source  map[string]uint64
	origin  map[string]int64
	byOrder bool
}

func (d *logDrawer) symbol() string { return logSymbols[d.n(len(logSymbols)-1, "symbol")] }
func (d *logDrawer) feed() string   { return []string{"f", "g", "", "h"}[d.n(3, "feed")] }

func (d *logDrawer) reason() proto.Reason {
	return []proto.Reason{proto.ReasonBadRecord, proto.ReasonOffsetGap, proto.ReasonTruncated, proto.ReasonNone}[d.n(3, "reason")]
}

func (d *logDrawer) record() *proto.Batch {
	r := &proto.Batch{Symbol: d.symbol(), Feed: []string{"f", "g", "h", "i"}[d.n(3, "feed")]}
	d.seq += 1 + int64(d.n(1, "gap"))
	r.Seq, r.KafkaTime = d.seq, 1000+d.seq
	if d.n(20, "venue time") > 0 {
		r.VenueTime = 5000 + d.seq
	}
	if d.n(15, "heartbeat") == 0 {
		r.Symbol, r.Events = "", []proto.Event{{Kind: proto.EventHeartbeat}}
		return r
	}
	r.Session = []string{"", "s1", "s2"}[min(2, d.n(20, "session"))]
	if d.n(2, "numbered") > 0 {
		d.number(r)
	}
	if d.n(12, "generation") == 0 {
		r.Generation = uint64(d.n(2, "of generation"))
	}
	if d.n(15, "origin") == 0 {
		r.OriginEpoch = uint64(1 + d.n(1, "of origin"))
		key := fmt.Sprint(r.Symbol, r.OriginEpoch)
		r.OriginPrevSeq = d.origin[key] - int64(d.n(1, "back"))
		d.origin[key] += int64(d.n(2, "on"))
		r.OriginSeq = d.origin[key]
	}
	if d.n(6, "named exponents") == 0 {
		r.HasExponents, r.Exponents = true, d.exponents()
	}
	for range 1 + d.n(2, "events") {
		r.Events = append(r.Events, d.event())
	}
	r.More = d.n(8, "more") == 0
	return decodable(d.t, r)
}

// decodable returns r as its codec would have given it out, which an event of
// nothing survives.
func decodable(t *rapid.T, r *proto.Batch) *proto.Batch {
	got := &proto.Batch{Seq: r.Seq, KafkaTime: r.KafkaTime}
	if err := proto.DecodeEvents(proto.AppendEvents(nil, r), got); err != nil {
		t.Fatalf("%+v: %v", r, err)
	}
	return got
}

// number gives r source sequences, which mostly follow.
func (d *logDrawer) number(r *proto.Batch) {
	next := d.source[r.Symbol] + 1
	switch d.n(15, "numbers") {
	case 0:
		next++
	case 1:
		next = max(1, next-1)
	case 2:
		next = 1
	}
	r.FirstSourceSeq, r.LastSourceSeq = next, next+uint64(d.n(1, "covers"))
	d.source[r.Symbol] = r.LastSourceSeq
}

func (d *logDrawer) exponents() proto.Exponents {
	return []proto.Exponents{proto.DefaultExponents, {Price: -2, Qty: -3}}[d.n(1, "exponents")]
}

func (d *logDrawer) levels(side proto.Side) (list []proto.Level) {
	for range d.n(3, "levels") {
		list = append(list, proto.Level{Price: d.price(side), Qty: int64(d.n(4, "qty")), Count: uint32(d.n(2, "count"))})
	}
	return list
}

func (d *logDrawer) price(side proto.Side) int64 {
	away := int64(d.n(12, "away")) - 1
	if side == proto.Bid {
		return 99 - away
	}
	return 101 + away
}

func (d *logDrawer) orders(side proto.Side) (list []proto.Order) {
	for range d.n(4, "orders") {
		list = append(list, proto.Order{ID: 1 + uint64(d.n(30, "id")), Price: d.price(side), Qty: 1 + int64(d.n(4, "qty"))})
	}
	return list
}

func (d *logDrawer) event() proto.Event {
	switch k := d.n(40, "kind"); {
	case k < 6:
		return d.snapshot()
	case k < 8:
		return proto.Event{Kind: proto.EventClear, SessionStart: d.n(2, "session start") > 0}
	case k < 9:
		return proto.Event{Kind: proto.EventInstrument, Instrument: &proto.Instrument{
			Exponents: d.exponents(), Name: "name", MaxLevels: uint32(d.n(4, "max levels")),
		}}
	case k < 11 && d.n(2, "end") == 0:
		return proto.Event{Kind: proto.EventInstrumentEnd, EndReason: proto.ReasonDelisted, NewSymbol: "NEW"}
	case k < 14:
		e := proto.Event{Kind: proto.EventPhase, Phase: proto.Phase(d.n(5, "phase"))}
		if e.Phase == proto.Auction {
			e.Indicative = proto.Indicative{Price: 100, HasPrice: true, Qty: 5, HasQty: d.n(1, "has qty") == 0}
		}
		return e
	case k < 16:
		return proto.Event{Kind: proto.EventStatistics, Statistics: &proto.Statistics{
			Open: proto.Optional{Value: 100, Set: d.n(1, "open") == 0}, Volume: proto.Optional{Value: 50, Set: d.n(1, "volume") == 0},
			PreviousClose: proto.Optional{Value: 98, Set: true},
		}}
	case k < 22:
		return d.trade()
	case d.byOrder == (d.n(20, "of the other kind") > 0):
		return d.order()
	}
	return proto.Event{Kind: proto.EventSetLevels, Bids: d.levels(proto.Bid), Asks: d.levels(proto.Ask)}
}

func (d *logDrawer) trade() proto.Event {
	t := proto.Trade{ID: uint64(d.n(5, "trade")), Price: d.price(proto.Ask), Qty: int64(d.n(5, "qty"))}
	switch d.n(4, "said") {
	case 0:
		return proto.Event{Kind: proto.EventTradeCancel, Trade: proto.Trade{ID: t.ID}}
	case 1:
		return proto.Event{Kind: proto.EventTradeCorrect, Trade: t}
	}
	return proto.Event{Kind: proto.EventTrade, Trade: t}
}

func (d *logDrawer) snapshot() proto.Event {
	e := proto.Event{Kind: proto.EventSnapshot, MaxLevels: uint32(d.n(4, "max")), KnownLevels: uint32(d.n(3, "known")), Continued: d.n(6, "continued") == 0}
	if d.byOrder {
		e.ByOrder, e.BidOrders, e.AskOrders = true, d.orders(proto.Bid), d.orders(proto.Ask)
	} else {
		e.Bids, e.Asks = d.levels(proto.Bid), d.levels(proto.Ask)
	}
	if d.n(3, "source") == 0 {
		e.SourceSeq = uint64(d.n(40, "source seq"))
	}
	return e
}

func (d *logDrawer) order() proto.Event {
	side := proto.Side(1 + d.n(1, "side"))
	e := proto.Event{Kind: proto.EventAdd + proto.EventKind(d.n(5, "order")), OrderID: 1 + uint64(d.n(30, "id"))}
	if d.n(1, "add") == 0 {
		e.Kind = proto.EventAdd
	}
	if e.Kind == proto.EventDelete {
		return e
	}
	e.Qty = 1 + int64(d.n(4, "qty"))
	switch e.Kind {
	case proto.EventAdd:
		e.Side, e.Price = side, d.price(side)
	case proto.EventModify:
		e.Price = d.price(side)
	case proto.EventReplace:
		e.NewOrderID, e.Price = 1+uint64(d.n(30, "new id")), d.price(side)
	}
	return e
}
