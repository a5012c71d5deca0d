package fanout

import (
	"context"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func TestDrainServesEachClientUntilAMomentOfItsOwn(t *testing.T) {
	const window = 5 * time.Second
	r := newRig(t, func(c *Config) { c.DrainWindow = window }, btc, eth)
	rnd := seeded(1)
	clients := make([]*client, 40)
	for i := range clients {
		clients[i] = r.dial(proto.CodecProto)
		clients[i].subscribe(book)
		clients[i].next() // its snapshot
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.hub.Shutdown(ctx) }()

	deadlines := make([]time.Duration, len(clients))
	early := 0
	for i, c := range clients {
		d := c.next().GetDrain()
		if d == nil || d.DeadlineMs > uint32(window.Milliseconds()) || d.ReconnectAfterMs != d.DeadlineMs {
			t.Fatalf("told %v", d)
		}
		deadlines[i] = time.Duration(d.DeadlineMs) * time.Millisecond
		if deadlines[i] < window/2 {
			early++
		}
	}
	if early < len(clients)/8 || early > len(clients)*7/8 {
		t.Errorf("%d of %d end in the first half of the window", early, len(clients))
	}

	r.advance(window / 2)
	r.until("the ends of the first half", func() bool { return r.hub.Stats().Drops[DropShutdown] >= uint64(early) })
	if n := r.hub.Stats().Drops[DropShutdown]; n != uint64(early) {
		t.Errorf("%d ended, want %d", n, early)
	}
	r.book(btc).publish(rnd, 3)
	for i, c := range clients {
		if deadlines[i] <= window/2 {
			continue
		}
		if c.next().GetDelta() == nil {
			t.Fatal("a client that is to leave later is not served")
		}
		c.ask(&pb.Request{Id: 2, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: []*pb.SubscribeItem{{Symbol: eth}}}}})
		if e := c.next().GetError(); e.GetCode() != pb.ErrorCode_ERROR_CODE_DRAINING {
			t.Fatalf("a subscribe is answered %v", e)
		}
	}
	r.advance(window)
	for _, c := range clients {
		if code, reason := c.closed(); code != ws.StatusGoingAway {
			t.Errorf("closed with %d %s", code, reason)
		}
		_ = c.conn.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDrainTellsBrowsersWhenToComeBack(t *testing.T) {
	r := newRig(t, nil, btc)
	l := r.open(false).listen("symbol="+btc, nil)
	l.until(func(f *pb.Frame) bool { return f.GetSnapshot() != nil })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() { _ = r.hub.Shutdown(ctx) }()
	l.until(func(f *pb.Frame) bool { return f.GetDrain() != nil })
	if l.retry == "" || l.id == "" {
		t.Errorf("retry %q, id %q", l.retry, l.id)
	}
	if data, err := l.event(); err != nil || data != `{"type":"close","code":1001,"reason":"shutdown","message":"the server stops","retry":"after"}` {
		t.Errorf("ends with %q %v", data, err)
	}
}
