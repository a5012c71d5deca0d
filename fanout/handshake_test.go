package fanout

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
)

// door is an HTTP server in front of a rig's hub.
type door struct {
	rig     *rig
	address string
	roots   *x509.CertPool // nil: plain
}

// lines are what was logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// open serves the rig on loopback, with TLS if secured.
func (r *rig) open(secured bool) *door {
	r.t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/v1/stream", &StreamHandler{Hub: r.hub, Origins: []string{"https://friend.example"}, Log: slog.New(slog.DiscardHandler)})
	mux.Handle("/v1/", HTTPHandler(r.hub))
	guard := &Guard{Hub: r.hub, Cookie: "pass", Origins: []string{"https://friend.example"}, Next: mux, Log: slog.New(slog.DiscardHandler)}
	if !secured {
		return r.serve(guard)
	}
	cert := selfSigned(r.t)
	d := r.serveOn(guard, func(l net.Listener) net.Listener {
		return TLSListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}})
	})
	d.roots = x509.NewCertPool()
	d.roots.AddCert(cert.Leaf)
	return d
}

// serve has a handler answer on loopback.
func (r *rig) serve(h http.Handler) *door {
	r.t.Helper()
	return r.serveOn(h, func(l net.Listener) net.Listener { return l })
}

func (r *rig) serveOn(h http.Handler, wrap func(net.Listener) net.Listener) *door {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(wrap(l)) }()
	r.t.Cleanup(func() { _ = server.Close(); <-served })
	return &door{rig: r, address: l.Addr().String()}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// connect opens a connection to the door, through TLS if it has it.
func (d *door) connect() net.Conn {
	d.rig.t.Helper()
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		d.rig.t.Fatal(err)
	}
	d.rig.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.(*net.TCPConn).SetReadBuffer(32 << 10) // as in tcpPair
	if d.roots == nil {
		return conn
	}
	s := tls.Client(conn, &tls.Config{RootCAs: d.roots, ServerName: "127.0.0.1"})
	if err := s.Handshake(); err != nil {
		d.rig.t.Fatal(err)
	}
	return s
}

// dial upgrades a connection. What lies between the WebSocket and the client of
// the tests (TLS, bytes read ahead) is bridged by two goroutines.
func (d *door) dial(codec proto.Codec) *client {
	d.rig.t.Helper()
	return d.dialWith(codec, "", nil)
}

// dialOffering is dial with an offer of extensions.
func (d *door) dialOffering(codec proto.Codec, extensions string) *client {
	d.rig.t.Helper()
	return d.dialWith(codec, extensions, nil)
}

// dialAs is dial with a token.
func (d *door) dialAs(codec proto.Codec, token string) *client {
	d.rig.t.Helper()
	return d.dialWith(codec, "", http.Header{"Authorization": {"Bearer " + token}})
}

func (d *door) dialWith(codec proto.Codec, extensions string, header http.Header) *client {
	d.rig.t.Helper()
	conn := d.connect()
	dialer := ws.Dialer{Protocols: []string{codec.Subprotocol()}, Timeout: patience, Header: ws.HandshakeHeaderHTTP(header)}
	if extensions != "" {
		dialer.Extensions, _ = httphead.ParseOptions([]byte(extensions), nil)
	}
	ahead, hs, err := dialer.Upgrade(conn, d.url())
	if err != nil {
		d.rig.t.Fatal(err)
	}
	if hs.Protocol != codec.Subprotocol() {
		d.rig.t.Fatalf("the server chose %q", hs.Protocol)
	}
	near, far := tcpPair(d.rig.t)
	_ = far.SetWriteBuffer(32 << 10) // likewise
	var from io.Reader = conn
	if ahead != nil {
		from = io.MultiReader(ahead, conn)
	}
	go func() { _, _ = io.Copy(far, from); _ = far.Close() }()
	go func() { _, _ = io.Copy(conn, far); _ = conn.Close() }()
	c := &client{t: d.rig.t, conn: near, codec: codec, forms: make(map[uint32]proto.Exponents)}
	if len(hs.Extensions) > 0 {
		c.window = wholeWindow
	}
	c.greeted()
	return c
}

