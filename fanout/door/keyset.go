package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

const (
	maxJWKSKeys = 64
	maxGrace    = 30 * time.Second
)

// keySet is one state of the set. It never changes.
type keySet struct {
	byID   keyfunc.Keyfunc
	all    []jwt.VerificationKey // public ones that can be used
	prints map[string]bool       // of those, with and without their ids

	// missing are the prints of keys that were in the set and are not in this state,
	// nor in those since the time given. Tokens are not checked with them any more;
	// what they have checked holds for Config.Grace from then on, and until a state
	// after that lacks them too: issuers answer from several machines, which do not
	// all rotate at the same time.
	missing map[string]time.Time
}

// parseJWKS takes the public keys that can check one of our algorithms. Others are
// passed over (RFC 7517, section 5), secrets among them: who can read the set could
// sign with them.
func parseJWKS(text []byte) (*keySet, error) {
	var file struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	if len(file.Keys) > maxJWKSKeys {
		return nil, fmt.Errorf("%d keys, at most %d", len(file.Keys), maxJWKSKeys)
	}
	storage := jwkset.NewMemoryStorage()
	set := &keySet{prints: map[string]bool{}}
	for _, raw := range file.Keys {
		key, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil || algorithmOf(key.Key()) == "" || key.Marshal().USE == jwkset.UseEnc {
			continue
		}
		if err := storage.KeyWrite(context.Background(), key); err != nil {
			return nil, err
		}
		set.all = append(set.all, key.Key())
		set.prints[setPrint("", key.Key())], set.prints[setPrint(key.Marshal().KID, key.Key())] = true, true
	}
	if len(set.all) == 0 {
		return nil, errors.New("no key in it that can be used")
	}
	var err error
	set.byID, err = keyfunc.New(keyfunc.Options{Storage: storage})
	return set, err
}

func (k *keySet) find(t *jwt.Token, kid string) ([]jwt.VerificationKey, error) {
	if k == nil {
		return nil, errUnavailable
	}
	var found []jwt.VerificationKey
	if kid != "" {
		key, err := k.byID.Keyfunc(t)
		if err != nil {
			return nil, errUnknownKey
		}
		found = []jwt.VerificationKey{key}
	} else {
		found = k.all
	}
	var fit []jwt.VerificationKey
	for _, key := range found {
		if algorithmOf(key) == t.Method.Alg() {
			fit = append(fit, key)
		}
	}
	if len(fit) == 0 || len(fit) > maxTries {
		return nil, errUnknownKey
	}
	return fit, nil
}

// holds reports whether what the key of a print has checked counts still.
func (k *keySet) holds(print string) bool {
	if k.prints[print] {
		return true
	}
	_, is := k.missing[print]
	return is
}

// follow notes what k, fetched at a time, lacks of old, and reports whether a key has
// thereby gone for good.
func (k *keySet) follow(old *keySet, at time.Time, grace time.Duration) (gone bool) {
	if old == nil {
		return false
	}
	k.missing = map[string]time.Time{}
	for print := range old.prints {
		if !k.prints[print] {
			k.missing[print] = at
		}
	}
	for print, since := range old.missing {
		switch {
		case k.prints[print]:
		case at.Sub(since) >= grace:
			gone = true
		default:
			k.missing[print] = since
		}
	}
	return gone
}

// again returns how long after a time the set should be fetched again.
func (k *keySet) again(at time.Time, c *Config) time.Duration {
	wait := c.RefreshEvery
	for _, since := range k.missing {
		wait = min(wait, max(0, c.Grace-at.Sub(since)))
	}
	return wait
}
