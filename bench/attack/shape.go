package attack

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"strings"
	"sync"

	"github.com/gobwas/ws"
)

// bigFrame announces more than anybody has memory for; every other attacker a header
// of a request.
func bigFrame(ctx context.Context, a *attacker, n uint64) string {
	if n%2 == 1 {
		l, how := a.dial(ctx, n, 0)
		if how != "" {
			return how
		}
		defer l.leave()
		return l.ask(a.header("/v1/stream", "X-Big: "+strings.Repeat("x", 1<<20)+"\r\n"))
	}
	l, how := a.upgraded(ctx, n, 0, "")
	if how != "" {
		return how
	}
	var b bytes.Buffer
	_ = ws.WriteHeader(&b, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: 1 << 40}) // a buffer takes everything
	b.Write(make([]byte, 4096))
	return l.speak(false, b.Bytes)
}

// bombBytes is what a bomb becomes, inflated: a thousand times what it is.
const bombBytes = 64 << 20

// bombFrame is made once, as it is always the same.
var bombFrame = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // the level is one
	part := bytes.Repeat([]byte{' '}, 1<<20)
	for range bombBytes / len(part) {
		_, _ = w.Write(part) // a buffer takes everything
	}
	_ = w.Flush()
	// RFC 7692 section 7.2.1: the end of a flush is left out.
	return frame(ws.OpText, ws.Rsv(true, false, false), bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff}))
})

// bomb sends a small message that becomes a large one.
func bomb(ctx context.Context, a *attacker, n uint64) string {
	l, how := a.upgraded(ctx, n, 0, "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n")
	if how != "" {
		return how
	}
	return l.speak(false, bombFrame)
}

// garbage sends what is neither HTTP nor WebSocket.
func garbage(ctx context.Context, a *attacker, n uint64) string {
	junk := make([]byte, 512)
	_, _ = rand.Read(junk) // never fails
	if n%5 == 0 {
		l, how := a.dial(ctx, n, 0)
		if how != "" {
			return how
		}
		defer l.leave()
		return l.ask(string(junk) + "\r\n\r\n")
	}
	l, how := a.upgraded(ctx, n, 0, "")
	if how != "" {
		return how
	}
	unmasked := frame(ws.OpText, 0, junk)
	unmasked[1] &^= 0x80
	bytes := [...][]byte{
		unmasked,
		frame(ws.OpCode(3+n%5), 0, junk[:8]), // reserved
		frame(ws.OpClose, 0, []byte{0x03, 0xed}),
		frame(ws.OpText, 0, append([]byte{0xff}, junk...)),
	}[n%4]
	return l.speak(false, func() []byte { return bytes })
}

// stallBuffer is the receive buffer of who does not read: the smaller, the sooner the
// server has to hold what it sends.
const stallBuffer = 4096

// stall subscribes to everything, reads nothing, and goes on asking for snapshots.
func stall(ctx context.Context, a *attacker, n uint64) string {
	l, how := a.upgraded(ctx, n, stallBuffer, "")
	if how != "" {
		return how
	}
	defer l.leave()
	if _, err := l.Write(wholeOf(a.config.Symbols)); err != nil {
		return a.ending(ctx, err)
	}
	return l.dies()
}
