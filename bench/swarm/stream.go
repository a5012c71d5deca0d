package swarm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gobwas/ws"
)

// Ways for a connection to be of no more use because of what came over it.
var (
	errFrame   = errors.New("swarm: not a frame of a server")
	errMessage = errors.New("swarm: not a message of the protocol")
)

const (
	// maxMessageBytes is more than any message of a server has.
	maxMessageBytes = 64 << 20

	// wholeBytes is the largest message that a light connection keeps whole until
	// all of it is there; of greater ones it looks at the first headBytes.
	wholeBytes = 32 << 10
	headBytes  = 512
)

// receiver takes the messages of a stream. payload is valid during the call; it is
// a part of a message of size bytes, or all of it.
type receiver interface {
	message(op ws.OpCode, payload []byte, size int) error
}

// stream parts what comes from a server into messages. What is complete is handed
// on where it lies; only what is not is copied.
type stream struct {
	whole     bool      // hand on every message whole, whatever its size
	held      []byte    // an incomplete frame, from its header on
	skip      int       // bytes of the frame under way that nobody wants
	fragments []byte    // of the message under way (RFC 6455 section 5.4)
	op        ws.OpCode // of the message under way; 0: none
}

// header is a frame's (RFC 6455 section 5.2); size 0 says that it is incomplete.
type header struct {
	op     ws.OpCode
	fin    bool
	size   int // of the header
	length int // of the payload
}

func readHeader(b []byte) (header, error) {
	if len(b) < 2 {
		return header{}, nil
	}
	h := header{op: ws.OpCode(b[0] & 0x0f), fin: b[0]&0x80 != 0, length: int(b[1]), size: 2}
	switch {
	case b[0]&0x70 != 0:
		return h, fmt.Errorf("%w: reserved bits in %#x", errFrame, b[0])
	case b[1]&0x80 != 0:
		return h, fmt.Errorf("%w: masked", errFrame)
	case h.length == 126 && len(b) >= 4:
		h.length, h.size = int(binary.BigEndian.Uint16(b[2:])), 4
	case h.length == 127 && len(b) >= 10:
		h.length, h.size = int(binary.BigEndian.Uint64(b[2:])), 10
	case h.length >= 126:
		return header{}, nil
	}
	if h.length < 0 || h.length > maxMessageBytes {
		return h, fmt.Errorf("%w: %d bytes", errFrame, uint(h.length))
	}
	if h.op.IsControl() && (!h.fin || h.length > ws.MaxControlFramePayloadSize) {
		return h, fmt.Errorf("%w: control frame of %d bytes, fin %v", errFrame, h.length, h.fin)
	}
	return h, nil
}

// walk takes the next bytes of the stream.
func (s *stream) walk(b []byte, to receiver) error {
	for len(b) > 0 {
		if s.skip > 0 {
			n := min(s.skip, len(b))
			s.skip, b = s.skip-n, b[n:]
			continue
		}
		if len(s.held) > 0 {
			rest, err := s.complete(b, to)
			if err != nil {
				return err
			}
			b = rest
			continue
		}
		n, err := s.frame(b, to)
		if err != nil {
			return err
		}
		if n == 0 {
			s.held = append(s.held, b...)
			return nil
		}
		b = b[n:]
	}
	return nil
}

// complete moves from b to the frame that is held what it lacks, hands it on if
// that was all, and returns the rest of b.
func (s *stream) complete(b []byte, to receiver) ([]byte, error) {
	h, err := readHeader(s.held)
	if err != nil {
		return nil, err
	}
	lacks := 1 // byte by byte, while even the header is incomplete
	if h.size > 0 {
		lacks = h.size + s.wanted(h) - len(s.held)
	}
	n := min(lacks, len(b))
	s.held = append(s.held, b[:n]...)
	b = b[n:]
	if _, err := s.frameOf(s.held, to); err != nil {
		return nil, err
	}
	return b, nil
}

// frameOf is frame for what is held.
func (s *stream) frameOf(held []byte, to receiver) (int, error) {
	n, err := s.frame(held, to)
	if n > 0 || err != nil {
		if s.held = held[:0]; cap(held) > wholeBytes {
			s.held = nil
		}
	}
	return n, err
}

// wanted is how many bytes of a frame's payload are handed on together.
func (s *stream) wanted(h header) int {
	if s.whole || h.length <= wholeBytes || !h.fin || h.op == ws.OpContinuation {
		return h.length
	}
	return headBytes
}

// frame hands on the frame at the start of b and returns how many bytes it took;
// 0: it is incomplete.
func (s *stream) frame(b []byte, to receiver) (int, error) {
	h, err := readHeader(b)
	if err != nil || h.size == 0 {
		return 0, err
	}
	wanted := s.wanted(h)
	if len(b) < h.size+wanted {
		return 0, nil
	}
	took := min(len(b), h.size+h.length)
	s.skip = h.size + h.length - took
	return took, s.deliver(h, b[h.size:h.size+wanted], to)
}

// deliver joins fragments; most messages have none.
func (s *stream) deliver(h header, payload []byte, to receiver) error {
	switch {
	case h.op.IsControl(), h.fin && h.op != ws.OpContinuation && s.op == 0:
		return to.message(h.op, payload, h.length)
	case (h.op == ws.OpContinuation) != (s.op != 0):
		return fmt.Errorf("%w: a fragment out of place", errFrame)
	case len(s.fragments)+len(payload) > maxMessageBytes:
		return fmt.Errorf("%w: fragments of more than %d bytes", errFrame, maxMessageBytes)
	}
	if s.op == 0 {
		s.op = h.op
	}
	s.fragments = append(s.fragments, payload...)
	if !h.fin {
		return nil
	}
	op, message := s.op, s.fragments
	s.op, s.fragments = 0, nil
	return to.message(op, message, len(message))
}
