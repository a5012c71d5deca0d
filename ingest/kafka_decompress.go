package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/segmentio/kafka-go/compress"
)

// errTooLarge says that a batch has, or claims, more bytes than are allowed.
var errTooLarge = errors.New("larger than MaxBatchBytes")

// commonWindow is what every decoder of zstd should allow (RFC 8878 section
// 3.1.1.1.2), and what encoders ask for whatever they have to compress.
const commonWindow = 8 << 20

// decompress returns what src, compressed as kind says, stands for, unless that
// is more than limit bytes. It appends to the empty slice to where that has room.
func decompress(kind int, src []byte, limit int, to []byte) ([]byte, error) {
	if compress.Compression(kind) == compress.Lz4 {
		return unlz4(src, limit, to)
	}
	codec := compress.Compression(kind).Codec()
	if codec == nil {
		return nil, fmt.Errorf("unknown compression %d", kind)
	}
	// These two allocate what the data claims before they look at it.
	claims, most := int64(0), int64(limit)
	switch compress.Compression(kind) {
	case compress.Snappy:
		claims = snappyClaims(src)
	case compress.Zstd:
		claims, most = zstdClaims(src), max(most, commonWindow)
	}
	if claims > most {
		return nil, fmt.Errorf("%s: claims %d bytes: %w (%d)", codec.Name(), claims, errTooLarge, limit)
	}
	r := codec.NewReader(bytes.NewReader(src))
	defer r.Close()
	plain, err := readLimited(r, to, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", codec.Name(), err)
	}
	return plain, nil
}

// readLimited appends what r has to b, which moves to other memory where it must.
func readLimited(r io.Reader, b []byte, limit int) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(max(64<<10, 2*cap(b)), limit+1)), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > limit:
			return nil, fmt.Errorf("%w (%d)", errTooLarge, limit)
		case err == io.EOF:
			return b, nil
		case err != nil:
			return nil, err
		}
	}
}

// xerialMagic begins snappy data as Java's producers frame it: two version
// numbers of 4 bytes follow, then chunks after their lengths.
var xerialMagic = []byte{130, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

// snappyClaims is the most that a chunk of snappy data claims to hold or to be.
func snappyClaims(src []byte) (claims int64) {
	if !bytes.HasPrefix(src, xerialMagic) || len(src) < 16 {
		n, _ := binary.Uvarint(src)
		return int64(min(n, 1<<40))
	}
	for src = src[16:]; len(src) >= 4; {
		length := int64(binary.BigEndian.Uint32(src))
		src = src[4:]
		n, _ := binary.Uvarint(src)
		claims = max(claims, length, int64(min(n, 1<<40)))
		src = src[min(length, int64(len(src))):]
	}
	return claims
}

// zstdClaims is the window of the first frame, RFC 8878 section 3.1.1.1: memory
// that decoding takes. (The decoder takes 512 MiB at most for further frames.)
func zstdClaims(src []byte) int64 {
	if len(src) < 6 || binary.LittleEndian.Uint32(src) != 0xFD2FB528 {
		return 0 // left to the decoder
	}
	descriptor, rest := src[4], src[5:]
	if descriptor&(1<<5) == 0 { // not a single segment: a window descriptor follows
		log, eighths := 10+int64(rest[0]>>3), int64(rest[0]&7)
		return 1<<log + (1<<log)/8*eighths
	}
	rest = rest[min(len(rest), int([]byte{0, 1, 2, 4}[descriptor&3])):] // dictionary id
	var size [8]byte
	n := 1 << (descriptor >> 6)
	copy(size[:n], rest)
	claims := binary.LittleEndian.Uint64(size[:])
	if n == 2 {
		claims += 256
	}
	return int64(min(claims, 1<<40))
}

// lent is memory for answers and for what they decompress to, shared by all
// sources, so that one that waits holds none.
var lent sync.Pool // of *[]byte

// leastPlain is what a batch is decompressed into at first: an idle partition should
// not have a mebibyte for a few records. What grows is lent again as it is.
const leastPlain = 64 << 10

// keepBytes is the largest piece that is kept for the next who needs one.
const keepBytes = 16 << 20

// lend returns memory of n bytes, whose content is whatever it was.
func lend(n int) *[]byte {
	b, _ := lent.Get().(*[]byte)
	if b == nil {
		b = new([]byte)
	}
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

// giveBack takes *b back; it must not be used any more.
func giveBack(b **[]byte) {
	if *b != nil && cap(**b) <= keepBytes {
		lent.Put(*b)
	}
	*b = nil
}
