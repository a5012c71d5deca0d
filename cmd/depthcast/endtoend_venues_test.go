package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// venueTale is what becomes of a book of a venue: it begins, meets a price that no
// mantissa holds, is mended, meets a break, is mended again. Each is some messages.
type venueTale struct {
	key                                   string
	begin, outOfRange, mend, broken, last []string
	code, reason                          string // of the break
	depth                                 uint32 // levels a side that the source tells, and begin has; 0: all
}

// great is more than 64 bits hold at any exponent.
const great = "123456789012345678901234567890123456789.5"

// venueTales are by format. All prices but one lie on the tick, which is 1.
func venueTales() map[string]venueTale {
	rest := func(id int) string {
		return fmt.Sprintf(`{"lastUpdateId":%d,"bids":[["10.00","5"],["9.00","1"]],"asks":[["11.00","1"],["12.00","1"]]}`, id)
	}
	spot := func(first, last int, price string) string {
		return fmt.Sprintf(`{"e":"depthUpdate","E":1000,"s":"X","U":%d,"u":%d,"b":[[%q,"2"]],"a":[]}`, first, last, price)
	}
	futures := func(previous, first, last int, price string) string {
		return fmt.Sprintf(`{"stream":"x@depth","data":{"e":"depthUpdate","E":1000,"s":"X","U":%d,"u":%d,"pu":%d,"b":[[%q,"2"]],"a":[]}}`, first, last, previous, price)
	}
	kraken := `[1,{"as":[["11.00","1","1.5"]],"bs":[["10.00","5","1.5"]]},"book-10","X"]`
	krakenSet := func(price, sum string) string {
		return fmt.Sprintf(`[1,{"b":[[%q,"2","1.5"]]%s},"book-10","X"]`, price, sum)
	}
	krakenV2 := func(kind, price, sum string) string {
		return fmt.Sprintf(`{"channel":"book","type":%q,"data":[{"symbol":"X","bids":[{"price":%s,"qty":2}],"asks":[{"price":11.0,"qty":1}]%s}]}`, kind, price, sum)
	}
	coinbase := func(kind string, number int, price string) string {
		return fmt.Sprintf(`{"channel":"l2_data","sequence_num":%d,"events":[{"type":%q,"product_id":"X","updates":[{"side":"bid","price_level":%q,"new_quantity":"2"},`+
			`{"side":"offer","price_level":"11","new_quantity":"1"}]}]}`, number, kind, price)
	}
	okx := func(action string, previous, number int, price string) string {
		return fmt.Sprintf(`{"arg":{"channel":"books50-l2-tbt","instId":"X"},"action":%q,"data":[{"asks":[["11","1","0","1"]],"bids":[[%q,"2","0","1"]],"ts":"1597026383085","prevSeqId":%d,"seqId":%d}]}`,
			action, price, previous, number)
	}
	lobster := func(row int, price string) string {
		return fmt.Sprintf("X 0 %d\n34201,7,0,0,-1,1\n110000,1,%s,5", row, price)
	}
	return map[string]venueTale{
		"binance": {key: "BINANCE:X", depth: 2,
			begin: []string{rest(5), spot(6, 7, "8.00")}, outOfRange: []string{spot(8, 8, great)}, mend: []string{rest(8), spot(9, 9, "8.50")},
			broken: []string{spot(20, 20, "8.00")}, last: []string{rest(19)}, code: ingest.CodeSourceGap, reason: "source_gap"},
		"binance, futures": {key: "BINANCE-USDM:X", depth: 2,
			begin: []string{futures(6, 7, 8, "8.00"), rest(7)}, outOfRange: []string{futures(8, 9, 9, great)}, mend: []string{rest(9), futures(8, 9, 10, "8.50")},
			broken: []string{futures(19, 20, 20, "8.00")}, last: []string{rest(20)}, code: ingest.CodeSourceGap, reason: "source_gap"},
		"kraken": {key: "KRAKEN:X", depth: 10,
			begin: []string{kraken, krakenSet("8.00", "")}, outOfRange: []string{krakenSet(great, "")}, mend: []string{kraken, krakenSet("8.50", "")},
			broken: []string{krakenSet("8.00", `,"c":"1"`)}, last: []string{kraken}, code: ingest.CodeChecksum, reason: "checksum"},
		"kraken, version 2": {key: "KRAKEN2:X", depth: 10,
			begin: []string{krakenV2("snapshot", "10.0", ""), krakenV2("update", "8.0", "")}, outOfRange: []string{krakenV2("update", great, "")},
			mend: []string{krakenV2("snapshot", "8.5", "")}, broken: []string{krakenV2("update", "8.0", `,"checksum":1`)},
			last: []string{krakenV2("snapshot", "10.0", "")}, code: ingest.CodeChecksum, reason: "checksum"},
		"coinbase": {key: "COINBASE:X",
			begin: []string{coinbase("snapshot", 1, "10"), coinbase("update", 2, "8")}, outOfRange: []string{coinbase("update", 3, great)},
			mend: []string{coinbase("snapshot", 4, "8.5")}, broken: []string{coinbase("update", 9, "8")},
			last: []string{coinbase("snapshot", 10, "10")}, code: ingest.CodeSourceGap, reason: "source_gap"},
		"okx": {key: "OKX:X", depth: 50,
			begin: []string{okx("snapshot", -1, 1, "10"), okx("update", 1, 2, "8")}, outOfRange: []string{okx("update", 2, 3, great)},
			mend: []string{okx("snapshot", -1, 3, "8.5")}, broken: []string{okx("update", 8, 9, "8")},
			last: []string{okx("snapshot", -1, 9, "10")}, code: ingest.CodeSourceGap, reason: "source_gap"},
		"lobster": {key: "LOBSTER:X", depth: 1,
			begin: []string{lobster(0, "100000"), lobster(1, "100000")}, outOfRange: []string{lobster(2, great[:30])}, mend: []string{lobster(0, "85000")},
			broken: []string{lobster(2, "85000")}, last: []string{lobster(0, "100000")}, code: ingest.CodeSourceGap, reason: "source_gap"},
	}
}

