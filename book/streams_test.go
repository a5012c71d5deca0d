package book

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

// recording is what a venue sent of one symbol's levels: a snapshot, and one change
// after the other.
type recording struct {
	bids, asks []proto.Level
	changes    []change
}

// sessions that others recorded, by the files that hold them.
var sessions = map[string][]string{
	"usdm-btc": {"usdm_btcusdt_20240808.gz"},
	"usdm-eth": {"usdm_ethusdt_20240808.gz"},
	"spot-btc": {"spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"},
	"spot-eth": {"spot_ethusdt_20240808.gz", "spot_ethusdt_20240809.gz"},
}

// recorded reads a session of Binance, as far as the diffs after its snapshot go;
// it skips where the recordings are absent. Mantissas have eight decimals, so that
// the tick must be found.
func recorded(tb testing.TB, name string) *recording {
	dir := os.Getenv("DEPTHCAST_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	s := &recording{}
	for _, file := range sessions[name] {
		f, err := os.Open(filepath.Join(dir, "binance", file))
		if err != nil {
			tb.Skipf("skipped: the recording %s is absent (DEPTHCAST_DATA names the directory)", file)
		}
		defer f.Close()
		text, err := gzip.NewReader(f)
		if err != nil {
			tb.Fatal(err)
		}
		lines := bufio.NewScanner(text)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			s.line(tb, lines.Bytes())
		}
		if lines.Err() != nil {
			tb.Fatal(lines.Err())
		}
	}
	if len(s.bids) == 0 || len(s.changes) < 10_000 {
		tb.Fatalf("%s holds a snapshot of %d bids and %d changes", name, len(s.bids), len(s.changes))
	}
	return s
}

// line takes one line: the time of receipt, a space, and a message.
func (s *recording) line(tb testing.TB, line []byte) {
	snapshot, diff := bytes.Contains(line, []byte(`"lastUpdateId"`)), bytes.Contains(line, []byte(`"depthUpdate"`))
	if !snapshot && !diff {
		return
	}
	var m struct {
		Bids, Asks [][2]string
		Data       struct {
			Bids [][2]string `json:"b"`
			Asks [][2]string `json:"a"`
		}
	}
	if err := json.Unmarshal(line[bytes.IndexByte(line, ' '):], &m); err != nil {
		tb.Fatal(err)
	}
	if snapshot {
		s.bids, s.asks = parse(tb, m.Bids), parse(tb, m.Asks)
	}
	if len(s.bids) == 0 {
		return
	}
	for _, l := range parse(tb, m.Data.Bids) {
		s.changes = append(s.changes, change{l, proto.Bid})
	}
	for _, l := range parse(tb, m.Data.Asks) {
		s.changes = append(s.changes, change{l, proto.Ask})
	}
}

func parse(tb testing.TB, list [][2]string) []proto.Level {
	var levels []proto.Level
	for _, l := range list {
		price, err := proto.ParseDecimal([]byte(l[0]), -8)
		if err != nil {
			tb.Fatal(err)
		}
		qty, err := proto.ParseDecimal([]byte(l[1]), -8)
		if err != nil {
			tb.Fatal(err)
		}
		levels = append(levels, proto.Level{Price: price, Qty: qty})
	}
	return levels
}
