package main

import (
	"context"
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// sparing hands on what is logged about clients, but no more lines a second than
// configured, so that strangers can fill neither disks nor pipes. Warnings and errors
// have a rate of their own: what is said of each connection cannot displace them. The
// first line after some were left out says how many.
type sparing struct {
	slog.Handler
	shared *spared
}

// spared is shared by all handlers that were derived from one.
type spared struct {
	lines [2]*rate.Limiter // others; warnings and errors
	since atomic.Uint64    // left out since the last line
	left  atomic.Uint64    // left out, in all
}

// newSparing hands on perSecond lines of both kinds to next, and ten seconds' at once.
// 0: all.
func newSparing(next slog.Handler, perSecond int) *sparing {
	limit := rate.Limit(perSecond)
	if perSecond == 0 {
		limit = rate.Inf
	}
	s := &spared{}
	for i := range s.lines {
		s.lines[i] = rate.NewLimiter(limit, 10*perSecond)
	}
	return &sparing{next, s}
}

func (h *sparing) Handle(ctx context.Context, r slog.Record) error {
	kind := 0
	if r.Level >= slog.LevelWarn {
		kind = 1
	}
	if !h.shared.lines[kind].Allow() {
		h.shared.since.Add(1)
		h.shared.left.Add(1)
		return nil
	}
	if n := h.shared.since.Swap(0); n > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Uint64("lines_left_out", n))
	}
	return h.Handler.Handle(ctx, r)
}

func (h *sparing) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &sparing{h.Handler.WithAttrs(attrs), h.shared}
}

func (h *sparing) WithGroup(name string) slog.Handler {
	return &sparing{h.Handler.WithGroup(name), h.shared}
}
