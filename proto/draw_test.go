package proto

import (
	"flag"
	"math"
	"strconv"

	"pgregory.net/rapid"
)

// Random values of the plain types, within the bounds of decoding.

var (
	anyPrice    = rapid.OneOf(rapid.Int64Range(-100, 100), rapid.Int64Range(6160000, 6161000), rapid.Int64())
	anyQty      = rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 1<<40), rapid.Int64Range(0, math.MaxInt64))
	someQty     = rapid.OneOf(rapid.Int64Range(1, 1<<40), rapid.Int64Range(1, math.MaxInt64))
	anyUint64   = rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 300), rapid.Uint64())
	anyTime     = rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(1e18, 2e18), rapid.Int64())
	anySeq      = rapid.OneOf(rapid.Int64Range(-1, 300), rapid.Int64Range(-1, math.MaxInt64))
	anyExponent = rapid.Int8Range(MinExponent, MaxExponent)
	anySymbol   = rapid.OneOf(rapid.SampledFrom([]string{"SIM:BTC-USD", "X", "é:ß\"\\€😀"}), rapid.StringMatching(`[A-Z]{1,8}:[A-Z0-9/._-]{1,20}`))
	anyName     = rapid.OneOf(rapid.Just(""), rapid.StringN(0, 8, 32))
)

func drawLevels(t *rapid.T, counts bool) []Level {
	n := rapid.OneOf(rapid.IntRange(0, 4), rapid.IntRange(0, 40)).Draw(t, "levels")
	var levels []Level
	for range n {
		l := Level{Price: anyPrice.Draw(t, "price"), Qty: anyQty.Draw(t, "qty")}
		if counts {
			l.Count = rapid.Uint32().Draw(t, "count")
		}
		levels = append(levels, l)
	}
	return levels
}

func drawTimes(t *rapid.T) Times {
	return Times{anyTime.Draw(t, "venue_first"), anyTime.Draw(t, "venue"), anyTime.Draw(t, "kafka"), anyTime.Draw(t, "published")}
}

func drawForm(t *rapid.T) TopicForm {
	return TopicForm{
		Topic:  rapid.OneOf(rapid.Uint32Range(0, 300), rapid.Uint32()).Draw(t, "topic"),
		Counts: rapid.Bool().Draw(t, "counts"), Exponents: Exponents{anyExponent.Draw(t, "pe"), anyExponent.Draw(t, "qe")},
	}
}

func drawDelta(t *rapid.T, counts bool) *Delta {
	return &Delta{
		PrevSeq: anySeq.Draw(t, "prev_seq"), Seq: anySeq.Draw(t, "seq"), Bids: drawLevels(t, counts), Asks: drawLevels(t, counts),
		Hash: rapid.Uint32().Draw(t, "hash"), Merged: rapid.Uint32Range(0, 300).Draw(t, "merged"), Times: drawTimes(t),
	}
}

// drawOrdersDelta draws one of the orders channel.
func drawOrdersDelta(t *rapid.T) *Delta {
	d := drawDelta(t, false)
	d.Bids, d.Asks, d.Orders = nil, nil, &Orders{Bids: drawRanked(t), Asks: drawRanked(t)}
	return d
}

func drawRanked(t *rapid.T) (orders []RankedOrder) {
	for range rapid.OneOf(rapid.IntRange(0, 4), rapid.IntRange(0, 40)).Draw(t, "orders") {
		orders = append(orders, RankedOrder{
			ID: anyUint64.Draw(t, "id"), Price: anyPrice.Draw(t, "price"), Qty: anyQty.Draw(t, "qty"),
			RankSeq: anySeq.Draw(t, "rank_seq"), RankIndex: rapid.Uint32().Draw(t, "rank_index"),
		})
	}
	return orders
}

// drawOrdersSnapshot draws one of the orders channel.
func drawOrdersSnapshot(t *rapid.T, form TopicForm) *Snapshot {
	s := drawSnapshot(t, form)
	s.Bids, s.Asks, s.Orders = nil, nil, Orders{Bids: drawRanked(t), Asks: drawRanked(t)}
	return s
}

