package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxJWKSBytes = 1 << 20
	fetchWithin  = 4 * time.Second // below what a token may wait (fanout)
	// A fetch that failed is tried again after retryAfter, doubling up to retryMost.
	retryAfter = time.Second
	retryMost  = time.Minute
)

// jwks is a JSON Web Key Set that is fetched anew again and again. A set that
// cannot be fetched leaves the one that holds.
type jwks struct {
	host    string // of the URL, the rest of which may hold a secret
	config  *Config
	stats   *Stats
	client  http.Client
	current atomic.Pointer[keySet] // nil: none was fetched yet
	wanted  chan struct{}          // somebody waits for a fetch; sent to under mu

	mu       sync.Mutex
	fetching bool
	ended    time.Time     // the last fetch
	fetched  chan struct{} // closed when the next fetch has ended
}

func newJWKS(c *Config, stats *Stats) (*jwks, error) {
	u, err := url.Parse(c.JWKS)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%w: the JWKS needs a URL without a user", ErrConfig)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("%w: a JWKS decides who may have what, so it comes over https, or from this machine: %s", ErrConfig, u.Host)
	}
	return &jwks{
		host: u.Host, config: c, stats: stats, wanted: make(chan struct{}, 1), fetched: make(chan struct{}),
		client: http.Client{
			Timeout: fetchWithin,
			// Where keys come from is what the operator said, and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// run fetches until ctx ends: at intervals, sooner after a failure, and when a
// token names a key that is not known.
func (s *jwks) run(ctx context.Context) {
	wait, failures := time.Duration(0), 0
	for {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		case <-s.wanted:
			t.Stop()
		}
		if err := s.fetch(ctx); err != nil {
			s.config.Log.Error("the JWKS cannot be fetched: what it held before goes on to hold", "host", s.host, "err", err)
			wait = min(retryMost, retryAfter<<min(failures, 10))
			failures++
			continue
		}
		wait, failures = s.current.Load().again(s.config.Now(), s.config), 0
	}
}

// fetch brings the set up to date, and tells those who wait for that.
func (s *jwks) fetch(ctx context.Context) error {
	s.mu.Lock()
	s.fetching = true
	select {
	case <-s.wanted: // this fetch is it
	default:
	}
	s.mu.Unlock()
	set, err := s.get(ctx)
	s.stats.Fetches.Add(1)
	if err != nil {
		s.stats.FetchErrors.Add(1)
	} else {
		s.take(set)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.fetched)
	s.fetching, s.ended = false, s.config.Now()
	s.fetched = make(chan struct{})
	return err
}

// take puts a set that was fetched now in the place of the one before.
func (s *jwks) take(set *keySet) {
	at := s.config.Now()
	gone := set.follow(s.current.Load(), at, s.config.Grace)
	s.current.Store(set)
	s.stats.Fetched.Store(at.UnixNano())
	if gone {
		s.config.Log.Info("keys have left the JWKS: the connections of their tokens end", "host", s.host)
		s.config.Changed()
	}
}

func (s *jwks) get(ctx context.Context) (*keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.config.JWKS, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json")
	resp, err := s.client.Do(req)
	if err != nil {
		// The URL that it names may hold a secret.
		if told := (*url.Error)(nil); errors.As(err, &told) {
			err = told.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKSBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxJWKSBytes:
		return nil, fmt.Errorf("more than %d bytes", maxJWKSBytes)
	}
	return parseJWKS(text)
}

// find returns the keys that may have signed t: the one that it names, or those of
// its algorithm, of which there are at most maxTries. One that is not known is asked for once, unless that was done just
// now.
func (s *jwks) find(ctx context.Context, t *jwt.Token, kid string) ([]jwt.VerificationKey, error) {
	keys, err := s.current.Load().find(t, kid)
	if err == nil {
		return keys, nil
	}
	s.refresh(ctx)
	return s.current.Load().find(t, kid) // it may have come meanwhile in any case
}

// refresh has the set fetched and waits for that, unless it was fetched just now.
func (s *jwks) refresh(ctx context.Context) {
	fetched := s.want()
	if fetched == nil {
		return
	}
	select {
	case <-fetched:
	case <-ctx.Done():
	}
}

// want asks for a fetch and returns what is closed when it has ended: the one under
// way if there is one; nil: the last one was just now.
func (s *jwks) want() <-chan struct{} {
	gap := s.config.RefreshGap
	if s.current.Load() == nil {
		gap = min(gap, retryAfter)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.fetching:
	case s.config.Now().Sub(s.ended) < gap:
		return nil
	default:
		select {
		case s.wanted <- struct{}{}:
		default: // it is wanted already
		}
	}
	return s.fetched
}
