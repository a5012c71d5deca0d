package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

func TestFlagsOfAddressesThatMeanNothingAreRefused(t *testing.T) {
	for arguments, want := range map[string]string{
		"--trusted-proxy=10.0.0.1,2001:db8::/32":  "",
		"--exempt-address=":                       "",
		"--trusted-proxy=10.0.0.0/33":             "neither an address nor a range",
		"--trusted-proxy=proxy.example":           "neither an address nor a range",
		"--trusted-proxy=::ffff:10.0.0.1":         "write an IPv4 address as such",
		"--trusted-proxy=0.0.0.0/0":               "who trusts every address",
		"--proxy-protocol":                        "needs --trusted-proxy",
		"--client-address-header=x-real-ip":       "must be one of",
		"--proxy-protocol --trusted-proxy=10/8":   "neither an address nor a range",
		"--proxy-protocol --trusted-proxy=fd00::": "",

		"--allow-origin=https://a.example,http://localhost:3000,*": "",
		"--allow-origin=https://[2001:db8::1]:8443":                "",
		"--allow-origin=https://a.example/":                        "nothing behind",
		"--allow-origin=https://A.example":                         "lower case",
		"--allow-origin=HTTPS://a.example":                         "lower case",
		"--allow-origin=https://a.example:443":                     "unless it is the scheme's",
		"--allow-origin=https://b@a.example":                       "no origin",
		"--allow-origin=https://a.example/page":                    "no origin",
		"--allow-origin=a.example":                                 "no origin",
		"--allow-origin=a.example:443":                             "no origin",
		"--allow-origin=null":                                      "no origin",
		"--allow-origin=https://*.a.example":                       "no origin",
	} {
		var f struct {
			serverFlags `embed:""`
		}
		parser, err := kong.New(&f, kong.Writers(&bytes.Buffer{}, &bytes.Buffer{}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = parser.Parse(strings.Fields(arguments)); err == nil {
			err = f.validate()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", arguments, err, want)
		}
	}
}

// say connects to the server, says something, and returns what is answered until the
// connection ends.
func (r *running) say(text string) string {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.doors.listen.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		r.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) { // it was not read to its end
		r.t.Fatalf("after %q: %v", answer, err)
	}
	return string(answer)
}

func TestSlowHandshakeIsEndedInTime(t *testing.T) {
	cert, key, _ := selfSigned(t)
	for _, secured := range []bool{false, true} {
		r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) {
			if f.HandshakeTimeout = 20 * time.Millisecond; secured {
				f.TLSCert, f.TLSKey = cert, key
			}
		})
		for _, text := range []string{"", "\x16\x03\x01", "GET / HTT", "GET / HTTP/1.1\r\nHost: x\r\nA: b"} {
			r.say(text)
		}
		r.until("all are counted", func() bool { return r.doors.lobby.unfinished.Load() == 4 })
		if n := len(r.doors.lobby.places); n != 0 {
			t.Errorf("%d places are taken", n)
		}
	}
}

func TestHeaderBeyondItsBoundIsRefused(t *testing.T) {
	r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) { f.MaxHeaderBytes = 1000 })
	long := strings.Repeat("x", 8000) // net/http allows for some 4 KiB more
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\nA: " + long + "\r\n\r\n", "GET /" + long + " HTTP/1.1\r\nHost: x\r\n\r\n"} {
		if answer := r.say(text); !strings.HasPrefix(answer, "HTTP/1.1 431 ") {
			t.Errorf("answered %.80q", answer)
		}
	}
}

func TestFloodOfBytesInHTTPEndsTheConnection(t *testing.T) {
	r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) { f.BytesIn, f.MaxMessage = 1000, 512 })
	const ask = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, text := range []string{strings.Repeat(ask, 1000), "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n" + strings.Repeat("x", 30_000)} {
		if answer := r.say(text); strings.Count(answer, "200 OK") > 500 {
			t.Errorf("%d answers", strings.Count(answer, "200 OK"))
		}
	}
	r.counted("depthcast_floods_in_http_total", "1") // the body was not read at all
	if answer := r.say(strings.Replace(ask, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
		t.Errorf("who does not flood is answered %q", answer)
	}
}

// Frames of HTTP/2 that ask for nothing are no requests, so only their bytes can bound
// them.
func TestFloodOfFramesOverHTTP2EndsTheConnection(t *testing.T) {
	cert, key, roots := selfSigned(t)
	r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) {
		f.BytesIn, f.MaxMessage, f.TLSCert, f.TLSKey = 1000, 512, cert, key
	})
	conn, err := tls.Dial("tcp", r.doors.listen.Addr().String(), &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+strings.Repeat(settings, 100_000))
		sent <- err
	}()
	n, err := io.Copy(io.Discard, conn)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("not ended after %d bytes of answers", n)
	}
	_ = conn.Close()
	<-sent
	r.counted("depthcast_floods_in_http_total", "1")
}

