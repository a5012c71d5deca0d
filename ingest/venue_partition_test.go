package ingest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// venueBreak is a log of one symbol of a venue, with a break and what mends it.
type venueBreak struct {
	key     string
	values  []string
	told    []string // what the books are told: verb and offset
	code    string
	reason  proto.Reason
	numbers []string // that the refusal names
}

// venueBreaks have what each venue tells a break by.
func venueBreaks() map[string]venueBreak {
	kraken := func(sum uint32) string {
		return fmt.Sprintf(`[1,{"b":[["1.00","7","1.5"]],"c":"%d"},"book-10","X"]`, sum)
	}
	krakenSnapshot := `[1,{"as":[["2.00","5","1.5"]],"bs":[["1.00","6","1.5"]]},"book-10","X"]`
	sum := krakenText("2005" + "1007")
	coinbase, okx := coinbaseLevel2("snapshot", 100, 1), okxUpdate("snapshot", -1, 100, true)
	lobster := func(row int) string {
		return fmt.Sprintf("X 0 %d\n34201,7,0,0,-1,-1\n1010,5,1000,15", row)
	}
	day := newYorkMidnight(rigStart.UnixNano())
	itch := func(message []byte) string { return string(itchFrames(message)) }
	early, late := aapl.at(4*time.Hour), aapl.at(5*time.Hour)
	return map[string]venueBreak{
		// The bridging diffs lie behind the first snapshot, and before and behind the second.
		"binance": {
			"BINANCE:X", []string{restSnapshot(5), spotDiff(6, 7), spotDiff(109, 110), spotDiff(111, 112), restSnapshot(109), spotDiff(113, 113)},
			[]string{"apply 1", "refuse 2", "apply 4", "apply 5"},
			CodeSourceGap, proto.ReasonSourceGap, []string{"7", "109"},
		},
		"binance, futures": {
			"BINANCE:X", []string{futuresDiff(1, 3, 5), restSnapshot(4), futuresDiff(5, 8, 9), futuresDiff(110, 111, 112), restSnapshot(112), futuresDiff(112, 113, 114)},
			[]string{"apply 1", "apply 2", "refuse 3", "apply 4", "apply 5"},
			CodeSourceGap, proto.ReasonSourceGap, []string{"9", "110"},
		},
		"kraken": {
			"KRAKEN:X", []string{krakenSnapshot, kraken(sum), kraken(sum + 1), kraken(sum), krakenSnapshot, kraken(sum)},
			[]string{"apply 0", "apply 1", "refuse 2", "apply 4", "apply 5"},
			CodeChecksum, proto.ReasonChecksum, []string{fmt.Sprint(sum), fmt.Sprint(sum + 1)},
		},
		"kraken, version 2": {
			"KRAKEN:X/Y", []string{
				krakenBookV2("snapshot", `{"price":1.0,"qty":6.0}`, krakenText("2010"+"1060")),
				krakenBookV2("update", `{"price":1.0,"qty":7.0}`, krakenText("2010"+"1070")),
				krakenBookV2("update", `{"price":1.0,"qty":8.0}`, 1),
				krakenBookV2("update", `{"price":1.0,"qty":9.0}`, krakenText("2010"+"1090")),
				krakenBookV2("snapshot", `{"price":1.0,"qty":6.0}`, krakenText("2010"+"1060")),
			},
			[]string{"apply 0", "apply 1", "refuse 2", "apply 4"},
			CodeChecksum, proto.ReasonChecksum, []string{" 1,", fmt.Sprint(krakenText("2010" + "1080"))},
		},
		"coinbase": {
			"COINBASE:BTC-USD", []string{coinbase, coinbaseLevel2("update", 101, 2), coinbaseLevel2("update", 203, 3),
				coinbaseLevel2("update", 204, 4), coinbase, coinbaseLevel2("update", 101, 2)},
			[]string{"apply 0", "apply 1", "refuse 2", "apply 4", "apply 5"},
			CodeSourceGap, proto.ReasonSourceGap, []string{"101", "203"},
		},
		"okx": {
			"OKX:BTC-USDT", []string{okx, okxUpdate("update", 100, 101, true), okxUpdate("update", 202, 203, true),
				okxUpdate("update", 203, 204, true), okx, okxUpdate("update", 100, 101, true)},
			[]string{"apply 0", "apply 1", "refuse 2", "apply 4", "apply 5"},
			CodeSourceGap, proto.ReasonSourceGap, []string{"101", "202"},
		},
		"lobster": {
			"LOBSTER:X", []string{lobster(0), lobster(1), lobster(33), lobster(0), lobster(1)},
			[]string{"apply 0", "apply 1", "refuse 2", "apply 3", "apply 4"},
			CodeSourceGap, proto.ReasonSourceGap, []string{" 1;", "33"},
		},
		// No snapshot mends this but the next day's stock directory.
		"itch": {
			"NASDAQ:AAPL", []string{itch(aapl.at(3 * time.Hour).directory()), itch(late.add(1, 'B', 100, 1_500_000)), itch(early.add(2, 'B', 100, 1_500_000))},
			[]string{"apply 0", "apply 1", "refuse 2"},
			CodeSourceGap, proto.ReasonSourceGap, []string{fmt.Sprint(day + int64(early.now)), fmt.Sprint(day + int64(late.now))},
		},
	}
}

// TestBreakOfAVenueReachesItsBookTheCountsAndTheDeadLetter runs a break of each
// venue through a partition, and the snapshot that mends it. A book's seq is the
// offset of the record with which it changes, whichever its contents came with.
func TestBreakOfAVenueReachesItsBookTheCountsAndTheDeadLetter(t *testing.T) {
	for name, c := range venueBreaks() {
		t.Run(name, func(t *testing.T) {
			format, _, _ := strings.Cut(name, ",")
			r := newRig(t, func(topic *TopicConfig, _ *Config) { topic.Format = format })
			var records []Record
			for i, value := range c.values {
				records = append(records, Record{Offset: int64(i), Time: rigStart.UnixNano(), Key: []byte(c.key), Value: []byte(value)})
			}
			r.records(records...)
			var told []string
			for _, line := range c.told {
				verb, offset, _ := strings.Cut(line, " ")
				line = verb + " " + c.key + "@" + offset
				if verb == "refuse" {
					line += " " + proto.ReasonWord(c.reason)
				}
				told = append(told, line)
			}
			r.want(told...)
			r.wantRefused(c.code, 1)
			if len(r.letters.got) != 1 {
				t.Fatalf("dead letters %q", r.letters.got)
			}
			_, text, _ := strings.Cut(r.letters.got[0], " "+c.code+": ")
			r.stop()
			for _, n := range c.numbers {
				if !strings.Contains(text, n) || !strings.Contains(r.logged.String(), n) {
					t.Errorf("%s is not both in the dead letter %q and in the log %q", n, text, r.logged)
				}
			}
		})
	}
	for name := range formats {
		_, breaks := venueBreaks()[name]
		if own := name == "json" || name == "proto" || strings.HasSuffix(name, "-of-tests"); own == breaks {
			t.Errorf("%s: a venue's format has a break here", name)
		}
	}
}
