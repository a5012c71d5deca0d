package main

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// googDay is LOBSTER's sample of order messages with the book after each.
var googDay = recorded{
	name: "LOBSTER GOOG", symbol: "LOBSTER:GOOG", format: "lobster",
	files: []string{"lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"},
}

// googRows is how many rows of the recording follow the one that seeds the book.
const googRows = 147915

// rowLevels are the numbers of levels at which rows are compared.
var rowLevels = []int{1, 2, 3, 5, 10}

// bookRow is one row of the order-book file: best first, all levels occupied.
type bookRow struct {
	bids, asks [topLevels]struct{ price, qty int32 }
}

// lobsterRows are the rows of the order-book file; row i is the book after the
// record at offset first+i. They are read from the file's own columns here, not
// by the codec that is judged.
type lobsterRows struct {
	first int64
	rows  []bookRow
}

// rowsOf reads the rows from the raw records of a replay.
func rowsOf(t *testing.T, dir string) *lobsterRows {
	t.Helper()
	all := &lobsterRows{first: 1}
	_, _ = eachRecord(t, googDay.config(dir, false), func(offset int64, r *ingest.Record) error {
		if offset < all.first {
			return nil // the instrument
		}
		lines := bytes.Split(r.Value, []byte{'\n'})
		if want := fmt.Sprintf("GOOG 1340251200000000000 %d", offset-all.first); string(lines[0]) != want {
			t.Fatalf("the record at %d begins %q, want %q", offset, lines[0], want)
		}
		all.rows = append(all.rows, parseRow(t, string(lines[2])))
		return nil
	})
	if len(all.rows) != googRows+1 {
		t.Fatalf("%d rows, want %d", len(all.rows), googRows+1)
	}
	return all
}

// parseRow reads "ask price, ask size, bid price, bid size" of each level.
func parseRow(t *testing.T, line string) bookRow {
	var row bookRow
	columns := bytes.Split([]byte(line), []byte{','})
	if len(columns) != 4*topLevels {
		t.Fatalf("%d columns: %s", len(columns), line)
	}
	number := func(i int) int32 {
		n, err := strconv.ParseInt(string(columns[i]), 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return int32(n)
	}
	for i := range topLevels {
		row.asks[i].price, row.asks[i].qty = number(4*i), number(4*i+1)
		row.bids[i].price, row.bids[i].qty = number(4*i+2), number(4*i+3)
	}
	return row
}

// rowJudge counts the rows that a view reproduces, by number of levels. Row 0,
// which seeds the book, is compared but not counted.
type rowJudge struct {
	*lobsterRows
	judged int
	equal  map[int]int
	wrong  int
}

func newRowJudge(rows *lobsterRows) *rowJudge {
	return &rowJudge{lobsterRows: rows, equal: map[int]int{}}
}

func (j *rowJudge) judge(t *testing.T, from, to int64, depth uint32, bids, asks []proto.Level, x proto.Exponents) {
	t.Helper()
	if x != (proto.Exponents{Price: -4}) {
		t.Fatalf("exponents %+v", x)
	}
	for offset := from; offset < to; offset++ {
		row := &j.rows[offset-j.first]
		same := 0 // levels that are equal on both sides, from the best on
		for same < min(topLevels, len(bids), len(asks)) && sameLevel(bids[same], row.bids[same]) && sameLevel(asks[same], row.asks[same]) {
			same++
		}
		want := topLevels
		if depth > 0 {
			want = min(want, int(depth))
		}
		// No level beyond: the view's depth, and in the full view the row's ten.
		if same < want || len(bids) != want || len(asks) != want {
			if j.wrong++; j.wrong <= 5 {
				t.Errorf("view of %d, row %d: %d levels equal, want %d: bids %v, asks %v; the row: %v", depth, offset-j.first, same, want, bids, asks, *row)
			}
			same = min(same, want-1)
		}
		if offset == j.first {
			continue
		}
		j.judged++
		for _, n := range rowLevels {
			if n <= same {
				j.equal[n]++
			}
		}
	}
}

func sameLevel(l proto.Level, r struct{ price, qty int32 }) bool {
	return l.Price == int64(r.price) && l.Qty == int64(r.qty)
}

// report adds the judge's figure to the table.
func (j *rowJudge) report(t *testing.T, path string, depth uint32, rows int) {
	t.Helper()
	figure, want, levels := "", "", ""
	for _, n := range rowLevels {
		if depth == 0 || n <= int(depth) {
			figure, want = figure+fmt.Sprintf(" %d", j.equal[n]), want+fmt.Sprintf(" %d", rows)
			levels += fmt.Sprintf(" %d", n)
		}
	}
	figure, want = fmt.Sprintf("%s of %d", figure[1:], j.judged), fmt.Sprintf("%s of %d", want[1:], rows)
	finding{googDay.name, path, depthWord(depth), "rows equal at levels" + levels, figure, want}.report(t)
}

func TestTruthLobsterRowsAreEqualAtEveryLevel(t *testing.T) {
	dir := truthDir(t)
	rows, n := rowsOf(t, dir), googRows
	if !wholeTruth() {
		n = 5000
	}
	length := rows.first + 1 + int64(n)

	alone := newRowJudge(rows)
	inBook(t, googDay.config(dir, false), length, 0, func(_ *proto.Batch, s *proto.Snapshot, offset int64) {
		alone.judge(t, offset, offset+1, 0, s.Bids, s.Asks, s.Exponents)
	})
	alone.report(t, pathAlone, 0, n)

	for _, converted := range []bool{false, true} {
		codec := proto.CodecProto
		if converted {
			// A row that is left out would shift those that follow.
			if records, stats := eachRecord(t, googDay.config(dir, true), ignoreRecord); records != rows.first+googRows+1 || stats.Skipped.Load()+stats.Refused.Load() != 0 {
				t.Fatalf("%d records converted, %d skipped, %d refused", records, stats.Skipped.Load(), stats.Refused.Load())
			}
			codec = proto.CodecJSON
		}
		depths := []uint32{1, 5, 10, 0}
		judges, truths := []*rowJudge{}, []truth{}
		for range depths {
			judges = append(judges, newRowJudge(rows))
			truths = append(truths, judges[len(judges)-1])
		}
		through(t, googDay.config(dir, converted), codec, rows.first, length, depths, truths)
		for i, depth := range depths {
			judges[i].report(t, pathThrough(converted, codec), depth, n)
		}
	}
}

func ignoreRecord(int64, *ingest.Record) error { return nil }
