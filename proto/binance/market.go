package binance

import "github.com/depthcast/depthcast/proto"

// Instrument is a symbol with its pair.
type Instrument struct {
	Pair      proto.Pair
	Exponents proto.Exponents
	Tick, Lot int64 // mantissas, 0 if not known
	Phase     proto.Phase
}

// ExchangeInfo is the answer of /api/v3/exchangeInfo.
type ExchangeInfo struct {
	Timezone        string   `json:"timezone"`
	ServerTime      int64    `json:"serverTime"` // ms since 1970, or µs for who asks for these
	RateLimits      []string `json:"rateLimits"`
	ExchangeFilters []string `json:"exchangeFilters"`
	Symbols         []Market `json:"symbols"`
}

// Market is a symbol of it.
type Market struct {
	Symbol              string              `json:"symbol"`
	Status              string              `json:"status"`
	BaseAsset           string              `json:"baseAsset"`
	BaseAssetPrecision  int                 `json:"baseAssetPrecision"`
	QuoteAsset          string              `json:"quoteAsset"`
	QuotePrecision      int                 `json:"quotePrecision"`
	QuoteAssetPrecision int                 `json:"quoteAssetPrecision"`
	OrderTypes          []string            `json:"orderTypes"`
	IsSpotAllowed       bool                `json:"isSpotTradingAllowed"`
	IsMarginAllowed     bool                `json:"isMarginTradingAllowed"`
	Filters             []map[string]string `json:"filters"`
	Permissions         []string            `json:"permissions"`
}

// Market returns the form of in as exchangeInfo has it.
func (in *Instrument) Market() Market {
	x := in.Exponents
	tick := string(appendNumber(nil, max(1, in.Tick), x.Price))
	lot := string(appendNumber(nil, max(1, in.Lot), x.Qty))
	status := "TRADING"
	switch in.Phase {
	case proto.PreOpen, proto.Closed:
		status = "BREAK"
	case proto.Auction:
		status = "AUCTION_MATCH"
	case proto.Halted:
		status = "HALT"
	}
	return Market{
		Symbol: ID(in.Pair), Status: status,
		BaseAsset: in.Pair.Base, BaseAssetPrecision: max(0, int(-x.Qty)),
		QuoteAsset: in.Pair.Quote, QuotePrecision: max(0, int(-x.Price)), QuoteAssetPrecision: max(0, int(-x.Price)),
		OrderTypes: []string{}, IsSpotAllowed: true, Permissions: []string{"SPOT"},
		Filters: []map[string]string{
			{"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "0", "tickSize": tick},
			{"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "0", "stepSize": lot},
		},
	}
}

// Limits of /api/v3/depth.
const (
	MaxDepth     = 5000
	DefaultDepth = 100
)
