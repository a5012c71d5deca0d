package ingest

import "github.com/depthcast/depthcast/proto"

// newJSONCodec makes the codec of depthcast.v1.Events in JSON, for producers that
// have no protobuf; see proto.DecodeEventsJSON. Its costs are in proto's
// BenchmarkDecodeEventsJSON.
func newJSONCodec(i Instruments) Codec { return newEventsCodec(i, proto.DecodeEventsJSON) }
