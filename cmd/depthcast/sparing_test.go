package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestStrangersCannotFloodTheLog(t *testing.T) {
	var out bytes.Buffer
	h := newSparing(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}), 1)
	log := slog.New(h).With("a", 1).WithGroup("b")
	for range 1000 {
		log.Debug("something", "c", 2)
	}
	log.Error("what matters")
	lines := strings.Count(out.String(), "\n")
	if left := h.shared.left.Load(); lines < 11 || lines > 100 || uint64(1001-lines) != left {
		t.Errorf("%d lines, %d left out", lines, left)
	}
	if !strings.Contains(out.String(), "what matters") || !strings.Contains(out.String(), "lines_left_out=") || !strings.Contains(out.String(), "a=1 b.c=2") {
		t.Errorf("logged: %s", out.String())
	}
	all := slog.New(newSparing(slog.NewTextHandler(&out, nil), 0))
	out.Reset()
	for range 1000 {
		all.Info("something")
	}
	if n := strings.Count(out.String(), "\n"); n != 1000 {
		t.Errorf("%d lines without a bound", n)
	}
}
