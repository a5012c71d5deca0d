package door

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/depthcast/depthcast/fanout"
)

// patience bounds every wait of a test for what must happen.
const patience = time.Minute

const (
	issuer   = "https://issuer.example"
	audience = "depthcast"
)

var now = time.Unix(1_800_000_000, 0)

// signer signs tokens with one key.
type signer struct {
	method jwt.SigningMethod
	key    any // private, or the secret
	kid    string
}

func (s *signer) public() any {
	if k, ok := s.key.(crypto.Signer); ok {
		return k.Public()
	}
	return s.key
}

// sign signs claims that are good, but for changes; nil takes a claim out.
func (s *signer) sign(changes jwt.MapClaims) string {
	c := jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "alice", "exp": now.Add(time.Hour).Unix(), "nbf": now.Unix(), "iat": now.Unix(),
		"depthcast": map[string]any{"symbols": []string{"SIM:*"}}}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	t := jwt.NewWithClaims(s.method, c)
	if s.kid != "" {
		t.Header["kid"] = s.kid
	}
	text, err := t.SignedString(s.key)
	if err != nil {
		panic(err)
	}
	return text
}

// signers has one for each algorithm that is taken. Their keys are the same in every
// process, so that what a fuzz target has found stays what it is, but for that of RSA,
// which takes long to draw.
var signers = sync.OnceValue(func() map[string]*signer {
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.ParseRawPrivateKey(elliptic.P256(), []byte(strings.Repeat("P256", 8)))
	d := ed25519.NewKeyFromSeed([]byte(strings.Repeat("Ed25519.", 4)))
	if err := errors.Join(err1, err2); err != nil {
		panic(err)
	}
	return map[string]*signer{
		"HS256": {method: jwt.SigningMethodHS256, key: []byte(strings.Repeat("secret..", 4))},
		"RS256": {method: jwt.SigningMethodRS256, key: r},
		"ES256": {method: jwt.SigningMethodES256, key: e},
		"EdDSA": {method: jwt.SigningMethodEdDSA, key: d},
	}
})

// secretFile writes the secret of s.
func secretFile(t testing.TB, s *signer) string {
	t.Helper()
	return textFile(t, string(s.key.([]byte))+"\n")
}

// publicFile writes public keys.
func publicFile(t testing.TB, keys ...any) string {
	t.Helper()
	return textFile(t, pemOf(t, keys...))
}

// pemOf is the text of a file with public keys.
func pemOf(t testing.TB, keys ...any) string {
	t.Helper()
	var text []byte
	for _, key := range keys {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
	}
	return string(text)
}

func textFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newDoor opens a door that stands at now.
func newDoor(t testing.TB, c Config) *Door {
	t.Helper()
	c.Issuer, c.Audience, c.Log = issuer, audience, slog.New(slog.DiscardHandler)
	if c.Now == nil {
		c.Now = func() time.Time { return now }
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// until waits for a condition.
func until(t *testing.T, is func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !is() {
		select {
		case <-deadline:
			t.Fatal("waited in vain")
		case <-time.After(time.Millisecond):
		}
	}
}

// run keeps d up to date until the test ends.
func run(t *testing.T, d *Door) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// admitted checks what becomes of a token.
func admitted(t testing.TB, d *Door, token string, want Outcome) *fanout.Grant {
	t.Helper()
	before := d.stats.Tokens[want].Load()
	g, err := d.Admit(context.Background(), token)
	if (g != nil) != (want == ByKey || want == ByJWT) || (err == nil) != (g != nil) {
		t.Fatalf("%v, %v, want %v", g, err, want)
	}
	if err != nil && !errors.Is(err, fanout.ErrToken) && !errors.Is(err, fanout.ErrGate) {
		t.Errorf("%v", err)
	}
	if err != nil && (len(token) > 8 && strings.Contains(err.Error(), token[:8]) || strings.Contains(err.Error(), "alice")) {
		t.Errorf("the error tells of the token: %v", err)
	}
	if d.stats.Tokens[want].Load() != before+1 {
		for o := range outcomes {
			if n := d.stats.Tokens[o].Load(); n > 0 {
				t.Logf("%v: %d", o, n)
			}
		}
		t.Errorf("not counted as %v", want)
	}
	return g
}

func TestTokensOfEveryAlgorithmAreTaken(t *testing.T) {
	c := Config{SecretFile: secretFile(t, signers()["HS256"])}
	for _, name := range []string{"RS256", "ES256", "EdDSA"} {
		c.PublicKeyFiles = append(c.PublicKeyFiles, publicFile(t, signers()[name].public()))
	}
	d := newDoor(t, c)
	for name, s := range signers() {
		g := admitted(t, d, s.sign(nil), ByJWT)
		if g.User != "alice" || !g.Until.Equal(now.Add(time.Hour)) || len(g.Symbols) != 1 || g.Symbols[0] != "SIM:*" {
			t.Errorf("%s grants %+v", name, g)
		}
		if d.Present(g) != g {
			t.Errorf("%s does not hold", name)
		}
		other := *s
		switch k := s.key.(type) {
		case []byte:
			other.key = []byte(strings.Repeat("another.", 4))
		case *rsa.PrivateKey:
			other.key, _ = rsa.GenerateKey(rand.Reader, 2048)
		case *ecdsa.PrivateKey:
			other.key, _ = ecdsa.GenerateKey(k.Curve, rand.Reader)
		case ed25519.PrivateKey:
			_, other.key, _ = ed25519.GenerateKey(rand.Reader)
		}
		admitted(t, d, other.sign(nil), Signature)
	}
}

func TestTokenIsHeldAgainstItsClaims(t *testing.T) {
	s := signers()["HS256"]
	d := newDoor(t, Config{SecretFile: secretFile(t, s), Leeway: 10 * time.Second})
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, c := range map[string]struct {
		changes jwt.MapClaims
		want    Outcome
	}{
		"expired":                     {jwt.MapClaims{"exp": at(-10 * time.Second)}, Expired},
		"expired within the leeway":   {jwt.MapClaims{"exp": at(-9 * time.Second)}, ByJWT},
		"without an end":              {jwt.MapClaims{"exp": nil}, Claims},
		"an end that is no number":    {jwt.MapClaims{"exp": "soon"}, Malformed},
		"not yet":                     {jwt.MapClaims{"nbf": at(11 * time.Second)}, NotYet},
		"not yet, within the leeway":  {jwt.MapClaims{"nbf": at(9 * time.Second)}, ByJWT},
		"another issuer":              {jwt.MapClaims{"iss": "https://issuer.example.evil"}, Issuer},
		"no issuer":                   {jwt.MapClaims{"iss": nil}, Claims},
		"another service":             {jwt.MapClaims{"aud": "payments"}, Audience},
		"no audience":                 {jwt.MapClaims{"aud": nil}, Claims},
		"several services":            {jwt.MapClaims{"aud": []string{"payments", audience}}, ByJWT},
		"no user":                     {jwt.MapClaims{"sub": nil}, Claims},
		"a user with a line break":    {jwt.MapClaims{"sub": "a\nb"}, Claims},
		"a user of a megabyte's kind": {jwt.MapClaims{"sub": strings.Repeat("u", 129)}, Claims},
		"no terms":                    {jwt.MapClaims{"depthcast": nil}, ByJWT},
		"terms that are none":         {jwt.MapClaims{"depthcast": "all"}, Malformed},
		"terms of a later version":    {jwt.MapClaims{"depthcast": map[string]any{"symbols": []string{"*"}, "hours": "9-17"}}, Malformed},
		"a symbol that is none":       {jwt.MapClaims{"depthcast": map[string]any{"symbols": []string{"a b"}}}, Claims},
		"a star inside":               {jwt.MapClaims{"depthcast": map[string]any{"symbols": []string{"a*b"}}}, Claims},
		"a channel that is none":      {jwt.MapClaims{"depthcast": map[string]any{"channels": []string{"gossip"}}}, Claims},
		"no channel at all":           {jwt.MapClaims{"depthcast": map[string]any{"channels": []string{}}}, Claims},
		"no depth at all":             {jwt.MapClaims{"depthcast": map[string]any{"depth": 0}}, Claims},
		"a negative depth":            {jwt.MapClaims{"depthcast": map[string]any{"depth": -1}}, Malformed},
		"no connection at all":        {jwt.MapClaims{"depthcast": map[string]any{"connections": 0}}, Claims},
		"an interval out of range":    {jwt.MapClaims{"depthcast": map[string]any{"min_interval_ms": 5001}}, Claims},
		"a delay out of range":        {jwt.MapClaims{"depthcast": map[string]any{"delay_ms": uint64(1) << 62}}, Claims},
		"a far end":                   {jwt.MapClaims{"exp": int64(1) << 53}, ByJWT},
	} {
		t.Run(name, func(t *testing.T) { admitted(t, d, s.sign(c.changes), c.want) })
	}
	if g := admitted(t, d, s.sign(jwt.MapClaims{"depthcast": nil}), ByJWT); len(g.Symbols) != 0 {
		t.Errorf("no terms grant %v", g.Symbols)
	}
	g := admitted(t, d, s.sign(jwt.MapClaims{"depthcast": map[string]any{"symbols": []string{"*", "A"}, "channels": []string{"book", "trades"},
		"depth": 25, "min_interval_ms": 100, "connections": 3, "delay_ms": 900_000}}), ByJWT)
	if len(g.Symbols) != 2 || len(g.Channels) != 2 || g.MaxDepth != 25 || g.MinInterval != 100*time.Millisecond || g.MaxConns != 3 || g.MinDelay != 15*time.Minute ||
		!g.Until.Equal(now.Add(time.Hour+10*time.Second)) {
		t.Errorf("granted %+v", g)
	}
}

// unsigned makes a token of any header, with a signature of any bytes.
func unsigned(header map[string]any, signature string) string {
	h, _ := json.Marshal(header)
	_, claims, _ := strings.Cut(signers()["HS256"].sign(nil), ".")
	claims, _, _ = strings.Cut(claims, ".")
	return base64.RawURLEncoding.EncodeToString(h) + "." + claims + "." + base64.RawURLEncoding.EncodeToString([]byte(signature))
}

func TestTokenDoesNotChooseHowItIsChecked(t *testing.T) {
	rs, es := signers()["RS256"], signers()["ES256"]
	d := newDoor(t, Config{PublicKeyFiles: []string{publicFile(t, rs.public(), es.public())}})
	der, _ := x509.MarshalPKIXPublicKey(rs.public())
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	for name, token := range map[string]string{
		"none":                         unsigned(map[string]any{"alg": "none", "typ": "JWT"}, ""),
		"None":                         unsigned(map[string]any{"alg": "None"}, ""),
		"no algorithm":                 unsigned(map[string]any{"typ": "JWT"}, ""),
		"a number for it":              unsigned(map[string]any{"alg": 5}, ""),
		"a public key as a secret":     (&signer{method: jwt.SigningMethodHS256, key: public}).sign(nil),
		"its bytes as one":             (&signer{method: jwt.SigningMethodHS256, key: der}).sign(nil),
		"a longer hash":                (&signer{method: jwt.SigningMethodRS512, key: rs.key}).sign(nil),
		"PSS":                          (&signer{method: jwt.SigningMethodPS256, key: rs.key}).sign(nil),
		"HS256 where there is no such": signers()["HS256"].sign(nil),
		"EdDSA where there is no such": signers()["EdDSA"].sign(nil),
	} {
		t.Run(name, func(t *testing.T) {
			if g, err := d.Admit(context.Background(), token); g != nil || !errors.Is(err, fanout.ErrToken) {
				t.Errorf("%v, %v", g, err)
			}
		})
	}
	if n := d.stats.Tokens[Algorithm].Load(); n < 8 {
		t.Errorf("%d counted as algorithm", n)
	}
}

func TestExtensionThatIsNotKnownIsNotPassedOver(t *testing.T) {
	s := signers()["ES256"]
	d := newDoor(t, Config{PublicKeyFiles: []string{publicFile(t, s.public())}})
	token := jwt.NewWithClaims(s.method, jwt.MapClaims{"iss": issuer, "aud": audience, "sub": "a", "exp": now.Add(time.Hour).Unix()})
	token.Header["crit"], token.Header["cap"] = []string{"cap"}, "read once"
	text, err := token.SignedString(s.key)
	if err != nil {
		t.Fatal(err)
	}
	admitted(t, d, text, Claims)
}

func TestWeakKeysAreRefused(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skipf("cannot draw one: %v", err)
	}
	other, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	private := textFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("key")})))
	many := make([]any, maxTries+1)
	for i := range many {
		many[i] = signers()["ES256"].public()
	}
	for name, c := range map[string]Config{
		"RSA of 1024 bits": {PublicKeyFiles: []string{publicFile(t, &small.PublicKey)}},
		"P-384":            {PublicKeyFiles: []string{publicFile(t, &other.PublicKey)}},
		"a private key":    {PublicKeyFiles: []string{private}},
		"no key":           {PublicKeyFiles: []string{textFile(t, "key")}},
		"too many keys":    {PublicKeyFiles: []string{publicFile(t, many...)}},
		"a short secret":   {SecretFile: textFile(t, "secret\n")},
		"no secret":        {SecretFile: textFile(t, "\n")},
		"a great file":     {SecretFile: textFile(t, strings.Repeat("x", maxPEMBytes+1))},
	} {
		c.Issuer, c.Audience = issuer, audience
		if _, err := New(c); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, key := range map[string]any{
		"RSA without N": &rsa.PublicKey{E: 3},
		"RSA with E 1":  &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2100), E: 1},
		"a private key": signers()["RS256"].key,
	} {
		if algorithm := algorithmOf(key); algorithm != "" {
			t.Errorf("%s is taken for %s", name, algorithm)
		}
	}
}

