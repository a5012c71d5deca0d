package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// ErrConfig marks an attack that cannot be made.
var ErrConfig = errors.New("attack: bad configuration")

// Kind is a way to harm a server.
type Kind struct {
	Name string
	What string // each attacker does

	// Answers are what the server says according to the documents, or counts: of each
	// attack there must be one, at least. Of what attackers are told the beginning is
	// compared; of the server's metrics the labels.
	Answers []string

	// Conns is how many attackers there are, each with a connection at a time, and
	// Rate how many connections they open a second, all together.
	Conns int
	Rate  float64

	// attempt is one connection, from dialling to its end; it returns how it ended.
	attempt func(ctx context.Context, a *attacker, n uint64) string
}

// Kinds are the attacks, in the order in which they are made.
var Kinds = []Kind{
	{"slowloris", "sends the header of a request line by line, and never its end", []string{closed, "429", "503"}, 3000, 1500, slowloris},
	{"handshakes", "upgrades, and is gone", []string{"101", "429", "503"}, 200, 2000, handshakes},
	{"ping", "sends pings without a pause; half of them read no pong", []string{`reason="flooding"`, `reason="control_overflow"`}, 100, 200, pings},
	{"churn", "subscribes to everything and leaves it again", []string{"error rate_limited", "close 4011 flooding"}, 100, 200, churn},
	{"snapshots", "asks for whole books again and again, over WebSocket or plain HTTP", []string{"error rate_limited", "close 4011 flooding", "429"}, 100, 1000, snapshots},
	{"bytes", "sends messages of 60 KB without a pause", []string{"close 4011 flooding", "error rate_limited"}, 100, 200, bytesOfText},
	{"bigframe", "announces a frame of 1 TiB, or sends a header of 1 MiB", []string{"close 1009 too_big", "431"}, 100, 1000, bigFrame},
	{"bomb", "sends 64 KB that inflate to 64 MiB", []string{"close 1009 too_big"}, 100, 500, bomb},
	{"stall", "subscribes to everything and reads nothing", []string{`reason="stalled"`}, 1000, 1000, stall},
	{"log", "asks for what must be refused, so that somebody logs it", []string{"400", "401", "404", "426", "429"}, 100, 2000, refusable},
	{"connections", "opens a connection and keeps it, idle", []string{"429", "503"}, 8000, 2500, connections},
	{"garbage", "sends bytes by chance, frames without a mask, impossible codes, broken text", []string{"400", "close 1002 protocol_error"}, 100, 2000, garbage},
}

// Names are those of the kinds.
func Names() []string {
	var all []string
	for i := range Kinds {
		all = append(all, Kinds[i].Name)
	}
	return all
}

// Named returns the kind of a name; nil: there is none.
func Named(name string) *Kind {
	if i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name }); i >= 0 {
		return &Kinds[i]
	}
	return nil
}

// Documented reports whether what the attackers were told, or what the server counted
// (by metric), is as the documents say.
func (k *Kind) Documented(answers map[string]uint64, counted map[string]float64) bool {
	for _, a := range k.Answers {
		for said := range answers {
			if strings.HasPrefix(said, a) {
				return true
			}
		}
		for metric := range counted {
			if strings.Contains(metric, a) {
				return true
			}
		}
	}
	return false
}

// Counted reports whether attackers may not be told what the documents say, so that
// only the server's metrics show it.
func (k *Kind) Counted() bool {
	return slices.ContainsFunc(k.Answers, func(what string) bool { return strings.Contains(what, "=") })
}

// Config is one attack. It is sent to the process that makes it as JSON.
type Config struct {
	Kind     string
	URL      string // ws://HOST:PORT or wss://HOST:PORT
	Insecure bool   // take any certificate
	Token    string // goes with every handshake; empty: none
	Symbols  []string
	Sources  []string // local addresses, taken in turn; none: the kernel's choice
	Conns    int      // 0: those of the kind
	Rate     float64  // connections opened a second; 0: that of the kind
	Length   time.Duration
}

