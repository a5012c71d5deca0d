package proto

import (
	"errors"
	"slices"

	"github.com/depthcast/depthcast/proto/pb"
)

var errReference = errors.New("the reference refuses it")

// batchOf is DecodeEvents in its plainest form: what the generated code decoded,
// converted and judged.
func batchOf(in *pb.Events) (*Batch, error) {
	b := &Batch{
		Symbol: in.Symbol, Feed: in.Feed, Session: in.Session, FirstSourceSeq: in.FirstSourceSeq, LastSourceSeq: in.LastSourceSeq,
		VenueTime: in.VenueTime, More: in.More, OriginEpoch: in.OriginEpoch, OriginSeq: in.OriginSeq,
		OriginPrevSeq: in.OriginPrevSeq, Generation: in.Generation, HasExponents: in.PriceExponent != nil,
	}
	ok := (in.PriceExponent == nil) == (in.QtyExponent == nil) && len(in.Events) <= MaxEvents
	ok = ok && len(b.Symbol) <= 64 && len(b.Feed) <= 64 && len(b.Session) <= 64 && (b.Symbol == "" || ValidSymbol(b.Symbol))
	ok = ok && b.LastSourceSeq >= b.FirstSourceSeq && (b.FirstSourceSeq > 0 || b.LastSourceSeq == 0)
	b.Exponents = refExponents(&ok, in.GetPriceExponent(), in.GetQtyExponent())
	for _, e := range in.Events {
		event := refEvent(&ok, e)
		ok = ok && (b.Symbol != "" || event.Kind == EventHeartbeat)
		b.Events = append(b.Events, event)
	}
	if !ok {
		return nil, errReference
	}
	return b, nil
}

func refExponents(ok *bool, price, qty int32) Exponents {
	*ok = *ok && price >= MinExponent && price <= MaxExponent && qty >= MinExponent && qty <= MaxExponent
	return Exponents{int8(price), int8(qty)}
}

func refLevels(ok *bool, in *pb.Levels) []Level {
	out, err := AppendLevels(nil, in)
	*ok = *ok && err == nil
	return out
}

func refOrders(ok *bool, in *pb.Orders) (out []Order) {
	if len(in.GetOrderId()) != len(in.GetPrice()) || len(in.GetPrice()) != len(in.GetQty()) {
		*ok = false
		return nil
	}
	var last Order
	for i := range in.GetOrderId() {
		last = Order{last.ID + uint64(in.OrderId[i]), last.Price + in.Price[i], in.Qty[i]}
		*ok = *ok && last.ID != 0 && last.Qty > 0
		out = append(out, last)
	}
	return out
}

func refEvent(ok *bool, in *pb.Event) Event {
	require := func(condition bool) { *ok = *ok && condition }
	order := func(e Event) Event {
		require(e.OrderID != 0 && (e.Kind == EventDelete || e.Qty > 0) && e.QtyAfter >= 0)
		return e
	}
	switch k := in.Kind.(type) {
	case *pb.Event_SetLevels:
		return Event{Kind: EventSetLevels, Bids: refLevels(ok, k.SetLevels.GetBids()), Asks: refLevels(ok, k.SetLevels.GetAsks())}
	case *pb.Event_Add:
		require(k.Add.Side == pb.Side_SIDE_BID || k.Add.Side == pb.Side_SIDE_ASK)
		return order(Event{Kind: EventAdd, OrderID: k.Add.OrderId, Side: Side(k.Add.Side), Price: k.Add.Price, Qty: k.Add.Qty})
	case *pb.Event_Modify:
		return order(Event{Kind: EventModify, OrderID: k.Modify.OrderId, Price: k.Modify.Price, Qty: k.Modify.Qty, KeepPriority: k.Modify.KeepPriority})
	case *pb.Event_Reduce:
		return order(Event{Kind: EventReduce, OrderID: k.Reduce.OrderId, Qty: k.Reduce.Qty, QtyAfter: k.Reduce.GetQtyAfter(), HasQtyAfter: k.Reduce.QtyAfter != nil})
	case *pb.Event_Execute:
		x := k.Execute
		return order(Event{Kind: EventExecute, OrderID: x.OrderId, Qty: x.Qty, QtyAfter: x.GetQtyAfter(), HasQtyAfter: x.QtyAfter != nil,
			Price: x.GetPrice(), HasPrice: x.Price != nil, TradeID: x.TradeId, Unprintable: x.Printable != nil && !*x.Printable})
	case *pb.Event_Replace:
		require(k.Replace.NewOrderId != 0)
		return order(Event{Kind: EventReplace, OrderID: k.Replace.OrderId, NewOrderID: k.Replace.NewOrderId, Price: k.Replace.Price, Qty: k.Replace.Qty})
	case *pb.Event_Delete:
		return Event{Kind: EventDelete, OrderID: k.Delete.OrderId}
	case *pb.Event_Trade:
		t := Trade{ID: k.Trade.TradeId, Price: k.Trade.Price, Qty: k.Trade.Qty, VenueTime: k.Trade.VenueTime}
		if k.Trade.Aggressor == pb.Aggressor_AGGRESSOR_BUY || k.Trade.Aggressor == pb.Aggressor_AGGRESSOR_SELL {
			t.Aggressor = Aggressor(k.Trade.Aggressor)
		}
		for flag, on := range map[TradeFlags]bool{TradeHidden: k.Trade.Hidden, TradeAuction: k.Trade.Auction, TradeOffBook: k.Trade.OffBook} {
			if on {
				t.Flags |= flag
			}
		}
		return Event{Kind: EventTrade, Trade: t}
	case *pb.Event_TradeCancel:
		return Event{Kind: EventTradeCancel, Trade: Trade{ID: k.TradeCancel.TradeId}}
	case *pb.Event_TradeCorrect:
		return Event{Kind: EventTradeCorrect, Trade: Trade{ID: k.TradeCorrect.TradeId, Price: k.TradeCorrect.Price, Qty: k.TradeCorrect.Qty}}
	case *pb.Event_Snapshot:
		s := k.Snapshot
		e := Event{Kind: EventSnapshot, Bids: refLevels(ok, s.Bids), Asks: refLevels(ok, s.Asks), BidOrders: refOrders(ok, s.BidOrders),
			AskOrders: refOrders(ok, s.AskOrders), ByOrder: s.ByOrder, SourceSeq: s.SourceSeq, MaxLevels: s.MaxLevels, Continued: s.Continued, KnownLevels: s.KnownLevels}
		e.ByOrder = e.ByOrder || len(e.BidOrders)+len(e.AskOrders) > 0
		require(!e.ByOrder || len(e.Bids)+len(e.Asks) == 0)
		return e
	}
	return refStateEvent(ok, in)
}

