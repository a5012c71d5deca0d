package fanout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// Errors of Gate.Admit. What they wrap is for the operator's log, not for clients.
var (
	// ErrToken refuses a token: nobody signed it, it is not for this server, or
	// not at this time.
	ErrToken = errors.New("fanout: no valid token")
	// ErrGate says that it cannot be told now: the keys that tokens are signed with
	// are out of reach.
	ErrGate = errors.New("fanout: tokens cannot be checked now")
)

// errForbidden refuses what is not granted. Its text names what was asked for, and
// does not tell whether that exists.
var errForbidden = errors.New("not granted")

// Gate says who may have what. All methods are for any goroutine.
type Gate interface {
	// Admit returns what a token grants, or an error that wraps ErrToken or ErrGate
	// and does not hold the token. It may wait for keys as long as ctx lasts.
	Admit(ctx context.Context, token string) (*Grant, error)
	// Present returns what the token behind g grants by now: g itself where that is
	// the same, nil where it grants nothing any more. It does not wait.
	Present(g *Grant) *Grant
}

// Meter is told which user had which topic when, for reports to exchanges. Its
// methods are called by shards and HTTP, and must not wait. Each Began is followed
// by one Ended.
type Meter interface {
	Began(user string, key proto.TopicKey, at time.Time)
	Ended(user string, key proto.TopicKey, at time.Time)
}

// Grant is what a token lets its bearer have. It never changes; connections share
// it. A nil Grant is that of a hub without a gate: everything.
type Grant struct {
	// User is whose token it is.
	User string
	// Symbols are those granted; one that ends in * stands for all that begin with
	// what is before it. None: no symbol.
	Symbols []string
	// Channels are those granted. None: all.
	Channels []proto.Channel
	// MaxDepth is the most levels a side. 0: all. Where it is set prices are not
	// grouped, since the sums would tell of deeper levels.
	MaxDepth uint32
	// MinInterval is the least time between deltas of a topic.
	MinInterval time.Duration
	// MaxConns bounds the connections of the user to this hub. 0: no bound.
	MaxConns int
	// MinDelay is how late the books must be that the user is shown. It decides
	// which servers may serve him: see Config.Delay.
	MinDelay time.Duration
	// Until is when the token ends. Zero: never.
	Until time.Time
	// Key is by what the gate knows the token again in Present.
	Key string
}

// allows returns nil if g covers a topic of books that are late by delay, else an
// error that wraps errForbidden.
func (g *Grant) allows(key proto.TopicKey, delay time.Duration) error {
	switch {
	case g == nil:
		return nil
	case delay < g.MinDelay:
		return fmt.Errorf("%w: the token is for books that are %v late, and these are %v", errForbidden, g.MinDelay, delay)
	case !g.names(key.Symbol):
		return fmt.Errorf("%w: the symbol %s", errForbidden, key.Symbol)
	case len(g.Channels) > 0 && !slices.Contains(g.Channels, key.Channel):
		return fmt.Errorf("%w: the channel %s", errForbidden, proto.ChannelWord(key.Channel))
	case g.MaxDepth == 0 || key.Channel != proto.ChannelBook && key.Channel != proto.ChannelOrders:
		return nil
	case key.View.Depth == 0 || key.View.Depth > g.MaxDepth:
		return fmt.Errorf("%w: more than %d levels", errForbidden, g.MaxDepth)
	case !key.View.Group.None():
		return fmt.Errorf("%w: groups, where levels are limited", errForbidden)
	}
	return nil
}

// names reports whether a symbol, or all that a pattern can match, is granted.
func (g *Grant) names(symbol string) bool {
	for _, s := range g.Symbols {
		prefix, pattern := strings.CutSuffix(s, "*")
		if s == symbol || pattern && strings.HasPrefix(strings.TrimSuffix(symbol, "*"), prefix) {
			return true
		}
	}
	return false
}

// knows reports whether the bearer may know of a symbol, whatever he may have of it,
// where books are late by delay.
func (g *Grant) knows(symbol string, delay time.Duration) bool {
	return g == nil || delay >= g.MinDelay && g.names(symbol)
}

// listed returns those of infos that the bearer knows of. It leaves infos as it is.
func (g *Grant) listed(infos []proto.SymbolInfo, delay time.Duration) []proto.SymbolInfo {
	if g == nil {
		return infos
	}
	return slices.DeleteFunc(slices.Clone(infos), func(s proto.SymbolInfo) bool { return !g.knows(s.Symbol, delay) })
}

// step returns the index of the interval that is granted where step is asked for.
func (g *Grant) step(step uint8) uint8 {
	if g == nil {
		return step
	}
	return max(step, grantInterval(uint32(g.MinInterval.Milliseconds())))
}

// users counts the connections of each user. Its lock is a leaf.
type users struct {
	mu    sync.Mutex
	conns map[string]int // of users that have any
}

// enter counts a connection under g, and reports whether g has room for it. Each
// success is followed by one leave.
func (u *users) enter(g *Grant) bool {
	if g == nil {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if g.MaxConns > 0 && u.conns[g.User] >= g.MaxConns {
		return false
	}
	u.conns[g.User]++
	return true
}

func (u *users) leave(g *Grant) {
	if g == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conns[g.User]--; u.conns[g.User] == 0 {
		delete(u.conns, g.User)
	}
}

// count returns how many users have connections.
func (u *users) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns)
}
