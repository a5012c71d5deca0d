package client

import (
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// bidOf returns the quantity of the fake server's one level.
func bidOf(s *Subscription) int64 { return s.Book().Qty(proto.Bid, 10000) }

func TestSnapshotAndDeltasMakeTheBook(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A", Depth: 10, Interval: 250 * time.Millisecond, Group: "0.5", Counts: true})
		wait := script(func() {
			p := s.greet()
			id, items := p.subscribe(1)
			if i := items[0]; i.Symbol != "SIM:A" || i.Depth != 10 || i.IntervalMs != 250 || i.Group != "0.5" || !i.Counts ||
				i.Channel != pb.Channel_CHANNEL_BOOK || i.Resume != nil {
				t.Errorf("asked for %v", i)
			}
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 1500)
			p.delta(7, 4, 11, 2500, 0)
			p.delta(7, 4, 11, 9999, 0) // ends at mine: ignored
			p.delta(99, 4, 12, 1, 0)   // nobody's
			p.frame(&pb.Frame{Body: &pb.Frame_Keepalive{Keepalive: &pb.Keepalive{Topic: 7, Seq: 20, Hash: bidHash(2500)}}})
			p.frame(&pb.Frame{Body: &pb.Frame_Status{Status: &pb.Status{
				Topic: 7, Seq: 20, State: pb.State_STATE_STALE, Reason: pb.Reason_REASON_SOURCE_SILENT, Phase: pb.Phase_PHASE_HALTED}}})
			p.closed()
		})
		var got []string
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *Connected:
				got = append(got, fmt.Sprint("hello ", e.Hello.GetVersion()))
			case *Granted:
				got = append(got, fmt.Sprint("granted ", e.Ack.GetTopic(), " ", proto.StateWord(sub.Book().State())))
			case *BookSet:
				got = append(got, fmt.Sprint("set ", bidOf(e.Sub), " ", proto.StateWord(e.Book.State()), " ", e.Book.Exponents()))
			case *BookChanged:
				got = append(got, fmt.Sprint("changed ", bidOf(e.Sub), " ", e.Delta.Bids))
			case *Alive:
				got = append(got, fmt.Sprint("alive ", sub.Book().Seq()))
			case *StatusChanged:
				got = append(got, fmt.Sprint(proto.StateWord(sub.Book().State()), " ", proto.ReasonWord(sub.Book().Reason()), " ", proto.PhaseWord(sub.Book().Phase())))
				return true
			default:
				got = append(got, fmt.Sprintf("%T", e))
			}
			return false
		})
		wait()
		want := "[hello 1 granted 7 recovering set 1500 live {-2 -3} changed 2500 [{10000 2500 0}] alive 20 stale source_silent halted]"
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("err %v\n got %v\nwant %v", err, got, want)
		}
		if sub.Book().State() != proto.Stale || sub.Book().Epoch() != testEpoch {
			t.Errorf("after the loop: state %d, epoch %x", sub.Book().State(), sub.Book().Epoch())
		}
	})
}

func TestGapAsksForOneResyncAndAgainOnlyAfterTheTimeout(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, func(c *Config) { c.ResyncTimeout = 20 * time.Millisecond })
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 1)
			p.delta(7, 12, 13, 2, 0)
			p.delta(7, 13, 14, 3, 0) // also out of reach: no second request
			for range 2 {
				if r := p.request(); len(r.GetResync().GetTopics()) != 1 || r.GetResync().Topics[0] != 7 {
					t.Errorf("got %v, want a resync of topic 7", r)
				}
			}
			p.snapshot(7, 14, 3)
			p.delta(7, 14, 15, 4, 0)
			p.closed()
		})
		lost := 0
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *BookLost:
				lost++
				if e.Sub != sub || e.Cause != Gap || e.Attempt != lost || sub.Book().State() != proto.Recovering {
					t.Errorf("event %+v, state %d", e, sub.Book().State())
				}
			case *BookChanged:
				return true
			}
			return false
		})
		wait()
		// The time-out may pass once more before the snapshot arrives.
		if err != nil || lost < 2 || bidOf(sub) != 4 {
			t.Errorf("err %v, lost %d times, bid %d", err, lost, bidOf(sub))
		}
	})
}

