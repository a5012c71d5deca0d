package proto

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/proto/pb"
)

// MaxJSONEventsBytes bounds the JSON form of a record. A greater snapshot comes
// in parts (Events.more).
const MaxJSONEventsBytes = 1 << 20

// DecodeEventsJSON is DecodeEvents for the JSON form of a record, for producers
// that have no protobuf: protobuf's own mapping of Events to JSON, so that the two
// forms say the same, mantissas and differences included. It is stricter in one
// thing: members that are not known here are refused, since a misspelt one
// would otherwise be a change that nobody misses.
func DecodeEventsJSON(text []byte, b *Batch) error {
	b.Symbol = ""
	if len(text) > MaxJSONEventsBytes {
		return fmt.Errorf("%w: %d bytes of JSON, at most %d", ErrTooLarge, len(text), MaxJSONEventsBytes)
	}
	var events pb.Events
	if err := protojson.Unmarshal(text, &events); err != nil {
		return fmt.Errorf("%w: %w", ErrJSON, err)
	}
	value, err := googleproto.MarshalOptions{Deterministic: true}.Marshal(&events)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrJSON, err)
	}
	return DecodeEvents(value, b)
}
