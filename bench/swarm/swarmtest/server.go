// Package swarmtest is a server with the wire of depthcast for the tests of the
// bench. It can be told to send what is wrong.
package swarmtest

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// Server is a server of one symbol's book with the wire of depthcast, whose frames a
// test can spoil. Each step changes one bid.
type Server struct {
	t        testing.TB
	listener net.Listener
	done     sync.WaitGroup

	// Guarded by Mu. Behind has it answer whoever resumes as a server that has seen
	// less.
	Behind bool
	// Guarded by Mu. Refuse, if set, may answer an item with an error.
	Refuse func(item *pb.SubscribeItem) *pb.Error
	// Spoil, if set, may change or drop a delta for one of the subscribers.
	Spoil func(conn int, d *proto.Delta) (send bool)

	Mu      sync.Mutex
	Shown   map[string]int // handshakes by their header Authorization
	conns   []*Conn
	all     int // connections ever
	resumes int // items with a resume
	ended   bool
	Seq     int64
	bids    []proto.Level
}

// Conn is a client of it.
type Conn struct {
	Net    net.Conn
	Index  int
	Codec  proto.Codec
	Topics map[uint32]bool

	authorization string // header of the handshake
	mu            sync.Mutex
}

// Epoch and Exponents are those of all its books.
const Epoch = 77

// Exponents of all books.
var Exponents = proto.Exponents{Price: -2, Qty: -3}

// New starts a server, with TLS if secure is set, which ends with the test.
func New(t testing.TB, secure *tls.Config) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	s := &Server{t: t, listener: l, Shown: map[string]int{}, Seq: 100, bids: []proto.Level{{Price: 1000, Qty: 5}, {Price: 999, Qty: 7}}}
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
		s.Mu.Lock()
		s.ended = true
		for _, c := range s.conns {
			_ = c.Net.Close()
		}
		s.Mu.Unlock()
		s.done.Wait()
	})
	return s
}

// URL is where clients connect.
func (s *Server) URL() string {
	scheme := "ws"
	if _, plain := s.listener.(*net.TCPListener); !plain {
		scheme = "wss"
	}
	return scheme + "://" + s.listener.Addr().String()
}

// serve answers one client until it goes.
func (s *Server) serve(nc net.Conn) {
	defer nc.Close()
	c := &Conn{Net: nc, Topics: map[uint32]bool{}}
	u := ws.Upgrader{Protocol: func(p []byte) bool { return len(p) > 0 }, OnHeader: func(key, value []byte) error {
		if string(key) == "Authorization" {
			c.authorization = string(value)
		}
		return nil
	}}
	hs, err := u.Upgrade(nc)
	if err != nil {
		return
	}
	if hs.Protocol == proto.CodecJSON.Subprotocol() {
		c.Codec = proto.CodecJSON
	}
	if !s.admit(c) {
		return
	}
	defer s.dismiss(c)
	c.Frame(&pb.Frame{Body: &pb.Frame_Hello{Hello: &pb.Hello{Version: 1}}})
	for {
		msg, op, err := wsutil.ReadClientData(nc)
		if err != nil {
			return
		}
		if op.IsControl() {
			continue
		}
		req, err := c.Codec.DecodeRequest(msg)
		if err != nil {
			s.t.Error(err)
			return
		}
		s.Mu.Lock()
		s.obey(c, req)
		s.Mu.Unlock()
	}
}

// admit takes in a client, unless the test is over.
func (s *Server) admit(c *Conn) bool {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if s.ended {
		return false
	}
	s.Shown[c.authorization]++
	c.Index = s.all
	s.all++
	s.conns = append(s.conns, c)
	return true
}

// dismiss forgets a client that has gone.
func (s *Server) dismiss(c *Conn) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.conns = slices.DeleteFunc(s.conns, func(o *Conn) bool { return o == c })
}

// topicOf numbers symbols "0", "1", … from 1.
func topicOf(symbol string) (topic uint32) {
	_, _ = fmt.Sscan(symbol, &topic)
	return topic + 1
}

