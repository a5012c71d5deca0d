package fanout

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
)

// descriptors counts those of the process.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	return len(entries)
}

// Clients come through the door and leave in every way there is.
func TestDescriptorsAreGivenBack(t *testing.T) {
	for _, secured := range []bool{false, true} {
		r := newRig(t, nil, btc)
		d := r.open(secured)
		r.book(btc).publish(seeded(1), 5)
		use := func(i int) {
			conn := d.connect()
			_ = conn.SetDeadline(time.Now().Add(patience))
			dialer := ws.Dialer{Protocols: []string{proto.CodecJSON.Subprotocol()}}
			_, _, err := dialer.Upgrade(conn, d.url())
			if err != nil {
				t.Fatal(err)
			}
			switch i % 4 {
			case 0: // at once
			case 1: // with a request half sent
				_, _ = conn.Write(masked(ws.OpText, true, `{"type":"subscribe","id":1,"items":[{"symbol":"`+btc+`"}]}`)[:20])
			case 2: // with a goodbye that is answered
				_, _ = conn.Write(masked(ws.OpClose, true, "\x03\xe8"))
				_, _ = io.Copy(io.Discard, conn)
			case 3: // for what it did
				_, _ = conn.Write([]byte("\x00\x00 this is no WebSocket"))
			}
			_ = conn.Close()
		}
		gone := func() {
			r.until("the end of all", func() bool {
				r.advance(time.Second)
				return r.hub.Stats().Conns == 0 && r.hub.Stats().PinnedBytes == 0
			})
		}
		for i := range 8 {
			use(i)
		}
		gone()
		before := descriptors(t)
		for i := range 120 {
			use(i)
		}
		gone()
		// The ends of handed-over connections in net/http are closed before the
		// hub has them; only the test's own sync sockets may come and go.
		if after := descriptors(t); after > before+8 {
			t.Errorf("tls=%v: %d descriptors before, %d after 120 connections", secured, before, after)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := r.hub.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
}
