package door

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
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

// ParsePublicKeys returns the public keys in PEM text (PUBLIC KEY, or CERTIFICATE).
func ParsePublicKeys(text []byte) ([]any, error) {
	var keys []any
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		var key any
		var err error
		switch block.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "CERTIFICATE":
			var cert *x509.Certificate
			if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
				key = cert.PublicKey
			}
		default:
			err = fmt.Errorf("a block %q, want PUBLIC KEY or CERTIFICATE", block.Type)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no public key in PEM", ErrConfig)
	}
	return keys, nil
}

// claims of a JWT.
type claims struct {
	jwt.RegisteredClaims
	Terms *Terms `json:"depthcast"`
}

// jwts checks JWTs.
type jwts struct {
	config *Config
	parser *jwt.Parser
	static map[string][]jwt.VerificationKey // by algorithm
	set    *jwks                            // nil: none
}

func newJWTs(c *Config, stats *Stats) (*jwts, error) {
	j := &jwts{config: c, static: map[string][]jwt.VerificationKey{}}
	if len(c.Secret) > 0 {
		j.static[jwt.SigningMethodHS256.Alg()] = []jwt.VerificationKey{c.Secret}
	}
	for _, key := range c.PublicKeys {
		j.static[algorithmOf(key)] = append(j.static[algorithmOf(key)], key)
	}
	algorithms := []string{}
	for a := range j.static {
		algorithms = append(algorithms, a)
	}
	if c.JWKS != "" {
		var err error
		if j.set, err = newJWKS(c, stats); err != nil {
			return nil, err
		}
		algorithms = append(algorithms, jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg())
	}
	j.parser = jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithIssuer(c.Issuer), jwt.WithAudience(c.Audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(c.Leeway), jwt.WithTimeFunc(c.Now), jwt.WithStrictDecoding())
	return j, nil
}

// Errors of key, told from those of the parser.
var (
	errCritical    = errors.New("door: an extension that is not known")
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
	_, err := j.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) { return j.key(ctx, t) })
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
	g.Until = end.Truncate(time.Millisecond)
	return g, ByJWT
}

// outcomeOf says what the parser's error comes down to. Its text is not passed on:
// it may quote the token.
func outcomeOf(err error) Outcome {
	for _, o := range []struct {
		is   error
		then Outcome
	}{
		{errUnavailable, Unavailable}, {errUnknownKey, UnknownKey}, {errCritical, Claims},
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

// key finds the keys that may have signed t: those of its algorithm.
func (j *jwts) key(ctx context.Context, t *jwt.Token) (any, error) {
	if _, has := t.Header["crit"]; has { // RFC 7515, section 4.1.11
		return nil, errCritical
	}
	keys := j.static[t.Method.Alg()]
	if kid, _ := t.Header["kid"].(string); j.set != nil && t.Method.Alg() != jwt.SigningMethodHS256.Alg() && (kid != "" || len(keys) == 0) {
		more, err := j.set.find(ctx, t, kid)
		if err != nil && len(keys) == 0 {
			return nil, err
		}
		keys = append(keys[:len(keys):len(keys)], more...)
	}
	if len(keys) == 0 || len(keys) > maxTries {
		return nil, errUnknownKey
	}
	return jwt.VerificationKeySet{Keys: keys}, nil
}
