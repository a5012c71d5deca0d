package main

import (
	"net"
	"net/http"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// gobwas has a goroutine per connection that reads; the frame is compiled once and
// written to one connection after the other.
type gobwas struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func newGobwas(l net.Listener) (peer, error) {
	g := &gobwas{conns: make(map[net.Conn]struct{})}
	serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		g.mu.Lock()
		g.conns[conn] = struct{}{}
		g.mu.Unlock()
		go g.read(conn)
	}))
	return g, nil
}

func (g *gobwas) read(conn net.Conn) {
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.conns, conn)
		_ = conn.Close()
	}()
	for {
		if _, _, err := wsutil.ReadClientData(conn); err != nil {
			return
		}
	}
}

func (g *gobwas) broadcast(payload []byte) error {
	frame, err := ws.CompileFrame(ws.NewBinaryFrame(payload))
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.conns {
		if _, err := conn.Write(frame); err != nil {
			delete(g.conns, conn)
			_ = conn.Close()
		}
	}
	return nil
}
