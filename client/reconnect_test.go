package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func TestBackoffDoublesWithinItsJitterAndBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "min"))
		high := low + time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "more"))
		b := backoff{min: low, max: high, random: func() float64 { return rapid.Float64Range(0, 0.999).Draw(t, "random") }}
		full := low
		for range 70 {
			if got := b.next(); got < full/2 || got > full {
				t.Fatalf("attempt %d waits %v, want %v to %v", b.attempts, got, full/2, full)
			}
			full = min(high, 2*full)
		}
	})
}

func TestRefusedHandshakeIsRetriedOnlyWhereThatCanHelp(t *testing.T) {
	tests := []struct {
		status    int
		permanent bool
	}{
		{http.StatusBadRequest, true},
		{http.StatusForbidden, true},
		{http.StatusNotFound, true},
		{http.StatusUpgradeRequired, true},
		{http.StatusTooManyRequests, false},
		{http.StatusServiceUnavailable, false},
	}
	for _, tt := range tests {
		t.Run(http.StatusText(tt.status), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("X-Test"); got != "sent" {
					t.Errorf("header %q", got)
				}
				w.Header().Set("Retry-After", "7")
				http.Error(w, "as the test says", tt.status)
			}))
			defer server.Close()
			c, err := New(Config{URL: "ws" + strings.TrimPrefix(server.URL, "http"), Header: http.Header{"X-Test": {"sent"}}})
			if err != nil {
				t.Fatal(err)
			}
			var d *Disconnected
			err = loop(t, c, func(event Event) bool { d, _ = event.(*Disconnected); return d != nil })
			got := err
			if d != nil {
				got = d.Err
				if d.RetryIn < 7*time.Second || d.RetryIn > 8*time.Second {
					t.Errorf("retry in %v, want the 7 s of Retry-After and a part of the next", d.RetryIn)
				}
			}
			var h *HandshakeError
			if (d == nil) != tt.permanent || !errors.As(got, &h) || h.Status != tt.status || h.Text != "as the test says" {
				t.Errorf("permanent %t: %v", d == nil, got)
			}
		})
	}
}

