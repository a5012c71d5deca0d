package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// ErrConfig marks a configuration that cannot work.
var ErrConfig = errors.New("client: bad configuration")

// Config says where to connect and what to bear. A zero field takes its default.
type Config struct {
	// URL of the stream: ws://HOST:PORT/v1/stream or wss://…. Required.
	URL string

	// Codec of the frames. The default, protobuf, is smaller and faster than JSON.
	Codec proto.Codec

	// Deflate offers permessage-deflate: fewer bytes for more CPU. Servers agree for
	// JSON, and for protobuf where they are told to; one that declines sends as usual.
	Deflate bool

	// TLS is used for wss://. Default: the system's roots and the URL's host name.
	TLS *tls.Config

	// Header is sent with each handshake.
	Header http.Header

	// Token returns the token to show (as Authorization: Bearer), for servers that want
	// one. It is called before each connection and, from four fifths of the token's
	// time on, for its successor, which is shown in place; it may return the same one
	// for as long as it has no other. An error counts as a connection that failed. nil:
	// no token.
	Token func(context.Context) (string, error)

	// DialTimeout bounds connecting: TCP, TLS, handshake and the server's hello.
	// Default 10 s.
	DialTimeout time.Duration

	// BackoffMin and BackoffMax bound the wait before connecting anew. The nth
	// attempt in a row waits between half and all of BackoffMin * 2^n, at most
	// BackoffMax; a connection that lasted BackoffMax begins the count anew.
	// Defaults 250 ms and 15 s.
	BackoffMin, BackoffMax time.Duration

	// PingAfter is how long the server may be silent until it is asked for a sign
	// of life, and PongTimeout how long it then has: after both the connection
	// counts as lost. They should exceed the server's keepalive interval (5 s).
	// Defaults 15 s and 10 s.
	PingAfter, PongTimeout time.Duration

	// AnswerTimeout bounds the wait for the answer to a subscribe; after it the
	// connection counts as lost. Default 10 s.
	AnswerTimeout time.Duration

	// ResyncTimeout is how long a snapshot that was asked for may take until it is
	// asked for again. Default 5 s.
	ResyncTimeout time.Duration

	// WriteTimeout bounds the sending of one request. Default 5 s.
	WriteTimeout time.Duration

	// MaxFrameBytes bounds one message of the server; the connection ends at a
	// greater one. It must exceed the greatest snapshot: about 12 bytes a level in
	// protobuf and 45 in JSON, and 16 and 60 an order. Default 64 MiB.
	MaxFrameBytes int

	// MaxHz and MaxBytesPerSecond are the most frames and bytes a second that the
	// server is to send over the whole connection, on average: what comes instead is
	// the net change. 0: no wish.
	MaxHz             uint32
	MaxBytesPerSecond uint64

	random func() float64   // in [0, 1); of the jitter
	clock  func() time.Time // of the wall
}

func (c *Config) validate() error {
	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" {
		return fmt.Errorf("%w: URL %q, want ws://HOST[:PORT]/v1/stream or wss://…", ErrConfig, u.Redacted())
	}
	if c.Codec >= proto.NumCodecs {
		return fmt.Errorf("%w: there is no codec %d", ErrConfig, c.Codec)
	}
	for _, d := range []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"DialTimeout", &c.DialTimeout, 10 * time.Second},
		{"BackoffMin", &c.BackoffMin, 250 * time.Millisecond},
		{"BackoffMax", &c.BackoffMax, 15 * time.Second},
		{"PingAfter", &c.PingAfter, 15 * time.Second},
		{"PongTimeout", &c.PongTimeout, 10 * time.Second},
		{"AnswerTimeout", &c.AnswerTimeout, 10 * time.Second},
		{"ResyncTimeout", &c.ResyncTimeout, 5 * time.Second},
		{"WriteTimeout", &c.WriteTimeout, 5 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 0 {
			return fmt.Errorf("%w: %s is negative", ErrConfig, d.name)
		}
	}
	if c.BackoffMin > c.BackoffMax {
		return fmt.Errorf("%w: BackoffMin %v exceeds BackoffMax %v", ErrConfig, c.BackoffMin, c.BackoffMax)
	}
	if c.MaxFrameBytes == 0 {
		c.MaxFrameBytes = 64 << 20
	}
	if c.MaxFrameBytes < 1024 {
		return fmt.Errorf("%w: MaxFrameBytes %d is below 1024", ErrConfig, c.MaxFrameBytes)
	}
	if c.random == nil {
		c.random = rand.Float64
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	return nil
}