// What is answered to nonsense names neither what serves nor what went wrong inside.
func TestStrangersAreToldLittle(t *testing.T) {
	r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) { f.AuthKeys = keyFile(t, "") })
	for _, request := range []string{
		"NONSENSE\r\n\r\n",
		"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
		"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /v1/nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /v1/books/SIM:X?depth=9999999999999999999999 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /v1/sse?resume=%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"POST /v1/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nConnection: close\r\n\r\n",
		"GET /v1/stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: nonsense\r\nConnection: close\r\n\r\n",
		"GET /dialect/kraken/0/public/Nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /dialect/binance/api/v3/depth?symbol=%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /debug/pprof/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	} {
		answer := r.say(request)
		if !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 5") && !strings.HasPrefix(answer, "HTTP/1.1 3") {
			t.Errorf("%q is answered %q", request, answer)
		}
		for _, told := range []string{version, "goroutine", ".go:", "0x", "fanout:", "strconv", "runtime", "Server:", "/usr", "panic"} {
			if strings.Contains(answer, told) {
				t.Errorf("%q is answered with %q: %s", request, told, answer)
			}
		}
		if len(answer) > 1000 {
			t.Errorf("%q is answered with %d bytes", request, len(answer))
		}
	}
}

// A stream over HTTP/2 lasts as long as its client wants: meanwhile others have its
// place in plain HTTP.
func TestConnectionWhoseStreamIsRelayedHasNoPlaceInTheLobby(t *testing.T) {
	cert, key, roots := selfSigned(t)
	l := newLab(t, 1)
	example := &exampleRun{t: t, lab: l, producer: l.producer()}
	example.produce(exampleSteps()["beginning"])
	r := l.serve(func(_ *readFlags, f *serverFlags) { f.TLSCert, f.TLSKey, f.MaxHandshakes = cert, key, 1 })
	r.caughtUpTo(l)
	over := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	defer over.CloseIdleConnections()
	stream := func() *http.Response {
		answer, err := over.Get("https://" + r.doors.listen.Addr().String() + "/v1/sse?symbol=" + exampleSymbol)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := answer.Body.Read(make([]byte, 1)); err != nil || answer.ProtoMajor != 2 {
			t.Fatalf("%s: %v", answer.Proto, err)
		}
		return answer
	}
	first, second := stream(), stream() // on one connection
	for range 3 {
		if _, err := r.over(&tls.Config{RootCAs: roots}); err != nil {
			t.Fatalf("while streams are relayed: %v", err)
		}
	}
	_ = first.Body.Close()
	r.until("the end of the first", func() bool { return r.hub.Stats().Relays == 1 })
	r.until("the others have gone", func() bool { return len(r.doors.lobby.places) == 0 })
	_ = second.Body.Close()
	r.until("the place is taken again", func() bool { return len(r.doors.lobby.places) == 1 && r.hub.Stats().Relays == 0 })
	if _, err := r.over(&tls.Config{RootCAs: roots}); err != nil { // it is idle, and so is ended for others
		t.Error(err)
	}
	r.until("the last place is free", func() bool { return len(r.doors.lobby.places) == 0 })
}

func TestClientsOfAProxyWithItsProtocolAreServedByTheirAddress(t *testing.T) {
	l := newLab(t, 1)
	r := l.serve(func(_ *readFlags, f *serverFlags) {
		f.ProxyProtocol, f.TrustedProxy = true, []addressRange{addressRange(netip.MustParsePrefix("127.0.0.0/8"))}
		f.HTTPRequestsPerAddress = 1
	})
	ask := "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	header := func(last byte) string {
		return "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + string([]byte{198, 51, 100, last, 127, 0, 0, 1, 1, 1, 0, 80})
	}
	refused := false
	for range 100 {
		answer := r.say(header(1) + ask)
		if refused = strings.HasPrefix(answer, "HTTP/1.1 429 "); refused {
			break
		}
	}
	if !refused {
		t.Error("one address asks as often as it likes")
	}
	if answer := r.say(header(2) + ask); !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
		t.Errorf("another is answered %q", answer)
	}
	if answer := r.say(ask); strings.Contains(answer, "200 OK") || r.doors.porch.Refused() != 1 {
		t.Errorf("without a header: %q, %d counted", answer, r.doors.porch.Refused())
	}
}
