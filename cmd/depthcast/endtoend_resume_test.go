package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/depthcast/depthcast/fanout"
	"github.com/depthcast/depthcast/proto"
)

// wire carries TCP connections to a server, and can be cut.
type wire struct {
	listener net.Listener

	// Guarded by mu.
	mu     sync.Mutex
	target string
	cut    bool
	conns  []net.Conn
}

func newWire(r *running) *wire {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	w := &wire{listener: l, target: r.doors.listen.Addr().String()}
	go w.run()
	r.t.Cleanup(func() { _ = l.Close(); w.sever(true) })
	return w
}

func (w *wire) run() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return // closed at the end of the test
		}
		w.mu.Lock()
		target := w.target
		w.mu.Unlock()
		far, err := net.Dial("tcp", target)
		if err != nil {
			_ = near.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, near, far)
		cut := w.cut
		w.mu.Unlock()
		if cut {
			w.sever(true)
			continue
		}
		carry := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_ = to.Close()
		}
		go carry(far, near)
		go carry(near, far)
	}
}

// sever ends all connections; while cut, new ones end at once.
func (w *wire) sever(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// mend lets connections through again, to r.
func (w *wire) mend(r *running) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.target = false, r.doors.listen.Addr().String()
}

// A client whose connection was cut goes on where it was: without a snapshot
// where the ring holds what it missed, and with one where it does not.
func TestEndToEndClientGoesOnWhereItsConnectionWasCut(t *testing.T) {
	for _, tt := range []struct {
		name     string
		missed   int
		snapshot bool
	}{
		{"nothing happened meanwhile", 0, false},
		{"the ring holds what it missed", 5, false},
		{"the ring holds it no more", 500, true},
	} {
		for codec := range proto.NumCodecs {
			t.Run(fmt.Sprintf("%s/%s", tt.name, codec), func(t *testing.T) {
				t.Parallel()
				cutAndGoOn(t, codec, tt.missed, tt.snapshot)
			})
		}
	}
}

func cutAndGoOn(t *testing.T, codec proto.Codec, missed int, snapshot bool) {
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(victim, 5)
	server := l.serve(func(_ *readFlags, s *serverFlags) { s.RingEntries = 64 })
	server.caughtUpTo(l)
	wire := newWire(server)
	w := g.witness(server, server.dialAt("ws://"+wire.listener.Addr().String()+"/v1/stream", codec), victim)
	before := g.change(victim, proto.Bid, 99, 1)
	w.live(victim, before)
	wire.sever(true)
	w.until("cut", victim, func(n *notes) bool { return n.cut > 0 })
	last := before
	if missed > 0 {
		last = g.changes(victim, missed)
	}
	server.caughtUpTo(l)
	wire.mend(server)
	w.until("back", victim, func(n *notes) bool {
		return n.connected == 2 && n.answered() == 2 && n.stand() == "live" && n.seq == last
	})
	end := g.change(victim, proto.Bid, 98, 1)
	w.live(victim, end)

	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.notes[victim]
	resumed, sets := 1, 1
	if snapshot {
		resumed, sets = 0, 2
	}
	if n.resumed != resumed || len(n.sets) != sets || n.lost != 0 || n.epoch != server.book(victim).Epoch {
		t.Errorf("%+v; want %d resumed and %d snapshots", *n, resumed, sets)
	}
}

// A client outlives its server: another one on the same log continues the same
// history under the same epoch, without a snapshot where nothing was missed.
func TestEndToEndClientGoesOnWithAnotherServerOnTheSameLog(t *testing.T) {
	for _, missed := range []int{0, 20} {
		t.Run(fmt.Sprintf("missed=%d", missed), func(t *testing.T) {
			t.Parallel()
			serverIsReplaced(t, missed)
		})
	}
}

