package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/ingest/feed"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// session is one recorded Binance session and the SHA-256 of its book at the end,
// as the recordings' README gives it.
type session struct {
	files  []string
	symbol string
	golden string
}

var sessions = []session{
	{[]string{"usdm_btcusdt_20240808.gz"}, "BINANCE-USDM:BTCUSDT", "0db13b9051ab45e5ce348be6041375747648ed9c77d2f8d77fa6723c4c191b14"},
	{[]string{"usdm_ethusdt_20240808.gz"}, "BINANCE-USDM:ETHUSDT", "ca7abc8c6e447b3f0de4b45f0e64d7c7d0ee5770f4b50698ba33537864f43f77"},
	{[]string{"spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"}, "BINANCE:BTCUSDT", "1b29a80c94747238838e93fffd4dd8a3b4be82e29fb7515a5c6cd2d52070aaac"},
	{[]string{"spot_ethusdt_20240808.gz", "spot_ethusdt_20240809.gz"}, "BINANCE:ETHUSDT", "fda1b6b36e2f4338d8ca2f1cb81de1e8c2d71d653f5cd4f810941160ac8f6fe9"},
}

// stepped is a producer that stops after certain records until it is told to go
// on, so that clients have seen them before others follow.
type stepped struct {
	feed.Producer
	stop    func(*ingest.Record) bool // asked once for each record
	stopped chan string               // key of the record that it stopped after
	goOn    chan struct{}             // one for each
}

func (p *stepped) Produce(ctx context.Context, records []ingest.Record) error {
	from := 0
	for i := range records {
		if !p.stop(&records[i]) {
			continue
		}
		if err := p.Producer.Produce(ctx, records[from:i+1]); err != nil {
			return err
		}
		from = i + 1
		if err := p.wait(ctx, string(records[i].Key)); err != nil {
			return err
		}
	}
	return p.Producer.Produce(ctx, records[from:])
}