func TestMismatchIsReportedWithTheHashOfTheClient(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 1)
			p.delta(7, 10, 11, 2, 1) // hash off by one
			if m := p.request().GetMismatch(); m.GetTopic() != 7 || m.GetSeq() != 11 || m.GetHash() != bidHash(2) {
				t.Errorf("reported %v, want topic 7, seq 11, hash %08x", m, bidHash(2))
			}
			p.delta(7, 11, 12, 5, 0) // ignored until the snapshot
			p.snapshot(7, 12, 6)
			p.closed()
		})
		var lost *BookLost
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *BookLost:
				lost = e
			case *BookChanged:
				t.Error("a delta was applied to a void book")
			case *BookSet:
				return lost != nil
			}
			return false
		})
		wait()
		if err != nil || lost.Cause != Mismatch || bidOf(sub) != 6 {
			t.Errorf("err %v, lost %+v, bid %d", err, lost, bidOf(sub))
		}
	})
}

func TestReconnectResumesWhereItStood(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 1)
			p.delta(7, 10, 11, 2, 0)
			p.net.Close()

			p = s.greet()
			id, items := p.subscribe(1)
			if r := items[0].Resume; r.GetEpoch() != testEpoch || r.GetSeq() != 11 || r.GetHash() != bidHash(2) {
				t.Errorf("resumes with %v, want epoch %x, seq 11, hash %08x", r, testEpoch, bidHash(2))
			}
			p.ack(id, 0, 31, func(a *pb.Ack) { a.Resumed = true }) // another process: another number
			p.delta(31, 9, 15, 3, 0)
			p.net.Close()

			// A book that is void has nothing to resume from.
			p = s.greet()
			id, _ = p.subscribe(1)
			p.ack(id, 0, 7, nil) // not resumed
			p.net.Close()

			p = s.greet()
			id, items = p.subscribe(1)
			if items[0].Resume != nil {
				t.Errorf("a void book resumes with %v", items[0].Resume)
			}
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 20, 4)
			p.closed()
		})
		sets, offline := 0, 0
		err := loop(t, c, func(event Event) bool {
			switch event.(type) {
			case *Disconnected:
				offline++
				if sub.Book().State() == proto.Live {
					t.Error("a book is live without a connection")
				}
			case *BookChanged:
				if sub.Book().State() != proto.Live {
					t.Error("a resumed book is not live")
				}
			case *BookSet:
				sets++
			}
			return sets == 2
		})
		wait()
		if err != nil || offline != 3 || bidOf(sub) != 4 {
			t.Errorf("err %v, offline %d times, bid %d", err, offline, bidOf(sub))
		}
	})
}

func TestRefusalsOfSingleItemsAreTheirOwn(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		unknown := mustSubscribe(t, c, Item{Symbol: "SIM:X"})
		early := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		limited := mustSubscribe(t, c, Item{Symbol: "SIM:B"}) // in a request of its own: hello grants two items
		wait := script(func() {
			p := s.greet()
			first, _ := p.subscribe(2)
			second, _ := p.subscribe(1)
			p.refuse(first, 0, pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, pb.Retry_RETRY_NEVER, 0)
			p.refuse(first, 1, pb.ErrorCode_ERROR_CODE_NOT_READY, pb.Retry_RETRY_AFTER, 1)
			id, items := p.subscribe(1)
			if items[0].Symbol != "SIM:A" {
				t.Errorf("asked again for %v", items)
			}
			p.ack(id, 0, 1, nil)
			p.snapshot(1, 10, 1)
			p.refuse(second, 0, pb.ErrorCode_ERROR_CODE_RATE_LIMITED, pb.Retry_RETRY_AFTER, 1)
			id, _ = p.subscribe(1)
			p.ack(id, 0, 2, func(a *pb.Ack) { a.Symbol = "SIM:B" })
			p.snapshot(2, 10, 2)
			p.closed()
		})
		var refused []string
		err := loop(t, c, func(event Event) bool {
			if e, ok := event.(*Refused); ok {
				refused = append(refused, fmt.Sprint(e.Sub.Item().Symbol, " ", proto.ErrorCodeWord(e.Error.GetCode()), " ", e.RetryIn))
			}
			e, ok := event.(*BookSet)
			return ok && e.Sub == limited
		})
		wait()
		want := "[SIM:X unknown_symbol -1ns SIM:A not_ready 1ms SIM:B rate_limited 1ms]"
		if err != nil || fmt.Sprint(refused) != want {
			t.Errorf("err %v\n got %v\nwant %v", err, refused, want)
		}
		var reason *RefusedError
		if !unknown.Ended() || !errors.As(unknown.Err(), &reason) || reason.Code != pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL {
			t.Errorf("ended %t: %v", unknown.Ended(), unknown.Err())
		}
		if early.Ended() || early.Err() != nil || bidOf(early) != 1 || bidOf(limited) != 2 {
			t.Error("one refusal harmed others")
		}
	})
}

