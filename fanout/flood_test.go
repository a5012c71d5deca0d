package fanout

import (
	"bytes"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

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
	if most := meter.most.Load(); most > turnBytes+receiveBytes {
		t.Errorf("%d bytes in one turn, want at most %d", most, turnBytes+receiveBytes)
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
