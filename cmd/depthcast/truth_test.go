package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// The tests of this file and of truth_*_test.go compare books with what the
// recordings say of them: docs/truth.md. DEPTHCAST_TRUTH=1 (make truth) has them
// judge everything; otherwise they judge a part of it.

// wholeTruth: everything is judged, and recordings that are not there are no
// reason to pass.
func wholeTruth() bool { return os.Getenv("DEPTHCAST_TRUTH") == "1" }

// truthDir is dataDir, but where the whole truth is asked for, no recordings are
// a failure.
func truthDir(t *testing.T) string {
	t.Helper()
	if !wholeTruth() {
		if underRace {
			t.Skip("races are looked for, not figures: skipped")
		}
		return dataDir(t)
	}
	dir, err := recordings()
	if err != nil {
		t.Fatalf("%v: nothing was proved", err)
	}
	return dir
}

// finding is one row of the table of truth.
type finding struct {
	recording, path, view, measure, figure, want string
}

// Paths that a recording takes until it is judged.
const pathAlone = "codec, book"

func pathThrough(converted bool, codec proto.Codec) string {
	records := "raw"
	if converted {
		records = "converted"
	}
	return "pipeline, " + records + ", " + codec.String()
}

func depthWord(depth uint32) string {
	if depth == 0 {
		return "full"
	}
	return fmt.Sprint(depth)
}

// report prints the row, which make truth gathers, and fails where the figure is
// not the one that is wanted.
func (f finding) report(t *testing.T) {
	t.Helper()
	verdict := "ok"
	if f.figure != f.want {
		verdict = "WRONG, want " + f.want
		t.Errorf("%s, %s, view %s: %s: %s, want %s", f.recording, f.path, f.view, f.measure, f.figure, f.want)
	}
	if testing.Verbose() {
		fmt.Printf("truth| %s | %s | %s | %s | %s | %s |\n", f.recording, f.path, f.view, f.measure, f.figure, verdict)
	}
}

func TestTruthKrakenChecksums(t *testing.T) {
	dir := truthDir(t)
	kraken := recorded{format: "kraken", files: []string{"kraken/KRAKEN.ws.50.0.gz", "kraken/KRAKEN.ws.48.0.gz"}}
	sums := recordedChecksums(t, kraken.config(dir, false).Files)
	equal, updates := 0, map[string]int{}
	inBook(t, kraken.config(dir, false), -1, topLevels, func(update *proto.Batch, s *proto.Snapshot, offset int64) {
		if update.Events[0].Kind != proto.EventSetLevels {
			return // only updates have a checksum
		}
		of, i := sums[update.Symbol], updates[update.Symbol]
		updates[update.Symbol]++
		b := client.NewBook()
		if b.ApplySnapshot(s) == client.Applied && i < len(of) && krakenChecksum(b) == of[i] {
			equal++
		}
	})
	want := fmt.Sprintf("%d of %d", krakenUpdates, krakenUpdates)
	finding{"Kraken, 10 pairs", pathAlone, "10", "CRC32 equal", fmt.Sprintf("%d of %d", equal, krakenUpdates), want}.report(t)
	if !wholeTruth() {
		return // TestEndToEndKrakenReplayPassesEveryChecksum is the rest
	}
	for codec := range proto.NumCodecs {
		for _, converted := range []bool{false, true} {
			equal := replayKraken(t, dir, codec, converted)
			finding{"Kraken, 10 pairs", pathThrough(converted, codec), "full", "CRC32 equal", fmt.Sprintf("%d of %d", equal, krakenUpdates), want}.report(t)
		}
	}
}
