package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// ReplayConfig says what is replayed, and how.
type ReplayConfig struct {
	// Files are recordings; together they keep their relative time. At most 256.
	Files []string
	// Format of the files: binance, kraken or lobster.
	Format string
	// Speed is how many times faster than recorded: 1, 10, … 0: as fast as the
	// producer takes it.
	Speed float64
	// Clones is how many symbols each recorded one is sent as: its own and
	// SYMBOL~1, SYMBOL~2, … Default 1; at most 100,000.
	Clones int
	// AsProto converts to depthcast's own records, by the codecs that serve uses
	// on raw ones. Else records hold what the venue sent.
	AsProto bool
}

func (c *ReplayConfig) validate() error {
	if c.Clones == 0 {
		c.Clones = 1
	}
	switch {
	case len(c.Files) == 0 || len(c.Files) > 256:
		return fmt.Errorf("%w: %d files to replay; want 1 to 256", ErrConfig, len(c.Files))
	case c.Format != "binance" && c.Format != "kraken" && c.Format != "lobster":
		return fmt.Errorf("%w: no recordings of format %q; there are binance, kraken, lobster", ErrConfig, c.Format)
	case c.Speed < 0 || math.IsNaN(c.Speed) || math.IsInf(c.Speed, 0):
		return fmt.Errorf("%w: speed %v; want a factor above 0, or 0 for as fast as possible", ErrConfig, c.Speed)
	case c.Clones < 1 || c.Clones > 100_000:
		return fmt.Errorf("%w: %d clones; want 1 to 100000", ErrConfig, c.Clones)
	}
	return nil
}

// Replay sends recordings. It reads them twice, from the disk: first for their
// symbols and decimals, then message by message.
type Replay struct {
	cfg         ReplayConfig
	listing     *listing
	contentType string
	codec       ingest.Codec        // of AsProto
	keys        map[string][][]byte // by symbol: its own and its clones'
	stats       Stats
	inspector   *ingest.Inspector
}

// NewReplay reads the files through for their symbols, until ctx ends.
func NewReplay(ctx context.Context, cfg ReplayConfig) (*Replay, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l, err := scan(ctx, cfg.Files, cfg.Format)
	if err != nil {
		return nil, err
	}
	r := &Replay{cfg: cfg, listing: l, contentType: ingest.ContentType(cfg.Format), keys: map[string][][]byte{}}
	if r.codec, err = ingest.NewCodec(cfg.Format, l); err != nil {
		return nil, err
	}
	if cfg.Format != "lobster" {
		if r.inspector, err = ingest.NewInspector(cfg.Format); err != nil {
			return nil, err
		}
	}
	for _, symbol := range l.order {
		for n := range cfg.Clones {
			key := symbol
			if n > 0 {
				key += "~" + strconv.Itoa(n)
			}
			if len(key) > proto.MaxSymbolBytes {
				return nil, fmt.Errorf("%w: symbol %q is longer than %d bytes", ErrConfig, key, proto.MaxSymbolBytes)
			}
			r.keys[symbol] = append(r.keys[symbol], []byte(key))
		}
	}
	return r, nil
}

// Symbols are the names of all symbols sent, clones among them.
func (r *Replay) Symbols() []string {
	var names []string
	for _, symbol := range r.listing.order {
		for _, key := range r.keys[symbol] {
			names = append(names, string(key))
		}
	}
	return names
}

// Stats may be read while Run runs.
func (r *Replay) Stats() *Stats { return &r.stats }

// Run sends the instruments, then the messages at their time, to p. It returns
// nil at the end of the recordings, else the error of ctx, of p or of a file. To
// be called once.
func (r *Replay) Run(ctx context.Context, p Producer) error {
	out := &outbox{producer: p, stats: &r.stats}
	if err := r.define(ctx, out); err != nil {
		return err
	}
	m, err := openMerged(r.cfg.Files, r.cfg.Format)
	if err != nil {
		return err
	}
	defer m.Close()
	clock := pace{speed: r.cfg.Speed}
	for {
		file, l, err := m.next()
		if errors.Is(err, io.EOF) {
			return out.send(ctx)
		}
		if err != nil {
			return errors.Join(err, out.send(ctx))
		}
		if err := r.await(ctx, &clock, l.time, out); err != nil {
			return err
		}
		if err := r.message(ctx, file, l.value, out); err != nil {
			return err
		}
	}
}