// request sends raw HTTP and returns the status and body of the answer.
func (d *door) request(text string) (int, http.Header, string) {
	d.rig.t.Helper()
	conn := d.connect()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		d.rig.t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		d.rig.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.rig.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// upgradeRequest is a good handshake, with lines replaced ("Name: value") or taken
// out ("Name:").
func upgradeRequest(version string, changes ...string) string {
	lines := []string{"Host: 127.0.0.1:1", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	for _, change := range changes {
		name, value, _ := strings.Cut(change, ":")
		kept := lines[:0]
		for _, l := range lines {
			if !strings.HasPrefix(l, name+":") {
				kept = append(kept, l)
			}
		}
		lines = kept
		if strings.TrimSpace(value) != "" {
			lines = append(lines, change)
		}
	}
	return fmt.Sprintf("GET /v1/stream %s\n%s\n\n", version, strings.Join(lines, "\n"))
}

func TestHandshakeThatCannotBeIsRefusedWithASentence(t *testing.T) {
	r := newRig(t, nil, btc)
	d := r.open(false)
	refused := map[string]struct {
		request string
		status  int
		says    string
	}{
		"a proxy that speaks HTTP/1.0": {upgradeRequest("HTTP/1.0"), http.StatusUpgradeRequired, "HTTP/1.1"},
		"no upgrade":                   {upgradeRequest("HTTP/1.1", "Upgrade:"), http.StatusUpgradeRequired, "WebSocket endpoint"},
		"no connection header":         {upgradeRequest("HTTP/1.1", "Connection: keep-alive"), http.StatusUpgradeRequired, "proxy"},
		"old version":                  {upgradeRequest("HTTP/1.1", "Sec-WebSocket-Version: 8"), http.StatusUpgradeRequired, "version 13"},
		"no key":                       {upgradeRequest("HTTP/1.1", "Sec-WebSocket-Key:"), http.StatusBadRequest, "Sec-WebSocket-Key"},
		"key that is no base64":        {upgradeRequest("HTTP/1.1", "Sec-WebSocket-Key: ??????????????????????=="), http.StatusBadRequest, "Sec-WebSocket-Key"},
		"unknown subprotocol":          {upgradeRequest("HTTP/1.1", "Sec-WebSocket-Protocol: mqtt"), http.StatusBadRequest, "depthcast.v1.json"},
		"foreign origin":               {upgradeRequest("HTTP/1.1", "Origin: https://evil.example"), http.StatusForbidden, "origin"},
		"POST":                         {strings.Replace(upgradeRequest("HTTP/1.1"), "GET", "POST", 1), http.StatusMethodNotAllowed, "GET"},
		"a body":                       {upgradeRequest("HTTP/1.1", "Content-Length: 5") + "hello", http.StatusBadRequest, "body"},
		"a body in chunks":             {upgradeRequest("HTTP/1.1", "Transfer-Encoding: chunked") + "0\n\n", http.StatusBadRequest, "body"},
		"two keys":                     {upgradeRequest("HTTP/1.1", "X: y\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), http.StatusBadRequest, "once"},
		"two versions":                 {upgradeRequest("HTTP/1.1", "X: y\nSec-WebSocket-Version: 8"), http.StatusBadRequest, "once"},
		"two origins":                  {upgradeRequest("HTTP/1.1", "Origin: http://127.0.0.1:1", "X: y\nOrigin: https://friend.example"), http.StatusForbidden, "origin"},
	}
	for name, c := range refused {
		t.Run(name, func(t *testing.T) {
			status, _, body := d.request(c.request)
			if status != c.status || !strings.Contains(body, c.says) {
				t.Fatalf("%d %q; want %d and %q", status, body, c.status, c.says)
			}
		})
	}
	if n := r.hub.Stats().HandshakesRefused; n != uint64(len(refused)) {
		t.Errorf("%d handshakes counted as refused, want %d", n, len(refused))
	}
	if r.hub.Stats().Conns != 0 {
		t.Error("a refused handshake became a connection")
	}
}

func TestSubprotocolIsTheFirstOfTheClientsThatIsKnown(t *testing.T) {
	r := newRig(t, nil, btc)
	d := r.open(false)
	for _, c := range []struct {
		offer, chosen string
		op            ws.OpCode // of hello
	}{
		{"", "", ws.OpText},
		{"Sec-WebSocket-Protocol: depthcast.v1.proto", "depthcast.v1.proto", ws.OpBinary},
		{"Sec-WebSocket-Protocol: mqtt, depthcast.v1.json,depthcast.v1.proto", "depthcast.v1.json", ws.OpText},
		{"Sec-WebSocket-Protocol: mqtt\nSec-WebSocket-Protocol: depthcast.v1.proto, depthcast.v1.json", "depthcast.v1.proto", ws.OpBinary},
	} {
		conn := d.connect()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, strings.ReplaceAll(upgradeRequest("HTTP/1.1", c.offer), "\n", "\r\n"))
		from := bufio.NewReader(conn)
		resp, err := http.ReadResponse(from, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%q: %v %v", c.offer, resp, err)
		}
		if chosen := resp.Header.Values("Sec-WebSocket-Protocol"); strings.Join(chosen, "+") != c.chosen {
			t.Errorf("of %q %q was chosen", c.offer, chosen)
		}
		if h, err := ws.ReadHeader(from); err != nil || h.OpCode != c.op {
			t.Errorf("%q: hello came as %v %v", c.offer, h, err)
		}
	}
}

func TestOriginsOfOurOwnAndAllowedOnesMayConnect(t *testing.T) {
	r := newRig(t, nil, btc)
	d := r.open(false)
	for _, origin := range []string{"", "Origin: http://127.0.0.1:1", "Origin: https://friend.example"} {
		request := upgradeRequest("HTTP/1.1")
		if origin != "" {
			request = upgradeRequest("HTTP/1.1", origin)
		}
		conn := d.connect()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n"))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("origin %q: %v %v", origin, resp, err)
		}
	}
}

func TestOriginIsOursBySchemeHostAndPort(t *testing.T) {
	listed := []string{"https://friend.example", "*"}
	for _, c := range []struct {
		origin, host string
		tls, ours    bool
	}{
		{"", "a.example", true, true},
		{"https://a.example", "a.example", true, true},
		{"https://A.EXAMPLE", "a.example", true, true},
		{"https://a.example:8443", "a.example:8443", true, true},
		{"https://[::1]:8443", "[::1]:8443", true, true},
		{"http://a.example", "a.example", false, true},
		{"https://a.example", "a.example", false, true}, // a proxy before us speaks TLS
		{"https://friend.example", "a.example", true, true},
		{"http://a.example", "a.example", true, false},
		{"http://friend.example", "a.example", true, false},
		{"https://friend.example:8443", "a.example", true, false},
		{"https://friend.example.", "a.example", true, false},
		{"https://a.example.", "a.example", true, false},
		{"https://a.example:8443", "a.example", true, false},
		{"https://a.example", "a.example:8443", true, false},
		{"https://a.example.evil.example", "a.example", true, false},
		{"https://evil.example#@a.example", "a.example", true, false},
		{"https://evil.example?a.example", "a.example", true, false},
		{"https://a.example@evil.example", "a.example", true, false},
		{"https://a.example:8443:", "a.example:8443", true, false},
		{"https://[::1]:8443", "[::1]", true, false},
		{"https://::1:8443", "[::1]:8443", true, false},
		{"https://a.example, https://evil.example", "a.example", true, false},
		{"null", "a.example", true, false},
		{"null", "null", true, false},
		{"file://", "", true, false},
		{"https://", "", true, false},
		{"a.example", "a.example", true, false},
		{"//a.example", "a.example", true, false},
		{"*", "a.example", true, false},
	} {
		r := &http.Request{Host: c.host, Header: http.Header{}}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := originAllowed(r, listed, false); got != c.ours {
			t.Errorf("origin %q at %q, TLS %v: allowed %v", c.origin, c.host, c.tls, got)
		}
	}
}

func TestFullHubRefusesHandshakes(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxConns = 1 }, btc)
	d := r.open(false)
	d.dial(proto.CodecJSON)
	status, header, _ := d.request(upgradeRequest("HTTP/1.1"))
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Fatalf("%d, Retry-After %q", status, header.Get("Retry-After"))
	}
}

