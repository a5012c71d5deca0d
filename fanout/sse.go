package fanout

import (
	"bytes"
	"net/http"
	"time"

	"github.com/depthcast/depthcast/proto"
)

// eventsHeader begins an event stream on a connection that is taken over. Its end is
// that of the connection, which HTTP/1.0 knows as well.
const eventsHeader = "HTTP/1.1 200 OK\r\n" +
	"Content-Type: " + typeEvents + "\r\n" +
	"Cache-Control: no-store\r\n" +
	"X-Content-Type-Options: nosniff\r\n" +
	"X-Accel-Buffering: no\r\n" + // nginx: hand each event on at once
	"Connection: close\r\n"

// serveEvents begins a stream of Server-Sent Events: the frames of the JSON protocol,
// each the data of an event. Over HTTP/1.1 the connection goes to a shard, as a
// WebSocket's does; otherwise it is relayed.
func (h *Hub) serveEvents(w http.ResponseWriter, r *http.Request) {
	token := r.URL.Query().Get("resume")
	if last := r.Header.Get("Last-Event-Id"); last != "" {
		token = last // newer: a browser sends it when it comes back to the same URL
	}
	ask, err := asked(r, token)
	switch {
	case err != nil:
		httpError(w, http.StatusBadRequest, "bad_request", err.Error())
		return
	case r.Method == http.MethodHead:
		h.serveHead(w, r, typeEvents)
		return
	}
	grant, err := h.enter(r)
	if !letIn(w, err) {
		return
	}
	e := &eventStream{ask: ask}
	if r.ProtoMajor == 1 {
		address, err := h.occupy(clientOf(r))
		if err != nil {
			h.users.leave(grant)
			letIn(w, err)
			return
		}
		a := Accepted{Codec: proto.CodecJSON, Remote: r.RemoteAddr, events: e, grant: grant, counted: true, address: address}
		if h.handOver(w, a) {
			return
		}
	}
	h.relayEvents(w, r, e, grant)
}

// serveHead answers HEAD where GET begins a stream, or a poll: it begins nothing.
func (h *Hub) serveHead(w http.ResponseWriter, r *http.Request, contentType string) {
	if _, ok := h.entitled(w, r); ok {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-store")
	}
}

// handOver gives the connection of w, for which a has a place, to a shard. false: it
// cannot be taken over.
func (h *Hub) handOver(w http.ResponseWriter, a Accepted) bool {
	handed := false
	defer func() {
		if !handed {
			h.left(a.address)
		}
	}()
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	header := []byte(eventsHeader)
	for name, values := range w.Header() { // what stands before this handler may have said something
		for _, v := range values {
			header = append(header, name+": "+v+"\r\n"...)
		}
	}
	_ = conn.SetWriteDeadline(time.Now().Add(handshakeWrite)) // a connection that cannot be written to fails below
	if _, err := conn.Write(append(header, "\r\n"...)); err != nil {
		_ = conn.Close()
		h.users.leave(a.grant)
		h.stats.HandshakesFailed.Add(1)
		return true
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // no more than there is
	a.Buffered = bytes.Clone(early)
	if err := a.take(conn, h.config.Sockets); err != nil {
		h.users.leave(a.grant)
		h.stats.HandshakesFailed.Add(1)
		return true
	}
	handed = true
	_ = h.Accept(a) // it has closed the connection where it refuses
	return true
}

func (h *Hub) relayEvents(w http.ResponseWriter, r *http.Request, e *eventStream, grant *Grant) {
	l, err := h.openRelay(r, e, grant)
	if !letIn(w, err) {
		return
	}
	defer l.close()
	defer relayBegins(r)()
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the request is over, its answer is not
	header := w.Header()
	header.Set("Content-Type", typeEvents)
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	l.copyTo(w)
}
