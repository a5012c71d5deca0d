package main

import (
	"net"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// gorilla is the hub of gorilla's chat example, with messages prepared once:
// https://github.com/gorilla/websocket/tree/main/examples/chat
type gorilla struct {
	mu    sync.Mutex
	conns map[*gorillaConn]struct{}
}

type gorillaConn struct {
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
}

func newGorilla(l net.Listener) (peer, error) {
	g := &gorilla{conns: make(map[*gorillaConn]struct{})}
	u := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, CheckOrigin: func(*http.Request) bool { return true }}
	serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &gorillaConn{conn: conn, send: make(chan *websocket.PreparedMessage, waiting)}
		g.mu.Lock()
		g.conns[c] = struct{}{}
		g.mu.Unlock()
		go g.write(c)
		go g.read(c)
	}))
	return g, nil
}

func (g *gorilla) read(c *gorillaConn) {
	defer g.drop(c)
	for {
		if _, _, err := c.conn.ReadMessage(); err != nil {
			return
		}
	}
}

func (g *gorilla) write(c *gorillaConn) {
	defer c.conn.Close()
	for message := range c.send {
		if err := c.conn.WritePreparedMessage(message); err != nil {
			return
		}
	}
}

func (g *gorilla) drop(c *gorillaConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, there := g.conns[c]; there {
		delete(g.conns, c)
		close(c.send)
	}
}

func (g *gorilla) broadcast(payload []byte) error {
	message, err := websocket.NewPreparedMessage(websocket.BinaryMessage, payload)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.conns {
		select {
		case c.send <- message:
		default:
			delete(g.conns, c)
			close(c.send)
		}
	}
	return nil
}
