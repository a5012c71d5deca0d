package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// okxUpdate is a book message that sets the bid at 1.00 to qty; levels false: it
// changes nothing.
func okxUpdate(action string, previous, last int, levels bool) string {
	bids, asks := "", ""
	if levels {
		bids, asks = fmt.Sprintf(`["1.00","%d","0","1"]`, last), `["2.00","0","0","0"]`
	}
	return fmt.Sprintf(`{"arg":{"channel":"books","instId":"BTC-USDT"},"action":%q,"data":[{"asks":[%s],"bids":[%s],"ts":"1597026383085","checksum":0,"prevSeqId":%d,"seqId":%d}]}`,
		action, asks, bids, previous, last)
}

const okxTradeText = `{"arg":{"channel":%q,"instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"%d","px":"1.50","sz":"3","side":"sell","ts":"1630048897897","count":"3"}]}`

var okxChains = map[string][]step{
	// The example of the section "Sequence ID".
	"as the venue's own example": {
		{okxUpdate("update", 5, 10, true), "nothing"},
		{okxUpdate("snapshot", -1, 10, true), "snapshot 10"},
		{okxUpdate("update", 10, 15, true), "set 15"},
		{okxUpdate("update", 15, 15, false), "heartbeat"},
		{okxUpdate("update", 15, 3, true), "set 3"},
		{okxUpdate("update", 3, 5, true), "set 5"},
	},
	"a gap needs a snapshot": {
		{okxUpdate("snapshot", -1, 10, true), "snapshot 10"},
		{okxUpdate("update", 11, 12, true), CodeSourceGap},
		{okxUpdate("update", 12, 13, true), "nothing"},
		{okxUpdate("update", 13, 13, false), "nothing"},
		{okxUpdate("snapshot", -1, 14, true), "snapshot 14"},
		{okxUpdate("update", 14, 15, true), "set 15"},
	},
	"a gap before a message without changes": {
		{okxUpdate("snapshot", -1, 10, true), "snapshot 10"},
		{okxUpdate("update", 12, 12, false), CodeSourceGap},
	},
	"a message twice": {
		{okxUpdate("snapshot", -1, 10, true), "snapshot 10"},
		{okxUpdate("update", 10, 12, true), "set 12"},
		{okxUpdate("update", 10, 12, true), "nothing"},
		{okxUpdate("update", 12, 12, false), "heartbeat"},
		{okxUpdate("update", 12, 12, false), "heartbeat"},
		{okxUpdate("update", 10, 11, true), CodeSourceGap},
	},
	"trades: one of the two channels, each once": {
		{fmt.Sprintf(okxTradeText, "trades", 7), "trade 150 3 2"},
		{fmt.Sprintf(okxTradeText, "trades", 7), "nothing"},
		{fmt.Sprintf(okxTradeText, "trades-all", 8), "nothing"},
		{strings.Replace(fmt.Sprintf(okxTradeText, "trades", 8), `"sell"`, `"buy"`, 1), "trade 150 3 1"},
		{fmt.Sprintf(okxTradeText, "trades", 0), CodeMalformed},
	},
	"what changes no book": {
		{`{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}`, "heartbeat"},
		{strings.Replace(okxUpdate("snapshot", -1, 10, true), `"books"`, `"books5"`, 1), "heartbeat"},
	},
	"a bad record asks for a new snapshot": {
		{okxUpdate("snapshot", -1, 10, true), "snapshot 10"},
		{fmt.Sprintf(okxTradeText, "trades", -1), CodeMalformed},
		{okxUpdate("update", 10, 11, true), "set 11"},
		{strings.Replace(okxUpdate("update", 11, 12, true), "1.00", "1.001", 1), CodeBadDecimal},
		{okxUpdate("update", 12, 13, true), "nothing"},
		{okxUpdate("replace", 12, 13, true), CodeMalformed},
		{strings.Replace(okxUpdate("snapshot", -1, 10, true), `"seqId"`, `"seq"`, 1), CodeMalformed},
		{strings.Replace(okxUpdate("snapshot", -1, 10, true), `"1597026383085"`, `"-1"`, 1), CodeMalformed},
		{strings.Replace(okxUpdate("snapshot", -1, 10, true), `"BTC-USDT"`, `"ETH-USDT"`, 1), CodeKeyMismatch},
		{`{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[]}`, CodeMalformed},
		{`{`, CodeMalformed},
	},
}

func TestOKXUpdatesChainAsTheVenueSays(t *testing.T) {
	for name, steps := range okxChains {
		t.Run(name, func(t *testing.T) {
			key := "OKX:BTC-USDT"
			codec := newOKXCodec(fixedExponents{key: {Price: -2, Qty: 0}})
			for i, s := range steps {
				if got := outcome(t, codec, key, s.value); got != s.want {
					t.Fatalf("step %d: %q, want %q", i+1, got, s.want)
				}
			}
		})
	}
}

func TestOKXBooksAreKeptToTheirChannelsDepth(t *testing.T) {
	for channel, depth := range map[string]uint32{"books": 400, "books-l2-tbt": 400, "books50-l2-tbt": 50} {
		codec := newOKXCodec(fixedExponents{})
		value := strings.Replace(okxUpdate("snapshot", -1, 10, true), `"books"`, fmt.Sprintf("%q", channel), 1)
		b, err := codec.Decode(&Record{Key: []byte("OKX:BTC-USDT"), Value: []byte(value)})
		if err != nil || b.Events[0].MaxLevels != depth || b.VenueTime != 1597026383085e6 {
			t.Errorf("%s: %+v, %v", channel, b, err)
		}
	}
}

func TestOKXGapNamesBothNumbers(t *testing.T) {
	codec := newOKXCodec(fixedExponents{})
	outcome(t, codec, "OKX:BTC-USDT", okxUpdate("snapshot", -1, 1010, true))
	_, err := codec.Decode(&Record{Key: []byte("OKX:BTC-USDT"), Value: []byte(okxUpdate("update", 2020, 3030, true))})
	var refused *proto.RecordError
	if !errors.As(err, &refused) || refused.Reason != proto.ReasonSourceGap || !strings.Contains(err.Error(), "1010") || !strings.Contains(err.Error(), "2020") {
		t.Fatalf("%v", err)
	}
}

func FuzzOKXCodec(f *testing.F) {
	for _, steps := range okxChains {
		var text []string
		for _, s := range steps {
			text = append(text, s.value)
		}
		f.Add([]byte(strings.Join(text, "\n")))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fuzzCodec(t, newOKXCodec(fixedExponents{}), "OKX:BTC-USDT", bytes.Split(text, []byte{'\n'}))
	})
}
