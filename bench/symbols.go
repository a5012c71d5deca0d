package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

const (
	// listedWithin bounds the time until the server has the symbols that are wanted.
	listedWithin = 60 * time.Second
	// answeredWithin bounds the time for which it may not answer as it should.
	answeredWithin = 10 * time.Second
)

// waitForSymbols asks the server for its symbols until all that are wanted, and at
// least one, are live there. It returns those that are live.
func waitForSymbols(ctx context.Context, stream string, insecure bool, token string, wanted []string) ([]string, error) {
	u, err := url.Parse(stream)
	if err != nil {
		return nil, err
	}
	scheme, known := map[string]string{"ws": "http", "wss": "https"}[u.Scheme]
	if !known {
		return nil, fmt.Errorf("bench: --url %q: want ws://HOST:PORT or wss://HOST:PORT", u.Redacted())
	}
	from := (&url.URL{Scheme: scheme, Host: u.Host, Path: "/v1/symbols"}).String()
	asker := &http.Client{Transport: bearer{token, &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: insecure}, DisableKeepAlives: true}}}
	ctx, cancel := context.WithTimeout(ctx, listedWithin)
	defer cancel()
	deadline := time.Now().Add(answeredWithin)
	for again := time.NewTicker(200 * time.Millisecond); ; {
		live, missing, err := liveSymbols(ctx, asker, from, wanted)
		if err == nil && missing == "" {
			return live, nil
		}
		if err == nil {
			deadline = time.Now().Add(answeredWithin)
		} else if time.Now().After(deadline) {
			return nil, fmt.Errorf("bench: %s does not list symbols: %w", from, err)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			if err != nil {
				return nil, fmt.Errorf("bench: %s: %w", from, err)
			}
			return nil, fmt.Errorf("bench: %s: %s is not live there after %v", from, missing, listedWithin)
		}
	}
}

// bearer sends a token with every request, if there is one.
type bearer struct {
	token string
	by    http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.by.RoundTrip(r)
}

// liveSymbols asks once. missing is one that is wanted and not live.
func liveSymbols(ctx context.Context, asker *http.Client, from string, wanted []string) (live []string, missing string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, "", err
	}
	answer, err := asker.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s", answer.Status)
	}
	var list struct {
		Symbols []struct{ Symbol, State string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		return nil, "", err
	}
	there := map[string]bool{}
	for _, s := range list.Symbols {
		if s.State == "live" {
			live, there[s.Symbol] = append(live, s.Symbol), true
		}
	}
	for _, w := range wanted {
		if !there[w] {
			return live, w, nil
		}
	}
	if len(live) == 0 {
		return nil, "any symbol", nil
	}
	return live, "", nil
}
