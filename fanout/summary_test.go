package fanout

import (
	"fmt"
	"testing"
	"time"

	"github.com/depthcast/depthcast/fanout/poll/polltest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

var ticker = &pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TICKER}

// quote publishes a last price.
func (b *testBook) quote(last int64) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	b.state.Seq++
	b.state.Ticker.Seq, b.state.Ticker.Last = b.state.Seq, proto.Optional{Value: last, Set: true}
	for _, v := range b.views {
		if v.topic.key.Channel == proto.ChannelTicker {
			v.topic.Ticker(&b.state.Ticker)
		}
	}
}

// list publishes a listing to all patterns.
func (b *testBooks) list(symbol string, phase proto.Phase, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var w Wakes
	for _, board := range b.boards {
		board.Listed(&proto.Listing{Symbol: symbol, Phase: phase, Ended: ended}, proto.Times{Venue: 5}, &w)
	}
	w.Flush()
}

func (c *client) wantTicker(prev, seq, last int64, merged uint32) {
	c.t.Helper()
	f := c.next().GetTicker()
	if f == nil || f.PrevSeq != prev || f.Seq != seq || f.GetLast() != last || f.Merged != merged || f.High != nil {
		c.t.Fatalf("got %v, want %d to %d: %d, merged %d", f, prev, seq, last, merged)
	}
}

func TestTickerComesAtOnceThenWheneverItChanges(t *testing.T) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			r := newRig(t, nil, btc)
			b := r.book(btc)
			b.quote(100)
			c := r.dial(codec)
			if ack := c.subscribe(ticker); ack.Channel != pb.Channel_CHANNEL_TICKER || ack.Resumed || ack.PriceExponent != -2 {
				t.Fatalf("acknowledged with %v", ack)
			}
			c.wantTicker(0, 0, 100, 0)
			for i := range int64(50) {
				b.quote(200 + i)
			}
			for i := range int64(50) {
				c.wantTicker(i, i+1, 200+i, 0)
			}
			b.enter(proto.Auction)
			if s := c.next().GetStatus(); s == nil || s.Phase != pb.Phase_PHASE_AUCTION {
				t.Fatalf("got %v, want the phase", s)
			}
			// One who comes later is told what it is now, in one frame or two.
			late := r.dial(codec)
			late.subscribe(ticker)
			for {
				if f := late.next().GetTicker(); f.GetLast() == 249 {
					break
				} else if f == nil {
					t.Fatal("no ticker")
				}
			}
		})
	}
}

func TestSlowReaderOfTickerGetsTheLatest(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets }, btc)
	b := r.book(btc)
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	c.subscribe(ticker)
	c.wantTicker(-1, -1, 0, 0)
	r.sync()
	sockets.OnSend(c.fd, polltest.Again(1))
	r.hold(func() {
		for i := range int64(10) {
			b.quote(i)
		}
		b.enter(proto.Halted)
		b.quote(20)
	})
	c.wantTicker(-1, 9, 9, 10)
	if s := c.next().GetStatus(); s == nil || s.Phase != pb.Phase_PHASE_HALTED {
		t.Fatalf("got %v: a status is not merged away", s)
	}
	c.wantTicker(9, 10, 20, 0)
}

func TestTickerAfterResetBeginsWithItsExponents(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	c := r.dial(proto.CodecProto)
	c.subscribe(ticker)
	c.wantTicker(-1, -1, 0, 0)
	b.restart(proto.SnapshotInstrument, proto.Exponents{Price: -4, Qty: -1}, false)
	if s := c.next().GetSnapshot(); s == nil || s.PriceExponent != -4 || s.Reason != pb.SnapshotReason_SNAPSHOT_REASON_INSTRUMENT {
		t.Fatalf("after the reset: %v", s)
	}
	c.wantTicker(-1, -1, 0, 0)
	b.quote(7)
	c.wantTicker(-1, 0, 7, 0)
	c.ask(&pb.Request{Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{1}}}})
	for {
		if f := c.next().GetTicker(); f.GetLast() == 7 {
			break
		} else if f == nil {
			t.Fatal("a resync brings something else than the ticker")
		}
	}
}

