package proto

import (
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto/pb"
)

// From the plain types to the generated ones, written for clearness: what the
// append encoders and the decoders are held to.

func pbLevels(levels []Level, counts bool) *pb.Levels {
	if len(levels) == 0 {
		return nil
	}
	out := &pb.Levels{}
	last := int64(0)
	for _, l := range levels {
		out.Price = append(out.Price, l.Price-last)
		out.Qty = append(out.Qty, l.Qty)
		if counts {
			out.Count = append(out.Count, l.Count)
		}
		last = l.Price
	}
	return out
}

func pbTimes(t Times) *pb.Times {
	out := &pb.Times{Venue: t.Venue, Kafka: t.Kafka, Published: t.Published}
	if t.VenueFirst != t.Venue {
		out.VenueFirst = t.VenueFirst
	}
	if googleproto.Size(out) == 0 {
		return nil
	}
	return out
}

func pbRanked(orders []RankedOrder) *pb.RankedOrders {
	if len(orders) == 0 {
		return nil
	}
	out := &pb.RankedOrders{}
	var last RankedOrder
	for _, o := range orders {
		out.OrderId = append(out.OrderId, int64(o.ID-last.ID))
		out.Price = append(out.Price, o.Price-last.Price)
		out.Qty = append(out.Qty, o.Qty)
		out.RankSeq = append(out.RankSeq, o.RankSeq-last.RankSeq)
		out.RankIndex = append(out.RankIndex, o.RankIndex)
		last = o
	}
	return out
}

func pbOrdersDelta(form TopicForm, d *Delta) *pb.Frame {
	out := &pb.OrdersDelta{
		Topic: form.Topic, PrevSeq: d.PrevSeq, Seq: d.Seq, Hash: d.Hash, Ts: pbTimes(d.Times),
		Bids: pbRanked(d.Orders.Bids), Asks: pbRanked(d.Orders.Asks),
	}
	if d.Merged > 1 {
		out.Merged = d.Merged
	}
	return &pb.Frame{Body: &pb.Frame_Orders{Orders: out}}
}

func pbDelta(form TopicForm, d *Delta) *pb.Frame {
	out := &pb.Delta{
		Topic: form.Topic, PrevSeq: d.PrevSeq, Seq: d.Seq, Hash: d.Hash, Ts: pbTimes(d.Times),
		Bids: pbLevels(d.Bids, form.Counts), Asks: pbLevels(d.Asks, form.Counts),
	}
	if d.Merged > 1 {
		out.Merged = d.Merged
	}
	return &pb.Frame{Body: &pb.Frame_Delta{Delta: out}}
}

func pbSnapshot(form TopicForm, reason SnapshotReason, s *Snapshot) *pb.Frame {
	price, qty := pbIndicative(s.Indicative)
	return &pb.Frame{Body: &pb.Frame_Snapshot{Snapshot: &pb.Snapshot{
		Topic: form.Topic, Symbol: s.Symbol, Epoch: s.Epoch, Seq: s.Seq, Reason: pb.SnapshotReason(reason),
		State: pb.State(s.State), StateReason: pb.Reason(s.Reason), Phase: pb.Phase(s.Phase),
		PriceExponent: int32(s.Exponents.Price), QtyExponent: int32(s.Exponents.Qty),
		Bids: pbLevels(s.Bids, form.Counts), Asks: pbLevels(s.Asks, form.Counts), Hash: s.Hash, Ts: pbTimes(s.Times),
		Partial: s.Partial, Locked: s.Locked, Crossed: s.Crossed,
		BidOrders: pbRanked(s.Orders.Bids), AskOrders: pbRanked(s.Orders.Asks), IndicativePrice: price, IndicativeQty: qty,
	}}}
}

func pbTicker(form TopicForm, t *Ticker) *pb.Frame {
	out := &pb.Ticker{
		Topic: form.Topic, PrevSeq: t.PrevSeq, Seq: t.Seq, Ts: pbTimes(t.Times),
		Last: pbOptional(t.Last), LastQty: pbOptional(t.LastQty), Open: pbOptional(t.Open), High: pbOptional(t.High), Low: pbOptional(t.Low),
		PreviousClose: pbOptional(t.PreviousClose), Settlement: pbOptional(t.Settlement),
		Volume: pbOptional(t.Volume), OpenInterest: pbOptional(t.OpenInterest),
		Bid: pbOptional(t.Bid), BidQty: pbOptional(t.BidQty), Ask: pbOptional(t.Ask), AskQty: pbOptional(t.AskQty), Change: pbOptional(t.Change),
		Partial: t.Partial,
	}
	if t.Merged > 1 {
		out.Merged = t.Merged
	}
	return &pb.Frame{Body: &pb.Frame_Ticker{Ticker: out}}
}

