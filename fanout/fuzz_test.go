package fanout

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// fuzzedHub is a hub of one book for a fuzz target.
func fuzzedHub(f *testing.F) *Hub {
	f.Helper()
	h, err := New(Config{Books: readable{newTestBooks(btc)}, Shards: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.Shutdown(ctx) // it says that it was cut short
	})
	return h
}

// hijackable is a recorder whose connection can be taken over; what is written to that
// comes to taken, once it is closed.
type hijackable struct {
	*httptest.ResponseRecorder
	near  net.Conn // nil: it was not taken over
	taken chan []byte
}

func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	near, far := net.Pipe()
	h.near = near
	go func() {
		b, _ := io.ReadAll(far) // to its end, whatever that is
		h.taken <- b
	}()
	return near, bufio.NewReadWriter(bufio.NewReader(near), bufio.NewWriter(near)), nil
}

// Whatever comes as a handshake, it is upgraded by RFC 6455 section 4.2 or refused in
// plain HTTP, in few words.
func FuzzHandshake(f *testing.F) {
	key := "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	for _, seed := range []string{
		upgradeRequest("HTTP/1.1", key), upgradeRequest("HTTP/1.0"), upgradeRequest("HTTP/1.1", "Origin: https://evil.example"),
		upgradeRequest("HTTP/1.1", "Sec-WebSocket-Protocol: depthcast.v1.proto, depthcast.v1.json"), upgradeRequest("HTTP/1.1", "Sec-WebSocket-Protocol: nobody's"),
		upgradeRequest("HTTP/1.1", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits; server_max_window_bits=10"),
		upgradeRequest("HTTP/1.1", "Sec-WebSocket-Extensions: permessage-deflate; a=\"b\", x-other; q"),
		"GET /v1/stream HTTP/1.1\r\nHost: a\r\n\r\n", "POST /v1/stream HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	s := &StreamHandler{Hub: fuzzedHub(f), Origins: []string{"https://friend.example"}, Log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return // answered by net/http
		}
		r.RemoteAddr = "192.0.2.1:4711"
		w := &hijackable{ResponseRecorder: httptest.NewRecorder(), taken: make(chan []byte, 1)}
		s.ServeHTTP(w, r)
		if s.Hub.conns.Load() != 0 {
			t.Fatal("it has a place, and no connection")
		}
		if w.near == nil {
			if w.Code != http.StatusServiceUnavailable && (w.Code < 400 || w.Code >= 500) && w.Code != http.StatusHTTPVersionNotSupported || w.Body.Len() > 256 {
				t.Fatalf("refused with %d %s", w.Code, w.Body)
			}
			return
		}
		_ = w.near.Close() // a second time, perhaps
		answer := <-w.taken
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), r)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols && (resp.StatusCode < 400 || resp.StatusCode >= 500) {
			t.Fatalf("%v: upgraded with %q", err, answer)
		}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			return // refused in the words of the upgrader: net/http lets none through without a host, say
		}
		asked := r.Header.Get("Sec-Websocket-Key")
		nonce, err := base64.StdEncoding.DecodeString(asked)
		sum := sha1.Sum([]byte(asked + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		if err != nil || len(nonce) != 16 || resp.Header.Get("Sec-Websocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]) {
			t.Errorf("the key %q is accepted as %q", asked, resp.Header.Get("Sec-Websocket-Accept"))
		}
		if r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.Header.Get("Sec-Websocket-Version") != "13" {
			t.Errorf("%s of HTTP/%d.%d, version %s was upgraded", r.Method, r.ProtoMajor, r.ProtoMinor, r.Header.Get("Sec-Websocket-Version"))
		}
		if o := r.Header.Get("Origin"); o != "" && o != s.Origins[0] {
			if u, err := url.Parse(o); err != nil || !strings.EqualFold(u.Host, r.Host) {
				t.Errorf("a page of %q was upgraded, at %q", o, r.Host)
			}
		}
		offered := strings.Join(r.Header["Sec-Websocket-Protocol"], ",")
		if p := resp.Header["Sec-Websocket-Protocol"]; len(p) > 1 || len(p) == 1 && !slices.ContainsFunc(strings.Split(offered, ","), func(o string) bool { return strings.TrimSpace(o) == p[0] }) {
			t.Errorf("of %q it chose %q", offered, p)
		}
		if e := resp.Header.Get("Sec-Websocket-Extensions"); e != "" && !strings.Contains(strings.Join(r.Header["Sec-Websocket-Extensions"], ","), "permessage-deflate") {
			t.Errorf("it agreed to %q, which was not offered", e)
		}
	})
}

// Whatever the parameters of a URL say, they are answered or refused in a few words of
// JSON, and ask for no more topics than there may be.
func FuzzURLParameters(f *testing.F) {
	for _, query := range []string{
		"", "symbol=SIM:BTC-USD&channel=book&depth=10&interval_ms=100", "symbol=SIM:*&channel=trades&channel=ticker&last=5&policy=drop", "depth=5&group=0.5&counts=1",
		"depth=99999999999999999999", "depth=-1&counts=2", "group=1e9&depth=0", "symbol=" + strings.Repeat("x", 100) + "&max_hz=1&max_bytes_per_s=2", "%zz=1&a;b", "resume=AAAA&cursor=x&wait_ms=1",
	} {
		f.Add(query, "SIM:BTC-USD")
	}
	f.Add("depth=5", "..%2f\x00\u202e")
	handler := HTTPHandler(fuzzedHub(f))
	f.Fuzz(func(t *testing.T, query, symbol string) {
		for _, path := range []string{"/v1/books/" + url.PathEscape(symbol), "/v1/symbols", "/v1/status"} {
			r := httptest.NewRequest(http.MethodGet, "/v1/status", nil)
			r.URL = &url.URL{Path: path, RawQuery: query}
			if unescaped, err := url.PathUnescape(path); err == nil {
				r.URL.Path, r.URL.RawPath = unescaped, path
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			switch {
			case w.Code >= 500:
				t.Errorf("%s?%s is answered %d %s", path, query, w.Code, w.Body)
			case w.Code >= 400 && strings.Contains(w.Header().Get("Content-Type"), "json") && (w.Body.Len() > 1024 || !json.Valid(w.Body.Bytes())):
				t.Errorf("%s?%s is refused with %d bytes: %s", path, query, w.Body.Len(), w.Body)
			}
		}
		r := httptest.NewRequest(http.MethodGet, "/v1/sse", nil)
		r.URL.RawQuery = query
		ask, err := asked(r, r.URL.Query().Get("resume"))
		if err == nil && (len(ask.Items) == 0 || len(ask.Items) > MaxEventTopics) || err != nil && len(err.Error()) > 1024 {
			t.Errorf("%s asks for %d topics, %v", query, len(ask.GetItems()), err)
		}
	})
}
