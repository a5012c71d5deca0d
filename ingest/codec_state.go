package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/depthcast/depthcast/proto"
)

// stateVersion is the first byte of every codec's state. A codec that changes what
// it keeps gives up the states of before: they are refused, and their symbols read
// anew.
const stateVersion = 1

// errState is of what no codec has saved.
var errState = errors.New("ingest: not the state of a codec")

// saveCodecs copies what the codecs keep of a symbol, by rising name of the format,
// reusing the memory of to.
func (p *Partition) saveCodecs(name string, to *proto.SymbolState) {
	to.Codecs = to.Codecs[:0]
	for _, format := range formatOrder {
		c, ok := p.codecs[format].(keeper)
		if !ok {
			continue
		}
		n := len(to.Codecs)
		if n == cap(to.Codecs) {
			to.Codecs = append(to.Codecs, proto.CodecState{})
		}
		into := &to.Codecs[:n+1][n]
		into.Format, into.State = format, c.save(name, into.State[:0])
		if len(into.State) > 0 {
			to.Codecs = to.Codecs[:n+1]
		} else {
			to.Codecs = to.Codecs[:n]
		}
	}
}

// restoreCodecs puts back what saveCodecs copied of a symbol, after its claim, as
// codecs ask for its exponents. An error leaves it without state.
func (p *Partition) restoreCodecs(s *proto.SymbolState) error {
	for i := range s.Codecs {
		c := &s.Codecs[i]
		var err error
		if formats[c.Format].new == nil {
			err = fmt.Errorf("%w: format %.32q", errState, c.Format)
		} else if k, ok := p.codec(c.Format).(keeper); !ok {
			err = fmt.Errorf("%w: format %q keeps none", errState, c.Format)
		} else {
			err = k.restore(s.Symbol, c.State)
		}
		if err != nil {
			p.forgetCodecs(s.Symbol)
			return err
		}
	}
	return nil
}

// forgetCodecs leaves all codecs without state of a symbol.
func (p *Partition) forgetCodecs(name string) {
	for _, c := range p.codecs {
		if k, ok := c.(keeper); ok {
			k.forget(name)
		}
	}
}

// keptState is the state that the codec of a venue keeps of a symbol.
type keptState[T any] interface {
	*T
	// appendTo appends it.
	appendTo(to []byte) []byte
	// readFrom reads what appendTo appended; what makes no sense is failed.
	readFrom(r *stateReader)
}

// saveVenue is keeper.save for a codec that keeps v and nothing else.
func saveVenue[T any, P keptState[T]](v *venueSymbols[T], symbol string, to []byte) []byte {
	s := v.of[symbol]
	if s == nil {
		return to
	}
	return P(&s.state).appendTo(append(to, stateVersion))
}

// restoreVenue is keeper.restore for a codec that keeps v and nothing else.
func restoreVenue[T any, P keptState[T]](v *venueSymbols[T], symbol string, state []byte) error {
	if v.of[symbol] != nil {
		return fmt.Errorf("%w: there is one already", errState)
	}
	var t T
	r := stateReader{rest: state}
	if r.byte() == stateVersion {
		P(&t).readFrom(&r)
	} else {
		r.fail("version")
	}
	if r.err == nil && !bytes.Equal(P(&t).appendTo([]byte{stateVersion}), state) {
		r.fail("it would be written otherwise")
	}
	if r.err != nil {
		return r.err
	}
	s, refused := v.find([]byte(symbol))
	if refused != nil {
		return fmt.Errorf("%w: %w", errState, refused)
	}
	s.state = t
	return nil
}

// The pieces that states are made of: unsigned numbers, signed ones, flags, texts.

func appendStateUint(to []byte, v uint64) []byte { return binary.AppendUvarint(to, v) }
func appendStateInt(to []byte, v int64) []byte   { return binary.AppendVarint(to, v) }

func appendStateBool(to []byte, v bool) []byte {
	if v {
		return append(to, 1)
	}
	return append(to, 0)
}

func appendStateBytes[T string | []byte](to []byte, v T) []byte {
	return append(appendStateUint(to, uint64(len(v))), v...)
}

// stateReader reads them. After the first thing wrong it returns zero values.
type stateReader struct {
	rest []byte
	err  error
}

func (r *stateReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", errState, what)
		r.rest = nil
	}
}

// check fails unless ok.
func (r *stateReader) check(ok bool, what string) {
	if !ok {
		r.fail(what)
	}
}

func (r *stateReader) byte() byte {
	if len(r.rest) == 0 {
		r.fail("cut off")
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *stateReader) bool() bool {
	b := r.byte()
	r.check(b <= 1, "a flag")
	return b == 1
}

func (r *stateReader) uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *stateReader) int() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail("a number")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count returns how many things of at least size bytes follow; at most most.
func (r *stateReader) count(most, size int) int {
	n := r.uint()
	if n > uint64(most) || n > uint64(len(r.rest)/size) {
		r.fail("a count")
		return 0
	}
	return int(n)
}

// bytes returns a text of at most most bytes, valid as long as the state is.
func (r *stateReader) bytes(most int) []byte {
	n := r.count(most, 1)
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}
