package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/golang-jwt/jwt/v5"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// issuerKey signs tokens.
type issuerKey struct {
	*ecdsa.PrivateKey
	t   *testing.T
	kid string
}

func newIssuerKey(t *testing.T, kid string) *issuerKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &issuerKey{key, t, kid}
}

// token is a user's, for everything, for an hour.
func (k *issuerKey) token(user string) string {
	k.t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": "i", "aud": "depthcast", "sub": user,
		"exp": time.Now().Add(time.Hour).Unix(), "depthcast": map[string]any{"symbols": []string{"*"}}})
	token.Header["kid"] = k.kid
	text, err := token.SignedString(k.PrivateKey)
	if err != nil {
		k.t.Fatal(err)
	}
	return text
}

// jwk is the public key in a JSON Web Key Set.
func (k *issuerKey) jwk() map[string]string {
	k.t.Helper()
	point, err := k.PublicKey.ECDH()
	if err != nil {
		k.t.Fatal(err)
	}
	xy := point.Bytes()[1:] // 4, then both coordinates
	coordinate := base64.RawURLEncoding.EncodeToString
	return map[string]string{"kty": "EC", "crv": "P-256", "kid": k.kid, "x": coordinate(xy[:32]), "y": coordinate(xy[32:])}
}

// pem is the public key in PEM.
func (k *issuerKey) pem() string {
	k.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// issuing is an issuer's JSON Web Key Set.
type issuing struct {
	mu   sync.Mutex
	keys []map[string]string
	down bool
}

// issue sets the keys; none: the set cannot be had.
func (s *issuing) issue(keys ...*issuerKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.down = nil, len(keys) == 0
	for _, k := range keys {
		s.keys = append(s.keys, k.jwk())
	}
}

func (s *issuing) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		http.Error(w, "out of order", http.StatusBadGateway)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"keys": s.keys})
}

// issuer serves a JSON Web Key Set, which a server fetches all the time.
func (l *lab) issuer(keys ...*issuerKey) (*issuing, *running) {
	set := &issuing{}
	set.issue(keys...)
	issuer := httptest.NewServer(set)
	l.t.Cleanup(issuer.Close)
	return set, l.serve(func(_ *readFlags, f *serverFlags) {
		f.AuthJWKS, f.AuthJWKSInterval, f.AuthIssuer, f.AuthAudience = issuer.URL, 20*time.Millisecond, "i", "depthcast"
	})
}

// answered waits until a token is answered so.
func (r *running) answered(token string, status int) {
	r.t.Helper()
	r.until(fmt.Sprint("an answer ", status), func() bool {
		got, _ := r.get(r.url()+"/v1/symbols", token)
		return got == status
	})
}

// hears waits for the answer to a ping.
func (s *socket) hears() {
	s.t.Helper()
	s.ask(&pb.Request{Id: 7, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
	if _, closed, text := s.frame(func(f *pb.Frame) bool { return f.GetPong() != nil }); closed != 0 {
		s.t.Fatalf("closed with %d %s", closed, text)
	}
}

func TestKeysOfIssuersAreRotatedWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	first, second := newIssuerKey(t, "1"), newIssuerKey(t, "2")
	set, r := newLab(t, 1).issuer(first)
	r.answered(first.token("bob"), http.StatusOK)
	set.issue(second)
	r.answered(second.token("bob"), http.StatusOK)
	r.answered(first.token("bob"), http.StatusUnauthorized)
}

func TestConnectionEndsWhenTheKeyOfItsTokenHasLeftTheKeySet(t *testing.T) {
	t.Parallel()
	first, second := newIssuerKey(t, "1"), newIssuerKey(t, "2")
	l := newLab(t, 1)
	newLedger(l, 1).whole(bystander, 1)
	set, r := l.issuer(first, second)
	r.caughtUpTo(l)
	r.answered(first.token("bob"), http.StatusOK)
	leaves, stays := r.connectAs(first.token("bob"), proto.CodecProto), r.connectAs(second.token("eve"), proto.CodecProto)
	renewed := r.connectAs(first.token("dan"), proto.CodecProto)
	renewed.ask(&pb.Request{Id: 3, Body: &pb.Request_Auth{Auth: &pb.Auth{Token: second.token("dan")}}})
	if f, closed, _ := renewed.frame(func(f *pb.Frame) bool { return f.GetAck().GetId() == 3 }); f == nil {
		t.Fatalf("not renewed: %d", closed)
	}
	stream := r.events(first.token("bob"))

	set.issue() // which ends nobody
	failed := r.who.door.Stats().FetchErrors.Load()
	r.until("failures", func() bool { return r.who.door.Stats().FetchErrors.Load() > failed+1 })
	leaves.hears()

	set.issue(second)
	if code, text := leaves.closing(); code != 4007 || !strings.HasPrefix(text, "token_ended") {
		t.Errorf("closed with %d %s", code, text)
	}
	if text, err := io.ReadAll(stream); err != nil || !strings.Contains(string(text), "token_ended") {
		t.Errorf("the event stream ends with %v after %s", err, text)
	}
	stays.hears()
	renewed.hears()
	r.counted(`depthcast_fanout_drops_total{reason="token_ended"}`, "2")
}

// events asks for an event stream of a book, which ends when its server does or when
// it is ended.
func (r *running) events(token string) io.Reader {
	r.t.Helper()
	resp := r.opens(r.t.Context(), r.url()+"/v1/sse?symbol="+bystander, token)
	r.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		r.t.Fatalf("answered %s", resp.Status)
	}
	return resp.Body
}

func TestConnectionEndsWhenTheFileOfItsTokensKeyChanges(t *testing.T) {
	t.Parallel()
	first, second := newIssuerKey(t, "1"), newIssuerKey(t, "2")
	file := tempFile(t, first.pem()+second.pem())
	r := newLab(t, 1).serve(func(_ *readFlags, f *serverFlags) {
		f.AuthJWTKey, f.AuthIssuer, f.AuthAudience = []string{file}, "i", "depthcast"
	})
	leaves, stays := r.connectAs(first.token("bob"), proto.CodecProto), r.connectAs(second.token("bob"), proto.CodecProto)

	replace(t, file, tempFile(t, "no key"))
	r.counted("depthcast_jwt_key_reload_errors_total", "1")
	leaves.hears()

	replace(t, file, tempFile(t, second.pem()))
	if code, text := leaves.closing(); code != ws.StatusCode(4007) || !strings.HasPrefix(text, "token_ended") {
		t.Errorf("closed with %d %s", code, text)
	}
	stays.hears()
	r.answered(first.token("bob"), http.StatusUnauthorized)
	r.answered(second.token("bob"), http.StatusOK)
}