func TestRefusalByAPageIsToldInOneLine(t *testing.T) {
	for body, want := range map[string]string{
		"<!doctype html>\n<title>a page</title>\n": "a page, not a stream",
		"no such thing\nand more of it\n":          ": no such thing",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		defer server.Close()
		c, err := New(Config{URL: "ws" + strings.TrimPrefix(server.URL, "http")})
		if err != nil {
			t.Fatal(err)
		}
		err = loop(t, c, func(Event) bool { return false })
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsAny(err.Error(), "<\n") {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestServerThatCannotServeThisClientEndsTheLoop(t *testing.T) {
	t.Run("another subprotocol", func(t *testing.T) {
		s := newFakeServer(t, proto.CodecJSON)
		c := newClient(t, s, func(c *Config) { c.Codec = proto.CodecProto })
		wait := script(func() { s.accept().closed() })
		err := loop(t, c, func(Event) bool { return false })
		wait()
		if !errors.Is(err, ErrIncompatible) {
			t.Errorf("ended by %v, want %v", err, ErrIncompatible)
		}
	})
	t.Run("another version", func(t *testing.T) {
		s := newFakeServer(t, proto.CodecProto)
		c := newClient(t, s, nil)
		wait := script(func() {
			p := s.accept()
			p.frame(&pb.Frame{Body: &pb.Frame_Hello{Hello: &pb.Hello{Version: 2}}})
			p.closed()
		})
		err := loop(t, c, func(Event) bool { return false })
		wait()
		if !errors.Is(err, ErrIncompatible) {
			t.Errorf("ended by %v, want %v", err, ErrIncompatible)
		}
	})
}

func TestServerThatSaysNoHelloIsLeft(t *testing.T) {
	s := newFakeServer(t, proto.CodecProto)
	c := newClient(t, s, func(c *Config) { c.DialTimeout = 20 * time.Millisecond })
	wait := script(func() { s.accept().closed() })
	var why error
	err := loop(t, c, func(event Event) bool {
		if d, ok := event.(*Disconnected); ok {
			why = d.Err
		}
		return why != nil
	})
	wait()
	if err != nil || !errors.Is(why, ErrSilent) {
		t.Errorf("err %v, disconnected by %v, want %v", err, why, ErrSilent)
	}
}

func TestTLSConnectionSurvivesReadDeadlines(t *testing.T) {
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())

	s := newFakeServer(t, proto.CodecProto)
	s.listener = tls.NewListener(s.listener, &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12})
	c := newClient(t, s, func(c *Config) {
		c.URL = "wss" + strings.TrimPrefix(c.URL, "ws")
		c.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		c.PingAfter, c.PongTimeout = 5*time.Millisecond, 20*time.Second
	})
	sub := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
	wait := script(func() {
		p := s.greet()
		id, _ := p.subscribe(1)
		p.ack(id, 0, 7, nil)
		for range 3 { // each comes after a read deadline has passed on the client
			op, payload := p.read()
			if op != 0x9 {
				t.Errorf("got opcode %#x, want a ping", byte(op))
			}
			p.write(0xA, payload)
		}
		p.snapshot(7, 10, 3)
		p.closed()
	})
	err := loop(t, c, func(event Event) bool {
		if d, ok := event.(*Disconnected); ok {
			t.Error(d.Err)
		}
		_, ok := event.(*BookSet)
		return ok
	})
	wait()
	if err != nil || bidOf(sub) != 3 {
		t.Errorf("err %v, bid %d", err, bidOf(sub))
	}
}

func TestCancelledLoopEndsAtOnceAndLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newFakeServer(t, proto.CodecProto)
	c := newClient(t, s, func(c *Config) { c.PingAfter = time.Hour }) // nothing else would wake it
	mustSubscribe(t, c, Item{Symbol: "SIM:A"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wait := script(func() {
		p := s.greet()
		id, _ := p.subscribe(1)
		p.ack(id, 0, 7, nil)
		p.snapshot(7, 10, 1)
		go cancel() // while the client reads
		p.closed()
	})
	var last error
	for _, err := range c.Events(ctx) {
		last = err
	}
	wait()
	if !errors.Is(last, context.Canceled) {
		t.Errorf("ended by %v", last)
	}
	// The goroutine that cancelled may still be on its way out.
	for range 1_000_000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		runtime.Gosched()
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
}

func TestWaitBeforeConnectingEndsWithTheContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens
	c, err := New(Config{URL: "ws://" + l.Addr().String(), BackoffMin: time.Hour, BackoffMax: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for event, err := range c.Events(ctx) {
		if d, ok := event.(*Disconnected); ok && d.RetryIn >= 30*time.Minute {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("ended by %v", last)
	}
}

func TestSubscribeReachesALoopThatWaits(t *testing.T) {
	s := newFakeServer(t, proto.CodecProto)
	c := newClient(t, s, func(c *Config) { c.PingAfter = time.Hour })
	waiting := make(chan struct{})
	wait := script(func() {
		p := s.greet()
		<-waiting
		if _, err := c.Subscribe(Item{Symbol: "SIM:A"}); err != nil {
			t.Error(err)
		}
		id, _ := p.subscribe(1)
		p.ack(id, 0, 7, nil)
		p.closed()
	})
	err := loop(t, c, func(event Event) bool {
		if _, ok := event.(*Connected); ok {
			close(waiting)
		}
		_, ok := event.(*Granted)
		return ok
	})
	wait()
	if err != nil {
		t.Error(err)
	}
}

func TestSlowBodyIsNotTakenForASilentServer(t *testing.T) {
	s := newFakeServer(t, proto.CodecProto)
	slow := time.Duration(0) // how far the clock was put forward
	c := newClient(t, s, func(c *Config) { c.clock = func() time.Time { return time.Now().Add(slow) } })
	mustSubscribe(t, c, Item{Symbol: "SIM:A"})
	wait := script(func() {
		p := s.greet()
		id, _ := p.subscribe(1)
		p.ack(id, 0, 7, nil)
		p.snapshot(7, 10, 1)
		p.closed()
	})
	err := loop(t, c, func(event Event) bool {
		switch e := event.(type) {
		case *Connected, *Granted:
			slow += time.Hour // as if this body had taken so long
		case *Disconnected:
			t.Error(e.Err)
			return true
		case *BookSet:
			return true
		}
		return false
	})
	wait()
	if err != nil {
		t.Error(err)
	}
}

func TestLiveBookDoesNotStayVoidForWantOfASnapshot(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, func(c *Config) { c.ResyncTimeout = 10 * time.Millisecond })
		mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, nil) // live, and no snapshot follows
			if p.request().GetResync() == nil {
				t.Error("no resync")
			}
			p.snapshot(7, 10, 1)
			p.closed()
		})
		err := loop(t, c, func(event Event) bool { _, ok := event.(*BookSet); return ok })
		wait()
		if err != nil {
			t.Error(err)
		}
	})
}

