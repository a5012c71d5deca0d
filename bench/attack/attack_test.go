package attack

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

func TestBombIsSmallAndValidAndInflatesToWhatItSays(t *testing.T) {
	frame := bytes.NewReader(bombFrame())
	h, err := ws.ReadHeader(frame)
	if err != nil || !h.Fin || !h.Masked || h.Rsv != ws.Rsv(true, false, false) || h.OpCode != ws.OpText || h.Length != int64(frame.Len()) {
		t.Fatalf("%+v, %v", h, err)
	}
	if h.Length > 128<<10 {
		t.Errorf("%d bytes", h.Length)
	}
	payload, err := io.ReadAll(frame)
	if err != nil {
		t.Fatal(err)
	}
	ws.Cipher(payload, h.Mask, 0)
	n, err := io.Copy(io.Discard, flate.NewReader(bytes.NewReader(append(payload, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)))) // RFC 7692 section 7.2.2, and an end
	if n != bombBytes || err != nil {
		t.Errorf("inflates to %d bytes, %v", n, err)
	}
}

func TestAnswersAreToldApart(t *testing.T) {
	for payload, want := range map[string]string{"": "close", "\x03\xf1too_big: message over the limit": "close 1009 too_big", "\x03\xe8": "close 1000"} {
		if got := closing([]byte(payload)); got != want {
			t.Errorf("%q is %q, want %q", payload, got, want)
		}
	}
	k := Named("ping")
	if k.Documented(map[string]uint64{"unbroken": 3}, nil) || !k.Documented(nil, map[string]float64{`depthcast_fanout_drops_total{reason="control_overflow"}`: 1}) {
		t.Error("what the server counts is not looked at")
	}
	if k = Named("bigframe"); !k.Documented(map[string]uint64{"close 1009 too_big": 1}, nil) || k.Documented(map[string]uint64{"reset": 1}, nil) {
		t.Error("what attackers are told is not looked at")
	}
}

// An attack ends although the server neither answers nor closes, and says that it did
// not.
func TestAttackOnASilentServerEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, k := range Kinds {
		r, err := Run(context.Background(), Config{Kind: k.Name, URL: "ws://" + l.Addr().String(), Symbols: []string{"A"}, Conns: 3, Length: 200 * time.Millisecond}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if k.Documented(r.Answers, nil) {
			t.Errorf("%s: %+v", k.Name, r)
		}
	}
}

func TestAttackThatCannotBeMadeIsRefused(t *testing.T) {
	good := Config{Kind: "ping", URL: "ws://127.0.0.1:1", Symbols: []string{"A"}, Length: time.Second}
	for name, change := range map[string]func(*Config){
		"kind": func(c *Config) { c.Kind = "kindness" }, "scheme": func(c *Config) { c.URL = "http://127.0.0.1:1" }, "port": func(c *Config) { c.URL = "ws://a" },
		"length": func(c *Config) { c.Length = 0 }, "symbols": func(c *Config) { c.Symbols = nil }, "source": func(c *Config) { c.Sources = []string{"x"} },
	} {
		c := good
		change(&c)
		if _, err := Run(context.Background(), c, nil); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