// obey carries out a request. The caller holds Mu.
func (s *Server) obey(c *Conn, req *pb.Request) {
	switch body := req.Body.(type) {
	case *pb.Request_Subscribe:
		for i, item := range body.Subscribe.Items {
			if s.Refuse != nil {
				if e := s.Refuse(item); e != nil {
					e.Id, e.Item = req.Id, proto32(i)
					c.Frame(&pb.Frame{Body: &pb.Frame_Error{Error: e}})
					continue
				}
			}
			topic := topicOf(item.Symbol)
			ack := &pb.Ack{Id: req.Id, Item: uint32(i), Topic: topic, Symbol: item.Symbol, Epoch: Epoch, State: pb.State_STATE_LIVE,
				PriceExponent: int32(Exponents.Price), QtyExponent: int32(Exponents.Qty)}
			if r := item.Resume; r != nil {
				s.resumes++
				ack.Resumed = r.Epoch == Epoch && r.Seq == s.Seq && r.Hash == s.Hash()
			}
			behind := s.Behind && ack.Resumed
			if behind {
				ack.Resumed, ack.State, ack.Reason = false, pb.State_STATE_STALE, pb.Reason_REASON_BEHIND
			}
			c.Frame(&pb.Frame{Body: &pb.Frame_Ack{Ack: ack}})
			c.Topics[topic] = true
			if !ack.Resumed && !behind {
				s.snapshot(c, topic, proto.Live)
			}
		}
	case *pb.Request_Unsubscribe:
		for i, topic := range body.Unsubscribe.Topics {
			delete(c.Topics, topic)
			c.Frame(&pb.Frame{Body: &pb.Frame_Ack{Ack: &pb.Ack{Id: req.Id, Item: uint32(i), Topic: topic, Ended: true}}})
		}
	case *pb.Request_Resync:
		for _, topic := range body.Resync.Topics {
			s.snapshot(c, topic, proto.Live)
		}
	}
}

func proto32(i int) *uint32 {
	n := uint32(i)
	return &n
}

// Hash is that of the book. The caller holds Mu.
func (s *Server) Hash() uint32 { return proto.HashLevels(s.bids, nil) }

func (s *Server) snapshot(c *Conn, topic uint32, state proto.State) {
	snapshot := proto.Snapshot{Symbol: fmt.Sprint(topic - 1), Epoch: Epoch, Seq: s.Seq, State: state, Exponents: Exponents, Bids: s.bids, Hash: s.Hash()}
	c.Write(c.Codec.AppendSnapshot(nil, proto.TopicForm{Topic: topic}, proto.SnapshotInitial, &snapshot))
}

// Step changes the book and tells all subscribers.
func (s *Server) Step() {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	s.bids[0].Qty++
	now := time.Now().UnixNano()
	delta := proto.Delta{PrevSeq: s.Seq, Seq: s.Seq + 3, Bids: []proto.Level{s.bids[0]}, Hash: s.Hash(),
		Times: proto.Times{VenueFirst: now, Venue: now, Published: now}}
	s.Seq += 3
	for _, c := range s.conns {
		for topic := range c.Topics {
			d := delta
			if s.Spoil == nil || s.Spoil(c.Index, &d) {
				c.Write(c.Codec.AppendDelta(nil, proto.TopicForm{Topic: topic, Exponents: Exponents}, &d))
			}
		}
	}
}

// Each calls f for every connection.
func (s *Server) Each(f func(c *Conn)) {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	for _, c := range s.conns {
		f(c)
	}
}

// Frame sends a frame.
func (c *Conn) Frame(f *pb.Frame) {
	b, err := c.Codec.AppendFrame(nil, f, proto.Exponents{})
	if err != nil {
		panic(err)
	}
	c.Write(b)
}

// takenWithin is how long a client may take nothing: longer than any that is read
// now and then, shorter than a test.
const takenWithin = 20 * time.Second

// Write sends a message. A client that has gone is of no interest, one that takes
// nothing is left: what holds Mu writes to all.
func (c *Conn) Write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	op := ws.OpBinary
	if c.Codec == proto.CodecJSON {
		op = ws.OpText
	}
	_ = c.Net.SetWriteDeadline(time.Now().Add(takenWithin)) // fails when the write does
	if err := wsutil.WriteServerMessage(c.Net, op, b); err != nil {
		_ = c.Net.Close()
	}
}
