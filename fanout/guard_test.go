package fanout

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// handshake sends an upgrade and returns the answer.
func (d *door) handshake(path string, changes ...string) *http.Response {
	d.rig.t.Helper()
	conn := d.connect()
	_ = conn.SetDeadline(time.Now().Add(patience))
	request := strings.Replace(upgradeRequest("HTTP/1.1", changes...), "/v1/stream", path, 1)
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		d.rig.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		d.rig.t.Fatal(err)
	}
	return resp
}

func TestTokenIsTakenFromWhereverAClientCanPutIt(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"good": {User: "a", Symbols: []string{"*"}}}, func(c *Config) { c.AuthTimeout = 0 })
	d := r.open(false)
	const upgraded, refused = http.StatusSwitchingProtocols, http.StatusUnauthorized
	for name, c := range map[string]struct {
		path    string
		headers []string
		status  int
	}{
		"nowhere":                       {"/v1/stream", nil, refused},
		"Authorization":                 {"/v1/stream", []string{"Authorization: Bearer good"}, upgraded},
		"Authorization, lower case":     {"/v1/stream", []string{"Authorization: bearer good"}, upgraded},
		"Authorization, another scheme": {"/v1/stream", []string{"Authorization: Basic good"}, refused},
		"a wrong one":                   {"/v1/stream", []string{"Authorization: Bearer bad"}, refused},
		"an empty one":                  {"/v1/stream", []string{"Authorization: Bearer "}, refused},
		"a huge one":                    {"/v1/stream", []string{"Authorization: Bearer " + strings.Repeat("x", proto.MaxTokenBytes+1)}, refused},
		"query":                         {"/v1/stream?token=good", nil, upgraded},
		"query, escaped":                {"/v1/stream?a=b&%74oken=g%6fod&c", nil, upgraded},
		"query, twice":                  {"/v1/stream?token=good&token=good", nil, refused},
		"query, under another name":     {"/v1/stream?Token=good", nil, refused},
		"subprotocol":                   {"/v1/stream", []string{"Sec-WebSocket-Protocol: depthcast.v1.json, depthcast.token.good"}, upgraded},
		"subprotocol, first":            {"/v1/stream", []string{"Sec-WebSocket-Protocol: depthcast.token.good,depthcast.v1.proto"}, upgraded},
		"subprotocol, twice":            {"/v1/stream", []string{"Sec-WebSocket-Protocol: depthcast.token.good, depthcast.token.good, depthcast.v1.json"}, refused},
		"subprotocol, without another":  {"/v1/stream", []string{"Sec-WebSocket-Protocol: depthcast.token.good"}, http.StatusBadRequest},
		"cookie":                        {"/v1/stream", []string{"Cookie: theme=dark; pass=good"}, upgraded},
		"cookie, twice":                 {"/v1/stream", []string{"Cookie: pass=good; pass=good"}, refused},
		"cookie, another":               {"/v1/stream", []string{"Cookie: token=good"}, refused},
		"what is said counts, not what is sent along": {"/v1/stream?token=bad", []string{"Cookie: pass=good"}, refused},
	} {
		t.Run(name, func(t *testing.T) {
			resp := d.handshake(c.path, c.headers...)
			if resp.StatusCode != c.status {
				t.Fatalf("answered %s", resp.Status)
			}
			if p := resp.Header.Get("Sec-Websocket-Protocol"); strings.Contains(p, "token") {
				t.Errorf("the server chose %q", p)
			}
			if c.status == refused {
				body, _ := io.ReadAll(resp.Body)
				if resp.Header.Get("WWW-Authenticate") == "" || string(body) != "a valid token is needed\n" {
					t.Errorf("%q: strangers are told more than that they are", body)
				}
			}
		})
	}
}

func TestCookieIsOfNoUseToForeignPages(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"good": {User: "a", Symbols: []string{"*"}}}, func(c *Config) { c.AuthTimeout = 0 })
	origins := []string{"https://friend.example", "*"} // everybody may connect who has a token
	log := slog.New(slog.DiscardHandler)
	d := r.serve(&Guard{Hub: r.hub, Cookie: "pass", Origins: origins, Log: log, Next: &StreamHandler{Hub: r.hub, Origins: origins, Log: log}})
	for origin, status := range map[string]int{
		"http://127.0.0.1:1":     http.StatusSwitchingProtocols,
		"https://friend.example": http.StatusSwitchingProtocols,
		"https://evil.example":   http.StatusUnauthorized,
		"null":                   http.StatusUnauthorized,
		"file://":                http.StatusUnauthorized,
	} {
		if resp := d.handshake("/v1/stream", "Cookie: pass=good", "Origin: "+origin); resp.StatusCode != status {
			t.Errorf("a page of %s is answered %s", origin, resp.Status)
		}
	}
}

func TestTokenBehindAnEscapedQuestionMarkIsNotLogged(t *testing.T) {
	logged := &lines{}
	r, _ := gated(t, nil, nil)
	d := r.serve(&Guard{Hub: r.hub, Log: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})), Next: HTTPHandler(r.hub)})
	d.handshake("/v1/books/" + btc + "%3Ftoken=SECRET")
	if text := logged.String(); strings.Contains(text, "SECRET") || !strings.Contains(text, btc) {
		t.Errorf("logged %s", text)
	}
}

