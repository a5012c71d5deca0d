package proto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"slices"
	"testing"

	googleproto "google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto/pb"
)

func drawSymbolState(t *rapid.T) *SymbolState {
	s := &SymbolState{
		Symbol: anySymbol.Draw(t, "symbol"), Offset: anySeq.Draw(t, "offset"),
		Claimed: rapid.Bool().Draw(t, "claimed"), HasBook: rapid.Bool().Draw(t, "has_book"),
	}
	if s.Claimed {
		s.Claim = ClaimState{First: anyTime.Draw(t, "first"), Raw: rapid.Bool().Draw(t, "raw")}
		if s.Claim.Defined = rapid.Bool().Draw(t, "defined"); s.Claim.Defined {
			s.Claim.Exponents = Exponents{anyExponent.Draw(t, "pe"), anyExponent.Draw(t, "qe")}
		}
	}
	s.Tainted = rapid.Bool().Draw(t, "tainted")
	for _, format := range []string{"binance", "kraken"} {
		if state := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, format); len(state) > 0 {
			s.Codecs = append(s.Codecs, CodecState{format, state})
		}
	}
	if s.HasBook {
		drawBookState(t, &s.Book)
	}
	return s
}

// drawFields draws every field, also one that is new and that nobody encodes yet.
func drawFields(t *rapid.T, v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case Optional:
			f.Set(reflect.ValueOf(drawOptional(anyPrice)(t)))
		case uint64:
			f.SetUint(anyUint64.Draw(t, "number"))
		case bool:
			f.SetBool(rapid.Bool().Draw(t, "flag"))
		default:
			t.Fatalf("a field %s of %s", v.Type().Field(i).Name, f.Type())
		}
	}
}

func drawBookState(t *rapid.T, b *BookState) {
	*b = BookState{
		Epoch: anyUint64.Draw(t, "epoch"), Seq: anySeq.Draw(t, "seq"), Kind: BookKind(rapid.Uint8Range(0, 2).Draw(t, "kind")),
		Whole: rapid.Bool().Draw(t, "whole"), Fresh: rapid.Bool().Draw(t, "fresh"),
		Reason: Reason(rapid.Uint8Range(0, 18).Draw(t, "reason")), Phase: Phase(rapid.Uint8Range(0, 5).Draw(t, "phase")),
		Indicative: drawIndicative(t), Exponents: Exponents{anyExponent.Draw(t, "pe"), anyExponent.Draw(t, "qe")},
		Limit: rapid.Uint32().Draw(t, "limit"), KnownBid: drawOptional(anyPrice)(t), KnownAsk: drawOptional(anyPrice)(t),
		Feed: anyName.Draw(t, "feed"), FeedTime: anyTime.Draw(t, "feed_time"), Times: drawTimes(t),
		TradeOrdinal: anyUint64.Draw(t, "trade_ordinal"), NewSymbol: rapid.OneOf(rapid.Just(""), anySymbol).Draw(t, "new_symbol"),
		EndReason: rapid.SampledFrom([]Reason{ReasonNone, ReasonDelisted, ReasonRenamed, ReasonExpired}).Draw(t, "end"),
		EndedAt:   anySeq.Draw(t, "ended_at"), Need: anyUint64.Draw(t, "need"), Hash: rapid.Uint32().Draw(t, "hash"),
		Bids: drawLevels(t, true), Asks: drawLevels(t, false), BidOrders: withRanks(drawRanked(t)), AskOrders: withRanks(drawRanked(t)),
		Chain: ChainState{
			Offset: anySeq.Draw(t, "offset"), Epoch: anyUint64.Draw(t, "origin_epoch"), Origin: anySeq.Draw(t, "origin"),
			Generation: anyUint64.Draw(t, "generation"), Session: anyName.Draw(t, "session"), Source: anyUint64.Draw(t, "source"),
			Former: anyName.Draw(t, "former"), FormerSource: anyUint64.Draw(t, "former_source"), Venue: anyTime.Draw(t, "venue"),
		},
	}
	b.Times.Published = 0
	drawFields(t, reflect.ValueOf(&b.Session).Elem())
	for range rapid.IntRange(0, 2).Draw(t, "held") {
		h := *drawBatch(t)
		h.Seq, h.KafkaTime = anySeq.Draw(t, "held_seq"), anyTime.Draw(t, "kafka_time")
		b.Held = append(b.Held, h)
	}
	b.Trades = drawTrades(t).Trades
	if rapid.Bool().Draw(t, "instrument") {
		b.Instrument = &Instrument{
			Exponents: Exponents{anyExponent.Draw(t, "pe"), anyExponent.Draw(t, "qe")}, Tick: anyQty.Draw(t, "tick"), Lot: anyQty.Draw(t, "lot"),
			Type: rapid.Uint8Range(0, 8).Draw(t, "type"), Name: anyName.Draw(t, "name"), Base: anyName.Draw(t, "base"), Quote: anyName.Draw(t, "quote"),
			ExpiryTime: anyTime.Draw(t, "expiry"), MaxLevels: rapid.Uint32().Draw(t, "max_levels"),
		}
	}
}

