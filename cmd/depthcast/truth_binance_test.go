package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// binanceDay is a recorded session with the figures of the recordings' README.
type binanceDay struct {
	recorded
	equal, unequal, early int      // diffs: as the ticker says; not; received before the snapshot
	conflated             []uint64 // final ids of the unequal ones: the venue conflated their tickers
	full, top20           string   // SHA-256 of the dumps at the end
}

var binanceDays = []binanceDay{
	{
		recorded{"Binance usdm BTC", "BINANCE-USDM:BTCUSDT", "binance", []string{"binance/usdm_btcusdt_20240808.gz"}},
		6545, 0, 2, nil,
		"0db13b9051ab45e5ce348be6041375747648ed9c77d2f8d77fa6723c4c191b14", "576c6df58b9af102f0cc2c81dee2baed5bc1262c81d981085334fd837d606e94",
	},
	{
		recorded{"Binance usdm ETH", "BINANCE-USDM:ETHUSDT", "binance", []string{"binance/usdm_ethusdt_20240808.gz"}},
		6579, 0, 2, nil,
		"ca7abc8c6e447b3f0de4b45f0e64d7c7d0ee5770f4b50698ba33537864f43f77", "2d67d1385efb250cb48807158edf82ceb0596e445a3f5cbbfaa4210349fee27c",
	},
	{
		recorded{"Binance spot BTC", "BINANCE:BTCUSDT", "binance", []string{"binance/spot_btcusdt_20240808.gz", "binance/spot_btcusdt_20240809.gz"}},
		6490, 2, 1, []uint64{50093478174, 50093480542},
		"1b29a80c94747238838e93fffd4dd8a3b4be82e29fb7515a5c6cd2d52070aaac", "ee6616919b6af29fccce608c3abce7e319ceaee17cc1423565c690850fbb6a60",
	},
	{
		recorded{"Binance spot ETH", "BINANCE:ETHUSDT", "binance", []string{"binance/spot_ethusdt_20240808.gz", "binance/spot_ethusdt_20240809.gz"}},
		6468, 0, 0, nil,
		"fda1b6b36e2f4338d8ca2f1cb81de1e8c2d71d653f5cd4f810941160ac8f6fe9", "58ceeeaf55360aec910dd803b6c8702c88d5dc8ad4c80fb9ca559744221faaeb",
	},
}

// quote is a bookTicker: best bid and offer as the venue wrote them.
type quote struct {
	ID     uint64 `json:"u"`
	Bid    string `json:"b"`
	BidQty string `json:"B"`
	Ask    string `json:"a"`
	AskQty string `json:"A"`
}

// usedDiff is a diff that the venue's rule applies.
type usedDiff struct {
	First    uint64  `json:"U"`
	Last     uint64  `json:"u"`
	Previous *uint64 `json:"pu"` // futures
	offset   int64   // of the record with which it is applied
	early    bool    // received before the snapshot, and applied with it
	quote    *quote  // the last one until then; nil: none
}

// binanceTruth is what a session says of itself. It is read from the messages
// here by the venue's rule, without the codec that is judged.
type binanceTruth struct {
	snapshot int64 // offset of the record with which it is applied: its own, or that of the diff which bridges it
	diffs    []usedDiff
}

// truthOf reads the raw records of a session.
func (d *binanceDay) truthOf(t *testing.T, dir string) *binanceTruth {
	t.Helper()
	b := &binanceTruth{snapshot: -1}
	var quotes []quote
	var snapshot uint64
	eachRecord(t, d.config(dir, false), func(offset int64, r *ingest.Record) error {
		if r.ContentType != ingest.ContentType("binance") {
			return nil
		}
		var message struct {
			Data       json.RawMessage `json:"data"`
			SnapshotID uint64          `json:"lastUpdateId"`
		}
		parseJSON(t, r.Value, &message)
		head := message.Data[:min(len(message.Data), 40)]
		switch {
		case message.SnapshotID != 0:
			snapshot, b.snapshot = message.SnapshotID, offset
		case bytes.Contains(r.Value[:80], []byte("@bookTicker")):
			var q quote
			parseJSON(t, message.Data, &q)
			quotes = append(quotes, q)
		case bytes.Contains(head, []byte("depthUpdate")):
			diff := usedDiff{offset: offset}
			parseJSON(t, message.Data, &diff)
			b.diffs = append(b.diffs, diff)
		}
		return nil
	})
	b.diffs = slices.DeleteFunc(b.diffs, func(d usedDiff) bool {
		return d.Last < snapshot || d.Last == snapshot && d.Previous == nil
	})
	slices.SortStableFunc(quotes, func(a, b quote) int { return cmp.Compare(a.ID, b.ID) })
	for i := range b.diffs {
		diff := &b.diffs[i]
		diff.early = diff.offset < b.snapshot
		diff.offset = max(diff.offset, b.snapshot)
		diff.quote = lastUntil(quotes, diff.Last)
		if i > 0 && !diff.follows(b.diffs[i-1].Last) || i == 0 && !diff.bridges(snapshot) {
			t.Fatalf("diff %d does not follow", diff.Last)
		}
	}
	if want := d.equal + d.unequal + d.early; len(b.diffs) != want || b.snapshot < 0 {
		t.Fatalf("%d diffs used, snapshot at %d; want %d diffs", len(b.diffs), b.snapshot, want)
	}
	b.snapshot = b.diffs[0].offset
	return b
}

