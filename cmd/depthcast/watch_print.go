package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// decimal writes a mantissa under an exponent.
func decimal(mantissa int64, exponent int8) string {
	return string(proto.AppendDecimal(nil, mantissa, exponent))
}

// stateOf returns the words for state, with its reason, and phase.
func stateOf(b *client.Book) (state, reason, phase string) {
	if r := b.Reason(); r != proto.ReasonNone {
		reason = proto.ReasonWord(r)
	}
	return proto.StateWord(b.State()), reason, proto.PhaseWord(b.Phase())
}

// warnDisconnected tells those who see no screen.
func warnDisconnected(err error, retryIn time.Duration) {
	if err != nil {
		slog.Warn("not connected", "err", err, "retry_in", retryIn.Round(time.Millisecond))
	}
}

// linePrinter prints a line for each update, or whole ladders.
type linePrinter struct {
	out   io.Writer
	whole bool
}

func (p *linePrinter) close() {}

func (p *linePrinter) connection(err error, retryIn time.Duration, _ []*watched) error {
	warnDisconnected(err, retryIn)
	return nil
}

func (p *linePrinter) update(s *watched, event client.Event, _ []*watched) error {
	if p.whole {
		for _, line := range ladder(s, plain) {
			if _, err := fmt.Fprintln(p.out, line.text); err != nil {
				return err
			}
		}
		return nil
	}
	switch e := event.(type) {
	case *client.Traded:
		return p.trades(s, e)
	case *client.TickerChanged:
		_, err := fmt.Fprintf(p.out, "%s ticker %s\n", s.symbol, tickerText(s.ticker))
		return err
	}
	b := s.book.Book()
	state, reason, phase := stateOf(b)
	if reason != "" {
		state += " (" + reason + ")"
	}
	if b.Partial() {
		state += " partial"
	}
	if s.late > 0 {
		state += fmt.Sprintf(" late by %v", s.late)
	}
	_, err := fmt.Fprintf(p.out, "%s %s %s seq %d bid %s ask %s\n", s.symbol, state, phase, b.Seq(), best(b, proto.Bid), best(b, proto.Ask))
	return err
}

func (p *linePrinter) trades(s *watched, e *client.Traded) error {
	if e.Trades.Missed > 0 {
		if _, err := fmt.Fprintf(p.out, "%s %d trades missed\n", s.symbol, e.Trades.Missed); err != nil {
			return err
		}
	}
	for i := range e.Trades.Trades {
		if _, err := fmt.Fprintf(p.out, "%s trade %s\n", s.symbol, tradeText(&e.Trades.Trades[i], s.tape.Exponents())); err != nil {
			return err
		}
	}
	return nil
}

// best writes the best level of a side as QTY@PRICE; "-" if there is none.
func best(b *client.Book, side proto.Side) string {
	l, ok := b.Best(side)
	if !ok {
		return "-"
	}
	return decimal(l.Qty, b.Exponents().Qty) + "@" + decimal(l.Price, b.Exponents().Price)
}

// tradeText writes a trade in one line.
func tradeText(t *proto.Trade, x proto.Exponents) string {
	text := decimal(t.Qty, x.Qty) + "@" + decimal(t.Price, x.Price)
	if t.Aggressor != proto.AggressorUnknown {
		text += " " + proto.AggressorWord(t.Aggressor)
	}
	for _, f := range tradeFlags {
		if t.Flags&f.flag != 0 {
			text += " " + f.word
		}
	}
	return text
}

var tradeFlags = []struct {
	flag proto.TradeFlags
	word string
}{
	{proto.TradeHidden, "hidden"}, {proto.TradeAuction, "auction"}, {proto.TradeOffBook, "off_book"},
	{proto.TradeCorrection, "correction"}, {proto.TradeCancellation, "cancellation"},
}

// jsonPrinter prints a JSON object a line: the whole book of a symbol after each
// change of it, or its new trades.
type jsonPrinter struct{ to *json.Encoder }

func newJSONPrinter(out io.Writer) *jsonPrinter { return &jsonPrinter{json.NewEncoder(out)} }

