package client

import (
	"fmt"

	"github.com/gobwas/ws"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// opcode of the messages of a codec.
func opcode(codec proto.Codec) ws.OpCode {
	if codec == proto.CodecJSON {
		return ws.OpText
	}
	return ws.OpBinary
}

// encode returns req as one message.
func (c *Client) encode(req *pb.Request) ([]byte, error) {
	if c.config.Codec == proto.CodecJSON {
		return proto.EncodeJSONRequest(req)
	}
	return googleproto.Marshal(req)
}

// decode returns the frame in one message.
func (c *Client) decode(op ws.OpCode, message []byte) (*pb.Frame, error) {
	if op != opcode(c.config.Codec) {
		return nil, fmt.Errorf("%w: message of type %#x", ErrProtocol, byte(op))
	}
	if c.config.Codec == proto.CodecJSON {
		strange := false // a topic whose decimals cannot be read, nor concern anyone
		f, err := proto.DecodeJSONFrame(message, func(topic uint32) (proto.Exponents, bool) {
			s, ok := c.topics[topic]
			if !ok {
				strange = true
				return proto.Exponents{}, false
			}
			return s.exponents, true
		})
		if strange {
			return &pb.Frame{}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		return f, nil
	}
	f := &pb.Frame{}
	if err := googleproto.Unmarshal(message, f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return f, nil
}

func exponentsOf(price, qty int32) (proto.Exponents, error) {
	if min(price, qty) < proto.MinExponent || max(price, qty) > proto.MaxExponent {
		return proto.Exponents{}, fmt.Errorf("%w: exponents %d and %d", ErrProtocol, price, qty)
	}
	return proto.Exponents{Price: int8(price), Qty: int8(qty)}, nil
}

func timesOf(t *pb.Times) proto.Times {
	times := proto.Times{VenueFirst: t.GetVenueFirst(), Venue: t.GetVenue(), Kafka: t.GetKafka(), Published: t.GetPublished()}
	if times.VenueFirst == 0 {
		times.VenueFirst = times.Venue
	}
	return times
}

// setSnapshot fills dst, reusing its slices.
func setSnapshot(dst *proto.Snapshot, s *pb.Snapshot) (err error) {
	bids, asks, orders := dst.Bids[:0], dst.Asks[:0], dst.Orders
	*dst = proto.Snapshot{
		Symbol: s.Symbol, Epoch: s.Epoch, Seq: s.Seq, State: proto.State(s.State), Reason: proto.Reason(s.StateReason),
		Phase: proto.Phase(s.Phase), Hash: s.Hash, Times: timesOf(s.Ts), Partial: s.Partial, Locked: s.Locked, Crossed: s.Crossed,
		Indicative: indicative(s.IndicativePrice, s.IndicativeQty),
	}
	if dst.Exponents, err = exponentsOf(s.PriceExponent, s.QtyExponent); err != nil {
		return err
	}
	if dst.Bids, dst.Asks, err = levelsOfSides(bids, asks, s.Bids, s.Asks); err != nil {
		return err
	}
	dst.Orders = orders
	return ordersOfSides(&dst.Orders, s.BidOrders, s.AskOrders)
}

// setDelta fills dst, reusing its slices.
func setDelta(dst *proto.Delta, d *pb.Delta) (err error) {
	bids, asks := dst.Bids[:0], dst.Asks[:0]
	*dst = proto.Delta{PrevSeq: d.PrevSeq, Seq: d.Seq, Hash: d.Hash, Merged: d.Merged, Times: timesOf(d.Ts)}
	dst.Bids, dst.Asks, err = levelsOfSides(bids, asks, d.Bids, d.Asks)
	return err
}

// setOrders fills dst with a delta of orders, which are decoded into orders.
func setOrders(dst *proto.Delta, orders *proto.Orders, d *pb.OrdersDelta) error {
	*dst = proto.Delta{PrevSeq: d.PrevSeq, Seq: d.Seq, Hash: d.Hash, Merged: d.Merged, Times: timesOf(d.Ts),
		Bids: dst.Bids[:0], Asks: dst.Asks[:0], Orders: orders}
	return ordersOfSides(orders, d.Bids, d.Asks)
}

// ordersOfSides fills dst, reusing its slices.
func ordersOfSides(dst *proto.Orders, b, a *pb.RankedOrders) (err error) {
	if dst.Bids, err = proto.AppendOrders(dst.Bids[:0], b); err == nil {
		dst.Asks, err = proto.AppendOrders(dst.Asks[:0], a)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return err
}

func levelsOfSides(bids, asks []proto.Level, b, a *pb.Levels) (_, _ []proto.Level, err error) {
	if bids, err = proto.AppendLevels(bids, b); err == nil {
		asks, err = proto.AppendLevels(asks, a)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return bids, asks, err
}

// setTrades fills dst, reusing its slice.
func setTrades(dst *proto.Trades, t *pb.Trades) {
	*dst = proto.Trades{
		PrevSeq: t.PrevSeq, Seq: t.Seq, Trades: dst.Trades[:0], Missed: t.Missed, MissedFirst: t.MissedFirst,
		MissedLast: t.MissedLast, History: t.History, Times: timesOf(t.Ts),
	}
	for _, p := range t.Trades {
		trade := proto.Trade{
			Ordinal: p.Ordinal, ID: p.TradeId, Price: p.Price, Qty: p.Qty,
			Aggressor: proto.Aggressor(p.Aggressor), VenueTime: p.VenueTime,
		}
		for _, f := range []struct {
			set  bool
			flag proto.TradeFlags
		}{
			{p.Hidden, proto.TradeHidden}, {p.Auction, proto.TradeAuction}, {p.OffBook, proto.TradeOffBook},
			{p.Correction, proto.TradeCorrection}, {p.Cancellation, proto.TradeCancellation},
		} {
			if f.set {
				trade.Flags |= f.flag
			}
		}
		dst.Trades = append(dst.Trades, trade)
	}
}

func statusOf(s *pb.Status) *proto.Status {
	return &proto.Status{
		Seq: s.Seq, State: proto.State(s.State), Reason: proto.Reason(s.Reason), Phase: proto.Phase(s.Phase),
		Indicative: indicative(s.IndicativePrice, s.IndicativeQty),
		Final:      s.Final, NewSymbol: s.NewSymbol, Locked: s.Locked, Crossed: s.Crossed, Partial: s.Partial, Times: timesOf(s.Ts),
	}
}

// statusIn is the status that s holds: no separate one announces it.
func statusIn(s *proto.Snapshot) *proto.Status {
	return &proto.Status{
		Seq: s.Seq, State: s.State, Reason: s.Reason, Phase: s.Phase, Indicative: s.Indicative,
		Locked: s.Locked, Crossed: s.Crossed, Partial: s.Partial, Times: s.Times,
	}
}

func indicative(price, qty *int64) proto.Indicative {
	p, q := optional(price), optional(qty)
	return proto.Indicative{Price: p.Value, HasPrice: p.Set, Qty: q.Value, HasQty: q.Set}
}
