package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/depthcast/depthcast/proto"
)

// told subscribes to every channel of the symbols and returns what comes first of
// each, as text without what differs from server to server.
func (s *survival) told(url string, symbols []string) map[string]string {
	s.t.Helper()
	dialer := ws.Dialer{Protocols: []string{proto.CodecJSON.Subprotocol()}}
	conn, early, _, err := dialer.Dial(s.ctx, url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	var r io.ReadWriter = conn
	if early != nil {
		r = struct {
			io.Reader
			io.Writer
		}{early, conn}
	}
	var items []string
	for _, symbol := range symbols {
		for _, channel := range []string{`"book","depth":0,"counts":true`, `"book","depth":5`, `"orders","depth":0`, `"trades","last":100`, `"ticker"`} {
			items = append(items, fmt.Sprintf(`{"symbol":%q,"channel":%s}`, symbol, channel))
		}
	}
	request := fmt.Sprintf(`{"type":"subscribe","id":1,"items":[%s]}`, strings.Join(items, ","))
	if err := wsutil.WriteClientText(conn, []byte(request)); err != nil {
		s.t.Fatal(err)
	}
	listener := &listener{topics: map[string]string{}, told: map[string]string{}, done: map[string]bool{}}
	for len(listener.done) < len(items) {
		text, _, err := wsutil.ReadServerData(r)
		if err != nil {
			s.t.Fatalf("%v; of %d items %d have come", err, len(items), len(listener.done))
		}
		listener.hear(s.t, text, items)
	}
	return listener.told
}

// listener gathers frames by the item that they are for.
type listener struct {
	topics map[string]string // items, by topic number
	told   map[string]string // by item
	done   map[string]bool
}

// hear takes one frame. A topic has told all at its first keepalive: nothing is
// written meanwhile. One that is not live has none, and nothing else to tell.
func (l *listener) hear(t *testing.T, text []byte, items []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		t.Fatal(err, string(text))
	}
	kind, _ := m["type"].(string)
	item := l.topics[fmt.Sprint(m["topic"])]
	if kind == "ack" || kind == "error" {
		n, err := m["item"].(json.Number).Int64()
		if err != nil {
			t.Fatal(err, string(text))
		}
		item = items[n]
		l.topics[fmt.Sprint(m["topic"])] = item
	}
	switch {
	case item == "" || l.done[item]:
		return
	case kind == "keepalive":
		l.done[item] = true
		return
	case kind == "error", kind == "ack" && m["state"] != "live":
		l.done[item] = true
	}
	delete(m, "topic")
	if ts, ok := m["ts"].(map[string]any); ok {
		delete(ts, "published")
	}
	line, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	l.told[item] += string(line) + "\n"
}
