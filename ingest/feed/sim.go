package feed

import (
	"context"
	"time"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// contentTypeProto is the content type of depthcast's own records.
var contentTypeProto = ingest.ContentType("proto")

// stepEvery is how often a running market is told the time.
const stepEvery = 5 * time.Millisecond

// Sim runs a simulated market against the clock.
type Sim struct {
	market *Market
	keys   map[string][]byte
	stats  Stats
}

// NewSim makes a market that opens when Run is called.
func NewSim(cfg MarketConfig) (*Sim, error) {
	market, err := NewMarket(cfg)
	if err != nil {
		return nil, err
	}
	s := &Sim{market: market, keys: map[string][]byte{}}
	for _, symbol := range market.Symbols() {
		s.keys[symbol] = []byte(symbol)
	}
	return s, nil
}

// Symbols are the names of all instruments, the busiest first.
func (s *Sim) Symbols() []string { return s.market.Symbols() }

// Stats may be read while Run runs.
func (s *Sim) Stats() *Stats { return &s.stats }

// Run lets the market live and hands its records to p until ctx ends or p fails;
// it returns that error. Times are the clock's, so a pause of the process makes
// the market catch up by at most a quarter of a second. To be called once.
func (s *Sim) Run(ctx context.Context, p Producer) error {
	out := &outbox{producer: p, stats: &s.stats}
	ticker := time.NewTicker(stepEvery)
	defer ticker.Stop()
	for {
		if err := s.send(ctx, out, s.market.Step(time.Now().UnixNano())); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (s *Sim) send(ctx context.Context, out *outbox, batches []*proto.Batch) error {
	for _, b := range batches {
		out.batch(s.keys[b.Symbol], b, b.VenueTime)
		if out.full() {
			if err := out.send(ctx); err != nil {
				return err
			}
		}
	}
	return out.send(ctx)
}

// batch queues b as a record of depthcast's own format; time 0: now.
func (o *outbox) batch(key []byte, b *proto.Batch, time int64) {
	if len(b.Events) == 1 && b.Events[0].Kind == proto.EventHeartbeat {
		o.stats.Heartbeats.Add(1)
	}
	o.add(key, contentTypeProto, time, len(b.Events), func(dst []byte) []byte {
		return proto.AppendEvents(dst, b)
	})
}