// withRanks gives orders ranks that differ, as those of a book do: else their
// order is not theirs alone.
func withRanks(orders []RankedOrder) []RankedOrder {
	for i := range orders {
		orders[i].RankIndex = uint32(i)
	}
	return orders
}

// plainState is s without what does not count: empty slices, capacities.
func plainState(s *SymbolState) SymbolState {
	p := *s
	b := &p.Book
	b.Trades, b.Bids, b.Asks = orNil(b.Trades), orNil(b.Bids), orNil(b.Asks)
	b.BidOrders, b.AskOrders = orNil(b.BidOrders), orNil(b.AskOrders)
	held := b.Held
	b.Held = nil
	for i := range held {
		h := plain(&held[i])
		h.Bytes = 0
		b.Held = append(b.Held, h)
	}
	p.Codecs = orNil(p.Codecs)
	return p
}

func TestEveryStateIsDecodedAsItWasAppended(t *testing.T) {
	defer moreChecks(1000)()
	var got SymbolState // one for all, as in use
	rapid.Check(t, func(t *rapid.T) {
		want := drawSymbolState(t)
		data := AppendSymbolState([]byte("before"), want)[len("before"):]
		if err := DecodeSymbolState(data, &got); err != nil {
			t.Fatal(err)
		}
		if g, w := plainState(&got), plainState(want); !reflect.DeepEqual(g, w) {
			t.Fatalf(" got %+v\nwant %+v", g, w)
		}
	})
}

func TestStatesAndHeadersAreWhatTheirProtobufDefinitionSays(t *testing.T) {
	again := func(t *rapid.T, data []byte, m googleproto.Message) {
		if err := googleproto.Unmarshal(data, m); err != nil {
			t.Fatal(err)
		}
		same, err := googleproto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil || len(m.ProtoReflect().GetUnknown()) > 0 {
			t.Fatal(err, m.ProtoReflect().GetUnknown())
		}
		// A checksum of 0 is there in our form only.
		if !bytes.Equal(same, data) && binary.LittleEndian.Uint32(data[len(data)-4:]) != 0 {
			t.Fatalf("generated %x\n     ours %x", same, data)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		again(t, AppendSymbolState(nil, drawSymbolState(t)), &pb.SymbolState{})
		again(t, AppendCheckpointHeader(nil, drawHeader(t)), &pb.CheckpointHeader{})
	})
}

func drawHeader(t *rapid.T) *CheckpointHeader {
	h := &CheckpointHeader{
		Version: CheckpointVersion, Epoch: anyUint64.Draw(t, "epoch"), Floor: anySeq.Draw(t, "floor"), Complete: rapid.Bool().Draw(t, "complete"),
		Fingerprint: Fingerprint{anySeq.Draw(t, "offset"), anyTime.Draw(t, "time"), rapid.Uint32().Draw(t, "crc")},
		Shared:      SharedState{Whole: rapid.Bool().Draw(t, "whole")},
		Ceiling:     anySeq.Draw(t, "ceiling"), Last: Fingerprint{anySeq.Draw(t, "last"), anyTime.Draw(t, "last_time"), rapid.Uint32().Draw(t, "last_crc")},
		Settings: rapid.Uint64().Draw(t, "settings"), States: rapid.Uint32().Draw(t, "states"), Inventory: rapid.Uint64().Draw(t, "inventory"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "ended") {
		h.Ended = append(h.Ended, append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "ended_state")...))
	}
	copy(h.TopicID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "topic_id"))
	h.Shared.Tainted = orNil(slices.Compact(slices.Sorted(slices.Values(rapid.SliceOfN(anySymbol, 0, 4).Draw(t, "tainted")))))
	for range rapid.IntRange(0, 3).Draw(t, "feeds") {
		h.Shared.Feeds = append(h.Shared.Feeds, FeedState{anyName.Draw(t, "feed"), anyTime.Draw(t, "feed_time")})
	}
	return h
}

func TestEveryHeaderIsDecodedAsItWasAppended(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawHeader(t)
		var got CheckpointHeader
		if err := DecodeCheckpointHeader(AppendCheckpointHeader(nil, want), &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(&got, want) {
			t.Fatalf(" got %+v\nwant %+v", got, *want)
		}
	})
}

func TestADamagedStateOrHeaderIsRefused(t *testing.T) {
	refused := func(t *rapid.T, data []byte, decode func([]byte) error) {
		damaged := slices.Clone(data)
		switch rapid.IntRange(0, 2).Draw(t, "damage") {
		case 0:
			bit := rapid.IntRange(0, 8*len(data)-1).Draw(t, "bit")
			damaged[bit/8] ^= 1 << (bit % 8)
		case 1:
			damaged = damaged[:rapid.IntRange(0, len(data)-1).Draw(t, "length")]
		case 2:
			damaged = append(damaged, rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "more")...)
		}
		if err := decode(damaged); !errors.Is(err, ErrChecksum) {
			t.Fatalf("%x\nfor %x: %v", damaged, data, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		refused(t, AppendSymbolState(nil, drawSymbolState(t)), func(b []byte) error { return DecodeSymbolState(b, &SymbolState{}) })
		refused(t, AppendCheckpointHeader(nil, drawHeader(t)), func(b []byte) error { return DecodeCheckpointHeader(b, &CheckpointHeader{}) })
	})
}