func TestNoTokenReachesALogOrAnAnswer(t *testing.T) {
	logged := &lines{}
	log := slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, token := range []string{"SECRETgood", "SECRETbad"} {
		r, _ := gated(t, map[string]*Grant{"SECRETgood": {User: "a", Symbols: []string{"*"}}}, func(c *Config) {
			c.Log, c.Books = log, readable{newTestBooks(btc)}
		})
		guard := &Guard{Hub: r.hub, Cookie: "pass", Log: log}
		stream := &StreamHandler{Hub: r.hub, Log: log}
		guard.Next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			log.Info("what a handler may log", "uri", r.RequestURI, "url", r.URL, "header", r.Header) // as access logs do
			if strings.HasPrefix(r.URL.Path, "/v1/stream") {
				stream.ServeHTTP(w, r)
				return
			}
			HTTPHandler(stream.Hub).ServeHTTP(w, r)
		})
		d := r.serve(guard)
		for _, path := range []string{"/v1/stream", "/v1/symbols", "/v1/books/" + btc, "/v1/nothing"} {
			for _, c := range [][2]string{
				{"?token=" + token, ""}, {"?a=1&token=" + token + "&b=2", ""}, {"", "Authorization: Bearer " + token},
				{"", "Cookie: pass=" + token}, {"", "Sec-WebSocket-Protocol: depthcast.v1.json, depthcast.token." + token},
				{"?token=" + token, "Origin: https://evil.example"},
			} {
				resp := d.handshake(path+c[0], append([]string{}, c[1:]...)...)
				if resp.StatusCode != http.StatusSwitchingProtocols {
					body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
					logged.Write(body)
				}
				for k, v := range resp.Header {
					log.Info("answered", "header", k, "value", v)
				}
			}
		}
		c := r.dial(proto.CodecProto)
		c.auth(1, token)
		log.Info("answered", "frame", c.next())
	}
	text := logged.String()
	if strings.Contains(text, "SECRET") {
		t.Errorf("a token: %s", text)
	}
	if strings.Count(text, "what a handler may log") != 48 || !strings.Contains(text, "a=1&b=2") || !strings.Contains(text, "credential=query") {
		t.Errorf("not logged: %s", text)
	}
}

func TestStreamsAndPollsOverHTTPNeedATokenToo(t *testing.T) {
	r, gate := gated(t, map[string]*Grant{"one": {User: "a", Symbols: []string{btc}, MaxConns: 1}}, nil)
	d := r.open(false)
	ask := func(path, token string) (int, string) {
		status, header, body := d.request("GET " + path + " HTTP/1.1\nHost: a\nConnection: close\nAuthorization: Bearer " + token + "\n\n")
		if status == http.StatusTooManyRequests && header.Get("Retry-After") == "" {
			t.Error("not told when to come again")
		}
		return status, body
	}
	for _, path := range []string{"/v1/sse?symbol=" + btc, "/v1/poll?symbol=" + btc} {
		if status, body := ask(path, "bad"); status != http.StatusUnauthorized || strings.Contains(body, "SIM") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, body := ask("/v1/poll?wait_ms=0&symbol="+btc+"&symbol="+eth, "one"); status != http.StatusOK || !strings.Contains(body, `"code":"forbidden"`) || !strings.Contains(body, `"snapshot"`) {
		t.Errorf("%d %s", status, body)
	}
	r.until("its end", func() bool { return r.hub.users.count() == 0 })
	l := d.listen("token=one&symbol="+btc, nil)
	for _, path := range []string{"/v1/sse?symbol=" + btc, "/v1/poll?symbol=" + btc} {
		if status, body := ask(path, "one"); status != http.StatusTooManyRequests {
			t.Errorf("a second connection: %d %s", status, body)
		}
	}
	gate.set("one", nil)
	r.hub.Reconsider()
	for {
		event, err := l.event()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(event, `"type":"close","code":4007,"reason":"token_ended"`) {
			break
		}
	}
	r.advance(time.Second)
	r.until("its end", func() bool { return r.hub.users.count() == 0 })
}

// TestResumeTokenOfAnotherUserOpensNothing: neither as the cursor of a poll nor as the
// id of an event stream.
func TestResumeTokenOfAnotherUserOpensNothing(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"wide": {User: "a", Symbols: []string{"*"}}, "narrow": {User: "b", Symbols: []string{eth}}}, nil)
	r.book(btc).publish(seeded(1), 3)
	d := r.open(false)
	ask := func(path, token string) (int, string) {
		status, _, body := d.request("GET " + path + " HTTP/1.1\nHost: a\nConnection: close\nAuthorization: Bearer " + token + "\n\n")
		return status, body
	}
	var first struct{ Cursor string }
	if status, body := ask("/v1/poll?symbol="+btc, "wide"); status != http.StatusOK || json.Unmarshal([]byte(body), &first) != nil || first.Cursor == "" {
		t.Fatalf("%d %s", status, body)
	}
	r.book(btc).publish(seeded(2), 3)
	for path, token := range map[string]string{"/v1/poll?wait_ms=0&cursor=": "narrow", "/v1/sse?resume=": "narrow", "/v1/poll?cursor=": "", "/v1/sse?symbol=A&resume=": ""} {
		status, body := ask(path+first.Cursor, token)
		switch {
		case strings.Contains(body, `"delta"`) || strings.Contains(body, `"snapshot"`):
			t.Errorf("%s of %q is shown the book: %s", path, token, body)
		case token == "" && status != http.StatusUnauthorized, token != "" && !strings.Contains(body, `"code":"forbidden"`):
			t.Errorf("%s of %q: %d %s", path, token, status, body)
		}
	}
	if _, body := ask("/v1/poll?cursor="+first.Cursor, "wide"); !strings.Contains(body, `"delta"`) {
		t.Errorf("its own user is answered %s", body)
	}
}

