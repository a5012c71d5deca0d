package door

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/depthcast/depthcast/fanout"
)

// Config says what tokens are good for. At least one of KeyFile, SecretFile,
// PublicKeyFiles and JWKS is required. The files are read anew when they change; what
// cannot be read leaves what holds.
type Config struct {
	// KeyFile is a YAML file of API keys, by their hashes; see File.
	KeyFile string

	// SecretFile holds the secret of JWTs signed with HS256. At least 32 bytes; a line
	// break at its end does not belong to it.
	SecretFile string

	// PublicKeyFiles hold, in PEM (PUBLIC KEY or CERTIFICATE), the keys of JWTs signed
	// with RS256 (from 2048 bits on), ES256 (P-256) and EdDSA (Ed25519), at most 8 of
	// each.
	PublicKeyFiles []string

	// JWKS is the URL of a JSON Web Key Set (RFC 7517) with more public keys: https,
	// or http on this machine.
	JWKS string

	// Issuer and Audience are what iss and aud of a JWT must be. Required where JWTs
	// are taken: otherwise a token that the issuer made for another service would do.
	Issuer, Audience string

	// Leeway is by how much clocks may differ: a token counts so much longer, and
	// earlier.
	Leeway time.Duration

	// RefreshEvery is how often the JWKS is fetched. Default 5 min.
	RefreshEvery time.Duration

	// RefreshGap is the least time between two fetches because of keys that are not
	// known. Default 10 s.
	RefreshGap time.Duration

	// Grace is how long a key may be missing from the JWKS before the connections of
	// its tokens end. Default 30 s, or RefreshEvery if that is less.
	Grace time.Duration

	// WatchEvery is how often the files are looked at. Default 1 s.
	WatchEvery time.Duration

	// Changed is told when what was granted may have been taken back. It must not
	// wait. Default: nobody is.
	Changed func()

	// Now is the clock; only tests replace it. Default time.Now.
	Now func() time.Time

	// Log takes what an operator should know. Default slog.Default().
	Log *slog.Logger
}

// ErrConfig marks a configuration that cannot work.
var ErrConfig = errors.New("door: bad configuration")

func (c *Config) takesJWTs() bool {
	return c.SecretFile != "" || len(c.PublicKeyFiles) > 0 || c.JWKS != ""
}

// localFiles are those with keys for JWTs.
func (c *Config) localFiles() []string {
	if c.SecretFile == "" {
		return c.PublicKeyFiles
	}
	return append(slices.Clip(c.PublicKeyFiles), c.SecretFile)
}

func (c *Config) validate() error {
	if c.KeyFile == "" && !c.takesJWTs() {
		return fmt.Errorf("%w: neither API keys nor keys for JWTs", ErrConfig)
	}
	if c.takesJWTs() && (c.Issuer == "" || c.Audience == "") {
		return fmt.Errorf("%w: JWTs need an issuer and an audience to be held against", ErrConfig)
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.RefreshEvery, 5 * time.Minute}, {&c.RefreshGap, 10 * time.Second}, {&c.WatchEvery, time.Second},
		{&c.Grace, min(maxGrace, cmp.Or(c.RefreshEvery, maxGrace))}} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return fmt.Errorf("%w: an interval of %v", ErrConfig, *d.field)
		}
	}
	if c.Leeway < 0 || c.Leeway > maxLeeway {
		return fmt.Errorf("%w: a leeway of %v, at most %v", ErrConfig, c.Leeway, maxLeeway)
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return nil
}

const maxLeeway = 5 * time.Minute

// Door checks tokens. It is a fanout.Gate.
type Door struct {
	config Config
	keys   atomic.Pointer[keyTable] // nil: no key file
	files  *Watched                 // the key file; nil: none
	jwts   *jwts                    // nil: none are taken
	local  *Watched                 // the files with their keys; nil: none
	stats  Stats
}

var _ fanout.Gate = (*Door)(nil)

