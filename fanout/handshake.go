package fanout

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
)

// handshakeWrite bounds the writing of the response to an upgrade.
const handshakeWrite = 5 * time.Second

// StreamHandler upgrades requests to WebSocket and hands their connections to h.
type StreamHandler struct {
	// Hub takes the connections.
	Hub *Hub

	// Origins are the origins (scheme://host[:port]) from which browsers may
	// connect, besides the one that the request is addressed to. "*" allows all.
	Origins []string

	// Log hears of refused handshakes, at debug level.
	Log *slog.Logger

	// speech is the dialect that a request's address stands for; nil: the client
	// protocol is spoken.
	speech func(*http.Request) (speech, error)
}

// handshakeRefusal answers a handshake that is not to be: plain HTTP, before the
// connection is taken over.
type handshakeRefusal struct {
	status int
	text   string
	header http.Header
}

func (s *StreamHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, no := s.admit(r)
	if no != nil {
		s.Hub.stats.HandshakesRefused.Add(1)
		s.Log.Debug("handshake refused", "remote", r.RemoteAddr, "status", no.status, "why", no.text)
		for k, v := range no.header {
			w.Header()[k] = v
		}
		// A connection whose upgrade failed is of no use to a client that wants one.
		w.Header().Set("Connection", "close")
		http.Error(w, no.text, no.status)
		return
	}
	if err := s.upgrade(w, r, a); err != nil {
		s.Hub.stats.HandshakesFailed.Add(1)
		s.Log.Debug("handshake failed", "remote", r.RemoteAddr, "err", err)
	}
}

