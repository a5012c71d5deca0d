// Package proto holds what all other packages speak: the wire formats
// (marketdata.proto, stream.proto; generated code in proto/pb, used at the
// edges), the plain types of the hot path, append encoders that are byte for
// byte equal to the generated code's output, bounded decoders, the last-write
// merge and the state hash. It imports none of depthcast's packages.
package proto