// Whoever is upgraded is served; the others are told before, in HTTP.
func TestStormOnAFullHubUpgradesNobodyWhomItCannotServe(t *testing.T) {
	const places, storm = 5, 100
	r := newRig(t, func(c *Config) { c.MaxConns, c.Shards = places, 2 }, btc)
	d := r.open(false)
	var clients sync.WaitGroup
	var served, refused atomic.Int32
	for range storm {
		conn := d.connect()
		_ = conn.SetDeadline(time.Now().Add(patience))
		clients.Go(func() {
			_, _ = io.WriteString(conn, strings.ReplaceAll(upgradeRequest("HTTP/1.1"), "\n", "\r\n"))
			from := bufio.NewReader(conn)
			resp, err := http.ReadResponse(from, nil)
			switch {
			case err != nil:
				t.Error(err)
			case resp.StatusCode == http.StatusServiceUnavailable:
				refused.Add(1)
				if after, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || after < 1 {
					t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
				}
			default:
				served.Add(1)
				if hello, err := readPayload(from); err != nil || !bytes.Contains(hello, []byte(`"type":"hello"`)) {
					t.Errorf("upgraded, and then: %v", err)
				}
			}
		})
	}
	clients.Wait()
	if served.Load() != places || refused.Load() != storm-places {
		t.Errorf("%d served, %d refused; %d places for %d", served.Load(), refused.Load(), places, storm)
	}
	if n := r.hub.Stats().Conns; n != places {
		t.Errorf("%d connections are counted", n)
	}
}

