package main

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// coder is the chat example of coder/websocket:
// https://github.com/coder/websocket/tree/master/internal/examples/chat
type coder struct {
	mu    sync.Mutex
	conns map[chan []byte]struct{}
}

func newCoder(l net.Listener) (peer, error) {
	s := &coder{conns: make(map[chan []byte]struct{})}
	serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		s.subscribe(c.CloseRead(context.Background()), c)
	}))
	return s, nil
}

// subscribe writes what comes for c until it fails.
func (s *coder) subscribe(ctx context.Context, c *websocket.Conn) {
	messages := make(chan []byte, waiting)
	s.mu.Lock()
	s.conns[messages] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, messages)
	}()
	for {
		select {
		case m, open := <-messages:
			if !open {
				return
			}
			within, cancel := context.WithTimeout(ctx, 20*time.Second)
			err := c.Write(within, websocket.MessageBinary, m)
			cancel()
			if err != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (s *coder) broadcast(payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for messages := range s.conns {
		select {
		case messages <- payload:
		default:
			delete(s.conns, messages)
			close(messages)
		}
	}
	return nil
}