// fromQuery must agree with what net/url makes of a query, or a token would be
// missed, and logged.
func FuzzQueryToken(f *testing.F) {
	for _, query := range []string{"", "token", "token=a", "a=b&token=c%20d&e", "%74oken=x", "token=%zz", "token=a&token=b", "a;token=b", "&&=&token"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		token, kept, found := fromQuery(query)
		all, _ := url.ParseQuery(query) // what it can read
		if rest, _ := url.ParseQuery(kept); rest.Has("token") {
			t.Errorf("%q keeps %q", query, kept)
		}
		if all.Has("token") && !found {
			t.Errorf("%q: not found", query)
		}
		if found && token != "" && all.Get("token") != token && !strings.Contains(query, ";") {
			t.Errorf("%q: %q, want %q", query, token, all.Get("token"))
		}
		if !found && kept != query {
			t.Errorf("%q became %q", query, kept)
		}
	})
}

// Whatever comes in headers and URL, nothing that is in the place of a token is left in
// what handlers see, and a page of others cannot use a cookie.
func FuzzCredentials(f *testing.F) {
	f.Add("Bearer good", "depthcast.v1.json, depthcast.token.good", "pass=good; a=b", "token=good", "https://evil.example")
	f.Add("", "", "", "", "")
	f.Add("bearer", "depthcast.token.", "pass", "token", "null")
	f.Add("", "", "pass=one; pass=\"good\"; pass", "a=token&tok%65n=good;x", "http://example.com.evil.example")
	f.Fuzz(func(t *testing.T, authorization, subprotocol, cookie, query, origin string) {
		r := httptest.NewRequest(http.MethodGet, "/v1/stream", nil)
		r.URL.RawQuery = query
		for name, value := range map[string]string{"Authorization": authorization, "Sec-Websocket-Protocol": subprotocol, "Cookie": cookie, "Origin": origin} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		before := r.Clone(t.Context())
		g := &Guard{Cookie: "pass", Origins: []string{"*"}}
		clean, c := g.strip(r, netip.Addr{})
		_, _, offered := fromSubprotocols(clean.Header["Sec-Websocket-Protocol"])
		if clean.Header.Get("Authorization") != "" || offered || clean.URL.Query().Has("token") {
			t.Errorf("a handler sees %v and %q", clean.Header, clean.URL.RawQuery)
		}
		if again, nothing := g.strip(clean, netip.Addr{}); nothing.from != "" {
			t.Errorf("a handler finds a token by %s in %v, %s", nothing.from, again.Header, again.URL)
		}
		if u, err := url.Parse(origin); c.from == "cookie" && origin != "" && (err != nil || !strings.EqualFold(u.Host, r.Host)) {
			t.Errorf("a page of %q uses a cookie", origin)
		}
		if from := map[string]string{"header": authorization, "subprotocol": subprotocol, "query": query, "cookie": cookie}[c.from]; c.token != "" && c.from != "query" && !strings.Contains(from, c.token) {
			t.Errorf("%q came by %s: %q", c.token, c.from, from)
		}
		if !reflect.DeepEqual(r.Header, before.Header) || r.URL.RawQuery != query {
			t.Error("the request itself was changed")
		}
	})
}

// Nobody here takes a body, so none is waited for, and what may be one is not taken for
// the next request.
func TestRequestWhoseBodyDoesNotComeIsAnsweredAtOnce(t *testing.T) {
	d := newRig(t, nil, btc).open(false)
	for request, status := range map[string]int{
		"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n":              http.StatusOK,
		"POST /v1/status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff":  http.StatusMethodNotAllowed,
		"GET /v1/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nGET": http.StatusUpgradeRequired,
	} {
		conn := d.connect()
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		from := bufio.NewReader(conn)
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != status || !resp.Close {
			t.Errorf("%q is answered %s, to be closed %v, %v", request, resp.Status, resp.Close, err)
		}
		if rest, err := io.ReadAll(from); err != nil || len(rest) > 0 {
			t.Errorf("%q: then %q, %v", request, rest, err)
		}
	}
}
