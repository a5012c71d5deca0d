package swarm

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto"
)

// collector keeps what a stream hands on.
type collector struct {
	payloads []string
	sizes    []int
	ops      []ws.OpCode
}

func (c *collector) message(op ws.OpCode, payload []byte, size int) error {
	c.payloads, c.sizes, c.ops = append(c.payloads, string(payload)), append(c.sizes, size), append(c.ops, op)
	return nil
}

func TestStreamGivesTheMessagesHoweverItIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var bytesOf bytes.Buffer
		var want collector
		whole := rapid.Bool().Draw(t, "whole")
		for range rapid.IntRange(1, 6).Draw(t, "messages") {
			size := rapid.SampledFrom([]int{0, 1, 100, 125, 126, 300, headBytes, 65535, 65536, wholeBytes, wholeBytes + 1}).Draw(t, "size")
			payload := bytes.Repeat([]byte{byte(size)}, size)
			parts := rapid.IntRange(1, 3).Draw(t, "fragments")
			for i := range parts {
				op := ws.OpBinary
				if i > 0 {
					op = ws.OpContinuation
				}
				part := payload[size*i/parts : size*(i+1)/parts]
				if err := ws.WriteFrame(&bytesOf, ws.NewFrame(op, i == parts-1, part)); err != nil {
					t.Fatal(err)
				}
				if i < parts-1 && rapid.Bool().Draw(t, "ping in between") {
					_ = ws.WriteFrame(&bytesOf, ws.NewPingFrame([]byte("p"))) // a buffer takes all
					_ = want.message(ws.OpPing, []byte("p"), 1)
				}
			}
			if parts == 1 && size > wholeBytes && !whole {
				payload = payload[:headBytes]
			}
			_ = want.message(ws.OpBinary, payload, size)
		}
		s := stream{whole: whole}
		var got collector
		for b := bytesOf.Bytes(); len(b) > 0; {
			n := min(len(b), rapid.SampledFrom([]int{1, 2, 7, 1000, 70000}).Draw(t, "n"))
			if err := s.walk(b[:n:n], &got); err != nil {
				t.Fatal(err)
			}
			b = b[n:]
		}
		if len(got.payloads) != len(want.payloads) {
			t.Fatalf("%d messages, want %d", len(got.payloads), len(want.payloads))
		}
		for i := range want.payloads {
			if got.payloads[i] != want.payloads[i] || got.sizes[i] != want.sizes[i] || got.ops[i] != want.ops[i] {
				t.Fatalf("message %d: %d of %d bytes, want %d of %d", i, len(got.payloads[i]), got.sizes[i], len(want.payloads[i]), want.sizes[i])
			}
		}
	})
}

func TestStreamRefusesWhatNoServerMaySend(t *testing.T) {
	tests := map[string][]byte{
		"masked":                   {0x82, 0x81, 1, 2, 3, 4, 5},
		"reserved bit":             {0xc2, 0x01, 0},
		"too large":                {0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0},
		"negative":                 {0x82, 127, 0xff, 0, 0, 1, 0, 0, 0, 0},
		"fragmented ping":          {0x09, 0x00},
		"continuation of nothing":  {0x80, 0x00},
		"message within a message": {0x02, 0x00, 0x82, 0x00},
	}
	for name, b := range tests {
		var s stream
		if err := s.walk(b, &collector{}); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzHeadIsReadWithinItsBytes(f *testing.F) {
	d := proto.Delta{PrevSeq: 5, Seq: 9, Bids: []proto.Level{{Price: 100, Qty: 5}}, Hash: 77, Merged: 3,
		Times: proto.Times{VenueFirst: 1, Venue: 1, Kafka: 2, Published: 3}}
	s := proto.Snapshot{Symbol: "A\"\\\u00e9", Epoch: 1 << 63, Seq: -1, State: proto.Live, Bids: d.Bids, Hash: 5}
	form := proto.TopicForm{Topic: 300}
	for _, codec := range []proto.Codec{proto.CodecProto, proto.CodecJSON} {
		json := codec == proto.CodecJSON
		f.Add(codec.AppendDelta(nil, form, &d), json)
		f.Add(codec.AppendSnapshot(nil, form, proto.SnapshotInitial, &s), json)
		f.Add(codec.AppendKeepalive(nil, form, &proto.Keepalive{Seq: 7, Hash: 8}), json)
	}
	f.Add([]byte(` { "topic" : 3 , "type":"delta","prev_seq":"1","seq":"2","bids":[["1","0"]],"asks":[],"hash":"0000000f","ts":{} } `), true)
	f.Fuzz(func(t *testing.T, b []byte, json bool) {
		for cut := range min(len(b), 64) + 1 { // whatever is there of it
			for _, part := range [][]byte{b[:cut], b[len(b)-cut:]} {
				var h head
				read := h.readProto
				if json {
					read = h.readJSON
				}
				if err := read(part, len(part)); err != nil && !errors.Is(err, errMessage) {
					t.Errorf("%x: %v", part, err)
				}
				if err := read(part, len(b)); err != nil && !errors.Is(err, errMessage) {
					t.Errorf("%x of %d bytes: %v", part, len(b), err)
				}
			}
		}
	})
}

func TestHeadAgreesWithTheGeneratedCode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		codec := proto.Codec(rapid.IntRange(0, 1).Draw(t, "codec"))
		levels := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) proto.Level {
			return proto.Level{Price: rapid.Int64().Draw(t, "price"), Qty: rapid.Int64Range(0, 1<<40).Draw(t, "qty")}
		}), 0, 4).Draw(t, "levels")
		times := proto.Times{Venue: rapid.Int64Min(0).Draw(t, "venue"), Published: rapid.Int64Min(0).Draw(t, "published")}
		times.VenueFirst = times.Venue
		form := proto.TopicForm{Topic: rapid.Uint32Min(1).Draw(t, "topic")}
		seq, hash := rapid.Int64Min(-1).Draw(t, "seq"), rapid.Uint32().Draw(t, "hash")
		var b []byte
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			b = codec.AppendDelta(nil, form, &proto.Delta{PrevSeq: seq - 1, Seq: seq, Bids: levels, Asks: levels, Hash: hash, Merged: rapid.Uint32Range(0, 9).Draw(t, "merged"), Times: times})
		case 1:
			b = codec.AppendSnapshot(nil, form, proto.SnapshotInitial, &proto.Snapshot{Symbol: "SIM:A", Epoch: rapid.Uint64().Draw(t, "epoch"), Seq: seq, State: proto.Stale, Bids: levels, Hash: hash, Times: times})
		case 2:
			b = codec.AppendKeepalive(nil, form, &proto.Keepalive{Seq: seq, Hash: hash, Published: 5})
		}
		var dec decoder
		frame, err := dec.frame(codec, b, proto.Exponents{})
		if err != nil {
			t.Fatal(err)
		}
		var h head
		if codec == proto.CodecJSON {
			err = h.readJSON(b, len(b))
		} else {
			err = h.readProto(b, len(b))
		}
		if err != nil {
			t.Fatal(err)
		}
		// The levels are random, so that the book's word on them is of no interest.
		if what, text := newFull().check(&dec, &h, frame); what == BadMessage {
			t.Fatal(text)
		}
	})
}
