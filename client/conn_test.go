package client

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

// parse gives b to a conn in pieces of at most step bytes and returns what comes
// of it, in words.
func parse(t *testing.T, b []byte, step int) (found []string) {
	t.Helper()
	const limit = 1000
	c := &conn{max: limit, in: make([]byte, 4)}
	for len(b) > 0 {
		n := min(step, len(b))
		c.reserve(n)
		c.w += copy(c.in[c.w:], b[:n])
		b = b[n:]
		for {
			op, payload, ok, err := c.next()
			if err != nil {
				return append(found, err.Error())
			}
			if !ok {
				break
			}
			if len(payload) > limit {
				t.Fatalf("a message of %d bytes, over the limit", len(payload))
			}
			found = append(found, fmt.Sprintf("%d %x", op, payload))
		}
		if len(c.in) > 4*(limit+ws.MaxHeaderSize)+2*step {
			t.Fatalf("the buffer grew to %d bytes", len(c.in))
		}
	}
	return found
}

func FuzzMessagesDoNotDependOnHowTheyArrive(f *testing.F) {
	for _, frames := range [][]ws.Frame{
		{ws.NewBinaryFrame([]byte("a")), ws.NewTextFrame(make([]byte, 300))},
		{ws.NewFrame(ws.OpText, false, []byte("a")), ws.NewPingFrame([]byte("p")), ws.NewFrame(ws.OpContinuation, true, []byte("b"))},
		{ws.NewBinaryFrame(make([]byte, 1001))},
		{ws.NewFrame(ws.OpContinuation, true, nil)},
		{ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusGoingAway, "shutdown"))},
	} {
		var b bytes.Buffer
		for _, frame := range frames {
			if err := ws.WriteFrame(&b, frame); err != nil {
				f.Fatal(err)
			}
		}
		f.Add(b.Bytes(), uint8(1))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		whole, pieces := parse(t, b, len(b)+1), parse(t, b, int(step)+1)
		if fmt.Sprint(whole) != fmt.Sprint(pieces) {
			t.Errorf("at once %q\nin pieces %q", whole, pieces)
		}
	})
}

func TestCloseFramesAreUnderstood(t *testing.T) {
	for _, tt := range []struct {
		payload []byte
		want    string
	}{
		{nil, "client: closed by the server: 1005 "},
		{ws.NewCloseFrameBody(4000, "stalled: too slow"), "client: closed by the server: 4000 stalled: too slow"},
		{[]byte{0x0f, 0xa0, 0xff}, "client: the server broke the protocol: close frame without valid UTF-8"},
	} {
		if got := closedBy(tt.payload).Error(); got != tt.want {
			t.Errorf("%x: %q, want %q", tt.payload, got, tt.want)
		}
	}
}
