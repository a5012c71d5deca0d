package swarm

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxHandshakeBytes bounds a server's answer to the upgrade.
const maxHandshakeBytes = 16 << 10

// refusal is an answer to a handshake other than the upgrade.
type refusal struct {
	status int
	after  time.Duration // Retry-After; 0: not given
}

func (r *refusal) Error() string { return fmt.Sprintf("swarm: handshake refused: %d", r.status) }

// newKey returns a Sec-WebSocket-Key (RFC 6455 section 4.1).
func newKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// acceptOf is the answer to a key (RFC 6455 section 4.2.2).
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// upgradeRequest asks for a WebSocket; subprotocol may be empty.
func upgradeRequest(t *target, key, subprotocol string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", t.path, t.host, key)
	if subprotocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", subprotocol)
	}
	if t.token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", t.token)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// answer judges what has come of the server's answer. size is that of its header;
// 0: it is incomplete.
func answer(b []byte, key, subprotocol string) (size int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxHandshakeBytes {
			return 0, fmt.Errorf("%w: the answer to the handshake is over %d bytes", errFrame, maxHandshakeBytes)
		}
		return 0, nil
	}
	size = end + 4
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b[:size])), nil)
	if err != nil {
		return size, fmt.Errorf("%w: %w", errFrame, err)
	}
	_ = r.Body.Close() // nothing was read of it
	if r.StatusCode != http.StatusSwitchingProtocols {
		seconds, _ := strconv.ParseUint(r.Header.Get("Retry-After"), 10, 16) // 0: none, or a date
		return size, &refusal{status: r.StatusCode, after: time.Duration(seconds) * time.Second}
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-WebSocket-Accept") != acceptOf(key) {
		return size, fmt.Errorf("%w: the upgrade has a wrong Upgrade or Sec-WebSocket-Accept", errFrame)
	}
	if got := r.Header.Get("Sec-WebSocket-Protocol"); got != subprotocol {
		return size, fmt.Errorf("%w: subprotocol %q instead of %q", errFrame, got, subprotocol)
	}
	return size, nil
}
