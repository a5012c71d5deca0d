package main

import (
	"time"

	"github.com/depthcast/depthcast/fanout/door"
)

// authority tells of tokens, and of the keys that they are checked with.
func (m scrape) authority(a authority) {
	if a.door != nil {
		s := a.door.Stats()
		for i := range s.Tokens {
			m.count("tokens_total", "Tokens that clients showed, by what became of them.", float64(s.Tokens[i].Load()), "outcome", door.Outcome(i).String())
		}
		m.gauge("api_keys", "API keys in the key file.", float64(a.door.Keys()))
		m.count("api_key_reloads_total", "Times that the key file was read anew.", float64(s.Reloads.Load()))
		m.count("api_key_reload_errors_total", "Times that it changed and could not be read: what it held before goes on to hold.", float64(s.ReloadErrors.Load()))
		m.count("jwt_key_reloads_total", "Times that the files with keys for JWTs were read anew.", float64(s.LocalReloads.Load()))
		m.count("jwt_key_reload_errors_total", "Times that they changed and could not be read: what they held before goes on to hold.", float64(s.LocalReloadErrors.Load()))
		m.count("jwks_fetches_total", "Times that the JSON Web Key Set was asked for.", float64(s.Fetches.Load()))
		m.count("jwks_fetch_errors_total", "Of these, without success: what it held before goes on to hold.", float64(s.FetchErrors.Load()))
		age := -1.0
		if at := s.Fetched.Load(); at > 0 {
			age = time.Since(time.Unix(0, at)).Seconds()
		}
		m.gauge("jwks_age_seconds", "Time since the JSON Web Key Set was last fetched; -1: it never was.", age)
	}
	if a.usage != nil {
		m.count("usage_rows_total", "Lines made for --usage-log.", float64(a.usage.Rows.Load()))
		m.count("usage_lost_total", "Subscriptions and lines that --usage-log lacks for want of room.", float64(a.usage.Lost.Load()))
	}
}
