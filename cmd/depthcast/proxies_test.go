package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/ingest/feed"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// A proxy is a real one, started with the configuration of deploy/.
type proxy struct {
	program, config string
	// command runs it in the foreground with the configuration in file.
	command func(dir, file string) []string
	// wrap completes the configuration.
	wrap func(text string) string
	// replace is what the test's addresses and files take the place of; pem: the
	// certificate and its key are in one file.
	cert, key string
}

var proxies = []proxy{
	{
		program: "nginx", config: "nginx.conf", cert: "/etc/nginx/depthcast.crt", key: "/etc/nginx/depthcast.key",
		command: func(dir, file string) []string { return []string{"-p", dir, "-e", "stderr", "-c", file} },
		wrap: func(text string) string {
			return "daemon off; pid nginx.pid; error_log stderr; worker_processes 1; events {}\nhttp { access_log off;\n" +
				"client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;\n" + text + "}\n"
		},
	},
	{
		program: "haproxy", config: "haproxy.cfg", cert: "/etc/haproxy/depthcast.pem",
		command: func(_, file string) []string { return []string{"-db", "-f", file} },
		wrap:    func(text string) string { return text },
	},
}

// eachProxy runs test behind each proxy that this machine has, in the clear and over
// TLS. DEPTHCAST_PROXIES has it fail where one is missing.
func eachProxy(t *testing.T, test func(t *testing.T, p proxy, scheme string)) {
	for _, p := range proxies {
		if _, err := exec.LookPath(p.program); err != nil {
			if os.Getenv("DEPTHCAST_PROXIES") != "" {
				t.Error(err)
			}
			t.Logf("%v: left out", err)
			continue
		}
		for _, scheme := range []string{"ws", "wss"} {
			t.Run(p.program+"/"+scheme, func(t *testing.T) { test(t, p, scheme) })
		}
	}
}

// front is a proxy that runs before a server.
type front struct {
	address string // of the scheme
	scheme  string
	tls     *tls.Config
}

func (f *front) stream() string { return f.scheme + "://" + f.address + "/v1/stream" }
func (f *front) http(path string) string {
	return "http" + strings.TrimPrefix(f.scheme, "ws") + "://" + f.address + path
}

