package main

import (
	"strings"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// tickerLine has the member names of a ticker frame. What is not known is left out.
type tickerLine struct {
	Symbol        string `json:"symbol"`
	Seq           int64  `json:"seq,string"`
	Last          string `json:"last,omitempty"`
	LastQty       string `json:"last_qty,omitempty"`
	Open          string `json:"open,omitempty"`
	High          string `json:"high,omitempty"`
	Low           string `json:"low,omitempty"`
	PreviousClose string `json:"previous_close,omitempty"`
	Settlement    string `json:"settlement,omitempty"`
	Volume        string `json:"volume,omitempty"`
	OpenInterest  string `json:"open_interest,omitempty"`
	Bid           string `json:"bid,omitempty"`
	BidQty        string `json:"bid_qty,omitempty"`
	Ask           string `json:"ask,omitempty"`
	AskQty        string `json:"ask_qty,omitempty"`
	Change        string `json:"change,omitempty"`
	Partial       bool   `json:"partial,omitempty"`
}

// known writes a number that may be absent; "" where it is.
func known(o proto.Optional, exponent int8) string {
	if !o.Set {
		return ""
	}
	return decimal(o.Value, exponent)
}

func tickerLineOf(s *watched) tickerLine {
	t, x := s.ticker.Ticker(), s.ticker.Exponents()
	return tickerLine{
		Symbol: s.symbol, Seq: t.Seq,
		Last: known(t.Last, x.Price), LastQty: known(t.LastQty, x.Qty), Open: known(t.Open, x.Price),
		High: known(t.High, x.Price), Low: known(t.Low, x.Price), PreviousClose: known(t.PreviousClose, x.Price),
		Settlement: known(t.Settlement, x.Price), Volume: known(t.Volume, x.Qty), OpenInterest: known(t.OpenInterest, x.Qty),
		Bid: known(t.Bid, x.Price), BidQty: known(t.BidQty, x.Qty), Ask: known(t.Ask, x.Price), AskQty: known(t.AskQty, x.Qty),
		Change: known(t.Change, x.Price), Partial: t.Partial,
	}
}

// tickerText writes what is known of the session in one line; "" where there is no
// ticker.
func tickerText(sub *client.Subscription) string {
	if sub == nil || sub.Ticker() == nil {
		return ""
	}
	l := tickerLineOf(&watched{ticker: sub})
	if l.Change != "" && sub.Ticker().Change.Value > 0 {
		l.Change = "+" + l.Change
	}
	var words []string
	for _, f := range [...][2]string{
		{"last", l.Last}, {"change", l.Change}, {"open", l.Open}, {"high", l.High}, {"low", l.Low},
		{"previous close", l.PreviousClose}, {"settlement", l.Settlement}, {"volume", l.Volume}, {"open interest", l.OpenInterest},
	} {
		if f[1] != "" {
			words = append(words, f[0]+" "+f[1])
		}
	}
	if words == nil {
		return "nothing known of the session"
	}
	return strings.Join(words, "  ")
}
