package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/depthcast/depthcast/fanout"
)

// entrance is a server behind a lobby, whose handler answers when it is let.
type entrance struct {
	t       *testing.T
	lobby   *lobby
	address string
	secured bool
	entered chan struct{} // a value for each request that has reached the handler
	leave   chan struct{} // one is taken by each before it is answered; closed: none waits
	inside  atomic.Int32
	most    atomic.Int32 // of inside
}

// enter opens an entrance with so many places, one turn, and a line of at most room,
// in which nobody waits longer than most.
func enter(t *testing.T, places, room int, most time.Duration, secured bool) *entrance {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := inner
	if secured {
		cert, key, _ := selfSigned(t)
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		l = fanout.TLSListener(inner, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	e := &entrance{t: t, lobby: newLobby(l, places, 1, func() int { return room }), address: inner.Addr().String(), secured: secured,
		entered: make(chan struct{}, 1000), leave: make(chan struct{}, 1000)}
	e.lobby.mostWait = most
	e.lobby.open()
	server := httpServer(e.lobby.handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := e.inside.Add(1)
		for most := e.most.Load(); n > most && !e.most.CompareAndSwap(most, n); most = e.most.Load() {
		}
		e.entered <- struct{}{}
		<-e.leave
		e.inside.Add(-1)
		_, _ = io.WriteString(w, "welcome")
	})))
	server.ConnState, server.ConnContext = e.lobby.state, e.lobby.context
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(e.lobby) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return e
}

// visitor is one connection.
type visitor struct {
	e    *entrance
	conn net.Conn
	from *bufio.Reader
}

// visit connects and asks; with TLS, when the server shakes hands.
func (e *entrance) visit() (*visitor, error) {
	conn, err := net.Dial("tcp", e.address)
	if err != nil {
		return nil, err
	}
	e.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if e.secured {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return &visitor{e, conn, bufio.NewReader(conn)}, nil
}

// ask sends a request and reads the answer, whose connection is kept if the server
// will.
func (v *visitor) ask() (*http.Response, error) {
	if _, err := io.WriteString(v.conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(v.from, nil)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer, err
}

// asks has a visitor ask meanwhile.
func (e *entrance) asks() <-chan *http.Response {
	e.t.Helper()
	v, err := e.visit()
	if err != nil {
		e.t.Fatal(err)
	}
	answers := make(chan *http.Response, 1)
	go func() {
		defer close(answers)
		if answer, err := v.ask(); err != nil {
			e.t.Error(err)
		} else {
			answers <- answer
		}
	}()
	return answers
}

// The first wait. When that are too many, or for too long, who has waited longest is
// answered.
func TestWhoeverFindsTheDoorCrowdedIsToldWhenToComeBack(t *testing.T) {
	for _, secured := range []bool{false, true} {
		e := enter(t, 2, 2, patience, secured)
		first, second := e.asks(), e.asks()
		<-e.entered
		<-e.entered
		third := e.asks()
		e.lines(1)
		fourth := e.asks()
		turned := <-third
		if turned == nil || turned.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("tls=%v: the third is answered %v", secured, turned)
		}
		if after, err := strconv.Atoi(turned.Header.Get("Retry-After")); err != nil || after < 1 || after > int(latest/time.Second) || !turned.Close {
			t.Errorf("tls=%v: Retry-After %q, connection kept: %v", secured, turned.Header.Get("Retry-After"), !turned.Close)
		}
		close(e.leave)
		for i, answers := range []<-chan *http.Response{first, second, fourth} {
			if answer := <-answers; answer == nil || answer.StatusCode != http.StatusOK {
				t.Errorf("tls=%v: client %d is answered %v", secured, i, answer)
			}
		}
		if n := e.lobby.turned.Load(); n != 1 {
			t.Errorf("tls=%v: %d are counted as turned away", secured, n)
		}
	}
}

func TestNobodyIsLeftWithoutAnAnswerForLong(t *testing.T) {
	e := enter(t, 1, 100, time.Millisecond, false)
	inside := e.asks()
	<-e.entered
	for range 3 {
		if answer := <-e.asks(); answer == nil || answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("answered %v", answer)
		}
	}
	e.leave <- struct{}{}
	if answer := <-inside; answer == nil || answer.StatusCode != http.StatusOK {
		t.Errorf("who was inside is answered %v", answer)
	}
}

func TestWhoWaitsInLineIsLetGoWhenTheDoorIsShut(t *testing.T) {
	e := enter(t, 1, 100, patience, false)
	inside := e.asks()
	<-e.entered
	v, err := e.visit()
	if err != nil {
		t.Fatal(err)
	}
	e.lines(1)
	if err := e.lobby.Close(); err != nil {
		t.Error(err)
	}
	if _, err := v.from.ReadByte(); err == nil {
		t.Error("who waited was sent something")
	}
	close(e.leave)
	<-inside
}

