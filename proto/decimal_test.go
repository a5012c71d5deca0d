package proto

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDecimalsAreWrittenCanonically(t *testing.T) {
	for _, c := range []struct {
		mantissa int64
		exponent int8
		want     string
	}{
		{0, 0, "0"}, {0, -2, "0.00"}, {0, 3, "0"}, {5, -2, "0.05"}, {-5, -2, "-0.05"}, {6160201, -2, "61602.01"},
		{167177000, -8, "1.67177000"}, {1, -18, "0.000000000000000001"}, {7, 3, "7000"}, {-7, 9, "-7000000000"},
		{100, -2, "1.00"}, {-100, -2, "-1.00"}, {10, -1, "1.0"},
		{math.MaxInt64, 0, "9223372036854775807"}, {math.MinInt64, 0, "-9223372036854775808"},
		{math.MinInt64, -18, "-9.223372036854775808"}, {math.MaxInt64, 9, "9223372036854775807000000000"},
	} {
		if got := string(AppendDecimal(nil, c.mantissa, c.exponent)); got != c.want {
			t.Errorf("%d e%d: %q, want %q", c.mantissa, c.exponent, got, c.want)
		}
	}
}

func TestParseDecimalIsExactOrRefuses(t *testing.T) {
	for _, c := range []struct {
		text     string
		exponent int8
		want     int64
		err      error
	}{
		{"61602.01", -2, 6160201, nil}, {"61602.01000000", -2, 6160201, nil}, {"61602.01", -8, 6160201000000, nil},
		{"0", -8, 0, nil}, {"0.00000000", -8, 0, nil}, {"-0", 0, 0, nil}, {"-0.5", -1, -5, nil}, {"007", 0, 7, nil},
		{"1e-7", -8, 10, nil}, {"1E-7", -7, 1, nil}, {"2.5e+3", 0, 2500, nil}, {"2.5e3", 2, 25, nil}, {"12.50e-1", -2, 125, nil},
		{"7000", 3, 7, nil}, {"0e99", 0, 0, nil}, {"0.0e-99", 0, 0, nil}, {"100e-2", 0, 1, nil},
		{"9223372036854775807", 0, math.MaxInt64, nil}, {"-9223372036854775808", 0, math.MinInt64, nil},
		{"0000000000000000000000000000000000000000.5", -1, 5, nil},
		{"61602.015", -2, 0, ErrDecimalTooFine}, {"1", 1, 0, ErrDecimalTooFine}, {"1e-7", -6, 0, ErrDecimalTooFine},
		{"1e-99", -18, 0, ErrDecimalTooFine},
		{"9223372036854775808", 0, 0, ErrDecimalTooGreat}, {"-9223372036854775809", 0, 0, ErrDecimalTooGreat},
		{"18446744073709551616", 0, 0, ErrDecimalTooGreat}, {"1e99", 0, 0, ErrDecimalTooGreat}, {"10", -18, 0, ErrDecimalTooGreat},
		{"", 0, 0, ErrNotDecimal}, {"-", 0, 0, ErrNotDecimal}, {"+1", 0, 0, ErrNotDecimal}, {".5", -1, 0, ErrNotDecimal},
		{"5.", -1, 0, ErrNotDecimal}, {"1.2.3", -2, 0, ErrNotDecimal}, {" 1", 0, 0, ErrNotDecimal}, {"1 ", 0, 0, ErrNotDecimal},
		{"1e", 0, 0, ErrNotDecimal}, {"1e+", 0, 0, ErrNotDecimal}, {"1e1.0", 0, 0, ErrNotDecimal}, {"0x10", 0, 0, ErrNotDecimal},
		{"NaN", 0, 0, ErrNotDecimal}, {"1_000", 0, 0, ErrNotDecimal}, {"--1", 0, 0, ErrNotDecimal}, {"١", 0, 0, ErrNotDecimal},
		{"1e100", 0, 0, errExponentOfNumber}, {strings.Repeat("0", 65), 0, 0, ErrNotDecimal},
	} {
		got, err := ParseDecimal([]byte(c.text), c.exponent)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%q e%d: %d, %v; want %d, %v", c.text, c.exponent, got, err, c.want, c.err)
		}
	}
}

func TestDecimalsCountsDigitsAfterThePoint(t *testing.T) {
	for text, want := range map[string]int{
		"1.50": 2, "100": 0, "1e-7": 7, "1.5e-7": 8, "1.50e1": 1, "1e5": 0, "-0.000": 3, "": -1, "x": -1, "1.": -1,
	} {
		if got := Decimals([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestEveryDecimalWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.Int64().Draw(t, "mantissa")
		e := rapid.Int8Range(MinExponent, MaxExponent).Draw(t, "exponent")
		text := AppendDecimal([]byte("x"), m, e)[1:]
		got, err := ParseDecimal(text, e)
		if err != nil || got != m {
			t.Fatalf("%d e%d written %q, read %d, %v", m, e, text, got, err)
		}
		if want := max(0, -int(e)); Decimals(text) != want {
			t.Fatalf("%q: %d decimals, want %d", text, Decimals(text), want)
		}
		if value, ok := new(big.Rat).SetString(string(text)); !ok || value.Cmp(rational(m, e)) != 0 {
			t.Fatalf("%q is not %d e%d", text, m, e)
		}
	})
}

func rational(mantissa int64, exponent int8) *big.Rat {
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(exponent, -exponent))), nil)
	scale := new(big.Rat).SetInt(ten)
	if exponent < 0 {
		scale.Inv(scale)
	}
	return scale.Mul(scale, new(big.Rat).SetInt64(mantissa))
}

// FuzzParseDecimal holds ParseDecimal to math/big: what it accepts has exactly
// that value, and what it refuses as too fine or too great is so.
func FuzzParseDecimal(f *testing.F) {
	for _, s := range []string{"1.5", "1e-7", "-9223372036854775808", "0.00000001", "1e99", "12.", "", "00.10e2"} {
		f.Add(s, int8(-8))
		f.Add(s, int8(2))
	}
	f.Fuzz(func(t *testing.T, text string, exponent int8) {
		if exponent < MinExponent || exponent > MaxExponent {
			t.Skip()
		}
		got, err := ParseDecimal([]byte(text), exponent)
		if errors.Is(err, ErrNotDecimal) || errors.Is(err, errExponentOfNumber) {
			return
		}
		value, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q accepted, but is no number", text)
		}
		exact := value.Quo(value, rational(1, exponent))
		switch {
		case err == nil:
			if exact.Cmp(rational(got, 0)) != 0 {
				t.Fatalf("%q e%d: %d", text, exponent, got)
			}
		case errors.Is(err, ErrDecimalTooFine):
			if exact.IsInt() {
				t.Fatalf("%q e%d refused as too fine", text, exponent)
			}
		case errors.Is(err, ErrDecimalTooGreat):
			if exact.IsInt() && exact.Num().IsInt64() {
				t.Fatalf("%q e%d refused as too great", text, exponent)
			}
		default:
			t.Fatalf("%q: an error without a class: %v", text, err)
		}
	})
}

func BenchmarkParseDecimal(b *testing.B) {
	text := []byte("61602.01000000")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseDecimal(text, -2); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendDecimal(b *testing.B) {
	var buf [32]byte
	b.ReportAllocs()
	for b.Loop() {
		AppendDecimal(buf[:0], 167177000, -8)
	}
}