// bookLine has the member names of a snapshot frame.
type bookLine struct {
	Symbol  string   `json:"symbol"`
	State   string   `json:"state"`
	Reason  string   `json:"state_reason,omitempty"`
	Phase   string   `json:"phase"`
	Epoch   string   `json:"epoch"`
	Seq     int64    `json:"seq,string"`
	Hash    string   `json:"hash"`
	Partial bool     `json:"partial,omitempty"`
	DelayMS int64    `json:"delay_ms,omitempty"` // that of an ack
	Bids    [][2]any `json:"bids"`
	Asks    [][2]any `json:"asks"`

	BidOrders [][5]any `json:"bid_orders,omitempty"`
	AskOrders [][5]any `json:"ask_orders,omitempty"`
}

// tradesLine has the member names of a trades frame.
type tradesLine struct {
	Symbol string      `json:"symbol"`
	Missed uint64      `json:"missed,string,omitempty"`
	Trades []tradeLine `json:"trades"`
}

type tradeLine struct {
	Ordinal   uint64   `json:"ordinal,string"`
	ID        uint64   `json:"trade_id,string,omitempty"`
	Price     string   `json:"price"`
	Qty       string   `json:"qty"`
	Aggressor string   `json:"aggressor,omitempty"`
	VenueTime int64    `json:"venue_time,string,omitempty"`
	Flags     []string `json:"flags,omitempty"`
}

func (p *jsonPrinter) close() {}

func (p *jsonPrinter) connection(err error, retryIn time.Duration, all []*watched) error {
	warnDisconnected(err, retryIn)
	if err == nil {
		return nil
	}
	// The books on record are not current from here.
	for _, s := range all {
		if s.shown {
			if err := p.to.Encode(bookLineOf(s)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *jsonPrinter) update(s *watched, event client.Event, _ []*watched) error {
	if _, ok := event.(*client.TickerChanged); ok {
		return p.to.Encode(tickerLineOf(s))
	}
	e, ok := event.(*client.Traded)
	if !ok {
		return p.to.Encode(bookLineOf(s))
	}
	line := tradesLine{Symbol: s.symbol, Missed: e.Trades.Missed, Trades: []tradeLine{}}
	x := s.tape.Exponents()
	for i := range e.Trades.Trades {
		t := &e.Trades.Trades[i]
		l := tradeLine{Ordinal: t.Ordinal, ID: t.ID, Price: decimal(t.Price, x.Price), Qty: decimal(t.Qty, x.Qty), VenueTime: t.VenueTime}
		if t.Aggressor != proto.AggressorUnknown {
			l.Aggressor = proto.AggressorWord(t.Aggressor)
		}
		for _, f := range tradeFlags {
			if t.Flags&f.flag != 0 {
				l.Flags = append(l.Flags, f.word)
			}
		}
		line.Trades = append(line.Trades, l)
	}
	return p.to.Encode(line)
}

func bookLineOf(s *watched) bookLine {
	b := s.book.Book()
	state, reason, phase := stateOf(b)
	return bookLine{
		Symbol: s.symbol, State: state, Reason: reason, Phase: phase, Seq: b.Seq(),
		Epoch: fmt.Sprintf("%016x", b.Epoch()), Hash: fmt.Sprintf("%08x", b.Hash()), Partial: b.Partial(), DelayMS: s.late.Milliseconds(),
		Bids: pairs(b, proto.Bid), Asks: pairs(b, proto.Ask),
		BidOrders: ranked(b, proto.Bid), AskOrders: ranked(b, proto.Ask),
	}
}

// ranked are the orders of a side as in a snapshot frame; none in a book by level.
func ranked(b *client.Book, side proto.Side) (all [][5]any) {
	for o := range b.Orders(side) {
		all = append(all, [5]any{
			strconv.FormatUint(o.ID, 10), decimal(o.Price, b.Exponents().Price), decimal(o.Qty, b.Exponents().Qty),
			strconv.FormatInt(o.RankSeq, 10), o.RankIndex,
		})
	}
	return all
}

// pairs are the levels of a side, best first, as [price, quantity].
func pairs(b *client.Book, side proto.Side) [][2]any {
	all := [][2]any{}
	for l := range b.Levels(side) {
		all = append(all, [2]any{decimal(l.Price, b.Exponents().Price), decimal(l.Qty, b.Exponents().Qty)})
	}
	return all
}