func pbInstruments(form TopicForm, in *Instruments) *pb.Frame {
	out := &pb.Instruments{
		Topic: form.Topic, PrevSeq: in.PrevSeq, Seq: in.Seq, Snapshot: in.Snapshot, More: in.More, Ts: pbTimes(in.Times),
	}
	for _, l := range in.Listings {
		listing := &pb.Listing{
			Symbol: l.Symbol, Phase: pb.Phase(l.Phase), Ended: l.Ended, EndReason: pbEndReasons[l.EndReason],
			NewSymbol: l.NewSymbol, Epoch: l.Epoch, Seq: l.Seq,
		}
		if l.Instrument != nil {
			listing.Instrument = pbInstrument(l.Instrument)
		}
		out.Listings = append(out.Listings, listing)
	}
	return &pb.Frame{Body: &pb.Frame_Instruments{Instruments: out}}
}

var pbEndReasons = map[Reason]pb.EndReason{
	ReasonDelisted: pb.EndReason_END_REASON_DELISTED, ReasonRenamed: pb.EndReason_END_REASON_RENAMED, ReasonExpired: pb.EndReason_END_REASON_EXPIRED,
}

func pbInstrument(in *Instrument) *pb.Instrument {
	return &pb.Instrument{
		PriceExponent: int32(in.Exponents.Price), QtyExponent: int32(in.Exponents.Qty), Tick: in.Tick, Lot: in.Lot,
		Type: pb.InstrumentType(in.Type), Name: in.Name, Base: in.Base, Quote: in.Quote, ExpiryTime: in.ExpiryTime,
		MaxLevels: in.MaxLevels,
	}
}

func pbTrades(form TopicForm, t *Trades) *pb.Frame {
	out := &pb.Trades{
		Topic: form.Topic, PrevSeq: t.PrevSeq, Seq: t.Seq, Missed: t.Missed, MissedFirst: t.MissedFirst,
		MissedLast: t.MissedLast, Ts: pbTimes(t.Times), History: t.History,
	}
	for _, t := range t.Trades {
		out.Trades = append(out.Trades, &pb.PublicTrade{
			Ordinal: t.Ordinal, TradeId: t.ID, Price: t.Price, Qty: t.Qty, Aggressor: pb.Aggressor(t.Aggressor),
			Hidden: t.Flags&TradeHidden != 0, Auction: t.Flags&TradeAuction != 0, OffBook: t.Flags&TradeOffBook != 0,
			Correction: t.Flags&TradeCorrection != 0, Cancellation: t.Flags&TradeCancellation != 0, VenueTime: t.VenueTime,
		})
	}
	return &pb.Frame{Body: &pb.Frame_Trades{Trades: out}}
}

func pbStatus(form TopicForm, s *Status) *pb.Frame {
	price, qty := pbIndicative(s.Indicative)
	return &pb.Frame{Body: &pb.Frame_Status{Status: &pb.Status{
		Topic: form.Topic, Seq: s.Seq, State: pb.State(s.State), Reason: pb.Reason(s.Reason), Phase: pb.Phase(s.Phase),
		IndicativePrice: price, IndicativeQty: qty, Final: s.Final, NewSymbol: s.NewSymbol, Locked: s.Locked,
		Crossed: s.Crossed, Ts: pbTimes(s.Times), Partial: s.Partial,
	}}}
}

func pbIndicative(in Indicative) (price, qty *int64) {
	return pbOptional(Optional{in.Price, in.HasPrice}), pbOptional(Optional{in.Qty, in.HasQty})
}

func pbOptional(o Optional) *int64 {
	if !o.Set {
		return nil
	}
	return &o.Value
}

func pbKeepalive(form TopicForm, k *Keepalive) *pb.Frame {
	return &pb.Frame{Body: &pb.Frame_Keepalive{Keepalive: &pb.Keepalive{
		Topic: form.Topic, Seq: k.Seq, Hash: k.Hash, SymbolAgeMs: k.SymbolAgeMS, FeedAgeMs: k.FeedAgeMS, Published: k.Published,
	}}}
}

func pbEvents(b *Batch) *pb.Events {
	out := &pb.Events{
		Symbol: b.Symbol, Feed: b.Feed, Session: b.Session, FirstSourceSeq: b.FirstSourceSeq, LastSourceSeq: b.LastSourceSeq,
		VenueTime: b.VenueTime, More: b.More, OriginEpoch: b.OriginEpoch, OriginSeq: b.OriginSeq,
		OriginPrevSeq: b.OriginPrevSeq, Generation: b.Generation,
	}
	if b.HasExponents {
		price, qty := int32(b.Exponents.Price), int32(b.Exponents.Qty)
		out.PriceExponent, out.QtyExponent = &price, &qty
	}
	for i := range b.Events {
		out.Events = append(out.Events, pbEvent(&b.Events[i]))
	}
	return out
}

