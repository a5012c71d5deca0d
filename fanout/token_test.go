package fanout

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/depthcast/depthcast/fanout/poll"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// longest returns n symbols, each as long as can be.
func longest(n int) (symbols []string) {
	for i := range n {
		symbols = append(symbols, fmt.Sprintf("SIM:%060d", i))
	}
	return symbols
}

// What lies between a server and its clients takes lines of 8 KiB at most: NGINX, where
// it is not told otherwise (large_client_header_buffers).
const lineOfProxies = 8 << 10

func TestPollIsAskedOnWithWhateverCursorItWasGiven(t *testing.T) {
	for name, c := range map[string]struct {
		symbols []string
		query   string
		bytes   int  // of a token
		least   int  // topics
		all     bool // have room
	}{
		"usual names":   {ofNumbers(MaxEventTopics), "channel=book&depth=100", 0, 64, true},
		"longest names": {longest(MaxEventTopics), "channel=book&depth=1000&counts=1&interval_ms=5000&policy=drop&group=0.05&max_hz=4294967295&max_bytes_per_s=9223372036854775807", 0, 40, false},
		"trades too":    {longest(MaxEventTopics / 2), "channel=trades&last=100&channel=orders&interval_ms=5000&policy=drop", 0, 40, false},
		"short lines":   {ofNumbers(MaxEventTopics), "channel=book", 1000, 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(config *Config) { config.ResumeTokenBytes = c.bytes }, c.symbols...)
			for _, symbol := range c.symbols {
				r.book(symbol).state.Seq = 1 << 62
			}
			d, l := r.open(false), newListener(t, nil)
			granted, refused := 0, 0
			_, frames := d.poll(l, c.query+"&symbol="+strings.Join(c.symbols, "&symbol="))
			for _, f := range frames {
				switch e := f.GetError(); {
				case f.GetAck() != nil:
					granted++
				case e != nil && e.Code == pb.ErrorCode_ERROR_CODE_TOO_MANY_SUBSCRIPTIONS && strings.Contains(e.Message, "token"):
					refused++
				case e != nil:
					t.Fatalf("refused with %v", e)
				}
			}
			if granted+refused != MaxEventTopics || c.all != (refused == 0) || granted < c.least {
				t.Errorf("%d granted, %d refused", granted, refused)
			}
			if n := len(l.id); n > r.hub.config.ResumeTokenBytes {
				t.Errorf("a cursor of %d bytes", n)
			}
			line := "GET /v1/poll?cursor=" + url.QueryEscape(l.id) + "&wait_ms=30000 HTTP/1.1\r\n"
			if len(line) > lineOfProxies {
				t.Errorf("to ask on takes %d bytes", len(line))
			}
			resumed := 0
			_, frames = d.poll(l, "wait_ms=0")
			for _, f := range frames {
				if f.GetAck().GetResumed() {
					resumed++
				}
			}
			if resumed != granted {
				t.Errorf("%d of %d topics go on", resumed, granted)
			}
		})
	}
}

func TestTopicTakesNoMoreOfATokenThanItIsCountedFor(t *testing.T) {
	by, err := proto.ParseGroup("0.05")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []proto.TopicKey{
		{Symbol: "A", Channel: proto.ChannelTicker},
		{Symbol: longest(1)[0], Channel: proto.ChannelTrades},
		{Symbol: btc, Channel: proto.ChannelOrders, View: proto.View{Depth: 1000}},
		{Symbol: btc, Channel: proto.ChannelBook, View: proto.View{Depth: 1000, Counts: true, Group: by}},
	} {
		item := tokenItem{key: key, step: uint8(len(intervals) - 1), drop: true, last: proto.MaxPastTrades}
		stand := resume{epoch: 1<<64 - 1, seq: -1, hash: 1<<32 - 1, ordinal: 1<<64 - 1}
		if n := len(item.appendTo(nil, &stand)); n != tokenBytes(key) {
			t.Errorf("%v takes %d bytes and is counted for %d", key, n, tokenBytes(key))
		}
	}
}

