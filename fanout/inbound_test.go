package fanout

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"
)

type heard struct {
	op      ws.OpCode
	payload string
}

// hear feeds stream to a fresh parser in pieces of the given sizes (the rest at
// once) and returns what it heard.
func hear(t interface{ Helper() }, stream []byte, max int, pieces ...int) ([]heard, *inbound, error) {
	t.Helper()
	var out []heard
	p := new(inbound)
	on := func(op ws.OpCode, payload []byte) error {
		out = append(out, heard{op, string(payload)})
		return nil
	}
	stream = bytes.Clone(stream)
	for len(stream) > 0 {
		n := len(stream)
		if len(pieces) > 0 {
			n = min(n, pieces[0])
			pieces = pieces[1:]
		}
		if err := p.feed(bytes.Clone(stream[:n]), max, on); err != nil {
			return out, p, err
		}
		stream = stream[n:]
	}
	return out, p, nil
}

func masked(op ws.OpCode, fin bool, payload string) []byte {
	f := ws.NewFrame(op, fin, []byte(payload))
	return ws.MustCompileFrame(ws.MaskFrameInPlaceWith(f, [4]byte{1, 2, 3, 250}))
}

func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func TestMessagesAreWholeHoweverTheBytesArrive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []heard
		for range rapid.IntRange(1, 6).Draw(t, "messages") {
			payload := string(rapid.SliceOfN(rapid.ByteRange('a', 'z'), 0, 300).Draw(t, "payload"))
			op := rapid.SampledFrom([]ws.OpCode{ws.OpText, ws.OpBinary}).Draw(t, "op")
			parts := rapid.IntRange(1, 4).Draw(t, "fragments")
			rest, first := payload, true
			for i := range parts {
				n := len(rest)
				if i < parts-1 {
					n = rapid.IntRange(0, len(rest)).Draw(t, "size")
				}
				frameOp := ws.OpContinuation
				if first {
					frameOp = op
				}
				stream = append(stream, masked(frameOp, i == parts-1, rest[:n])...)
				rest, first = rest[n:], false
				if i < parts-1 && rapid.Bool().Draw(t, "ping between") {
					stream = append(stream, masked(ws.OpPing, true, "p")...)
					want = append(want, heard{ws.OpPing, "p"})
				}
			}
			want = append(want, heard{op, payload})
		}
		pieces := rapid.SliceOfN(rapid.IntRange(1, 40), 0, 200).Draw(t, "pieces")
		got, p, err := hear(t, stream, 300, pieces...)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("heard %d messages, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("message %d: %v, want %v", i, got[i], want[i])
			}
		}
		if !p.idle() {
			t.Fatal("something is kept after the last message")
		}
	})
}

func TestBreachesOfTheProtocolEndWithTheirCode(t *testing.T) {
	unmasked := ws.MustCompileFrame(ws.NewTextFrame([]byte("x")))
	reserved := masked(ws.OpText, true, "x")
	reserved[0] |= 0x40
	huge := masked(ws.OpBinary, true, "x")
	huge[1] = 0x80 | 127 // announces 2^56 bytes
	huge = append(huge[:2], 0x01, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9)
	for name, c := range map[string]struct {
		stream []byte
		code   ws.StatusCode
	}{
		"unmasked":                          {unmasked, ws.StatusProtocolError},
		"reserved bit":                      {reserved, ws.StatusProtocolError},
		"reserved opcode":                   {masked(0x3, true, ""), ws.StatusProtocolError},
		"reserved control opcode":           {masked(0xb, true, ""), ws.StatusProtocolError},
		"fragmented ping":                   {masked(ws.OpPing, false, ""), ws.StatusProtocolError},
		"long ping":                         {masked(ws.OpPing, true, string(make([]byte, 126))), ws.StatusProtocolError},
		"continuation of nothing":           {masked(ws.OpContinuation, true, ""), ws.StatusProtocolError},
		"message inside a message":          {join(masked(ws.OpText, false, "a"), masked(ws.OpText, true, "b")), ws.StatusProtocolError},
		"frame over the limit":              {masked(ws.OpBinary, true, string(make([]byte, 101))), ws.StatusMessageTooBig},
		"announced over the limit":          {huge, ws.StatusMessageTooBig},
		"message over the limit, fragments": {join(masked(ws.OpBinary, false, string(make([]byte, 60))), masked(ws.OpContinuation, true, string(make([]byte, 60)))), ws.StatusMessageTooBig},
		"text that is not UTF-8":            {masked(ws.OpText, true, "\xff"), ws.StatusInvalidFramePayloadData},
		"close of one byte":                 {masked(ws.OpClose, true, "x"), ws.StatusProtocolError},
		"close with code 1005":              {masked(ws.OpClose, true, "\x03\xed"), ws.StatusProtocolError},
		"close with a bad reason":           {masked(ws.OpClose, true, "\x03\xe8\xff"), ws.StatusInvalidFramePayloadData},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := hear(t, c.stream, 100)
			var v *violation
			if !errors.As(err, &v) || v.code != c.code {
				t.Fatalf("got %v, want code %d", err, c.code)
			}
		})
	}
}

func TestAnnouncedSizeIsRefusedBeforeItIsBuffered(t *testing.T) {
	p := new(inbound)
	h := []byte{0x82, 0x80 | 127, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4}
	if err := p.feed(h, 1<<16, func(ws.OpCode, []byte) error { return nil }); !errors.Is(err, error(errMessageTooBig)) {
		t.Fatalf("got %v", err)
	}
	if cap(p.frame) > 64 {
		t.Fatalf("%d bytes were set aside", cap(p.frame))
	}
}

func TestNothingIsHeardAfterClose(t *testing.T) {
	got, _, err := hear(t, join(masked(ws.OpClose, true, "\x03\xe8bye"), masked(ws.OpText, true, "late")), 100)
	if err != nil || len(got) != 1 || got[0].op != ws.OpClose {
		t.Fatalf("heard %v, %v", got, err)
	}
}

func FuzzInbound(f *testing.F) {
	f.Add(masked(ws.OpText, true, "hello"), uint8(3))
	f.Add(join(masked(ws.OpText, false, "a"), masked(ws.OpPing, true, ""), masked(ws.OpContinuation, true, "b")), uint8(1))
	f.Add(masked(ws.OpClose, true, "\x03\xe8"), uint8(200))
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		const max = 256
		whole, _, wholeErr := hear(t, stream, max)
		pieces := make([]int, len(stream)/(int(step)+1)+1)
		for i := range pieces {
			pieces[i] = int(step) + 1
		}
		cut, p, cutErr := hear(t, stream, max, pieces...)
		if (wholeErr == nil) != (cutErr == nil) || len(whole) != len(cut) {
			t.Fatalf("at once: %v %v; in pieces: %v %v", whole, wholeErr, cut, cutErr)
		}
		for i := range whole {
			if whole[i] != cut[i] || len(whole[i].payload) > max {
				t.Fatalf("message %d: %v, in pieces %v", i, whole[i], cut[i])
			}
		}
		if cap(p.frame)+cap(p.msg) > 4*max {
			t.Fatalf("%d bytes kept", cap(p.frame)+cap(p.msg))
		}
	})
}