func TestWhatIsTooLargeOrNotKnownIsRefusedBeforeItIsRead(t *testing.T) {
	sealed := func(m googleproto.Message) []byte {
		b, err := googleproto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return appendChecksum(b, 0)
	}
	book := func(b *pb.BookState) []byte { return sealed(&pb.SymbolState{Symbol: "X", Book: b}) }
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"symbol":              {sealed(&pb.SymbolState{Symbol: "A B"}), ErrBadValue},
		"no symbol":           {sealed(&pb.SymbolState{}), ErrBadValue},
		"format order":        {sealed(&pb.SymbolState{Symbol: "X", Codecs: []*pb.CodecState{{Format: "b"}, {Format: "a"}}}), ErrBadValue},
		"kind":                {book(&pb.BookState{Kind: 3}), ErrBadValue},
		"reason":              {book(&pb.BookState{Reason: 99}), ErrBadValue},
		"phase":               {book(&pb.BookState{Phase: -1}), ErrBadValue},
		"exponent":            {book(&pb.BookState{PriceExponent: 10}), ErrBadValue},
		"columns":             {book(&pb.BookState{BidOrders: &pb.RankedOrders{OrderId: []int64{1}}}), ErrBadValue},
		"orders":              {book(&pb.BookState{AskOrders: &pb.RankedOrders{OrderId: make([]int64, MaxRecordLevels+1)}}), ErrTooLarge},
		"levels":              {book(&pb.BookState{Bids: &pb.Levels{Price: make([]int64, MaxRecordLevels+1)}}), ErrTooLarge},
		"held":                {book(&pb.BookState{Held: []*pb.HeldRecord{{Events: &pb.Events{Symbol: "X", PriceExponent: new(int32)}}}}), ErrBadValue},
		"unknown field":       {append(appendUint(nil, 7, 1), sealed(&pb.SymbolState{Symbol: "X"})...), ErrChecksum},
		"known to none":       {appendChecksum(appendUint(nil, 7, 1), 0), ErrBadValue},
		"a length beyond all": {appendChecksum(appendNested(nil, 5, 1<<40), 0), ErrMalformed},
	} {
		if err := DecodeSymbolState(c.data, &SymbolState{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	trades := &pb.BookState{}
	for range maxStateTrades + 1 {
		trades.Trades = append(trades.Trades, &pb.PublicTrade{})
	}
	if err := DecodeSymbolState(book(trades), &SymbolState{}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

// FuzzDecodeSymbolState gives the bytes a right checksum, so that it gets to what is
// behind it. What is accepted must be written as it was read.
func FuzzDecodeSymbolState(f *testing.F) {
	for seed := range 30 {
		data := AppendSymbolState(nil, rapid.Custom(drawSymbolState).Example(seed))
		f.Add(data[:len(data)-5])
	}
	var s, again SymbolState
	f.Fuzz(func(t *testing.T, body []byte) {
		data := appendChecksum(slices.Clone(body), 0)
		if err := DecodeSymbolState(data, &s); err != nil {
			return
		}
		written := AppendSymbolState(nil, &s)
		if err := DecodeSymbolState(written, &again); err != nil {
			t.Fatalf("%x\n%v", written, err)
		}
		if !bytes.Equal(AppendSymbolState(nil, &again), written) {
			t.Fatalf("%x", written)
		}
	})
}

func FuzzDecodeCheckpointHeader(f *testing.F) {
	for seed := range 10 {
		data := AppendCheckpointHeader(nil, rapid.Custom(drawHeader).Example(seed))
		f.Add(data[:len(data)-5])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var h, again CheckpointHeader
		if err := DecodeCheckpointHeader(appendChecksum(slices.Clone(body), 0), &h); err != nil || h.Version > CheckpointVersion {
			return
		}
		if err := DecodeCheckpointHeader(AppendCheckpointHeader(nil, &h), &again); err != nil || !reflect.DeepEqual(h, again) {
			t.Fatalf("%v\n%+v\n%+v", err, h, again)
		}
	})
}

func TestTheChecksumIsCRC32C(t *testing.T) {
	data := AppendSymbolState(nil, &SymbolState{Symbol: "X"})
	if want := []byte{0x0a, 1, 'X', 0x7d}; !bytes.Equal(data[:4], want) {
		t.Fatalf("%x", data)
	}
	if got := binary.LittleEndian.Uint32(data[4:]); got != crc32.Checksum(data[:4], crc32.MakeTable(crc32.Castagnoli)) {
		t.Fatalf("%08x", got)
	}
}
