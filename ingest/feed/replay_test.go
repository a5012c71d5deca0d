package feed

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// recorded returns the path of a recorded file, or skips the test where the
// recordings are absent.
func recorded(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("DEPTHCAST_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	path := filepath.Join(dir, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("skipped: the recording %s is absent (DEPTHCAST_DATA names the directory)", name)
	}
	return path
}

// written makes a file of a test's own; gzipped where its name says so.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	data := []byte(text)
	if strings.HasSuffix(name, ".gz") {
		var zipped bytes.Buffer
		w := gzip.NewWriter(&zipped)
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		data = zipped.Bytes()
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var _ Producer = (*ingest.Producer)(nil)

// taker is a Producer that hands each record to a function.
type taker func(r *ingest.Record) error

func (f taker) Produce(ctx context.Context, records []ingest.Record) error {
	if len(records) > batchRecords {
		return fmt.Errorf("%d records at once", len(records))
	}
	for i := range records {
		if err := f(&records[i]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// reader does with records what a partition does: raw ones go through their
// codec, with the exponents of the instruments before them.
type reader struct {
	t         *testing.T
	exponents map[string]proto.Exponents
	codecs    map[string]ingest.Codec
	batch     proto.Batch
}

func newReader(t *testing.T) *reader {
	return &reader{t: t, exponents: map[string]proto.Exponents{}, codecs: map[string]ingest.Codec{}}
}

func (r *reader) Exponents(symbol string) proto.Exponents {
	x, ok := r.exponents[symbol]
	if !ok {
		r.t.Fatalf("no instrument of %q", symbol)
	}
	return x
}

func (r *reader) read(rec *ingest.Record) *proto.Batch {
	if rec.ContentType == contentTypeProto {
		if err := proto.DecodeEvents(rec.Value, &r.batch); err != nil {
			r.t.Fatal(err)
		}
		if r.batch.Symbol != string(rec.Key) {
			r.t.Fatalf("symbol %q under the key %q", r.batch.Symbol, rec.Key)
		}
		for _, e := range r.batch.Events {
			if e.Kind == proto.EventInstrument {
				r.exponents[r.batch.Symbol] = e.Instrument.Exponents
			}
		}
		return &r.batch
	}
	c := r.codecs[rec.ContentType]
	if c == nil {
		for _, format := range ingest.Formats() {
			if ingest.ContentType(format) == rec.ContentType {
				var err error
				if c, err = ingest.NewCodec(format, r); err != nil {
					r.t.Fatal(err)
				}
			}
		}
		r.codecs[rec.ContentType] = c
	}
	b, err := c.Decode(rec)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// levelBook is the simplest book by level.
type levelBook map[proto.Side]map[int64]int64

func (l levelBook) apply(b *proto.Batch) {
	for _, e := range b.Events {
		if e.Kind == proto.EventSnapshot {
			l[proto.Bid], l[proto.Ask] = map[int64]int64{}, map[int64]int64{}
		}
		for side, levels := range map[proto.Side][]proto.Level{proto.Bid: e.Bids, proto.Ask: e.Asks} {
			for _, v := range levels {
				if v.Qty == 0 {
					delete(l[side], v.Price)
				} else {
					l[side][v.Price] = v.Qty
				}
			}
		}
	}
}

func (l levelBook) hash(x proto.Exponents) string {
	var out []byte
	for _, side := range []proto.Side{proto.Bid, proto.Ask} {
		var prices []int64
		for price := range l[side] {
			prices = append(prices, price)
		}
		slices.Sort(prices)
		if side == proto.Bid {
			slices.Reverse(prices)
		}
		for _, price := range prices {
			out = append(out, " ba"[side], ' ')
			out = append(proto.AppendDecimal(out, price, x.Price), ' ')
			out = append(proto.AppendDecimal(out, l[side][price], x.Qty), '\n')
		}
	}
	sum := sha256.Sum256(out)
	return hex.EncodeToString(sum[:])
}

func replay(t *testing.T, cfg ReplayConfig, take func(*ingest.Record)) *Replay {
	t.Helper()
	r, err := NewReplay(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), taker(func(rec *ingest.Record) error { take(rec); return nil })); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReplayedBinanceSessionsEndInTheGoldenBooks(t *testing.T) {
	golden := map[string]string{
		"BINANCE-USDM:BTCUSDT": "0db13b9051ab45e5ce348be6041375747648ed9c77d2f8d77fa6723c4c191b14",
		"BINANCE-USDM:ETHUSDT": "ca7abc8c6e447b3f0de4b45f0e64d7c7d0ee5770f4b50698ba33537864f43f77",
		"BINANCE:BTCUSDT":      "1b29a80c94747238838e93fffd4dd8a3b4be82e29fb7515a5c6cd2d52070aaac",
		"BINANCE:ETHUSDT":      "fda1b6b36e2f4338d8ca2f1cb81de1e8c2d71d653f5cd4f810941160ac8f6fe9",
	}
	var all []string
	for _, name := range []string{
		"spot_btcusdt_20240809", "spot_btcusdt_20240808", "usdm_btcusdt_20240808",
		"usdm_ethusdt_20240808", "spot_ethusdt_20240808", "spot_ethusdt_20240809",
	} {
		all = append(all, recorded(t, "binance/"+name+".gz"))
	}
	for _, converted := range []bool{false, true} {
		t.Run(fmt.Sprintf("converted=%v", converted), func(t *testing.T) {
			in := newReader(t)
			books := map[string]levelBook{}
			// BTCUSDT raw and ETHUSDT converted: both of each would only take time.
			files := all[:3]
			if converted {
				files = all[3:]
			}
			r := replay(t, ReplayConfig{Files: files, Format: "binance", AsProto: converted}, func(rec *ingest.Record) {
				if b := in.read(rec); b != nil {
					if books[b.Symbol] == nil {
						books[b.Symbol] = levelBook{proto.Bid: {}, proto.Ask: {}}
					}
					books[b.Symbol].apply(b)
				}
			})
			if len(books) != 2 {
				t.Fatalf("%d symbols, want 2", len(books))
			}
			for symbol, want := range golden {
				if books[symbol] == nil {
					continue
				}
				if got := books[symbol].hash(in.Exponents(symbol)); got != want {
					t.Errorf("%s: %s, want %s", symbol, got, want)
				}
			}
			if got := r.Stats().Records.Load(); !converted && got != 93954+99574+2 {
				t.Errorf("%d records", got)
			}
			if r.Stats().Refused.Load() != 0 {
				t.Errorf("%d messages refused", r.Stats().Refused.Load())
			}
		})
	}
}

func TestReplayNamesKrakensPairsWithTheirOwnDecimals(t *testing.T) {
	in := newReader(t)
	records := map[string]int{}
	r := replay(t, ReplayConfig{
		Files:  []string{recorded(t, "kraken/KRAKEN.ws.50.0.gz"), recorded(t, "kraken/KRAKEN.ws.48.0.gz")},
		Format: "kraken", Clones: 2,
	}, func(rec *ingest.Record) {
		records[string(rec.Key)]++
		in.read(rec)
	})
	if len(records) != 20 || len(r.Symbols()) != 20 {
		t.Fatalf("%d keys, %d symbols; want ten pairs and a clone of each", len(records), len(r.Symbols()))
	}
	for _, symbol := range r.Symbols() {
		base, _, _ := strings.Cut(symbol, "~")
		if records[symbol] != records[base] || in.exponents[symbol] != in.exponents[base] {
			t.Errorf("%s: %d records, %v; its origin has %d, %v", symbol, records[symbol], in.exponents[symbol], records[base], in.exponents[base])
		}
	}
	for symbol, want := range map[string]proto.Exponents{"KRAKEN:XMR/USD": {Price: -8, Qty: -8}, "KRAKEN:XBT/CHF": {Price: -5, Qty: -8}, "KRAKEN:ADA/XBT": {Price: -9, Qty: -8}} {
		if got := in.exponents[symbol]; got != want {
			t.Errorf("%s: %v, want %v", symbol, got, want)
		}
	}
	if updates := records["KRAKEN:SC/EUR~1"]; updates < 818 {
		t.Errorf("%d records of SC/EUR", updates)
	}
}

func TestReplaySendsEveryLobsterRow(t *testing.T) {
	for _, converted := range []bool{false, true} {
		in := newReader(t)
		rows, first := 0, int64(0)
		replay(t, ReplayConfig{
			Files:  []string{recorded(t, "lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip")},
			Format: "lobster", AsProto: converted,
		}, func(rec *ingest.Record) {
			b := in.read(rec)
			if string(rec.Key) != "LOBSTER:GOOG" || b == nil {
				t.Fatalf("record of %q", rec.Key)
			}
			if b.Events[0].Kind == proto.EventInstrument {
				return
			}
			if rows++; rows == 1 {
				first = b.VenueTime
			}
		})
		if rows != 147916 {
			t.Errorf("converted=%v: %d rows", converted, rows)
		}
		if got := time.Unix(0, first).UTC().Format(time.RFC3339); got != "2012-06-21T13:30:00Z" {
			t.Errorf("the first row is of %s", got)
		}
	}
}

// diffAt is a line of a Binance recording.
func diffAt(ns int64, symbol string, id int) string {
	return fmt.Sprintf(`%d {"e":"depthUpdate","E":1,"s":"%s","U":%d,"u":%d,"b":[["1.50","%d"]],"a":[]}`+"\n", ns, symbol, id, id, id)
}

func TestSeveralFilesKeepTheirRelativeTime(t *testing.T) {
	one := written(t, "one.gz", diffAt(10, "X", 1)+diffAt(40, "X", 2)+diffAt(30, "X", 3))
	two := written(t, "two", diffAt(20, "Y", 1)+`25 {"result":null,"id":1}`+"\n"+diffAt(40, "Y", 2)+diffAt(50, "Y", 3))
	var got []string
	r := replay(t, ReplayConfig{Files: []string{two, one}, Format: "binance"}, func(rec *ingest.Record) {
		if rec.ContentType != contentTypeProto {
			_, id, _ := bytes.Cut(rec.Value, []byte(`"u":`))
			got = append(got, string(rec.Key)+" "+string(id[:1]))
		}
	})
	// In the file of X the recorder's clock went back once.
	want := []string{"BINANCE:X 1", "BINANCE:Y 1", "BINANCE:Y 2", "BINANCE:X 2", "BINANCE:X 3", "BINANCE:Y 3"}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if r.Stats().Skipped.Load() != 1 {
		t.Errorf("%d messages skipped, want 1", r.Stats().Skipped.Load())
	}
}

func TestAGapInARecordingIsNotHiddenByConverting(t *testing.T) {
	file := written(t, "x", `1 {"lastUpdateId":4,"bids":[],"asks":[["2","1"]]}`+"\n"+diffAt(2, "X", 5)+diffAt(3, "X", 7)+diffAt(4, "X", 8))
	in := newReader(t)
	var kinds []proto.EventKind
	r := replay(t, ReplayConfig{Files: []string{file}, Format: "binance", AsProto: true}, func(rec *ingest.Record) {
		for _, e := range in.read(rec).Events {
			kinds = append(kinds, e.Kind)
		}
	})
	if want := []proto.EventKind{proto.EventInstrument, proto.EventSnapshot, proto.EventSetLevels, proto.EventClear}; !slices.Equal(kinds, want) {
		t.Errorf("events %v, want %v", kinds, want)
	}
	if r.Stats().Refused.Load() != 1 {
		t.Errorf("%d refused, want 1", r.Stats().Refused.Load())
	}
}

func TestWhatCannotBeReplayedIsSaid(t *testing.T) {
	good := written(t, "good", diffAt(1, "X", 1))
	for name, c := range map[string]struct {
		cfg  ReplayConfig
		want error
	}{
		"no file":          {ReplayConfig{Format: "binance"}, ErrConfig},
		"unknown format":   {ReplayConfig{Files: []string{good}, Format: "proto"}, ErrConfig},
		"negative speed":   {ReplayConfig{Files: []string{good}, Format: "binance", Speed: -1}, ErrConfig},
		"no clone":         {ReplayConfig{Files: []string{good}, Format: "binance", Clones: -1}, ErrConfig},
		"absent file":      {ReplayConfig{Files: []string{good + "x"}, Format: "binance"}, os.ErrNotExist},
		"not gzipped":      {ReplayConfig{Files: []string{written(t, "x", "plain"), written(t, "x.gz", "")}, Format: "binance"}, ErrRecording},
		"not JSON":         {ReplayConfig{Files: []string{written(t, "x", "1 {\n")}, Format: "binance"}, ErrRecording},
		"no time":          {ReplayConfig{Files: []string{written(t, "x", "x {}\n")}, Format: "binance"}, ErrRecording},
		"no zip":           {ReplayConfig{Files: []string{good}, Format: "lobster"}, ErrRecording},
		"no symbol":        {ReplayConfig{Files: []string{written(t, "x", "")}, Format: "kraken"}, ErrRecording},
		"nameless":         {ReplayConfig{Files: []string{written(t, "x", `1 {"lastUpdateId":4,"bids":[],"asks":[]}`+"\n")}, Format: "binance"}, ErrRecording},
		"whose snapshot":   {ReplayConfig{Files: []string{written(t, "x", diffAt(1, "X", 1)+diffAt(1, "Y", 1)+`1 {"lastUpdateId":4,"bids":[],"asks":[]}`+"\n")}, Format: "binance"}, ErrRecording},
		"too fine decimal": {ReplayConfig{Files: []string{written(t, "x", strings.Replace(diffAt(1, "X", 1), "1.50", "1.5000000000000000000", 1))}, Format: "binance"}, ErrRecording},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewReplay(t.Context(), c.cfg); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func TestPaceFollowsTheRecordingWithoutDrift(t *testing.T) {
	start := time.Unix(1000, 0)
	p := pace{speed: 10}
	if got := p.wait(5e9, start); got != 0 {
		t.Errorf("the first message waits %v", got)
	}
	if got := p.wait(15e9, start.Add(200*time.Millisecond)); got != 800*time.Millisecond {
		t.Errorf("10 s later at 10x, 200 ms on: waits %v", got)
	}
	if got := p.wait(15e9, start.Add(1500*time.Millisecond)); got != -500*time.Millisecond {
		t.Errorf("late: waits %v", got)
	}
	if p.beat(start.Add(999*time.Millisecond)) || !p.beat(start.Add(time.Second)) || p.beat(start.Add(1900*time.Millisecond)) {
		t.Error("signs of life do not come once a second")
	}
	fast := pace{}
	if fast.wait(5e9, start) != 0 || fast.wait(500e9, start) != 0 || fast.beat(start.Add(time.Hour)) {
		t.Error("as fast as possible waits")
	}
}

func TestCancelEndsAReplayThatWaits(t *testing.T) {
	file := written(t, "x", diffAt(1, "X", 1)+diffAt(3600e9, "X", 2))
	r, err := NewReplay(t.Context(), ReplayConfig{Files: []string{file}, Format: "binance", Speed: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = r.Run(ctx, taker(func(rec *ingest.Record) error {
		if rec.ContentType != contentTypeProto {
			cancel()
		}
		return nil
	}))
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestSimEndsWithItsContextOrItsProducer(t *testing.T) {
	for _, want := range []error{context.Canceled, errors.New("broken")} {
		s, err := NewSim(MarketConfig{Seed: 1, Rate: 200_000})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		in := newReader(t)
		events := 0
		err = s.Run(ctx, taker(func(rec *ingest.Record) error {
			if events += len(in.read(rec).Events); events > 12_000 {
				if want != context.Canceled {
					return want
				}
				cancel()
			}
			return nil
		}))
		cancel()
		if !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if s.Stats().Records.Load() == 0 || s.Stats().Events.Load() == 0 || len(in.exponents) != len(s.Symbols()) {
			t.Errorf("%d records, %d events, %d instruments", s.Stats().Records.Load(), s.Stats().Events.Load(), len(in.exponents))
		}
	}
	if _, err := NewSim(MarketConfig{Rate: -1}); !errors.Is(err, ErrConfig) {
		t.Errorf("a negative rate: %v", err)
	}
}