func drawSnapshot(t *rapid.T, form TopicForm) *Snapshot {
	return &Snapshot{
		Symbol: anySymbol.Draw(t, "symbol"), Epoch: anyUint64.Draw(t, "epoch"), Seq: anySeq.Draw(t, "seq"),
		State: State(rapid.Uint8Range(0, 3).Draw(t, "state")), Reason: Reason(rapid.Uint8Range(0, 19).Draw(t, "reason")),
		Phase: Phase(rapid.Uint8Range(0, 5).Draw(t, "phase")), Exponents: form.Exponents,
		Bids: drawLevels(t, form.Counts), Asks: drawLevels(t, form.Counts), Hash: rapid.Uint32().Draw(t, "hash"), Times: drawTimes(t),
		Partial: rapid.Bool().Draw(t, "partial"), Locked: rapid.Bool().Draw(t, "locked"), Crossed: rapid.Bool().Draw(t, "crossed"),
		Indicative: drawIndicative(t),
	}
}

func drawTicker(t *rapid.T) *Ticker {
	price, qty := drawOptional(anyPrice), drawOptional(anyQty)
	return &Ticker{
		PrevSeq: anySeq.Draw(t, "prev_seq"), Seq: anySeq.Draw(t, "seq"), Last: price(t), LastQty: qty(t), Open: price(t), High: price(t), Low: price(t),
		PreviousClose: price(t), Settlement: price(t), Volume: qty(t), OpenInterest: qty(t), Bid: price(t), BidQty: qty(t), Ask: price(t), AskQty: qty(t),
		Change: price(t), Merged: rapid.Uint32Range(0, 300).Draw(t, "merged"), Times: drawTimes(t), Partial: rapid.Bool().Draw(t, "partial"),
	}
}

func drawInstruments(t *rapid.T) *Instruments {
	in := &Instruments{
		PrevSeq: anySeq.Draw(t, "prev_seq"), Seq: anySeq.Draw(t, "seq"), Snapshot: rapid.Bool().Draw(t, "snapshot"),
		More: rapid.Bool().Draw(t, "more"), Times: drawTimes(t),
	}
	for range rapid.IntRange(0, 4).Draw(t, "listings") {
		l := &Listing{
			Symbol: rapid.OneOf(rapid.Just(""), anySymbol).Draw(t, "symbol"), Phase: Phase(rapid.Uint8Range(0, 5).Draw(t, "phase")),
			Ended: rapid.Bool().Draw(t, "ended"), NewSymbol: rapid.OneOf(rapid.Just(""), anySymbol).Draw(t, "new_symbol"),
			EndReason: rapid.SampledFrom([]Reason{ReasonNone, ReasonDelisted, ReasonRenamed, ReasonExpired}).Draw(t, "end"),
			Epoch:     anyUint64.Draw(t, "epoch"), Seq: anySeq.Draw(t, "seq"),
		}
		if rapid.Bool().Draw(t, "defined") {
			l.Instrument = drawInstrument(t)
		}
		in.Listings = append(in.Listings, l)
	}
	return in
}

func drawInstrument(t *rapid.T) *Instrument {
	return &Instrument{
		Exponents: Exponents{anyExponent.Draw(t, "pe"), anyExponent.Draw(t, "qe")}, Tick: anyQty.Draw(t, "tick"), Lot: anyQty.Draw(t, "lot"),
		Type: rapid.Uint8Range(0, 8).Draw(t, "type"), Name: anyName.Draw(t, "name"), Base: anyName.Draw(t, "base"), Quote: anyName.Draw(t, "quote"),
		ExpiryTime: anyTime.Draw(t, "expiry"), MaxLevels: rapid.Uint32().Draw(t, "max_levels"),
	}
}

func drawTrade(t *rapid.T, flags TradeFlags) Trade {
	return Trade{
		ID: anyUint64.Draw(t, "id"), Price: anyPrice.Draw(t, "price"), Qty: someQty.Draw(t, "qty"), VenueTime: anyTime.Draw(t, "venue_time"),
		Aggressor: Aggressor(rapid.Uint8Range(0, 2).Draw(t, "aggressor")), Flags: TradeFlags(rapid.Uint8().Draw(t, "flags")) & flags,
	}
}

