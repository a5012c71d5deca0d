package ingest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/pierrec/lz4/v4"
)

// pack makes a frame as producers do, with options of their libraries.
func pack(tb testing.TB, plain []byte, sized bool, options ...lz4.Option) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := lz4.NewWriter(&b)
	if sized {
		options = append(options, lz4.SizeOption(uint64(len(plain))))
	}
	if err := w.Apply(options...); err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

var lz4Options = map[string][]lz4.Option{
	"defaults":     nil,
	"small blocks": {lz4.BlockSizeOption(lz4.Block64Kb), lz4.ConcurrencyOption(1)},
	"all sums":     {lz4.BlockChecksumOption(true), lz4.ChecksumOption(true), lz4.BlockSizeOption(lz4.Block64Kb)},
	"no sum":       {lz4.ChecksumOption(false)},
	"high":         {lz4.CompressionLevelOption(lz4.Level9)},
}

// texts are data that compresses very well, somewhat, and not at all.
func texts(n int) map[string][]byte {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	some, none := make([]byte, n), make([]byte, n)
	for i := range none {
		none[i] = byte(random.Uint32())
		some[i] = "0123456789.,{}[]"[random.IntN(16)]
		if i >= 64 && random.IntN(4) > 0 {
			some[i] = some[i-64]
		}
	}
	return map[string][]byte{"zeros": make([]byte, n), "text": some, "noise": none}
}

func TestLZ4FramesOfEveryKindBecomeWhatTheyWere(t *testing.T) {
	for option, options := range lz4Options {
		for _, n := range []int{0, 1, 100, 70_000, 300_000} {
			for kind, plain := range texts(n) {
				frame := pack(t, plain, option == "no sum", options...)
				for _, room := range []int{0, 50, 1 << 20} {
					got, err := unlz4(frame, n, make([]byte, 0, room))
					if err != nil || !bytes.Equal(got, plain) {
						t.Fatalf("%s, %d of %s, room %d: %d bytes, %v", option, n, kind, room, len(got), err)
					}
				}
				if _, err := unlz4(frame, n-1, nil); err == nil && n > 0 {
					t.Fatalf("%s, %d of %s: more than the limit was taken", option, n, kind)
				}
				twice, err := unlz4(append(frame[:len(frame):len(frame)], frame...), 2*n, nil)
				if err != nil || !bytes.Equal(twice, append(plain[:n:n], plain...)) {
					t.Fatalf("%s, %d of %s, twice: %d bytes, %v", option, n, kind, len(twice), err)
				}
			}
		}
	}
}

// linked is a frame of two blocks, of which the second refers to the first.
var linked = []byte{
	0x04, 0x22, 0x4D, 0x18, 0x40, 0x40, 0xC0, // version 1, dependent blocks, 64 KiB
	0x08, 0, 0, 0x80, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', // stored
	0x0A, 0, 0, 0, 0x04, 8, 0, 0x60, 'i', 'j', 'k', 'l', 'm', 'n', // 8 from 8 back, then 6
	0, 0, 0, 0,
}

func TestLZ4BlocksMayReferToThoseBefore(t *testing.T) {
	const want = "abcdefghabcdefghijklmn"
	got, err := unlz4(linked, 100, []byte{})
	if string(got) != want || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := io.ReadAll(lz4.NewReader(bytes.NewReader(linked))); string(got) != want {
		t.Errorf("the library's reader: %q, %v", got, err)
	}
}

func TestSmallLZ4BatchTakesNoLargeMemory(t *testing.T) {
	frame, room := pack(t, texts(1000)["text"], false), make([]byte, 0, 4000)
	var was, is runtime.MemStats
	runtime.ReadMemStats(&was)
	for range 100 {
		if _, err := unlz4(frame, 64<<20, room); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&is)
	if n := is.TotalAlloc - was.TotalAlloc; n > 100_000 {
		t.Errorf("%d bytes for 100 batches of 1000", n)
	}
}

// FuzzLZ4 holds what is decoded here against the library's reader of streams, which
// also checks sums and so refuses more.
func FuzzLZ4(f *testing.F) {
	for _, options := range lz4Options {
		f.Add(pack(f, texts(200)["text"], true, options...))
	}
	f.Add(linked)
	f.Fuzz(func(t *testing.T, src []byte) {
		const limit = 1 << 20
		got, err := unlz4(src, limit, nil)
		want, failed := io.ReadAll(io.LimitReader(lz4.NewReader(bytes.NewReader(src)), limit+1))
		if err == nil && failed == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, the library has %d", len(got), len(want))
		}
		if len(got) > limit {
			t.Fatalf("%d bytes, beyond the limit", len(got))
		}
	})
}
