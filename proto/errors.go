package proto

import (
	"errors"
	"fmt"
)

// Errors of opening a view. Clients see them as error codes of the same
// name, ErrTooManyGroups as overloaded.
var (
	ErrUnknownSymbol  = errors.New("unknown symbol")
	ErrNotReady       = errors.New("not caught up yet")
	ErrUnknownChannel = errors.New("the symbol has no such channel here")
	ErrBadView        = errors.New("the view cannot be made")
	ErrTooManyGroups  = errors.New("as many groups of the symbol as can be followed at once")
)

// RecordError says why a record was refused: by a codec, by the partition or by
// the books. Code is one word: the metric label and the header of the dead
// letter. Reason is that of the recovering state which the symbol's book enters
// (every book of the partition, where Symbol is empty); ReasonNone where no book
// is concerned.
type RecordError struct {
	Code   string
	Symbol string
	Reason Reason
	Err    error
}

func (e *RecordError) Error() string {
	if e.Symbol == "" {
		return fmt.Sprintf("%s: %v", e.Code, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Symbol, e.Code, e.Err)
}

func (e *RecordError) Unwrap() error { return e.Err }