func TestFinalStatusEndsTheSubscription(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 1)
			p.frame(&pb.Frame{Body: &pb.Frame_Status{Status: &pb.Status{
				Topic: 7, Seq: 11, State: pb.State_STATE_LIVE, Reason: pb.Reason_REASON_RENAMED, Final: true, NewSymbol: "SIM:NEW"}}})
			id, items := p.subscribe(1)
			if items[0].Symbol != "SIM:NEW" {
				t.Errorf("asked for %v", items)
			}
			p.ack(id, 0, 8, func(a *pb.Ack) { a.Symbol = "SIM:NEW" })
			p.closed()
		})
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *StatusChanged:
				if !e.Status.Final || !sub.Ended() || !errors.Is(sub.Err(), ErrFinal) || sub.Book().State() == proto.Live {
					t.Errorf("status %+v, ended %t: %v", e.Status, sub.Ended(), sub.Err())
				}
				mustSubscribe(t, c, Item{Symbol: e.Status.NewSymbol}) // from the body of the loop
			case *Granted:
				return e.Sub != sub
			}
			return false
		})
		wait()
		if err != nil {
			t.Error(err)
		}
	})
}

func TestUnsubscribedTopicIsNotHeardOfAgain(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		gone := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		stays := mustSubscribe(t, c, Item{Symbol: "SIM:B"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(2)
			p.ack(id, 0, 7, nil)
			p.ack(id, 1, 8, func(a *pb.Ack) { a.Symbol = "SIM:B" })
			p.snapshot(7, 10, 1)
			req := p.request()
			if topics := req.GetUnsubscribe().GetTopics(); len(topics) != 1 || topics[0] != 7 {
				t.Errorf("got %v, want an unsubscribe of topic 7", req)
			}
			p.delta(7, 10, 11, 2, 0) // was on its way
			p.ack(req.Id, 0, 7, func(a *pb.Ack) { a.Ended = true })
			p.snapshot(8, 10, 5)
			p.net.Close()
			p = s.greet()
			id, items := p.subscribe(1) // and not asked for again
			if items[0].Symbol != "SIM:B" {
				t.Errorf("asked again for %v", items)
			}
			p.ack(id, 0, 8, func(a *pb.Ack) { a.Resumed = true })
			p.closed()
		})
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *BookSet:
				if e.Sub == gone {
					c.Unsubscribe(gone)
				}
			case *BookChanged:
				t.Errorf("a change of %s", e.Sub.Item().Symbol)
			case *Granted:
				return e.Ack.GetResumed()
			}
			return false
		})
		wait()
		if err != nil || !gone.Ended() || gone.Err() != nil || bidOf(stays) != 5 {
			t.Errorf("err %v; ended %t: %v; the other's bid %d", err, gone.Ended(), gone.Err(), bidOf(stays))
		}
	})
}

