package main

import (
	"net"
	"net/http"
	"sync"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// nbio is epoll without a goroutine per connection, as in nbio's own examples:
// https://github.com/lesismal/nbio-examples/tree/master/websocket
type nbio struct {
	mu    sync.Mutex
	conns map[*websocket.Conn]struct{}
}

func newNbio(l net.Listener) (peer, error) {
	n := &nbio{conns: make(map[*websocket.Conn]struct{})}
	logging.SetLevel(logging.LevelNone) // it writes to the standard output
	u := websocket.NewUpgrader()
	u.CheckOrigin = func(*http.Request) bool { return true }
	u.OnOpen(func(c *websocket.Conn) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.conns[c] = struct{}{}
	})
	u.OnClose(func(c *websocket.Conn, _ error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.conns, c)
	})
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp", Addrs: []string{l.Addr().String()}, MaxLoad: 1_000_000,
		Listen: func(string, string) (net.Listener, error) { return l, nil },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = u.Upgrade(w, r, nil) // it has answered by itself
		}),
	})
	return n, engine.Start()
}

func (n *nbio) broadcast(payload []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if err := c.WriteMessage(websocket.BinaryMessage, payload); err != nil {
			delete(n.conns, c)
			_ = c.Close()
		}
	}
	return nil
}
