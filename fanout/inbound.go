package fanout

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// violation is a breach of RFC 6455 or RFC 7692 by the peer: the connection ends
// with the close code of reason.
type violation struct {
	reason DropReason
	text   string
}

func (v *violation) Error() string { return v.text }

// The breaches that inbound finds by itself; those of single headers are
// gobwas/ws's ProtocolErrors.
var (
	errMessageTooBig = &violation{DropTooBig, "message over the limit"}
	errBadUTF8       = &violation{DropBadText, "text that is not UTF-8"}
	errBadClose      = &violation{DropProtocol, "close frame without a legal status code and reason"}
	errLongLength    = &violation{DropProtocol, "a length in more bytes than it needs"}
)

// maxHeaderBytes is the longest header of a client's frame: 2, a length of 8, a
// mask of 4.
const maxHeaderBytes = ws.MaxHeaderSize

// deflateSlack is by how much a compressed message may exceed the limit of a
// message before it is inflated: what does not compress is stored with 5 bytes for
// each 64 KiB, and a sender may flush.
const deflateSlack = 1024

// inbound makes messages of the bytes that a client sent (RFC 6455 sections 5 to
// 7), without I/O. What breaks a rule is found with the byte that breaks it: text is
// checked, and a compressed message inflated, as it comes. What is kept between two
// calls of feed is a part of a header, or of a message, inflated and at most of the
// limit's size. The zero value is ready. Owned by the shard's goroutine.
type inbound struct {
	started [maxHeaderBytes]byte // an incomplete header
	starts  int                  // bytes of it
	header  ws.Header            // of the frame under way
	framed  bool                 // there is one
	came    int                  // bytes of its payload so far
	control []byte               // payload so far of a control frame that came in parts

	op      ws.OpCode // of the message under way; 0: none
	msg     []byte    // its payload so far, inflated
	valid   int       // of a text: bytes of msg that are whole runes
	inflate *inflater // nil unless it is compressed
	wire    int64     // then: bytes that its frames announced

	closed bool // a close frame came: what follows is not looked at
}

// idle reports whether p holds nothing, so that it may be thrown away.
func (p *inbound) idle() bool { return p.starts == 0 && !p.framed && p.op == 0 && !p.closed }

// rules are what a client's messages are held against.
type rules struct {
	max     int  // bytes of a message
	deflate bool // it may be compressed (RFC 7692)
}