// before starts p before r; changes are pairs of texts in its configuration.
func (p proxy) before(t *testing.T, r *running, scheme string, changes ...string) *front {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", p.config))
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, roots := selfSigned(t)
	if p.key == "" {
		certFile = concatenate(t, certFile, keyFile)
	}
	plain, secure := nowhere(t), nowhere(t)
	changes = append(changes, "127.0.0.1:8080", r.doors.listen.Addr().String(),
		"listen 80;", "listen "+plain+";", "listen 443 ", "listen "+secure+" ", "bind :80\n", "bind "+plain+"\n", "bind :443 ", "bind "+secure+" ",
		p.cert, certFile, "/etc/nginx/depthcast.key", keyFile, "maxconn 100000", "maxconn 100")
	config := strings.NewReplacer(changes...).Replace(string(text))
	for i := 0; i < len(changes)-14; i += 2 {
		if !strings.Contains(string(text), changes[i]) {
			t.Fatalf("deploy/%s has no %q", p.config, changes[i])
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, p.config)
	if err := os.WriteFile(file, []byte(p.wrap(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(p.program, p.command(dir, file)...)
	var said output
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if t.Failed() {
			t.Logf("%s said: %s", p.program, said.String())
		}
	})
	f := &front{address: plain, scheme: scheme, tls: &tls.Config{RootCAs: roots}}
	if scheme == "wss" {
		f.address = secure
	}
	r.until(p.program+" listens", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", p.program, said.String())
		default:
		}
		c, err := net.Dial("tcp", f.address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return f
}

// concatenate writes files into one.
func concatenate(t *testing.T, files ...string) string {
	t.Helper()
	var all []byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	file := filepath.Join(t.TempDir(), "both.pem")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// connect opens a WebSocket through f, offering compression.
func (f *front) connect(t *testing.T) (conn net.Conn, r io.Reader, hs ws.Handshake) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	offer, _ := httphead.ParseOptions([]byte("permessage-deflate; client_max_window_bits"), nil)
	dialer := ws.Dialer{Protocols: []string{proto.CodecJSON.Subprotocol()}, TLSConfig: f.tls, Extensions: offer}
	conn, early, hs, err := dialer.Dial(ctx, f.stream())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	r = conn
	if early != nil {
		r = io.MultiReader(io.LimitReader(early, int64(early.Buffered())), conn)
	}
	return conn, r, hs
}

func TestProxiesHandEverythingOn(t *testing.T) {
	l := newLab(t, 1)
	sim, err := feed.NewSim(feed.MarketConfig{Seed: 7, Rate: 40_000, Instruments: 1})
	if err != nil {
		t.Fatal(err)
	}
	symbol := sim.Symbols()[0]
	server := l.serve(nil)
	if err := l.simulate(sim, limited{left: 500}); err != nil {
		t.Fatal(err)
	}
	server.known(symbol)
	server.caughtUpTo(l)
	want := server.book(symbol)
	eachProxy(t, func(t *testing.T, p proxy, scheme string) {
		f := p.before(t, server, scheme)
		for codec := range proto.NumCodecs {
			c, err := client.New(client.Config{URL: f.stream(), Codec: codec, TLS: f.tls})
			if err != nil {
				t.Fatal(err)
			}
			sub := subscribe(t, c, client.Item{Symbol: symbol})
			for _, err := range c.Events(l.ctx) {
				if err != nil {
					t.Fatal(err)
				}
				if b := sub.Book(); b.State() == proto.Live && b.Seq() == want.Seq && b.Hash() == want.Hash {
					break
				}
			}
		}
		conn, r, hs := f.connect(t)
		if len(hs.Extensions) != 1 {
			t.Errorf("compression is agreed on as %v", hs.Extensions)
		}
		if _, err := conn.Write(ws.MustCompileFrame(ws.NewTextFrame([]byte("not masked")))); err != nil {
			t.Fatal(err)
		}
		if code := closeCode(t, r); code != ws.StatusProtocolError {
			t.Errorf("closed with %d", code)
		}
		web := http.Client{Transport: &http.Transport{TLSClientConfig: f.tls, ForceAttemptHTTP2: true}, Timeout: patience}
		defer web.CloseIdleConnections()
		for path, has := range map[string]string{"/v1/books/" + symbol: `"bids"`, "/v1/sse?symbol=" + symbol: "data: "} {
			resp, err := web.Get(f.http(path))
			if err != nil {
				t.Fatal(err)
			}
			line, err := firstWith(resp.Body, has)
			_ = resp.Body.Close()
			if err != nil {
				t.Errorf("%s: %d, no %s: %v %s", path, resp.StatusCode, has, err, line)
			}
		}
	})
}

// closeCode reads up to the close frame.
func closeCode(t *testing.T, r io.Reader) ws.StatusCode {
	t.Helper()
	for {
		h, err := ws.ReadHeader(r)
		if err != nil {
			t.Fatal(err)
		}
		var payload bytes.Buffer
		if _, err := io.CopyN(&payload, r, h.Length); err != nil {
			t.Fatal(err)
		}
		if h.OpCode == ws.OpClose {
			code, _ := ws.ParseCloseFrameData(payload.Bytes())
			return code
		}
	}
}

// firstWith reads up to the first line that holds a text.
func firstWith(r io.Reader, text string) (string, error) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if strings.Contains(line, text) || err != nil {
			if strings.Contains(line, text) {
				err = nil
			}
			return line, err
		}
	}
}

// A connection on which nobody says anything outlives the time that a proxy gives
// one, by the server's pings; without them it does not.
func TestProxiesIdleTimeIsSurvivedByPings(t *testing.T) {
	const pings = 6 // at least a second apart: more than twice what the proxy bears
	l := newLab(t, 1)
	pinging := l.serve(func(_ *readFlags, s *serverFlags) { s.SilenceTimeout = 2 * time.Second })
	mute := l.serve(func(_ *readFlags, s *serverFlags) { s.SilenceTimeout = time.Hour })
	eachProxy(t, func(t *testing.T, p proxy, scheme string) {
		t.Parallel()
		short := []string{"proxy_read_timeout 75s", "proxy_read_timeout 2s", "proxy_send_timeout 75s", "proxy_send_timeout 2s"}
		if p.program == "haproxy" {
			short = []string{"timeout client 75s", "timeout client 2s", "timeout server 75s", "timeout server 2s", "timeout tunnel 75s", "timeout tunnel 2s"}
		}
		conn, r, _ := p.before(t, pinging, scheme, short...).connect(t)
		for n := 0; n < pings; {
			h, err := ws.ReadHeader(r)
			if err != nil {
				t.Fatalf("after %d pings: %v", n, err)
			}
			payload := make([]byte, h.Length)
			if _, err := io.ReadFull(r, payload); err != nil {
				t.Fatal(err)
			}
			if h.OpCode == ws.OpPing {
				n++
				if err := wsutil.WriteClientMessage(conn, ws.OpPong, payload); err != nil {
					t.Fatal(err)
				}
			}
		}
		conn, r, _ = p.before(t, mute, scheme, short...).connect(t)
		rest, err := io.ReadAll(r)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() || bytes.Contains(rest, []byte("silent")) {
			t.Errorf("without pings: %v %q", err, rest)
		}
		_ = conn.Close()
	})
}

// The fourth of the traps: a proxy that speaks HTTP/1.0 to the server.
func TestProxiesThatSpeakHTTP10AreToldSo(t *testing.T) {
	server := newLab(t, 1).serve(nil)
	eachProxy(t, func(t *testing.T, p proxy, scheme string) {
		if p.program != "nginx" {
			t.Skip("only NGINX speaks HTTP/1.0 if not told otherwise")
		}
		f := p.before(t, server, scheme, "proxy_http_version 1.1", "proxy_http_version 1.0")
		dialer := ws.Dialer{TLSConfig: f.tls, OnStatusError: func(status int, reason []byte, body io.Reader) {
			var said []byte
			if resp, err := http.ReadResponse(bufio.NewReader(body), nil); err == nil {
				said, _ = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			if status != http.StatusUpgradeRequired || !bytes.Contains(said, []byte("HTTP/1.0")) {
				t.Errorf("%d %s: %s", status, reason, said)
			}
		}}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, _, _, err := dialer.Dial(ctx, f.stream())
		if err == nil {
			_ = conn.Close()
			t.Error("it was upgraded")
		}
	})
}

// longestCursor is a resume token as great as can be, of topics that do not exist.
func longestCursor(t *testing.T) (cursor string, symbols []string) {
	t.Helper()
	ask := &pb.Subscribe{}
	for {
		symbol := fmt.Sprintf("NONE:%059d", len(symbols))
		ask.Items = append(ask.Items, &pb.SubscribeItem{Symbol: symbol, Resume: &pb.Resume{Epoch: 1, Seq: -1, Hash: 1}})
		raw, err := googleproto.Marshal(ask)
		if err != nil {
			t.Fatal(err)
		}
		if base64.RawURLEncoding.EncodedLen(len(raw)) > fanout.MaxResumeTokenBytes {
			return cursor, symbols
		}
		cursor, symbols = base64.RawURLEncoding.EncodeToString(raw), append(symbols, symbol)
	}
}

// What a server hands out comes back to it: behind its own configuration also together
// with all that it names, and behind NGINX as it is without one.
func TestProxiesTakeTheLongestCursor(t *testing.T) {
	l := newLab(t, 1)
	server := l.serve(nil)
	server.caughtUpTo(l) // before that it knows of no symbol that there is none
	cursor, symbols := longestCursor(t)
	if len(cursor) < fanout.MaxResumeTokenBytes*98/100 {
		t.Fatalf("a cursor of %d bytes", len(cursor))
	}
	eachProxy(t, func(t *testing.T, p proxy, scheme string) {
		var usual []string
		if p.program == "nginx" {
			usual = []string{"large_client_header_buffers 4 16k;", ""}
		}
		for query, f := range map[string]*front{
			"": p.before(t, server, scheme, usual...),
			"&symbol=" + strings.Join(symbols, "&symbol="): p.before(t, server, scheme),
		} {
			web := http.Client{Transport: &http.Transport{TLSClientConfig: f.tls, ForceAttemptHTTP2: true}, Timeout: patience}
			ask, err := http.NewRequest(http.MethodGet, f.http("/v1/sse?"+query), nil)
			if err != nil {
				t.Fatal(err)
			}
			ask.Header.Set("Last-Event-ID", cursor)
			for what, do := range map[string]func() (*http.Response, error){
				"an event stream": func() (*http.Response, error) { return web.Do(ask) },
				"a poll": func() (*http.Response, error) {
					return web.Get(f.http("/v1/poll?wait_ms=30000&cursor=" + cursor + query))
				},
			} {
				resp, err := do()
				if err != nil {
					t.Fatal(err)
				}
				if line, err := firstWith(resp.Body, "unknown_symbol"); err != nil {
					t.Errorf("%s of %d bytes: %d %v %.200s", what, len(cursor)+len(query), resp.StatusCode, err, line)
				}
				_ = resp.Body.Close()
			}
			web.CloseIdleConnections()
		}
	})
}
