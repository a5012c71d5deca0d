package peer

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"testing"
)

func nets(t *testing.T, all ...string) Nets {
	t.Helper()
	var n Nets
	for _, text := range all {
		n = append(n, netip.MustParsePrefix(text))
	}
	return n
}

func addr(text string) netip.Addr { return AddrOf(text) }

func TestClientIsTheRightmostHopThatIsNotTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		header, remote string
		values         []string
		client         string
	}{
		"a stranger's word does not count":         {XForwardedFor, "203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9"},
		"one proxy":                                {XForwardedFor, "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		"what the client made up is left of it":    {XForwardedFor, "10.0.0.1:1", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		"two proxies":                              {XForwardedFor, "10.0.0.1:1", []string{"1.1.1.1, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		"several lines are one list":               {XForwardedFor, "10.0.0.1:1", []string{"198.51.100.1", "10.0.0.2, 10.0.0.3"}, "198.51.100.1"},
		"all are trusted":                          {XForwardedFor, "10.0.0.1:1", []string{"10.0.0.9"}, "10.0.0.9"},
		"nothing is said":                          {XForwardedFor, "10.0.0.1:1", nil, "10.0.0.1"},
		"what cannot be read is no client":         {XForwardedFor, "10.0.0.1:1", []string{"198.51.100.1, unknown"}, "10.0.0.1"},
		"a hop that cannot be read hides the rest": {XForwardedFor, "10.0.0.1:1", []string{"198.51.100.1, x, 10.0.0.2"}, "10.0.0.2"},
		"with a port":                              {XForwardedFor, "10.0.0.1:1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		"IPv6":                                     {XForwardedFor, "[fd00::1]:1", []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv4 in IPv6":                             {XForwardedFor, "[::ffff:10.0.0.1]:1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		"no header is asked for":                   {"", "10.0.0.1:1", []string{"198.51.100.1"}, "10.0.0.1"},
		"RFC 7239":                                 {Forwarded, "10.0.0.1:1", []string{`for=1.1.1.1, for=198.51.100.1;proto=https;by=10.0.0.1`}, "198.51.100.1"},
		"RFC 7239, quoted":                         {Forwarded, "10.0.0.1:1", []string{`proto=https; For="[2001:db8::7]:4711"`}, "2001:db8::7"},
		"RFC 7239, quoted without port":            {Forwarded, "10.0.0.1:1", []string{`for="[2001:db8::7]"`}, "2001:db8::7"},
		"RFC 7239, obfuscated":                     {Forwarded, "10.0.0.1:1", []string{`for=198.51.100.1, for=_hidden`}, "10.0.0.1"},
		"RFC 7239, open quotes":                    {Forwarded, "10.0.0.1:1", []string{`for="1.1.1.1`, `for=198.51.100.1`}, "198.51.100.1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Proxies{Trusted: nets(t, "10.0.0.0/8", "fd00::/8"), Header: c.header}
			h := http.Header{}
			for _, name := range []string{XForwardedFor, Forwarded} {
				if name == c.header || c.header == "" {
					h[name] = c.values
				} else {
					h[name] = []string{"9.9.9.9", "for=9.9.9.9"} // of a client, handed on
				}
			}
			if client := p.Client(addr(c.remote), h); client != addr(c.client) {
				t.Errorf("%v, want %s", client, c.client)
			}
		})
	}
}

func TestListOfHopsIsLookedThroughOnlySoFar(t *testing.T) {
	p := Proxies{Trusted: nets(t, "10.0.0.0/8"), Header: XForwardedFor}
	long := "198.51.100.1"
	for range maxHops {
		long += ",10.0.0.2"
	}
	if client := p.Client(addr("10.0.0.1"), http.Header{XForwardedFor: {long}}); client != addr("10.0.0.2") {
		t.Errorf("looked through to %v", client)
	}
}

func TestAddressHasNoMoreThanItMayAndLeavesNothing(t *testing.T) {
	c := NewCounts(2, nets(t, "127.0.0.0/8"))
	var had []*Count
	for _, a := range []string{"198.51.100.1", "198.51.100.1", "198.51.100.2", "2001:db8::1", "2001:db8::ffff"} {
		n, ok := c.Enter(addr(a))
		if !ok {
			t.Fatalf("%s is refused", a)
		}
		had = append(had, n)
	}
	for _, a := range []string{"198.51.100.1", "::ffff:198.51.100.1", "2001:db8::2"} {
		if _, ok := c.Enter(addr(a)); ok {
			t.Errorf("%s has a third", a)
		}
	}
	if _, ok := c.Enter(addr("2001:db8:0:1::1")); !ok {
		t.Error("another /64 is refused")
	} else if n := c.Addresses(); n != 4 {
		t.Errorf("%d addresses are known", n)
	}
	for range 100 {
		if n, ok := c.Enter(addr("127.0.0.1")); !ok || n != nil {
			t.Fatal("one that is exempt is counted")
		}
	}
	c.Leave(had[0])
	if _, ok := c.Enter(addr("198.51.100.1")); !ok {
		t.Error("what was given back cannot be had")
	}
	for _, n := range had[1:] {
		c.Leave(n)
	}
	c.Leave(nil)
	if n := c.Addresses(); n != 2 || c.Refused() != 3 {
		t.Errorf("%d addresses are known, %d refused", n, c.Refused())
	}
	if n, ok := NewCounts(0, nil).Enter(addr("198.51.100.1")); !ok || n != nil {
		t.Error("without a bound somebody is counted")
	}
}

func TestAddressAsksNoMoreOftenThanItMay(t *testing.T) {
	r := NewRates(1, 3, nets(t, "127.0.0.0/8"))
	for range 3 {
		if !r.Allow(addr("2001:db8::1")) {
			t.Fatal("what was saved up is refused")
		}
	}
	if r.Allow(addr("2001:db8::2")) || r.Refused() != 1 {
		t.Error("another of the same /64 has more")
	}
	for range 100 {
		if !r.Allow(addr("127.0.0.1")) || !NewRates(0, 0, nil).Allow(addr("198.51.100.1")) {
			t.Fatal("one without a bound is refused")
		}
	}
}

func TestVeryManyAddressesTakeBoundedMemory(t *testing.T) {
	r := NewRates(1, 1, nil)
	var b [4]byte
	for i := range uint32(4 * maxRated) {
		binary.BigEndian.PutUint32(b[:], 0x64000000+i)
		if !r.Allow(netip.AddrFrom4(b)) {
			t.Fatal("a new one is refused")
		}
	}
	if n := len(r.of.newer) + len(r.of.older); n > 2*maxRated || n <= maxRated {
		t.Errorf("%d addresses are kept", n)
	}
	if r.Allow(netip.AddrFrom4(b)) {
		t.Error("the last to ask is forgotten")
	}
}
