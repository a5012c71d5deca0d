package kraken

import (
	"strconv"

	"github.com/depthcast/depthcast/proto"
)

// Instrument is a symbol with its pair.
type Instrument struct {
	Pair      proto.Pair
	Exponents proto.Exponents
	Tick, Lot int64 // mantissas, 0 if not known
	Phase     proto.Phase
	Ended     bool
}

// Symbol returns the name that clients know p by.
func Symbol(p proto.Pair) string { return p.Base + "/" + p.Quote }

// ID returns the name that REST knows p by.
func ID(p proto.Pair) string { return p.Base + p.Quote }

// decimals is how many digits stand after the point under an exponent.
func decimals(exponent int8) int64 { return int64(max(0, -exponent)) }

// status returns the word for where the instrument's trading is.
func (in *Instrument) status() string {
	switch {
	case in.Ended:
		return "delisted"
	case in.Phase == proto.PreOpen, in.Phase == proto.Halted, in.Phase == proto.Closed:
		return "maintenance"
	case in.Phase == proto.Auction:
		return "limit_only"
	}
	return "online"
}

// increment returns the mantissa of the least step of a price or quantity.
func increment(step int64) int64 {
	if step > 0 {
		return step
	}
	return 1
}

// AppendInstruments appends a message of the channel instrument.
func AppendInstruments(dst []byte, list []Instrument, snapshot bool) []byte {
	kind := "update"
	if snapshot {
		kind = "snapshot"
	}
	dst = append(append(dst, `{"channel":"instrument","type":"`...), kind...)
	dst = append(dst, `","data":{"assets":[`...)
	for i, a := range AssetsOf(list) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, `{"id":"`...), a.ID...)
		dst = strconv.AppendInt(append(dst, `","status":"enabled","precision":`...), a.Decimals, 10)
		dst = strconv.AppendInt(append(dst, `,"precision_display":`...), a.Decimals, 10)
		dst = append(dst, `,"borrowable":false}`...)
	}
	dst = append(dst, `],"pairs":[`...)
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = list[i].append(dst)
	}
	return append(dst, `]}}`...)
}

func (in *Instrument) append(dst []byte) []byte {
	x := in.Exponents
	dst = append(append(dst, `{"symbol":"`...), Symbol(in.Pair)...)
	dst = append(append(dst, `","base":"`...), in.Pair.Base...)
	dst = append(append(dst, `","quote":"`...), in.Pair.Quote...)
	dst = append(append(dst, `","status":"`...), in.status()...)
	dst = strconv.AppendInt(append(dst, `","qty_precision":`...), decimals(x.Qty), 10)
	dst = proto.AppendDecimal(append(dst, `,"qty_increment":`...), increment(in.Lot), x.Qty)
	dst = proto.AppendDecimal(append(dst, `,"qty_min":`...), increment(in.Lot), x.Qty)
	dst = strconv.AppendInt(append(dst, `,"price_precision":`...), decimals(x.Price), 10)
	dst = proto.AppendDecimal(append(dst, `,"price_increment":`...), increment(in.Tick), x.Price)
	dst = proto.AppendDecimal(append(dst, `,"tick_size":`...), increment(in.Tick), x.Price)
	dst = strconv.AppendInt(append(dst, `,"cost_precision":`...), decimals(x.Price), 10)
	return append(dst, `,"marginable":false,"has_index":false}`...)
}

// Asset is one side of a pair.
type Asset struct {
	ID       string
	Decimals int64
}

// AssetsOf returns the assets of the pairs of list in the order in which they come,
// with the most decimals that any of them has.
func AssetsOf(list []Instrument) []Asset {
	var assets []Asset
	place := map[string]int{}
	add := func(id string, n int64) {
		i, known := place[id]
		if !known {
			i = len(assets)
			place[id] = i
			assets = append(assets, Asset{ID: id})
		}
		assets[i].Decimals = max(assets[i].Decimals, n)
	}
	for i := range list {
		add(list[i].Pair.Base, decimals(list[i].Exponents.Qty))
		add(list[i].Pair.Quote, decimals(list[i].Exponents.Price))
	}
	return assets
}