// New reads the files, and does not fetch anything yet: Run does. Errors wrap
// ErrConfig or ErrFile.
func New(c Config) (*Door, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	d := &Door{config: c}
	if c.KeyFile != "" {
		d.files = Watch(c.KeyFile)
		t, err := readKeys(c.KeyFile, nil)
		if err != nil {
			return nil, err
		}
		d.keys.Store(t)
	}
	if c.takesJWTs() {
		if files := d.config.localFiles(); len(files) > 0 {
			d.local = Watch(files...)
		}
		var err error
		if d.jwts, err = newJWTs(&d.config, &d.stats); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Stats are the door's counters.
func (d *Door) Stats() *Stats { return &d.stats }

// Keys returns how many API keys there are.
func (d *Door) Keys() int {
	if t := d.keys.Load(); t != nil {
		return len(t.grants)
	}
	return 0
}

// Run keeps keys up to date until ctx ends.
func (d *Door) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	if d.files != nil {
		all.Go(func() { d.files.Run(ctx, d.config.WatchEvery, d.retake) })
	}
	if d.local != nil {
		all.Go(func() { d.local.Run(ctx, d.config.WatchEvery, d.retakeLocal) })
	}
	if d.jwts != nil && d.jwts.set != nil {
		all.Go(func() { d.jwts.set.run(ctx) })
	}
}

// Admit is fanout.Gate's.
func (d *Door) Admit(ctx context.Context, token string) (*fanout.Grant, error) {
	g, why := d.admit(ctx, token)
	d.stats.Tokens[why].Add(1)
	switch {
	case g != nil:
		return g, nil
	case why == Unavailable:
		return nil, fmt.Errorf("%w: %v", fanout.ErrGate, why)
	}
	return nil, fmt.Errorf("%w: %v", fanout.ErrToken, why)
}

func (d *Door) admit(ctx context.Context, token string) (*fanout.Grant, Outcome) {
	if t := d.keys.Load(); t != nil {
		if g := t.find(token); g != nil {
			if !g.Until.IsZero() && !d.config.Now().Before(g.Until) {
				return nil, Expired
			}
			return g, ByKey
		}
	}
	if d.jwts == nil {
		return nil, UnknownKey
	}
	return d.jwts.admit(ctx, token)
}

// Present is fanout.Gate's: a token holds as long as the key that checked it, or
// that it is.
func (d *Door) Present(g *fanout.Grant) *fanout.Grant {
	if strings.HasPrefix(g.Key, ofFiles) || strings.HasPrefix(g.Key, ofSet) {
		if d.jwts.holds(g.Key) {
			return g
		}
		return nil
	}
	return d.keys.Load().grants[g.Key]
}

// Outcome is what became of a token.
type Outcome uint8

const (
	ByKey       Outcome = iota // an API key
	ByJWT                      // a JWT
	Malformed                  // neither
	Algorithm                  // signed with one that is not taken, or with "none"
	UnknownKey                 // an API key or a JWT's key that is not known
	Signature                  // not that of the key
	Expired                    // too old
	NotYet                     // of the future
	Issuer                     // another one's
	Audience                   // for another service
	Claims                     // the rest is missing or not understood
	Unavailable                // the JWKS is out of reach
	outcomes
)

var outcomeWords = [outcomes]string{"api_key", "jwt", "malformed", "algorithm", "unknown_key", "signature", "expired", "not_yet",
	"issuer", "audience", "claims", "unavailable"}

// String is the metric label.
func (o Outcome) String() string { return outcomeWords[o] }

// Stats are counters, for any goroutine.
type Stats struct {
	Tokens       [outcomes]atomic.Uint64
	Fetches      atomic.Uint64 // of the JWKS
	FetchErrors  atomic.Uint64
	Fetched      atomic.Int64  // when the JWKS was last fetched, ns since 1970; 0: never
	Reloads      atomic.Uint64 // of the key file
	ReloadErrors atomic.Uint64

	LocalReloads      atomic.Uint64 // of the files with keys for JWTs
	LocalReloadErrors atomic.Uint64
}
