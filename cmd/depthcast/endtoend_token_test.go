package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/fanout/door"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func (r *running) dialWith(token func(context.Context) (string, error)) *client.Client {
	r.t.Helper()
	c, err := client.New(client.Config{URL: r.stream(), Token: token, BackoffMin: 10 * time.Millisecond, BackoffMax: 100 * time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func TestEndToEndClientRenewsItsTokenInPlace(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("s3cret..", 4)
	l := newLab(t, 1)
	r := l.serve(func(_ *readFlags, f *serverFlags) {
		f.AuthJWTSecret, f.AuthIssuer, f.AuthAudience = tempFile(t, secret), "i", "depthcast"
	})
	began, shown := time.Now(), 0
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := r.dialWith(func(context.Context) (string, error) {
		if shown++; shown == 4 { // at four fifths of three tokens: the first has ended
			cancel()
		}
		return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "i", "aud": "depthcast", "sub": "bob", "jti": fmt.Sprint(shown),
			"exp": time.Now().Add(3 * time.Second).Unix(), "depthcast": map[string]any{"symbols": []string{"SIM:*"}}}).SignedString([]byte(secret))
	})
	for event, err := range c.Events(ctx) {
		if lost, is := event.(*client.Disconnected); is {
			t.Fatalf("after %d tokens: %v", shown, lost.Err)
		}
		if err != nil && (shown != 4 || time.Since(began) < 3*time.Second) {
			t.Fatalf("after %d tokens: %v", shown, err)
		}
	}
}

func TestEndToEndClientWhoseTokenIsRefusedGivesUp(t *testing.T) {
	l := newLab(t, 1)
	r := l.serve(func(_ *readFlags, f *serverFlags) { f.AuthKeys = keyFile(t, "") })
	tokens := []string{"first", "second", "second"}
	c := r.dialWith(func(context.Context) (string, error) {
		token := tokens[0]
		tokens = tokens[1:]
		return token, nil
	})
	for event, err := range c.Events(t.Context()) {
		var h *client.HandshakeError
		switch {
		case err == nil:
			if _, is := event.(*client.Disconnected); !is {
				t.Fatalf("%v", event)
			}
		case !errors.As(err, &h) || h.Status != http.StatusUnauthorized || len(tokens) != 0:
			t.Fatalf("%v, with %d tokens left", err, len(tokens))
		}
	}
}

func TestEndToEndTopicThatIsRevokedEndsForTheClient(t *testing.T) {
	t.Parallel()
	key, entry, err := door.NewEntry("alice", []string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	path := keyFile(t, "\n"+entry)
	l := newLab(t, 1)
	p := l.producer()
	for _, symbol := range []string{"SIM:A", "SIM:B"} {
		l.writeRaw(p, eventRecord(symbol, defined("N"), inPhase(proto.PreOpen)))
	}
	r := l.serve(func(_ *readFlags, f *serverFlags) { f.AuthKeys = path })
	r.caughtUpTo(l)
	c := r.dialWith(func(context.Context) (string, error) { return key, nil })
	kept, lost := subscribe(t, c, client.Item{Symbol: "SIM:A"}), subscribe(t, c, client.Item{Symbol: "SIM:B"})
	granted := 0
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for event, err := range c.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case *client.Granted:
			if granted++; granted == 2 {
				text := "keys:\n" + strings.Replace(entry, "'*'", "SIM:A", 1)
				if err := os.WriteFile(path+".next", []byte(strings.Replace(text, `"*"`, "SIM:A", 1)), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(path+".next", path); err != nil {
					t.Fatal(err)
				}
			}
		case *client.Refused:
			if e.Sub != lost || !lost.Ended() || kept.Ended() || e.Error.Code != pb.ErrorCode_ERROR_CODE_REVOKED {
				t.Errorf("%+v", e)
			}
			return
		}
	}
}
