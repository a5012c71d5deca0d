package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
)

// Why a connection ended, besides what the network says.
var (
	ErrSilent   = errors.New("client: no sign of life from the server")
	ErrTooBig   = errors.New("client: message of the server over MaxFrameBytes")
	ErrProtocol = errors.New("client: the server broke the protocol")
	ErrDrained  = errors.New("client: the server is about to stop")
	ErrNoAnswer = errors.New("client: no answer to a subscribe or modify")
)

// ClosedError is the end of a connection with the server's close frame.
type ClosedError struct {
	Code   uint16 // RFC 6455, section 7.4; from 4000 on depthcast's own
	Reason string // begins with the word of the reason
}

func (e *ClosedError) Error() string {
	return fmt.Sprintf("client: closed by the server: %d %s", e.Code, e.Reason)
}

// HandshakeError is an HTTP answer other than the upgrade.
type HandshakeError struct {
	Status     int
	Text       string        // first line of the body; of a page (HTML) what to look for
	RetryAfter time.Duration // as the server asks; 0: it does not
}

func (e *HandshakeError) Error() string {
	return fmt.Sprintf("client: handshake refused: %d %s: %s", e.Status, http.StatusText(e.Status), e.Text)
}

// maxRefusalBytes bounds the text that is kept of a refused handshake.
const maxRefusalBytes = 256

// conn reads messages from one WebSocket connection and writes to it. Owned by
// the loop, but for deadlines, which others may set to interrupt it.
type conn struct {
	net  net.Conn
	max  int           // bytes of one message
	wait time.Duration // of one write

	in         []byte // in[r:w] was read and is yet to be taken
	r, w       int
	fragments  []byte    // of the message under way
	op         ws.OpCode // of the message under way; 0: none
	compressed bool      // the message under way is
	inflater   *inflater // nil: permessage-deflate was not agreed on
	out        []byte    // reused
	closeFrame bool      // a close frame was sent; nothing may follow
}

// dial connects and upgrades. The context bounds both.
func dial(ctx context.Context, config *Config) (*conn, error) {
	var refused *HandshakeError
	subprotocol := config.Codec.Subprotocol()
	dialer := ws.Dialer{
		Protocols: []string{subprotocol},
		Header:    ws.HandshakeHeaderHTTP(config.Header),
		TLSConfig: config.TLS,
		OnStatusError: func(status int, _ []byte, resp io.Reader) {
			refused = refusedHandshake(status, resp)
		},
	}
	if config.Deflate {
		dialer.Extensions = []httphead.Option{deflateOffer.Option()}
	}
	nc, early, hs, err := dialer.Dial(ctx, config.URL)
	if refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, fmt.Errorf("client: connect: %w", err)
	}
	c := &conn{net: nc, max: config.MaxFrameBytes, wait: config.WriteTimeout, in: make([]byte, 16<<10)}
	if early != nil {
		err = c.takeEarly(early)
	}
	if err == nil && hs.Protocol != subprotocol {
		err = fmt.Errorf("%w: it does not speak %s", ErrIncompatible, subprotocol)
	}
	if err == nil {
		c.inflater, err = agreedDeflate(hs.Extensions)
	}
	if err != nil {
		_ = nc.Close() // the handshake's fault is what counts
		return nil, err
	}
	return c, nil
}

// takeEarly takes over frames that came along with the upgrade.
func (c *conn) takeEarly(early *bufio.Reader) error {
	defer ws.PutReader(early)
	b, err := early.Peek(early.Buffered())
	if err != nil {
		return err
	}
	c.reserve(len(b))
	c.w += copy(c.in[c.w:], b)
	return nil
}

