package fanout

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// Clients of Binance whose address names their streams ask for nothing else: where
// nothing came, and nothing was said, they would wait for good.
func TestStreamOfAnAddressThatCannotBeHadYetEndsTheConnection(t *testing.T) {
	r := newRig(t, nil, btc)
	r.hold(func() { r.books.ready = false })
	c := r.speak(framingBinance, "0", "btcusd@depth@100ms")
	if text := c.text(); !strings.Contains(text, `"msg":"Invalid request: btcusd@depth@100ms: `) {
		t.Errorf("told %s", text)
	}
	if code, reason := c.closed(); code != 4009 || !strings.HasPrefix(reason, "no_topic") {
		t.Errorf("closed with %d %s", code, reason)
	}
	r.hold(func() { r.books.ready = true })
	r.advance(pairsMissAge)
	c = r.speak(framingBinance, "0", "btcusd@depth@100ms")
	c.say(`{"method":"LIST_SUBSCRIPTIONS","id":1}`)
	if text := c.text(); text != `{"result":["btcusd@depth@100ms"],"id":1}` {
		t.Errorf("told %s", text)
	}
}

func TestStreamsOfAddressesArePaidFromTheAllowanceThatIsShared(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SnapshotBytesPerUser = 2 * itemBytes }, btc)
	came := func() *client {
		of, ok := r.hub.addresses.Enter(netip.MustParseAddr("198.51.100.1"))
		if !ok {
			t.Fatal("the address is full")
		}
		return r.arrive(Accepted{Codec: proto.CodecJSON, framing: framingBinance, streams: []string{"btcusd@trade"}, address: of}, nil)
	}
	served := 0
	for ; served < 100; served++ {
		c := came()
		c.say(`{"method":"GET_PROPERTY","params":["combined"],"id":1}`)
		if r.sync(); r.hub.Stats().SharesRefused > 0 {
			break
		}
	}
	if served < 2 || served > 2*snapshotSeconds {
		t.Errorf("%d connections of one address are served at once", served)
	}
	c := came()
	if text := c.text(); !strings.Contains(text, `"code":-1003`) {
		t.Errorf("told %s", text)
	}
	if code, _ := c.closed(); code != 4009 {
		t.Errorf("closed with %d", code)
	}
	r.advance(snapshotSeconds * time.Second)
	c = came()
	c.say(`{"method":"LIST_SUBSCRIPTIONS","id":1}`)
	if text := c.text(); text != `{"result":["btcusd@trade"],"id":1}` {
		t.Errorf("told %s", text)
	}
}

func TestShardsRefuseBinancesClientsAtTheSameTime(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Shards, c.RequestsPerSecond, c.RequestBurst = 2, 1, 1 }, btc)
	var all sync.WaitGroup
	for range 2 {
		c := r.speak(framingBinance)
		all.Go(func() {
			for range 20 {
				c.say(`{"method":"LIST_SUBSCRIPTIONS","id":1}`)
			}
			for i := range 20 {
				if _, err := c.raw(); err != nil {
					t.Errorf("answer %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestWhoFollowsChangesAlonePaysForNoSnapshot(t *testing.T) {
	r := newRig(t, func(c *Config) { c.SnapshotBytesPerSecond = itemBytes }, btc)
	for range 50 {
		r.book(btc).publish(seeded(2), 50)
	}
	r.speak(framingBinance, "btcusd@depth@100ms")
	r.speak(framingKraken).say(`{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"snapshot":false}}`)
	r.until("both subscriptions", func() bool { return r.hub.Stats().Subscriptions == 2 })
	r.hold(func() {
		for _, s := range r.hub.shards {
			for _, c := range s.conns {
				if owed := time.Duration(c.snapshots) - s.since; owed > time.Second {
					t.Errorf("owes what comes back within %v, want that of an item", owed)
				}
			}
		}
	})
}
