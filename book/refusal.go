package book

import (
	"errors"
	"fmt"

	"github.com/depthcast/depthcast/proto"
)

// refusal is one way in which a record is refused: the code of its RecordError,
// the reason that its book enters, and the sentence.
type refusal struct {
	code   string
	reason proto.Reason
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }

func refuse(code string, reason proto.Reason, text string) *refusal {
	return &refusal{code, reason, errors.New("book: " + text)}
}

// All refusals of the package.
var (
	errUnset          = refuse("unset_event", proto.ReasonBadRecord, "an event with nothing set")
	errNoSymbol       = refuse("no_symbol", proto.ReasonBadRecord, "a record without symbol holds more than heartbeats")
	errBadSide        = refuse("bad_side", proto.ReasonBadRecord, "an order has no side")
	errBadQty         = refuse("bad_qty", proto.ReasonBadRecord, "a quantity is out of range")
	errBadPhase       = refuse("bad_phase", proto.ReasonBadRecord, "a phase is not known")
	errBadInstrument  = refuse("bad_instrument", proto.ReasonBadRecord, "an instrument has exponents out of range, or is missing")
	errBadEnd         = refuse("bad_end", proto.ReasonBadRecord, "an instrument's end has no reason")
	errBadTrade       = refuse("bad_trade", proto.ReasonBadRecord, "a trade has no quantity, or no id where it needs one")
	errBadStatistics  = refuse("bad_statistics", proto.ReasonBadRecord, "statistics are missing")
	errExponents      = refuse("exponents", proto.ReasonContradiction, "a record's exponents are not those of its instrument")
	errZeroOrder      = refuse("zero_order_id", proto.ReasonBadRecord, "order id 0")
	errUnknownOrder   = refuse("unknown_order", proto.ReasonContradiction, "the order is not in the book")
	errDuplicateOrder = refuse("duplicate_order", proto.ReasonContradiction, "the order is in the book already")
	errBelowZero      = refuse("below_zero", proto.ReasonContradiction, "an order would fall below zero")
	errQtyMismatch    = refuse("qty_mismatch", proto.ReasonContradiction, "an order has another quantity left than its record says")
	errPriorityPrice  = refuse("priority_price", proto.ReasonContradiction, "an order cannot keep its priority at another price")
	errMixedBook      = refuse("mixed_book", proto.ReasonContradiction, "levels for a book by order, or orders for a book by level")
	errDuplicateLevel = refuse("duplicate_level", proto.ReasonContradiction, "a snapshot names a price twice")
	errContinued      = refuse("continued_snapshot", proto.ReasonContradiction, "a part of a snapshot does not follow its first part")
	errPartNumber     = refuse("part_number", proto.ReasonContradiction, "the last part of an event has the number of the part before it, as if it came again")
	errPartialOverlap = refuse("partial_overlap", proto.ReasonContradiction, "order events of which some were applied before")
	errCrossed        = refuse("crossed", proto.ReasonCrossed, "the book is crossed in the continuous phase")
	errOverflow       = refuse("overflow", proto.ReasonOverflow, "the quantity of a level does not fit in 64 bits")
	errTooManyLevels  = refuse("too_many_levels", proto.ReasonOverflow, "more levels than a book may have")
	errTooManyOrders  = refuse("too_many_orders", proto.ReasonOverflow, "more orders than a book may have")
	errHeld           = refuse("held_overflow", proto.ReasonOverflow, "an event in several records is larger than what may be held back")
	errTooManyFeeds   = refuse("too_many_feeds", proto.ReasonOverflow, "more feeds than an engine may have")
	errTooManySymbols = refuse("too_many_symbols", proto.ReasonNone, "more symbols than an engine may have")
	errEnded          = refuse("ended_symbol", proto.ReasonNone, "the instrument has ended")
)

// record makes the error that callers see, with the record's symbol and the place
// of the event in it (-1: the record as a whole).
func (r *refusal) record(symbol string, event int, reason proto.Reason) *proto.RecordError {
	err := error(r)
	if event >= 0 {
		err = fmt.Errorf("event %d: %w", event, r)
	}
	return &proto.RecordError{Code: r.code, Symbol: symbol, Reason: reason, Err: err}
}
