package ingest

import (
	"errors"

	"github.com/depthcast/depthcast/proto"
)

// protoCodec reads depthcast.v1.Events, in protobuf or JSON.
type protoCodec struct {
	decode      func(value []byte, b *proto.Batch) error
	instruments Instruments
	names       map[string]string // of symbols, so that a record does not make its own
	batch       proto.Batch
}

func newProtoCodec(i Instruments) Codec { return newEventsCodec(i, proto.DecodeEvents) }

func newEventsCodec(i Instruments, decode func([]byte, *proto.Batch) error) Codec {
	return &protoCodec{decode: decode, instruments: i, names: map[string]string{}}
}

func (c *protoCodec) Decode(rec *Record) (*proto.Batch, error) {
	b := &c.batch
	name, known := c.names[string(rec.Key)]
	b.Symbol = name // the decoder keeps it where it is the same
	if err := c.decode(rec.Value, b); err != nil {
		code := CodeMalformed
		switch {
		case errors.Is(err, proto.ErrBadValue):
			code = CodeBadValue
		case errors.Is(err, proto.ErrTooLarge):
			code = CodeTooLarge
		}
		return nil, refuse(code, b.Symbol, proto.ReasonBadRecord, "%w", err)
	}
	if !b.HasExponents {
		b.Exponents = c.exponents(b)
	}
	if !known && b.Symbol == string(rec.Key) {
		if len(c.names) >= maxVenueSymbols { // of most there will be no more
			clear(c.names)
		}
		c.names[b.Symbol] = b.Symbol
	}
	return b, nil
}

// exponents are those of a batch that names none: a definition that it carries
// holds for the batch itself.
func (c *protoCodec) exponents(b *proto.Batch) proto.Exponents {
	for i := range b.Events {
		if e := &b.Events[i]; e.Kind == proto.EventInstrument {
			return e.Instrument.Exponents
		}
	}
	return c.instruments.Exponents(b.Symbol)
}
