package main

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// rig is a swarm of n links to a server that sends what the test says.
func rig(t *testing.T, n int) (*swarm, []net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan net.Conn, n)
	go func() {
		for range n {
			conn, err := listener.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			accepted <- conn
		}
	}()
	s, err := newSwarm("the test's server", n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.poller.Close() })
	if err := s.connect(context.Background(), target{address: listener.Addr().String(), raw: true}); err != nil {
		t.Fatal(err)
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = <-accepted
		t.Cleanup(func() { _ = conns[i].Close() })
	}
	return s, conns
}

// send writes k deltas to each of the connections.
func send(conns []net.Conn, k int) error {
	frame, err := ws.CompileFrame(ws.NewBinaryFrame([]byte{kindDelta, 0}))
	if err != nil {
		return err
	}
	for _, c := range conns {
		if _, err := c.Write([]byte(strings.Repeat(string(frame), k))); err != nil {
			return err
		}
	}
	return nil
}

func TestWindowCountsWholeRounds(t *testing.T) {
	s, conns := rig(t, 50)
	published := 0
	for _, k := range []int{1, 16, 1} {
		before := published
		rounds, err := s.run(k, 20*time.Millisecond, func(k int) error { published += k; return send(conns, k) })
		if err != nil {
			t.Fatal(err)
		}
		if rounds == 0 || rounds*k != published-before {
			t.Errorf("%d rounds of %d for %d messages", rounds, k, published-before)
		}
	}
	for _, l := range s.links {
		if int(l.deltas) != published {
			t.Errorf("a link has %d of %d messages", l.deltas, published)
		}
	}
}

func TestMessageThatComesTwiceEndsTheRun(t *testing.T) {
	s, conns := rig(t, 3)
	_, err := s.run(1, time.Minute, func(int) error {
		if err := send(conns[:1], 2); err != nil {
			return err
		}
		return nil // the others get nothing, so the round cannot end before
	})
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("%v", err)
	}
}

func TestConnectionThatEndsEndsTheRun(t *testing.T) {
	s, conns := rig(t, 3)
	_, err := s.run(1, time.Minute, func(int) error { return conns[1].Close() })
	if err == nil {
		t.Error("no error")
	}
}

func TestSpreadIsThatOfTheSeries(t *testing.T) {
	got := spreadOf([]float64{5, 1, 4, 2, 3})
	if want := (spread{Median: 3, Min: 1, Max: 5, Q1: 2, Q3: 4, N: 5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := spreadOf([]float64{1, 2}); got.Median != 1.5 {
		t.Errorf("median of 1 and 2: %v", got.Median)
	}
	if got := spreadOf(nil); got != (spread{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestCPUClockOfAProcessRuns(t *testing.T) {
	m := meter{server: os.Getpid()}
	before, err := m.read()
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		after, err := m.read()
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			return
		}
	}
	t.Error("reading it a thousand times took no time")
}