// feed takes the next bytes of the stream, which it may change (unmasking), and
// calls on for each control frame and each whole message, in order. A payload is
// valid only during the call. feed ends at the first error: of on, or a
// *violation. No message beyond the limit is assembled, and no frame that announces
// more is waited for.
func (p *inbound) feed(b []byte, r rules, on func(op ws.OpCode, payload []byte) error) error {
	for len(b) > 0 && !p.closed {
		if !p.framed {
			n, err := p.begin(b, r)
			if err != nil {
				return err
			}
			if b = b[n:]; !p.framed {
				return nil
			}
		}
		n := int(min(int64(len(b)), p.header.Length-int64(p.came)))
		ws.Cipher(b[:n], p.header.Mask, p.came)
		p.came += n
		if err := p.take(b[:n], r, on); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// begin reads the header at the start of b, of which p may have the beginning, and
// checks it and the length it announces. It returns how much of b belongs to it;
// p.framed tells whether it is complete.
func (p *inbound) begin(b []byte, r rules) (n int, err error) {
	had, text := p.starts, b
	if had > 0 {
		text = p.started[:had+copy(p.started[had:], b)]
	}
	h, size, err := readHeader(text)
	if err != nil {
		return 0, err
	}
	if size == 0 {
		p.starts = copy(p.started[:], text)
		return len(b), nil
	}
	if err := p.admit(&h, r); err != nil {
		return 0, err
	}
	p.header, p.framed, p.came, p.starts = h, true, 0, 0
	return size - had, nil
}

// readHeader reads the header at the start of b; size is 0 if b does not hold all
// of it.
func readHeader(b []byte) (h ws.Header, size int, err error) {
	in := bytes.NewReader(b)
	h, err = ws.ReadHeader(in)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return h, 0, nil
	}
	if err != nil {
		return h, 0, &violation{DropProtocol, err.Error()}
	}
	size = len(b) - in.Len()
	if size != ws.HeaderSize(h) {
		return h, 0, errLongLength // section 5.2: the minimal number of bytes
	}
	return h, size, nil
}

// admit holds a header against the rules, and begins the message that it begins.
func (p *inbound) admit(h *ws.Header, r rules) error {
	compressed := false
	if r.deflate {
		var err error
		if *h, compressed, err = wsflate.UnsetBit(*h); err != nil {
			return &violation{DropProtocol, err.Error()}
		}
	}
	state := ws.StateServerSide
	if p.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(*h, state); err != nil {
		return &violation{DropProtocol, err.Error()}
	}
	if h.OpCode.IsControl() {
		return nil
	}
	limit := int64(r.max - len(p.msg))
	if compressed || p.inflate != nil {
		limit = int64(r.max+deflateSlack) - p.wire
	}
	if h.Length > limit {
		return errMessageTooBig
	}
	if h.OpCode != ws.OpContinuation {
		p.op = h.OpCode
	}
	if compressed {
		p.inflate = new(inflater)
	}
	p.wire += h.Length
	return nil
}

// take handles the next part of the payload of the frame under way.
func (p *inbound) take(part []byte, r rules, on func(ws.OpCode, []byte) error) error {
	h := &p.header
	p.framed = int64(p.came) < h.Length
	if h.OpCode.IsControl() {
		return p.takeControl(part, on)
	}
	ended := h.Fin && !p.framed
	if ended && h.OpCode != ws.OpContinuation && len(part) == p.came && p.inflate == nil {
		p.op, p.wire = 0, 0
		if h.OpCode == ws.OpText && !utf8.Valid(part) {
			return errBadUTF8
		}
		return on(h.OpCode, part) // as it lies there
	}
	if err := p.append(part, r, ended); err != nil {
		return err
	}
	if p.op == ws.OpText && !p.text(ended) {
		return errBadUTF8
	}
	if !ended {
		return nil
	}
	op, msg := p.op, p.msg
	p.op, p.msg, p.valid, p.inflate, p.wire = 0, nil, 0, nil, 0
	return on(op, msg)
}

// append adds a part to the message under way.
func (p *inbound) append(part []byte, r rules, ended bool) (err error) {
	if p.inflate == nil {
		p.msg = append(p.msg, part...)
		return nil
	}
	if p.msg, err = p.inflate.write(p.msg, part, r.max); err == nil && ended {
		p.msg, err = p.inflate.end(p.msg, r.max)
	}
	return err
}

// text reports whether what came of a text may be UTF-8; of a whole one, whether
// it is.
func (p *inbound) text(ended bool) bool {
	b := p.msg[p.valid:]
	if !ended {
		b = b[:wholeRunes(b)]
	}
	p.valid += len(b)
	return utf8.Valid(b)
}

// wholeRunes returns how much of b comes before a rune of which only a beginning
// is there. One that cannot be completed counts as whole.
func wholeRunes(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

// takeControl handles the next part of a control frame, which may come between the
// fragments of a message.
func (p *inbound) takeControl(part []byte, on func(ws.OpCode, []byte) error) error {
	if p.framed || len(p.control) > 0 {
		p.control = append(p.control, part...)
		part = p.control
	}
	if p.framed {
		return nil
	}
	p.control = nil
	if p.header.OpCode == ws.OpClose {
		p.closed = true
		if err := checkClose(part); err != nil {
			return err
		}
	}
	return on(p.header.OpCode, part)
}

// lastCloseCode is the end of the ranges that RFC 6455 section 7.4.2 names.
const lastCloseCode = 4999

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
	if registeredSince(code) {
		return nil
	}
	if err := ws.CheckCloseFrameData(code, reason); err != nil || code > lastCloseCode {
		return errBadClose
	}
	return nil
}

// registeredSince reports whether code was registered with IANA after RFC 6455:
// service restart, try again later, bad gateway.
func registeredSince(code ws.StatusCode) bool { return 1012 <= code && code <= 1014 }
