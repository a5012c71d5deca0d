package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto/pb"
)

// tokens is what a client knows of its token. Owned by the loop.
type tokens struct {
	shown   string    // with the last handshake or auth
	refused string    // by a server: shown again, it is refused again
	ends    time.Time // when it does; zero: never, or not known
	renewAt time.Time // when the next one is to be shown; zero: never
}

// ErrToken wraps what Config.Token returned.
var ErrToken = errors.New("client: no token")

// present returns the header of the next handshake. A token that was refused is not
// shown again: the error is permanent then.
func (c *Client) present(ctx context.Context) (http.Header, error) {
	if c.config.Token == nil {
		return c.config.Header, nil
	}
	token, err := c.config.Token(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	case token == c.token.refused:
		return nil, &HandshakeError{Status: http.StatusUnauthorized, Text: "the token has been refused before"}
	}
	c.token.shown = token
	header := c.config.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Authorization", "Bearer "+token)
	return header, nil
}

// mayHaveAnother reports whether err is about the token that was shown, and Config.
// Token may have another one by now.
func (c *Client) mayHaveAnother(err error) bool {
	var h *HandshakeError
	if c.config.Token == nil || !errors.As(err, &h) || h.Status != http.StatusUnauthorized || c.token.shown == c.token.refused {
		return false
	}
	c.token.refused = c.token.shown
	return true
}

// expire notes when the token ends, as a hello says, by the server's clock.
func (c *Client) expire(hello *pb.Hello, now time.Time) {
	c.token.renewAt = time.Time{}
	if left := time.Duration(hello.AuthUntil - hello.Time); hello.AuthUntil != 0 && c.config.Token != nil {
		c.token.ends = now.Add(left)
		c.token.renewAt = now.Add(max(left*4/5, time.Second))
	}
}

// renew shows another token once four fifths of the last one's time have passed.
func (c *Client) renew(ctx context.Context, now time.Time) error {
	if c.token.renewAt.IsZero() || now.Before(c.token.renewAt) {
		return nil
	}
	// Hello, which answers, sets it anew; where it does not come, this is tried again
	// in half of the time that is left.
	c.token.renewAt = now.Add(max(c.token.ends.Sub(now)/2, time.Second))
	token, err := c.config.Token(ctx)
	if err != nil || token == c.token.shown {
		return nil // the connection goes on until the last one ends
	}
	c.token.shown = token
	return c.send(&pb.Request{Id: c.nextID(), Body: &pb.Request_Auth{Auth: &pb.Auth{Token: token}}})
}

// dialOnce connects with the token there is.
func (c *Client) dialOnce(ctx context.Context) (*conn, error) {
	header, err := c.present(ctx)
	if err != nil {
		return nil, err
	}
	config := c.config
	config.Header = header
	return dial(ctx, &config)
}

// closedForGood are close codes after which the same words are of no use.
func closedForGood(code uint16) bool {
	switch ws.StatusCode(code) {
	case ws.StatusProtocolError, ws.StatusUnsupportedData, ws.StatusInvalidFramePayloadData,
		ws.StatusPolicyViolation, ws.StatusMessageTooBig, closeUnauthenticated:
		return true
	}
	return false
}

// closeUnauthenticated ends a connection whose token did not come in time.
const closeUnauthenticated = 4006
