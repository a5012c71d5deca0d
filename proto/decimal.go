package proto

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Errors of ParseDecimal; they come wrapped with the text at fault.
var (
	ErrNotDecimal       = errors.New("not a decimal number")
	ErrDecimalTooFine   = errors.New("more decimals than the exponent carries")
	ErrDecimalTooGreat  = errors.New("does not fit 64 bits under the exponent")
	errExponentOfNumber = errors.New("exponent of the number is out of range")
)

// maxDecimalBytes bounds the text of one decimal number.
const maxDecimalBytes = 64

// AppendDecimal appends the canonical decimal form of mantissa * 10^exponent:
// exactly -exponent digits after the point where exponent is negative, else no
// point and exponent zeros (none after 0), a minus sign for negative numbers, no
// other sign and no superfluous leading zero. exponent must be within
// MinExponent and MaxExponent.
func AppendDecimal(dst []byte, mantissa int64, exponent int8) []byte {
	if exponent >= 0 {
		dst = strconv.AppendInt(dst, mantissa, 10)
		if mantissa != 0 {
			for range exponent {
				dst = append(dst, '0')
			}
		}
		return dst
	}
	magnitude := uint64(mantissa)
	if mantissa < 0 {
		magnitude = -magnitude
	}
	// 19 digits of a mantissa, 1 more where a zero stands before the point, the
	// point and the sign.
	var buf [24]byte
	decimals := int(-exponent)
	i := len(buf)
	for digits := 0; magnitude > 0 || digits <= decimals; digits++ {
		if digits == decimals {
			i--
			buf[i] = '.'
		}
		i--
		buf[i] = byte('0' + magnitude%10)
		magnitude /= 10
	}
	if mantissa < 0 {
		i--
		buf[i] = '-'
	}
	return append(dst, buf[i:]...)
}

// ParseDecimal returns the mantissa of the decimal number in b under exponent.
// It accepts an optional minus sign, digits, an optional point between digits,
// and an optional decimal exponent as some venues write it ("1e-7", "2.5E+3").
// It is exact: a number with digits that the exponent cannot carry is refused
// unless they are zeros.
func ParseDecimal(b []byte, exponent int8) (int64, error) {
	n, err := scanDecimal(b)
	if err != nil {
		return 0, decimalError(err, b)
	}
	m, err := n.mantissa(int(exponent))
	if err != nil {
		return 0, decimalError(err, b)
	}
	return m, nil
}

// Decimals returns how many digits stand after the point in b when it is
// written without an exponent ("1.50" has 2, "1e-7" has 7, "100" has 0), or -1
// if b is no decimal number.
func Decimals(b []byte) int {
	n, err := scanDecimal(b)
	if err != nil {
		return -1
	}
	return max(0, -n.exponent)
}

func decimalError(err error, b []byte) error {
	if len(b) > maxDecimalBytes {
		b = b[:maxDecimalBytes]
	}
	return fmt.Errorf("%q: %w", b, err)
}

// decimal is a number as written: its digits times 10^exponent.
type decimal struct {
	digits   []byte // a point may stand among them
	count    int    // how many digits these are
	exponent int
	negative bool
}

// scanDecimal checks the form of b and takes it apart.
func scanDecimal(b []byte) (decimal, error) {
	var d decimal
	if len(b) == 0 || len(b) > maxDecimalBytes {
		return d, ErrNotDecimal
	}
	if b[0] == '-' {
		d.negative = true
		b = b[1:]
	}
	whole := countDigits(b)
	d.count = whole
	end := whole
	if end < len(b) && b[end] == '.' {
		fraction := countDigits(b[end+1:])
		if fraction == 0 {
			return d, ErrNotDecimal
		}
		d.exponent = -fraction
		d.count += fraction
		end += 1 + fraction
	}
	if whole == 0 {
		return d, ErrNotDecimal
	}
	d.digits = b[:end]
	if end == len(b) {
		return d, nil
	}
	if b[end] != 'e' && b[end] != 'E' {
		return d, ErrNotDecimal
	}
	e, err := scanExponent(b[end+1:])
	d.exponent += e
	return d, err
}

// scanExponent reads the part after the letter e; at most two digits count, far
// beyond what a mantissa can hold.
func scanExponent(b []byte) (int, error) {
	sign := 1
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		if b[0] == '-' {
			sign = -1
		}
		b = b[1:]
	}
	if len(b) == 0 || countDigits(b) != len(b) {
		return 0, ErrNotDecimal
	}
	if len(b) > 2 {
		return 0, errExponentOfNumber
	}
	e := 0
	for _, c := range b {
		e = e*10 + int(c-'0')
	}
	return sign * e, nil
}

func countDigits(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
}

// mantissa returns d as a multiple of 10^exponent. Digits that lie beyond it
// must be zeros.
func (d decimal) mantissa(exponent int) (int64, error) {
	carried := d.count + d.exponent - exponent // so many digits belong to the mantissa
	var m uint64
	position := 0
	for _, c := range d.digits {
		if c == '.' {
			continue
		}
		digit := uint64(c - '0')
		switch {
		case position >= carried:
			if digit != 0 {
				return 0, ErrDecimalTooFine
			}
		case m > (math.MaxUint64-digit)/10:
			return 0, ErrDecimalTooGreat
		default:
			m = m*10 + digit
		}
		position++
	}
	for ; position < carried && m != 0; position++ {
		if m > math.MaxUint64/10 {
			return 0, ErrDecimalTooGreat
		}
		m *= 10
	}
	return signed(m, d.negative)
}

// shortest returns d without its sign as m * 10^exponent, m not ending in a zero;
// 0 and 0 for zero.
func (d decimal) shortest() (m int64, exponent int, err error) {
	exponent = d.exponent
	digits := d.digits
	for len(digits) > 0 {
		last := digits[len(digits)-1]
		if last != '0' && last != '.' {
			break
		}
		if last == '0' {
			exponent++
		}
		digits = digits[:len(digits)-1]
	}
	for _, c := range digits {
		if c == '.' {
			continue
		}
		digit := int64(c - '0')
		if m > (math.MaxInt64-digit)/10 {
			return 0, 0, ErrDecimalTooGreat
		}
		m = m*10 + digit
	}
	if m == 0 {
		exponent = 0
	}
	return m, exponent, nil
}

func signed(m uint64, negative bool) (int64, error) {
	switch {
	case !negative && m <= math.MaxInt64:
		return int64(m), nil
	case negative && m <= 1<<63:
		return -int64(m), nil
	}
	return 0, ErrDecimalTooGreat
}
