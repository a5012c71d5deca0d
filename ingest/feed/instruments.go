package feed

import (
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// instrument is one of the simulated ones. Prices are in ticks, quantities in
// lots; both are mantissas once multiplied by Tick and Lot.
type instrument struct {
	symbol    string
	def       proto.Instrument
	anchor    int64 // price that the market comes back to, ticks
	reach     int64 // farthest that the fair price goes from anchor, ticks
	depth     int   // levels a side that the market keeps
	clip      int64 // typical size of an order, lots
	wander    int64 // how far the fair price moves at once, 1/256 tick
	auctioned bool  // has halts and auctions
}

func listed(symbol, name, base, quote string, kind pb.InstrumentType, x proto.Exponents, tick, lot int64) instrument {
	return instrument{
		symbol: symbol,
		def: proto.Instrument{
			Exponents: x, Tick: tick, Lot: lot, Type: uint8(kind), Name: name, Base: base, Quote: quote,
		},
	}
}

func (i instrument) around(anchor, reach int64, depth int, clip, wander int64) instrument {
	i.anchor, i.reach, i.depth, i.clip, i.wander = anchor, reach, depth, clip, wander
	return i
}

func (i instrument) withAuctions() instrument {
	i.auctioned = true
	return i
}

// instruments are all simulated ones, the busiest first. The calendar spread
// trades at both sides of zero; positive exponents, wide ticks and quiet symbols
// are there because real feeds have them.
func instruments() []instrument {
	const (
		spot      = pb.InstrumentType_INSTRUMENT_TYPE_SPOT
		equity    = pb.InstrumentType_INSTRUMENT_TYPE_EQUITY
		future    = pb.InstrumentType_INSTRUMENT_TYPE_FUTURE
		perpetual = pb.InstrumentType_INSTRUMENT_TYPE_PERPETUAL
		option    = pb.InstrumentType_INSTRUMENT_TYPE_OPTION
		spread    = pb.InstrumentType_INSTRUMENT_TYPE_SPREAD
		bond      = pb.InstrumentType_INSTRUMENT_TYPE_BOND
	)
	x := func(price, qty int8) proto.Exponents { return proto.Exponents{Price: price, Qty: qty} }
	return []instrument{
		listed("SIM:BTC-USD", "Bitcoin", "BTC", "USD", spot, x(-2, -8), 1, 10_000).around(6_160_000, 600_000, 300, 4_000, 350),
		listed("SIM:ETH-USD", "Ether", "ETH", "USD", spot, x(-2, -8), 1, 100_000).around(268_000, 30_000, 250, 3_000, 250),
		listed("SIM:BTC-PERP", "Bitcoin perpetual", "BTC", "USD", perpetual, x(-1, -3), 1, 1).around(616_200, 60_000, 250, 300, 300),
		listed("SIM:SOL-USD", "Solana", "SOL", "USD", spot, x(-3, -6), 10, 1_000).around(15_400, 2_500, 200, 9_000, 200),
		listed("SIM:EUR-USD", "Euro", "EUR", "USD", spot, x(-5, 0), 1, 1_000).around(108_450, 4_000, 60, 500, 120),
		listed("SIM:ETH-BTC", "Ether in Bitcoin", "ETH", "BTC", spot, x(-6, -5), 1, 10).around(43_500, 5_000, 150, 2_000, 150),
		listed("SIM:ACME", "Acme Corporation", "ACME", "USD", equity, x(-2, 0), 1, 1).around(18_240, 2_000, 80, 100, 120).withAuctions(),
		listed("SIM:XRP-USD", "XRP", "XRP", "USD", spot, x(-5, -2), 1, 100).around(58_800, 8_000, 160, 900, 200),
		listed("SIM:NDX-FUT", "Index future", "NDX", "USD", future, x(-2, 0), 25, 1).around(74_100, 4_000, 120, 4, 220),
		listed("SIM:ADA-USD", "Cardano", "ADA", "USD", spot, x(-6, -1), 10, 1).around(34_500, 6_000, 120, 20_000, 150),
		listed("SIM:GOLD-FUT", "Gold future", "XAU", "USD", future, x(-1, 0), 1, 1).around(24_310, 1_500, 90, 6, 130),
		listed("SIM:OIL-FUT", "Crude oil future", "OIL", "USD", future, x(-2, 0), 1, 1).around(7_640, 1_200, 100, 8, 130),
		listed("SIM:OIL-SPREAD", "Crude oil calendar spread", "OIL", "USD", spread, x(-2, 0), 1, 1).around(-3, 60, 40, 12, 60),
		listed("SIM:DOGE-USD", "Dogecoin", "DOGE", "USD", spot, x(-5, 0), 1, 1).around(10_050, 2_500, 120, 5_000, 90),
		listed("SIM:GLOBEX", "Globex Holdings", "GLBX", "EUR", equity, x(-3, 0), 5, 1).around(9_420, 1_000, 60, 150, 80),
		listed("SIM:BOND-10Y", "Ten-year note future", "BOND", "USD", bond, x(-6, 0), 15_625, 1).around(7_020, 200, 40, 60, 50),
		listed("SIM:USD-JPY", "US dollar in yen", "USD", "JPY", spot, x(-3, 3), 1, 1).around(147_250, 6_000, 60, 800, 100),
		listed("SIM:BTC-CALL", "Bitcoin call option", "BTC", "USD", option, x(0, -1), 5, 1).around(412, 300, 30, 15, 40),
		listed("SIM:SHIB-USD", "Shiba Inu", "SHIB", "USD", spot, x(-9, 3), 10, 1).around(1_390, 500, 80, 4_000, 60),
		listed("SIM:BRK", "Berkshire", "BRK", "USD", equity, x(2, 0), 1, 1).around(6_540, 400, 30, 2, 40),
	}
}
