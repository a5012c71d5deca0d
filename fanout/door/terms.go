package door

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/proto"
)

// Terms are what a token grants, in a JWT as the claim "depthcast", in a key file
// beside the hash. What is not known in them makes the token void: it may be a
// restriction.
type Terms struct {
	// Symbols or patterns that end in *. Not given: none.
	Symbols []string `json:"symbols" yaml:"symbols"`
	// Channels by name. Not given: all.
	Channels []string `json:"channels" yaml:"channels"`
	// Depth is the most levels a side, from 1 on. Not given: all.
	Depth *uint32 `json:"depth" yaml:"depth"`
	// MinIntervalMS is the least time between deltas, at most 5000 ms.
	MinIntervalMS uint32 `json:"min_interval_ms" yaml:"min_interval_ms"`
	// Connections of the user to one server, from 1 on. Not given: no bound.
	Connections *uint32 `json:"connections" yaml:"connections"`
	// DelayMS is how late the books must be that the user is shown.
	DelayMS uint64 `json:"delay_ms" yaml:"delay_ms"`
}

// termNames are the members of Terms.
var termNames = []string{"symbols", "channels", "depth", "min_interval_ms", "connections", "delay_ms"}

// UnmarshalJSON takes no member that Terms does not have by exactly its name.
func (t *Terms) UnmarshalJSON(b []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	for name := range members {
		if !slices.Contains(termNames, name) {
			return fmt.Errorf("%w: a member that is not known", errTerms)
		}
	}
	type plain Terms
	return json.Unmarshal(b, (*plain)(t))
}

var errTerms = errors.New("door: terms that cannot be kept")

const (
	maxIntervalMS  = 5000
	maxDelay       = 31 * 24 * time.Hour
	maxConnections = 1 << 30
	maxUserBytes   = 128
)

// grant returns what t grants a user.
func (t *Terms) grant(user string) (*fanout.Grant, error) {
	if !validUser(user) {
		return nil, fmt.Errorf("%w: the user must be a name of 1 to %d bytes", errTerms, maxUserBytes)
	}
	g := &fanout.Grant{User: user}
	if t == nil {
		return g, nil
	}
	for _, s := range t.Symbols {
		if !validPattern(s) {
			return nil, fmt.Errorf("%w: %.64q is neither a symbol nor a pattern that ends in *", errTerms, s)
		}
	}
	g.Symbols = t.Symbols
	for _, word := range t.Channels {
		c := proto.ChannelOf(word)
		if c == 0 {
			return nil, fmt.Errorf("%w: no channel %.32q", errTerms, word)
		}
		g.Channels = append(g.Channels, c)
	}
	switch {
	case t.Channels != nil && len(t.Channels) == 0:
		return nil, fmt.Errorf("%w: a list of no channels", errTerms)
	case t.Depth != nil && *t.Depth == 0, t.Connections != nil && (*t.Connections == 0 || *t.Connections > maxConnections):
		return nil, fmt.Errorf("%w: depth and connections count from 1", errTerms)
	case t.MinIntervalMS > maxIntervalMS:
		return nil, fmt.Errorf("%w: min_interval_ms %d, at most %d", errTerms, t.MinIntervalMS, maxIntervalMS)
	case t.DelayMS > uint64(maxDelay.Milliseconds()):
		return nil, fmt.Errorf("%w: delay_ms %d, at most %d", errTerms, t.DelayMS, maxDelay.Milliseconds())
	}
	if t.Depth != nil {
		g.MaxDepth = *t.Depth
	}
	if t.Connections != nil {
		g.MaxConns = int(*t.Connections)
	}
	g.MinInterval = time.Duration(t.MinIntervalMS) * time.Millisecond
	g.MinDelay = time.Duration(t.DelayMS) * time.Millisecond
	return g, nil
}

// validUser reports whether a name can stand in logs.
func validUser(name string) bool {
	return name != "" && len(name) <= maxUserBytes && utf8.ValidString(name) &&
		strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func validPattern(s string) bool {
	prefix, pattern := strings.CutSuffix(s, "*")
	if strings.Contains(prefix, "*") {
		return false
	}
	return pattern && prefix == "" || proto.ValidSymbol(prefix)
}
