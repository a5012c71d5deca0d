package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/proto"
)

// errUnlisted ends a watch whose patterns match nothing.
var errUnlisted = errors.New("no symbol matches")

// symbols returns what is to be watched, each once, in the order of the names. With
// --once a pattern stands for what is listed now, since nobody could tell otherwise
// when all that it matches was shown.
func (c *watchCmd) symbols(ctx context.Context, cl *client.Client) ([]string, error) {
	names := slices.Compact(slices.Sorted(slices.Values(c.Symbols)))
	if !c.Once || !slices.ContainsFunc(names, proto.IsPattern) {
		return names, nil
	}
	matching, awaited := map[string]bool{}, map[*client.Subscription]bool{}
	for _, name := range names {
		if !proto.IsPattern(name) {
			matching[name] = true
			continue
		}
		sub, err := cl.Subscribe(client.Item{Symbol: name, Channel: proto.ChannelInstruments})
		if err != nil {
			return nil, err
		}
		awaited[sub] = true
	}
	subs := slices.Collect(maps.Keys(awaited))
	for event, err := range cl.Events(ctx) {
		if err != nil {
			return nil, err
		}
		switch e := event.(type) {
		case *client.Disconnected:
			warnDisconnected(e.Err, e.RetryIn)
		case *client.Listed:
			for _, l := range e.Instruments.Listings {
				matching[l.Symbol] = !l.Ended
			}
			awaited[e.Sub] = e.Instruments.More
		}
		if !slices.ContainsFunc(subs, func(s *client.Subscription) bool { return awaited[s] && !s.Ended() }) {
			break
		}
	}
	for _, sub := range subs {
		cl.Unsubscribe(sub)
	}
	maps.DeleteFunc(matching, func(_ string, is bool) bool { return !is })
	if err := refusalsOf(subs); err != nil {
		return nil, err
	}
	if len(matching) == 0 {
		return nil, fmt.Errorf("%w: %v", errUnlisted, c.Symbols)
	}
	return slices.Sorted(maps.Keys(matching)), nil
}

// adopt puts on display a symbol whose book a pattern has brought, with what is watched
// beside it. One that came back after a lost connection is there already.
func (w *watcher) adopt(sub *client.Subscription) error {
	if slices.ContainsFunc(w.all, func(s *watched) bool { return s.has(sub) }) {
		return nil
	}
	s := &watched{symbol: sub.Item().Symbol, book: sub}
	w.all = append(w.all, s)
	return w.beside(s)
}

// patternEvent takes an event of a pattern itself, and reports whether e is one.
func (w *watcher) patternEvent(event client.Event) bool {
	switch e := event.(type) {
	case *client.Granted:
		return w.isPattern(e.Sub)
	case *client.Refused:
		if w.isPattern(e.Sub) {
			slog.Warn("refused", "pattern", e.Sub.Item().Symbol, "code", proto.ErrorCodeWord(e.Error.GetCode()), "text", e.Error.GetMessage())
			return true
		}
	case *client.Incomplete:
		slog.Warn("incomplete", "pattern", e.Sub.Item().Symbol, "code", proto.ErrorCodeWord(e.Error.GetCode()), "text", e.Error.GetMessage())
		return true
	}
	return false
}

func (w *watcher) isPattern(sub *client.Subscription) bool {
	return slices.Contains(w.patterns, sub)
}

// has reports whether sub is one of the channels of s.
func (s *watched) has(sub *client.Subscription) bool {
	return sub != nil && (s.book == sub || s.tape == sub || s.ticker == sub)
}

// tidy takes away what a pattern had brought and has ended.
func (w *watcher) tidy() {
	w.all = slices.DeleteFunc(w.all, func(s *watched) bool { return s.book.Pattern() != nil && s.book.Ended() })
}
