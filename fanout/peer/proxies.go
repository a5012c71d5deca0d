package peer

import (
	"net/http"
	"net/netip"
	"strings"
)

// Names of the headers in which proxies hand on who asked them.
const (
	XForwardedFor = "X-Forwarded-For"
	Forwarded     = "Forwarded" // RFC 7239
)

// maxHops bounds the trusted proxies that are looked through.
const maxHops = 16

// Proxies are those whose word counts on whom they speak for.
type Proxies struct {
	// Trusted are their addresses.
	Trusted Nets

	// Header is the one that they set: XForwardedFor or Forwarded; empty: none. The
	// other is not looked at, as a proxy that does not know it hands on what its
	// client says.
	Header string
}

// Client returns who asks by way of a connection from remote: remote itself, unless
// that is trusted, then the rightmost hop that is not. Where a trusted one names
// nobody, or none that can be read, it is that one.
func (p *Proxies) Client(remote netip.Addr, h http.Header) netip.Addr {
	if p.Header == "" || !p.Trusted.Has(remote) {
		return remote
	}
	client := remote
	values := h[http.CanonicalHeaderKey(p.Header)]
	for i := len(values) - 1; i >= 0; i-- {
		rest := values[i]
		for hops := 0; rest != ""; hops++ {
			if hops >= maxHops {
				return client
			}
			var hop string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, hop = rest[:comma], rest[comma+1:]
			} else {
				rest, hop = "", rest
			}
			a := p.read(strings.TrimSpace(hop))
			if !a.IsValid() {
				return client
			}
			if client = a; !p.Trusted.Has(a) {
				return client
			}
		}
	}
	return client
}

// read returns the address of one hop; the zero Addr if it cannot be read. An
// element of Forwarded with a comma or semicolon within quotes cannot: no address
// has one.
func (p *Proxies) read(hop string) netip.Addr {
	if p.Header != Forwarded {
		return AddrOf(hop)
	}
	for part := range strings.SplitSeq(hop, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "for") {
			continue
		}
		value = strings.TrimSpace(value)
		if inner, quoted := strings.CutPrefix(value, `"`); quoted {
			value = strings.TrimSuffix(inner, `"`)
		}
		if inner, bracketed := strings.CutPrefix(value, "["); bracketed && strings.HasSuffix(inner, "]") {
			value = strings.TrimSuffix(inner, "]")
		}
		return AddrOf(value)
	}
	return netip.Addr{}
}
