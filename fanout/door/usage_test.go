package door

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
)

func topic(symbol string, channel proto.Channel, depth uint32) proto.TopicKey {
	return proto.TopicKey{Symbol: symbol, Channel: channel, View: proto.View{Depth: depth}}
}

func TestUsageSaysWhoHadWhatForHowLong(t *testing.T) {
	clock := now
	path := filepath.Join(t.TempDir(), "usage")
	u, err := NewUsage(UsageConfig{Path: path, Delay: 15 * time.Minute, Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	book, deep, trades := topic("SIM:A", proto.ChannelBook, 10), topic("SIM:A", proto.ChannelBook, 0), topic("SIM:A", proto.ChannelTrades, 0)
	at := func(seconds int) time.Time { return now.Add(time.Duration(seconds) * time.Second) }
	u.Began("alice", book, at(0))
	u.Began("alice", deep, at(5)) // at the same time, and so but once
	u.Ended("alice", book, at(10))
	u.Began("bob", trades, at(10))
	u.Ended("alice", deep, at(20))
	u.Began("alice", book, at(50))
	u.Ended("alice", book, at(50)) // a single answer
	clock = at(60)
	u.write()
	u.Ended("bob", trades, at(90))
	clock = at(120)
	u.write()
	clock = at(180)
	u.write() // nobody had anything
	want := []usageRow{
		{From: at(0).UTC(), Until: at(60).UTC(), User: "alice", Symbol: "SIM:A", Channel: "book", DelayMS: 900_000, Seconds: 20, Requests: 3},
		{From: at(0).UTC(), Until: at(60).UTC(), User: "bob", Symbol: "SIM:A", Channel: "trades", DelayMS: 900_000, Seconds: 50, Requests: 1, Open: 1},
		{From: at(60).UTC(), Until: at(120).UTC(), User: "bob", Symbol: "SIM:A", Channel: "trades", DelayMS: 900_000, Seconds: 30},
	}
	got := rowsIn(t, path)
	if len(got) != len(want) {
		t.Fatalf("%d rows: %+v", len(got), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("row %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func rowsIn(t *testing.T, path string) []usageRow {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []usageRow
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r usageRow
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%v in %q", err, lines.Text())
		}
		rows = append(rows, r)
	}
	return rows
}

func TestUsageThatCannotBeWrittenIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "here")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "usage")
	u, err := NewUsage(UsageConfig{Path: path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	key := topic("SIM:A", proto.ChannelBook, 0)
	u.Began("alice", key, now)
	if err := os.Rename(dir, dir+"2"); err != nil {
		t.Fatal(err)
	}
	u.write()
	if err := os.Rename(dir+"2", dir); err != nil {
		t.Fatal(err)
	}
	u.Ended("alice", key, now.Add(time.Second))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	u.Run(ctx) // writes at its end
	if rows := rowsIn(t, path); len(rows) != 2 || rows[0].Open != 1 || rows[1].Open != 0 {
		t.Errorf("%+v", rows)
	}
	if _, err := NewUsage(UsageConfig{Path: filepath.Join(dir, "nowhere", "usage")}); err == nil {
		t.Error("a file that cannot be written is found out too late")
	}
}
