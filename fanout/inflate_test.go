package fanout

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"compress/flate"

	"pgregory.net/rapid"
)

// squeeze compresses message as a sender of RFC 7692 does.
func squeeze(t interface{ Fatal(...any) }, message []byte, level int) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(message)
	_ = w.Flush()
	return bytes.TrimSuffix(out.Bytes(), deflateTail)
}

// inflateIn inflates a message that comes in pieces of the given size.
func inflateIn(message []byte, piece, max int) ([]byte, error) {
	z := new(inflater)
	var out []byte
	for len(message) > 0 {
		n := min(piece, len(message))
		var err error
		if out, err = z.write(out, message[:n], max); err != nil {
			return out, err
		}
		message = message[n:]
	}
	return z.end(out, max)
}

func TestInflatedIsWhatWasCompressedHoweverItArrives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringN(0, 12, -1), 1, 5).Draw(t, "words")
		var message strings.Builder
		for range rapid.IntRange(0, 300).Draw(t, "length") {
			message.WriteString(rapid.SampledFrom(words).Draw(t, "word"))
		}
		level := rapid.SampledFrom([]int{flate.NoCompression, flate.HuffmanOnly, 1, 6, 9}).Draw(t, "level")
		got, err := inflateIn(squeeze(t, []byte(message.String()), level), rapid.IntRange(1, 200).Draw(t, "piece"), message.Len())
		if err != nil || string(got) != message.String() {
			t.Fatalf("%v: %q became %q", err, message.String(), got)
		}
	})
}

func TestInflatingEndsAtTheLimitBeforeMemoryIsSetAside(t *testing.T) {
	const max = 1 << 16
	bomb := squeeze(t, make([]byte, 64<<20), 9) // 64 KiB of zeros a thousand times
	z := new(inflater)
	out, err := z.write(nil, bomb, max)
	if !errors.Is(err, error(errMessageTooBig)) {
		t.Fatalf("got %v", err)
	}
	if cap(out) > 2*max {
		t.Fatalf("%d bytes were set aside for a limit of %d", cap(out), max)
	}
}

func TestInflatingKeepsLessThanTheHeaderOfABlock(t *testing.T) {
	message := []byte(strings.Repeat("bids and asks, best first; ", 4000))
	z := new(inflater)
	var out []byte
	for _, b := range squeeze(t, message, 9) {
		var err error
		if out, err = z.write(out, []byte{b}, len(message)); err != nil {
			t.Fatal(err)
		}
		if len(z.in) > 400 {
			t.Fatalf("%d bytes wait", len(z.in))
		}
	}
}

func TestWhatIsNoDeflateIsRefused(t *testing.T) {
	for name, message := range map[string][]byte{
		"reserved kind of block":        {0x06},
		"stored length without check":   {0x00, 0x05, 0x00, 0x05, 0x00},
		"distance before the beginning": {0x03 - 1, 0x02}, // fixed codes: a length of 3 at a distance of 1, and nothing before
		"nothing at all":                {},
		"cut off in a stored block":     {0x00, 0x05, 0x00, 0xfa, 0xff, 'a'},
		"cut off in a symbol":           squeeze(t, []byte("bids and asks"), 9)[:5],
	} {
		if out, err := inflateIn(message, 1<<16, 1<<16); err == nil {
			t.Errorf("%s: became %q", name, out)
		}
	}
}

// FuzzInflate holds the inflater against compress/flate, at once and byte by byte.
func FuzzInflate(f *testing.F) {
	for level := -2; level <= 9; level++ {
		f.Add(squeeze(f, []byte(strings.Repeat("bids and asks, best first; ", 9)), level))
	}
	f.Add([]byte{0x06})
	f.Add([]byte{0x03, 0x00})
	f.Fuzz(func(t *testing.T, message []byte) {
		const max = 4096
		whole := append(bytes.Clone(message), deflateTail...)
		whole = append(whole, 1, 0, 0, 0xff, 0xff) // a last block, as a reader of its own wants it
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(whole)), max+1))
		got, err := inflateIn(message, len(message)+1, max)
		again, errAgain := inflateIn(message, 1, max)
		if (err == nil) != (errAgain == nil) || !bytes.Equal(got, again) {
			t.Fatalf("at once %q, %v; byte by byte %q, %v", got, err, again, errAgain)
		}
		if len(got) > max {
			t.Fatalf("%d bytes", len(got))
		}
		if err == nil && (wantErr != nil || !bytes.Equal(got, want)) {
			t.Fatalf("became %q, by compress/flate %q, %v", got, want, wantErr)
		}
		back, err := inflateIn(squeeze(t, message, len(message)%12-2), 7, len(message))
		if err != nil || !bytes.Equal(back, message) {
			t.Fatalf("compressed and inflated %q, %v", back, err)
		}
	})
}