// Each venue's book is live from its snapshot on, partial below what the source
// tells, recovering after a price out of range or a break until the venue's next
// snapshot. A price off the tick is taken and counted. A book beside it in the same
// partition goes on, and so does the process.
func TestEndToEndVenuesBookIsLiveOnlyWhileItIsWhole(t *testing.T) {
	tales := venueTales()
	for _, format := range ingest.Formats() {
		_, told := tales[format]
		if elsewhere := format == "json" || format == "proto" || format == "itch"; told == elsewhere { // TestEndToEnd…BadRecord…, …ITCHBook…
			t.Errorf("%s has no tale here", format)
		}
	}
	for name, tale := range tales {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(t, strings.Split(name, ",")[0], tale)
		})
	}
}

func tell(t *testing.T, format string, tale venueTale) {
	l := newLab(t, 1)
	p := l.producer()
	write := func(key string, values []string) {
		t.Helper()
		var records []ingest.Record
		for _, v := range values {
			records = append(records, ingest.Record{Key: []byte(key), Value: []byte(v), ContentType: ingest.ContentType(format), Time: time.Now().UnixNano()})
		}
		l.writeRaw(p, records...)
	}
	beside := tale.key + "~2"
	x := proto.Exponents{Price: -8, Qty: -8}
	if format == "lobster" {
		x = proto.Exponents{Price: -4}
	}
	tick := int64(1)
	for range -x.Price {
		tick *= 10
	}
	l.writeRaw(p, ingest.Record{Key: []byte(tale.key), ContentType: ingest.ContentType("proto"), Time: time.Now().UnixNano(),
		Value: proto.AppendEvents(nil, &proto.Batch{Symbol: tale.key, Feed: "F", Events: []proto.Event{
			{Kind: proto.EventInstrument, Instrument: &proto.Instrument{Exponents: x, Tick: tick}}}})})
	write(beside, tale.begin)
	write(tale.key, tale.begin)
	server := l.serve(nil)
	standing := func(key, want string) {
		t.Helper()
		server.caughtUpTo(l)
		server.until(key+" is "+want, func() bool { // being behind ends with a tick
			s := server.book(key)
			got := proto.StateWord(s.State)
			if s.State != proto.Live {
				got += " " + proto.ReasonWord(s.Reason)
			}
			return got == want
		})
	}
	refused := func(code, n string) {
		t.Helper()
		server.counted(fmt.Sprintf(`depthcast_ingest_refused_total{code="%s",kafka_topic="%s",partition="0"}`, code, l.events), n)
	}
	offTick := func(n string) {
		t.Helper()
		server.counted(fmt.Sprintf(`depthcast_book_off_tick_total{kafka_topic="%s",partition="0"}`, l.events), n)
	}
	standing(tale.key, "live")
	standing(beside, "live")
	offTick("0")
	for _, depth := range append([]uint32{0}, proto.Depths...) {
		var s proto.Snapshot
		if err := server.hub.ReadView(proto.TopicKey{Symbol: tale.key, Channel: proto.ChannelBook, View: proto.View{Depth: depth}}, &s); err != nil {
			t.Fatal(err)
		}
		if want := tale.depth > 0 && (depth == 0 || depth > tale.depth); s.Partial != want {
			t.Errorf("depth %d: partial is %v", depth, s.Partial)
		}
	}

	write(tale.key, tale.outOfRange)
	standing(tale.key, "recovering bad_record")
	refused("bad_decimal", "1")
	write(tale.key, tale.mend)
	standing(tale.key, "live")
	offTick("1")
	write(tale.key, tale.broken)
	standing(tale.key, "recovering "+tale.reason)
	refused(tale.code, "1")
	write(tale.key, tale.last)
	standing(tale.key, "live")
	offTick("1")
	standing(beside, "live")
}
