package proto

import (
	"fmt"
	"math"
)

// Group is the price increment of a grouped view: Mantissa * 10^Exponent. It does
// not depend on the exponents of a symbol, which may change while views are open.
//
// Invariant: Mantissa is 0, which stands for no group and has Exponent 0, or is
// above 0 and does not end in the digit 0. So equal increments are equal values.
type Group struct {
	Mantissa int64
	Exponent int8
}

// maxGroupExponent is that of the greatest increment that a price can have.
const maxGroupExponent = MaxExponent + 18

// ParseGroup returns the increment of a decimal number, in any form that
// ParseDecimal takes; none for an empty text. It must be above 0 and within what
// the exponents of some symbol can carry. Errors wrap ErrBadView.
func ParseGroup(text string) (Group, error) {
	if text == "" {
		return Group{}, nil
	}
	d, err := scanDecimal([]byte(text))
	if err != nil {
		return Group{}, fmt.Errorf("%w: group: %w", ErrBadView, decimalError(err, []byte(text)))
	}
	m, e, err := d.shortest()
	switch {
	case err != nil || e > maxGroupExponent:
		return Group{}, fmt.Errorf("%w: group: %w", ErrBadView, decimalError(ErrDecimalTooGreat, []byte(text)))
	case m == 0 || d.negative:
		return Group{}, fmt.Errorf("%w: group: %q is not above 0", ErrBadView, text)
	case e < MinExponent:
		return Group{}, fmt.Errorf("%w: group: %w", ErrBadView, decimalError(ErrDecimalTooFine, []byte(text)))
	}
	return Group{Mantissa: m, Exponent: int8(e)}, nil
}

// None reports whether there is no group.
func (g Group) None() bool { return g.Mantissa == 0 }

// Under returns the increment as a price mantissa under exponent; 0 for none.
// Errors wrap ErrBadView: it is no multiple of what the prices are counted in, or
// greater than any price.
func (g Group) Under(exponent int8) (int64, error) {
	if g.None() {
		return 0, nil
	}
	if g.Exponent < exponent {
		return 0, fmt.Errorf("%w: group %s is finer than the symbol's prices, which have the exponent %d", ErrBadView, g, exponent)
	}
	m := g.Mantissa
	for range int(g.Exponent) - int(exponent) {
		if m > math.MaxInt64/10 {
			return 0, fmt.Errorf("%w: group %s is greater than any price under the symbol's exponent %d", ErrBadView, g, exponent)
		}
		m *= 10
	}
	return m, nil
}

// Text returns the increment as prices under exponent are written; empty for
// none. One that they cannot carry is written by itself.
func (g Group) Text(exponent int8) string {
	m, err := g.Under(exponent)
	if g.None() || err != nil {
		return g.String()
	}
	return string(AppendDecimal(nil, m, exponent))
}

// String returns the increment with as many decimals as it needs; empty for none.
func (g Group) String() string {
	if g.None() {
		return ""
	}
	return string(AppendDecimal(nil, g.Mantissa, g.Exponent))
}
