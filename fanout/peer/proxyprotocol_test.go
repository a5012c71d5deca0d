package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"testing"
)

// headerFor is a header of the PROXY protocol by the letters of its specification.
func headerFor(command, family byte, rest []byte) []byte {
	h := append([]byte(signature), command, family)
	h = binary.BigEndian.AppendUint16(h, uint16(len(rest)))
	return append(h, rest...)
}

func tcp4(from string, more ...byte) []byte {
	a := netip.MustParseAddrPort(from)
	rest := append(a.Addr().AsSlice(), 127, 0, 0, 1)
	rest = binary.BigEndian.AppendUint16(rest, a.Port())
	return headerFor(0x21, 0x11, append(append(rest, 0, 80), more...))
}

func tcp6(from string) []byte {
	a := netip.MustParseAddrPort(from)
	rest := append(a.Addr().AsSlice(), make([]byte, 16)...)
	rest = binary.BigEndian.AppendUint16(rest, a.Port())
	return headerFor(0x21, 0x21, append(rest, 0, 80))
}

func TestHeaderOfTheProxyProtocolIsReadToItsEndAndNoFurther(t *testing.T) {
	for name, c := range map[string]struct {
		header []byte
		client string // empty: the proxy itself
		bad    bool
	}{
		"IPv4":                 {header: tcp4("198.51.100.1:4711"), client: "198.51.100.1:4711"},
		"IPv6":                 {header: tcp6("[2001:db8::7]:4711"), client: "[2001:db8::7]:4711"},
		"with what else it is": {header: tcp4("198.51.100.1:1", 0x04, 0, 1, 0), client: "198.51.100.1:1"},
		"a look":               {header: headerFor(0x20, 0x00, nil)},
		"unknown family":       {header: headerFor(0x21, 0x00, []byte("abc"))},
		"a socket of a file":   {header: headerFor(0x21, 0x31, make([]byte, 216))},
		"version 1":            {header: []byte("PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\n"), bad: true},
		"HTTP":                 {header: []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), bad: true},
		"another version":      {header: headerFor(0x31, 0x11, make([]byte, 12)), bad: true},
		"another command":      {header: headerFor(0x22, 0x11, make([]byte, 12)), bad: true},
		"another family":       {header: headerFor(0x21, 0x41, make([]byte, 12)), bad: true},
		"UDP":                  {header: headerFor(0x21, 0x12, make([]byte, 12)), bad: true},
		"too short for IPv4":   {header: headerFor(0x21, 0x11, make([]byte, 11)), bad: true},
		"too long":             {header: headerFor(0x21, 0x11, make([]byte, maxRestBytes+1)), bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			from := bytes.NewReader(append(bytes.Clone(c.header), "hello"...))
			client, err := ReadHeader(from)
			if c.bad {
				if !errors.Is(err, ErrHeader) {
					t.Errorf("%v, %v", client, err)
				}
				return
			}
			want := netip.AddrPort{}
			if c.client != "" {
				want = netip.MustParseAddrPort(c.client)
			}
			if err != nil || client != want {
				t.Errorf("%v, %v; want %v", client, err, want)
			}
			if rest, _ := io.ReadAll(from); string(rest) != "hello" {
				t.Errorf("%q is left", rest)
			}
		})
	}
}

// Whatever comes, what is taken for a header is one, is read to its end and no
// further, and speaks for whom it names.
func FuzzProxyHeader(f *testing.F) {
	f.Add(tcp4("198.51.100.1:4711", 3, 0, 4, 1, 2, 3, 4))
	f.Add(tcp6("[2001:db8::7]:4711"))
	f.Add(tcp6("[::ffff:198.51.100.1]:4711"))
	f.Add(headerFor(0x20, 0, nil))
	f.Add(headerFor(0x20, 0x11, make([]byte, 12)))
	f.Add(headerFor(0x21, 0x31, make([]byte, 216)))
	f.Add(headerFor(0x21, 0x11, make([]byte, 11)))
	f.Add(headerFor(0x21, 0x21, make([]byte, 35)))
	f.Add([]byte("PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		from := bytes.NewReader(b)
		client, err := ReadHeader(from)
		whole := len(b) >= 16 && string(b[:12]) == "\r\n\r\n\x00\r\nQUIT\n" && len(b)-16 >= int(binary.BigEndian.Uint16(b[14:]))
		if !whole && err == nil {
			t.Fatalf("% x is taken for a header", b)
		}
		if !whole {
			return
		}
		rest := b[16:][:binary.BigEndian.Uint16(b[14:])]
		want, bad := netip.AddrPort{}, len(rest) > maxRestBytes
		switch {
		case b[12] == 0x20: // the proxy's own
		case b[12] != 0x21:
			bad = true
		case b[13] == 0x11 && len(rest) >= 12:
			want = netip.AddrPortFrom(netip.AddrFrom4([4]byte(rest)), binary.BigEndian.Uint16(rest[8:]))
		case b[13] == 0x21 && len(rest) >= 36:
			want = netip.AddrPortFrom(netip.AddrFrom16([16]byte(rest)).Unmap(), binary.BigEndian.Uint16(rest[32:]))
		case b[13]>>4 != 0 && b[13]>>4 != 3:
			bad = true
		}
		if bad != (err != nil) || !bad && client != want {
			t.Fatalf("% x is %v, %v; want %v, refused %v", b, client, err, want, bad)
		}
		if took := len(b) - from.Len(); !bad && took != 16+len(rest) {
			t.Fatalf("took %d bytes of a header of %d", took, 16+len(rest))
		}
	})
}
