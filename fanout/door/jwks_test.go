package door

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/depthcast/depthcast/fanout"
)

// keyServer serves a JSON Web Key Set that a test changes.
type keyServer struct {
	*httptest.Server
	mu      sync.Mutex
	answer  http.HandlerFunc // nil: the keys
	keys    []jwkset.JWKMarshal
	asked   int
	fetched chan struct{} // gets one for each answer
}

func newKeyServer(t *testing.T, signers ...*signer) *keyServer {
	s := &keyServer{fetched: make(chan struct{}, 100)}
	s.serve(t, signers...)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer, keys := s.answer, s.keys
		s.asked++
		s.mu.Unlock()
		defer func() { s.fetched <- struct{}{} }()
		if answer != nil {
			answer(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	}))
	t.Cleanup(s.Close)
	return s
}

// serve replaces the set.
func (s *keyServer) serve(t *testing.T, signers ...*signer) {
	t.Helper()
	var keys []jwkset.JWKMarshal
	for _, signer := range signers {
		key, err := jwkset.NewJWKFromKey(signer.public(), jwkset.JWKOptions{
			Marshal:  jwkset.JWKMarshalOptions{Private: signer.method == jwt.SigningMethodHS256},
			Metadata: jwkset.JWKMetadataOptions{KID: signer.kid},
		})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.Marshal())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys, s.answer = keys, nil
}

func (s *keyServer) answerWith(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = h
}

func (s *keyServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func newSigner(t *testing.T, kid string) *signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{jwt.SigningMethodES256, key, kid}
}

// named is a signer under a key id.
func named(algorithm, kid string) *signer {
	s := *signers()[algorithm]
	s.kid = kid
	return &s
}

// ticking returns a clock that goes on whenever it is read.
func ticking() func() time.Time {
	var reads atomic.Int64
	return func() time.Time { return now.Add(time.Duration(reads.Add(1))) }
}

func TestTokensAreCheckedWithAKeySet(t *testing.T) {
	all := []*signer{named("RS256", "r"), named("ES256", "e"), named("EdDSA", "d")}
	server := newKeyServer(t, append(all, named("HS256", "h"))...)
	d := newDoor(t, Config{JWKS: server.URL})
	run(t, d)
	for _, s := range all {
		admitted(t, d, s.sign(nil), ByJWT)
		nameless := *s
		nameless.kid = ""
		admitted(t, d, nameless.sign(nil), ByJWT)
		misnamed := *s
		misnamed.kid = "h"
		admitted(t, d, misnamed.sign(nil), UnknownKey)
	}
	// Who can read the set could sign with a secret in it.
	admitted(t, d, named("HS256", "h").sign(nil), Algorithm)
}

func TestKeysAreRotatedWhileTheServerRuns(t *testing.T) {
	first, second := newSigner(t, "1"), newSigner(t, "2")
	server := newKeyServer(t, first)
	d := newDoor(t, Config{JWKS: server.URL, RefreshGap: time.Nanosecond, Now: ticking()})
	run(t, d)
	admitted(t, d, first.sign(nil), ByJWT)
	admitted(t, d, second.sign(nil), UnknownKey)
	server.serve(t, first, second)
	admitted(t, d, second.sign(nil), ByJWT) // asks for it
	admitted(t, d, first.sign(nil), ByJWT)
	server.serve(t, second)
	admitted(t, d, newSigner(t, "3").sign(nil), UnknownKey) // asks too, and finds the first one gone
	admitted(t, d, first.sign(nil), UnknownKey)
	admitted(t, d, second.sign(nil), ByJWT)
	impostor := newSigner(t, "2")
	admitted(t, d, impostor.sign(nil), Signature)
}

func TestKeySetIsFetchedAgainAtIntervals(t *testing.T) {
	s := newSigner(t, "1")
	server := newKeyServer(t, s)
	d := newDoor(t, Config{JWKS: server.URL, RefreshEvery: time.Millisecond})
	run(t, d)
	for range 3 {
		<-server.fetched
	}
	admitted(t, d, s.sign(nil), ByJWT)
}