// What a pattern had brought comes again with it, as far as there is room beside what
// the URL asks for.
func TestStreamOfAPatternThatWasFullGoesOn(t *testing.T) {
	symbols := ofNumbers(MaxEventTopics)
	r := newRig(t, nil, symbols...)
	for _, symbol := range symbols {
		r.books.listings = append(r.books.listings, &proto.Listing{Symbol: symbol})
	}
	d := r.open(false)
	const query = "symbol=NONE&symbol=NOT&symbol=SIM:*" // two that do not exist take no room
	l := d.listen(query, nil)
	for round := range 2 {
		brought := map[string]bool{}
		l.until(func(f *pb.Frame) bool {
			if a := f.GetAck(); a != nil {
				brought[a.Symbol] = true
			}
			return len(brought) == MaxEventTopics
		})
		if round == 0 {
			l.leave()
			l = d.listen(query, l)
		}
	}
}

// taking are sockets that take everything, of which the test has what was sent.
type taking struct {
	poll.Sockets
	sent []byte
}

func (k *taking) Send(_ int, b []byte) (int, poll.Class, syscall.Errno) {
	k.sent = append(k.sent, b...)
	return len(b), poll.OK, 0
}

// However much there is to be sent, in turn after turn: here each is full of changes of
// 1.5 KB, and a token takes 3.
func TestClientOfVeryBusyTopicsHearsWhereItStands(t *testing.T) {
	for name, eager := range map[string]bool{"event stream": false, "poll": true} {
		t.Run(name, func(t *testing.T) {
			symbols := ofNumbers(MaxEventTopics)
			k := &taking{Sockets: poll.Kernel{}}
			r := newRig(t, func(c *Config) { c.Sockets = k }, symbols...)
			ask := &pb.Subscribe{}
			for _, symbol := range symbols {
				ask.Items = append(ask.Items, &pb.SubscribeItem{Symbol: symbol})
			}
			r.arrive(Accepted{events: &eventStream{ask: ask, eager: eager}}, nil)
			r.sync()
			untold := 0 // turns
			on(r.hub, func(s *shard) {
				for n := range int64(20) {
					for _, symbol := range symbols {
						var bids []int64
						for price := range int64(75) {
							bids = append(bids, 10_000+price, 1+n)
						}
						r.book(symbol).set(bids...)
					}
					k.sent = k.sent[:0]
					s.turn()
					if len(k.sent) < s.config.MaxBytesPerTurn*9/10 {
						t.Errorf("a turn of %d bytes", len(k.sent))
						return
					}
					if untold++; bytes.Contains(k.sent, idBegin) {
						untold = 0
					}
					if untold > 1 {
						t.Errorf("%d turns without an id", untold)
						return
					}
				}
			})
		})
	}
}

// A reader whose socket is always full hears where it stands all the same.
func TestSlowEventStreamHearsWhereItStands(t *testing.T) {
	symbols := ofNumbers(MaxEventTopics)
	r := newRig(t, nil, symbols...)
	for _, symbol := range symbols {
		var bids []int64
		for price := range int64(1480) {
			bids = append(bids, 10_000+price, 1)
		}
		r.book(symbol).set(bids...)
	}
	l := r.open(false).listen("symbol="+strings.Join(symbols, "&symbol="), nil)
	untold := 0
	for held := 0; held < len(symbols); {
		was := l.id
		data, err := l.event()
		if err != nil {
			t.Fatal(err)
		}
		if untold += len(data); l.id != was {
			untold = 0
		}
		if untold > 3*r.hub.config.MaxBytesPerTurn {
			t.Fatalf("%d bytes without an id", untold)
		}
		if l.take(data).GetSnapshot() != nil {
			held++
		}
	}
}
