package proto

import (
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto/pb"
)

// Codec is a form of the client protocol. Its methods choose between AppendDelta
// and AppendJSONDelta and so on; what they append is one whole message, without
// WebSocket framing.
type Codec uint8

const (
	CodecProto Codec = iota // depthcast.v1.proto, binary messages
	CodecJSON               // depthcast.v1.json, text messages; also where none was asked for
	NumCodecs
)

// String returns the word of c for logs and metrics.
func (c Codec) String() string {
	if c == CodecJSON {
		return "json"
	}
	return "proto"
}

// Subprotocol returns the WebSocket subprotocol of c.
func (c Codec) Subprotocol() string { return "depthcast.v1." + c.String() }

// AppendDelta appends a delta frame.
func (c Codec) AppendDelta(dst []byte, form TopicForm, d *Delta) []byte {
	if c == CodecJSON {
		return AppendJSONDelta(dst, form, d)
	}
	return AppendDelta(dst, form, d)
}

// AppendSnapshot appends a snapshot frame; s.Exponents count, not form's.
func (c Codec) AppendSnapshot(dst []byte, form TopicForm, reason SnapshotReason, s *Snapshot) []byte {
	if c == CodecJSON {
		return AppendJSONSnapshot(dst, form, reason, s)
	}
	return AppendSnapshot(dst, form, reason, s)
}

// AppendTrades appends a trades frame.
func (c Codec) AppendTrades(dst []byte, form TopicForm, t *Trades) []byte {
	if c == CodecJSON {
		return AppendJSONTrades(dst, form, t)
	}
	return AppendTrades(dst, form, t)
}

// AppendStatus appends a status frame.
func (c Codec) AppendStatus(dst []byte, form TopicForm, s *Status) []byte {
	if c == CodecJSON {
		return AppendJSONStatus(dst, form, s)
	}
	return AppendStatus(dst, form, s)
}

// AppendKeepalive appends a keepalive frame.
func (c Codec) AppendKeepalive(dst []byte, form TopicForm, k *Keepalive) []byte {
	if c == CodecJSON {
		return AppendJSONKeepalive(dst, form, k)
	}
	return AppendKeepalive(dst, form, k)
}

// AppendFrame appends any frame: the one for hello, ack, error, drain and pong,
// which are rare enough for the generated code. x are the exponents of the
// frame's topic; frames that carry none of its prices need none. An error means
// that a string is not UTF-8, a word does not exist or nothing is set.
func (c Codec) AppendFrame(dst []byte, f *pb.Frame, x Exponents) ([]byte, error) {
	if c == CodecJSON {
		return AppendJSONFrame(dst, f, x)
	}
	return googleproto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, f)
}

// DecodeRequest decodes one message of a client. An error is always a
// *RequestError.
func (c Codec) DecodeRequest(msg []byte) (*pb.Request, error) {
	if c == CodecJSON {
		return DecodeJSONRequest(msg)
	}
	return DecodeRequest(msg)
}