func TestTickerOfANodeThatIsBehindWaits(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.quote(1)
	c := r.dial(proto.CodecProto)
	item := &pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TICKER, Resume: &pb.Resume{Epoch: 7, Seq: 2}}
	if ack := c.subscribe(item); ack.Reason != pb.Reason_REASON_BEHIND {
		t.Fatalf("acknowledged with %v", ack)
	}
	b.quote(2)
	r.sync()
	b.quote(3) // that is where the client stood
	told := false
	for {
		f := c.next()
		if s := f.GetStatus(); s != nil && s.State == pb.State_STATE_LIVE {
			told = true // the ack said stale
		} else if f := f.GetTicker(); f.GetLast() == 3 {
			break
		} else if f == nil || f.Seq < 2 {
			t.Fatalf("got %v, older than what the client had", f)
		}
	}
	if !told {
		t.Error("nobody said that it is no longer behind")
	}
	// One that never catches up has its client step back.
	item.Resume.Seq = 100
	c = r.dial(proto.CodecProto)
	c.subscribe(item)
	r.advance(5 * time.Second)
	if s := c.next().GetSnapshot(); s == nil || s.Reason != pb.SnapshotReason_SNAPSHOT_REASON_RESET || s.Seq > 2 {
		t.Fatalf("got %v, want a reset", s)
	}
	for {
		if f := c.next().GetTicker(); f.GetLast() == 3 {
			break
		} else if f == nil {
			t.Fatal("no ticker follows the reset")
		}
	}
}

func TestQuietTickerStaysAlive(t *testing.T) {
	r := newRig(t, nil, btc)
	b := r.book(btc)
	b.quote(1)
	c := r.dial(proto.CodecProto)
	c.subscribe(ticker)
	c.wantTicker(0, 0, 1, 0)
	r.sync()
	b.markSeq(9)
	r.advance(5 * time.Second)
	if k := c.next().GetKeepalive(); k == nil || k.Seq != 9 || k.Hash != 0 {
		t.Fatalf("got %v, want a keepalive", k)
	}
}

// markSeq is mark for a topic without a hash, at a later seq.
func (b *testBook) markSeq(seq int64) {
	b.books.mu.Lock()
	defer b.books.mu.Unlock()
	b.state.Seq = seq
	for _, v := range b.views {
		v.topic.Mark(proto.Mark{Seq: seq})
	}
}

func everything(pattern string) *pb.SubscribeItem {
	return &pb.SubscribeItem{Symbol: pattern, Channel: pb.Channel_CHANNEL_INSTRUMENTS}
}

// list reads the frames of a list, or of a change.
func (c *client) list() (symbols []string, first *pb.Instruments) {
	c.t.Helper()
	for {
		f := c.next().GetInstruments()
		switch {
		case f == nil || len(f.Listings) > pageListings || f.Snapshot && first != nil:
			c.t.Fatalf("got %v after %d listings", f, len(symbols))
		case first == nil:
			first = f
		}
		for _, l := range f.Listings {
			symbols = append(symbols, l.Symbol)
		}
		if !f.More {
			return symbols, first
		}
	}
}

