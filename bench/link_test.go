package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gobwas/ws"
)

// stream is frames of every length form, among them two pings, with 3 snapshots
// and 4 deltas.
func stream(t *testing.T) []byte {
	t.Helper()
	var all []byte
	put := func(f ws.Frame) {
		b, err := ws.CompileFrame(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	data := func(kind byte, size int) {
		put(ws.NewBinaryFrame(append([]byte{kind}, bytes.Repeat([]byte{kindError}, size-1)...)))
	}
	data(kindSnapshot, 1)
	data(kindDelta, 125)
	put(ws.NewPingFrame(nil))
	data(kindDelta, 126)
	data(11<<3|2, 40) // a keepalive counts as nothing
	data(kindSnapshot, 1000)
	put(ws.NewPingFrame([]byte("still there?")))
	data(kindDelta, 70_000)
	data(kindSnapshot, 2)
	data(kindDelta, 2)
	return all
}

// listener is a link that nobody reads for, and the pongs it sent.
func listener(pongs *[]byte) *link {
	s := &swarm{failed: make(chan error, 1), subscribed: make(chan struct{}), want: 1}
	return &link{swarm: s, send: func(b []byte) error { *pongs = append(*pongs, b...); return nil }}
}

func TestFramesAreCountedHoweverTheyArrive(t *testing.T) {
	all := stream(t)
	for _, size := range []int{1, 2, 3, 7, 14, 15, 16, 127, 128, 4096, len(all)} {
		var pongs []byte
		l := listener(&pongs)
		for rest := all; len(rest) > 0; {
			n := min(size, len(rest))
			if err := l.walk(rest[:n]); err != nil {
				t.Fatalf("in pieces of %d: %v", size, err)
			}
			rest = rest[n:]
		}
		if l.snapshots != 3 || l.deltas != 4 || l.rest != 0 || l.filled != 0 {
			t.Errorf("in pieces of %d: %d snapshots, %d deltas, %d bytes to come, %d of a header", size, l.snapshots, l.deltas, l.rest, l.filled)
		}
		in := bytes.NewReader(pongs)
		for _, want := range []string{"", "still there?"} {
			f, err := readFrame(in)
			if err != nil || f.Header.OpCode != ws.OpPong || !f.Header.Masked {
				t.Fatalf("in pieces of %d: no masked pong: %+v, %v", size, f.Header, err)
			}
			if got := ws.UnmaskFrameInPlace(f); string(got.Payload) != want {
				t.Errorf("in pieces of %d: pong %q, want %q", size, got.Payload, want)
			}
		}
		if in.Len() != 0 {
			t.Errorf("in pieces of %d: %d bytes more than two pongs", size, in.Len())
		}
		select {
		case <-l.swarm.subscribed:
		default:
			t.Errorf("in pieces of %d: the snapshot was not told", size)
		}
	}
}

func TestStreamThatIsNotTheServersIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		bytes []byte
		want  error
	}{
		"masked":          {[]byte{0x82, 0x81, 0, 0, 0, 0, 0}, errFrame},
		"text":            {[]byte{0x81, 0x01, 'x'}, errFrame},
		"empty":           {[]byte{0x82, 0x00}, errFrame},
		"without end":     {[]byte{0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, kindDelta}, errFrame},
		"over the bound":  {[]byte{0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0, kindDelta}, errFrame},
		"a closing frame": {[]byte{0x88, 0x00}, errClosing},
		"an error frame":  {[]byte{0x82, 0x02, kindError, 0}, errRefused},
	} {
		var pongs []byte
		if err := listener(&pongs).walk(tt.bytes); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
