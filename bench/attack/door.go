package attack

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// slowly is how long a slowloris waits before each line.
const slowly = 500 * time.Millisecond

// slowloris takes a place where headers are read, for as long as it can.
func slowloris(ctx context.Context, a *attacker, n uint64) string {
	l, how := a.dial(ctx, n, 0)
	if how != "" {
		return how
	}
	defer l.leave()
	ended := make(chan string, 1)
	go func() { ended <- l.status() }()
	line := "GET /v1/stream HTTP/1.1\r\nHost: " + a.host + "\r\n"
	for tick := time.NewTicker(slowly); ; {
		if _, err := io.WriteString(l, line); err != nil {
			return <-ended
		}
		line = fmt.Sprintf("X-%d: %d\r\n", rand.Uint32(), rand.Uint32())
		select {
		case <-tick.C:
		case how := <-ended:
			return how
		}
	}
}

// handshakes has the server make a connection for nothing.
func handshakes(ctx context.Context, a *attacker, n uint64) string {
	l, how := a.upgraded(ctx, n, 0, "")
	if how != "" {
		return how
	}
	l.leave()
	return "101"
}

// connections keeps what it gets.
func connections(ctx context.Context, a *attacker, n uint64) string {
	l, how := a.upgraded(ctx, n, 0, "")
	if how != "" {
		return how
	}
	defer l.leave()
	return l.listen(nil)
}

// refusable asks for something that is refused at the door.
func refusable(ctx context.Context, a *attacker, n uint64) string {
	l, how := a.dial(ctx, n, 0)
	if how != "" {
		return how
	}
	defer l.leave()
	junk := fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
	plain := func(path, lines string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: " + a.host + "\r\nConnection: close\r\n" + lines + "\r\n"
	}
	requests := []string{
		a.header("/v1/stream", "Sec-WebSocket-Protocol: "+junk+"\r\n"),
		a.header("/v1/stream?token="+junk+"%0a%0dfake%20log%20line", subprotocol),
		plain("/v1/books/"+junk, ""),
		plain("/"+junk+"%0a", ""),
		plain("/v1/stream", ""),
		plain("/v1/poll?cursor="+junk, ""),
		plain("/v1/symbols", "Authorization: Bearer "+junk+"\r\n"),
		"GET /" + junk + " HTTP/9.9\r\n\r\n",
		junk + "\r\n\r\n",
	}
	return l.ask(requests[n%uint64(len(requests))])
}
