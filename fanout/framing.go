package fanout

import (
	"bytes"
	"sync/atomic"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
)

// framing is how frames are written for one kind of connection: the codec of the
// messages, and what a message is put into. All connections of a framing share
// their frames.
type framing uint8

const (
	framingProto       framing = iota // protobuf in binary WebSocket frames
	framingJSON                       // JSON in text WebSocket frames
	framingEvents                     // JSON as Server-Sent Events
	framingKraken                     // Kraken's version 2
	framingBinance                    // Binance, raw streams
	framingStreams                    // Binance, combined streams: each with its name
	framingFastStreams                // the same, of those whose names end with @100ms
	framingSlowStreams                // and with @1000ms
	framings                          // how many there are
)

// usualFramings are those from 0 on whose frames have a place in every entry. Those
// of the others get one where they are first needed.
const usualFramings = 2

// framingOf returns that of WebSocket connections with a codec.
func framingOf(c proto.Codec) framing {
	if c == proto.CodecProto {
		return framingProto
	}
	return framingJSON
}

// codec returns that of w's messages.
func (w framing) codec() proto.Codec {
	if w == framingProto {
		return proto.CodecProto
	}
	return proto.CodecJSON
}

// opCode returns that of w's messages; 0: they are not in WebSocket frames.
func (w framing) opCode() ws.OpCode {
	switch w {
	case framingProto:
		return ws.OpBinary
	case framingEvents:
		return 0
	}
	return ws.OpText
}

// wrap makes a frame of the message that was appended to begin's buffer. The
// result is valid until the next begin.
func (x *encoder) wrap(w framing, b []byte) []byte {
	if w == framingEvents {
		return x.event(b)
	}
	return x.finish(w.opCode(), b)
}

// size returns the length of the first frame in b, which the server made.
func (w framing) size(b []byte) int {
	if w == framingEvents {
		return bytes.Index(b, eventEnd) + len(eventEnd)
	}
	return frameSize(b)
}

// A message in JSON is one line: it has no line break outside of strings, and those
// within are escaped.
var (
	eventBegin = []byte("data: ")
	eventEnd   = []byte("\n\n")
)

// event makes an event (HTML, section 9.2.5) of a message, as finish makes a
// WebSocket frame.
func (x *encoder) event(b []byte) []byte {
	x.keep(b)
	begin := headerRoom - len(eventBegin)
	copy(b[begin:], eventBegin)
	return append(b, eventEnd...)[begin:]
}

// frames holds what was encoded of one thing, by framing. Whoever needs a frame
// first makes it and stores it by compare-and-swap; all share it.
type frames struct {
	usual  [usualFramings]atomic.Pointer[frame]
	others atomic.Pointer[otherFrames]
}

type otherFrames [framings - usualFramings]atomic.Pointer[frame]

// slot returns where the frame of w is.
func (f *frames) slot(w framing) *atomic.Pointer[frame] {
	if w < usualFramings {
		return &f.usual[w]
	}
	return f.other(w)
}

func (f *frames) other(w framing) *atomic.Pointer[frame] {
	o := f.others.Load()
	if o == nil {
		o = &otherFrames{}
		if !f.others.CompareAndSwap(nil, o) {
			o = f.others.Load()
		}
	}
	return &o[w-usualFramings]
}