// Result is what came of it.
type Result struct {
	Attempts uint64            `json:"connections"` // begun
	Sent     uint64            `json:"bytes_sent"`
	Received uint64            `json:"bytes_received"`
	Answers  map[string]uint64 `json:"answers"`
}

// lookEvery is how often an attack that may end is asked whether it was answered.
const lookEvery = 50 * time.Millisecond

// mostAnswers bounds the different answers that are told apart.
const mostAnswers = 64

// attacker makes an attack.
type attacker struct {
	// Static after newAttacker.
	config  *Config
	kind    *Kind
	address string
	host    string
	tls     *tls.Config // nil: plain TCP
	sources []net.IP
	pace    *rate.Limiter

	attempts, sent, received atomic.Uint64

	// mu guards answers.
	mu      sync.Mutex
	answers map[string]uint64
}

func newAttacker(c *Config) (*attacker, error) {
	a := &attacker{config: c, kind: Named(c.Kind), answers: map[string]uint64{}}
	u, err := url.Parse(c.URL)
	switch {
	case a.kind == nil:
		return nil, fmt.Errorf("%w: there is no attack %q", ErrConfig, c.Kind)
	case err != nil || u.Port() == "" || u.Scheme != "ws" && u.Scheme != "wss":
		return nil, fmt.Errorf("%w: URL, want ws://HOST:PORT or wss://HOST:PORT", ErrConfig)
	case c.Length <= 0 || c.Conns < 0 || c.Rate < 0 || len(c.Symbols) == 0:
		return nil, fmt.Errorf("%w: a length, or number, that is not positive, or no symbols", ErrConfig)
	}
	if c.Conns == 0 {
		c.Conns = a.kind.Conns
	}
	if c.Rate == 0 {
		c.Rate = a.kind.Rate
	}
	a.address, a.host = u.Host, u.Host
	a.pace = rate.NewLimiter(rate.Limit(c.Rate), max(1, int(c.Rate/20)))
	if u.Scheme == "wss" {
		a.tls = &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: c.Insecure, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	}
	for _, text := range c.Sources {
		ip := net.ParseIP(text)
		if ip == nil {
			return nil, fmt.Errorf("%w: source %q is no address", ErrConfig, text)
		}
		a.sources = append(a.sources, ip)
	}
	return a, nil
}

// Run makes the attack until it is told that it is enough, and attackers were told
// what the documents say where that is something that they are told; or ctx or its
// length ends.
func Run(ctx context.Context, c Config, enough <-chan struct{}) (*Result, error) {
	a, err := newAttacker(&c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Length)
	defer cancel()
	go func() {
		for look := time.NewTicker(lookEvery); ; {
			select {
			case <-enough:
				if a.answered() {
					cancel()
					return
				}
			case <-ctx.Done():
				return
			}
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	var all sync.WaitGroup
	for range c.Conns {
		all.Go(func() { a.repeat(ctx) })
	}
	all.Wait()
	return &Result{Attempts: a.attempts.Load(), Sent: a.sent.Load(), Received: a.received.Load(), Answers: a.answers}, nil
}

// repeat is one of the attackers: as soon as a connection has ended, it begins the next.
func (a *attacker) repeat(ctx context.Context) {
	for {
		if a.pace.Wait(ctx) != nil {
			return
		}
		if how := a.kind.attempt(ctx, a, a.attempts.Add(1)); how != "" {
			a.answer(how)
		}
	}
}

// answered reports whether the attackers were told what the documents say, or will
// not be told.
func (a *attacker) answered() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.kind.Counted() || a.kind.Documented(a.answers, nil)
}

// answer counts something that the server did.
func (a *attacker) answer(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.answers[what]; !known && len(a.answers) >= mostAnswers {
		what = "other"
	}
	a.answers[what]++
}
