package fanout

import (
	"bytes"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// turnMeter counts what a shard receives in each of its turns.
type turnMeter struct {
	poll.Kernel
	shard *shard // whose goroutine alone calls Recv; set before anything comes
	turn  uint64 // of the shard, like sum
	sum   int    // bytes, in that turn
	most  atomic.Int64
	all   atomic.Int64
}

func (m *turnMeter) Recv(fd int, b []byte) (int, poll.Class, syscall.Errno) {
	n, class, errno := m.Kernel.Recv(fd, b)
	if m.shard == nil || n <= 0 {
		return n, class, errno
	}
	if m.turn != m.shard.turns {
		m.turn, m.sum = m.shard.turns, 0
	}
	m.sum += n
	m.all.Add(int64(n))
	m.most.Store(max(m.most.Load(), int64(m.sum)))
	return n, class, errno
}

// However many flood, a turn reads so much and no more, so that those who only read
// are served in between; and everybody's turn to be read comes.
func TestFloodOfManyIsReadALittleAtATime(t *testing.T) {
	meter := &turnMeter{}
	r := newRig(t, func(c *Config) { c.Shards, c.Sockets = 1, meter }, btc)
	meter.shard = r.hub.shards[0]
	pong := masked(ws.OpPong, true, string(bytes.Repeat([]byte{'p'}, ws.MaxControlFramePayloadSize))) // unasked for, and not answered
	flood := bytes.Repeat(pong, 1<<20/len(pong))
	floods := make([]*client, 40)
	for i := range floods {
		floods[i] = r.dial(proto.CodecProto)
	}
	done := make(chan error, len(floods))
	for _, c := range floods {
		go func() {
			_, err := c.conn.Write(flood)
			done <- err
		}()
	}
	for range floods {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range floods {
		c.ask(&pb.Request{Id: 8, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
		if f := c.next(); f.GetPong().GetId() != 8 {
			t.Fatalf("%d hears %v", i, f)
		}
	}
	if all, want := meter.all.Load(), int64(len(floods)*len(flood)); all < want {
		t.Errorf("%d bytes were read of %d", all, want)
	}
	if most := meter.most.Load(); most > turnBytes+2*receiveBytes {
		t.Errorf("%d bytes in one turn, want at most %d", most, turnBytes+2*receiveBytes)
	}
}

// Who was dropped for what it sent, and goes on sending, is not read for as long as it
// may take to answer.
func TestFloodAfterTheCloseFrameIsCutOff(t *testing.T) {
	r := newRig(t, func(c *Config) { c.CloseTimeout = time.Hour }, btc)
	c := r.dial(proto.CodecProto)
	unmasked := masked(ws.OpBinary, true, "x")
	unmasked[1] &^= 0x80
	if _, err := c.conn.Write(unmasked); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := c.raw()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header.OpCode == ws.OpClose {
			break
		}
	}
	if _, err := c.conn.Write(bytes.Repeat([]byte{'x'}, 1000)); err != nil { // was on its way
		t.Fatal(err)
	}
	r.advance(toHear)
	if n := r.hub.Stats().Conns; n != 1 {
		t.Fatalf("%d connections before the flood", n)
	}
	flood := bytes.Repeat([]byte{'x'}, 4*floodRead)
	r.until("it is cut off", func() bool {
		_, _ = c.conn.Write(flood) // fails when it is
		return r.hub.Stats().Conns == 0
	})
}

// orderMeter notes whose bytes are received, in their order.
type orderMeter struct {
	poll.Kernel
	received []int // descriptors; of the only shard's goroutine
}

func (m *orderMeter) Recv(fd int, b []byte) (int, poll.Class, syscall.Errno) {
	n, class, errno := m.Kernel.Recv(fd, b)
	if n > 0 {
		m.received = append(m.received, fd)
	}
	return n, class, errno
}

// Who has something to say while floods go on is read in the next turn, not behind all
// that they have sent; and they are read on.
func TestWhoArrivesIsReadBeforeFloodsThatGoOn(t *testing.T) {
	meter := &orderMeter{}
	r := newRig(t, func(c *Config) { c.Shards, c.Sockets = 1, meter }, btc)
	floods := []*client{r.dial(proto.CodecProto), r.dial(proto.CodecProto), r.dial(proto.CodecProto)}
	late := r.dial(proto.CodecProto)
	pong := masked(ws.OpPong, true, string(bytes.Repeat([]byte{'p'}, ws.MaxControlFramePayloadSize)))
	flood := bytes.Repeat(pong, 3*receiveBytes/len(pong)) // all of which a socket takes
	r.hub.ask(0, func(s *shard) {                         // which reads nothing meanwhile
		for i, c := range floods {
			if _, err := c.conn.Write(flood); err != nil {
				t.Fatal(err)
			}
			c.awaits(t, len(flood))
			s.conns[i].unread = true
			s.greedy.push(s.conns[i])
		}
		late.ask(&pb.Request{Id: 1, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
		late.awaits(t, 1)
		s.received = turnBytes // as if others had been read all the time
		meter.received = nil
		s.conns[3].Ready(poll.In)
		if len(meter.received) > 0 {
			t.Error("read, where the turn had no time for it")
		}
		s.busy = turnTime
		s.reread()
		if len(meter.received) < 2 || meter.received[0] != late.fd || meter.received[1] != floods[0].fd {
			t.Errorf("the turn has read %v, the late one is %d", meter.received, late.fd)
		}
	})
	if late.next().GetPong() == nil {
		t.Error("no pong")
	}
	r.until("the floods are read", func() (read bool) {
		r.hub.ask(0, func(s *shard) { read = s.greedy.len() == 0 })
		return read
	})
}

// awaits waits until n bytes of c have arrived at the server's end, at least.
func (c *client) awaits(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		there, err := unix.IoctlGetInt(c.fd, unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		if there >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d bytes have arrived", there, n)
		}
	}
}

// A request that is refused for its rate counts as several messages: whoever goes on is
// not listened to for long.
func TestWhoGoesOnAfterRefusalsIsDroppedSooner(t *testing.T) {
	const most = 10 * inSeconds // messages at once
	r := newRig(t, func(c *Config) { c.MessagesInPerSecond, c.RequestsPerSecond, c.RequestBurst = 10, 1, 1 }, btc)
	c := r.dial(proto.CodecJSON)
	for range most/refusedMessages + 2 {
		c.write(ws.OpText, []byte(`{"type":"ping"}`))
	}
	if code, _ := c.closed(); code != drops[DropFlooding].Code {
		t.Errorf("closed with %d", code)
	}
	if n := r.hub.Stats().Errors[pb.ErrorCode_ERROR_CODE_RATE_LIMITED]; n < most/refusedMessages/2 {
		t.Errorf("after %d refusals", n)
	}
}

// What it may send at once, an address cannot send again and again, each time by
// another connection.
func TestFloodCountsAsManyRequestsOfItsAddress(t *testing.T) {
	r := newRig(t, func(c *Config) {
		behindProxy(c)
		c.MaxConnsPerAddress, c.HTTPRequestsPerAddress, c.MessagesInPerSecond, c.RequestsPerSecond = 10, 1, 1, 1
	}, btc)
	d := r.open(false)
	floods := []*client{d.dialFor("198.51.100.1"), d.dialFor("198.51.100.1"), d.dialFor("198.51.100.1")}
	for _, c := range floods {
		for range inSeconds + 1 {
			c.write(ws.OpText, []byte(`{"type":"ping"}`))
		}
		if code, _ := c.closed(); code != drops[DropFlooding].Code {
			t.Fatalf("closed with %d", code)
		}
	}
	if status, _ := d.asks("198.51.100.1", "/v1/stream"); status != http.StatusTooManyRequests {
		t.Errorf("answered %d", status)
	}
	d.dialFor("198.51.100.2")
}
