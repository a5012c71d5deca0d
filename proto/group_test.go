package proto

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestEqualGroupsAreEqualValues(t *testing.T) {
	for text, want := range map[string]Group{
		"":                              {},
		"0.5":                           {5, -1},
		"0.50":                          {5, -1},
		"5e-1":                          {5, -1},
		"1":                             {1, 0},
		"10.00":                         {1, 1},
		"100":                           {1, 2},
		"2.5":                           {25, -1},
		"0.1" + strings.Repeat("0", 40): {1, -1},
		"9223372036854775807":           {math.MaxInt64, 0},
		"1e-18":                         {1, -18},
		"1e27":                          {1, 27},
	} {
		if got, err := ParseGroup(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestBadGroupIsRefusedWithItsText(t *testing.T) {
	for text, why := range map[string]string{
		"0": "not above 0", "0.00": "not above 0", "-0.5": "not above 0", "-0": "not above 0",
		"x": "not a decimal", "0.5 ": "not a decimal", ".5": "not a decimal", "1e": "not a decimal", "+1": "not a decimal",
		"1e-19": "more decimals", "1e28": "64 bits", "9223372036854775808": "64 bits", "1e99": "64 bits", "1e100": "out of range",
		strings.Repeat("1", 65): "not a decimal",
	} {
		_, err := ParseGroup(text)
		if !errors.Is(err, ErrBadView) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
}

func TestGroupMustBeAMultipleOfWhatPricesAreCountedIn(t *testing.T) {
	for _, c := range []struct {
		text     string
		exponent int8
		want     int64
		why      string
	}{
		{"0.5", -2, 50, ""},
		{"0.5", -1, 5, ""},
		{"0.5", 0, 0, "finer"},
		{"0.001", -2, 0, "finer"},
		{"100", 2, 1, ""},
		{"50", 2, 0, "finer"},
		{"9", -18, 9_000_000_000_000_000_000, ""},
		{"10", -18, 0, "greater than any price"},
		{"1e27", 9, 1_000_000_000_000_000_000, ""},
		{"", -2, 0, ""},
	} {
		g, err := ParseGroup(c.text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := g.Under(c.exponent)
		if c.why == "" && (got != c.want || err != nil) || c.why != "" && (!errors.Is(err, ErrBadView) || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%q under %d: %d, %v, want %d, %q", c.text, c.exponent, got, err, c.want, c.why)
		}
	}
}

func TestGroupIsWrittenAsPricesAre(t *testing.T) {
	for _, c := range []struct {
		text, want string
		exponent   int8
	}{{"0.5", "0.50", -2}, {"100", "100", 0}, {"100", "100", 2}, {"5", "5.00000000", -8}, {"", "", -2}, {"0.5", "0.5", 0}} {
		g, err := ParseGroup(c.text)
		if got := g.Text(c.exponent); got != c.want || err != nil {
			t.Errorf("%q under %d: %q, %v, want %q", c.text, c.exponent, got, err, c.want)
		}
	}
}

// TestGroupIsTheSameHoweverItIsWritten: by itself, and as prices under any
// exponent that can carry it.
func TestGroupIsTheSameHoweverItIsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exponent := rapid.Int8Range(MinExponent, MaxExponent).Draw(t, "exponent")
		mantissa := rapid.Int64Range(1, math.MaxInt64).Draw(t, "mantissa")
		g, err := ParseGroup(string(AppendDecimal(nil, mantissa, exponent)))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := g.Under(exponent); m != mantissa || err != nil {
			t.Fatalf("%d under %d comes back as %d, %v", mantissa, exponent, m, err)
		}
		if again, err := ParseGroup(g.String()); again != g || err != nil {
			t.Fatalf("%v written as %s is %v, %v", g, g, again, err)
		}
		under := rapid.Int8Range(MinExponent, MaxExponent).Draw(t, "under")
		m, err := g.Under(under)
		if again, parseErr := ParseDecimal([]byte(g.String()), under); (err == nil) != (parseErr == nil) || m != again {
			t.Fatalf("%s under %d: %d, %v; as a price %d, %v", g, under, m, err, again, parseErr)
		}
	})
}

func FuzzParseGroup(f *testing.F) {
	for _, text := range []string{"0.5", "-1", "1e9", "100.00", "0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		g, err := ParseGroup(text)
		switch {
		case err != nil && (g != Group{} || !errors.Is(err, ErrBadView)):
			t.Fatalf("%q: %v, %v", text, g, err)
		case err == nil && text != "" && (g.Mantissa <= 0 || g.Mantissa%10 == 0):
			t.Fatalf("%q: %v", text, g)
		}
	})
}
