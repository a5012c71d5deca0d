package ingest

import (
	"fmt"
	"strings"
	"testing"
)

func TestBinanceBufferIsBounded(t *testing.T) {
	key := "BINANCE:X"
	codec := newBinanceCodec(fixedExponents{key: {Price: -2, Qty: 0}})
	for i := 1; i <= maxBinanceDiffs+10; i++ {
		if got := outcome(t, codec, key, spotDiff(i, i)); got != "nothing" {
			t.Fatalf("diff %d: %s", i, got)
		}
	}
	state := &codec.(*binanceCodec).symbols.of[key].state
	if len(state.waiting) != maxBinanceDiffs || state.waiting[0].first != 11 {
		t.Fatalf("%d wait, from %d", len(state.waiting), state.waiting[0].first)
	}
	if got := outcome(t, codec, key, restSnapshot(9)); got != CodeOldSnapshot {
		t.Fatalf("a snapshot before what is left: %s", got)
	}
	wide := strings.Replace(spotDiff(maxBinanceDiffs+11, maxBinanceDiffs+11), `"a":[]`, `"a":[]`+strings.Repeat(" ", maxBinanceDiffBytes/2), 1)
	outcome(t, codec, key, wide)
	outcome(t, codec, key, strings.ReplaceAll(wide, fmt.Sprint(maxBinanceDiffs+11), fmt.Sprint(maxBinanceDiffs+12)))
	if state.bytes > maxBinanceDiffBytes || len(state.waiting) != 1 {
		t.Fatalf("%d bytes in %d diffs wait", state.bytes, len(state.waiting))
	}
	if c := codec.(*binanceCodec); c.buffered != state.bytes {
		t.Fatalf("%d bytes counted in all, %d of the only symbol", c.buffered, state.bytes)
	}
}

// padded is a message made as long as wanted by spaces at its end.
func padded(value string, length int) string { return value + strings.Repeat(" ", length-len(value)) }

func TestBinanceSnapshotThatWaitsIsBounded(t *testing.T) {
	key := "BINANCE:X"
	x := fixedExponents{key: {Price: -2, Qty: 0}}
	codec := newBinanceCodec(x)
	for i, s := range []step{
		{padded(restSnapshot(5), maxBinanceDiffBytes+1), CodeTooLarge},
		{spotDiff(6, 7), "nothing"},
		{padded(restSnapshot(5), maxBinanceDiffBytes+1), "snapshot 5, set 7"}, // it need not wait
		{`{`, CodeMalformed},
		{padded(restSnapshot(7), maxBinanceDiffBytes), "nothing"},
	} {
		if got := outcome(t, codec, key, s.value); got != s.want {
			t.Fatalf("step %d: %q, want %q", i+1, got, s.want)
		}
		again := newBinanceCodec(x)
		if err := again.(keeper).restore(key, codec.(keeper).save(key, nil)); err != nil {
			t.Fatalf("step %d: what is kept cannot be restored: %v", i+1, err)
		}
	}
	if got := outcome(t, codec, key, spotDiff(8, 8)); got != "snapshot 7, set 8" {
		t.Fatalf("the diff that a snapshot of the greatest size waits for: %s", got)
	}
}

func TestBinanceBuffersOfAllSymbolsAreBounded(t *testing.T) {
	codec := newBinanceCodec(fixedExponents{}).(*binanceCodec)
	const each = maxBinanceDiffBytes - 1
	key := func(i int) string { return fmt.Sprintf("BINANCE:X~%d", i) }
	for i := range maxBinanceTotalBytes/each + 3 {
		if got := outcome(t, codec, key(i), padded(spotDiff(1, 3), each)); got != "nothing" {
			t.Fatalf("diff %d: %s", i, got)
		}
		if codec.buffered > maxBinanceTotalBytes {
			t.Fatalf("%d bytes wait", codec.buffered)
		}
	}
	last := key(maxBinanceTotalBytes/each + 2)
	if got := outcome(t, codec, last, restSnapshot(2)); got != CodeOldSnapshot {
		t.Errorf("a snapshot whose diff had no room: %s", got)
	}
	if got := outcome(t, codec, key(0), restSnapshot(2)); got != "snapshot 200000000, set 300000000" {
		t.Errorf("a snapshot whose diff waits: %s", got)
	}
}
