package client

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/klauspost/compress/flate"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// deflated returns a message as RFC 7692, section 7.2.1, has it.
func deflated(t *testing.T, message []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err == nil {
		_, err = w.Write(message)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// compressed sets the bit that says so.
func compressed(f ws.Frame) ws.Frame {
	f.Header.Rsv = ws.Rsv(true, false, false)
	return f
}

// Compressed messages, whole and in fragments, between others that are not.
func TestCompressedMessagesAreTakenLikeOthers(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		s.deflate = agreed
		c := newClient(t, s, func(config *Config) { config.Deflate = true })
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 5)
			for seq := int64(11); seq <= 14; seq++ {
				message, err := s.codec.AppendFrame(nil, &pb.Frame{Body: &pb.Frame_Delta{Delta: &pb.Delta{
					Topic: 7, PrevSeq: seq - 1, Seq: seq, Bids: &pb.Levels{Price: []int64{10000}, Qty: []int64{seq}}, Hash: bidHash(seq),
				}}}, testExponents)
				if err != nil {
					t.Error(err)
				}
				small, op := deflated(t, message), opcode(s.codec)
				frames := []ws.Frame{compressed(ws.NewFrame(op, true, small))}
				if seq == 12 {
					frames = []ws.Frame{compressed(ws.NewFrame(op, false, small[:3])), ws.NewPingFrame(nil), ws.NewFrame(ws.OpContinuation, true, small[3:])}
				}
				if seq == 13 {
					frames = []ws.Frame{ws.NewFrame(op, true, message)}
				}
				for _, f := range frames {
					if err := ws.WriteFrame(p.net, f); err != nil {
						t.Error(err)
					}
				}
			}
			p.closed()
		})
		err := loop(t, c, func(Event) bool { return sub.Book().Seq() == 14 && sub.Book().State() == proto.Live })
		wait()
		if err != nil || bidOf(sub) != 14 {
			t.Errorf("err %v, bid %d", err, bidOf(sub))
		}
	})
}

func TestServerThatDeclinesCompressionIsServedPlainly(t *testing.T) {
	s := newFakeServer(t, proto.CodecJSON)
	c := newClient(t, s, func(config *Config) { config.Deflate = true })
	wait := script(func() { s.greet().closed() })
	err := loop(t, c, func(event Event) bool { _, ok := event.(*Connected); return ok })
	wait()
	if err != nil {
		t.Error(err)
	}
}

// What was not agreed on ends the connection, and what is too big too, before it is
// held in memory.
func TestCompressionIsHeldToWhatWasAgreed(t *testing.T) {
	bomb := deflated(t, make([]byte, 1<<20))
	text := deflated(t, []byte("text"))
	for _, tt := range []struct {
		name    string
		deflate bool
		frames  []ws.Frame
		want    error
	}{
		{"not agreed", false, []ws.Frame{compressed(ws.NewTextFrame(text))}, ErrProtocol},
		{"no DEFLATE", true, []ws.Frame{compressed(ws.NewTextFrame([]byte{0xff, 0xff, 0xff}))}, ErrProtocol},
		{"cut short", true, []ws.Frame{compressed(ws.NewTextFrame(text[:2]))}, ErrProtocol},
		{"a compressed ping", true, []ws.Frame{compressed(ws.NewPingFrame(nil))}, ErrProtocol},
		{"said anew in a continuation", true, []ws.Frame{compressed(ws.NewFrame(ws.OpText, false, text[:2])), compressed(ws.NewFrame(ws.OpContinuation, true, text[2:]))}, ErrProtocol},
		{"another reserved bit", true, []ws.Frame{{Header: ws.Header{Fin: true, OpCode: ws.OpText, Rsv: ws.Rsv(false, true, false)}}}, ErrProtocol},
		{"a bomb", true, []ws.Frame{compressed(ws.NewTextFrame(bomb))}, ErrTooBig},
		{"nothing wrong", true, []ws.Frame{compressed(ws.NewTextFrame(text))}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &conn{max: 4096}
			if tt.deflate {
				c.inflater = &inflater{reader: flate.NewReader(nil)}
			}
			var b bytes.Buffer
			for _, f := range tt.frames {
				if err := ws.WriteFrame(&b, f); err != nil {
					t.Fatal(err)
				}
			}
			c.in, c.w = b.Bytes(), b.Len()
			_, payload, _, err := c.next()
			if !errors.Is(err, tt.want) || tt.want == nil && string(payload) != "text" {
				t.Errorf("%q, %v; want %v", payload, err, tt.want)
			}
			if c.inflater != nil && c.inflater.out.Cap() > 4*4096 {
				t.Errorf("%d bytes are held", c.inflater.out.Cap())
			}
		})
	}
}

func TestAnswersThatWereNotOfferedAreRefused(t *testing.T) {
	for _, answer := range []string{
		wsflate.ExtensionName, // may take over a context
		"permessage-deflate; server_no_context_takeover; surprise",
	} {
		s := newFakeServer(t, proto.CodecJSON)
		s.deflate = answer
		c := newClient(t, s, func(config *Config) { config.Deflate = true })
		wait := script(func() { s.accept().closed() })
		var why error
		err := loop(t, c, func(event Event) bool {
			if e, ok := event.(*Disconnected); ok {
				why = e.Err
			}
			return why != nil
		})
		wait()
		if err != nil || !errors.Is(why, ErrProtocol) {
			t.Errorf("%s: %v, %v", answer, why, err)
		}
	}
}

func FuzzCompressedMessages(f *testing.F) {
	f.Add([]byte("text"), true)
	f.Add([]byte{0xff, 0, 1}, false)
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		const most = 10_000
		message := b
		if whole {
			message = deflated(t, b)
		}
		z := &inflater{reader: flate.NewReader(nil)}
		for range 2 { // its memory is reused
			got, err := z.inflate(message, most)
			switch {
			case len(got) > most:
				t.Fatalf("%d bytes", len(got))
			case whole && len(b) <= most && (err != nil || !bytes.Equal(got, b)):
				t.Fatalf("%v: got %d bytes of %d", err, len(got), len(b))
			case err != nil && !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrTooBig):
				t.Fatal(fmt.Errorf("a strange error: %w", err))
			}
		}
	})
}
