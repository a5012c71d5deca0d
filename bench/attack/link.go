package attack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"github.com/depthcast/depthcast/proto"
)

// How a connection ended, beside "101", other statuses and "close CODE REASON".
const (
	closed    = "closed"    // by the server, without a word
	reset     = "reset"     // likewise, harshly
	unbroken  = "unbroken"  // the server let it be to the end of the attack
	refused   = "no port"   // nobody listens, or there is no more port or file here
	wordless  = "no answer" // for answerWithin
	nonsense  = "not HTTP"  // nor WebSocket
	mostFrame = 64 << 20    // more than any frame of a server has
)

const (
	dialWithin   = 5 * time.Second
	answerWithin = 20 * time.Second
)

// link is a connection.
type link struct {
	net.Conn
	by   *attacker
	ctx  context.Context
	r    *bufio.Reader
	stop func() bool
}

// Write counts what is sent.
func (l *link) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	l.by.sent.Add(uint64(n))
	return n, err
}

// Read counts what is received.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.by.received.Add(uint64(n))
	return n, err
}

// dial connects; the connection ends with ctx. buffer is the size of its receive
// buffer, 0 the kernel's choice. how says why there is none.
func (a *attacker) dial(ctx context.Context, n uint64, buffer int) (l *link, how string) {
	d := net.Dialer{Timeout: dialWithin, Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = prepare(int(fd), buffer) })
		return errors.Join(failed, err)
	}}
	if len(a.sources) > 0 {
		d.LocalAddr = &net.TCPAddr{IP: a.sources[n%uint64(len(a.sources))]}
	}
	conn, err := d.DialContext(ctx, "tcp", a.address)
	if err != nil {
		return nil, a.ending(ctx, err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0) // at the end: no port is left waiting
	if a.tls != nil {
		secure := tls.Client(conn, a.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // the handshake's error is what counts
			return nil, a.ending(ctx, err)
		}
		conn = secure
	}
	l = &link{Conn: conn, by: a, ctx: ctx}
	l.r = bufio.NewReader(l)
	l.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return l, ""
}

// prepare sets what must be set before a socket connects: a port is taken when the
// other end is known, so that many connections may share one.
func prepare(fd, buffer int) error {
	err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	if err == nil && buffer > 0 {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	return os.NewSyscallError("setsockopt", err)
}

// leave ends the connection from this side.
func (l *link) leave() {
	l.stop()
	_ = l.Close() // it may have ended
}

// ending says how a connection ended, by the error that told.
func (a *attacker) ending(ctx context.Context, err error) string {
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return unbroken
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return closed
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return reset
	case errors.As(err, &timeout) && timeout.Timeout():
		return wordless
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EMFILE):
		return refused
	}
	return nonsense
}

// header is the request for a WebSocket, and lines besides.
func (a *attacker) header(path, lines string) string {
	if a.config.Token != "" {
		lines += "Authorization: Bearer " + a.config.Token + "\r\n"
	}
	return "GET " + path + " HTTP/1.1\r\nHost: " + a.host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + lines + "\r\n"
}

// subprotocol asks for JSON, whose errors can be read here.
var subprotocol = "Sec-WebSocket-Protocol: " + proto.CodecJSON.Subprotocol() + "\r\n"

// upgraded dials and upgrades; how says what the server answered in its place.
func (a *attacker) upgraded(ctx context.Context, n uint64, buffer int, lines string) (l *link, how string) {
	l, how = a.dial(ctx, n, buffer)
	if how != "" {
		return nil, how
	}
	if how = l.ask(a.header("/v1/stream", subprotocol+lines)); how != "101" {
		l.leave()
		return nil, how
	}
	return l, ""
}

// ask sends a request and returns the status of its answer, which but for an upgrade
// is read to its end.
func (l *link) ask(request string) string {
	_ = l.SetReadDeadline(time.Now().Add(answerWithin)) // a connection that cannot have one has ended
	if _, err := io.WriteString(l, request); err != nil {
		return l.status() // the answer may have come before all was sent
	}
	return l.status()
}

func (l *link) status() string {
	answer, err := http.ReadResponse(l.r, nil)
	if err != nil {
		return l.by.ending(l.ctx, err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			return l.by.ending(l.ctx, err)
		}
	}
	_ = answer.Body.Close() // it was read, or is no body
	_ = l.SetReadDeadline(time.Time{})
	return fmt.Sprint(answer.StatusCode)
}

// listen reads what the server says until the connection ends, and says how. Errors
// are counted by their code; tell, if not nil, is told every other message.
func (l *link) listen(tell func(message []byte)) string {
	for {
		h, err := ws.ReadHeader(l.r)
		if err != nil {
			return l.by.ending(l.ctx, err)
		}
		if h.Length > mostFrame {
			return nonsense
		}
		if h.OpCode != ws.OpText && h.OpCode != ws.OpClose || tell == nil && h.Length > 4096 {
			if _, err := io.CopyN(io.Discard, l.r, h.Length); err != nil {
				return l.by.ending(l.ctx, err)
			}
			continue
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(l.r, payload); err != nil {
			return l.by.ending(l.ctx, err)
		}
		switch {
		case h.OpCode == ws.OpClose:
			return closing(payload)
		case bytes.HasPrefix(payload, []byte(`{"type":"error"`)):
			l.by.answer("error " + member(payload, `"code":"`, `"`))
		case tell != nil:
			tell(payload)
		}
	}
}

// closing says what a close frame says.
func closing(payload []byte) string {
	if len(payload) < 2 {
		return "close"
	}
	reason, _, _ := strings.Cut(string(payload[2:]), ":")
	return strings.TrimSpace(fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(payload), reason))
}

// member returns what stands between two texts; empty: it does not.
func member(message []byte, from, to string) string {
	_, rest, _ := bytes.Cut(message, []byte(from))
	value, _, found := bytes.Cut(rest, []byte(to))
	if !found {
		return ""
	}
	return string(value)
}

// frame returns a frame as clients send them, masked with zeros: the payload stays
// what it is.
func frame(op ws.OpCode, rsv byte, payload []byte) []byte {
	var b bytes.Buffer
	h := ws.Header{Fin: true, Rsv: rsv, OpCode: op, Masked: true, Length: int64(len(payload))}
	_ = ws.WriteHeader(&b, h) // a buffer takes everything
	b.Write(payload)
	return b.Bytes()
}

// speak sends the frames again and again until the connection ends, while listening
// (unless deaf), and says how it ended.
func (l *link) speak(deaf bool, frames func() []byte) string {
	defer l.leave()
	ended := make(chan string, 1)
	if !deaf {
		go func() { ended <- l.listen(nil) }()
	}
	for {
		if _, err := l.Write(frames()); err != nil {
			if deaf {
				return l.last(err)
			}
			return <-ended // what the server said before it closed
		}
	}
}

// last says how a connection ended on which nothing was read until a write failed.
func (l *link) last(err error) string {
	if l.ctx.Err() != nil {
		return unbroken
	}
	_ = l.SetReadDeadline(time.Now().Add(time.Second)) // it has ended
	if how := l.listen(nil); strings.HasPrefix(how, "close ") {
		return how
	}
	return l.by.ending(l.ctx, err)
}

// dies waits, without reading, until the server has ended the connection.
func (l *link) dies() string {
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		select {
		case <-l.ctx.Done():
			return unbroken
		case <-tick.C:
		}
		// A socket that the server has closed is ended by what comes to it next.
		if _, err := l.Write(frame(ws.OpPong, 0, nil)); err != nil {
			return l.by.ending(l.ctx, err)
		}
	}
}