func (p *stepped) wait(ctx context.Context, key string) error {
	select {
	case p.stopped <- key:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-p.goOn:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// replayed is a replay under way: it has sent the definitions of its instruments,
// which the server knows.
type replayed struct {
	symbols []string
	step    *stepped
	finish  func() // waits until the rest has been sent and the broker has it
}

// replay begins to replay recordings into the lab. stop says after which of the
// venue's records to wait; none if it is nil.
func (l *lab) replay(r *running, cfg feed.ReplayConfig, stop func(*ingest.Record) bool) *replayed {
	l.t.Helper()
	replay, err := feed.NewReplay(l.ctx, cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	producer := l.producer()
	defined := 0
	step := &stepped{Producer: producer, stopped: make(chan string), goOn: make(chan struct{}),
		stop: func(rec *ingest.Record) bool {
			if defined < len(replay.Symbols()) {
				defined++
				return defined == len(replay.Symbols())
			}
			return stop != nil && stop(rec)
		}}
	ended := make(chan error, 1)
	go func() { ended <- replay.Run(l.ctx, step) }()
	select {
	case <-step.stopped:
	case err := <-ended:
		l.t.Fatal(err)
	}
	for _, symbol := range replay.Symbols() {
		r.known(symbol)
	}
	return &replayed{replay.Symbols(), step, func() {
		if err := errors.Join(<-ended, producer.Flush(l.ctx)); err != nil {
			l.t.Error(err)
		}
	}}
}

// dump writes a book as the recordings' README does: decimals as the venue wrote
// them, which canonical decimals are.
func dump(b *client.Book) []byte {
	var out []byte
	x := b.Exponents()
	for _, side := range []struct {
		name string
		is   proto.Side
	}{{"b ", proto.Bid}, {"a ", proto.Ask}} {
		for l := range b.Levels(side.is) {
			out = append(out, side.name...)
			out = proto.AppendDecimal(out, l.Price, x.Price)
			out = append(out, ' ')
			out = proto.AppendDecimal(out, l.Qty, x.Qty)
			out = append(out, '\n')
		}
	}
	return out
}

// follow runs c until done says so, and fails where a book was lost, refused or
// disconnected: the server must never be the cause of one.
func follow(t *testing.T, ctx context.Context, c *client.Client, done func(client.Event) bool) {
	t.Helper()
	for event, err := range c.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := event.(type) {
		case *client.BookLost:
			t.Fatalf("book lost: %v at seq %d", e.Cause, e.Sub.Book().Seq())
		case *client.Disconnected:
			t.Fatalf("disconnected: %v", e.Err)
		case *client.Refused:
			t.Fatalf("refused: %v", e.Error)
		}
		if done(event) {
			return
		}
	}
}

func TestEndToEndBinanceReplayEndsAtTheGoldenBooks(t *testing.T) {
	dir := dataDir(t)
	sessions := sessions
	if underRace {
		sessions = sessions[len(sessions)-1:] // races are looked for, not digits
	}
	for _, s := range sessions {
		for codec := range proto.NumCodecs {
			for _, converted := range []bool{false, true} {
				if converted && codec == proto.CodecJSON {
					continue // what goes in and what comes out are independent
				}
				t.Run(fmt.Sprintf("%s/%s/converted=%v", s.symbol, codec, converted), func(t *testing.T) {
					replayBinance(t, dir, s, codec, converted)
				})
			}
		}
	}
}

func replayBinance(t *testing.T, dir string, s session, codec proto.Codec, converted bool) {
	l := newLab(t, 3)
	server := l.serve(nil)
	var files []string
	for _, f := range s.files {
		files = append(files, filepath.Join(dir, "binance", f))
	}
	r := l.replay(server, feed.ReplayConfig{Files: files, Format: "binance", AsProto: converted}, nil)
	c := server.dial(codec)
	sub := subscribe(t, c, client.Item{Symbol: s.symbol})
	deltas, end := 0, make(chan int64, 1)
	var last int64 = -1
	follow(t, l.ctx, c, func(e client.Event) bool {
		switch e := e.(type) {
		case *client.Granted:
			go func() {
				r.step.goOn <- struct{}{}
				r.finish()
				server.caughtUpTo(l)
				end <- server.book(s.symbol).Seq
			}()
		case *client.BookChanged:
			deltas += int(max(1, e.Delta.Merged))
		}
		select {
		case last = <-end:
		default:
		}
		// A replay faster than the server is stale (behind) until the next tick.
		return last >= 0 && sub.Book().Seq() >= last && sub.Book().State() == proto.Live
	})
	sum := sha256.Sum256(dump(sub.Book()))
	if got := hex.EncodeToString(sum[:]); got != s.golden {
		t.Errorf("book of %d/%d levels after %d deltas: SHA-256 %s, want %s",
			sub.Book().Len(proto.Bid), sub.Book().Len(proto.Ask), deltas, got, s.golden)
	}
	if deltas < 1000 {
		t.Errorf("only %d deltas: the client did not follow", deltas)
	}
}

// krakenUpdates is how many updates the Kraken recording holds.
const krakenUpdates = 4269

func TestEndToEndKrakenReplayPassesEveryChecksum(t *testing.T) {
	dir := dataDir(t)
	for codec := range proto.NumCodecs {
		for _, converted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/converted=%v", codec, converted), func(t *testing.T) {
				replayKraken(t, dir, codec, converted)
			})
		}
	}
}