func TestPatternBeginsWithAListInPagesAndSeesWhatIsListedLater(t *testing.T) {
	for codec := range proto.NumCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			r := newRig(t, nil)
			for i := range 1000 {
				symbol := fmt.Sprintf("SIM:%03d", (i*7)%1000)
				r.books.listings = append(r.books.listings, &proto.Listing{Symbol: symbol, Instrument: &proto.Instrument{Tick: 1, Name: symbol}})
			}
			c := r.dial(codec)
			if ack := c.subscribe(everything("SIM:*")); ack.Symbol != "SIM:*" || ack.Epoch != 0 || ack.State != pb.State_STATE_LIVE {
				t.Fatalf("acknowledged with %v", ack)
			}
			symbols, first := c.list()
			if len(symbols) != 1000 || symbols[0] != "SIM:000" || symbols[999] != "SIM:999" || !first.Snapshot || first.Listings[0].Instrument.Name != "SIM:000" {
				t.Fatalf("a list of %d, beginning with %v", len(symbols), first)
			}
			for i, want := range []string{"SIM:later", "SIM:000", "SIM:later"} {
				r.books.list(want, proto.Halted, i == 2)
				symbols, f := c.list()
				if f.Snapshot || f.PrevSeq != int64(i) || f.Seq != int64(i+1) || len(symbols) != 1 || symbols[0] != want || f.Listings[0].Ended != (i == 2) {
					t.Fatalf("change %d: %v", i, f)
				}
			}
			// A list that is made now has what has changed, and no end. A topic over a
			// pattern has no history to resume in.
			c.ask(&pb.Request{Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{1}}}})
			late := r.dial(codec)
			late.subscribe(everything("SIM:*"))
			for _, c := range []*client{c, late} {
				if c.codec == proto.CodecJSON && c != late {
					continue // its resync went out in protobuf
				}
				known := map[string]bool{}
				for !known["SIM:later"] {
					symbols, f := c.list()
					for _, symbol := range symbols {
						known[symbol] = true
					}
					if l := f.Listings[len(f.Listings)-1]; f.Snapshot && len(symbols) != 1000 || l.Symbol == "SIM:later" && !l.Ended {
						t.Fatalf("%d symbols, %v", len(symbols), l)
					}
				}
			}
		})
	}
}

// What is listed no more, and did not end, is taken off by a list that begins anew.
func TestPatternBeginsAnewWithoutWhatIsListedNoMore(t *testing.T) {
	r := newRig(t, nil)
	for _, symbol := range []string{"A", "B", "C"} {
		r.books.listings = append(r.books.listings, &proto.Listing{Symbol: symbol})
	}
	c := r.dial(proto.CodecProto)
	c.subscribe(everything("*"))
	c.list()
	keep := func(still func(string) bool) {
		r.books.mu.Lock()
		defer r.books.mu.Unlock()
		var w Wakes
		r.books.boards[0].Keep(still, &w)
		w.Flush()
	}
	keep(func(string) bool { return true }) // says nothing
	keep(func(symbol string) bool { return symbol == "B" })
	if s := c.next().GetSnapshot(); s == nil || s.Reason != pb.SnapshotReason_SNAPSHOT_REASON_RESET || s.State != pb.State_STATE_LIVE || s.Seq != 1 {
		t.Fatalf("got %v, want a reset", s)
	}
	if symbols, f := c.list(); len(symbols) != 1 || symbols[0] != "B" || !f.Snapshot || f.Seq != 1 {
		t.Fatalf("a list of %v: %v", symbols, f)
	}
	r.books.list("A", proto.Halted, false)
	if symbols, f := c.list(); len(symbols) != 1 || symbols[0] != "A" || f.PrevSeq != 1 || f.Seq != 2 {
		t.Fatalf("listed again: %v", f)
	}
}

func TestSlowReaderOfAPatternGetsTheLastOfEachListing(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets = sockets }, btc)
	for i := range 600 {
		r.books.listings = append(r.books.listings, &proto.Listing{Symbol: fmt.Sprintf("SIM:%03d", i)})
	}
	c := r.dialScripted(proto.CodecProto, func(fd int) { sockets.Forget(fd) })
	c.subscribe(everything("*"))
	c.list()
	r.sync()
	sockets.OnSend(c.fd, polltest.Again(1))
	r.hold(func() {
		for range 2 {
			for i := range 270 {
				r.books.list(fmt.Sprintf("SIM:%03d", i), proto.Closed, false)
			}
		}
	})
	symbols, f := c.list()
	if len(symbols) != 270 || symbols[0] != "SIM:000" || f.PrevSeq != 0 || f.Seq != 540 || f.Snapshot {
		t.Fatalf("%d listings, %v", len(symbols), f)
	}
	sockets.OnSend(c.fd, polltest.Again(1))
	r.hold(func() {
		for range 4 {
			for i := range 600 {
				r.books.list(fmt.Sprintf("SIM:%03d", i), proto.Halted, false)
			}
		}
	})
	known := map[string]bool{}
	for len(known) < 600 {
		symbols, _ := c.list()
		for _, symbol := range symbols {
			known[symbol] = true
		}
	}
}