// takeover lets something happen just before a connection is taken over.
type takeover struct {
	http.ResponseWriter
	before func()
}

func (w takeover) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.before()
	return nil, nil, errors.New("not this time")
}

// The last place is taken before the upgrade, not after it, when two may hold it.
func TestPlaceOfAHandshakeUnderWayIsTaken(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxConns = 1 }, btc)
	handler := &StreamHandler{Hub: r.hub, Log: slog.New(slog.DiscardHandler)}
	request := func() *http.Request {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(upgradeRequest("HTTP/1.1"), "\n", "\r\n"))))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	second := httptest.NewRecorder()
	handler.ServeHTTP(takeover{httptest.NewRecorder(), func() { handler.ServeHTTP(second, request()) }}, request())
	if second.Code != http.StatusServiceUnavailable {
		t.Errorf("the second is answered %d", second.Code)
	}
	third := httptest.NewRecorder()
	handler.ServeHTTP(takeover{third, func() {}}, request())
	if refused := r.hub.Stats().HandshakesRefused; third.Code == http.StatusServiceUnavailable || refused != 1 {
		t.Errorf("the first failed, and its place is not free: %d refused", refused)
	}
}

func TestStoppingServerRefusesHandshakes(t *testing.T) {
	r := newRig(t, nil, btc)
	d := r.open(false)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.hub.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	status, header, _ := d.request(upgradeRequest("HTTP/1.1"))
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q", status, header.Get("Retry-After"))
	}
}

func TestClientsThroughTheDoorFollowTheBook(t *testing.T) {
	for _, secured := range []bool{false, true} {
		for codec := range proto.NumCodecs {
			t.Run(fmt.Sprintf("tls=%v/%s", secured, codec), func(t *testing.T) {
				r := newRig(t, nil, btc)
				random := seeded(3)
				for range 200 {
					r.book(btc).publish(random, 50) // a snapshot of many TLS records
				}
				c := r.open(secured).dial(codec)
				m := newModel(t, c.subscribe(book))
				for range 500 {
					r.book(btc).publish(random, 5)
				}
				seq, hash := r.book(btc).where()
				m.follow(c, seq)
				if m.hash() != hash {
					t.Error("another book")
				}
			})
		}
	}
}

func TestRequestThatCameWithTheHandshakeIsAnswered(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secured), func(t *testing.T) {
			r := newRig(t, nil, btc)
			conn := r.open(secured).connect()
			_ = conn.SetDeadline(time.Now().Add(patience))
			request := strings.ReplaceAll(upgradeRequest("HTTP/1.1"), "\n", "\r\n") +
				string(masked(ws.OpText, true, `{"type":"ping","id":77}`))
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			from := bufio.NewReader(conn)
			if _, err := http.ReadResponse(from, nil); err != nil {
				t.Fatal(err)
			}
			for {
				payload, err := readPayload(from)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(payload), `"type":"pong"`) && strings.Contains(string(payload), `"id":77`) {
					return
				}
			}
		})
	}
}

func (d *door) url() *url.URL {
	u := url.URL{Scheme: "ws", Host: d.address, Path: "/v1/stream"}
	return &u
}

func TestShutdownSaysGoodbyeThroughTLS(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.open(true).dial(proto.CodecProto)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.hub.Shutdown(ctx) }()
	code, _ := c.closed()
	if code != ws.StatusGoingAway {
		t.Errorf("closed with %d", code)
	}
	_ = c.conn.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
