package attack

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/gobwas/ws"
)

// floodBytes is what is written at once.
const floodBytes = 64 << 10

// pings floods with pings. Every other one does not read the answers.
func pings(ctx context.Context, a *attacker, n uint64) string {
	l, how := a.upgraded(ctx, n, 0, "")
	if how != "" {
		return how
	}
	ping := frame(ws.OpPing, 0, bytes.Repeat([]byte{'p'}, ws.MaxControlFramePayloadSize))
	flood := bytes.Repeat(ping, floodBytes/len(ping))
	return l.speak(n%2 == 1, func() []byte { return flood })
}

// bytesOfText floods with messages as large as a client may send, almost.
func bytesOfText(ctx context.Context, a *attacker, n uint64) string {
	l, how := a.upgraded(ctx, n, 0, "")
	if how != "" {
		return how
	}
	message := frame(ws.OpText, 0, []byte(`{"type":"subscribe","id":1,"items":[{"symbol":"`+strings.Repeat("x", 60_000)+`"}]}`))
	return l.speak(false, func() []byte { return message })
}

// topics are the numbers of those that a connection has.
type topics struct {
	mu  sync.Mutex
	all map[string]bool
}

// heard takes an ack.
func (t *topics) heard(message []byte) {
	if !bytes.HasPrefix(message, []byte(`{"type":"ack"`)) {
		return
	}
	number := member(message, `"topic":`, `,`)
	t.mu.Lock()
	defer t.mu.Unlock()
	if bytes.Contains(message, []byte(`"ended":true`)) {
		delete(t.all, number)
	} else if len(t.all) < 10_000 {
		t.all[number] = true
	}
}

// list returns them as they stand in a request.
func (t *topics) list() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	for number := range t.all {
		if _, err := strconv.ParseUint(number, 10, 32); err == nil {
			all = append(all, number)
		}
	}
	return strings.Join(all, ",")
}

// wholeOf asks for the whole books of symbols.
func wholeOf(symbols []string) []byte {
	var items []string
	for _, s := range symbols {
		items = append(items, fmt.Sprintf(`{"symbol":%q}`, s))
	}
	return frame(ws.OpText, 0, []byte(`{"type":"subscribe","id":1,"items":[`+strings.Join(items, ",")+`]}`))
}

// churn subscribes and unsubscribes without a pause.
func churn(ctx context.Context, a *attacker, n uint64) string {
	return onTopics(ctx, a, n, "unsubscribe", true)
}

// onTopics asks for all topics, and then for something about them, again and again.
func onTopics(ctx context.Context, a *attacker, n uint64, what string, anew bool) string {
	l, how := a.upgraded(ctx, n, 0, "")
	if how != "" {
		return how
	}
	defer l.leave()
	had := topics{all: map[string]bool{}}
	ended := make(chan string, 1)
	go func() { ended <- l.listen(had.heard) }()
	subscribe := wholeOf(a.config.Symbols)
	if _, err := l.Write(subscribe); err != nil {
		return <-ended
	}
	for {
		var request []byte
		if list := had.list(); list != "" {
			request = frame(ws.OpText, 0, []byte(`{"type":"`+what+`","id":2,"topics":[`+list+`]}`))
		} else if !anew {
			request = frame(ws.OpText, 0, []byte(`{"type":"resync","id":2,"topics":[1]}`)) // of a topic that it does not have yet
		}
		if anew {
			request = append(request, subscribe...)
		}
		if _, err := l.Write(request); err != nil {
			return <-ended
		}
	}
}

// snapshots asks for what costs the server most for a few bytes: snapshots of all
// topics, or every other attacker whole books over plain HTTP.
func snapshots(ctx context.Context, a *attacker, n uint64) string {
	if n%2 == 0 {
		return onTopics(ctx, a, n, "resync", false)
	}
	l, how := a.dial(ctx, n, 0)
	if how != "" {
		return how
	}
	defer l.leave()
	symbol := a.config.Symbols[n/2%uint64(len(a.config.Symbols))]
	request := "GET /v1/books/" + symbol + " HTTP/1.1\r\nHost: " + a.host + "\r\n\r\n"
	for {
		how := l.ask(request)
		if how != "200" && how != "429" {
			return how
		}
		a.answer(how)
	}
}