func refusedHandshake(status int, resp io.Reader) *HandshakeError {
	e := &HandshakeError{Status: status}
	r, err := http.ReadResponse(bufio.NewReader(resp), nil)
	if err != nil {
		return e // the status alone must do
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(r.Body, maxRefusalBytes)) // as much as there is
	line, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	if bytes.HasPrefix(line, []byte("<")) {
		line = []byte("a page, not a stream of this protocol: is the path right?")
	}
	e.Text = string(bytes.ToValidUTF8(bytes.TrimSpace(line), nil))
	if seconds, err := strconv.ParseUint(r.Header.Get("Retry-After"), 10, 16); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// reserve makes room for n more bytes behind in[r:w], moving what is there to the
// front.
func (c *conn) reserve(n int) {
	kept := c.in[c.r:c.w]
	switch {
	case len(c.in)-c.w >= n:
		return
	case len(c.in)-len(kept) >= n:
		copy(c.in, kept)
	default:
		in := make([]byte, max(len(kept)+n, 2*len(c.in)))
		copy(in, kept)
		c.in = in
	}
	c.r, c.w = 0, len(kept)
}

// fill reads once. The buffer grows by doubling, with what has really come. An
// error that is a timeout leaves the stream whole.
func (c *conn) fill() error {
	c.reserve(1)
	n, err := c.net.Read(c.in[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// next takes the next message or control frame off what was read. ok is false if
// it is incomplete. The payload is valid until fill.
func (c *conn) next() (op ws.OpCode, payload []byte, ok bool, err error) {
	for {
		b := c.in[c.r:c.w]
		h, n, err := c.header(b)
		if err != nil {
			return 0, nil, false, err
		}
		if n == 0 {
			return 0, nil, false, nil
		}
		size := n + int(h.Length)
		if len(b) < size {
			return 0, nil, false, nil
		}
		c.r += size
		payload = b[n:size]
		if h.OpCode.IsControl() {
			return h.OpCode, payload, true, nil
		}
		if c.op == 0 {
			c.op, c.compressed = h.OpCode, h.Rsv1()
		}
		if !h.Fin || len(c.fragments) > 0 {
			c.fragments = append(c.fragments, payload...)
			payload = c.fragments
		}
		if h.Fin {
			op, compressed := c.op, c.compressed
			c.op, c.fragments = 0, nil
			if compressed {
				payload, err = c.inflater.inflate(payload, c.max)
			}
			return op, payload, err == nil, err
		}
	}
}

// header reads the header at the start of b. n is its size; 0 if b does not hold
// all of it. Lengths are checked before anything of their size is set aside.
func (c *conn) header(b []byte) (h ws.Header, n int, err error) {
	r := bytes.NewReader(b)
	h, err = ws.ReadHeader(r)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return h, 0, nil
	}
	if err != nil {
		return h, 0, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	state := ws.StateClientSide
	if c.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	err = checkReserved(h, c.inflater != nil)
	if err == nil {
		err = ws.CheckHeader(h, state.Set(ws.StateExtended)) // which leaves the reserved bits to checkReserved
	}
	if err != nil {
		return h, 0, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if !h.OpCode.IsControl() && h.Length > int64(c.max-len(c.fragments)) {
		return h, 0, fmt.Errorf("%w: %d bytes and %d before them", ErrTooBig, h.Length, len(c.fragments))
	}
	return h, len(b) - r.Len(), nil
}

// write sends one masked frame. The payload is overwritten by its masked form.
func (c *conn) write(op ws.OpCode, payload []byte) error {
	f := ws.MaskFrameInPlace(ws.NewFrame(op, true, payload))
	out := bytes.NewBuffer(c.out[:0])
	if err := ws.WriteFrame(out, f); err != nil {
		return err
	}
	c.out = out.Bytes()
	if err := c.net.SetWriteDeadline(time.Now().Add(c.wait)); err != nil {
		return err
	}
	_, err := c.net.Write(c.out)
	return err
}

// closeWith says why and ends the connection. It does not wait for the server's
// answer.
func (c *conn) closeWith(code ws.StatusCode, reason string) {
	if !c.closeFrame && code != 0 {
		c.closeFrame = true
		_ = c.write(ws.OpClose, ws.NewCloseFrameBody(code, reason)) // a courtesy
	}
	_ = c.net.Close() // nothing more is expected of it
}

// closedBy makes the error of a close frame (RFC 6455, section 5.5.1).
func closedBy(payload []byte) error {
	if len(payload) < 2 {
		return &ClosedError{Code: uint16(ws.StatusNoStatusRcvd)}
	}
	code, reason := ws.ParseCloseFrameData(payload)
	if !utf8.ValidString(reason) {
		return fmt.Errorf("%w: close frame without valid UTF-8", ErrProtocol)
	}
	return &ClosedError{Code: uint16(code), Reason: reason}
}