func TestPatternsBeyondTheLimitWaitUntilOneIsIdle(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxPatterns = 2 }, btc)
	c := r.dial(proto.CodecProto)
	c.subscribe(everything("A*"))
	c.list()
	ack := c.subscribe(everything("B*"))
	c.list()
	c.subscribe(ticker) // is none
	c.wantTicker(-1, -1, 0, 0)
	c.ask(subscribeTo(2, everything("C*")))
	c.refused(pb.ErrorCode_ERROR_CODE_OVERLOADED)
	c.ask(&pb.Request{Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{ack.Topic}}}})
	if a := c.next().GetAck(); a == nil || !a.Ended {
		t.Fatal("no end of B*")
	}
	c.subscribe(everything("C*"))
	if _, f := c.list(); !f.Snapshot {
		t.Fatalf("C* begins with %v", f)
	}
	r.books.mu.Lock()
	defer r.books.mu.Unlock()
	if r.books.closed != 1 {
		t.Errorf("%d patterns closed, want the idle one", r.books.closed)
	}
}

func TestQuietPatternStaysAlive(t *testing.T) {
	r := newRig(t, nil)
	c := r.dial(proto.CodecProto)
	c.subscribe(everything("*"))
	if symbols, f := c.list(); len(symbols) != 0 || !f.Snapshot {
		t.Fatalf("begins with %v", f)
	}
	r.sync()
	r.books.mu.Lock()
	r.books.boards[0].Tick()
	r.books.mu.Unlock()
	r.advance(5 * time.Second)
	if k := c.next().GetKeepalive(); k == nil || k.Seq != 0 {
		t.Fatalf("got %v, want a keepalive", k)
	}
}

// A poll of tickers and listings waits like any other: what its cursor has seen does not
// come again. A cursor of another server, and one that its ring has gone past, bring all.
func TestPollOfSummariesWaitsForWhatIsNew(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RingEntries = 64 }, btc)
	r.books.listings = []*proto.Listing{{Symbol: btc}}
	b, d := r.book(btc), r.open(false)
	b.quote(1)
	l := newListener(t, nil)
	poll := func(from *listener, at *door) (news []string, resumed int) {
		_, frames := at.poll(from, "symbol=SIM:*&channel=instruments&wait_ms=1")
		for _, f := range frames {
			if f.GetAck().GetResumed() {
				resumed++
			}
			if in := f.GetInstruments(); in != nil {
				news = append(news, fmt.Sprint(in.Snapshot, len(in.Listings)))
			}
		}
		return news, resumed
	}
	quotes := newListener(t, nil)
	last := func() (lasts []int64) {
		_, frames := d.poll(quotes, "symbol="+btc+"&channel=ticker&wait_ms=1")
		for _, f := range frames {
			if f := f.GetTicker(); f != nil {
				lasts = append(lasts, f.GetLast())
			}
		}
		return lasts
	}
	if news, _ := poll(l, d); fmt.Sprint(news) != "[true 1]" {
		t.Fatalf("at first came %v", news)
	}
	if got := last(); fmt.Sprint(got) != "[1]" {
		t.Fatalf("at first came %v", got)
	}
	if news, resumed := poll(l, d); len(news) != 0 || resumed != 1 {
		t.Errorf("though nothing is new, %v comes", news)
	}
	if got := last(); len(got) != 0 {
		t.Errorf("though nothing is new, %v comes", got)
	}
	r.books.list(eth, proto.Halted, false)
	b.quote(7)
	b.quote(8)
	if news, _ := poll(l, d); fmt.Sprint(news) != "[false 1]" {
		t.Errorf("after one change comes %v", news)
	}
	if got := last(); fmt.Sprint(got) != "[8]" {
		t.Errorf("after two changes comes %v", got)
	}
	other := newRig(t, nil, btc)
	other.books.listings = r.books.listings
	if news, resumed := poll(newListener(t, l), other.open(false)); fmt.Sprint(news) != "[true 1]" || resumed != 0 {
		t.Errorf("another server brings %v", news)
	}
	for range 70 {
		r.books.list(eth, proto.Halted, false)
	}
	if news, resumed := poll(l, d); len(news) == 0 || news[0] != "true 2" || resumed != 0 {
		t.Errorf("from beyond the ring comes %v", news)
	}
}