func serverIsReplaced(t *testing.T, missed int) {
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(victim, 5)
	last := g.changes(victim, 50)
	first := l.serve(nil)
	first.caughtUpTo(l)
	wire := newWire(first)
	w := g.witness(first, first.dialAt("ws://"+wire.listener.Addr().String()+"/v1/stream", proto.CodecProto), victim)
	w.live(victim, last)
	epoch := first.book(victim).Epoch
	wire.sever(true)
	first.stop()
	if missed > 0 {
		last = g.changes(victim, missed)
	}
	second := l.serve(nil)
	second.caughtUpTo(l)
	wire.mend(second)
	w.until("back", victim, func(n *notes) bool {
		return n.connected == 2 && n.answered() == 2 && n.stand() == "live" && n.seq == last
	})
	w.live(victim, g.change(victim, proto.Bid, 98, 1))

	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.notes[victim]
	if n.epoch != epoch || second.book(victim).Epoch != epoch || n.lost != 0 {
		t.Errorf("%+v; want epoch %x still", *n, epoch)
	}
	if missed == 0 && (n.resumed != 1 || len(n.sets) != 1) {
		t.Errorf("%+v; want no second snapshot", *n)
	}
}

// A server that stops tells its clients, who find the next one under its address.
func TestEndToEndClientsOfAStoppedServerFindTheNextOneAtItsAddress(t *testing.T) {
	t.Parallel()
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(victim, 5)
	first := l.serve(nil)
	first.caughtUpTo(l)
	address := first.doors.listen.Addr().String()
	var all []*witness
	for codec := range proto.NumCodecs {
		w := g.follow(first, codec, victim)
		w.live(victim, 0)
		all = append(all, w)
	}
	first.stop()
	if n := first.hub.Stats().Drops[fanout.DropShutdown]; n != 2 {
		t.Errorf("%d clients were told of the shutdown, want 2", n)
	}
	g.change(victim, proto.Bid, 99, 1)
	second := l.serve(func(_ *readFlags, s *serverFlags) { s.Listen = address })
	second.caughtUpTo(l)
	last := g.change(victim, proto.Bid, 98, 1)
	for _, w := range all {
		w.live(victim, last)
	}
}

// While a server reads a long log it shows no book as live, and calls no symbol
// unknown.
func TestEndToEndNothingIsLiveBeforeTheLogHasBeenRead(t *testing.T) {
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(victim, 5)
	n := 50_000
	if underRace {
		n = 5_000
	}
	last := g.changes(victim, n)
	server, start := l.open(nil)
	p := server.ingest.Partitions()[0]
	hold, held := make(chan struct{}), make(chan struct{})
	go p.Do(func() { close(held); <-hold }) // keeps the partition from its first record
	<-held
	start()
	w := g.follow(server, proto.CodecJSON, victim, "SIM:NOBODY")
	w.until("not ready", victim, func(n *notes) bool { return len(n.refused) > 0 })
	w.until("not ready", "SIM:NOBODY", func(n *notes) bool { return len(n.refused) > 0 })
	fetchText(t, server.url()+"/v1/books/"+victim, http.StatusServiceUnavailable)
	fetchText(t, "http://"+server.doors.inside.Addr().String()+"/readyz", http.StatusServiceUnavailable)
	close(hold)
	// Between two holds of the lock, the book is on its way.
	looks := 0
	key := proto.TopicKey{Symbol: victim, Channel: proto.ChannelBook}
	server.until("caught up", func() bool {
		caughtUp := false
		p.Do(func() {
			caughtUp = p.CaughtUp()
			var s proto.Snapshot
			if p.Books().(*partitionBooks).Read(key, &s) != nil || caughtUp {
				return
			}
			looks++
			if s.State != proto.Recovering || s.Reason != proto.ReasonCatchingUp || len(s.Bids)+len(s.Asks) > 0 {
				t.Errorf("at seq %d of %d the book is %s %s", s.Seq, last, proto.StateWord(s.State), proto.ReasonWord(s.Reason))
			}
		})
		return caughtUp
	})
	t.Logf("seen %d times on its way", looks)
	w.live(victim, last)
	w.until("unknown", "SIM:NOBODY", func(n *notes) bool { return n.refused[len(n.refused)-1] == "unknown_symbol" })
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.notes[victim]; got.firstLive != last || got.refused[0] != "not_ready" || w.notes["SIM:NOBODY"].refused[0] != "not_ready" {
		t.Errorf("%+v; want not_ready at first, and live at %d", *got, last)
	}
	fetchText(t, "http://"+server.doors.inside.Addr().String()+"/readyz", http.StatusOK)
}
