package proto

import (
	"strings"

	"github.com/depthcast/depthcast/proto/pb"
)

// Pair names a symbol by what is traded against what, as exchanges do: in capitals,
// digits and points only, so that it needs no escaping anywhere.
type Pair struct {
	Base, Quote string
}

// quotes are the currencies that PairOf looks for at the end of a name that has no
// separator, longer ones first.
var quotes = []string{"FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "JPY", "TRY", "BTC", "ETH", "BNB"}

// maxAssetBytes bounds each half of a pair.
const maxAssetBytes = 20

// PairOf returns the pair of a symbol: that of its definition (nil: none was seen),
// else what its name, after VENUE:, says as BASE-QUOTE, BASE/QUOTE, BASE_QUOTE or
// BASEQUOTE with a quote that is well known. ok is false if it is none, and for
// derivatives, which are other markets than the pair's.
func PairOf(symbol string, in *Instrument) (p Pair, ok bool) {
	if in != nil && derivative(in.Type) {
		return p, false
	}
	if in != nil && in.Base != "" && in.Quote != "" {
		p = Pair{Base: strings.ToUpper(in.Base), Quote: strings.ToUpper(in.Quote)}
		return p, p.valid()
	}
	_, name, venue := strings.Cut(symbol, ":")
	if !venue {
		name = symbol
	}
	name = strings.ToUpper(name)
	if i := strings.IndexAny(name, "-/_"); i >= 0 {
		p = Pair{Base: name[:i], Quote: name[i+1:]}
		return p, p.valid()
	}
	for _, quote := range quotes {
		if base, found := strings.CutSuffix(name, quote); found {
			p = Pair{Base: base, Quote: quote}
			return p, p.valid()
		}
	}
	return Pair{}, false
}

func derivative(kind uint8) bool {
	switch pb.InstrumentType(kind) {
	case pb.InstrumentType_INSTRUMENT_TYPE_FUTURE, pb.InstrumentType_INSTRUMENT_TYPE_PERPETUAL,
		pb.InstrumentType_INSTRUMENT_TYPE_OPTION, pb.InstrumentType_INSTRUMENT_TYPE_SPREAD:
		return true
	}
	return false
}

func (p Pair) valid() bool { return validAsset(p.Base) && validAsset(p.Quote) }

func validAsset(a string) bool {
	for i := range len(a) {
		if c := a[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' {
			return false
		}
	}
	return a != "" && len(a) <= maxAssetBytes
}

// VenueOf returns what stands before the first colon of a symbol; empty: nothing.
func VenueOf(symbol string) string {
	venue, _, found := strings.Cut(symbol, ":")
	if !found {
		return ""
	}
	return venue
}
