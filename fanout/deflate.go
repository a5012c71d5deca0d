package fanout

import (
	"fmt"
	"io"
	"net/http"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/klauspost/compress/flate"

	"github.com/depthcast/depthcast/proto"
)

// Deflate says which connections may agree on compression (RFC 7692).
type Deflate uint8

const (
	DeflateJSON Deflate = iota // those that speak JSON
	DeflateAll                 // all: of protobuf it saves next to nothing
	DeflateOff                 // none
	numDeflates
)

// deflates reports whether connections that speak codec may agree on compression.
func (c *Config) deflates(codec proto.Codec) bool {
	return c.Deflate == DeflateAll || c.Deflate == DeflateJSON && codec == proto.CodecJSON
}

// maxDeflateBytes bounds the frames that are compressed: a shard's other connections
// wait meanwhile, for 5 ms a MiB.
const maxDeflateBytes = 8 << 20

// wholeWindow is the window of DEFLATE, in bits.
const wholeWindow = 15

// agree answers the offers of compression in a handshake: with the parameters of the
// first that can be met, and the bits of the window that the client keeps for what it
// is sent. There is never context from one message to the next, in either direction,
// so that a frame is compressed once for all and nothing is kept for a connection. An
// offer that cannot be read is declined (RFC 7692 section 5.1); a header that cannot
// be, is an error.
func agree(header http.Header) (answer string, window uint8, err error) {
	for _, value := range header["Sec-Websocket-Extensions"] {
		offers, ok := httphead.ParseOptions([]byte(value), nil)
		if !ok {
			return "", 0, fmt.Errorf("cannot read Sec-WebSocket-Extensions")
		}
		for _, offer := range offers {
			var wish wsflate.Parameters
			if string(offer.Name) != wsflate.ExtensionName || wish.Parse(offer) != nil || window != 0 {
				continue
			}
			answer = wsflate.ExtensionName + "; server_no_context_takeover; client_no_context_takeover"
			window = wholeWindow
			if wish.ServerMaxWindowBits.Defined() {
				window = uint8(wish.ServerMaxWindowBits)
				answer = fmt.Sprintf("%s; server_max_window_bits=%d", answer, window)
			}
		}
	}
	return answer, window, nil
}

// deflater compresses frames. Owned by a shard's goroutine.
type deflater struct {
	level int
	least int             // bytes of a frame; what is less is left as it is
	w     *wsflate.Writer // nil until one is needed: it holds about a MiB
	out   []byte

	header headerBytes
	room   [ws.MaxHeaderSize]byte
}

// Write takes what w has compressed.
func (d *deflater) Write(b []byte) (int, error) {
	d.out = append(d.out, b...)
	return len(b), nil
}

// frames returns the compressed forms of the frames in b, which the server made. What
// does not become smaller, and control frames, stay as they are. The result is valid
// until the next call.
func (d *deflater) frames(b []byte) []byte {
	if cap(d.out) > maxIdleBytes {
		d.out = nil
	}
	d.out = d.out[:0]
	for len(b) > 0 {
		size := frameSize(b)
		d.frame(b[:size])
		b = b[size:]
	}
	return d.out
}

// frame appends the compressed form of one frame.
func (d *deflater) frame(b []byte) {
	op, begin := ws.OpCode(b[0]&0x0f), len(d.out)
	if op.IsControl() || len(b) < d.least || len(b) > maxDeflateBytes {
		d.out = append(d.out, b...)
		return
	}
	if d.w == nil {
		d.w = wsflate.NewWriter(d, func(w io.Writer) wsflate.Compressor {
			f, _ := flate.NewWriter(w, d.level) // fails only for a level that Config refuses
			return f
		})
	}
	d.out = append(d.out, d.room[:headerRoom]...)
	d.w.Reset(d)
	_, _ = d.w.Write(b[frameHeader(b):])
	err := d.w.Flush() // also if Write failed; a buffer takes everything
	n := len(d.out) - begin - headerRoom
	h := ws.Header{Fin: true, Rsv: ws.Rsv(true, false, false), OpCode: op, Length: int64(n)}
	size := ws.HeaderSize(h)
	if err != nil || n+size >= len(b) {
		d.out = append(d.out[:begin], b...)
		return
	}
	// Neither the writer nor a header with a legal length can fail.
	_ = ws.WriteHeaderBuffer(&d.header, h, d.room[:])
	copy(d.out[begin:], d.header.b[:size])
	copy(d.out[begin+size:], d.out[begin+headerRoom:])
	d.out = d.out[:begin+size+n]
}

// deflated returns the form of f for connections that have agreed on compression with
// a window of so many bits, made once for all. It may be f itself: where compressing
// it gains nothing, or might refer further back than the window reaches.
func (s *shard) deflated(f *frame, window uint8) *frame {
	d := f.deflated.Load()
	if d == nil {
		d = s.deflate(f)
		if !f.deflated.CompareAndSwap(nil, d) {
			d = f.deflated.Load()
		}
	}
	if !reaches(window, len(f.bytes)) {
		return f
	}
	return d
}

// reaches reports whether a compressed frame made of n bytes refers to nothing beyond
// a window of so many bits.
func reaches(window uint8, n int) bool { return window == wholeWindow || n <= 1<<window }

func (s *shard) deflate(f *frame) *frame {
	b := s.deflater.frames(f.bytes)
	s.stats.deflateIn.Add(uint64(len(f.bytes)))
	s.stats.deflateOut.Add(uint64(len(b)))
	s.stats.deflated.Add(1)
	if len(b) >= len(f.bytes) {
		return f
	}
	return newFrame(b)
}
