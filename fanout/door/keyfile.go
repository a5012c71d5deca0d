package door

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/depthcast/depthcast/fanout"
)

// ErrFile marks a key file that cannot be used.
var ErrFile = errors.New("door: bad key file")

// File is the form of a key file.
type File struct {
	Keys []FileKey `yaml:"keys"`
}

// FileKey is one API key: whose it is, its hash and what it grants.
type FileKey struct {
	User string `yaml:"user"`
	// SHA256 of the key, in hexadecimal. A fast hash does, since keys are drawn (by
	// NewKey) and not chosen.
	SHA256  string    `yaml:"sha256"`
	Expires time.Time `yaml:"expires"` // zero: never
	Terms   `yaml:",inline"`
}

const (
	maxFileBytes = 64 << 20
	maxKeys      = 100_000
	keyBytes     = 32
)

// NewKey draws a key and returns it with its hash, for FileKey.SHA256.
func NewKey() (key, hash string) {
	b := make([]byte, keyBytes)
	_, _ = rand.Read(b) // never fails, by its contract
	key = "dck_" + base64.RawURLEncoding.EncodeToString(b)
	return key, hashOf(key)
}

// NewEntry draws a key for a user and returns it with its entry in a key file.
func NewEntry(user string, symbols []string) (key, entry string, err error) {
	key, hash := NewKey()
	terms := Terms{Symbols: symbols}
	if _, err := terms.grant(user); err != nil {
		return "", "", err
	}
	text, err := yaml.Marshal([]map[string]any{{"user": user, "sha256": hash, "symbols": symbols}})
	return key, string(text), err
}

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// keyTable is what a key file holds. It never changes.
type keyTable struct {
	grants map[string]*fanout.Grant // by hash
}

// find returns what a key grants, nil where it is none. That a map tells by its
// time of what it holds is no help: it holds hashes.
func (t *keyTable) find(key string) *fanout.Grant { return t.grants[hashOf(key)] }

// readKeys reads a key file. Grants that are as they were in old stay the same
// values.
func readKeys(path string, old *keyTable) (*keyTable, error) {
	text, err := readBounded(path, maxFileBytes)
	if err != nil {
		return nil, err
	}
	t, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	if old != nil {
		for hash, g := range t.grants {
			if was := old.grants[hash]; reflect.DeepEqual(was, g) {
				t.grants[hash] = was
			}
		}
	}
	return t, nil
}

func parseKeys(text []byte) (*keyTable, error) {
	var file File
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	if len(file.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys, at most %d", len(file.Keys), maxKeys)
	}
	t := &keyTable{grants: make(map[string]*fanout.Grant, len(file.Keys))}
	for i := range file.Keys {
		k := &file.Keys[i]
		sum, err := hex.DecodeString(k.SHA256)
		if err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("key %d (%.64q): sha256 must be %d hexadecimal digits", i+1, k.User, 2*sha256.Size)
		}
		g, err := k.grant(k.User)
		if err != nil {
			return nil, fmt.Errorf("key %d (%.64q): %w", i+1, k.User, err)
		}
		g.Until, g.Key = k.Expires, hex.EncodeToString(sum)
		if t.grants[g.Key] != nil {
			return nil, fmt.Errorf("key %d (%.64q): the same key as one before", i+1, k.User)
		}
		t.grants[g.Key] = g
	}
	return t, nil
}

// retake takes the key file, which has changed.
func (d *Door) retake() {
	if err := d.reload(); err != nil {
		d.stats.ReloadErrors.Add(1)
		d.config.Log.Error("the key file cannot be read: what it held before goes on to hold", "err", err)
	}
}

// reload takes the key file as it is now, all of it or nothing.
func (d *Door) reload() error {
	t, err := readKeys(d.config.KeyFile, d.keys.Load())
	if err != nil {
		return err
	}
	d.keys.Store(t)
	d.stats.Reloads.Add(1)
	d.config.Log.Info("the key file was read anew", "keys", len(t.grants))
	d.config.Changed()
	return nil
}
