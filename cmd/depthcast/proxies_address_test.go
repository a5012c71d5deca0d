package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// asksFrom asks a proxy for the status from an address of this machine.
func (f *front) asksFrom(t *testing.T, from string) int {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if f.scheme == "wss" {
		config := f.tls.Clone()
		config.ServerName = "localhost"
		conn = tls.Client(conn, config)
	}
	// What the client itself says of its address does not count.
	if _, err := io.WriteString(conn, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.7\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

func TestProxiesSayWhoseConnectionItIs(t *testing.T) {
	eachProxy(t, func(t *testing.T, p proxy, scheme string) {
		for _, header := range []bool{false, true} {
			if header && p.program != "haproxy" {
				continue // speaks version 1 only
			}
			r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) {
				f.HTTPRequestsPerAddress, f.ProxyProtocol = 1, header
				f.TrustedProxy = []addressRange{addressRange(netip.MustParsePrefix("127.0.0.1/32"))}
				if f.ClientAddressHeader = "x-forwarded-for"; header {
					f.ClientAddressHeader = "none"
				}
			})
			var changes []string
			if header {
				changes = []string{"127.0.0.1:8080 check", r.doors.listen.Addr().String() + " send-proxy-v2"}
			}
			f := p.before(t, r, scheme, changes...)
			refused := false
			for range 100 {
				if refused = f.asksFrom(t, "127.0.0.5") == http.StatusTooManyRequests; refused {
					break
				}
			}
			if status := f.asksFrom(t, "127.0.0.6"); !refused || status != http.StatusOK {
				t.Errorf("PROXY protocol: %v: one address was refused: %v, another is answered %d", header, refused, status)
			}
		}
	})
}