// define sends the instruments.
func (r *Replay) define(ctx context.Context, out *outbox) error {
	for _, symbol := range r.listing.order {
		in := r.listing.instruments[symbol]
		b := proto.Batch{
			Exponents: in.Exponents, HasExponents: true,
			Events: []proto.Event{{Kind: proto.EventInstrument, Instrument: in}},
		}
		if err := r.clones(ctx, symbol, &b, out); err != nil {
			return err
		}
	}
	return out.send(ctx)
}

// clones sends b in depthcast's own format under each name of symbol. Kafka's
// time is that of the replay, not the recorded one: retention goes by it.
func (r *Replay) clones(ctx context.Context, symbol string, b *proto.Batch, out *outbox) error {
	b.Feed, _, _ = strings.Cut(symbol, ":")
	for _, key := range r.keys[symbol] {
		b.Symbol = string(key)
		out.batch(key, b, 0)
		if out.full() {
			if err := out.send(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// message sends one message under each name of its symbol.
func (r *Replay) message(ctx context.Context, file int, value []byte, out *outbox) error {
	symbol, err := r.symbolOf(file, value)
	if err != nil {
		return err
	}
	keys := r.keys[symbol]
	if keys == nil {
		r.stats.Skipped.Add(1)
		return nil
	}
	if r.cfg.AsProto {
		return r.convert(ctx, symbol, value, out)
	}
	for _, key := range keys {
		out.add(key, r.contentType, 0, 1, func(dst []byte) []byte { return append(dst, value...) })
		if out.full() {
			if err := out.send(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// symbolOf names the symbol of a message; "" for one that concerns none.
func (r *Replay) symbolOf(file int, value []byte) (string, error) {
	f := &r.listing.files[file]
	if r.inspector == nil {
		return f.venue + ":" + f.alone, nil
	}
	p, err := r.inspector.Inspect(value)
	if err != nil || !p.Data {
		return "", err
	}
	if p.Symbol == nil {
		return f.venue + ":" + f.alone, nil
	}
	return f.venue + ":" + string(p.Symbol), nil
}

// convert sends what the codec makes of a message. What it refuses leaves the
// book without a change that the venue made, which readers must know.
func (r *Replay) convert(ctx context.Context, symbol string, value []byte, out *outbox) error {
	b, err := r.codec.Decode(&ingest.Record{Key: r.keys[symbol][0], Value: value})
	if err != nil {
		var refused *proto.RecordError
		if !errors.As(err, &refused) || refused.Reason == proto.ReasonNone {
			r.stats.Skipped.Add(1)
			return nil
		}
		r.stats.Refused.Add(1)
		b = &proto.Batch{Events: []proto.Event{{Kind: proto.EventClear}}}
	}
	if b == nil || len(b.Events) == 1 && b.Events[0].Kind == proto.EventHeartbeat {
		r.stats.Skipped.Add(1)
		return nil
	}
	return r.clones(ctx, symbol, b, out)
}

// await waits until the message recorded at time is due, sending what is queued
// first, and signs of life of the feeds each second.
func (r *Replay) await(ctx context.Context, clock *pace, at int64, out *outbox) error {
	for {
		now := time.Now()
		wait := clock.wait(at, now)
		if clock.beat(now) {
			for _, symbol := range r.listing.order {
				b := proto.Batch{Events: []proto.Event{{Kind: proto.EventHeartbeat}}}
				if err := r.clones(ctx, symbol, &b, out); err != nil {
					return err
				}
			}
		}
		if wait < time.Millisecond {
			return nil // what follows soon goes out together
		}
		if err := out.send(ctx); err != nil {
			return err
		}
		timer := time.NewTimer(min(wait, time.Second))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// pace maps recorded time to the clock, from the first message on, so that
// delays do not add up.
type pace struct {
	speed    float64
	begun    bool
	first    int64     // recorded time of the first message
	start    time.Time // when it was sent
	lastBeat time.Time
}

// wait returns how long after now the message recorded at time is due.
func (p *pace) wait(at int64, now time.Time) time.Duration {
	if p.speed == 0 {
		return 0
	}
	if !p.begun {
		p.begun, p.first, p.start, p.lastBeat = true, at, now, now
	}
	due := min(float64(at-p.first)/p.speed, 1e18)
	return p.start.Add(time.Duration(due)).Sub(now)
}

// beat reports whether a second has passed since it last did.
func (p *pace) beat(now time.Time) bool {
	if !p.begun || now.Sub(p.lastBeat) < time.Second {
		return false
	}
	p.lastBeat = now
	return true
}
