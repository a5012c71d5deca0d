package swarm

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// patience is how long a test waits for an event that must come.
const patience = 20 * time.Second

// stub is a server of one symbol's book with the wire of depthcast, whose frames a
// test can spoil. Each step changes one bid.
type stub struct {
	t        *testing.T
	listener net.Listener
	done     sync.WaitGroup

	// spoil, if set, may change or drop a delta for one of the subscribers.
	spoil func(conn int, d *proto.Delta) (send bool)

	mu      sync.Mutex
	conns   []*stubConn
	all     int // connections ever
	resumes int // items with a resume
	seq     int64
	bids    []proto.Level
}

type stubConn struct {
	net    net.Conn
	index  int
	codec  proto.Codec
	topics map[uint32]bool
	mu     sync.Mutex
}

const stubEpoch = 77

var stubExponents = proto.Exponents{Price: -2, Qty: -3}

func newStub(t *testing.T, secure *tls.Config) *stub {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s := &stub{t: t, listener: l, seq: 100, bids: []proto.Level{{Price: 1000, Qty: 5}, {Price: 999, Qty: 7}}}
	s.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			_ = c.net.Close()
		}
		s.mu.Unlock()
		s.done.Wait()
	})
	return s
}

func (s *stub) url() string {
	scheme := "ws"
	if _, plain := s.listener.(*net.TCPListener); !plain {
		scheme = "wss"
	}
	return scheme + "://" + s.listener.Addr().String()
}

// serve answers one client until it goes.
func (s *stub) serve(nc net.Conn) {
	defer nc.Close()
	u := ws.Upgrader{Protocol: func(p []byte) bool { return len(p) > 0 }}
	hs, err := u.Upgrade(nc)
	if err != nil {
		return
	}
	c := &stubConn{net: nc, topics: map[uint32]bool{}}
	if hs.Protocol == proto.CodecJSON.Subprotocol() {
		c.codec = proto.CodecJSON
	}
	s.mu.Lock()
	c.index = s.all
	s.all++
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	c.frame(&pb.Frame{Body: &pb.Frame_Hello{Hello: &pb.Hello{Version: 1}}})
	for {
		msg, op, err := wsutil.ReadClientData(nc)
		if err != nil {
			return
		}
		if op.IsControl() {
			continue
		}
		req, err := c.codec.DecodeRequest(msg)
		if err != nil {
			s.t.Error(err)
			return
		}
		s.mu.Lock()
		s.obey(c, req)
		s.mu.Unlock()
	}
}

// topicOf numbers symbols "0", "1", … from 1.
func topicOf(symbol string) (topic uint32) {
	_, _ = fmt.Sscan(symbol, &topic)
	return topic + 1
}

// obey carries out a request. The caller holds mu.
func (s *stub) obey(c *stubConn, req *pb.Request) {
	switch body := req.Body.(type) {
	case *pb.Request_Subscribe:
		for i, item := range body.Subscribe.Items {
			topic := topicOf(item.Symbol)
			ack := &pb.Ack{Id: req.Id, Item: uint32(i), Topic: topic, Symbol: item.Symbol, Epoch: stubEpoch, State: pb.State_STATE_LIVE,
				PriceExponent: int32(stubExponents.Price), QtyExponent: int32(stubExponents.Qty)}
			if r := item.Resume; r != nil {
				s.resumes++
				ack.Resumed = r.Epoch == stubEpoch && r.Seq == s.seq && r.Hash == s.hash()
			}
			c.frame(&pb.Frame{Body: &pb.Frame_Ack{Ack: ack}})
			c.topics[topic] = true
			if !ack.Resumed {
				s.snapshot(c, topic, proto.Live)
			}
		}
	case *pb.Request_Unsubscribe:
		for i, topic := range body.Unsubscribe.Topics {
			delete(c.topics, topic)
			c.frame(&pb.Frame{Body: &pb.Frame_Ack{Ack: &pb.Ack{Id: req.Id, Item: uint32(i), Topic: topic, Ended: true}}})
		}
	case *pb.Request_Resync:
		for _, topic := range body.Resync.Topics {
			s.snapshot(c, topic, proto.Live)
		}
	}
}

func (s *stub) hash() uint32 { return proto.HashLevels(s.bids, nil) }

func (s *stub) snapshot(c *stubConn, topic uint32, state proto.State) {
	snapshot := proto.Snapshot{Symbol: fmt.Sprint(topic - 1), Epoch: stubEpoch, Seq: s.seq, State: state, Exponents: stubExponents, Bids: s.bids, Hash: s.hash()}
	c.write(c.codec.AppendSnapshot(nil, proto.TopicForm{Topic: topic}, proto.SnapshotInitial, &snapshot))
}

// step changes the book and tells all subscribers.
func (s *stub) step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bids[0].Qty++
	now := time.Now().UnixNano()
	delta := proto.Delta{PrevSeq: s.seq, Seq: s.seq + 3, Bids: []proto.Level{s.bids[0]}, Hash: s.hash(),
		Times: proto.Times{VenueFirst: now, Venue: now, Published: now}}
	s.seq += 3
	for _, c := range s.conns {
		for topic := range c.topics {
			d := delta
			if s.spoil == nil || s.spoil(c.index, &d) {
				c.write(c.codec.AppendDelta(nil, proto.TopicForm{Topic: topic, Exponents: stubExponents}, &d))
			}
		}
	}
}

// each calls f for every connection.
func (s *stub) each(f func(c *stubConn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		f(c)
	}
}

func (c *stubConn) frame(f *pb.Frame) {
	b, err := c.codec.AppendFrame(nil, f, proto.Exponents{})
	if err != nil {
		panic(err)
	}
	c.write(b)
}

// write sends a message; a client that has gone is of no interest.
func (c *stubConn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	op := ws.OpBinary
	if c.codec == proto.CodecJSON {
		op = ws.OpText
	}
	_ = wsutil.WriteServerMessage(c.net, op, b)
}

// rig is a swarm that has joined the stub.
func rig(t *testing.T, s *stub, change func(*Plan)) *Swarm {
	t.Helper()
	plan := Plan{URLs: []string{s.url()}, Symbols: []string{"0", "1", "2"}, PerConn: 2, Conns: 6, Verify: 3, Depth: 10, Insecure: true}
	if change != nil {
		change(&plan)
	}
	w, err := New(plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	begin(t, w, StepRamp)
	joined(t, w)
	return w
}

func begin(t *testing.T, w *Swarm, step Step) {
	t.Helper()
	if err := w.Begin(step); err != nil {
		t.Fatal(err)
	}
}

func joined(t *testing.T, w *Swarm) {
	t.Helper()
	select {
	case <-w.Joined():
	case err := <-w.Failed():
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatalf("not all joined: %+v", w.Take().Gauges)
	}
}

// until takes figures until they are enough.
func until(t *testing.T, w *Swarm, what string, enough func(*Figures) bool) (*Figures, []*Fault) {
	t.Helper()
	var sum Figures
	var faults []*Fault
	for deadline := time.Now().Add(patience); ; {
		sample := w.Take()
		sum.Add(&sample.Figures)
		faults = append(faults, sample.Faults...)
		if enough(&sum) {
			return &sum, faults
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen: %+v", what, sum)
		}
	}
}