func TestUnknownKeysCauseNoStormOfFetches(t *testing.T) {
	s := newSigner(t, "1")
	server := newKeyServer(t, s)
	var later atomic.Int64
	d := newDoor(t, Config{JWKS: server.URL, Now: func() time.Time { return now.Add(time.Duration(later.Load())) }}) // at most every 10 s
	run(t, d)
	admitted(t, d, s.sign(nil), ByJWT)
	storm := func(kids string) {
		for i := range 200 {
			s.kid = fmt.Sprint(kids, i)
			admitted(t, d, s.sign(nil), UnknownKey)
		}
	}
	storm("a")
	before := server.count()
	if before > 2 {
		t.Errorf("fetched %d times", before)
	}
	later.Add(int64(10 * time.Second))
	storm("b")
	if n := server.count() - before; n != 1 {
		t.Errorf("fetched %d times 10 s later, want once", n)
	}
}

func TestKeySetThatCannotBeFetchedLeavesTheLastOne(t *testing.T) {
	s, other := newSigner(t, "1"), newSigner(t, "2")
	server := newKeyServer(t, s)
	d := newDoor(t, Config{JWKS: server.URL, RefreshGap: time.Nanosecond, Now: ticking()})
	run(t, d)
	admitted(t, d, s.sign(nil), ByJWT)
	endless := func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"keys":[`))
		for chunk := []byte(strings.Repeat(" ", 1<<16)); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	}
	elsewhere := newKeyServer(t, other)
	for name, answer := range map[string]http.HandlerFunc{
		"a fault":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"no JSON":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no keys":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"without end": endless,
		"a hundred keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[{}` + strings.Repeat(",{}", 99) + `]}`))
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"broken off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			server.answerWith(answer)
			failed := d.stats.FetchErrors.Load()
			admitted(t, d, other.sign(nil), UnknownKey)
			admitted(t, d, s.sign(nil), ByJWT)
			until(t, func() bool { return d.stats.FetchErrors.Load() > failed })
		})
	}
	if elsewhere.count() != 0 {
		t.Error("followed a redirect")
	}
}

func TestKeySetThatNeverCameIsNoFaultOfTheToken(t *testing.T) {
	server := newKeyServer(t)
	server.answerWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	d := newDoor(t, Config{JWKS: server.URL})
	run(t, d)
	<-server.fetched
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nobody waits for longer
	if g, why := d.admit(ctx, newSigner(t, "1").sign(nil)); g != nil || why != Unavailable {
		t.Errorf("%v, %v", g, why)
	}
}

func TestKeysThatCannotBeUsedDoNotSpoilTheSet(t *testing.T) {
	good := newSigner(t, "good")
	server := newKeyServer(t, good)
	curve, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	server.serve(t, &signer{jwt.SigningMethodES512, curve, "521"}, good, &signer{jwt.SigningMethodEdDSA, public, "d"})
	keys := append([]jwkset.JWKMarshal{{KTY: "XYZ", KID: "new"}, {KTY: "RSA", KID: "torn", N: "!!"}}, server.keys...)
	server.mu.Lock()
	server.keys = keys
	server.mu.Unlock()
	d := newDoor(t, Config{JWKS: server.URL})
	run(t, d)
	admitted(t, d, good.sign(nil), ByJWT)
	admitted(t, d, (&signer{jwt.SigningMethodES512, curve, "521"}).sign(nil), Algorithm)
}

func TestTokenWithoutAKeyIDIsNotTriedAgainstEverything(t *testing.T) {
	var all []*signer
	for i := range maxTries + 1 {
		all = append(all, newSigner(t, fmt.Sprint(i)))
	}
	server := newKeyServer(t, all...)
	d := newDoor(t, Config{JWKS: server.URL})
	run(t, d)
	admitted(t, d, all[3].sign(nil), ByJWT)
	all[3].kid = ""
	admitted(t, d, all[3].sign(nil), UnknownKey)
}

// rotation is a door whose JWKS is fetched when a test says so, at a time of the test's.
type rotation struct {
	*Door
	t       *testing.T
	server  *keyServer
	at      time.Time
	changes int
}

