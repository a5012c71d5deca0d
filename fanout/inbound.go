package fanout

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// violation is a breach of RFC 6455 by the peer: the connection ends with code.
type violation struct {
	code ws.StatusCode
	text string
}

func (v *violation) Error() string { return v.text }

// The breaches that inbound finds by itself; those of single headers are
// gobwas/ws's ProtocolErrors, told with status 1002.
var (
	errMessageTooBig = &violation{ws.StatusMessageTooBig, "message over the limit"}
	errBadUTF8       = &violation{ws.StatusInvalidFramePayloadData, "text that is not UTF-8"}
	errBadClose      = &violation{ws.StatusProtocolError, "close frame without a legal status code and reason"}
)

// maxHeaderBytes is the longest header of a client's frame: 2, a length of 8, a
// mask of 4.
const maxHeaderBytes = ws.MaxHeaderSize

// inbound makes messages of the bytes that a client sent (RFC 6455 sections 5 to
// 7), without I/O. What it keeps between two calls of feed is the beginning of a
// frame and the fragments of a message, together at most twice the limit of a
// message and a header. The zero value is ready. Owned by the shard's goroutine.
type inbound struct {
	frame  []byte    // beginning of an incomplete frame; nil when none
	msg    []byte    // payloads of the fragments so far
	op     ws.OpCode // of the message under way; 0: none
	closed bool      // a close frame came: what follows is not looked at
}

// idle reports whether p holds nothing, so that it may be thrown away.
func (p *inbound) idle() bool { return p.frame == nil && p.op == 0 && !p.closed }

// feed takes the next bytes of the stream, which it may change (unmasking), and
// calls on for each control frame and each whole message, in order. A payload is
// valid only during the call. feed ends at the first error: of on, or a
// *violation. No message of more than max bytes is assembled, and no frame that
// announces more is waited for.
func (p *inbound) feed(b []byte, max int, on func(op ws.OpCode, payload []byte) error) error {
	if len(p.frame) > 0 {
		p.frame = append(p.frame, b...)
		b = p.frame
	}
	for len(b) > 0 && !p.closed {
		h, n, err := p.header(b, max)
		if err != nil {
			return err
		}
		size := n + int(h.Length)
		if n == 0 || len(b) < size {
			p.keep(b, n, size)
			return nil
		}
		payload := b[n:size]
		ws.Cipher(payload, h.Mask, 0)
		if err := p.take(h, payload, on); err != nil {
			return err
		}
		b = b[size:]
	}
	p.frame = nil
	return nil
}

// header reads the header at the start of b and checks it and the length it
// announces. n is its size, 0 if b does not hold all of it.
func (p *inbound) header(b []byte, max int) (h ws.Header, n int, err error) {
	r := bytes.NewReader(b)
	h, err = ws.ReadHeader(r)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return h, 0, nil
	}
	if err != nil {
		return h, 0, &violation{ws.StatusProtocolError, err.Error()}
	}
	state := ws.StateServerSide
	if p.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return h, 0, &violation{ws.StatusProtocolError, err.Error()}
	}
	if !h.OpCode.IsControl() && h.Length > int64(max-len(p.msg)) {
		return h, 0, errMessageTooBig
	}
	return h, len(b) - r.Len(), nil
}

// keep stores the incomplete frame b, which may lie within p.frame, with room for
// all of it where its size is known (n > 0).
func (p *inbound) keep(b []byte, n, size int) {
	if n == 0 {
		size = maxHeaderBytes
	}
	if cap(p.frame) < size {
		kept := make([]byte, len(b), size)
		copy(kept, b)
		p.frame = kept
		return
	}
	p.frame = p.frame[:copy(p.frame[:len(b)], b)]
}

// take handles one whole frame.
func (p *inbound) take(h ws.Header, payload []byte, on func(ws.OpCode, []byte) error) error {
	switch {
	case h.OpCode == ws.OpClose:
		p.closed = true
		if err := checkClose(payload); err != nil {
			return err
		}
		return on(ws.OpClose, payload)
	case h.OpCode.IsControl():
		return on(h.OpCode, payload)
	case p.op == 0 && h.Fin:
		return p.message(h.OpCode, payload, on)
	}
	if p.op == 0 {
		p.op = h.OpCode
	}
	p.msg = append(p.msg, payload...)
	if !h.Fin {
		return nil
	}
	op, msg := p.op, p.msg
	p.op, p.msg = 0, nil
	return p.message(op, msg, on)
}

// message hands a whole data message on.
func (p *inbound) message(op ws.OpCode, payload []byte, on func(ws.OpCode, []byte) error) error {
	if op == ws.OpText && !utf8.Valid(payload) {
		return errBadUTF8
	}
	return on(op, payload)
}

// checkClose holds the body of a close frame against RFC 6455 section 7.4. An
// empty one is legal.
func checkClose(payload []byte) error {
	if len(payload) == 0 {
		return nil
	}
	if len(payload) == 1 {
		return errBadClose
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if !utf8.ValidString(reason) {
		return errBadUTF8
	}
	if err := ws.CheckCloseFrameData(code, reason); err != nil {
		return errBadClose
	}
	return nil
}
