package fanout

import (
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// channels are those served.
var channels = []pb.Channel{
	pb.Channel_CHANNEL_BOOK, pb.Channel_CHANNEL_TRADES, pb.Channel_CHANNEL_ORDERS, pb.Channel_CHANNEL_TICKER,
	pb.Channel_CHANNEL_INSTRUMENTS,
}

// hello greets c with the limits that it has here.
func (s *shard) hello(c *conn) {
	cfg := s.config
	h := &pb.Hello{
		Version:        1,
		Server:         cfg.Server,
		Limits:         c.limits(),
		IntervalsMs:    intervalsMS,
		Depths:         proto.Depths,
		Channels:       channels,
		ResumeWindowMs: inMS(cfg.ResumeWindow),
		KeepaliveMs:    inMS(cfg.KeepaliveInterval),
		Time:           s.now.UnixNano(),
		DelayMs:        inMS(cfg.Delay),
	}
	c.pass.narrow(h)
	if h.AuthRequired {
		h.Limits.AuthTimeoutMs = inMS(cfg.AuthTimeout)
	}
	s.say(c, &pb.Frame{Body: &pb.Frame_Hello{Hello: h}}, proto.Exponents{})
}

// limits returns what c must keep to in order to be served, its grant aside.
func (c *conn) limits() *pb.Limits {
	cfg := c.shard.config
	relays := cfg.MaxRelays
	if cfg.MaxRelaysPerAddress > 0 {
		relays = min(relays, cfg.MaxRelaysPerAddress)
	}
	shared := uint32(0)
	if c.account() != nil {
		shared = uint32(cfg.SnapshotBytesPerUser)
	}
	return &pb.Limits{
		MaxSubscriptions: uint32(c.mostSubs()),
		MaxItems:         uint32(cfg.MaxItems),
		MaxMessageBytes:  uint32(cfg.MaxMessageBytes),
		MaxRequestsPerS:  uint32(cfg.RequestsPerSecond),

		MaxMessagesInPerS:    uint32(cfg.MessagesInPerSecond),
		MaxBytesInPerS:       uint32(cfg.BytesInPerSecond),
		MaxSnapshotBytesPerS: uint32(cfg.SnapshotBytesPerSecond),
		ResyncIntervalMs:     inMS(cfg.ResyncInterval),

		ItemsPerRequest:          requestItems,
		ItemsPerPattern:          patternItems,
		MaxUserSnapshotBytesPerS: shared,

		MaxPatterns: maxWildcards,

		MaxEventTopics: uint32(cfg.mostEventTopics()),
		MaxPollWaitMs:  maxPollWaitMS,
		MaxRelays:      uint32(relays),

		SilenceTimeoutMs: inMS(cfg.SilenceTimeout),
		StallTimeoutMs:   inMS(cfg.StallTimeout),
	}
}

func inMS(d time.Duration) uint32 { return uint32(d.Milliseconds()) }
