package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// TestBreakOfAVenueReachesItsBookTheCountsAndTheDeadLetter runs a break of each
// venue through a partition.
func TestBreakOfAVenueReachesItsBookTheCountsAndTheDeadLetter(t *testing.T) {
	kraken := func(sum uint32) string {
		return fmt.Sprintf(`[1,{"b":[["1.00","7","1.5"]],"c":"%d"},"book-10","X"]`, sum)
	}
	sum := krakenText("2005" + "1007")
	for format, c := range map[string]struct {
		key                             string
		snapshot, good, bad, afterwards string
		code                            string
		reason                          proto.Reason
		numbers                         []string
	}{
		"kraken": {
			"KRAKEN:X", `[1,{"as":[["2.00","5","1.5"]],"bs":[["1.00","6","1.5"]]},"book-10","X"]`,
			kraken(sum), kraken(sum + 1), kraken(sum),
			CodeChecksum, proto.ReasonChecksum, []string{fmt.Sprint(sum), fmt.Sprint(sum + 1)},
		},
		"coinbase": {
			"COINBASE:BTC-USD", coinbaseLevel2("snapshot", 100, 1),
			coinbaseLevel2("update", 101, 2), coinbaseLevel2("update", 203, 3), coinbaseLevel2("update", 204, 4),
			CodeSourceGap, proto.ReasonSourceGap, []string{"101", "203"},
		},
		"okx": {
			"OKX:BTC-USDT", okxUpdate("snapshot", -1, 100, true),
			okxUpdate("update", 100, 101, true), okxUpdate("update", 202, 203, true), okxUpdate("update", 203, 204, true),
			CodeSourceGap, proto.ReasonSourceGap, []string{"101", "202"},
		},
	} {
		t.Run(format, func(t *testing.T) {
			r := newRig(t, func(topic *TopicConfig, _ *Config) { topic.Format = format })
			var records []Record
			for i, value := range []string{c.snapshot, c.good, c.bad, c.afterwards, c.snapshot, c.good} {
				records = append(records, Record{Offset: int64(i), Time: rigStart.UnixNano(), Key: []byte(c.key), Value: []byte(value)})
			}
			r.records(records...)
			r.want("apply "+c.key+"@0", "apply "+c.key+"@1",
				fmt.Sprintf("refuse %s@2 %s", c.key, proto.ReasonWord(c.reason)),
				"apply "+c.key+"@4", "apply "+c.key+"@5")
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
}