// lastUntil returns the last quote whose id is at most id; nil: none.
func lastUntil(quotes []quote, id uint64) *quote {
	n, _ := slices.BinarySearchFunc(quotes, id+1, func(q quote, id uint64) int { return cmp.Compare(q.ID, id) })
	if n == 0 {
		return nil
	}
	return &quotes[n-1]
}

func (d *usedDiff) follows(last uint64) bool {
	if d.Previous != nil {
		return *d.Previous == last
	}
	return d.First == last+1
}

func (d *usedDiff) bridges(snapshot uint64) bool {
	if d.Previous != nil {
		return d.First <= snapshot && snapshot <= d.Last
	}
	return d.First <= snapshot+1 && snapshot+1 <= d.Last
}

func parseJSON(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

// converted is the same truth with the offsets of the converted records: the nth
// event that sets levels is the nth diff.
func (b *binanceTruth) converted(t *testing.T, d *binanceDay, dir string) *binanceTruth {
	t.Helper()
	c := &binanceTruth{snapshot: -1, diffs: slices.Clone(b.diffs)}
	n := 0
	eachRecord(t, d.config(dir, true), func(offset int64, r *ingest.Record) error {
		var batch proto.Batch
		if err := proto.DecodeEvents(r.Value, &batch); err != nil {
			t.Fatal(err)
		}
		for i := range batch.Events {
			switch batch.Events[i].Kind {
			case proto.EventSnapshot:
				c.snapshot = offset
			case proto.EventSetLevels:
				if n < len(c.diffs) {
					c.diffs[n].offset = offset
				}
				n++
			}
		}
		return nil
	})
	if n != len(c.diffs) || c.snapshot < 0 {
		t.Fatalf("%d diffs converted, want %d", n, len(c.diffs))
	}
	return c
}

// quoteJudge compares the best bid and offer after each diff with the bookTicker.
// It counts as the recordings' README does, whose figures leave out the diffs that
// came before the snapshot. The last of these has a book of its own all the same,
// at the snapshot's offset, which must be right as well.
type quoteJudge struct {
	*binanceTruth
	next                  int
	equal, unequal, early int
	conflated             []uint64 // final ids of the unequal ones
}

func (j *quoteJudge) judge(t *testing.T, from, to int64, depth uint32, bids, asks []proto.Level, x proto.Exponents) {
	t.Helper()
	for ; j.next < len(j.diffs) && j.diffs[j.next].offset < to; j.next++ {
		d := &j.diffs[j.next]
		if d.offset < from {
			t.Fatalf("diff %d at offset %d came before %d, and was not judged", d.Last, d.offset, from)
		}
		inside := j.next+1 < len(j.diffs) && j.diffs[j.next+1].offset == d.offset
		if d.quote == nil || inside && !d.early {
			t.Fatalf("diff %d at offset %d has no ticker (%v), or no book of its own (%v)", d.Last, d.offset, d.quote == nil, inside)
		}
		equal := d.quote.is(t, bids, asks, x)
		switch {
		case d.early:
			j.early++
			if !inside && !equal {
				t.Errorf("view of %d, diff %d, applied with the snapshot: bids %v, asks %v, ticker %+v", depth, d.Last, bids, asks, *d.quote)
			}
		case equal:
			j.equal++
		default:
			j.unequal++
			j.conflated = append(j.conflated, d.Last)
		}
	}
}

// is reports whether q is the best bid and offer of a book.
func (q *quote) is(t *testing.T, bids, asks []proto.Level, x proto.Exponents) bool {
	t.Helper()
	return len(bids) > 0 && len(asks) > 0 && isLevel(t, bids[0], q.Bid, q.BidQty, x) && isLevel(t, asks[0], q.Ask, q.AskQty, x)
}

// isLevel compares mantissas with decimals: both prices and quantities are exact.
func isLevel(t *testing.T, l proto.Level, price, qty string, x proto.Exponents) bool {
	t.Helper()
	p, err := proto.ParseDecimal([]byte(price), x.Price)
	if err != nil {
		t.Fatal(err)
	}
	q, err := proto.ParseDecimal([]byte(qty), x.Qty)
	if err != nil {
		t.Fatal(err)
	}
	return l.Price == p && l.Qty == q
}

func (j *quoteJudge) report(t *testing.T, d *binanceDay, path string, depth uint32) {
	t.Helper()
	finding{d.name, path, depthWord(depth), "best bid and offer: equal/unequal/not compared",
		fmt.Sprintf("%d/%d/%d", j.equal, j.unequal, j.early), fmt.Sprintf("%d/%d/%d", d.equal, d.unequal, d.early)}.report(t)
	if j.next != len(j.diffs) || !slices.Equal(j.conflated, d.conflated) {
		t.Errorf("%s: %d of %d diffs judged; unequal at %v, want %v", d.name, j.next, len(j.diffs), j.conflated[:min(5, len(j.conflated))], d.conflated)
	}
}

// reportDump adds the dump of the book at the end to the table.
func reportDump(t *testing.T, d *binanceDay, path, view, want string, b *client.Book) {
	t.Helper()
	sum := sha256.Sum256(dump(b))
	finding{d.name, path, view, "SHA-256 of the book at the end", hex.EncodeToString(sum[:])[:16], want[:16]}.report(t)
}

func TestTruthBinanceQuotesAndGoldenDumps(t *testing.T) {
	dir := truthDir(t)
	days := binanceDays
	if !wholeTruth() {
		days = days[len(days)-1:]
	}
	for i := range days {
		d := &days[i]
		raw := d.truthOf(t, dir)
		d.alone(t, dir, raw)
		d.through(t, dir, raw, false)
		if wholeTruth() {
			d.through(t, dir, raw.converted(t, d, dir), true)
		}
	}
}

// alone judges codec and book without a broker and a server.
func (d *binanceDay) alone(t *testing.T, dir string, truth *binanceTruth) {
	j := &quoteJudge{binanceTruth: truth}
	engine := inBook(t, d.config(dir, false), -1, 1, func(_ *proto.Batch, s *proto.Snapshot, offset int64) {
		j.judge(t, offset, offset+1, 1, s.Bids, s.Asks, s.Exponents)
	})
	j.report(t, d, pathAlone, 1)
	for _, at := range []struct {
		depth uint32
		want  string
	}{{20, d.top20}, {0, d.full}} {
		var s proto.Snapshot
		key := proto.TopicKey{Symbol: d.symbol, Channel: proto.ChannelBook, View: proto.View{Depth: at.depth}}
		if err := engine.Read(key, &s); err != nil {
			t.Fatal(err)
		}
		b := client.NewBook()
		if got := b.ApplySnapshot(&s); got != client.Applied {
			t.Fatalf("snapshot %v", got)
		}
		reportDump(t, d, pathAlone, depthWord(at.depth), at.want, b)
	}
}

// through judges what a client has.
func (d *binanceDay) through(t *testing.T, dir string, b *binanceTruth, converted bool) {
	codec := proto.CodecProto
	if converted {
		codec = proto.CodecJSON
	}
	length, _ := eachRecord(t, d.config(dir, converted), ignoreRecord)
	depths := []uint32{1, 20, 0}
	judges, truths := []*quoteJudge{}, []truth{}
	for range depths {
		judges = append(judges, &quoteJudge{binanceTruth: b})
		truths = append(truths, judges[len(judges)-1])
	}
	onlookers := through(t, d.config(dir, converted), codec, b.snapshot, length, depths, truths)
	path := pathThrough(converted, codec)
	for i, depth := range depths {
		judges[i].report(t, d, path, depth)
	}
	reportDump(t, d, path, "20", d.top20, onlookers[1].sub.Book())
	reportDump(t, d, path, "full", d.full, onlookers[2].sub.Book())
}
