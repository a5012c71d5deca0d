package client

import (
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// quote follows the ticker of one symbol.
type quote struct {
	ticker proto.Ticker
	known  bool   // there is one
	anew   bool   // the next one replaces it, whatever its seq
	epoch  uint64 // history that seq belongs to
	seq    int64
}

// take moves q on to t, and reports whether it is newer.
func (q *quote) take(t *proto.Ticker) bool {
	if q.known && !q.anew && t.Seq < q.seq {
		return false
	}
	q.ticker, q.known, q.anew, q.seq = *t, true, false, t.Seq
	return true
}

// replace takes an ack or a snapshot of epoch: the ticker that follows counts. What
// is known is kept until then, if it is still under the exponents of the topic and
// of that history.
func (q *quote) replace(epoch uint64, keep bool) {
	q.known = q.known && keep && epoch == q.epoch
	q.anew, q.epoch = true, epoch
}

// void takes away what is not known while the book is recovering.
func (q *quote) void() {
	none := proto.Optional{}
	q.ticker.Bid, q.ticker.BidQty, q.ticker.Ask, q.ticker.AskQty, q.ticker.Partial = none, none, none, none, false
}

// Ticker returns the newest ticker, valid until the next turn of the loop; nil
// where none has come, or the channel is another. Its prices and quantities are
// under Exponents.
func (s *Subscription) Ticker() *proto.Ticker {
	if s.quote == nil || !s.quote.known {
		return nil
	}
	return &s.quote.ticker
}

func (c *Client) takeTicker(s *Subscription, f *pb.Ticker) (Event, error) {
	if s == nil || s.quote == nil {
		return nil, nil
	}
	t := tickerOf(f)
	if !s.quote.take(&t) {
		return nil, nil
	}
	return &TickerChanged{Sub: s, Ticker: &s.quote.ticker}, nil
}

func tickerOf(f *pb.Ticker) proto.Ticker {
	return proto.Ticker{
		PrevSeq: f.PrevSeq, Seq: f.Seq, Merged: f.Merged, Times: timesOf(f.Ts),
		Last: optional(f.Last), LastQty: optional(f.LastQty), Open: optional(f.Open), High: optional(f.High), Low: optional(f.Low),
		PreviousClose: optional(f.PreviousClose), Settlement: optional(f.Settlement),
		Volume: optional(f.Volume), OpenInterest: optional(f.OpenInterest),
		Bid: optional(f.Bid), BidQty: optional(f.BidQty), Ask: optional(f.Ask), AskQty: optional(f.AskQty),
		Change: optional(f.Change), Partial: f.Partial,
	}
}

func optional(v *int64) proto.Optional {
	if v == nil {
		return proto.Optional{}
	}
	return proto.Optional{Value: *v, Set: true}
}
