package main

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gobwas/ws"
)

// Kinds of frames, by the first byte of their payload: the tag of Frame.body's
// field in stream.proto, length-delimited.
const (
	kindError    = 3<<3 | 2
	kindSnapshot = 4<<3 | 2
	kindDelta    = 5<<3 | 2
)

// maxFrameBytes is more than any frame of a server has.
const maxFrameBytes = 64 << 20

// Ways for a stream to be of no more use.
var (
	errRefused = errors.New("bench: the server answered with an error frame")
	errClosing = errors.New("bench: the server closed the connection")
	errFrame   = errors.New("bench: not a frame of this server")
)

// link is the light client's end of one connection: it walks over the frames and
// counts them, keeping none.
type link struct {
	// Static.
	swarm *swarm
	fd    int
	send  func([]byte) error // puts a frame on the connection, without waiting

	// Owned by the goroutine that reads.
	snapshots, deltas uint32
	rest              int      // bytes of the frame under way that are still to come
	head              [15]byte // an incomplete header, with the first byte of the payload
	filled            int
	ping              bool // the frame under way is a ping: its rest is its payload
	payload           []byte
}

// walk takes the next bytes of the stream.
func (l *link) walk(b []byte) error {
	for {
		if l.rest > 0 {
			n := min(l.rest, len(b))
			if l.ping {
				l.payload = append(l.payload, b[:n]...)
			}
			l.rest -= n
			b = b[n:]
			if l.rest > 0 {
				return nil
			}
			if l.ping {
				l.swarm.pong(l, l.payload)
				l.ping, l.payload = false, l.payload[:0]
			}
		}
		if len(b) == 0 {
			return nil
		}
		if l.filled == 0 && len(b) >= len(l.head) {
			n, err := l.begin(b[:len(l.head)])
			if err != nil {
				return err
			}
			b = b[n:]
			continue
		}
		// A header that came in pieces: byte by byte, as this is rare.
		l.head[l.filled] = b[0]
		l.filled++
		b = b[1:]
		n, err := l.begin(l.head[:l.filled])
		if err != nil {
			return err
		}
		if n > 0 {
			l.filled = 0
		}
	}
}

// begin looks at a frame's header and first byte (RFC 6455 section 5.2). It returns
// how many bytes it took, 0 if they are too few.
func (l *link) begin(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, nil
	}
	size, n := int(b[1]), 2
	switch {
	case b[1]&0x80 != 0:
		return 0, fmt.Errorf("%w: masked", errFrame)
	case size == 126 && len(b) >= 4:
		size, n = int(binary.BigEndian.Uint16(b[2:])), 4
	case size == 127 && len(b) >= 10:
		size, n = int(binary.BigEndian.Uint64(b[2:])), 10
	case size >= 126:
		return 0, nil
	}
	if size < 0 || size > maxFrameBytes {
		return 0, fmt.Errorf("%w: %d bytes", errFrame, uint(size))
	}
	switch ws.OpCode(b[0] & 0x0f) {
	case ws.OpClose:
		return 0, errClosing
	case ws.OpPing:
		if size == 0 {
			l.swarm.pong(l, nil)
		}
		l.ping, l.rest = size > 0, size
		return n, nil
	case ws.OpBinary:
		if size == 0 {
			return 0, fmt.Errorf("%w: empty", errFrame)
		}
		if len(b) == n {
			return 0, nil
		}
		l.rest = size - 1
		return n + 1, l.count(b[n])
	}
	return 0, fmt.Errorf("%w: starts with %#x", errFrame, b[0])
}

func (l *link) count(kind byte) error {
	switch kind {
	case kindError:
		return errRefused
	case kindSnapshot:
		l.snapshots++
		if l.snapshots == 1 {
			l.swarm.joined()
		}
	case kindDelta:
		l.deltas++
		return l.swarm.counted(l)
	}
	return nil
}
