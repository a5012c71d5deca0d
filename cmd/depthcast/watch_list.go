package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"slices"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// list prints how the instruments of symbols and patterns are listed, and every
// change, until ctx ends or nothing is left to follow.
func (c *watchCmd) list(ctx context.Context, cl *client.Client, out io.Writer) error {
	var subs []*client.Subscription
	for _, symbol := range slices.Compact(slices.Sorted(slices.Values(c.Symbols))) {
		sub, err := cl.Subscribe(client.Item{Symbol: symbol, Channel: proto.ChannelInstruments})
		if err != nil {
			return err
		}
		subs = append(subs, sub)
	}
	lists := map[*client.Subscription]*listed{}
	for event, err := range cl.Events(ctx) {
		if err != nil {
			return err
		}
		switch e := event.(type) {
		case *client.Disconnected:
			slog.Warn("not connected", "err", e.Err, "retry_in", e.RetryIn)
		case *client.Refused:
			slog.Warn("refused", "symbol", e.Sub.Item().Symbol, "code", proto.ErrorCodeWord(e.Error.GetCode()), "text", e.Error.GetMessage())
		case *client.Listed:
			if lists[e.Sub] == nil {
				lists[e.Sub] = &listed{}
			}
			if err := c.printListings(out, lists[e.Sub].take(e.Instruments)); err != nil {
				return err
			}
		}
		whole := func(s *client.Subscription) bool { return lists[s] != nil && lists[s].whole }
		if !slices.ContainsFunc(subs, func(s *client.Subscription) bool { return !s.Ended() && !(c.Once && whole(s)) }) {
			return refusalsOf(subs)
		}
	}
	return nil
}

// listed is what a list has said, so that one that comes anew tells only what differs.
type listed struct {
	of    map[string]*proto.Listing // by symbol; ended ones not
	anew  map[string]*proto.Listing // those of a list that is coming; nil: none is
	whole bool                      // a list has come
}

// take returns what is new in a frame. A list that comes anew without a symbol says that
// it is listed no more, and not why.
func (l *listed) take(in *proto.Instruments) (news []*proto.Listing) {
	if in.Snapshot {
		l.anew = map[string]*proto.Listing{}
	}
	if l.of == nil {
		l.of = map[string]*proto.Listing{}
	}
	for _, x := range in.Listings {
		if !reflect.DeepEqual(l.of[x.Symbol], x) {
			news = append(news, x)
		}
		l.of[x.Symbol] = x
		if x.Ended {
			delete(l.of, x.Symbol)
		} else if l.anew != nil {
			l.anew[x.Symbol] = x
		}
	}
	if l.anew == nil || in.More {
		return news
	}
	for _, symbol := range slices.Sorted(maps.Keys(l.of)) {
		if l.anew[symbol] == nil {
			gone := *l.of[symbol]
			gone.Ended = true
			news = append(news, &gone)
		}
	}
	l.of, l.anew, l.whole = l.anew, nil, true
	return news
}

// refusalsOf joins why subscriptions ended; the end of an instrument is no error.
func refusalsOf(subs []*client.Subscription) error {
	var errs []error
	for _, s := range subs {
		if err := s.Err(); err != nil && !errors.Is(err, client.ErrFinal) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *watchCmd) printListings(out io.Writer, listings []*proto.Listing) error {
	for _, l := range listings {
		if c.JSON {
			if err := json.NewEncoder(out).Encode(listingLineOf(l)); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintln(out, listingText(l)); err != nil {
			return err
		}
	}
	return nil
}

// listingText writes a listing in one line.
func listingText(l *proto.Listing) string {
	text := l.Symbol + " " + proto.PhaseWord(l.Phase)
	if l.Ended {
		why := "listed no more"
		if l.EndReason != proto.ReasonNone {
			why = proto.ReasonWord(l.EndReason)
		}
		text += " ended (" + why + ")"
		if l.NewSymbol != "" {
			text += " to " + l.NewSymbol
		}
	}
	line := listingLineOf(l)
	for _, f := range [...][2]string{{" ", line.Type}, {" tick ", line.Tick}, {" lot ", line.Lot}, {" ", line.Name}} {
		if f[1] != "" {
			text += f[0] + f[1]
		}
	}
	return text
}

// listingLine has the member names of a listing in an instruments frame, and of its
// instrument.
type listingLine struct {
	Symbol        string `json:"symbol"`
	Phase         string `json:"phase"`
	Epoch         string `json:"epoch"`
	Seq           int64  `json:"seq,string"`
	Ended         bool   `json:"ended,omitempty"`
	EndReason     string `json:"end_reason,omitempty"`
	NewSymbol     string `json:"new_symbol,omitempty"`
	PriceExponent *int8  `json:"price_exponent,omitempty"`
	QtyExponent   *int8  `json:"qty_exponent,omitempty"`
	Type          string `json:"type,omitempty"`
	Name          string `json:"name,omitempty"`
	Base          string `json:"base,omitempty"`
	Quote         string `json:"quote,omitempty"`
	Tick          string `json:"tick,omitempty"`
	Lot           string `json:"lot,omitempty"`
	ExpiryTime    int64  `json:"expiry_time,string,omitempty"`
}

func listingLineOf(l *proto.Listing) listingLine {
	line := listingLine{
		Symbol: l.Symbol, Phase: proto.PhaseWord(l.Phase), Epoch: fmt.Sprintf("%016x", l.Epoch), Seq: l.Seq,
		Ended: l.Ended, NewSymbol: l.NewSymbol,
	}
	if l.EndReason != proto.ReasonNone {
		line.EndReason = proto.ReasonWord(l.EndReason)
	}
	i := l.Instrument
	if i == nil {
		return line
	}
	x := i.Exponents
	line.PriceExponent, line.QtyExponent = &x.Price, &x.Qty
	line.Name, line.Base, line.Quote, line.ExpiryTime = i.Name, i.Base, i.Quote, i.ExpiryTime
	line.Tick = known(proto.Optional{Value: i.Tick, Set: i.Tick != 0}, x.Price)
	line.Lot = known(proto.Optional{Value: i.Lot, Set: i.Lot != 0}, x.Qty)
	if i.Type != 0 {
		line.Type = proto.InstrumentTypeWord(i.Type)
	}
	return line
}