func newRotation(t *testing.T, all ...*signer) *rotation {
	r := &rotation{t: t, server: newKeyServer(t, all...), at: now}
	r.Door = newDoor(t, Config{JWKS: r.server.URL, Now: func() time.Time { return r.at }, Changed: func() { r.changes++ }})
	r.fetch()
	return r
}

// fetch has the JWKS fetched, and returns whether somebody was told of a change.
func (r *rotation) fetch() bool {
	before := r.changes
	_ = r.jwts.set.fetch(r.t.Context())
	return r.changes > before
}

func (r *rotation) holds(g *fanout.Grant) bool { return r.Present(g) == g }

func TestTokenEndsWhenItsKeyHasLeftTheKeySet(t *testing.T) {
	first, second := newSigner(t, "1"), newSigner(t, "2")
	r := newRotation(t, first, second)
	one, two := admitted(t, r.Door, first.sign(nil), ByJWT), admitted(t, r.Door, second.sign(nil), ByJWT)
	nameless := *first
	nameless.kid = ""
	unnamed := admitted(t, r.Door, nameless.sign(nil), ByJWT)

	r.server.serve(t, second)
	if r.fetch() || !r.holds(one) || !r.holds(two) || !r.holds(unnamed) {
		t.Error("a token ends though its key is missing from one answer alone")
	}
	r.at = r.at.Add(maxGrace - 1)
	if r.fetch() || !r.holds(one) || !r.holds(unnamed) {
		t.Error("a token ends before the time that its key may be missing")
	}
	if next := r.jwts.set.current.Load().again(r.at, &r.config); next != 1 {
		t.Errorf("the next fetch is %v later, want when the grace is over", next)
	}
	r.at = r.at.Add(1)
	if !r.holds(one) {
		t.Error("a token ends without an answer that lacks its key")
	}
	if !r.fetch() || r.holds(one) || r.holds(unnamed) || !r.holds(two) {
		t.Error("a token holds though its key is gone, or another does not")
	}
	if next := r.jwts.set.current.Load().again(r.at, &r.config); next != r.config.RefreshEvery {
		t.Errorf("the next fetch is %v later", next)
	}
	r.server.serve(t, first, second)
	if r.fetch() || !r.holds(one) {
		t.Error("a key that is back does not hold")
	}
}

func TestKeyThatIsMissingFromSomeAnswersEndsNobody(t *testing.T) {
	first, second := newSigner(t, "1"), newSigner(t, "2")
	r := newRotation(t, first, second)
	one := admitted(t, r.Door, first.sign(nil), ByJWT)
	for range 3 { // one of two machines of the issuer does not have it
		r.at = r.at.Add(maxGrace / 2)
		r.server.serve(t, second)
		if r.fetch() || !r.holds(one) {
			t.Fatal("ended")
		}
		r.at = r.at.Add(maxGrace / 2)
		r.server.serve(t, first, second)
		if r.fetch() || !r.holds(one) {
			t.Fatal("ended")
		}
	}
}

func TestFetchThatFailsEndsNobody(t *testing.T) {
	first, second := newSigner(t, "1"), newSigner(t, "2")
	r := newRotation(t, first, second)
	one := admitted(t, r.Door, first.sign(nil), ByJWT)
	r.server.serve(t, second)
	r.fetch()
	r.server.answerWith(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	for range 10 {
		r.at = r.at.Add(time.Hour)
		if r.fetch() || !r.holds(one) {
			t.Fatal("ended by a fetch that failed")
		}
	}
}

func TestOtherKeyOfTheSameIDIsAnotherKey(t *testing.T) {
	first, second := newSigner(t, "1"), newSigner(t, "1")
	r := newRotation(t, first)
	one := admitted(t, r.Door, first.sign(nil), ByJWT)
	r.server.serve(t, second)
	r.fetch()
	two := admitted(t, r.Door, second.sign(nil), ByJWT)
	renamed := *first
	renamed.kid = "2"
	r.server.serve(t, second, &renamed)
	r.at = r.at.Add(maxGrace)
	if !r.fetch() || r.holds(one) || !r.holds(two) {
		t.Error("a token holds by a key that has the id of its own, or by its own under another id; or another ends")
	}
}
