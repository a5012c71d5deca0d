package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// browser is a real one, without a window, spoken to by the DevTools protocol.
type browser struct {
	t       *testing.T
	conn    net.Conn
	session string // of the only page
	last    int
}

// newBrowser starts one, or skips the test where there is none.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium on this machine")
	}
	// Its processes may outlive it by a moment, and write to what is being removed.
	profile, err := os.MkdirTemp("", "browser")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	command := exec.CommandContext(t.Context(), path, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--remote-debugging-port=0", "--user-data-dir="+profile, "about:blank")
	errors, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	lines := bufio.NewScanner(errors)
	for lines.Scan() {
		if address, found := strings.CutPrefix(lines.Text(), "DevTools listening on "); found {
			b := &browser{t: t}
			if b.conn, _, _, err = ws.Dial(t.Context(), address); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = b.conn.Close() })
			go func() { // nobody else reads what it complains of
				for lines.Scan() {
				}
			}()
			return b
		}
	}
	t.Fatal("the browser tells no address")
	return nil
}

// call sends a command and returns its result.
func (b *browser) call(method string, params map[string]any) json.RawMessage {
	b.t.Helper()
	b.last++
	text, err := json.Marshal(map[string]any{"id": b.last, "method": method, "params": params, "sessionId": b.session})
	if err == nil {
		_ = b.conn.SetDeadline(time.Now().Add(patience))
		err = wsutil.WriteClientText(b.conn, text)
	}
	for err == nil {
		if text, err = wsutil.ReadServerText(b.conn); err != nil {
			break
		}
		var answer struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err = json.Unmarshal(text, &answer); err == nil && answer.ID == b.last {
			if answer.Error != nil {
				b.t.Fatalf("%s: %s", method, answer.Error)
			}
			return answer.Result
		}
	}
	b.t.Fatalf("%s: %v", method, err)
	return nil
}

// open shows a page.
func (b *browser) open(page string) {
	b.t.Helper()
	var target struct {
		ID string `json:"targetId"`
	}
	_ = json.Unmarshal(b.call("Target.createTarget", map[string]any{"url": "about:blank"}), &target) // an empty id is refused below
	var session struct {
		ID string `json:"sessionId"`
	}
	_ = json.Unmarshal(b.call("Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}), &session)
	b.session = session.ID
	b.call("Page.navigate", map[string]any{"url": page})
}

// until waits until a condition holds in the page, and returns what it shows.
func (b *browser) until(condition string) map[string]any {
	b.t.Helper()
	const shown = `({state: text("state"), hash: text("hash"), link: text("link"), levels: document.querySelectorAll("#bids tr, #asks tr").length,
		late: text("late"), symbols: [...document.querySelectorAll("#symbol option")].map((o) => o.value).join(" "), why: text("why")})`
	look := fmt.Sprintf(`new Promise((done) => {
		const text = (id) => document.getElementById(id)?.textContent, until = Date.now() + %d;
		const look = () => { const page = %s; %s || Date.now() > until ? done(page) : setTimeout(look, 20); };
		look();
	})`, patience.Milliseconds()/2, shown, condition)
	var answer struct {
		Result struct {
			Value map[string]any `json:"value"`
		} `json:"result"`
	}
	text := b.call("Runtime.evaluate", map[string]any{"expression": look, "awaitPromise": true, "returnByValue": true})
	if err := json.Unmarshal(text, &answer); err != nil || answer.Result.Value == nil {
		b.t.Fatalf("%v %s", err, text)
	}
	return answer.Result.Value
}

// shows waits until the page shows a book of this hash, live, over a kind of link.
func (b *browser) shows(hash, link string) {
	b.t.Helper()
	page := b.until(fmt.Sprintf(`page.state === "live" && page.hash === %q && page.link === %q`, hash, link))
	if page["hash"] != hash || page["state"] != "live" || page["link"] != link || page["levels"].(float64) == 0 {
		b.t.Fatalf("the page shows %v, want the hash %s over %s", page, hash, link)
	}
}

// picture writes what the page looks like where DEPTHCAST_PICTURES says.
func (b *browser) picture(name string) {
	b.t.Helper()
	to := os.Getenv("DEPTHCAST_PICTURES")
	if to == "" {
		return
	}
	var shot struct {
		Data string `json:"data"`
	}
	_ = json.Unmarshal(b.call("Page.captureScreenshot", nil), &shot)
	raw, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(to+"/"+name+".png", raw, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}

func TestPageShowsALiveLadderAlsoWhereWebSocketsAreBlocked(t *testing.T) {
	for _, tt := range []struct {
		link string
		lets *between
	}{
		{"WebSocket", &between{events: true, sockets: true}},
		{"event stream", &between{events: true}},
		{"polling", &between{}},
	} {
		t.Run(tt.link, func(t *testing.T) {
			l := newLab(t, 1)
			r := &exampleRun{t: t, lab: l, producer: l.producer()}
			steps := exampleSteps()
			r.produce(steps["beginning"])
			r.server = l.serve(func(_ *readFlags, s *serverFlags) { s.Keepalive = 0 })
			r.server.caughtUpTo(l)

			origin, err := url.Parse(r.server.url())
			if err != nil {
				t.Fatal(err)
			}
			lets := tt.lets
			lets.resumed = make(chan string, 64)
			between := httptest.NewServer(lets.proxy(origin))
			t.Cleanup(between.Close)
			wire := newTapBefore(t, between.URL)
			b := newBrowser(t) // it ends first, and with it its connections
			b.open(wire.url())
			b.shows("2da08de4", tt.link)
			r.produce(steps["change"])
			b.shows("c082577f", tt.link)
			b.picture(tt.link)
			// A link that breaks goes on where it was.
			wire.cut()
			r.produce([]exampleRecord{{seconds: 2, sourceSeq: 4, events: steps["recovery"][0].events[:1]}})
			b.shows("2da08de4", tt.link)
			if lets.sockets {
				return
			}
			if id := <-lets.resumed; id == "" {
				t.Error("it came back without a resume token")
			}
			// Another page of this browser knows what does not come through here.
			refused := lets.refused.Load()
			b.open(wire.url())
			b.shows("2da08de4", tt.link)
			if n := lets.refused.Load(); refused == 0 || n != refused {
				t.Errorf("%d links were refused, and %d after the page was opened anew", refused, n)
			}
		})
	}
}

// between stands between a browser and the server, and lets through what it says beside
// plain HTTP.
type between struct {
	sockets, events bool
	resumed         chan string  // resume tokens of streams and polls that go on
	refused         atomic.Int64 // what was not let through
}

func (b *between) proxy(origin *url.URL) http.Handler {
	proxy := httputil.NewSingleHostReverseProxy(origin)
	proxy.FlushInterval = -1
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !b.sockets && r.Header.Get("Upgrade") != "" || !b.events && r.URL.Path == "/v1/sse" {
			b.refused.Add(1)
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		for _, name := range []string{"resume", "cursor"} {
			if r.URL.Query().Has(name) {
				select {
				case b.resumed <- r.URL.Query().Get(name):
				default: // enough of them
				}
			}
		}
		proxy.ServeHTTP(w, r)
	})
}
