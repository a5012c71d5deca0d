package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// errLZ4 says that data is no lz4 frame, or one that nobody sends to Kafka.
var errLZ4 = errors.New("lz4: no valid frame")

// Parts of an lz4 frame (github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md).
const (
	lz4Magic = 0x184D2204

	lz4Version        = 0xC0 // bits of FLG
	lz4Version1       = 0x40
	lz4Independent    = 0x20
	lz4BlockChecksums = 0x10
	lz4ContentSize    = 0x08
	lz4Checksum       = 0x04
	lz4Dictionary     = 0x01

	lz4Stored = 1 << 31  // of a block's size: it is not compressed
	lz4Window = 64 << 10 // how far blocks that depend on one another reach back
	lz4Most   = 255      // bytes that one byte of a block can stand for
)

// lz4Frame is what is left of a frame.
type lz4Frame struct {
	rest      []byte
	flags     byte
	blockSize int // of a block, decompressed, at most
}

// unlz4 appends what src, frames one after the other, stands for to b, but no more
// than limit bytes. A reader of streams would hold two blocks of 4 MiB, whatever is in
// them. The sums in a frame are not computed: that of the Kafka batch has been.
func unlz4(src []byte, limit int, b []byte) ([]byte, error) {
	for first := true; first || len(src) > 0; first = false {
		f, err := openLZ4(src)
		if err != nil {
			return nil, err
		}
		if b, err = f.blocks(limit, b); err != nil {
			return nil, err
		}
		src = f.rest
	}
	return b, nil
}

// openLZ4 reads the header of a frame.
func openLZ4(src []byte) (f lz4Frame, err error) {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return f, errLZ4
	}
	f.flags = src[4]
	size := int(src[5] >> 4 & 7)
	header := 7
	if f.flags&lz4ContentSize != 0 {
		header += 8
	}
	if f.flags&lz4Version != lz4Version1 || f.flags&lz4Dictionary != 0 || size < 4 || len(src) < header {
		return f, errLZ4
	}
	f.blockSize = 1 << (8 + 2*size)
	f.rest = src[header:]
	return f, nil
}

// blocks appends all blocks of f to b and leaves in f what follows the frame.
func (f *lz4Frame) blocks(limit int, b []byte) ([]byte, error) {
	for begin := len(b); ; {
		word, ok := f.word()
		if !ok {
			return nil, errLZ4
		}
		if word == 0 {
			break
		}
		n := int(word &^ lz4Stored)
		if n > len(f.rest) || n > f.blockSize {
			return nil, errLZ4
		}
		block := f.rest[:n]
		f.rest = f.rest[n:]
		var err error
		if b, err = f.block(block, word&lz4Stored != 0, begin, limit, b); err != nil {
			return nil, err
		}
		if f.flags&lz4BlockChecksums != 0 && !f.skip() {
			return nil, errLZ4
		}
	}
	if f.flags&lz4Checksum != 0 && !f.skip() {
		return nil, errLZ4
	}
	return b, nil
}

// block appends one block; what its frame had before stands in b from begin on.
func (f *lz4Frame) block(block []byte, stored bool, begin, limit int, b []byte) ([]byte, error) {
	if stored {
		if len(b)+len(block) > limit {
			return nil, fmt.Errorf("lz4: %w (%d)", errTooLarge, limit)
		}
		return append(b, block...), nil
	}
	most := min(f.blockSize, lz4Most*len(block), limit-len(b))
	for room := min(max(cap(b)-len(b), 4*len(block)), most); ; room = min(2*room, most) {
		b = slices.Grow(b, room)
		n, err := f.decode(block, b[len(b):len(b)+room], b[max(begin, len(b)-lz4Window):])
		switch {
		case err == nil:
			return b[:len(b)+n], nil
		case room < most:
		case most == limit-len(b):
			return nil, fmt.Errorf("lz4: %w (%d)", errTooLarge, limit)
		default:
			return nil, fmt.Errorf("lz4: %w", err)
		}
	}
}

// decode decompresses a block into room, after what is before it.
func (f *lz4Frame) decode(block, room, before []byte) (int, error) {
	if f.flags&lz4Independent != 0 {
		return lz4.UncompressBlock(block, room)
	}
	return lz4.UncompressBlockWithDict(block, room, before)
}

// word takes the next 4 bytes.
func (f *lz4Frame) word() (uint32, bool) {
	if len(f.rest) < 4 {
		return 0, false
	}
	w := binary.LittleEndian.Uint32(f.rest)
	f.rest = f.rest[4:]
	return w, true
}

func (f *lz4Frame) skip() bool {
	_, ok := f.word()
	return ok
}