func TestSecondLoopIsRefused(t *testing.T) {
	s := newFakeServer(t, proto.CodecProto)
	c := newClient(t, s, nil)
	wait := script(func() { s.greet().closed() })
	err := loop(t, c, func(Event) bool {
		for _, err := range c.Events(t.Context()) {
			if !errors.Is(err, ErrRunning) {
				t.Errorf("second loop: %v", err)
			}
		}
		return true
	})
	wait()
	if err != nil {
		t.Error(err)
	}
}

func TestBadConfigurationAndItemsAreRefused(t *testing.T) {
	for _, config := range []Config{
		{}, {URL: "http://localhost"}, {URL: "ws://"}, {URL: "ws://a", Codec: 9}, {URL: "ws://a", PingAfter: -1},
		{URL: "ws://a", BackoffMin: time.Hour}, {URL: "ws://a", MaxFrameBytes: 1},
	} {
		if _, err := New(config); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", config, err)
		}
	}
	c, err := New(Config{URL: "ws://localhost"})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range []Item{
		{}, {Symbol: "a b"}, {Symbol: "SIM:* "}, {Symbol: "*", Channel: proto.ChannelCandles}, {Symbol: "A", Channel: proto.ChannelCandles},
		{Symbol: "A", Interval: time.Microsecond}, {Symbol: "A", Group: strings.Repeat("1", 100)},
	} {
		if _, err := c.Subscribe(item); !errors.Is(err, ErrBadItem) {
			t.Errorf("%+v: %v", item, err)
		}
	}
}

func TestBookStaysWhileAServerCatchesUpWithIt(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 1)
			p.net.Close()
			p = s.greet()
			id, _ = p.subscribe(1)
			p.ack(id, 0, 7, func(a *pb.Ack) { a.State, a.Reason = pb.State_STATE_STALE, pb.Reason_REASON_BEHIND })
			p.frame(&pb.Frame{Body: &pb.Frame_Status{Status: &pb.Status{Topic: 7, Seq: 10, State: pb.State_STATE_LIVE, Phase: pb.Phase_PHASE_CONTINUOUS}}})
			p.delta(7, 10, 11, 2, 0)
			p.closed()
		})
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *Granted:
				if behind := proto.Reason(e.Ack.GetReason()) == proto.ReasonBehind; behind && (sub.Book().State() != proto.Stale || bidOf(sub) != 1) {
					t.Errorf("while the server catches up: state %d, bid %d", sub.Book().State(), bidOf(sub))
				}
			case *BookLost:
				t.Errorf("%+v", e)
			case *BookChanged:
				if e.Book.State() != proto.Live {
					t.Errorf("state %d once it has caught up", e.Book.State())
				}
				return true
			}
			return false
		})
		wait()
		if err != nil || bidOf(sub) != 2 {
			t.Errorf("err %v, bid %d", err, bidOf(sub))
		}
	})
}
