package fanout

import (
	"os"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/encoding/protowire"
	googleproto "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// firstWire returns the descriptors of stream.proto as it was first written, as a
// client has them that was built then. testdata/first-wire.binpb was made by
// `buf build proto -o FILE` at that time's revision.
func firstWire(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	raw, err := os.ReadFile("testdata/first-wire.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := googleproto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	d, err := files.FindDescriptorByName("depthcast.v1.Frame")
	if err != nil {
		t.Fatal(err)
	}
	return d.(protoreflect.MessageDescriptor)
}

// forgetUnknown takes out of a message, and of those in it, what its schema does not know.
// It returns how many fields that were.
func forgetUnknown(m protoreflect.Message) (unknown int) {
	for b := m.GetUnknown(); len(b) > 0; unknown++ {
		_, _, n := protowire.ConsumeField(b)
		b = b[n:]
	}
	m.SetUnknown(nil)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				unknown += forgetUnknown(v.List().Get(i).Message())
			}
		default:
			unknown += forgetUnknown(v.Message())
		}
		return true
	})
	return unknown
}

// asSeenBy is f as a client with an older schema sees it.
func asSeenBy(t *testing.T, schema protoreflect.MessageDescriptor, raw []byte) (*pb.Frame, int) {
	t.Helper()
	old := dynamicpb.NewMessage(schema)
	if err := googleproto.Unmarshal(raw, old); err != nil {
		t.Fatalf("a client of the first schema cannot read %x: %v", raw, err)
	}
	unknown := forgetUnknown(old)
	known, err := googleproto.Marshal(old)
	if err != nil {
		t.Fatal(err)
	}
	f := &pb.Frame{}
	if err := googleproto.Unmarshal(known, f); err != nil {
		t.Fatal(err)
	}
	return f, unknown
}

func TestClientOfTheFirstSchemaKeepsItsBook(t *testing.T) {
	schema := firstWire(t)
	r := newRig(t, nil, btc)
	rnd := seeded(1)
	r.book(btc).publish(rnd, 5)
	r.book(btc).state.Partial = true // told by a field that is newer
	c := r.dial(proto.CodecProto)
	c.ask(&pb.Request{Id: 1, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: []*pb.SubscribeItem{{Symbol: btc}}}}})
	var m *model
	unknown := 0
	for range 60 {
		w, err := c.raw()
		if err != nil {
			t.Fatal(err)
		}
		// What a server of tomorrow may add: a field to the frame, one to its body.
		raw := append(w.Payload, protowire.AppendBytes(protowire.AppendTag(nil, 1000, protowire.BytesType), []byte("new"))...)
		f, n := asSeenBy(t, schema, raw)
		unknown += n
		if a := f.GetAck(); a != nil {
			m = newModel(t, a)
		}
		if m == nil {
			continue
		}
		m.apply(f)
		if m.held {
			r.book(btc).publish(rnd, 5)
		}
	}
	if m.deltas < 30 || unknown < 60 {
		t.Errorf("%d deltas, %d fields that it does not know", m.deltas, unknown)
	}
}

func TestRequestsOfANewerClientAreTakenForWhatTheyAre(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	extra := protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 1)
	item, err := googleproto.Marshal(&pb.SubscribeItem{Symbol: btc})
	if err != nil {
		t.Fatal(err)
	}
	items := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), append(item, extra...))
	msg := protowire.AppendBytes(protowire.AppendTag(extra, 2, protowire.BytesType), append(items, extra...))
	c.write(ws.OpBinary, msg)
	if a := c.next().GetAck(); a.GetSymbol() != btc {
		t.Errorf("answered with %v", a)
	}
	c.write(ws.OpBinary, protowire.AppendBytes(protowire.AppendTag(nil, 77, protowire.BytesType), nil))
	for {
		f := c.next()
		if e := f.GetError(); e != nil {
			if e.Code != pb.ErrorCode_ERROR_CODE_UNKNOWN_REQUEST || !strings.Contains(e.Message, "field 77") {
				t.Errorf("answered with %v", e)
			}
			break
		}
	}

	j := r.dial(proto.CodecJSON)
	j.write(ws.OpText, []byte(`{"type":"subscribe","id":3,"hurry":true,"items":[{"symbol":"`+btc+`","mood":{"a":[1]}}]}`))
	if a := j.next().GetAck(); a.GetSymbol() != btc {
		t.Errorf("answered with %v", a)
	}
	j.write(ws.OpText, []byte(`{"type":"dance","id":4}`))
	for {
		if e := j.next().GetError(); e != nil {
			if e.Code != pb.ErrorCode_ERROR_CODE_UNKNOWN_REQUEST || !strings.Contains(e.Message, `"dance"`) || e.Id != 4 {
				t.Errorf("answered with %v", e)
			}
			break
		}
	}
	r.book(btc).publish(seeded(1), 3) // both go on
	for _, c := range []*client{c, j} {
		for c.next().GetDelta() == nil {
		}
	}
}
