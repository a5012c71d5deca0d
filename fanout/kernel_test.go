package fanout

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/proto"
)

// options are those of a socket that bound what the kernel keeps for a client.
type options struct {
	noDelay, unsentBytes, userTimeoutMS, sendBuffer int
}

func optionsOf(t *testing.T, fd int) (o options) {
	t.Helper()
	for _, option := range []struct {
		level, name int
		to          *int
	}{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, &o.noDelay},
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, &o.unsentBytes},
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, &o.userTimeoutMS},
		{unix.SOL_SOCKET, unix.SO_SNDBUF, &o.sendBuffer},
	} {
		var err error
		if *option.to, err = unix.GetsockoptInt(fd, option.level, option.name); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// TestKernelIsToldHowMuchToKeep: for every accepted socket, read back from the
// socket itself.
func TestKernelIsToldHowMuchToKeep(t *testing.T) {
	for _, secured := range []bool{false, true} {
		for _, sendBuffer := range []int{0, 24 << 10} {
			r := newRig(t, func(c *Config) {
				c.SendBufferBytes, c.UnsentBytes, c.StallTimeout = sendBuffer, 20_000, 7*time.Second
			}, btc)
			d := r.open(secured)
			const n = 3
			for range n {
				d.dial(proto.CodecProto)
			}
			var all []options
			r.hub.ask(0, func(s *shard) {
				for _, c := range s.conns {
					all = append(all, optionsOf(t, int(c.fd)))
				}
			})
			for _, o := range all {
				if o.noDelay == 0 || o.unsentBytes != 20_000 || o.userTimeoutMS != 14_000 {
					t.Errorf("TLS %v: %+v", secured, o)
				}
				if sendBuffer > 0 && o.sendBuffer != 2*sendBuffer { // socket(7): the kernel doubles it
					t.Errorf("TLS %v: a send buffer of %d, asked for %d", secured, o.sendBuffer, sendBuffer)
				}
			}
			if len(all) != n {
				t.Errorf("%d sockets looked at, want %d", len(all), n)
			}
		}
	}
}

// TestKernelForgetsWhatADroppedReaderHasNotRead: it would keep it for as long as the
// peer's kernel says that there is no room.
func TestKernelForgetsWhatADroppedReaderHasNotRead(t *testing.T) {
	r := newRig(t, small, btc)
	c := r.dial(proto.CodecProto)
	c.subscribe(book)
	random := seeded(20)
	r.freeze(r.book(btc), random)
	r.stallOut(r.book(btc), random)
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, c.conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, not with a reset", err)
	}
}