func refStateEvent(ok *bool, in *pb.Event) Event {
	require := func(condition bool) { *ok = *ok && condition }
	switch k := in.Kind.(type) {
	case *pb.Event_Clear:
		require(k.Clear.Kind == pb.ClearKind_CLEAR_KIND_RESET || k.Clear.Kind == pb.ClearKind_CLEAR_KIND_SESSION_START)
		return Event{Kind: EventClear, SessionStart: k.Clear.Kind == pb.ClearKind_CLEAR_KIND_SESSION_START}
	case *pb.Event_Instrument:
		in := k.Instrument
		require(len(in.Name) <= 128 && len(in.Base) <= 32 && len(in.Quote) <= 32)
		out := &Instrument{Exponents: refExponents(ok, in.PriceExponent, in.QtyExponent), Tick: in.Tick, Lot: in.Lot, Name: in.Name,
			Base: in.Base, Quote: in.Quote, ExpiryTime: in.ExpiryTime, MaxLevels: in.MaxLevels}
		if _, known := pb.InstrumentType_name[int32(in.Type)]; known {
			out.Type = uint8(in.Type)
		}
		return Event{Kind: EventInstrument, Instrument: out}
	case *pb.Event_InstrumentEnd:
		require(len(k.InstrumentEnd.NewSymbol) <= 64 && (k.InstrumentEnd.NewSymbol == "" || ValidSymbol(k.InstrumentEnd.NewSymbol)))
		reasons := map[pb.EndReason]Reason{pb.EndReason_END_REASON_DELISTED: ReasonDelisted,
			pb.EndReason_END_REASON_RENAMED: ReasonRenamed, pb.EndReason_END_REASON_EXPIRED: ReasonExpired}
		return Event{Kind: EventInstrumentEnd, EndReason: reasons[k.InstrumentEnd.Reason], NewSymbol: k.InstrumentEnd.NewSymbol}
	case *pb.Event_Statistics:
		s := k.Statistics
		return Event{Kind: EventStatistics, Statistics: &Statistics{refOptional(s.Open), refOptional(s.High), refOptional(s.Low), refOptional(s.Last),
			refOptional(s.PreviousClose), refOptional(s.Settlement), refOptional(s.Volume), refOptional(s.OpenInterest)}}
	case *pb.Event_Phase:
		_, known := pb.Phase_name[int32(k.Phase.Phase)]
		require(known)
		price, qty := refOptional(k.Phase.IndicativePrice), refOptional(k.Phase.IndicativeQty)
		return Event{Kind: EventPhase, Phase: Phase(k.Phase.Phase), Indicative: Indicative{price.Value, qty.Value, price.Set, qty.Set}}
	case *pb.Event_Heartbeat:
		return Event{Kind: EventHeartbeat}
	}
	return Event{Kind: EventNone}
}

func refOptional(v *int64) Optional {
	if v == nil {
		return Optional{}
	}
	return Optional{Value: *v, Set: true}
}

// plain returns b with empty slices as nil, for comparing, and without what the
// value of a record does not say.
func plain(b *Batch) Batch {
	out := *b
	out.Bytes, out.Seq, out.KafkaTime = 0, 0, 0
	out.Events = slices.Clone(b.Events)
	for i := range out.Events {
		e := &out.Events[i]
		e.Bids, e.Asks = orNil(e.Bids), orNil(e.Asks)
		e.BidOrders, e.AskOrders = orNil(e.BidOrders), orNil(e.AskOrders)
	}
	out.Events = orNil(out.Events)
	return out
}

func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clone(s)
}
