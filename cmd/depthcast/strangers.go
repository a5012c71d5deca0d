package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/fanout/peer"
)

// strangerFlags bound what may be had by who is known by an address alone.
type strangerFlags struct {
	MaxConnsPerAddress     int            `help:"Most connections of one address (IPv6: of one /64), WebSocket, event streams and polls together. 0: no bound." default:"1000"`
	MaxRelaysPerAddress    int            `help:"Most event streams over HTTP/2 and polls under way of one address. 0: no bound." default:"64"`
	HTTPRequestsPerAddress int            `help:"Most requests a second over HTTP of one address, handshakes and polls included; four seconds' at once. 0: no bound." name:"http-requests-per-address" default:"100"`
	ExemptAddress          []addressRange `help:"Addresses that are not bound so." default:"127.0.0.0/8,::1/128" placeholder:"CIDR"`

	HandshakeTimeout        time.Duration `help:"How long a client may take for its TLS handshake, and then for the header of a request; a proxy for its own." default:"5s"`
	MaxHeaderBytes          int           `help:"Most bytes of a request's header, its URL included." default:"16384"`
	MaxHandshakes           int           `help:"Most connections in plain HTTP or in their handshake; the next wait." default:"1024"`
	MaxHandshakesPerAddress int           `help:"Of these, and of those that wait, most of one address; one more is ended without an answer. 0: no bound." default:"128"`
	LogRate                 int           `help:"Most lines a second that are logged about clients, and as many warnings; ten seconds' at once. 0: all." default:"50"`

	MaxRequests   int `help:"Most requests a second of a connection; two seconds' at once. Ten items count as one, a pattern as fifty items. One more is refused (rate_limited)." default:"50"`
	MessagesIn    int `help:"Most messages a second of a connection, pings and refused requests included; eight seconds' at once. Who sends more is dropped (flooding). 0: no bound." default:"500"`
	BytesIn       int `help:"Most bytes a second of a connection, likewise; one that is in plain HTTP is ended." default:"262144"`
	SnapshotBytes int `help:"About how many bytes of snapshots a second a connection may ask for; eight seconds' at once. 0: no bound." default:"16777216"`

	SnapshotBytesPerUser int `help:"The same of all connections of one user together; of one address where no token says whose they are. 0: no bound." default:"67108864"`

	TrustedProxy        []addressRange `help:"Addresses of proxies whose word counts on whom they speak for." placeholder:"CIDR"`
	ClientAddressHeader string         `help:"In which header they say it; the client is the rightmost hop that is not trusted. none: in no header." enum:"x-forwarded-for,forwarded,none" default:"x-forwarded-for"`
	ProxyProtocol       bool           `help:"They begin each connection with a header of the PROXY protocol, version 2; one without is ended."`
}

// addressRange is an address, or all that begin alike.
type addressRange netip.Prefix

// UnmarshalText reads "192.0.2.1", "192.0.2.0/24", "2001:db8::/32".
func (r *addressRange) UnmarshalText(text []byte) error {
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		a, notEither := netip.ParseAddr(string(text))
		if notEither != nil {
			return fmt.Errorf("%q is neither an address nor a range such as 192.0.2.0/24", text)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() || p.Addr().Zone() != "" {
		return fmt.Errorf("%q: write an IPv4 address as such, and none with a zone", text)
	}
	*r = addressRange(p.Masked())
	return nil
}

// pageOrigin is an origin as browsers write it; * for all.
type pageOrigin string

// UnmarshalText reads "https://trade.example", "http://localhost:3000", "*". Others
// would match nothing, or, as "null", what anybody can make.
func (o *pageOrigin) UnmarshalText(text []byte) error {
	u, err := url.Parse(string(text))
	switch {
	case string(text) == "*":
	case err != nil, u.Scheme == "", u.Host == "", strings.Contains(u.Host, "*"), string(text) != u.Scheme+"://"+strings.ToLower(u.Host),
		u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
		return fmt.Errorf("%q is no origin as browsers write it: scheme and host in lower case, the port unless it is the scheme's, and nothing behind", text)
	}
	*o = pageOrigin(text)
	return nil
}

func nets(ranges []addressRange) peer.Nets {
	var n peer.Nets
	for _, r := range ranges {
		n = append(n, netip.Prefix(r))
	}
	return n
}

// proxies are those who say for whom they ask.
func (f *strangerFlags) proxies() peer.Proxies {
	p := peer.Proxies{Trusted: nets(f.TrustedProxy)}
	if !strings.EqualFold(f.ClientAddressHeader, "none") {
		p.Header = http.CanonicalHeaderKey(f.ClientAddressHeader)
	}
	return p
}

// validate refuses what contradicts itself.
func (f *strangerFlags) validate() error {
	switch {
	case f.ProxyProtocol && len(f.TrustedProxy) == 0:
		return errors.New("--proxy-protocol needs --trusted-proxy: of whom such a header is taken")
	case slices.ContainsFunc(f.TrustedProxy, func(r addressRange) bool { return netip.Prefix(r).Bits() == 0 }):
		return errors.New("--trusted-proxy: who trusts every address has clients say who they are")
	}
	return nil
}

// places is how many connections may be in plain HTTP or in their handshake.
func (f *strangerFlags) places() int { return cmp.Or(f.MaxHandshakes, httpPlaces) }

// within is how long a handshake may take, and the header of a request.
func (f *strangerFlags) within() time.Duration { return cmp.Or(f.HandshakeTimeout, headerWithin) }

// header is how many bytes the header of a request may have.
func (f *strangerFlags) header() int { return cmp.Or(f.MaxHeaderBytes, headerBytes) }

// porch bounds, by address, who is let into l.
func (f *strangerFlags) porch(l net.Listener, log *slog.Logger) *peer.Listener {
	return &peer.Listener{
		Listener: l, Log: log, Proxies: f.proxies(), Header: f.ProxyProtocol, Within: f.within(),
		Counts: peer.NewCounts(f.MaxHandshakesPerAddress, nets(f.ExemptAddress)), BytesPerSecond: f.BytesIn,
	}
}

// strict sets what a server takes of strangers.
func (f *strangerFlags) strict(s *http.Server) {
	s.ReadHeaderTimeout, s.MaxHeaderBytes = f.within(), f.header()
	s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streamsPerConnection}
}

// streamsPerConnection bounds the requests under way on one connection of HTTP/2.
const streamsPerConnection = 100

// bound sets what a hub needs to know of it.
func (f *strangerFlags) bound(c *fanout.Config) {
	c.MaxConnsPerAddress, c.MaxRelaysPerAddress = f.MaxConnsPerAddress, f.MaxRelaysPerAddress
	c.HTTPRequestsPerAddress = f.HTTPRequestsPerAddress
	c.ResumeTokenBytes = min(fanout.MaxResumeTokenBytes, max(1, f.header()/2))
	c.RequestsPerSecond, c.SnapshotBytesPerSecond, c.SnapshotBytesPerUser = f.MaxRequests, f.SnapshotBytes, f.SnapshotBytesPerUser
	c.MessagesInPerSecond, c.BytesInPerSecond = f.MessagesIn, f.BytesIn
	c.ExemptAddresses, c.Proxies = nets(f.ExemptAddress), f.proxies()
}
