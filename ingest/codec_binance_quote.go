package ingest

import (
	"slices"

	"github.com/depthcast/depthcast/proto"
)

// A bookTicker says what the best bid and offer are as of an update id. It never
// changes a book, but the book must agree with it: after a diff whose last id is u,
// with the bookTicker of the greatest id up to u. Most tickers come before the diff
// that covers them, but not all, so a book is compared when the next diff comes.
// The venue sends some of them only for the last of several changes, so a
// difference alone makes no book suspect; that they are rare is what counts.
//
// What is kept of them decides no batch, and is no part of a checkpoint.

// binanceQuotes are the bookTickers of one symbol, and the book to be compared.
type binanceQuotes struct {
	waiting []binanceQuote
	due     binanceQuote // the last ticker that has left waiting; id 0: none
	book    uint64       // last update id of the book in check; 0: none
	check   proto.QuoteCheck
}

// binanceQuote is a bookTicker.
type binanceQuote struct {
	id    uint64
	quote proto.Quote
}

// maxBinanceQuotes is how many bookTickers of a symbol wait; the oldest go first.
const maxBinanceQuotes = 256

// add takes the message, which is a bookTicker; one that cannot be read is passed over.
func (q *binanceQuotes) add(m *binanceMessage) {
	quote, ok := m.quote()
	if !ok {
		return
	}
	if len(q.waiting) >= maxBinanceQuotes {
		q.settle(q.waiting[0].id)
	}
	q.waiting = append(q.waiting, binanceQuote{m.last, quote})
}

// settle makes the last ticker up to id the one that is due, and reports whether
// there is one.
func (q *binanceQuotes) settle(id uint64) bool {
	q.waiting = slices.DeleteFunc(q.waiting, func(w binanceQuote) bool {
		if w.id <= id && w.id >= q.due.id {
			q.due = w
		}
		return w.id <= id
	})
	return q.due.id != 0 && q.due.id <= id
}

// next has the book of before compared, now that the one of update id comes.
func (q *binanceQuotes) next(id uint64) *proto.QuoteCheck {
	c := &q.check
	c.Due, c.Before = q.book != 0, c.Book
	c.Comparable = c.Due && q.settle(q.book) && c.Whole
	c.Venue = q.due.quote
	q.book, c.Whole = id, false
	return c
}

// quote returns what the message says of the best bid and offer.
func (m *binanceMessage) quote() (q proto.Quote, ok bool) {
	for _, f := range [...]struct {
		text     []byte
		exponent int8
		to       *int64
	}{
		{m.quoted[0], m.exponents.Price, &q.Bid.Price}, {m.quoted[1], m.exponents.Qty, &q.Bid.Qty},
		{m.quoted[2], m.exponents.Price, &q.Ask.Price}, {m.quoted[3], m.exponents.Qty, &q.Ask.Qty},
	} {
		var err error
		if *f.to, err = proto.ParseDecimal(f.text, f.exponent); err != nil {
			return q, false
		}
	}
	return q, m.last != 0
}