func pbEvent(e *Event) *pb.Event {
	out := &pb.Event{}
	switch e.Kind {
	case EventSetLevels:
		out.Kind = &pb.Event_SetLevels{SetLevels: &pb.SetLevels{Bids: pbLevels(e.Bids, anyCount(e.Bids)), Asks: pbLevels(e.Asks, anyCount(e.Asks))}}
	case EventAdd:
		out.Kind = &pb.Event_Add{Add: &pb.OrderAdd{OrderId: e.OrderID, Side: pb.Side(e.Side), Price: e.Price, Qty: e.Qty}}
	case EventModify:
		out.Kind = &pb.Event_Modify{Modify: &pb.OrderModify{OrderId: e.OrderID, Price: e.Price, Qty: e.Qty, KeepPriority: e.KeepPriority}}
	case EventReduce:
		out.Kind = &pb.Event_Reduce{Reduce: &pb.OrderReduce{OrderId: e.OrderID, Qty: e.Qty, QtyAfter: pbOptional(Optional{e.QtyAfter, e.HasQtyAfter})}}
	case EventExecute:
		x := &pb.OrderExecute{OrderId: e.OrderID, Qty: e.Qty, TradeId: e.TradeID,
			QtyAfter: pbOptional(Optional{e.QtyAfter, e.HasQtyAfter}), Price: pbOptional(Optional{e.Price, e.HasPrice})}
		if e.Unprintable {
			x.Printable = new(bool)
		}
		out.Kind = &pb.Event_Execute{Execute: x}
	case EventReplace:
		out.Kind = &pb.Event_Replace{Replace: &pb.OrderReplace{OrderId: e.OrderID, NewOrderId: e.NewOrderID, Price: e.Price, Qty: e.Qty}}
	case EventDelete:
		out.Kind = &pb.Event_Delete{Delete: &pb.OrderDelete{OrderId: e.OrderID}}
	case EventTrade:
		out.Kind = &pb.Event_Trade{Trade: &pb.Trade{
			TradeId: e.Trade.ID, Price: e.Trade.Price, Qty: e.Trade.Qty, Aggressor: pb.Aggressor(e.Trade.Aggressor),
			Hidden: e.Trade.Flags&TradeHidden != 0, Auction: e.Trade.Flags&TradeAuction != 0,
			OffBook: e.Trade.Flags&TradeOffBook != 0, VenueTime: e.Trade.VenueTime,
		}}
	case EventTradeCancel:
		out.Kind = &pb.Event_TradeCancel{TradeCancel: &pb.TradeCancel{TradeId: e.Trade.ID}}
	case EventTradeCorrect:
		out.Kind = &pb.Event_TradeCorrect{TradeCorrect: &pb.TradeCorrect{TradeId: e.Trade.ID, Price: e.Trade.Price, Qty: e.Trade.Qty}}
	case EventSnapshot:
		out.Kind = &pb.Event_Snapshot{Snapshot: &pb.BookSnapshot{
			Bids: pbLevels(e.Bids, anyCount(e.Bids)), Asks: pbLevels(e.Asks, anyCount(e.Asks)),
			BidOrders: pbOrders(e.BidOrders), AskOrders: pbOrders(e.AskOrders), ByOrder: e.ByOrder,
			SourceSeq: e.SourceSeq, MaxLevels: e.MaxLevels, Continued: e.Continued, KnownLevels: e.KnownLevels,
		}}
	case EventClear:
		kind := pb.ClearKind_CLEAR_KIND_RESET
		if e.SessionStart {
			kind = pb.ClearKind_CLEAR_KIND_SESSION_START
		}
		out.Kind = &pb.Event_Clear{Clear: &pb.Clear{Kind: kind}}
	case EventInstrument:
		out.Kind = &pb.Event_Instrument{Instrument: pbInstrument(e.Instrument)}
	case EventInstrumentEnd:
		out.Kind = &pb.Event_InstrumentEnd{InstrumentEnd: &pb.InstrumentEnd{Reason: pbEndReasons[e.EndReason], NewSymbol: e.NewSymbol}}
	case EventStatistics:
		s := e.Statistics
		out.Kind = &pb.Event_Statistics{Statistics: &pb.Statistics{
			Open: pbOptional(s.Open), High: pbOptional(s.High), Low: pbOptional(s.Low), Last: pbOptional(s.Last),
			PreviousClose: pbOptional(s.PreviousClose), Settlement: pbOptional(s.Settlement),
			Volume: pbOptional(s.Volume), OpenInterest: pbOptional(s.OpenInterest),
		}}
	case EventPhase:
		price, qty := pbIndicative(e.Indicative)
		out.Kind = &pb.Event_Phase{Phase: &pb.PhaseChange{Phase: pb.Phase(e.Phase), IndicativePrice: price, IndicativeQty: qty}}
	case EventHeartbeat:
		out.Kind = &pb.Event_Heartbeat{Heartbeat: &pb.Heartbeat{}}
	}
	return out
}

func pbOrders(orders []Order) *pb.Orders {
	if len(orders) == 0 {
		return nil
	}
	out := &pb.Orders{}
	var last Order
	for _, o := range orders {
		out.OrderId = append(out.OrderId, int64(o.ID-last.ID))
		out.Price = append(out.Price, o.Price-last.Price)
		out.Qty = append(out.Qty, o.Qty)
		last = o
	}
	return out
}
