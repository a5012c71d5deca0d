//go:build verify

package ring

import (
	"strings"
	"testing"
)

func panicOf(f func()) (text string) {
	defer func() { text, _ = recover().(string) }()
	f()
	return ""
}

func TestSecondWriterPanics(t *testing.T) {
	var r *Ring[payload]
	inside, leave := make(chan struct{}), make(chan struct{})
	r = newRing(t, Config{MinEntries: 1, MaxEntries: 1, BeforeGiveUp: func(uint64) {
		close(inside)
		<-leave
	}})
	publish(r, 1, 0, 0)
	first := make(chan struct{})
	go func() {
		defer close(first)
		publish(r, 1, 0, 0) // gives up the first entry: holds still in BeforeGiveUp
	}()
	<-inside
	for name, enter := range map[string]func(){
		"Publish": func() { publish(r, 1, 0, 0) },
		"Expire":  func() { r.Expire(0) },
		"Release": r.Release,
	} {
		if text := panicOf(enter); !strings.Contains(text, "second writer") {
			t.Errorf("%s beside a writer: panic %q", name, text)
		}
	}
	close(leave)
	<-first
}

func TestEntryPublishedTwicePanics(t *testing.T) {
	r := newRing(t, Config{})
	e := &Entry[payload]{}
	r.Publish(e, 0, 0, 0)
	if text := panicOf(func() { r.Publish(e, 0, 0, 0) }); !strings.Contains(text, "twice") {
		t.Errorf("panic %q", text)
	}
}
