package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

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
	// Without an instrument the codec has the default exponents, and still the
	// venue's digits.
	t.Run("defined", func(t *testing.T) { replayKrakenRecording(t, exponents, true) })
	t.Run("undefined", func(t *testing.T) { replayKrakenRecording(t, fixedExponents{}, false) })
}

// replayKrakenRecording decodes the recording, whose checksums the codec compares;
// defined: the exponents are the venue's decimals, so that the levels given out
// must have these checksums too.
func replayKrakenRecording(t *testing.T, exponents fixedExponents, defined bool) {
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
		if got := krakenSum(books[b.Symbol]); defined && got != m.checksum {
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

// krakenText is a checksum over digits.
func krakenText(digits string) uint32 { return crc32.ChecksumIEEE([]byte(digits)) }

func TestKrakenMessagesAreReadAsTheVenueSays(t *testing.T) {
	key := "KRAKEN:XBT/USD"
	codec := newKrakenCodec(fixedExponents{key: {Price: -2, Qty: 0}})
	for i, s := range []step{
		{`[1,{"a":[["1.00","5","1.5"]],"c":"1"},"book-10","XBT/USD"]`, "nothing"},
		{`{"event":"heartbeat"}`, "heartbeat"},
		{`[1,{"as":[["2.00","5","1.5"]],"bs":[["1.00","6","1.5"]]},"book-10","XBT/USD"]`, "snapshot 6"},
		{fmt.Sprintf(`[1,{"a":[["2.00","0","1.5"]]},{"b":[["1.00","7","1.5","r"]],"c":"%d"},"book-10","XBT/USD"]`, krakenText("1007")), "set 7"},
		{`[1,[["1.00","2","1.5","s","l",""],["1.10","3","1.6","b","m",""]],"trade","XBT/USD"]`, "trade 100 2 2, trade 110 3 1"},
		{`[1,{"a":["1.0",1,"1"]},"ticker","XBT/USD"]`, "heartbeat"},
		{`[1,[["1.00","2"]],"trade","XBT/USD"]`, CodeMalformed},
		{fmt.Sprintf(`[1,{"b":[["1.00","8","1.5"]],"c":"%d"},"book-10","XBT/USD"]`, krakenText("1008")), "set 8"},
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

func TestKrakenChecksumThatDiffersNeedsASnapshot(t *testing.T) {
	key := "KRAKEN:X"
	codec := newKrakenCodec(fixedExponents{})
	snapshot := `[1,{"as":[["2.00","5.10","1.5"]],"bs":[["1.00","6.00","1.5"]]},"book-10","X"]`
	update := func(sum uint32) string {
		return fmt.Sprintf(`[1,{"b":[["0.90","7.00","1.5"]],"c":"%d"},"book-10","X"]`, sum)
	}
	right := krakenText("200510" + "100600" + "90700")
	if got := outcome(t, codec, key, snapshot); got != "snapshot 600000000" {
		t.Fatal(got)
	}
	b, err := codec.Decode(&Record{Key: []byte(key), Value: []byte(update(right + 1))})
	if code := mustRefuse(t, b, err); code != CodeChecksum {
		t.Fatalf("refused as %s", code)
	}
	var refused *proto.RecordError
	if errors.As(err, &refused); refused.Reason != proto.ReasonChecksum {
		t.Errorf("reason %v", refused.Reason)
	}
	for _, number := range []uint32{right, right + 1} {
		if !strings.Contains(err.Error(), fmt.Sprint(number)) {
			t.Errorf("%q lacks %d", err, number)
		}
	}
	for i, s := range []step{
		{update(right), "nothing"},
		{snapshot, "snapshot 600000000"},
		{update(right), "set 700000000"},
	} {
		if got := outcome(t, codec, key, s.value); got != s.want {
			t.Fatalf("message %d: %q, want %q", i+1, got, s.want)
		}
	}
}

func TestKrakenMirrorKeepsTheChannelsDepth(t *testing.T) {
	codec := newKrakenCodec(fixedExponents{})
	var asks, trimmed []string
	digits := ""
	for i := 1; i <= 10; i++ {
		asks = append(asks, fmt.Sprintf(`["%d.0","1.0","1.5"]`, i+10))
		if i < 10 {
			digits += fmt.Sprintf("%d10", (i+10)*10)
		}
	}
	outcome(t, codec, "KRAKEN:X", `[1,{"as":[`+strings.Join(asks, ",")+`],"bs":[["1.0","1.0","1.5"]]},"book-10","X"]`)
	// A better ask pushes out the 10th; when it goes again, nine are left.
	for _, s := range []struct {
		qty string
		sum uint32
	}{{"2.0", krakenText("10020" + digits + "1010")}, {"0.0", krakenText(digits + "1010")}} {
		got := outcome(t, codec, "KRAKEN:X", fmt.Sprintf(`[1,{"b":[["1.0","1.0","2"]]},{"a":[["10.0",%q,"2"]],"c":"%d"},"book-10","X"]`, s.qty, s.sum))
		if got != "set 100000000" {
			trimmed = append(trimmed, got)
		}
	}
	if len(trimmed) > 0 {
		t.Fatal(trimmed)
	}
}

// krakenVenue is the venue's end of a book-10 channel: a book without a limit, of
// which subscribers know the ten best levels a side. A level that the ten lose is
// not deleted; one that they gain is sent, as new or once more.
type krakenVenue struct {
	all, shown *plainLevels
}

// change sets a level, and returns the message that tells subscribers, "" if there
// is nothing to tell.
func (v *krakenVenue) change(side proto.Side, l proto.Level) string {
	all, shown, letter := v.all.bids, v.shown.bids, "b"
	if side == proto.Ask {
		all, shown, letter = v.all.asks, v.shown.asks, "a"
	}
	setPlain(all, []proto.Level{l})
	var levels []string
	tell := func(l proto.Level) {
		levels = append(levels, fmt.Sprintf(`["%d.%d","%d.%d","1.5"]`, l.Price/10, l.Price%10, l.Qty/10, l.Qty%10))
	}
	if _, was := shown[l.Price]; was && l.Qty == 0 {
		tell(l)
	}
	best := v.all.best(side)
	best = best[:min(len(best), 10)]
	for _, b := range best {
		if shown[b.Price] != b.Qty {
			tell(b)
		}
	}
	clear(shown)
	setPlain(shown, best)
	if len(levels) == 0 {
		return ""
	}
	return fmt.Sprintf(`[1,{%q:[%s],"c":"%d"},"book-10","X"]`, letter, strings.Join(levels, ","), krakenSum(v.shown))
}

// TestKrakenBookTrimmedToItsDepthIsTheVenues: the recording is of book-1000 and
// never reaches its depth.
func TestKrakenBookTrimmedToItsDepthIsTheVenues(t *testing.T) {
	trimmed := 0
	rapid.Check(t, func(r *rapid.T) {
		codec, book := newKrakenCodec(fixedExponents{"KRAKEN:X": {Price: -1, Qty: -1}}), newPlainLevels()
		venue := krakenVenue{newPlainLevels(), newPlainLevels()}
		give := func(message string) {
			b, err := codec.Decode(&Record{Key: []byte("KRAKEN:X"), Value: []byte(message)})
			if err != nil {
				r.Fatalf("%s: %v", message, err)
			}
			book.apply(t, b)
		}
		give(`[1,{"as":[],"bs":[]},"book-10","X"]`)
		for range rapid.IntRange(1, 80).Draw(r, "changes") {
			side, price := proto.Bid, rapid.Int64Range(100, 130).Draw(r, "price")
			if rapid.Bool().Draw(r, "ask") {
				side, price = proto.Ask, price+100
			}
			if message := venue.change(side, proto.Level{Price: price, Qty: max(0, rapid.Int64Range(-2, 30).Draw(r, "qty"))}); message != "" {
				give(message)
			}
			if !maps.Equal(book.bids, venue.shown.bids) || !maps.Equal(book.asks, venue.shown.asks) {
				r.Fatalf("book %v %v, the venue's %v %v", book.bids, book.asks, venue.shown.bids, venue.shown.asks)
			}
			trimmed += len(venue.all.bids) + len(venue.all.asks) - len(book.bids) - len(book.asks)
		}
	})
	if trimmed == 0 {
		t.Fatal("no book reached its depth")
	}
}

func TestKrakenMirrorTakesManyChangesAsItTakesThemSingly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.Custom(func(t *rapid.T) krakenLevel {
			return krakenLevel{Level: proto.Level{Price: rapid.Int64Range(1, 9).Draw(t, "price"), Qty: rapid.Int64Range(0, 3).Draw(t, "qty")}}
		})
		var one, many krakenSide
		for range 3 {
			changes := rapid.SliceOfN(level, 0, 12).Draw(t, "changes")
			one, many = one.set(changes, betterBid), many.setMany(changes, betterBid)
			if !slices.Equal(one, many) {
				t.Fatalf("%v singly, %v at once", one, many)
			}
		}
	})
}

func FuzzKrakenCodec(f *testing.F) {
	f.Add([]byte(`[1,{"as":[["2.00","5","1.5"]],"bs":[["1.00","6","1.5"]]},"book-10","BTC/USD"]` + "\n" + `[1,{"a":[["2.00","0","1.5"]]},{"b":[["1.00","7","1.5","r"]],"c":"1"},"book-10","X"]`))
	f.Add([]byte(krakenGuide + "\n" + krakenTrades))
	f.Add([]byte(`[1,[["1.00","2","1.5","s","l",""]],"trade","X"]` + "\n" + `{"event":"heartbeat"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		values := bytes.Split(text, []byte{'\n'})
		fuzzCodec(t, newKrakenCodec(fixedExponents{}), "KRAKEN:BTC/USD", values)
		fuzzInspector(t, "kraken", values)
	})
}

// BenchmarkKrakenCodec decodes the recording, a checksum compared for each update.
func BenchmarkKrakenCodec(b *testing.B) {
	type message struct{ key, value []byte }
	var messages []message
	eachLine(b, []string{"kraken/KRAKEN.ws.50.0.gz"}, func(line []byte) {
		_, value, _ := bytes.Cut(line, []byte(": "))
		if at := bytes.LastIndex(value, []byte(`,"`)); at >= 0 && value[0] == '[' {
			messages = append(messages, message{append([]byte("KRAKEN:"), value[at+2:len(value)-2]...), bytes.Clone(value)})
		}
	})
	b.ReportAllocs()
	var codec Codec
	for i := 0; i < b.N; i++ {
		if i%len(messages) == 0 {
			codec = newKrakenCodec(fixedExponents{})
		}
		m := messages[i%len(messages)]
		if _, err := codec.Decode(&Record{Key: m.key, Value: m.value}); err != nil {
			b.Fatal(err)
		}
	}
}
