package fanout

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/fanout/poll/polltest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// What has very many topics begin or end at once is answered topic by topic, and the
// connection may end over the answers.
var midway = map[string]struct {
	before func(c *client) // asks for the topics
	then   func(m *midwayRig)
}{
	"a token that loses them": {
		func(c *client) { c.wants(c.t, midwaySymbols) },
		func(m *midwayRig) {
			m.gate.set("all", &Grant{User: "a", Symbols: midwaySymbols[:1]})
			m.hub.Reconsider()
		},
	},
	"a pattern that ends": {
		func(c *client) {
			c.wild(pb.Channel_CHANNEL_TRADES)
			c.acks(len(midwaySymbols))
		},
		func(m *midwayRig) {
			m.c.ask(&pb.Request{Id: 9, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{m.pattern}}}})
		},
	},
	"a pattern that begins": {
		func(*client) {},
		func(m *midwayRig) {
			m.c.want(&pb.SubscribeItem{Symbol: "SIM:*", Channel: pb.Channel_CHANNEL_TRADES})
		},
	},
}

var midwaySymbols = ofNumbers(100)

type midwayRig struct {
	*rig
	gate    *testGate
	c       *client
	pattern uint32
}

// wants subscribes to symbols, one after the other.
func (c *client) wants(t *testing.T, symbols []string) {
	t.Helper()
	for _, symbol := range symbols {
		c.subscribe(&pb.SubscribeItem{Symbol: symbol, Channel: pb.Channel_CHANNEL_BOOK})
	}
}

func TestConnectionMayEndWhileItsTopicsBeginOrEnd(t *testing.T) {
	faults := map[string]polltest.Step{
		"whose socket fails":     polltest.Fail(poll.Gone, unix.ECONNRESET),
		"whose socket is frozen": polltest.Again(1 << 30),
	}
	for what, of := range midway {
		for how, fault := range faults {
			t.Run(what+", of one "+how, func(t *testing.T) {
				sockets := &polltest.Sockets{}
				m := &midwayRig{gate: newTestGate(map[string]*Grant{"all": {User: "a", Symbols: []string{"*"}}, "other": {User: "b", Symbols: []string{"*"}}})}
				m.rig = newRig(t, func(c *Config) {
					c.Gate, c.AuthTimeout, c.Sockets, c.ControlBytes, c.MaxItems, c.RequestBurst = m.gate, time.Minute, sockets, 1<<10, 1, 1000
				}, midwaySymbols...)
				for _, symbol := range midwaySymbols {
					m.books.listings = append(m.books.listings, &proto.Listing{Symbol: symbol})
				}
				m.c = m.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
				other := m.dial(proto.CodecProto)
				m.c.login("all")
				other.login("other")
				other.wants(t, midwaySymbols)
				of.before(m.c)
				m.sync()
				on(m.hub, func(s *shard) {
					for _, w := range s.wildcards {
						m.pattern = w.number
					}
				})
				sockets.OnSend(m.c.fd, fault)
				of.then(m)
				m.until("a full socket, or none", func() bool { return m.blocked() == 1 || m.hub.Stats().Conns == 1 })
				m.advance(m.hub.config.StallTimeout) // where what is to be said waits for the socket
				m.until("the end of the connection", func() bool { return m.hub.Stats().Conns == 1 })
				m.sync()
				if n := m.hub.Stats().Subscriptions; n != int64(len(midwaySymbols)) {
					t.Errorf("%d subscriptions are left, and another has %d", n, len(midwaySymbols))
				}
				if n := sockets.Closes(m.c.fd); n != 1 {
					t.Errorf("closed %d times", n)
				}
				for _, symbol := range midwaySymbols {
					m.book(symbol).publish(seeded(1), 1)
					for other.next().GetDelta() == nil {
					}
				}
			})
		}
	}
}