func TestDrainedServerIsLeftAfterTheDelayItGives(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, func(c *Config) { c.BackoffMin, c.BackoffMax = time.Hour, time.Hour }) // not to be waited for
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 1)
			p.frame(&pb.Frame{Body: &pb.Frame_Drain{Drain: &pb.Drain{DeadlineMs: 60_000, ReconnectAfterMs: 30}}})
			p.delta(7, 10, 11, 2, 0) // still served
			p.closed()
			p = s.greet()
			id, _ = p.subscribe(1)
			p.ack(id, 0, 7, func(a *pb.Ack) { a.Resumed = true })
			p.closed()
		})
		var got []string
		err := loop(t, c, func(event Event) bool {
			switch e := event.(type) {
			case *Draining:
				got = append(got, fmt.Sprint("draining ", e.RetryIn))
			case *BookChanged:
				got = append(got, "changed")
			case *Disconnected:
				got = append(got, fmt.Sprint("left ", errors.Is(e.Err, ErrDrained)))
			case *Granted:
				got = append(got, fmt.Sprint("granted ", e.Ack.GetResumed()))
			}
			return len(got) == 5
		})
		wait()
		want := "[granted false draining 30ms changed left true granted true]"
		if err != nil || fmt.Sprint(got) != want || bidOf(sub) != 2 {
			t.Errorf("err %v\n got %v\nwant %v", err, got, want)
		}
	})
}

func TestPingsAreAnsweredAndFragmentsJoined(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, nil)
		sub := mustSubscribe(t, c, Item{Symbol: "SIM:A"})
		wait := script(func() {
			p := s.greet()
			id, _ := p.subscribe(1)
			p.ack(id, 0, 7, nil)
			p.snapshot(7, 10, 1)
			// A message in two fragments with a ping between them.
			message := p.codec.AppendDelta(nil, proto.TopicForm{Topic: 7, Exponents: testExponents}, &proto.Delta{
				PrevSeq: 10, Seq: 11, Bids: []proto.Level{{Price: 10000, Qty: 3}}, Hash: bidHash(3)})
			for _, f := range []ws.Frame{
				ws.NewFrame(opcode(p.codec), false, message[:5]), ws.NewPingFrame([]byte("well?")), ws.NewFrame(ws.OpContinuation, true, message[5:]),
			} {
				if err := ws.WriteFrame(p.net, f); err != nil {
					t.Error(err)
				}
			}
			f, err := readFrame(p.net)
			if err != nil || f.Header.OpCode != ws.OpPong || string(ws.UnmaskFrameInPlace(f).Payload) != "well?" {
				t.Errorf("err %v, got %v, want the pong", err, f)
			}
			p.closed()
		})
		err := loop(t, c, func(event Event) bool { _, ok := event.(*BookChanged); return ok })
		wait()
		if err != nil || bidOf(sub) != 3 {
			t.Errorf("err %v, bid %d", err, bidOf(sub))
		}
	})
}

func TestHalfOpenServerIsNoticed(t *testing.T) {
	s := newFakeServer(t, proto.CodecProto)
	c := newClient(t, s, func(c *Config) { c.PingAfter, c.PongTimeout = 10*time.Millisecond, 30*time.Millisecond })
	wait := script(func() {
		p := s.greet()
		// A server that answers the first ping and then says nothing.
		if op, payload := p.read(); op != ws.OpPing {
			t.Errorf("got opcode %#x, want a ping", byte(op))
		} else {
			p.write(ws.OpPong, payload)
		}
		s.greet().closed()
	})
	var silent error
	connected := 0
	err := loop(t, c, func(event Event) bool {
		switch e := event.(type) {
		case *Disconnected:
			silent = e.Err
		case *Connected:
			connected++
		}
		return connected == 2
	})
	wait()
	if err != nil || !errors.Is(silent, ErrSilent) {
		t.Errorf("err %v, disconnected by %v, want %v", err, silent, ErrSilent)
	}
}