// holds waits for a condition.
func (e *entrance) holds(what string, condition func() bool) {
	e.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			e.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// lines waits until so many are in line.
func (e *entrance) lines(n int) {
	e.t.Helper()
	e.holds(strconv.Itoa(n)+" are in line", func() bool { waiting, _ := e.lobby.first(); return waiting == n })
}

func TestStormPassesALobbyOfFewPlacesAndEverybodyIsAnswered(t *testing.T) {
	e := enter(t, 3, 8, patience, false)
	var storm sync.WaitGroup
	for range 200 {
		storm.Go(func() {
			for {
				v, err := e.visit()
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := v.ask()
				_ = v.conn.Close()
				switch {
				case err != nil:
					t.Error(err)
					return
				case answer.StatusCode == http.StatusOK:
					return
				case answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "":
					t.Errorf("answered %v", answer)
					return
				}
			}
		})
	}
	e.holds("somebody is turned away", func() bool { return e.lobby.turned.Load() > 0 })
	close(e.leave)
	storm.Wait()
	if most := e.most.Load(); most > 3 {
		t.Errorf("%d were inside at once, of 3 places", most)
	}
	e.empty()
}

// empty waits until the lobby has all places and turns back.
func (e *entrance) empty() {
	e.t.Helper()
	for range cap(e.lobby.places) {
		select {
		case e.lobby.places <- struct{}{}:
		case <-time.After(patience):
			e.t.Fatal("a place was not given back")
		}
	}
	for range cap(e.lobby.turns) {
		select {
		case e.lobby.turns <- struct{}{}:
		case <-time.After(patience):
			e.t.Fatal("a turn was not given back")
		}
	}
	e.lobby.mu.Lock()
	defer e.lobby.mu.Unlock()
	if len(e.lobby.guests)+len(e.lobby.idling)+e.lobby.idle.Len() > 0 {
		e.t.Errorf("%d connections are still known as turned away, %d as idle", len(e.lobby.guests), e.lobby.idle.Len())
	}
}

// A browser keeps the connections over which it has fetched a page.
func TestIdleConnectionGivesItsPlaceToWhoWaits(t *testing.T) {
	for _, secured := range []bool{false, true} {
		e := enter(t, 2, 100, patience, secured)
		close(e.leave)
		var idle []*visitor
		for range 2 {
			v, err := e.visit()
			if err != nil {
				t.Fatal(err)
			}
			if answer, err := v.ask(); err != nil || answer.Close {
				t.Fatalf("tls=%v: %v, closed: %v", secured, err, answer.Close)
			}
			idle = append(idle, v)
		}
		if answer := <-e.asks(); answer == nil || answer.StatusCode != http.StatusOK {
			t.Errorf("tls=%v: who waits is answered %v", secured, answer)
		}
		if _, err := idle[0].from.ReadByte(); err == nil {
			t.Errorf("tls=%v: the one that was idle for longest is sent something", secured)
		}
		for _, v := range idle {
			_ = v.conn.Close()
		}
	}
}

func TestThoseToldToComeBackFindRoom(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	r := rota{least: 100}
	times := map[int]int{}
	for range 1000 {
		times[r.deal(now, 0)]++
	}
	for second := 1; second <= 10; second++ {
		if times[second] != 100 {
			t.Errorf("%d are told to come back after %d s, with room for 100 each second", times[second], second)
		}
	}
	if after := r.deal(now, 0); after != 11 {
		t.Errorf("the next is told %d s", after)
	}

	// A lobby that lets more in gives more of them the same second.
	r, times = rota{least: 100}, map[int]int{}
	for range 500 {
		r.passed(now)
	}
	for range 1000 {
		times[r.deal(now.Add(time.Second), 0)]++
	}
	if times[1] != 500 || times[2] != 500 {
		t.Errorf("500 pass in a second: %v", times)
	}

	// Who waits already goes first.
	r = rota{least: 100}
	if after := r.deal(now, 350); after != 4 {
		t.Errorf("behind 350 who wait: %d s", after)
	}

	// Nobody is told more than a minute.
	r, times = rota{least: 1}, map[int]int{}
	for range 1000 {
		after := r.deal(now, 0)
		if after < 1 || after > 60 {
			t.Fatalf("told %d s", after)
		}
		times[after]++
	}
	if len(times) < 55 {
		t.Errorf("all are told one of %d times", len(times))
	}
}
