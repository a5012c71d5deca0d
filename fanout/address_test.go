package fanout

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/peer"
	"github.com/depthcast/depthcast/proto"
)

// behindProxy has this machine be a proxy that says for whom it asks.
func behindProxy(c *Config) {
	c.Proxies = peer.Proxies{Trusted: peer.Nets{netip.MustParsePrefix("127.0.0.0/8")}, Header: peer.XForwardedFor}
}

// dialFor is dial for a client of a proxy.
func (d *door) dialFor(client string) *client {
	d.rig.t.Helper()
	return d.dialWith(proto.CodecJSON, "", http.Header{peer.XForwardedFor: {client}})
}

// asks returns what a client of a proxy is answered.
func (d *door) asks(client, path string) (int, string) {
	d.rig.t.Helper()
	request := fmt.Sprintf("GET %s HTTP/1.1\nHost: a\nConnection: close\n%s: %s\n\n", path, peer.XForwardedFor, client)
	if path == "/v1/stream" {
		request = upgradeRequest("HTTP/1.1", peer.XForwardedFor+": "+client)
	}
	status, header, body := d.request(request)
	if status == http.StatusTooManyRequests && header.Get("Retry-After") == "" {
		d.rig.t.Error("not told when to come again")
	}
	return status, body
}

// listenFor begins an event stream over HTTP/2 for a client of a proxy. Other clients
// have streams on the same connection.
func (d *door) listenFor(over *http.Client, client string) *http.Response {
	d.rig.t.Helper()
	request, err := http.NewRequest(http.MethodGet, d.secureURL()+"/v1/sse?symbol="+btc, nil)
	if err != nil {
		d.rig.t.Fatal(err)
	}
	request.Header.Set(peer.XForwardedFor, client)
	answer, err := over.Do(request)
	if err != nil {
		d.rig.t.Fatal(err)
	}
	d.rig.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func TestAddressHasNoMoreConnectionsThanItMayOfAnyKind(t *testing.T) {
	r := newRig(t, func(c *Config) { behindProxy(c); c.MaxConnsPerAddress = 3 }, btc)
	d := r.open(true)
	over := d.client2()
	const one, two = "2001:db8::1", "2001:db8:0:0:ffff::2" // of one /64
	c := d.dialFor(one)
	if answer := d.listenFor(over, two); answer.StatusCode != http.StatusOK || answer.ProtoMajor != 2 {
		t.Fatalf("%s over %s", answer.Status, answer.Proto)
	}
	d.dialFor(two)
	for _, path := range []string{"/v1/stream", "/v1/sse?symbol=" + btc, "/v1/poll?symbol=" + btc} {
		if status, body := d.asks(one, path); status != http.StatusTooManyRequests || !strings.Contains(body, "one address") {
			t.Errorf("a fourth, by %s: %d %s", path, status, body)
		}
	}
	if answer := d.listenFor(over, one); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a fourth, over HTTP/2: %s", answer.Status)
	}
	if status, _ := d.asks(one, "/v1/status"); status != http.StatusOK {
		t.Errorf("a question that takes no place: %d", status)
	}
	d.dialFor("2001:db8:0:1::1")
	d.dialFor("198.51.100.1")
	if s := r.hub.Stats(); s.AddressConnsRefused != 4 || s.Addresses != 3 || s.Conns != 5 {
		t.Errorf("%d refused, %d addresses, %d connections", s.AddressConnsRefused, s.Addresses, s.Conns)
	}
	c.write(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))
	r.until("its end", func() bool { return r.hub.Stats().Conns == 4 })
	if status, _ := d.asks(two, "/v1/poll?wait_ms=0&symbol="+btc); status != http.StatusOK {
		t.Errorf("the place that is free again: %d", status)
	}
}

func TestRelaysOfAnAddressAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { behindProxy(c); c.MaxRelaysPerAddress = 2 }, btc)
	d := r.open(true)
	over := d.client2()
	first := d.listenFor(over, "198.51.100.1")
	if second := d.listenFor(over, "198.51.100.1"); first.StatusCode != http.StatusOK || second.StatusCode != http.StatusOK {
		t.Fatalf("%s, %s", first.Status, second.Status)
	}
	if third := d.listenFor(over, "198.51.100.1"); third.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a third: %s", third.Status)
	}
	if status, _ := d.asks("198.51.100.1", "/v1/poll?symbol="+btc); status != http.StatusTooManyRequests {
		t.Errorf("a poll: %d", status)
	}
	if other := d.listenFor(over, "198.51.100.2"); other.StatusCode != http.StatusOK {
		t.Errorf("another address: %s", other.Status)
	}
	d.dialFor("198.51.100.1") // is no relay
	if n := r.hub.Stats().AddressRelaysRefused; n != 2 {
		t.Errorf("%d refused", n)
	}
	_ = first.Body.Close()
	r.until("its end", func() bool { return r.hub.Stats().Relays == 2 })
	if status, _ := d.asks("198.51.100.1", "/v1/poll?wait_ms=0&symbol="+btc); status != http.StatusOK {
		t.Errorf("the relay that is free again: %d", status)
	}
}

func TestAddressAsksOverHTTPNoMoreOftenThanItMay(t *testing.T) {
	r := newRig(t, func(c *Config) { behindProxy(c); c.HTTPRequestsPerAddress = 1 }, btc)
	d := r.open(false)
	answered := map[int]int{}
	for range 20 {
		status, _ := d.asks("198.51.100.1", "/v1/status")
		answered[status]++
	}
	if answered[http.StatusOK] < httpBurst || answered[http.StatusTooManyRequests] == 0 {
		t.Errorf("answered %v", answered)
	}
	if status, _ := d.asks("198.51.100.2", "/v1/stream"); status != http.StatusSwitchingProtocols {
		t.Errorf("another address: %d", status)
	}
	if n := r.hub.Stats().AddressRequestsRefused; n != uint64(answered[http.StatusTooManyRequests]) {
		t.Errorf("%d refused of %v", n, answered)
	}
}

// A stranger who names an address is bounded by his own.
func TestStrangersWordOnItsAddressDoesNotCount(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.MaxConnsPerAddress = 1
		c.Proxies = peer.Proxies{Trusted: peer.Nets{netip.MustParsePrefix("198.51.100.0/24")}, Header: peer.XForwardedFor}
	}, btc)
	d := r.open(false)
	d.dialFor("203.0.113.1")
	if status, _ := d.asks("203.0.113.2", "/v1/stream"); status != http.StatusTooManyRequests {
		t.Errorf("a second that says to be another: %d", status)
	}
}

func TestHandshakeThatFailsGivesThePlaceOfItsAddressBack(t *testing.T) {
	r, _ := gated(t, nil, func(c *Config) { behindProxy(c); c.MaxConnsPerAddress, c.AuthTimeout = 1, 0 })
	d := r.open(false)
	for range 3 {
		if status, _ := d.asks("198.51.100.1", "/v1/stream"); status != http.StatusUnauthorized {
			t.Errorf("%d", status)
		}
	}
	conn := d.connect()
	_, _ = io.WriteString(conn, strings.ReplaceAll(upgradeRequest("HTTP/1.1", peer.XForwardedFor+": 198.51.100.1"), "\n", "\r\n"))
	_ = conn.Close() // who has gone by then
	r.until("nobody is counted", func() bool { s := r.hub.Stats(); return s.Addresses == 0 && s.HandshakesRefused == 4 })
}