func drawTrades(t *rapid.T) *Trades {
	out := &Trades{
		PrevSeq: anySeq.Draw(t, "prev_seq"), Seq: anySeq.Draw(t, "seq"), Missed: anyUint64.Draw(t, "missed"),
		MissedFirst: anyUint64.Draw(t, "missed_first"), MissedLast: anyUint64.Draw(t, "missed_last"),
		History: rapid.Bool().Draw(t, "history"), Times: drawTimes(t),
	}
	for range rapid.IntRange(0, 5).Draw(t, "trades") {
		trade := drawTrade(t, TradeHidden|TradeAuction|TradeOffBook|TradeCorrection|TradeCancellation)
		trade.Ordinal = anyUint64.Draw(t, "ordinal")
		out.Trades = append(out.Trades, trade)
	}
	return out
}

func drawIndicative(t *rapid.T) Indicative {
	var in Indicative
	if in.HasPrice = rapid.Bool().Draw(t, "has_price"); in.HasPrice {
		in.Price = anyPrice.Draw(t, "indicative_price")
	}
	if in.HasQty = rapid.Bool().Draw(t, "has_qty"); in.HasQty {
		in.Qty = anyQty.Draw(t, "indicative_qty")
	}
	return in
}

func drawStatus(t *rapid.T) *Status {
	return &Status{
		Seq: anySeq.Draw(t, "seq"), State: State(rapid.Uint8Range(0, 3).Draw(t, "state")),
		Reason: Reason(rapid.Uint8Range(0, 20).Draw(t, "reason")), Phase: Phase(rapid.Uint8Range(0, 5).Draw(t, "phase")),
		Indicative: drawIndicative(t), Final: rapid.Bool().Draw(t, "final"), NewSymbol: rapid.OneOf(rapid.Just(""), anySymbol).Draw(t, "new_symbol"),
		Locked: rapid.Bool().Draw(t, "locked"), Crossed: rapid.Bool().Draw(t, "crossed"), Times: drawTimes(t),
		Partial: rapid.Bool().Draw(t, "partial"),
	}
}

func drawKeepalive(t *rapid.T) *Keepalive {
	return &Keepalive{Seq: anySeq.Draw(t, "seq"), Hash: rapid.Uint32().Draw(t, "hash"), SymbolAgeMS: anyUint64.Draw(t, "symbol_age"),
		FeedAgeMS: anyUint64.Draw(t, "feed_age"), Published: anyTime.Draw(t, "published")}
}

func drawBatch(t *rapid.T) *Batch {
	b := &Batch{
		Symbol: anySymbol.Draw(t, "symbol"), Feed: rapid.SampledFrom([]string{"", "sim", "binance"}).Draw(t, "feed"),
		Session: rapid.SampledFrom([]string{"", "2026-01-02"}).Draw(t, "session"), VenueTime: anyTime.Draw(t, "venue_time"),
		FirstSourceSeq: anyUint64.Draw(t, "first"), More: rapid.Bool().Draw(t, "more"), OriginEpoch: anyUint64.Draw(t, "origin_epoch"),
		OriginSeq: anySeq.Draw(t, "origin_seq"), OriginPrevSeq: anySeq.Draw(t, "origin_prev"), Generation: anyUint64.Draw(t, "generation"),
		HasExponents: rapid.Bool().Draw(t, "has_exponents"),
	}
	if b.FirstSourceSeq > 0 {
		b.LastSourceSeq = b.FirstSourceSeq + rapid.Uint64Range(0, math.MaxUint64-b.FirstSourceSeq).Draw(t, "covers")
	}
	if b.HasExponents {
		b.Exponents = Exponents{anyExponent.Draw(t, "pe"), anyExponent.Draw(t, "qe")}
	}
	for range rapid.IntRange(0, 6).Draw(t, "events") {
		b.Events = append(b.Events, drawEvent(t))
	}
	return b
}