func TestClaimsAreTakenByTheirExactNames(t *testing.T) {
	s := signers()["HS256"]
	d := newDoor(t, Config{SecretFile: secretFile(t, s)})
	for name, c := range map[string]struct {
		changes jwt.MapClaims
		want    Outcome
	}{
		"another's subject under a like name":  {jwt.MapClaims{"Sub": "eve", "ſub": "eve"}, ByJWT},
		"another's claim under a like name":    {jwt.MapClaims{"Depthcast": map[string]any{"symbols": []string{"*"}}}, ByJWT},
		"a later end under a like name":        {jwt.MapClaims{"EXP": now.Add(24 * time.Hour).Unix()}, ByJWT},
		"an end under a like name alone":       {jwt.MapClaims{"exp": nil, "Exp": now.Add(time.Hour).Unix()}, Claims},
		"an issuer under a like name":          {jwt.MapClaims{"iss": "eve", "iſs": issuer}, Issuer},
		"an audience under a like name":        {jwt.MapClaims{"aud": "eve", "Aud": audience}, Audience},
		"a member that is none, but for a cap": {jwt.MapClaims{"depthcast": map[string]any{"symbols": []string{"SIM:*"}, "Depth": 5}}, Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			g := admitted(t, d, s.sign(c.changes), c.want)
			if g != nil && (g.User != "alice" || len(g.Symbols) != 1 || g.Symbols[0] != "SIM:*" || !g.Until.Equal(now.Add(time.Hour))) {
				t.Errorf("granted %+v", g)
			}
		})
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	secret := secretFile(t, signers()["HS256"])
	for name, c := range map[string]Config{
		"nothing":                     {},
		"no issuer":                   {SecretFile: secret, Audience: audience},
		"no audience":                 {SecretFile: secret, Issuer: issuer},
		"JWKS over plain HTTP":        {JWKS: "http://keys.example/jwks", Issuer: issuer, Audience: audience},
		"JWKS with a user":            {JWKS: "https://a:b@keys.example/jwks", Issuer: issuer, Audience: audience},
		"JWKS from a file":            {JWKS: "file:///etc/keys", Issuer: issuer, Audience: audience},
		"a leeway of hours":           {SecretFile: secret, Issuer: issuer, Audience: audience, Leeway: time.Hour},
		"a key file that is not here": {KeyFile: "nowhere.yaml"},
	} {
		if _, err := New(c); !errors.Is(err, ErrConfig) && !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func Example() {
	key, hash := NewKey()
	fmt.Println(len(key), len(hash))
	// Output: 47 64
}
