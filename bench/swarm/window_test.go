package swarm

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// crowd is a swarm of n links to a server that sends what the test says, without
// any protocol.
func crowd(t *testing.T, n int) (*Swarm, []net.Conn) {
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
	w, err := New(Plan{URLs: []string{"ws://" + listener.Addr().String()}, Dialect: Frames, Conns: n, Count: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	begin(t, w, StepRamp)
	joined(t, w)
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = <-accepted
		t.Cleanup(func() { _ = conns[i].Close() })
	}
	return w, conns
}

// send writes k deltas to each of the connections.
func send(conns []net.Conn, k int) error {
	frame, err := ws.CompileFrame(ws.NewBinaryFrame([]byte{byte(kindDelta)<<3 | 2, 0}))
	if err != nil {
		return err
	}
	for _, c := range conns {
		if _, err := io.WriteString(c, strings.Repeat(string(frame), k)); err != nil {
			return err
		}
	}
	return nil
}

func TestWindowCountsWholeRounds(t *testing.T) {
	w, conns := crowd(t, 50)
	published := 0
	for _, k := range []int{1, 16, 1} {
		before := published
		rounds, err := w.Window(k, 20*time.Millisecond, func(k int) error { published += k; return send(conns, k) })
		if err != nil {
			t.Fatal(err)
		}
		if rounds == 0 || rounds*k != published-before {
			t.Errorf("%d rounds of %d for %d messages", rounds, k, published-before)
		}
	}
	w.Do(func() {
		for _, l := range w.links {
			if int(l.deltas) != published {
				t.Errorf("a link has %d of %d messages", l.deltas, published)
			}
		}
	})
}

func TestMessageThatComesTwiceEndsTheRun(t *testing.T) {
	w, conns := crowd(t, 3)
	_, err := w.Window(1, time.Minute, func(int) error {
		return send(conns[:1], 2) // the others get nothing, so the round cannot end before
	})
	if !errors.Is(err, errTwice) {
		t.Errorf("%v", err)
	}
}

func TestConnectionThatEndsEndsTheRun(t *testing.T) {
	w, conns := crowd(t, 3)
	_, err := w.Window(1, time.Minute, func(int) error { return conns[1].Close() })
	if err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("%v", err)
	}
}
