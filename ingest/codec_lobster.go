package ingest

import (
	"errors"

	"github.com/depthcast/depthcast/proto"
)

// lobsterCodec reads LOBSTER recordings. A record is three lines: "SYMBOL
// MIDNIGHT ROW" (midnight of the exchange's day in ns since 1970, rows counted
// from 0), row ROW of the message file and row ROW of the order-book file. Row 0
// is a snapshot of as many levels a side as the file shows; every other one yields
// the order events that lead to it.
type lobsterCodec struct {
	symbols venueSymbols[lobsterState]
	record  lobsterRecord
	batch   proto.Batch
}

// lobsterState is what the codec keeps of one symbol. book is nil until row 0
// and after a row that did not fit.
type lobsterState struct {
	book *lobsterBook
	row  int64 // the last one used
	day  int64 // midnight of the recording
}

func newLobsterCodec(Instruments) Codec {
	return &lobsterCodec{symbols: newVenueSymbols[lobsterState]()}
}

func (c *lobsterCodec) Decode(rec *Record) (*proto.Batch, error) {
	s, refused := c.symbols.find(rec.Key)
	if refused != nil {
		return nil, refused
	}
	r := &c.record
	if err := r.parse(rec.Value); err != nil {
		s.state.book = nil
		return nil, refusal(s.symbol, err)
	}
	if string(r.symbol) != s.name {
		return nil, s.mismatch(r.symbol)
	}
	s.begin(&c.batch, r.midnight+r.message.time, lobsterExponents)
	state := &s.state
	if r.row == 0 {
		return c.start(s.symbol, state)
	}
	if state.book != nil && state.day == r.midnight && r.row <= state.row {
		return nil, nil // a duplicate
	}
	if state.book == nil || state.day != r.midnight || r.row != state.row+1 {
		last := state.row
		state.book = nil
		return nil, refuse(CodeSourceGap, s.symbol, proto.ReasonSourceGap, "row %d after row %d; waiting for row 0", r.row, last)
	}
	if err := state.book.advance(&r.message, &r.book, &c.batch); err != nil {
		state.book = nil
		return nil, lobsterRefusal(s.symbol, err)
	}
	state.row = r.row
	if len(c.batch.Events) == 0 {
		return nil, nil
	}
	return &c.batch, nil
}

// start seeds a book from row 0 and makes it the batch's snapshot. A row 0 that
// was seen before is a replay from the start, not a duplicate.
func (c *lobsterCodec) start(symbol string, state *lobsterState) (*proto.Batch, error) {
	book := newLobsterBook()
	if err := book.seed(&c.record.message, &c.record.book); err != nil {
		state.book = nil
		return nil, lobsterRefusal(symbol, err)
	}
	*state = lobsterState{book: book, day: c.record.midnight}
	e := addEvent(&c.batch, proto.EventSnapshot)
	e.ByOrder, e.MaxLevels = true, uint32(book.depth)
	e.BidOrders = book.bids.appendOrders(e.BidOrders, book.orders)
	e.AskOrders = book.asks.appendOrders(e.AskOrders, book.orders)
	return &c.batch, nil
}

func (s *lobsterSide) appendOrders(dst []proto.Order, orders map[uint64]*lobsterOrder) []proto.Order {
	for i := range s.levels {
		for _, id := range s.levels[i].ids {
			dst = append(dst, proto.Order{ID: id, Price: s.levels[i].price, Qty: orders[id].qty})
		}
	}
	return dst
}

func lobsterRefusal(symbol string, err error) *proto.RecordError {
	code := CodeRowMismatch
	if errors.Is(err, errLobsterTooMany) {
		code = CodeMalformed
	}
	return &proto.RecordError{Code: code, Symbol: symbol, Reason: proto.ReasonContradiction, Err: err}
}
