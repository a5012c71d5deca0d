package fanout

import (
	"net/http"
	"testing"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

func TestCompressionIsAgreedOnAsItWasOffered(t *testing.T) {
	const both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, c := range []struct {
		offer  []string
		answer string
		window uint8
		bad    bool
	}{
		{offer: nil},
		{offer: []string{""}, bad: true},
		{offer: []string{"x-webkit-deflate-frame"}},
		{offer: []string{"permessage-deflate"}, answer: both, window: 15},
		{offer: []string{"permessage-deflate; client_max_window_bits"}, answer: both, window: 15}, // browsers
		{offer: []string{"permessage-deflate; client_max_window_bits=10; server_no_context_takeover"}, answer: both, window: 15},
		{offer: []string{"permessage-deflate; server_max_window_bits=9"}, answer: both + "; server_max_window_bits=9", window: 9},
		{offer: []string{"permessage-deflate; server_max_window_bits=15"}, answer: both + "; server_max_window_bits=15", window: 15},
		{offer: []string{"permessage-deflate; server_max_window_bits=16"}},
		{offer: []string{"permessage-deflate; server_max_window_bits"}},
		{offer: []string{"permessage-deflate; client_max_window_bits=7"}},
		{offer: []string{"permessage-deflate; dictionary=yes, permessage-deflate"}, answer: both, window: 15},
		{offer: []string{"foo", "permessage-deflate, permessage-deflate; server_max_window_bits=9"}, answer: both, window: 15},
		{offer: []string{"permessage-deflate; ="}, bad: true},
	} {
		answer, window, err := agree(http.Header{"Sec-Websocket-Extensions": c.offer})
		if answer != c.answer || window != c.window || (err != nil) != c.bad {
			t.Errorf("%q: %q, %d, %v", c.offer, answer, window, err)
		}
	}
}

// Clients of every form follow the same book: as it is, compressed, and compressed
// where a small window allows it.
func TestCompressedClientsSeeTheSameBook(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DeflateMin = 1 }, btc)
	clients := []*client{
		r.dial(proto.CodecJSON), r.dialDeflated(proto.CodecJSON, wholeWindow), r.dialDeflated(proto.CodecJSON, wholeWindow),
		r.dialDeflated(proto.CodecProto, wholeWindow), r.dialDeflated(proto.CodecJSON, 8), r.dial(proto.CodecProto),
	}
	models := make([]*model, len(clients))
	for i, c := range clients {
		models[i] = newModel(t, c.subscribe(book))
	}
	random := seeded(7)
	for range 40 {
		for range 1 + random.IntN(12) {
			r.book(btc).publish(random, 6)
		}
		seq, _ := r.book(btc).where()
		for i, c := range clients {
			models[i].follow(c, seq)
		}
	}
	for i, least := range []int{0, 40, 40, 0, 1, 0} { // protobuf as small as this does not shrink
		if clients[i].deflated < least {
			t.Errorf("client %d was sent %d compressed frames", i, clients[i].deflated)
		}
	}
	if n := r.hub.Stats().Deflating; n != 4 {
		t.Errorf("%d connections count as compressed", n)
	}
}

func TestNothingIsCompressedTwice(t *testing.T) {
	const deltas, many = 20, 10
	r := newRig(t, func(c *Config) { c.DeflateMin = 1 }, btc)
	clients := make([]*client, many)
	models := make([]*model, many)
	for i := range clients {
		clients[i] = r.dialDeflated(proto.CodecJSON, wholeWindow)
		models[i] = newModel(t, clients[i].subscribe(book))
	}
	r.sync()
	for range deltas {
		r.book(btc).publish(seeded(1), 3)
		seq, _ := r.book(btc).where()
		for i, c := range clients {
			models[i].follow(c, seq)
		}
	}
	if s := r.hub.Stats(); s.Deflated != deltas+1 || s.DeflateOut >= s.DeflateIn {
		t.Errorf("%d frames compressed, %d bytes to %d; want %d: each delta and one snapshot", s.Deflated, s.DeflateIn, s.DeflateOut, deltas+1)
	}
}

func TestSmallFramesAreNotCompressed(t *testing.T) {
	r := newRig(t, func(c *Config) { c.DeflateMin = 4096 }, btc)
	c := r.dialDeflated(proto.CodecJSON, wholeWindow)
	m := newModel(t, c.subscribe(book))
	r.book(btc).publish(seeded(1), 3)
	seq, _ := r.book(btc).where()
	m.follow(c, seq)
	if c.deflated != 0 {
		t.Errorf("%d were", c.deflated)
	}
}

func TestCompressedRequestsAreAnswered(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dialDeflated(proto.CodecJSON, wholeWindow)
	request := squeeze(t, []byte(`{"type":"subscribe","id":4,"items":[{"symbol":"`+btc+`","channel":"book"}]}`), 9)
	f := ws.NewFrame(ws.OpText, true, request)
	f.Header.Rsv = ws.Rsv(true, false, false)
	if err := ws.WriteFrame(c.conn, ws.MaskFrame(f)); err != nil {
		t.Fatal(err)
	}
	if ack := c.next().GetAck(); ack == nil || ack.Id != 4 {
		t.Errorf("answered by %v", ack)
	}
}

func TestBombEndsItsConnectionAndTakesNoMemory(t *testing.T) {
	r := newRig(t, nil, btc)
	other := r.dialDeflated(proto.CodecJSON, wholeWindow)
	m := newModel(t, other.subscribe(book))
	c := r.dialDeflated(proto.CodecJSON, wholeWindow)
	f := ws.NewFrame(ws.OpText, true, squeeze(t, make([]byte, 32<<20), 9))
	f.Header.Rsv = ws.Rsv(true, false, false)
	if err := ws.WriteFrame(c.conn, ws.MaskFrame(f)); err != nil {
		t.Fatal(err)
	}
	if code, text := c.closed(); code != drops[DropTooBig].Code {
		t.Errorf("closed with %d %q", code, text)
	}
	r.book(btc).publish(seeded(1), 3)
	seq, _ := r.book(btc).where()
	m.follow(other, seq)
}

func TestHandshakeAgreesOnCompressionWhereItIsOn(t *testing.T) {
	for _, c := range []struct {
		mode        Deflate
		json, proto bool
	}{{DeflateJSON, true, false}, {DeflateAll, true, true}, {DeflateOff, false, false}} {
		r := newRig(t, func(config *Config) { config.Deflate, config.DeflateMin = c.mode, 1 }, btc)
		d := r.open(false)
		for codec, want := range map[proto.Codec]bool{proto.CodecJSON: c.json, proto.CodecProto: c.proto} {
			far := d.dialOffering(codec, "permessage-deflate; client_max_window_bits")
			if far.window != 0 != want {
				t.Errorf("mode %d, %v: agreed on is %v", c.mode, codec, far.window != 0)
			}
			if ack := far.subscribe(&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_BOOK}); ack.Topic == 0 {
				t.Error("nothing is served")
			}
			if codec == proto.CodecJSON && (far.deflated > 0) != want {
				t.Errorf("mode %d, %v: %d frames came compressed", c.mode, codec, far.deflated)
			}
		}
	}
}
