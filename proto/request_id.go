package proto

import (
	"bytes"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// requestIDBytes is how far into a message RequestID looks.
const requestIDBytes = 1024

// RequestID returns the id of a request that is not worth decoding, 0 unless it
// stands among the first bytes, in protobuf at the very beginning, as clients have it.
// It checks nothing else of msg.
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
	depth := 0
	for i := 0; i < len(msg); i++ {
		switch msg[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			text := untilQuote(msg[i+1:])
			i += len(text) + 1
			if depth != 1 || string(text) != "id" {
				continue
			}
			if value, named := bytes.CutPrefix(bytes.TrimLeft(msg[min(i+1, len(msg)):], space), []byte{':'}); named {
				return number(bytes.TrimLeft(value, space))
			}
		}
	}
	return 0
}

const space = " \t\r\n"

// untilQuote returns what of b comes before the quote that ends a text; all of b where
// there is none.
func untilQuote(b []byte) []byte {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[:i]
		}
	}
	return b
}

// number returns the one that b begins with, 0 where it is none, or there may be more
// of it.
func number(b []byte) uint32 {
	end := countDigits(b)
	if end == len(b) {
		return 0
	}
	id, err := strconv.ParseUint(string(b[:end]), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(id)
}
