package client

import (
	"fmt"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// listings follow the instruments of a symbol or pattern.
type listings struct {
	of    map[string]*proto.Listing // not ended ones
	whole bool                      // a list has come, or begun to
	more  bool                      // the frame before goes on in the next one
	passe bool                      // and was of no use
	seq   int64
}

// take moves l on over f.
func (l *listings) take(f *proto.Instruments) Outcome {
	goesOn := l.more
	l.more = f.More
	switch {
	case f.Snapshot:
		l.of, l.whole, l.passe = map[string]*proto.Listing{}, true, false
	case goesOn && l.passe:
		return Ignored
	case goesOn:
	case !l.whole || f.Seq <= l.seq:
		l.passe = true
		return Ignored
	case f.PrevSeq > l.seq:
		l.void()
		return Gap
	default:
		l.passe = false
	}
	l.seq = f.Seq
	for _, x := range f.Listings {
		if x.Ended {
			delete(l.of, x.Symbol)
		} else {
			l.of[x.Symbol] = x
		}
	}
	return Applied
}

// void has l wait for a list.
func (l *listings) void() { l.whole, l.more, l.passe = false, false, true }

// Listing returns what the instruments channel says of a symbol; nil where it is
// not listed, or the channel is another. It never changes.
func (s *Subscription) Listing(symbol string) *proto.Listing {
	if s.listings == nil {
		return nil
	}
	return s.listings.of[symbol]
}

func (c *Client) takeInstruments(s *Subscription, f *pb.Instruments, now time.Time) (Event, error) {
	if s == nil || s.listings == nil {
		return nil, nil
	}
	in := proto.Instruments{PrevSeq: f.PrevSeq, Seq: f.Seq, Snapshot: f.Snapshot, More: f.More, Times: timesOf(f.Ts)}
	for _, l := range f.Listings {
		listing, err := listingOf(l)
		if err != nil {
			return nil, err
		}
		in.Listings = append(in.Listings, listing)
	}
	switch s.listings.take(&in) {
	case Gap:
		return c.lost(s, Gap, now)
	case Ignored:
		return nil, nil
	}
	if in.Snapshot {
		s.lost = BookLost{}
		c.schedule(s, time.Time{})
	}
	return &Listed{Sub: s, Instruments: &in}, nil
}

func listingOf(f *pb.Listing) (*proto.Listing, error) {
	l := &proto.Listing{
		Symbol: f.Symbol, Phase: proto.Phase(f.Phase), Ended: f.Ended, NewSymbol: f.NewSymbol, Epoch: f.Epoch, Seq: f.Seq,
	}
	if f.EndReason != pb.EndReason_END_REASON_UNSPECIFIED {
		l.EndReason = proto.ReasonDelisted + proto.Reason(f.EndReason-pb.EndReason_END_REASON_DELISTED)
	}
	i := f.Instrument
	if i == nil {
		return l, nil
	}
	x, err := exponentsOf(i.PriceExponent, i.QtyExponent)
	if err != nil {
		return nil, fmt.Errorf("instrument of %s: %w", f.Symbol, err)
	}
	l.Instrument = &proto.Instrument{
		Exponents: x, Tick: i.Tick, Lot: i.Lot, Type: uint8(i.Type), Name: i.Name, Base: i.Base, Quote: i.Quote,
		ExpiryTime: i.ExpiryTime, MaxLevels: i.MaxLevels,
	}
	return l, nil
}
