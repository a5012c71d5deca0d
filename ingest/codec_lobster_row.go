package ingest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/depthcast/depthcast/proto"
)

var errLobsterForm = errors.New("not a LOBSTER record")

// Types of LOBSTER messages.
const (
	lobsterAdd     = 1
	lobsterReduce  = 2
	lobsterDelete  = 3
	lobsterExecute = 4
	lobsterHidden  = 5
	lobsterCross   = 6
	lobsterHalt    = 7
)

// maxLobsterLevels bounds the levels a side of an order-book row.
const maxLobsterLevels = 200

// lobsterExponents: prices are dollars * 10000, sizes whole shares.
var lobsterExponents = proto.Exponents{Price: -4, Qty: 0}

// lobsterRecord is the text of a record taken apart: the line
// "SYMBOL MIDNIGHT ROW", the message row and the order-book row.
type lobsterRecord struct {
	symbol   []byte
	midnight int64 // of the exchange's day, ns since 1970
	row      int64
	message  lobsterMessage
	book     lobsterRow
}

// lobsterRow is one row of an order-book file: occupied levels, best first.
type lobsterRow struct {
	bids, asks []proto.Level
	depth      int // levels a side that the file shows, occupied or not
}

func (r *lobsterRow) of(side proto.Side) []proto.Level {
	if side == proto.Bid {
		return r.bids
	}
	return r.asks
}

func (m *lobsterMessage) aggressor() proto.Aggressor {
	if m.direction == 1 {
		return proto.AggressorSell
	}
	return proto.AggressorBuy
}

// phase of a halt message, which its price says: -1 halted, 0 quotes again, 1
// trades again.
func (m *lobsterMessage) phase() proto.Phase {
	switch m.price {
	case 0:
		return proto.Auction
	case 1:
		return proto.Continuous
	}
	return proto.Halted
}

// parse reads a record's value, reusing r's slices.
func (r *lobsterRecord) parse(value []byte) error {
	head, rest, ok1 := bytes.Cut(value, []byte{'\n'})
	message, book, ok2 := bytes.Cut(rest, []byte{'\n'})
	if !ok1 || !ok2 {
		return fmt.Errorf("%w: three lines are wanted", errLobsterForm)
	}
	if err := r.parseHead(head); err != nil {
		return err
	}
	if err := r.message.parse(trimCR(message)); err != nil {
		return err
	}
	return r.book.parse(trimCR(bytes.TrimSuffix(book, []byte{'\n'})))
}

func trimCR(line []byte) []byte { return bytes.TrimSuffix(line, []byte{'\r'}) }

func (r *lobsterRecord) parseHead(line []byte) error {
	symbol, rest, ok1 := bytes.Cut(line, []byte{' '})
	midnight, row, ok2 := bytes.Cut(rest, []byte{' '})
	if !ok1 || !ok2 || len(symbol) == 0 {
		return fmt.Errorf("%w: first line: symbol, midnight and row are wanted", errLobsterForm)
	}
	r.symbol = symbol
	var err1, err2 error
	r.midnight, err1 = proto.ParseDecimal(midnight, 0)
	r.row, err2 = proto.ParseDecimal(row, 0)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("%w: first line: %w", errLobsterForm, err)
	}
	if r.row < 0 || r.midnight < 0 || r.midnight > maxLobsterMidnight {
		return fmt.Errorf("%w: first line: out of range", errLobsterForm)
	}
	return nil
}

// maxLobsterMidnight keeps midnight + time of day within 64 bits (the year 2261).
const maxLobsterMidnight = 9_200_000_000_000_000_000

func (m *lobsterMessage) parse(line []byte) error {
	var f [6]int64
	for i := range f {
		field, rest, more := bytes.Cut(line, []byte{','})
		if more != (i < len(f)-1) {
			return fmt.Errorf("%w: message: six columns are wanted", errLobsterForm)
		}
		exponent := int8(0)
		if i == 0 {
			exponent = -9
		}
		var err error
		if f[i], err = proto.ParseDecimal(field, exponent); err != nil {
			return fmt.Errorf("%w: message: column %d: %w", errLobsterForm, i+1, err)
		}
		line = rest
	}
	if f[0] < 0 || f[0] > 48*3600*1e9 || f[1] < lobsterAdd || f[1] > lobsterHalt || f[2] < 0 || f[5] != 1 && f[5] != -1 {
		return fmt.Errorf("%w: message: out of range", errLobsterForm)
	}
	*m = lobsterMessage{time: f[0], kind: f[1], id: uint64(f[2]), size: f[3], price: f[4], direction: f[5]}
	if m.kind != lobsterHalt && m.size <= 0 || m.kind == lobsterAdd && m.id == 0 {
		return fmt.Errorf("%w: message: out of range", errLobsterForm)
	}
	return nil
}

func (r *lobsterRow) parse(line []byte) error {
	r.bids, r.asks, r.depth = r.bids[:0], r.asks[:0], 0
	for ; len(line) > 0; r.depth++ {
		n := r.depth
		if n == maxLobsterLevels {
			return fmt.Errorf("%w: order book: more than %d levels", errLobsterForm, maxLobsterLevels)
		}
		var f [4]int64 // ask price, ask size, bid price, bid size
		for i := range f {
			if len(line) == 0 {
				return fmt.Errorf("%w: order book: columns come in fours", errLobsterForm)
			}
			field, rest, _ := bytes.Cut(line, []byte{','})
			var err error
			if f[i], err = proto.ParseDecimal(field, 0); err != nil {
				return fmt.Errorf("%w: order book: level %d: %w", errLobsterForm, n+1, err)
			}
			line = rest
		}
		var err1, err2 error
		r.asks, err1 = appendLobsterLevel(r.asks, proto.Ask, f[0], f[1])
		r.bids, err2 = appendLobsterLevel(r.bids, proto.Bid, f[2], f[3])
		if err := errors.Join(err1, err2); err != nil {
			return fmt.Errorf("%w: order book: level %d: %w", errLobsterForm, n+1, err)
		}
	}
	if r.depth == 0 {
		return fmt.Errorf("%w: order book: no columns", errLobsterForm)
	}
	return nil
}

var errLobsterLevels = errors.New("sizes above 0 and prices from the best on are wanted")

// appendLobsterLevel adds a level; one of size 0 is a place that is not occupied.
func appendLobsterLevel(levels []proto.Level, side proto.Side, price, size int64) ([]proto.Level, error) {
	if size == 0 {
		return levels, nil
	}
	if size < 0 {
		return levels, errLobsterLevels
	}
	if n := len(levels); n > 0 {
		last := levels[n-1].Price
		if side == proto.Bid && price >= last || side == proto.Ask && price <= last {
			return levels, errLobsterLevels
		}
	}
	return append(levels, proto.Level{Price: price, Qty: size}), nil
}
