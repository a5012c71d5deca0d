package proto

import (
	"bytes"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// requestIDBytes is how far into a message RequestID looks.
const requestIDBytes = 64

// RequestID returns the id of a request that is not worth decoding, 0 unless it
// stands among the first bytes, as clients for the most part have it. It checks
// nothing else of msg.
func (c Codec) RequestID(msg []byte) uint32 {
	msg = msg[:min(len(msg), requestIDBytes)]
	if c == CodecJSON {
		return jsonRequestID(msg)
	}
	number, kind, n := protowire.ConsumeTag(msg)
	if n < 0 || number != 1 || kind != protowire.VarintType {
		return 0
	}
	id, n := protowire.ConsumeVarint(msg[n:])
	if n < 0 {
		return 0
	}
	return uint32(id)
}

func jsonRequestID(msg []byte) uint32 {
	before, after, found := bytes.Cut(msg, []byte(`"id":`))
	if !found || bytes.Count(before, []byte{'{'}) != 1 || bytes.IndexByte(before, '[') >= 0 {
		return 0 // of something within the request
	}
	after = bytes.TrimLeft(after, " \t\r\n")
	end := countDigits(after)
	if end == len(after) {
		return 0 // there may be more of it
	}
	id, err := strconv.ParseUint(string(after[:end]), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(id)
}