// replayKraken returns how many checksums were equal.
func replayKraken(t *testing.T, dir string, codec proto.Codec, converted bool) int {
	l := newLab(t, 3)
	server := l.serve(nil)
	files := []string{filepath.Join(dir, "kraken", "KRAKEN.ws.50.0.gz"), filepath.Join(dir, "kraken", "KRAKEN.ws.48.0.gz")}
	// Checksums are in the raw records; converted ones follow in the same order.
	sums := recordedChecksums(t, files)
	// A snapshot may hold what follows it soon; one that was received before
	// anything follows does not, so that each update is a delta of its own.
	isSnapshot := func(r *ingest.Record) bool {
		if !converted {
			return bytes.Contains(r.Value, []byte(`"as":`))
		}
		var b proto.Batch
		return proto.DecodeEvents(r.Value, &b) == nil && len(b.Events) > 0 && b.Events[0].Kind == proto.EventSnapshot
	}
	r := l.replay(server, feed.ReplayConfig{Files: files, Format: "kraken", AsProto: converted}, isSnapshot)
	if len(r.symbols) != 10 {
		t.Fatalf("%d pairs, want 10", len(r.symbols))
	}
	c := server.dial(codec)
	granted, sets, checked, wrong := 0, 0, 0, 0
	for _, symbol := range r.symbols {
		// Every frame, so that each checksum has its book.
		subscribe(t, c, client.Item{Symbol: symbol, Policy: pb.Policy_POLICY_DROP})
	}
	seen := map[string]int{}
	follow(t, l.ctx, c, func(e client.Event) bool {
		switch e := e.(type) {
		case *client.Granted:
			if granted++; granted == len(r.symbols) {
				r.step.goOn <- struct{}{}
				<-r.step.stopped
			}
		case *client.BookSet:
			if e.Book.State() != proto.Live {
				break // there is no snapshot yet
			}
			r.step.goOn <- struct{}{}
			if sets++; sets < len(r.symbols) {
				<-r.step.stopped
			}
		case *client.BookChanged:
			symbol := e.Sub.Item().Symbol
			i := seen[symbol]
			seen[symbol]++
			if i >= len(sums[symbol]) {
				t.Fatalf("%s: more deltas than updates", symbol)
			}
			checked++
			if got := krakenChecksum(e.Book); got != sums[symbol][i] {
				wrong++
				t.Errorf("%s: update %d at seq %d: checksum %d, want %d", symbol, i, e.Delta.Seq, got, sums[symbol][i])
			}
		}
		return checked == krakenUpdates || wrong > 10
	})
	r.finish()
	if checked != krakenUpdates || wrong > 0 {
		t.Errorf("%d checksums compared, %d wrong; want %d and 0", checked, wrong, krakenUpdates)
	}
	return checked - wrong
}

// recordedChecksums reads the checksum of each update, by symbol in order, from
// the raw records that a replay makes.
func recordedChecksums(t *testing.T, files []string) map[string][]uint32 {
	t.Helper()
	replay, err := feed.NewReplay(context.Background(), feed.ReplayConfig{Files: files, Format: "kraken"})
	if err != nil {
		t.Fatal(err)
	}
	sums := checksums{}
	if err := replay.Run(context.Background(), sums); err != nil {
		t.Fatal(err)
	}
	return sums
}

// checksums is a producer that keeps only the checksums.
type checksums map[string][]uint32

func (c checksums) Produce(_ context.Context, records []ingest.Record) error {
	for _, r := range records {
		if r.ContentType != ingest.ContentType("kraken") {
			continue
		}
		var parts []json.RawMessage
		if err := json.Unmarshal(r.Value, &parts); err != nil {
			return err
		}
		for _, p := range parts {
			var body struct {
				C string `json:"c"`
			}
			if json.Unmarshal(p, &body) != nil || body.C == "" {
				continue
			}
			n, err := strconv.ParseUint(body.C, 10, 32)
			if err != nil {
				return err
			}
			c[string(r.Key)] = append(c[string(r.Key)], uint32(n))
		}
	}
	return nil
}

// krakenChecksum is the CRC32 of the ten best levels a side, as Kraken computes it.
func krakenChecksum(b *client.Book) uint32 {
	var text []byte
	x := b.Exponents()
	for _, side := range []proto.Side{proto.Ask, proto.Bid} {
		n := 0
		for l := range b.Levels(side) {
			if n++; n > 10 {
				break
			}
			text = append(text, digits(l.Price, x.Price)...)
			text = append(text, digits(l.Qty, x.Qty)...)
		}
	}
	return crc32.ChecksumIEEE(text)
}

// digits is a decimal without its point and leading zeros.
func digits(mantissa int64, exponent int8) []byte {
	d := bytes.ReplaceAll(proto.AppendDecimal(nil, mantissa, exponent), []byte("."), nil)
	return bytes.TrimLeft(d, "0")
}
