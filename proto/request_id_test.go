package proto

import (
	"strings"
	"testing"

	googleproto "google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto/pb"
)

func TestRequestIDIsThatOfTheWholeRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := &pb.Request{Id: rapid.Uint32().Draw(t, "id"), Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{
			Topics: rapid.SliceOfN(rapid.Uint32(), 1, 50).Draw(t, "topics")}}}
		binary, err := googleproto.MarshalOptions{Deterministic: true}.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := EncodeJSONRequest(req)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := [2]uint32{CodecProto.RequestID(binary), CodecJSON.RequestID(text)}, [2]uint32{req.Id, req.Id}; got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	})
}

func TestRequestIDThatIsNotPlainToSeeIsNone(t *testing.T) {
	far := strings.Repeat(" ", requestIDBytes)
	for text, want := range map[string]uint32{
		`{"id": 7,"type":"ping"}`:                                7,
		`{"type":"ping","id":4294967295}`:                        4294967295,
		`{"type":"ping","id":4294967296}`:                        0,
		`{"type":"ping","id":-1}`:                                0,
		`{"type":"ping","id":"1"}`:                               0,
		`{"type":"ping","id":1`:                                  0,
		`{"items":[{"id":5}],"id" : 1}`:                          1,
		`{"x":{"id":5},"y":"id","z":"\"id\":3","id":1}`:          1,
		`{"x":{"id":5},"y":"id","z":["id",3]}`:                   0,
		`{"type":"ping"` + far + `,"id":1}`:                      0,
		`{"type":"ping",` + far[:requestIDBytes-21] + `"id":123`: 0,
		`{"id`: 0, `{"id"`: 0, `{"id":`: 0, `{"id\`: 0, `"id":1,`: 0,
		"": 0,
	} {
		if got := CodecJSON.RequestID([]byte(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
	for _, msg := range []string{"", "\x08", "\x08\xff", "\x12\x00", "\x0a\x01a"} {
		if got := CodecProto.RequestID([]byte(msg)); got != 0 {
			t.Errorf("%x: %d", msg, got)
		}
	}
}
