package ingest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// krakenSum is the venue's checksum: of the 10 best asks, then the 10 best bids,
// each price and volume without point and leading zeros. As long as exponents
// are the decimals of the text, these are the mantissas.
func krakenSum(book *plainLevels) uint32 {
	var text []byte
	for _, side := range []proto.Side{proto.Ask, proto.Bid} {
		levels := book.best(side)
		for _, l := range levels[:min(10, len(levels))] {
			text = fmt.Appendf(text, "%d%d", l.Price, l.Qty)
		}
	}
	return crc32.ChecksumIEEE(text)
}

// krakenExponents finds the decimals of each pair of the recording.
func krakenExponents(t testing.TB) fixedExponents {
	x := fixedExponents{}
	var m krakenMessage
	eachLine(t, []string{"kraken/KRAKEN.ws.50.0.gz"}, func(line []byte) {
		_, value, _ := bytes.Cut(line, []byte(": "))
		if m.parse(value, proto.Exponents{Price: -12, Qty: -10}) != nil || m.kind != krakenBook {
			return
		}
		symbol := "KRAKEN:" + string(m.pair)
		if _, known := x[symbol]; known {
			return
		}
		var s jsonText
		s.reset(value[bytes.Index(value, []byte(`[["`))+2:])
		price := s.str()
		s.expect(',')
		x[symbol] = proto.Exponents{Price: int8(-proto.Decimals(price)), Qty: int8(-proto.Decimals(s.str()))}
	})
	return x
}

func TestKrakenBooksPassEveryChecksum(t *testing.T) {
	exponents := krakenExponents(t)
	if len(exponents) != 10 {
		t.Fatalf("%d pairs, want 10", len(exponents))
	}
	codec := newKrakenCodec(exponents)
	books := map[string]*plainLevels{}
	snapshots, updates, levels := 0, 0, 0
	decode := func(line []byte) *proto.Batch {
		_, value, _ := bytes.Cut(line, []byte(": "))
		at := bytes.LastIndex(value, []byte(`,"`))
		if at < 0 || value[0] != '[' {
			return nil
		}
		key := "KRAKEN:" + string(value[at+2:len(value)-2])
		b, err := codec.Decode(&Record{Key: []byte(key), Value: value})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	eachLine(t, []string{"kraken/KRAKEN.ws.50.0.gz"}, func(line []byte) {
		b := decode(line)
		if b == nil {
			return
		}
		if b.VenueTime == 0 || len(b.Events) != 1 {
			t.Fatalf("%d events at %d", len(b.Events), b.VenueTime)
		}
		if b.Events[0].Kind == proto.EventSnapshot {
			snapshots++
			books[b.Symbol] = newPlainLevels()
			if b.Events[0].MaxLevels != 1000 {
				t.Fatalf("max_levels %d", b.Events[0].MaxLevels)
			}
		}
		books[b.Symbol].apply(t, b)
		m := codec.(*krakenCodec).message
		if !m.hasChecksum {
			return
		}
		updates++
		levels += len(m.bids) + len(m.asks)
		if got := krakenSum(books[b.Symbol]); got != m.checksum {
			t.Fatalf("update %d of %s: checksum %d, want %d", updates, b.Symbol, got, m.checksum)
		}
	})
	if snapshots != 10 || updates != 4269 || levels != 4272 {
		t.Fatalf("%d snapshots, %d updates, %d levels; want 10, 4269, 4272", snapshots, updates, levels)
	}
	trades := 0
	eachLine(t, []string{"kraken/KRAKEN.ws.48.0.gz"}, func(line []byte) {
		b := decode(line)
		if b == nil {
			return
		}
		for _, e := range b.Events {
			if e.Kind != proto.EventTrade || e.Trade.Qty <= 0 || e.Trade.VenueTime == 0 || e.Trade.Aggressor == proto.AggressorUnknown {
				t.Fatalf("no full trade: %+v", e.Trade)
			}
			trades++
		}
	})
	if trades == 0 {
		t.Fatal("no trades")
	}
}

func TestKrakenMessagesAreReadAsTheVenueSays(t *testing.T) {
	key := "KRAKEN:XBT/USD"
	codec := newKrakenCodec(fixedExponents{key: {Price: -2, Qty: 0}})
	for i, s := range []step{
		{`[1,{"a":[["1.00","5","1.5"]],"c":"1"},"book-10","XBT/USD"]`, "nothing"},
		{`{"event":"heartbeat"}`, "heartbeat"},
		{`[1,{"as":[["2.00","5","1.5"]],"bs":[["1.00","6","1.5"]]},"book-10","XBT/USD"]`, "snapshot 6"},
		{`[1,{"a":[["2.00","0","1.5"]]},{"b":[["1.00","7","1.5","r"]],"c":"1"},"book-10","XBT/USD"]`, "set 7"},
		{`[1,[["1.00","2","1.5","s","l",""],["1.10","3","1.6","b","m",""]],"trade","XBT/USD"]`, "trade 100 2 2, trade 110 3 1"},
		{`[1,{"a":["1.0",1,"1"]},"ticker","XBT/USD"]`, "heartbeat"},
		{`[1,[["1.00","2"]],"trade","XBT/USD"]`, CodeMalformed},
		{`[1,{"b":[["1.00","8","1.5"]],"c":"1"},"book-10","XBT/USD"]`, "set 8"},
		{`[1,{"b":[["1.00","8","1.5"]],"c":"1"},"book-10","ETH/USD"]`, CodeKeyMismatch},
		{`[1,{"b":[["1.00","9","1.5"]],"c":"1"},"book-10","XBT/USD"]`, "nothing"},
		{`[1,{"as":[],"bs":[],"a":[["1.00","9","1.5"]]},"book-10","XBT/USD"]`, CodeMalformed},
		{`[1,{"as":[],"bs":[["1.005","9","1.5"]]},"book-10","XBT/USD"]`, CodeBadDecimal},
		{`[1,{"as":[],"bs":[["1.00","9","1.5"]]},"book-0","XBT/USD"]`, CodeMalformed},
		{`[1,"book-10","XBT/USD"]`, CodeMalformed},
		{`[1,{"b":[["1.00"]]},"book-10","XBT/USD"]`, CodeMalformed},
		{`[1,{"b":[],"c":"4294967296"},"book-10","XBT/USD"]`, CodeMalformed},
	} {
		if got := outcome(t, codec, key, s.value); got != s.want {
			t.Fatalf("message %d: %q, want %q", i+1, got, s.want)
		}
	}
}

func FuzzKrakenCodec(f *testing.F) {
	f.Add([]byte(`[1,{"as":[["2.00","5","1.5"]],"bs":[["1.00","6","1.5"]]},"book-10","X"]` + "\n" + `[1,{"a":[["2.00","0","1.5"]]},{"b":[["1.00","7","1.5","r"]],"c":"1"},"book-10","X"]`))
	f.Add([]byte(`[1,[["1.00","2","1.5","s","l",""]],"trade","X"]` + "\n" + `{"event":"heartbeat"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		values := bytes.Split(text, []byte{'\n'})
		fuzzCodec(t, newKrakenCodec(fixedExponents{}), "KRAKEN:X", values)
		fuzzInspector(t, "kraken", values)
	})
}
