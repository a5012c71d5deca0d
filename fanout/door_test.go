package fanout

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// gather is a connection whose writes wait until flush, to arrive together.
type gather struct {
	net.Conn
	held []byte
	hold bool
}

func (g *gather) Write(b []byte) (int, error) {
	if !g.hold {
		return g.Conn.Write(b)
	}
	g.held = append(g.held, b...)
	return len(b), nil
}

// What crypto/tls read ahead, no event tells of.
func TestRecordsThatCameWithTheHandshakeAreRead(t *testing.T) {
	r := newRig(t, nil, btc)
	d := r.open(true)
	conn, err := net.Dial("tcp", d.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	wire := &gather{Conn: conn}
	secured := tls.Client(wire, &tls.Config{RootCAs: d.roots, ServerName: "127.0.0.1"})
	if err := secured.Handshake(); err != nil {
		t.Fatal(err)
	}
	wire.hold = true
	for _, record := range [][]byte{
		[]byte(strings.ReplaceAll(upgradeRequest("HTTP/1.1"), "\n", "\r\n")),
		masked(ws.OpText, true, `{"type":"ping","id":76}`),
		masked(ws.OpText, true, `{"type":"ping","id":77}`),
	} {
		if _, err := secured.Write(record); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(wire.held); err != nil {
		t.Fatal(err)
	}
	from := bufio.NewReader(secured)
	if _, err := http.ReadResponse(from, nil); err != nil {
		t.Fatal(err)
	}
	for {
		payload, err := readPayload(from)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(payload, []byte(`"type":"pong"`)) && bytes.Contains(payload, []byte(`"id":77`)) {
			return
		}
	}
}

// readPayload reads one frame.
func readPayload(from io.Reader) ([]byte, error) {
	h, err := ws.ReadHeader(from)
	if err != nil {
		return nil, err
	}
	payload := make([]byte, min(h.Length, maxFrame))
	_, err = io.ReadFull(from, payload)
	return payload, err
}