func TestSubscribeWithoutAnAnswerEndsTheConnection(t *testing.T) {
	s := newFakeServer(t, proto.CodecProto)
	c := newClient(t, s, func(c *Config) { c.AnswerTimeout = 10 * time.Millisecond })
	mustSubscribe(t, c, Item{Symbol: "SIM:A"})
	wait := script(func() {
		p := s.greet()
		p.subscribe(1)
		p.closed()
	})
	var why error
	err := loop(t, c, func(event Event) bool {
		e, ok := event.(*Disconnected)
		if ok {
			why = e.Err
		}
		return ok
	})
	wait()
	if err != nil || !errors.Is(why, ErrNoAnswer) {
		t.Errorf("err %v, disconnected by %v, want %v", err, why, ErrNoAnswer)
	}
}

func TestServerThatBreaksTheProtocolIsLeft(t *testing.T) {
	huge := ws.Header{Fin: true, OpCode: ws.OpBinary, Length: 1 << 40}
	tests := []struct {
		name      string
		write     func(t *testing.T, nc net.Conn) error
		want      error
		permanent bool
	}{
		{"frame over the limit", func(_ *testing.T, nc net.Conn) error { return ws.WriteHeader(nc, huge) }, ErrTooBig, true},
		{"fragments over the limit", func(_ *testing.T, nc net.Conn) error {
			if err := ws.WriteFrame(nc, ws.NewFrame(ws.OpBinary, false, make([]byte, 1000))); err != nil {
				return err
			}
			return ws.WriteFrame(nc, ws.NewFrame(ws.OpContinuation, true, make([]byte, 1000)))
		}, ErrTooBig, true},
		{"masked frame", func(_ *testing.T, nc net.Conn) error {
			return ws.WriteFrame(nc, ws.MaskFrame(ws.NewBinaryFrame(nil)))
		}, ErrProtocol, false},
		{"text on the protobuf protocol", func(_ *testing.T, nc net.Conn) error {
			return ws.WriteFrame(nc, ws.NewTextFrame([]byte(`{}`)))
		}, ErrProtocol, false},
		{"no protobuf", func(_ *testing.T, nc net.Conn) error {
			return ws.WriteFrame(nc, ws.NewBinaryFrame([]byte{0xff}))
		}, ErrProtocol, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer(t, proto.CodecProto)
			c := newClient(t, s, func(c *Config) { c.MaxFrameBytes = 1024 })
			wait := script(func() {
				p := s.greet()
				if err := tt.write(t, p.net); err != nil {
					t.Error(err)
				}
				p.closed()
			})
			var got error
			err := loop(t, c, func(event Event) bool {
				e, ok := event.(*Disconnected)
				if ok {
					got = e.Err
				}
				return ok
			})
			wait()
			if tt.permanent {
				got = err
			}
			if !errors.Is(got, tt.want) || (err != nil) != tt.permanent {
				t.Errorf("ended by %v (loop by %v), want %v", got, err, tt.want)
			}
		})
	}
}

func TestCapsOfTheConnectionAreAskedForWithEverySubscribe(t *testing.T) {
	bothCodecs(t, func(t *testing.T, s *fakeServer) {
		c := newClient(t, s, func(c *Config) { c.MaxHz, c.MaxBytesPerSecond = 20, 5000 })
		for _, symbol := range []string{"SIM:A", "SIM:B", "SIM:C"} { // hello grants two items a request
			mustSubscribe(t, c, Item{Symbol: symbol, Interval: 250 * time.Millisecond})
		}
		wait := script(func() {
			p := s.greet()
			for range 2 {
				req := p.request()
				if b := req.GetSubscribe(); b.GetMaxHz() != 20 || b.GetMaxBytesPerS() != 5000 || b.GetItems()[0].IntervalMs != 250 {
					t.Errorf("asked for %v", req)
				}
				for i := range req.GetSubscribe().GetItems() {
					p.refuse(req.Id, uint32(i), pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, pb.Retry_RETRY_NEVER, 0)
				}
			}
			p.closed()
		})
		refused := 0
		err := loop(t, c, func(event Event) bool {
			if _, ok := event.(*Refused); ok {
				refused++
			}
			return refused == 3
		})
		wait()
		if err != nil {
			t.Error(err)
		}
	})
}