// Pair is an instrument in the answer of /0/public/AssetPairs.
type Pair struct {
	Altname       string      `json:"altname"`
	Wsname        string      `json:"wsname"`
	AclassBase    string      `json:"aclass_base"`
	Base          string      `json:"base"`
	AclassQuote   string      `json:"aclass_quote"`
	Quote         string      `json:"quote"`
	Lot           string      `json:"lot"`
	CostDecimals  int64       `json:"cost_decimals"`
	PairDecimals  int64       `json:"pair_decimals"`
	LotDecimals   int64       `json:"lot_decimals"`
	LotMultiplier int         `json:"lot_multiplier"`
	LeverageBuy   []int       `json:"leverage_buy"`
	LeverageSell  []int       `json:"leverage_sell"`
	Fees          [][]float64 `json:"fees"`
	FeesMaker     [][]float64 `json:"fees_maker"`
	OrderMin      string      `json:"ordermin"`
	TickSize      string      `json:"tick_size"`
	Status        string      `json:"status"`
}

// PairInfo returns the REST form of in.
func (in *Instrument) PairInfo() Pair {
	x := in.Exponents
	return Pair{
		Altname: ID(in.Pair), Wsname: Symbol(in.Pair),
		AclassBase: "currency", Base: in.Pair.Base, AclassQuote: "currency", Quote: in.Pair.Quote,
		Lot: "unit", LotMultiplier: 1,
		CostDecimals: decimals(x.Price), PairDecimals: decimals(x.Price), LotDecimals: decimals(x.Qty),
		LeverageBuy: []int{}, LeverageSell: []int{}, Fees: [][]float64{}, FeesMaker: [][]float64{},
		OrderMin: string(proto.AppendDecimal(nil, increment(in.Lot), x.Qty)),
		TickSize: string(proto.AppendDecimal(nil, increment(in.Tick), x.Price)),
		Status:   in.status(),
	}
}

// AssetInfo is an asset in the answer of /0/public/Assets.
type AssetInfo struct {
	Aclass          string `json:"aclass"`
	Altname         string `json:"altname"`
	Decimals        int64  `json:"decimals"`
	DisplayDecimals int64  `json:"display_decimals"`
	Status          string `json:"status"`
}

// Info returns the REST form of a.
func (a Asset) Info() AssetInfo {
	return AssetInfo{Aclass: "currency", Altname: a.ID, Decimals: a.Decimals, DisplayDecimals: a.Decimals, Status: "enabled"}
}

// AppendDepth appends the result of /0/public/Depth of at most count levels a side,
// under the name that it was asked for by.
func AppendDepth(dst []byte, name string, s *proto.Snapshot, count int) []byte {
	seconds := eventTime(s.Times) / int64(1e9)
	dst = append(append(append(dst, `{"error":[],"result":{"`...), name...), `":{"asks":`...)
	dst = appendRESTLevels(dst, s.Asks[:min(len(s.Asks), count)], s.Exponents, seconds)
	dst = appendRESTLevels(append(dst, `,"bids":`...), s.Bids[:min(len(s.Bids), count)], s.Exponents, seconds)
	return append(dst, `}}}`...)
}

func appendRESTLevels(dst []byte, levels []proto.Level, x proto.Exponents, seconds int64) []byte {
	dst = append(dst, '[')
	for i := range levels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = proto.AppendDecimal(append(dst, `["`...), levels[i].Price, x.Price)
		dst = proto.AppendDecimal(append(dst, `","`...), levels[i].Qty, x.Qty)
		dst = append(strconv.AppendInt(append(dst, `",`...), seconds, 10), ']')
	}
	return append(dst, ']')
}

// MaxDepth is the greatest count of /0/public/Depth; DefaultDepth where none is
// asked for.
const (
	MaxDepth     = 500
	DefaultDepth = 100
)
