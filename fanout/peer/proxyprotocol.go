package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// ErrHeader marks what is no header of the PROXY protocol, version 2.
var ErrHeader = errors.New("peer: no header of the PROXY protocol, version 2")

// What begins every header, and every one of version 1.
const (
	signature  = "\r\n\r\n\x00\r\nQUIT\n"
	versionOne = "PROXY "
)

// Layout of the header: signature, version and command, family, length of the rest.
const (
	fixedBytes = len(signature) + 4
	// maxRestBytes bounds the rest: addresses and what else a proxy tells (TLVs).
	maxRestBytes = 2048

	versionTwo = 0x20
	local      = 0x0 // the proxy speaks for itself: it looks whether we live
	relayed    = 0x1

	anyFamily = 0x0
	inet      = 0x1
	inet6     = 0x2
	stream    = 0x1
)

// ReadHeader reads a header of the PROXY protocol, version 2, and not a byte of what
// follows. It returns for whom the proxy speaks; the zero AddrPort: for itself, or
// for one that has no address. Errors wrap ErrHeader, or are those of from.
func ReadHeader(from io.Reader) (netip.AddrPort, error) {
	var none netip.AddrPort
	var room [maxRestBytes]byte
	fixed := room[:fixedBytes]
	// The shortest header of version 1 is shorter than one of ours.
	n, err := io.ReadAtLeast(from, fixed, len(versionOne))
	if err != nil {
		return none, err
	}
	if string(fixed[:len(versionOne)]) == versionOne {
		return none, fmt.Errorf("%w, but of version 1: have the proxy send version 2", ErrHeader)
	}
	if _, err := io.ReadFull(from, fixed[n:]); err != nil {
		return none, err
	}
	if string(fixed[:len(signature)]) != signature {
		return none, ErrHeader
	}
	command, family, size := fixed[len(signature)], fixed[len(signature)+1], int(binary.BigEndian.Uint16(fixed[fixedBytes-2:]))
	if command&0xf0 != versionTwo || command&0x0f > relayed {
		return none, fmt.Errorf("%w: version and command %#02x", ErrHeader, command)
	}
	if size > maxRestBytes {
		return none, fmt.Errorf("%w: %d bytes, at most %d", ErrHeader, size, maxRestBytes)
	}
	rest := room[:size]
	if _, err := io.ReadFull(from, rest); err != nil {
		return none, err
	}
	if command&0x0f == local {
		return none, nil
	}
	return source(family, rest)
}

// source returns the source address in the rest of a header.
func source(family byte, rest []byte) (netip.AddrPort, error) {
	bytes := 0 // of an address
	switch family >> 4 {
	case inet:
		bytes = 4
	case inet6:
		bytes = 16
	case anyFamily, 0x3: // unknown, or a socket of the proxy's machine
		return netip.AddrPort{}, nil
	default:
		return netip.AddrPort{}, fmt.Errorf("%w: family %#02x", ErrHeader, family)
	}
	if family&0x0f != stream || len(rest) < 2*bytes+4 {
		return netip.AddrPort{}, fmt.Errorf("%w: family %#02x with %d bytes", ErrHeader, family, len(rest))
	}
	a, _ := netip.AddrFromSlice(rest[:bytes]) // of 4 or 16 bytes
	return netip.AddrPortFrom(plain(a), binary.BigEndian.Uint16(rest[2*bytes:])), nil
}
