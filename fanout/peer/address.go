package peer

import (
	"net/netip"
	"slices"
)

// keyOf returns by what a is told from others: the zero Prefix for what is no
// address.
func keyOf(a netip.Addr) netip.Prefix {
	a = plain(a)
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for the zero Addr only
	return p
}

// plain returns a without what makes one address look like several: a zone, or the
// IPv6 form of an IPv4 address.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// AddrOf returns the address in what net and net/http call one; the zero Addr if
// there is none.
func AddrOf(text string) netip.Addr {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return plain(ap.Addr())
	}
	a, _ := netip.ParseAddr(text) // the zero Addr is that of those who have none
	return plain(a)
}

// Nets are ranges of addresses.
type Nets []netip.Prefix

// Has reports whether a is in one of them.
func (n Nets) Has(a netip.Addr) bool {
	a = plain(a)
	return slices.ContainsFunc(n, func(p netip.Prefix) bool { return p.Contains(a) })
}
