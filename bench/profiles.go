package main

import (
	"context"
	"time"

	"github.com/depthcast/depthcast/bench/load"
)

// The profiles: each is the flags of all and a few of its own.

type steadyCmd struct {
	loadFlags `embed:""`
}

func (c *steadyCmd) Run(ctx context.Context) error { return c.run(ctx, load.Steady, 1, nil) }

type burstCmd struct {
	loadFlags `embed:""`
	Burst     int `help:"Records that the feed produces back to back, of one symbol; the rate stays." default:"16"`
}

func (c *burstCmd) Run(ctx context.Context) error { return c.run(ctx, load.Burst, c.Burst, nil) }

type churnCmd struct {
	loadFlags  `embed:""`
	ChurnSubs  float64 `help:"Subscribes and unsubscribes a second, all connections together. A connection may ask the server only so often (hello.limits)." default:"1000"`
	ChurnConns float64 `help:"Connections closed and opened anew a second." default:"50"`
}

func (c *churnCmd) Run(ctx context.Context) error {
	return c.run(ctx, load.Churn, 1, func(l *load.Config) { l.Plan.ChurnSubs, l.Plan.ChurnConns = c.ChurnSubs, c.ChurnConns })
}

type stormCmd struct {
	loadFlags `embed:""`
	Repeat    int `help:"Storms: after the first, all connections leave and come back at once." default:"2"`
}

func (c *stormCmd) Run(ctx context.Context) error {
	return c.run(ctx, load.Storm, 1, func(l *load.Config) { l.Repeat, l.Plan.RampPerS = c.Repeat, 0 })
}

type slowCmd struct {
	loadFlags  `embed:""`
	Share      float64 `help:"Share of the connections that read slowly. They join after a phase without them." default:"0.1"`
	BytesPerS  int     `help:"What each of them reads a second. 0: nothing, frozen." name:"bytes-per-s" default:"0"`
	SlowBuffer int     `help:"Bytes of their receive buffers, which the kernel doubles: the smaller, the sooner the server notices." default:"4096"`
}

func (c *slowCmd) Run(ctx context.Context) error {
	return c.run(ctx, load.Slow, 1, func(l *load.Config) {
		l.Plan.Slow, l.Plan.SlowBytes, l.Plan.SlowBuffer = c.Share, c.BytesPerS, c.SlowBuffer
		// That slow readers are dropped is what servers do: their ends are reported.
		l.Limits.MaxEnded = -1
	})
}

type idleCmd struct {
	loadFlags `embed:""`
}

func (c *idleCmd) Run(ctx context.Context) error { return c.run(ctx, load.Idle, 1, nil) }

type resumeCmd struct {
	loadFlags `embed:""`
	BreakRate float64       `help:"Connections broken a second, without goodbye." default:"100"`
	Gap       time.Duration `help:"How long each stays away." default:"500ms"`
}

func (c *resumeCmd) Run(ctx context.Context) error {
	return c.run(ctx, load.Resume, 1, func(l *load.Config) {
		l.Plan.ResumeRate, l.Plan.ResumeGapMS = c.BreakRate, int(c.Gap.Milliseconds())
	})
}
