package door

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/golang-jwt/jwt/v5"
)

const (
	minSecretBytes = 32
	minRSABits     = 2048
	maxPEMBytes    = 1 << 20
)

// localKeys are the keys of files that JWTs are checked with. They never change.
type localKeys struct {
	byAlgorithm map[string][]candidate
	prints      map[string]bool // of all of them
}

// readLocal reads the files of c, all or none.
func readLocal(c *Config) (*localKeys, error) {
	l := &localKeys{byAlgorithm: map[string][]candidate{}, prints: map[string]bool{}}
	if c.SecretFile != "" {
		text, err := readBounded(c.SecretFile, maxPEMBytes)
		if err != nil {
			return nil, err
		}
		secret := bytes.TrimRight(text, "\r\n") // a line break at its end does not belong to it
		if len(secret) < minSecretBytes {
			return nil, fmt.Errorf("%w: %s: a secret of %d bytes, at least %d", ErrFile, c.SecretFile, len(secret), minSecretBytes)
		}
		l.add(jwt.SigningMethodHS256.Alg(), secret)
	}
	for _, path := range c.PublicKeyFiles {
		text, err := readBounded(path, maxPEMBytes)
		if err != nil {
			return nil, err
		}
		keys, err := parsePublicKeys(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
		}
		for _, key := range keys {
			l.add(algorithmOf(key), key)
		}
	}
	for algorithm, keys := range l.byAlgorithm {
		if len(keys) > maxTries {
			return nil, fmt.Errorf("%w: %d keys of %s, at most %d", ErrFile, len(keys), algorithm, maxTries)
		}
	}
	return l, nil
}

func (l *localKeys) add(algorithm string, key any) {
	c := candidate{key, localPrint(key)}
	l.byAlgorithm[algorithm] = append(l.byAlgorithm[algorithm], c)
	l.prints[c.print] = true
}

// parsePublicKeys returns the public keys in PEM text (PUBLIC KEY, or CERTIFICATE).
func parsePublicKeys(text []byte) ([]any, error) {
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
			return nil, err
		}
		if algorithmOf(key) == "" {
			return nil, fmt.Errorf("a public key that is neither RSA from %d bits on, nor ECDSA on P-256, nor Ed25519 (%T)", minRSABits, key)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key in PEM")
	}
	return keys, nil
}

// readBounded reads a file of keys of at most so many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	case int64(len(text)) > most:
		return nil, fmt.Errorf("%w: %s: more than %d bytes", ErrFile, path, most)
	}
	return text, nil
}

// What fanout.Grant.Key begins with, where a JWT is behind it; that of an API key is
// its hash alone. Then comes what tells the key that checked it from others.
const (
	ofFiles = "file:"
	ofSet   = "jwks:"
)

// localPrint tells a key of the files from others.
func localPrint(key any) string { return ofFiles + printOf("", key) }

// setPrint tells a key of the JWKS from others. kid is that of the token; empty: it
// names none.
func setPrint(kid string, key any) string { return ofSet + printOf(kid, key) }

func printOf(kid string, key any) string {
	material, secret := key.([]byte)
	if !secret {
		material, _ = x509.MarshalPKIXPublicKey(key) // never fails for those of algorithmOf
	}
	named := sha256.Sum256([]byte(kid))
	sum := sha256.Sum256(append(named[:], material...))
	return hex.EncodeToString(sum[:])
}