// check holds the request against RFC 6455 section 4.2.1 and our own limits. It
// says more than the upgrader does, which takes the connection over first.
func (s *StreamHandler) check(r *http.Request) *handshakeRefusal {
	switch {
	case r.Method != http.MethodGet:
		return &handshakeRefusal{http.StatusMethodNotAllowed, "a WebSocket begins with GET", http.Header{"Allow": {"GET"}}}
	case r.ProtoMajor == 1 && r.ProtoMinor == 0:
		return &handshakeRefusal{http.StatusUpgradeRequired,
			"this request arrived as HTTP/1.0, which cannot be upgraded: a proxy in between must speak HTTP/1.1 (nginx: proxy_http_version 1.1)",
			http.Header{"Upgrade": {"websocket"}}}
	case r.ProtoMajor != 1:
		return &handshakeRefusal{http.StatusHTTPVersionNotSupported, "a WebSocket needs HTTP/1.1", nil}
	case !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket"):
		return &handshakeRefusal{http.StatusUpgradeRequired,
			"this is a WebSocket endpoint: the headers Connection: Upgrade and Upgrade: websocket are missing (does a proxy in between drop them?)",
			http.Header{"Upgrade": {"websocket"}}}
	case len(r.Header["Sec-Websocket-Version"]) > 1 || len(r.Header["Sec-Websocket-Key"]) > 1: // RFC 6455, sections 11.3.1 and 11.3.5
		return &handshakeRefusal{http.StatusBadRequest, "Sec-WebSocket-Key and Sec-WebSocket-Version may be there only once", nil}
	case r.ContentLength != 0: // a proxy may take for a body what would be taken for frames here
		return &handshakeRefusal{http.StatusBadRequest, "a handshake has no body", nil}
	case r.Header.Get("Sec-Websocket-Version") != "13":
		return &handshakeRefusal{http.StatusUpgradeRequired, "only WebSocket version 13 is spoken here",
			http.Header{"Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}}}
	case !isNonce(r.Header.Get("Sec-Websocket-Key")):
		return &handshakeRefusal{http.StatusBadRequest, "Sec-WebSocket-Key must be 16 bytes in base64", nil}
	case !originAllowed(r, s.Origins, true):
		return &handshakeRefusal{http.StatusForbidden, "this origin may not connect", nil}
	}
	return nil
}

// isNonce reports whether a key is 16 bytes in base64 (RFC 6455 section 4.2.1).
func isNonce(key string) bool {
	nonce, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(nonce) == 16 && len(key) == 24
}

// negotiate settles what the client may choose.
func (s *StreamHandler) negotiate(r *http.Request) (a Accepted, no *handshakeRefusal) {
	a = Accepted{Remote: r.RemoteAddr, Codec: proto.CodecJSON}
	var err error
	if s.speech == nil {
		a.Codec, err = codecOf(r.Header["Sec-Websocket-Protocol"])
	} else { // an exchange's clients know no subprotocol of ours, and need none
		var speech speech
		speech, err = s.speech(r)
		a.framing, a.streams = speech.framing, speech.streams
	}
	if err != nil {
		return a, &handshakeRefusal{http.StatusBadRequest, err.Error(), nil}
	}
	extensions, window, err := agree(r.Header)
	if err != nil {
		return a, &handshakeRefusal{http.StatusBadRequest, err.Error(), nil}
	}
	if s.Hub.config.deflates(a.Codec) {
		a.extensions, a.deflate = extensions, window
	}
	return a, nil
}

// admit holds the request against check, the hub's room and then the gate. What it
// returns has a place in the hub, so that nobody is upgraded who then finds none; its
// grant has been counted among the connections of its user. It has none where there is
// no gate, or where the token is still to come, as the first message.
func (s *StreamHandler) admit(r *http.Request) (a Accepted, no *handshakeRefusal) {
	if no = s.check(r); no != nil {
		return a, no
	}
	if a, no = s.negotiate(r); no != nil {
		return a, no
	}
	var err error
	if a.address, err = s.Hub.occupy(clientOf(r)); err != nil {
		return a, refusalOf(err).handshake()
	}
	a.counted = true
	if a.grant, err = s.identify(r); err != nil {
		s.Hub.left(a.address)
		return a, refusalOf(err).handshake()
	}
	return a, nil
}

// identify is Hub.enter, but for clients that may show their token later.
func (s *StreamHandler) identify(r *http.Request) (*Grant, error) {
	grant, err := s.Hub.enter(r)
	if errors.Is(err, errNoToken) && s.Hub.config.AuthTimeout > 0 && s.speech == nil { // a dialect has no message for it
		return nil, nil
	}
	return grant, err
}

// hasToken says whether one of the header's comma-separated values is token.
func hasToken(h http.Header, name, token string) bool {
	for _, v := range h.Values(name) {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// codecOf chooses the codec from the values of Sec-WebSocket-Protocol: the first
// that is known; JSON where none is asked for.
func codecOf(asked []string) (proto.Codec, error) {
	if len(asked) == 0 {
		return proto.CodecJSON, nil
	}
	for _, v := range asked {
		for part := range strings.SplitSeq(v, ",") {
			if c, ok := codecNamed(strings.TrimSpace(part)); ok {
				return c, nil
			}
		}
	}
	return 0, fmt.Errorf("of the subprotocols asked for none is spoken here: offer %s or %s",
		proto.CodecProto.Subprotocol(), proto.CodecJSON.Subprotocol())
}

func codecNamed(subprotocol string) (proto.Codec, bool) {
	for c := range proto.NumCodecs {
		if c.Subprotocol() == subprotocol {
			return c, true
		}
	}
	return 0, false
}

// upgrade takes the connection over and gives it to the hub. What it returns is
// not told to the client: the response has gone out, or cannot.
func (s *StreamHandler) upgrade(w http.ResponseWriter, r *http.Request, a Accepted) error {
	if err := s.takeOver(w, r, &a); err != nil {
		s.Hub.left(a.address)
		s.Hub.users.leave(a.grant)
		return err
	}
	return s.Hub.Accept(a)
}

// takeOver answers the handshake, as agreed in a, and moves the connection's
// descriptor there. On error it is closed.
func (s *StreamHandler) takeOver(w http.ResponseWriter, r *http.Request, a *Accepted) error {
	header := http.Header{}
	s.Hub.label(header)
	if a.deflate != 0 {
		header.Set("Sec-WebSocket-Extensions", a.extensions)
	}
	upgrader := ws.HTTPUpgrader{
		Header:   header,
		Timeout:  handshakeWrite,
		Protocol: func(p string) bool { _, ok := codecNamed(p); return ok && s.speech == nil },
	}
	conn, rw, _, err := upgrader.Upgrade(r, w)
	if err != nil {
		if conn != nil {
			_ = conn.Close() // the upgrader takes the connection over before it looks at the request
		}
		return err
	}
	buffered, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil {
		_ = conn.Close()
		return err
	}
	a.Buffered = bytes.Clone(buffered)
	return a.take(conn, s.Hub.config.Sockets)
}

// take moves conn's descriptor into a. On error it is closed.
func (a *Accepted) take(conn net.Conn, sockets poll.Sockets) (err error) {
	if c, ok := conn.(*tls.Conn); ok {
		s, err := newSecure(c, sockets)
		if err != nil {
			return err
		}
		a.FD, a.transport = s.wire.fd, s
		return nil
	}
	if a.FD, err = poll.Detach(conn); err != nil {
		return errors.Join(ErrTransport, err)
	}
	return nil
}
