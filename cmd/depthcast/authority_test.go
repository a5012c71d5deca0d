package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/depthcast/depthcast/fanout/door"
)

// keyFile writes a file of API keys.
func keyFile(t *testing.T, entries string) string {
	t.Helper()
	if entries == "" {
		entries = " []"
	}
	return tempFile(t, "keys:"+entries)
}

func tempFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// get asks the server with a token, if it is any.
func (r *running) get(url, token string) (int, string) {
	r.t.Helper()
	resp := r.opens(r.t.Context(), url, token)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// opens asks with a token, if there is one, and leaves the body to be read and closed.
func (r *running) opens(ctx context.Context, url, token string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp
}

func TestOperatorsPathsAreOnTheAdminListenerAlone(t *testing.T) {
	l := newLab(t, 1)
	r := l.serve(nil)
	for _, path := range []string{"/metrics", "/healthz", "/debug/pprof/", "/debug/pprof/profile", "/debug/pprof/cmdline", "/debug/vars"} {
		if status, body := r.get(r.url()+path, ""); status != http.StatusNotFound || strings.Contains(body, "go_") {
			t.Errorf("%s is answered %d to clients", path, status)
		}
	}
	inside := "http://" + r.doors.inside.Addr().String()
	for _, path := range []string{"/metrics", "/healthz", "/debug/pprof/"} {
		if status, _ := r.get(inside+path, ""); status != http.StatusOK {
			t.Errorf("%s is answered %d to operators", path, status)
		}
	}
	for _, path := range []string{"/v1/symbols", "/v1/stream"} {
		if status, _ := r.get(inside+path, ""); status != http.StatusNotFound {
			t.Errorf("%s is answered %d on the admin listener", path, status)
		}
	}
}

func TestServerTakesKeysAndTokensOfItsFlags(t *testing.T) {
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&signing.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	key, entry, err := door.NewEntry("alice", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Repeat("s3cret..", 4)
	usage := filepath.Join(t.TempDir(), "usage")
	l := newLab(t, 1)
	newLedger(l, 1).whole(bystander, 1)
	r := l.serve(func(_ *readFlags, f *serverFlags) {
		f.AuthKeys, f.AuthJWTSecret = keyFile(t, "\n"+entry), tempFile(t, secret+"\n")
		f.AuthJWTKey = []string{tempFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))}
		f.AuthIssuer, f.AuthAudience, f.UsageLog = "https://issuer.example", "depthcast", usage
	})
	claims := jwt.MapClaims{"iss": "https://issuer.example", "aud": "depthcast", "sub": "bob", "exp": time.Now().Add(time.Hour).Unix(),
		"depthcast": map[string]any{"symbols": []string{"SIM:*"}}}
	sign := func(m jwt.SigningMethod, key any) string {
		text, err := jwt.NewWithClaims(m, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, c := range map[string]struct {
		token  string
		status int
	}{
		"API key": {key, http.StatusOK}, "HS256": {sign(jwt.SigningMethodHS256, []byte(secret)), http.StatusOK},
		"ES256": {sign(jwt.SigningMethodES256, signing), http.StatusOK},
		"none":  {"", http.StatusUnauthorized}, "a wrong one": {key + "x", http.StatusUnauthorized},
		"unsigned": {sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType), http.StatusUnauthorized},
	} {
		if status, body := r.get(r.url()+"/v1/symbols", c.token); status != c.status {
			t.Errorf("%s is answered %d %s", name, status, body)
		}
	}
	if status, _ := r.get(r.url()+"/", ""); status != http.StatusOK {
		t.Errorf("the page is answered %d: it is for everybody", status)
	}
	r.caughtUpTo(l)
	if status, body := r.get(r.url()+"/v1/books/"+bystander, key); status != http.StatusOK {
		t.Errorf("a book is answered %d %s", status, body)
	}
	r.stop()
	var row struct {
		User, Symbol, Channel string
		Requests              int
	}
	text, err := os.ReadFile(usage)
	if err := errors.Join(err, json.Unmarshal(text, &row)); err != nil || row.User != "alice" || row.Symbol != bystander || row.Channel != "book" || row.Requests != 1 {
		t.Errorf("what was had is noted as %s %v", text, err)
	}
}

func TestKeyCommandShowsAKeyAndItsEntry(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"key", "alice", "--symbols", "SIM:*,BINANCE:BTCUSDT"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	key := ""
	for line := range strings.Lines(out.String()) {
		if rest, found := strings.CutPrefix(line, "# dck_"); found {
			key = "dck_" + strings.TrimSpace(rest)
		}
	}
	d, err := door.New(door.Config{KeyFile: keyFile(t, "\n"+out.String())})
	if err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	g, err := d.Admit(t.Context(), key)
	if err != nil || g.User != "alice" || len(g.Symbols) != 2 {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestFlagsOfTokensThatAreOfNoUseAreRefused(t *testing.T) {
	for name, f := range map[string]authFlags{
		"an audience without keys": {AuthAudience: "depthcast"},
		"usage without keys":       {UsageLog: "usage"},
		"JWTs without an issuer":   {AuthJWTSecret: tempFile(t, strings.Repeat("x", 32)), AuthAudience: "depthcast"},
		"an empty secret":          {AuthJWTSecret: tempFile(t, "\n"), AuthAudience: "depthcast", AuthIssuer: "i"},
		"a short secret":           {AuthJWTSecret: tempFile(t, "short\n"), AuthAudience: "depthcast", AuthIssuer: "i"},
		"no PEM":                   {AuthJWTKey: []string{tempFile(t, "key")}, AuthAudience: "depthcast", AuthIssuer: "i"},
		"a key file that is none":  {AuthKeys: tempFile(t, "keys: 5")},
	} {
		if _, err := f.authority(0, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if a, err := (&authFlags{}).authority(0, nil); err != nil || a.door != nil || a.usage != nil {
		t.Errorf("without flags: %v", err)
	}
}
