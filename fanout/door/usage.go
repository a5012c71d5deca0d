package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/proto"
)

// UsageConfig says where usage is written down.
type UsageConfig struct {
	// Path of the file, which is appended to: a JSON object a line. It is opened for
	// each writing, so that it can be moved away.
	Path string
	// Every is how often it is written. Default 1 h.
	Every time.Duration
	// Delay is how late the books are, for the record.
	Delay time.Duration
	// Log takes what an operator should know. Default slog.Default().
	Log *slog.Logger
	// Now is the clock; only tests replace it. Default time.Now.
	Now func() time.Time
}

// Usage adds up which user had which symbol and channel for how long, as exchanges
// want it reported. It is a fanout.Meter. What was had is counted by topics: who has
// two depths of a book at once has it once.
type Usage struct {
	config UsageConfig

	// For any goroutine.
	Rows atomic.Uint64 // written
	Lost atomic.Uint64 // there was no room for

	// Guarded by mu, a leaf.
	mu    sync.Mutex
	spans map[usageKey]*span
	began time.Time // of the period

	unwritten []byte // owned by Run: rows that could not be written yet
}

var _ fanout.Meter = (*Usage)(nil)

type usageKey struct {
	user, symbol string
	channel      proto.Channel
}

// span is what a user had of a channel of a symbol in this period.
type span struct {
	open     int           // subscriptions now
	since    time.Time     // while open: from when on it is not in had yet
	had      time.Duration // before
	requests uint64        // subscriptions begun
}

// usageRow is a line of the file.
type usageRow struct {
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	User     string    `json:"user"`
	Symbol   string    `json:"symbol"`
	Channel  string    `json:"channel"`
	DelayMS  int64     `json:"delay_ms"`
	Seconds  float64   `json:"seconds"`  // in which the user had it
	Requests uint64    `json:"requests"` // subscriptions begun, and single answers
	Open     int       `json:"open"`     // subscriptions that go on
}

const (
	maxSpans          = 1 << 20
	maxUnwrittenBytes = 64 << 20
)

// NewUsage makes sure that the file can be written.
func NewUsage(c UsageConfig) (*Usage, error) {
	if c.Every == 0 {
		c.Every = time.Hour
	}
	if c.Every < 0 {
		return nil, errors.New("door: usage written at a negative interval")
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	u := &Usage{config: c, spans: map[usageKey]*span{}, began: c.Now()}
	return u, u.append(nil)
}

// Began is fanout.Meter's.
func (u *Usage) Began(user string, key proto.TopicKey, at time.Time) {
	k := usageKey{user, key.Symbol, key.Channel}
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.spans[k]
	if s == nil {
		if len(u.spans) >= maxSpans {
			u.Lost.Add(1)
			return
		}
		s = &span{}
		u.spans[k] = s
	}
	if s.open == 0 {
		s.since = at
	}
	s.open++
	s.requests++
}

// Ended is fanout.Meter's.
func (u *Usage) Ended(user string, key proto.TopicKey, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.spans[usageKey{user, key.Symbol, key.Channel}]
	if s == nil || s.open == 0 {
		return // there was no room for it
	}
	if s.open--; s.open == 0 {
		s.had += at.Sub(s.since)
	}
}

// Run writes a row for each user, symbol and channel that was had in a period, at
// its end and when ctx ends.
func (u *Usage) Run(ctx context.Context) {
	tick := time.NewTicker(u.config.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			u.write()
			return
		case <-tick.C:
			u.write()
		}
	}
}

// write ends the period. What cannot be written is kept for the next time.
func (u *Usage) write() {
	rows := u.close(u.config.Now())
	b := bytes.NewBuffer(u.unwritten)
	e := json.NewEncoder(b)
	for i := range rows {
		if b.Len() > maxUnwrittenBytes {
			u.Lost.Add(uint64(len(rows) - i))
			break
		}
		_ = e.Encode(&rows[i]) // into memory, and of a form that JSON has
		u.Rows.Add(1)
	}
	u.unwritten = b.Bytes()
	if err := u.append(u.unwritten); err != nil {
		u.config.Log.Error("usage cannot be written; it is kept", "path", u.config.Path, "bytes", len(u.unwritten), "err", err)
		return
	}
	u.unwritten = nil
}

func (u *Usage) append(b []byte) error {
	f, err := os.OpenFile(u.config.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := f.Write(b)
	if n > 0 && n < len(b) { // what was written must not come twice
		u.unwritten = slices.Clone(b[n:])
	}
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return errors.Join(err, f.Close())
}

// close ends the period at now and returns its rows, by user, symbol and channel.
func (u *Usage) close(now time.Time) []usageRow {
	u.mu.Lock()
	defer u.mu.Unlock()
	rows := make([]usageRow, 0, len(u.spans))
	for k, s := range u.spans {
		had := s.had
		if s.open > 0 {
			had += now.Sub(s.since)
		}
		rows = append(rows, usageRow{From: u.began.UTC(), Until: now.UTC(), User: k.user, Symbol: k.symbol, Channel: proto.ChannelWord(k.channel),
			DelayMS: u.config.Delay.Milliseconds(), Seconds: had.Seconds(), Requests: s.requests, Open: s.open})
		if s.open == 0 {
			delete(u.spans, k)
			continue
		}
		s.had, s.requests, s.since = 0, 0, now
	}
	u.began = now
	slices.SortFunc(rows, func(a, b usageRow) int {
		if c := strings.Compare(a.User, b.User); c != 0 {
			return c
		}
		if c := strings.Compare(a.Symbol, b.Symbol); c != 0 {
			return c
		}
		return strings.Compare(a.Channel, b.Channel)
	})
	return rows
}
