package fanout

import (
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// stateless are the channels whose frames carry neither state nor exponents.
var stateless = map[string]*pb.SubscribeItem{
	"trades":      {Symbol: btc, Channel: pb.Channel_CHANNEL_TRADES, Last: 3},
	"ticker":      {Symbol: btc, Channel: pb.Channel_CHANNEL_TICKER},
	"instruments": {Symbol: btc, Channel: pb.Channel_CHANNEL_INSTRUMENTS},
}

// told is what a client was last told before the answer to a ping.
type told struct {
	state     pb.State
	exponents proto.Exponents
	data      bool
}

// listen returns what c was last told before the answer to a ping, beginning with t.
func (c *client) listen(t told) told {
	c.ask(&pb.Request{Id: 99, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
	for {
		f := c.next()
		switch {
		case f.GetPong() != nil:
			return t
		case f.GetStatus() != nil:
			t.state = f.GetStatus().State
		case f.GetSnapshot() != nil:
			s := f.GetSnapshot()
			t.state = s.State
			t.exponents = proto.Exponents{Price: int8(s.PriceExponent), Qty: int8(s.QtyExponent)}
		case f.GetTrades() != nil, f.GetTicker() != nil, f.GetInstruments() != nil:
			t.data = true
		}
	}
}

func toldBy(a *pb.Ack) told {
	return told{state: a.State, exponents: proto.Exponents{Price: int8(a.PriceExponent), Qty: int8(a.QtyExponent)}}
}

// cap lets c be sent one frame a second, and spends it.
func (r *rig) cap(c *client) {
	c.ask(&pb.Request{Id: 98, Body: &pb.Request_Modify{Modify: &pb.Modify{MaxHz: 1}}})
	c.next()
	c.subscribe(&pb.SubscribeItem{Symbol: "other"})
	c.next()
	r.sync()
}

func TestJoinerIsToldTheStateThatCameBeforeWhatItBeginsWith(t *testing.T) {
	for name, item := range stateless {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, btc, "other")
			b := r.book(btc)
			b.trade(1)
			c := r.dial(proto.CodecProto)
			r.cap(c)
			heard := toldBy(c.subscribe(item))
			b.become(proto.Stale, proto.ReasonBehind)
			for range 5 {
				r.advance(time.Second)
				r.sync()
			}
			if heard = c.listen(heard); heard.state != pb.State_STATE_STALE {
				t.Errorf("told %v, the book is stale", heard.state)
			}
		})
	}
}

func TestJoinerIsToldTheExponentsThatCameBeforeWhatItBeginsWith(t *testing.T) {
	for name, item := range stateless {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, btc, "other")
			b := r.book(btc)
			b.trade(1)
			c := r.dial(proto.CodecProto)
			r.cap(c)
			heard := toldBy(c.subscribe(item))
			is := proto.Exponents{Price: -5, Qty: -6}
			b.restart(proto.SnapshotInstrument, is, false)
			for range 5 {
				r.advance(time.Second)
				r.sync()
			}
			if heard = c.listen(heard); heard.exponents != is {
				t.Errorf("told %v, prices are in %v", heard.exponents, is)
			}
		})
	}
}

func TestResyncDoesNotSwallowAStatus(t *testing.T) {
	for name, item := range stateless {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, btc, "other")
			b := r.book(btc)
			b.trade(1)
			c := r.dial(proto.CodecProto)
			ack := c.subscribe(item)
			c.next()
			r.cap(c)
			b.become(proto.Stale, proto.ReasonBehind)
			c.ask(&pb.Request{Id: 2, Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{ack.Topic}}}})
			for range 5 {
				r.advance(time.Second)
				r.sync()
			}
			if heard := c.listen(toldBy(ack)); heard.state != pb.State_STATE_STALE {
				t.Errorf("told %v, the book is stale", heard.state)
			}
		})
	}
}

func TestClockPutBackAfterTicksDoesNotSilenceIntervals(t *testing.T) {
	r := newRig(t, nil, btc)
	b, random := r.book(btc), seeded(13)
	c, m := r.paced(100)
	for range 3 {
		b.publish(random, 5)
		r.sync()
		r.advance(100 * time.Millisecond)
		seq, _ := b.where()
		m.follow(c, seq)
	}
	r.advance(-30 * time.Second)
	for range 3 {
		b.publish(random, 5)
		r.sync()
		r.advance(100 * time.Millisecond)
		r.advance(100 * time.Millisecond)
		seq, _ := b.where()
		m.follow(c, seq)
	}
}
