package swarm

import (
	"errors"
	"fmt"
	"time"

	"github.com/depthcast/depthcast/proto/pb"
)

// What follows drives other servers with the same loop, for comparison: they send
// depthcast's deltas by their own means, and no chain is checked.

const centrifugeSubprotocol = "centrifuge-protobuf"

// centrifugeConnect is centrifuge's Command{id: 1, connect: {}}, with its length.
var centrifugeConnect = []byte{4, 0x08, 1, 0x22, 0}

// foreign takes a message of another server.
func (l *link) foreign(payload []byte, size int) error {
	if len(payload) != size {
		return fmt.Errorf("%w: %d bytes", errMessage, size)
	}
	if l.swarm.plan.Dialect != Centrifuge {
		return l.plain(payload)
	}
	for w := (wire{b: payload}); len(w.b) > 0; {
		n, ok := w.varint()
		if !ok || n > uint64(len(w.b)) {
			return fmt.Errorf("%w: a reply of centrifuge", errMessage)
		}
		reply := w.b[:n]
		w.b = w.b[n:]
		if n == 0 {
			l.send(maskedFrame(l.opcode(), []byte{0})) // a ping, and its pong
			continue
		}
		if l.unsettled > 0 {
			l.unsettled = 0
			l.settled()
			continue
		}
		if data := publication(reply); data != nil {
			if err := l.plain(data); err != nil {
				return err
			}
		}
	}
	return l.going()
}

// publication returns Reply.push.pub.data of a reply; nil: it has none.
func publication(reply []byte) []byte {
	for _, number := range []uint64{4, 4, 4} { // Reply.push, Push.pub, Publication.data
		var inner []byte
		for w := (wire{b: reply}); len(w.b) > 0 && inner == nil; {
			n, _, b, ok := w.field()
			if !ok {
				return nil
			}
			if n == number {
				inner = b
			}
		}
		if inner == nil {
			return nil
		}
		reply = inner
	}
	return reply
}

// plain takes a delta that comes without anything around it.
func (l *link) plain(payload []byte) error {
	w := l.swarm
	if w.plan.Count {
		return l.counted(1)
	}
	if err := w.head.readProto(payload, len(payload)); err != nil {
		return err
	}
	w.figures.Deltas++
	l.delivered(&w.head, 0)
	return nil
}

// window is a time of closed loop: publish k messages, wait until every connection
// has them all, and again.
type window struct {
	k       int
	publish func(k int) error
	end     time.Time
	rounds  int
	ended   chan struct{}
}

// overdue is how long a round may take beyond its window.
const overdue = 20 * time.Second

// ErrOverdue ends a window in which a message did not reach every connection.
var ErrOverdue = errors.New("swarm: a message has not reached all connections")

// Window drives the closed loop for a time and returns how many rounds it had. The
// plan must have Count set, and every connection must have joined. publish is
// called on the loop.
func (w *Swarm) Window(k int, length time.Duration, publish func(k int) error) (int, error) {
	o := &window{k: k, publish: publish, ended: make(chan struct{})}
	w.post(func() { w.begin(o, length) })
	select {
	case <-o.ended:
		return o.rounds, nil
	case err := <-w.failed:
		return 0, err
	case <-time.After(length + overdue):
		return 0, fmt.Errorf("%w within %v", ErrOverdue, overdue)
	}
}

func (w *Swarm) begin(o *window, length time.Duration) {
	for _, l := range w.links {
		if l.deltas != w.links[0].deltas {
			w.give(errors.New("swarm: connections that had different numbers of messages"))
			return
		}
	}
	o.end = time.Now().Add(length)
	w.window, w.target = o, w.links[0].deltas
	if err := w.round(); err != nil {
		w.give(err)
	}
}

// round publishes, unless the window is over.
func (w *Swarm) round() error {
	o := w.window
	if !time.Now().Before(o.end) {
		w.window = nil
		close(o.ended)
		return nil
	}
	w.target += uint32(o.k)
	w.lacking = len(w.links)
	return o.publish(o.k)
}

// errTwice ends a closed loop that cannot go on.
var errTwice = errors.New("swarm: a message came twice, or that nobody has published")

// counted is told of deltas in a closed loop.
func (l *link) counted(n uint32) error {
	w := l.swarm
	w.figures.Deltas += uint64(n)
	l.deltas += n
	if w.window == nil {
		return nil
	}
	switch {
	case l.deltas == w.target:
		if w.lacking--; w.lacking == 0 {
			w.window.rounds++
			if err := w.round(); err != nil {
				w.give(err)
			}
		}
	case l.deltas > w.target:
		w.give(fmt.Errorf("%w (connection %d)", errTwice, l.index))
	}
	return nil
}

func unsubscribe(i int, topic uint32) *pb.Request {
	return &pb.Request{Id: unsubscribeID + uint32(i) + 1, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{topic}}}}
}
