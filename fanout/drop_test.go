package fanout

import (
	"context"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/fanout/poll/polltest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// dropping is one connection that is to be dropped.
type dropping struct {
	*rig
	c       *client
	sockets *polltest.Sockets
}

// freeze fills the socket for good.
func (d *dropping) freeze() {
	d.sockets.OnSend(d.c.fd, polltest.Again(1<<30))
	d.c.write(ws.OpPing, nil)
}

// lap has the ring go round while the shard stands still.
func (d *dropping) lap() {
	d.hold(func() {
		for range 200 {
			d.book(btc).publish(seeded(1), 3)
		}
	})
	d.sync()
}

// provocations has, for each reason, what leads to it.
var provocations = map[DropReason]func(*dropping){
	DropClientClosed: func(d *dropping) { d.c.write(ws.OpClose, ws.NewCloseFrameBody(1000, "")) },
	DropClientGone:   func(d *dropping) { _ = d.c.conn.CloseWrite() },
	DropStalled: func(d *dropping) {
		d.freeze()
		d.until("a full socket", func() bool { return d.blocked() == 1 })
		d.advance(d.hub.config.StallTimeout)
	},
	DropLapped: func(d *dropping) {
		d.c.subscribe(&pb.SubscribeItem{Symbol: btc, Policy: pb.Policy_POLICY_DROP})
		d.sync()
		d.lap()
	},
	DropLappedOften: func(d *dropping) {
		d.c.subscribe(book)
		d.sync()
		for range 3 {
			d.lap()
		}
	},
	DropPinnedBytes: func(d *dropping) { d.freeze() },
	DropControlOverflow: func(d *dropping) {
		d.hold(func() {
			for range 200 {
				d.c.write(ws.OpPing, make([]byte, 100))
			}
		})
	},
	DropSilent: func(d *dropping) {
		d.until("the end of patience", func() bool {
			d.advance(sweepEvery)
			return d.hub.Stats().Drops[DropSilent] == 1
		})
	},
	DropUnauthenticated: func(d *dropping) { d.advance(d.hub.config.AuthTimeout) },
	DropTokenEnded: func(d *dropping) {
		d.c.login("short")
		d.advance(20 * time.Second)
	},
	DropUserFull: func(d *dropping) { d.c.auth(1, "full") },
	DropProtocol: func(d *dropping) { _, _ = d.c.conn.Write(ws.MustCompileFrame(ws.NewBinaryFrame(nil))) },
	DropBadText:  func(d *dropping) { d.c.write(ws.OpText, []byte{0xff}) },
	DropTooBig:   func(d *dropping) { d.c.write(ws.OpBinary, make([]byte, 2000)) },
	DropNoTopic: func(d *dropping) {
		near, far := tcpPair(d.t)
		fd, err := poll.Detach(far)
		if err != nil {
			d.t.Fatal(err)
		}
		d.c = &client{t: d.t, conn: near, fd: fd}
		ask := &pb.Subscribe{Items: []*pb.SubscribeItem{{Symbol: "NONE"}}}
		if err := d.hub.Accept(Accepted{FD: fd, events: &eventStream{ask: ask}}); err != nil {
			d.t.Fatal(err)
		}
	},
	DropWrongType: func(d *dropping) { d.c.write(ws.OpText, []byte("{}")) },
	DropVoid: func(d *dropping) {
		d.book(btc).become(proto.Recovering, proto.ReasonSourceGap)
	},
	DropFlooding: func(d *dropping) {
		for range 20 {
			d.c.write(ws.OpPong, nil)
		}
	},
	DropShutdown: func(d *dropping) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = d.hub.Shutdown(ctx) // cut off, as the context has ended
	},
	DropInternal: func(d *dropping) {
		d.sockets.OnSend(d.c.fd, polltest.Fail(poll.Failed, 0))
		d.c.write(ws.OpPing, nil)
	},
}

func TestEveryDropIsCountedOnceAndLeavesNothing(t *testing.T) {
	for reason := DropNone + 1; reason < dropReasons; reason++ {
		t.Run(reason.String(), func(t *testing.T) {
			provoke := provocations[reason]
			if provoke == nil {
				t.Fatal("nothing leads to it")
			}
			d := &dropping{sockets: &polltest.Sockets{}}
			d.rig = newRig(t, func(c *Config) {
				c.Sockets, c.RingEntries, c.MaxLaps, c.MaxMessageBytes = d.sockets, 64, 1, 1000
				c.MaxItems, c.ControlBytes, c.CloseTimeout = 1, 1024, time.Second
				switch reason {
				case DropPinnedBytes:
					c.PinnedBytes = 1
				case DropFlooding:
					c.MessagesInPerSecond = 2
				case DropUnauthenticated, DropTokenEnded, DropUserFull:
					c.AuthTimeout = time.Second
					c.Gate = newTestGate(map[string]*Grant{
						"short": {User: "a", Until: c.Now().Add(20 * time.Second)},
						"full":  {User: "b", MaxConns: 1},
					})
				}
			}, btc)
			switch reason {
			case DropNoTopic: // its connection is no WebSocket
			case DropVoid:
				d.c = d.speakScripted(func(fd int) { d.sockets.Forget(fd) }, framingBinance, "btcusd@depth")
			default:
				d.c = d.dialScripted(proto.CodecProto, func(fd int) { d.sockets.Forget(fd) })
			}
			if reason == DropUserFull {
				d.hub.users.enter(&Grant{User: "b"})
			}
			d.sync()
			provoke(d)
			if reason != DropShutdown {
				d.until("the drop", func() bool { return d.hub.Stats().Drops[reason] == 1 })
				d.advance(2 * time.Second) // for who does not answer the close frame
				d.until("the end", func() bool { return d.hub.Stats().Conns == 0 })
			}
			stats := d.hub.Stats()
			for other, n := range stats.Drops {
				if (other == reason) != (n == 1) {
					t.Errorf("%d drops counted as %v", n, other)
				}
			}
			if stats.Conns != 0 || stats.Subscriptions != 0 || stats.PinnedBytes != 0 || d.sockets.Closes(d.c.fd) != 1 {
				t.Errorf("left behind: %d connections, %d subscriptions, %d pinned bytes; closed %d times",
					stats.Conns, stats.Subscriptions, stats.PinnedBytes, d.sockets.Closes(d.c.fd))
			}
		})
	}
}