func drawEvent(t *rapid.T) Event {
	id := rapid.Uint64Range(1, math.MaxUint64)
	e := Event{Kind: EventKind(rapid.IntRange(int(EventNone), int(EventHeartbeat)).Draw(t, "kind"))}
	switch e.Kind {
	case EventAdd, EventModify, EventReduce, EventExecute, EventReplace, EventDelete:
		drawOrderEvent(t, &e, id)
	case EventSetLevels:
		counts := rapid.Bool().Draw(t, "counts")
		e.Bids, e.Asks = drawLevels(t, counts), drawLevels(t, counts)
	case EventTrade:
		e.Trade = drawTrade(t, TradeHidden|TradeAuction|TradeOffBook)
	case EventTradeCancel:
		e.Trade.ID = id.Draw(t, "trade_id")
	case EventTradeCorrect:
		e.Trade = Trade{ID: id.Draw(t, "trade_id"), Price: anyPrice.Draw(t, "price"), Qty: someQty.Draw(t, "qty")}
	case EventSnapshot:
		e.SourceSeq, e.MaxLevels = anyUint64.Draw(t, "source_seq"), rapid.Uint32().Draw(t, "max_levels")
		e.KnownLevels = rapid.Uint32().Draw(t, "known_levels")
		e.Continued, e.ByOrder = rapid.Bool().Draw(t, "continued"), rapid.Bool().Draw(t, "by_order")
		if e.ByOrder {
			e.BidOrders, e.AskOrders = drawOrders(t), drawOrders(t)
		} else {
			e.Bids, e.Asks = drawLevels(t, false), drawLevels(t, true)
		}
	case EventClear:
		e.SessionStart = rapid.Bool().Draw(t, "session_start")
	case EventInstrument:
		e.Instrument = drawInstrument(t)
	case EventInstrumentEnd:
		e.EndReason = rapid.SampledFrom([]Reason{ReasonNone, ReasonDelisted, ReasonRenamed, ReasonExpired}).Draw(t, "end")
		e.NewSymbol = rapid.OneOf(rapid.Just(""), anySymbol).Draw(t, "new_symbol")
	case EventStatistics:
		price, sum := drawOptional(anyPrice), drawOptional(anyQty)
		e.Statistics = &Statistics{price(t), price(t), price(t), price(t), price(t), price(t), sum(t), sum(t)}
	case EventPhase:
		e.Phase, e.Indicative = Phase(rapid.Uint8Range(0, 5).Draw(t, "phase")), drawIndicative(t)
	}
	return e
}

func drawOrderEvent(t *rapid.T, e *Event, id *rapid.Generator[uint64]) {
	e.OrderID = id.Draw(t, "order_id")
	if e.Kind == EventDelete {
		return
	}
	e.Qty = someQty.Draw(t, "qty")
	switch e.Kind {
	case EventAdd:
		e.Side, e.Price = Side(rapid.Uint8Range(1, 2).Draw(t, "side")), anyPrice.Draw(t, "price")
	case EventModify:
		e.KeepPriority, e.Price = rapid.Bool().Draw(t, "keep"), anyPrice.Draw(t, "price")
	case EventReplace:
		e.NewOrderID, e.Price = id.Draw(t, "new_order_id"), anyPrice.Draw(t, "price")
	case EventReduce, EventExecute:
		if e.HasQtyAfter = rapid.Bool().Draw(t, "has_qty_after"); e.HasQtyAfter {
			e.QtyAfter = anyQty.Draw(t, "qty_after")
		}
	}
	if e.Kind == EventExecute {
		e.TradeID, e.Unprintable = anyUint64.Draw(t, "trade_id"), rapid.Bool().Draw(t, "unprintable")
		if e.HasPrice = rapid.Bool().Draw(t, "has_price"); e.HasPrice {
			e.Price = anyPrice.Draw(t, "price")
		}
	}
}

func drawOptional(value *rapid.Generator[int64]) func(*rapid.T) Optional {
	return func(t *rapid.T) Optional {
		if !rapid.Bool().Draw(t, "set") {
			return Optional{}
		}
		return Optional{Value: value.Draw(t, "value"), Set: true}
	}
}

func drawOrders(t *rapid.T) (orders []Order) {
	for range rapid.IntRange(0, 6).Draw(t, "orders") {
		orders = append(orders, Order{rapid.Uint64Range(1, math.MaxUint64).Draw(t, "id"), anyPrice.Draw(t, "price"), someQty.Draw(t, "qty")})
	}
	return orders
}

// moreChecks makes rapid check so many cases until the function that it returns
// is called.
func moreChecks(count int) func() {
	checks := flag.Lookup("rapid.checks")
	before := checks.Value.String()
	set := func(s string) {
		if err := checks.Value.Set(s); err != nil {
			panic(err)
		}
	}
	set(strconv.Itoa(count))
	return func() { set(before) }
}
