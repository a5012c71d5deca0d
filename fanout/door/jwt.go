package door

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/proto"
)

// algorithmOf returns the one algorithm that a public key is taken for; "": none.
// The key decides, not the token: that is what keeps a token from choosing to be
// checked by a public key as if that were a secret.
func algorithmOf(key any) string {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N != nil && k.N.BitLen() >= minRSABits && k.E > 1 {
			return jwt.SigningMethodRS256.Alg()
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jwt.SigningMethodES256.Alg()
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return jwt.SigningMethodEdDSA.Alg()
		}
	}
	return ""
}

// claims of a JWT.
type claims struct {
	jwt.RegisteredClaims
	Terms *Terms `json:"depthcast"`
}

// claimNames are the members of claims.
var claimNames = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "depthcast"}

// UnmarshalJSON takes members by their exact names: encoding/json alone would take
// "Sub", which an issuer may let its users choose, for "sub".
func (c *claims) UnmarshalJSON(b []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return !slices.Contains(claimNames, name) })
	exact, err := json.Marshal(members)
	if err != nil {
		return err
	}
	type plain claims
	return json.Unmarshal(exact, (*plain)(c))
}

// jwts checks JWTs.
type jwts struct {
	config *Config
	parser *jwt.Parser
	local  atomic.Pointer[localKeys]
	set    *jwks // nil: none
}

// newJWTs reads the files with keys. Errors wrap ErrConfig or ErrFile.
func newJWTs(c *Config, stats *Stats) (*jwts, error) {
	j := &jwts{config: c}
	local, err := readLocal(c)
	if err != nil {
		return nil, err
	}
	j.local.Store(local)
	var algorithms []string
	if c.SecretFile != "" {
		algorithms = append(algorithms, jwt.SigningMethodHS256.Alg())
	}
	if len(c.PublicKeyFiles) > 0 || c.JWKS != "" {
		algorithms = append(algorithms, jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg())
	}
	if c.JWKS != "" {
		if j.set, err = newJWKS(c, stats); err != nil {
			return nil, err
		}
	}
	j.parser = jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(c.Leeway), jwt.WithTimeFunc(c.Now), jwt.WithStrictDecoding())
	return j, nil
}

// Errors of key, told from those of the parser.
var (
	errCritical    = errors.New("door: an extension that is not known")
	errAlgorithm   = errors.New("door: no key for the algorithm")
	errUnknownKey  = errors.New("door: no such key")
	errUnavailable = errors.New("door: no keys yet")
)

// maxTries bounds the keys that one token is held against.
const maxTries = 8

func (j *jwts) admit(ctx context.Context, token string) (*fanout.Grant, Outcome) {
	if len(token) > proto.MaxTokenBytes || strings.Count(token, ".") != 2 {
		return nil, Malformed
	}
	var c claims
	var by candidate
	_, err := j.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (_ any, err error) {
		by, err = j.key(ctx, t)
		return by.key, err
	})
	if err != nil {
		return nil, outcomeOf(err)
	}
	g, err := c.Terms.grant(c.Subject)
	if err != nil {
		return nil, Claims
	}
	// Beyond that a time is no number of ns any more.
	end := j.config.Now().AddDate(100, 0, 0)
	if at := c.ExpiresAt.Add(j.config.Leeway); at.Before(end) {
		end = at
	}
	g.Until, g.Key = end.Truncate(time.Millisecond), by.print
	return g, ByJWT
}

// outcomeOf says what the parser's error comes down to. Its text is not passed on:
// it may quote the token.
func outcomeOf(err error) Outcome {
	for _, o := range []struct {
		is   error
		then Outcome
	}{
		{errUnavailable, Unavailable}, {errUnknownKey, UnknownKey}, {errCritical, Claims}, {errAlgorithm, Algorithm},
		{jwt.ErrTokenMalformed, Malformed},
		{jwt.ErrTokenSignatureInvalid, Signature},
		{jwt.ErrTokenUnverifiable, Algorithm},
		{jwt.ErrTokenExpired, Expired},
		{jwt.ErrTokenNotValidYet, NotYet}, {jwt.ErrTokenUsedBeforeIssued, NotYet},
		{jwt.ErrTokenInvalidIssuer, Issuer}, {jwt.ErrTokenInvalidAudience, Audience},
	} {
		if errors.Is(err, o.is) {
			if o.then == Signature && strings.Contains(err.Error(), "signing method") {
				return Algorithm // the parser has no error of its own for it
			}
			return o.then
		}
	}
	return Claims
}

// candidate is a key that may have signed a token.
type candidate struct {
	key   jwt.VerificationKey
	print string // see fanout.Grant.Key
}

// key finds the key that has signed t among those of its algorithm. Where none has,
// it is one of them, whose check will fail.
func (j *jwts) key(ctx context.Context, t *jwt.Token) (candidate, error) {
	all, err := j.candidates(ctx, t)
	if err != nil {
		return candidate{}, err
	}
	if len(all) > 1 {
		signed := t.Raw[:strings.LastIndexByte(t.Raw, '.')]
		for _, c := range all {
			if t.Method.Verify(signed, t.Signature, c.key) == nil {
				return c, nil
			}
		}
	}
	return all[0], nil
}

// candidates returns at least one key, or an error.
func (j *jwts) candidates(ctx context.Context, t *jwt.Token) ([]candidate, error) {
	if _, has := t.Header["crit"]; has { // RFC 7515, section 4.1.11
		return nil, errCritical
	}
	all := slices.Clip(j.local.Load().byAlgorithm[t.Method.Alg()])
	kid, _ := t.Header["kid"].(string)
	switch {
	case t.Method.Alg() == jwt.SigningMethodHS256.Alg(), len(all) > 0 && kid == "":
	case j.set != nil:
		more, err := j.set.find(ctx, t, kid)
		if err != nil && len(all) == 0 {
			return nil, err
		}
		for _, key := range more {
			all = append(all, candidate{key, setPrint(kid, key)})
		}
	}
	if len(all) == 0 {
		return nil, errAlgorithm
	}
	return all, nil
}

// holds reports whether the key that checked a token, by its print, counts still.
func (j *jwts) holds(print string) bool {
	if strings.HasPrefix(print, ofFiles) {
		return j.local.Load().prints[print]
	}
	return j.set.current.Load().holds(print)
}

// retakeLocal takes the files with keys, one of which has changed.
func (d *Door) retakeLocal() {
	local, err := readLocal(&d.config)
	if err != nil {
		d.stats.LocalReloadErrors.Add(1)
		d.config.Log.Error("the files with keys for JWTs cannot be read: what they held before goes on to hold", "err", err)
		return
	}
	d.jwts.local.Store(local)
	d.stats.LocalReloads.Add(1)
	d.config.Log.Info("the files with keys for JWTs were read anew", "keys", len(local.prints))
	d.config.Changed()
}
