package fanout

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

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
		if err := p.feed(bytes.Clone(stream[:n]), rules{max: max}, on); err != nil {
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
			if !errors.As(err, &v) || drops[v.reason].Code != c.code {
				t.Fatalf("got %v, want code %d", err, c.code)
			}
		})
	}
}

func TestAnnouncedSizeIsRefusedBeforeItIsBuffered(t *testing.T) {
	p := new(inbound)
	h := []byte{0x82, 0x80 | 127, 0, 0, 0, 0, 0x40, 0, 0, 0, 1, 2, 3, 4}
	if err := p.feed(h, rules{max: 1 << 16}, func(ws.OpCode, []byte) error { return nil }); !errors.Is(err, error(errMessageTooBig)) {
		t.Fatalf("got %v", err)
	}
	if cap(p.msg) > 0 {
		t.Fatalf("%d bytes were set aside", cap(p.msg))
	}
}

func TestTextFailsWithTheByteThatMakesItNoText(t *testing.T) {
	const begin = "κόσμε"
	for name, c := range map[string]struct {
		bad   string
		after int // bytes of bad with which it must fail
	}{
		"beyond the last rune":    {"\xf4\x90\x80\x80", 2},
		"half of a pair":          {"\xed\xa0\x80", 2},
		"longer than it needs":    {"\xc0\xaf", 1},
		"no beginning":            {"\x80", 1},
		"no continuation":         {"\xe2\x82a", 3},
		"never in UTF-8":          {"\xff", 1},
		"cut off at the very end": {"\xe2\x82", -1},
	} {
		text := begin + c.bad
		stream, at := masked(ws.OpText, true, text+"and so on"), 6+len(begin)+c.after
		if c.after < 0 {
			stream, at = masked(ws.OpText, true, text), 6+len(text)
		}
		p := new(inbound)
		for i := range stream {
			err := p.feed(bytes.Clone(stream[i:i+1]), rules{max: 100}, func(ws.OpCode, []byte) error { return nil })
			if done := i+1 == at; (err != nil) != done {
				t.Fatalf("%s: after %d of %d bytes: %v", name, i+1, len(stream), err)
			} else if done && !errors.Is(err, error(errBadUTF8)) {
				t.Fatalf("%s: %v", name, err)
			} else if done {
				break
			}
		}
	}
}

func TestCompressedTextFailsBeforeItsEnd(t *testing.T) {
	text := strings.Repeat("bids and asks ", 20) + "\xf4\x90" + strings.Repeat("best first ", 2000)
	for _, level := range []int{-2, 1, 9} {
		message := squeeze(t, []byte(text), level)
		stream := compressed(masked(ws.OpText, true, string(message)))
		p := new(inbound)
		for i := range stream {
			err := p.feed(bytes.Clone(stream[i:i+1]), rules{max: len(text), deflate: true}, func(ws.OpCode, []byte) error { return nil })
			if err == nil {
				continue
			}
			if !errors.Is(err, error(errBadUTF8)) || i > len(stream)*3/4 {
				t.Fatalf("level %d: after %d of %d bytes: %v", level, i+1, len(stream), err)
			}
			break
		}
		if p.closed || p.valid >= len(text) {
			t.Fatalf("level %d: it was taken", level)
		}
	}
}

// compressed sets the bit that says so in the header of a frame.
func compressed(frame []byte) []byte {
	frame = bytes.Clone(frame)
	frame[0] |= 0x40
	return frame
}

func TestCompressedMessagesAreHeardAsOthers(t *testing.T) {
	text := strings.Repeat("bids and asks, best first; ", 30)
	message := string(squeeze(t, []byte(text), 6))
	half := len(message) / 2
	stream := join(
		compressed(masked(ws.OpText, false, message[:half])), masked(ws.OpPing, true, "p"), masked(ws.OpContinuation, true, message[half:]),
		masked(ws.OpText, true, "plain"), compressed(masked(ws.OpBinary, true, message)), compressed(masked(ws.OpText, true, "\x00")))
	for _, piece := range []int{1, 7, len(stream)} {
		got, _, err := hearBy(stream, rules{max: len(text), deflate: true}, piece)
		want := []heard{{ws.OpPing, "p"}, {ws.OpText, text}, {ws.OpText, "plain"}, {ws.OpBinary, text}, {ws.OpText, ""}}
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: %v, %v", piece, got, err)
		}
	}
}

func TestBreachesOfCompressionEndTheConnection(t *testing.T) {
	bomb := string(squeeze(t, make([]byte, 1<<20), 9))
	for name, c := range map[string]struct {
		stream  []byte
		deflate bool
		reason  DropReason
	}{
		"not agreed on":            {compressed(masked(ws.OpText, true, "\x00")), false, DropProtocol},
		"a ping":                   {compressed(masked(ws.OpPing, true, "")), true, DropProtocol},
		"a later fragment":         {join(compressed(masked(ws.OpText, false, "")), compressed(masked(ws.OpContinuation, true, "\x00"))), true, DropProtocol},
		"no DEFLATE":               {compressed(masked(ws.OpText, true, "\x06")), true, DropProtocol},
		"empty":                    {compressed(masked(ws.OpText, true, "")), true, DropProtocol},
		"a bomb":                   {compressed(masked(ws.OpBinary, true, bomb)), true, DropTooBig},
		"announced over the limit": {compressed(masked(ws.OpBinary, true, string(make([]byte, 3000)))), true, DropTooBig},
		"endless empty blocks":     {join(compressed(masked(ws.OpBinary, false, strings.Repeat("\x00\x00\x00\xff\xff", 200))), masked(ws.OpContinuation, true, strings.Repeat("\x00\x00\x00\xff\xff", 200))), true, DropTooBig},
		"other reserved bits":      {func() []byte { f := masked(ws.OpText, true, "x"); f[0] |= 0x20; return f }(), true, DropProtocol},
	} {
		_, _, err := hearBy(c.stream, rules{max: 512, deflate: c.deflate}, len(c.stream))
		var v *violation
		if !errors.As(err, &v) || v.reason != c.reason {
			t.Errorf("%s: %v, want %v", name, err, c.reason)
		}
	}
}

func TestCloseCodesAreThoseThatMayBeSent(t *testing.T) {
	legal := map[int]bool{}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014} {
		legal[code] = true
	}
	for code := range 1 << 16 {
		want := legal[code] || 3000 <= code && code <= 4999
		if got := checkClose(ws.NewCloseFrameBody(ws.StatusCode(code), "why")) == nil; got != want {
			t.Errorf("close code %d: taken is %v", code, got)
		}
	}
}

func TestLengthsTakeNoMoreBytesThanTheyNeed(t *testing.T) {
	for _, header := range [][]byte{
		{0x82, 0x80 | 126, 0, 125, 1, 2, 3, 4},
		{0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4},
	} {
		_, _, err := hearBy(header, rules{max: 1 << 20}, 1)
		if !errors.Is(err, error(errLongLength)) {
			t.Errorf("% x: %v", header, err)
		}
	}
}

// hearBy is hear with rules, in pieces of one size.
func hearBy(stream []byte, r rules, piece int) (out []heard, p *inbound, err error) {
	p = new(inbound)
	for b := range slices.Chunk(bytes.Clone(stream), max(piece, 1)) {
		err = p.feed(b, r, func(op ws.OpCode, payload []byte) error {
			out = append(out, heard{op, string(payload)})
			return nil
		})
		if err != nil {
			break
		}
	}
	return out, p, err
}

func TestNothingIsHeardAfterClose(t *testing.T) {
	got, _, err := hear(t, join(masked(ws.OpClose, true, "\x03\xe8bye"), masked(ws.OpText, true, "late")), 100)
	if err != nil || len(got) != 1 || got[0].op != ws.OpClose {
		t.Fatalf("heard %v, %v", got, err)
	}
}

// plainly is what a stream of frames says by their headers and fragments alone, up to
// a close frame or the last frame that is whole.
func plainly(stream []byte) (out []heard) {
	from := bytes.NewReader(stream)
	var message *heard
	for {
		header, err := ws.ReadHeader(from)
		if err != nil || header.Length > int64(from.Len()) {
			return out
		}
		payload := make([]byte, header.Length)
		_, _ = from.Read(payload) // they are all there
		ws.Cipher(payload, header.Mask, 0)
		h := heard{header.OpCode, string(payload)}
		switch {
		case h.op == ws.OpClose:
			return append(out, h)
		case h.op.IsControl():
			out = append(out, h)
			continue
		case h.op == ws.OpContinuation:
			message.payload += h.payload
		default:
			message = &h
		}
		if header.Fin {
			out = append(out, *message)
		}
	}
}

// Whatever comes, it is heard alike however it arrives, breaks no bound, and is what
// the frames say unless it is refused.
func FuzzInbound(f *testing.F) {
	f.Add(masked(ws.OpText, true, "hello"), uint8(3), false)
	f.Add(join(masked(ws.OpText, false, "a"), masked(ws.OpPing, true, ""), masked(ws.OpContinuation, true, "b")), uint8(1), false)
	f.Add(masked(ws.OpClose, true, "\x03\xe8"), uint8(200), false)
	f.Add(compressed(masked(ws.OpText, true, string(squeeze(f, []byte("bids and asks, best first"), 9)))), uint8(2), true)
	f.Add(compressed(masked(ws.OpBinary, true, string(squeeze(f, make([]byte, 1000), 9)))), uint8(9), true)
	f.Fuzz(func(t *testing.T, stream []byte, step uint8, deflate bool) {
		r := rules{max: 256, deflate: deflate}
		whole, _, wholeErr := hearBy(stream, r, len(stream))
		cut, p, cutErr := hearBy(stream, r, int(step)+1)
		if (wholeErr == nil) != (cutErr == nil) || !slices.Equal(whole, cut) {
			t.Fatalf("at once: %v %v; in pieces: %v %v", whole, wholeErr, cut, cutErr)
		}
		if wholeErr == nil && !deflate && !slices.Equal(whole, plainly(bytes.Clone(stream))) {
			t.Fatalf("heard %v, said %v", whole, plainly(bytes.Clone(stream)))
		}
		for _, h := range whole {
			if len(h.payload) > r.max || h.op == ws.OpText && !utf8.ValidString(h.payload) {
				t.Fatalf("heard %v", h)
			}
		}
		kept := cap(p.msg) + cap(p.control)
		if p.inflate != nil {
			kept += cap(p.inflate.in)
		}
		if kept > 8*r.max+deflateSlack {
			t.Fatalf("%d bytes kept", kept)
		}
	})
}
