package main

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// late is a lab whose servers are a quarter of an hour late, by a clock that stands
// still until the test moves it.
type late struct {
	*lab
	producer *ingest.Producer
	clock    atomic.Int64 // ns since 1970
}

const lateBy = 15 * time.Minute

func newLate(t *testing.T) *late {
	t.Helper()
	l := &late{lab: newLab(t, 1)}
	l.producer = l.lab.producer()
	l.clock.Store(time.Now().Truncate(time.Millisecond).UnixNano())
	return l
}

func (l *late) now() time.Time { return time.Unix(0, l.clock.Load()) }

func (l *late) pass(d time.Duration) { l.clock.Add(int64(d)) }

// server starts one that is late.
func (l *late) server(change func(*readFlags, *serverFlags)) *running {
	l.t.Helper()
	r := l.serve(func(read *readFlags, serve *serverFlags) {
		read.Delay, read.now, serve.Dialects = lateBy, l.now, true
		if change != nil {
			change(read, serve)
		}
	})
	r.until("caught up", r.ingest.CaughtUp)
	return r
}

// list writes the first record of a symbol, with a timestamp so far from now: its
// definition, its book, and a trade.
func (l *late) list(name string, off time.Duration) {
	l.t.Helper()
	r := eventRecord("SIM:"+name+"-USD", proto.Event{Kind: proto.EventInstrument, Instrument: &proto.Instrument{
		Exponents: proto.Exponents{Price: -2}, Tick: 1, Name: name, Base: name, Quote: "USD",
	}}, sessionStart, inPhase(proto.Continuous), levels(100, 102), traded(1, 101, 3))
	r.Time = l.now().Add(off).UnixNano()
	l.writeRaw(l.producer, r)
}

// looked waits until the server has seen that so many records wait.
func (l *late) looked(r *running, waiting int64) {
	l.t.Helper()
	r.until("records that wait are seen", func() bool { return r.ingest.Partitions()[0].Waiting() == waiting })
}

// shows fails unless the surfaces that strangers see show exactly these of all symbols.
func (l *late) shows(r *running, all string, shown ...string) {
	l.t.Helper()
	for name := range strings.FieldsSeq(all) {
		want := false
		for _, s := range shown {
			want = want || s == name
		}
		for _, path := range []string{
			"/v1/symbols",
			"/v1/books/SIM:" + name + "-USD",
			"/v1/poll?wait_ms=0&symbol=SIM:" + name + "-USD&channel=trades",
			"/v1/poll?wait_ms=0&symbol=SIM:" + name + "-USD&channel=ticker",
			"/v1/poll?wait_ms=0&symbol=*&channel=instruments",
			"/dialect/kraken/0/public/AssetPairs",
			"/dialect/kraken/0/public/Depth?pair=" + name + "USD",
			"/dialect/binance/api/v3/exchangeInfo",
			"/dialect/binance/api/v3/depth?symbol=" + name + "USD",
		} {
			var header http.Header
			shows := func() bool {
				var body string
				header, body = fetch(l.t, r.url()+path, 0)
				return strings.Contains(body, name) && !strings.Contains(body, `"type":"error"`) ||
					strings.Contains(path, name) && strings.Contains(body, "1.00")
			}
			if !want && shows() {
				l.t.Errorf("%s shows at %s", name, path)
			} else if want { // exchanges' names of new symbols take a moment
				r.until(name+" shows at "+path, shows)
			}
			if header.Get("Depthcast-Delay-Ms") != "900000" {
				l.t.Errorf("%s is not labelled: %v", path, header)
			}
		}
	}
}

// Nothing shows before it is due, on any surface, and its book is live then.
func TestEndToEndLateServerShowsWhatIsDueAndNothingElse(t *testing.T) {
	t.Parallel()
	l := newLate(t)
	l.list("ALPHA", 0)
	l.pass(time.Second)
	l.list("BRAVO", 0)
	r := l.server(nil)
	l.shows(r, "ALPHA BRAVO")
	l.pass(lateBy - time.Second)
	r.known("SIM:ALPHA-USD")
	l.shows(r, "ALPHA BRAVO", "ALPHA")
	c := r.dial(proto.CodecJSON)
	sub := subscribe(t, c, client.Item{Symbol: "SIM:ALPHA-USD"})
	follow(t, l.ctx, c, func(event client.Event) bool {
		if connected, is := event.(*client.Connected); is && connected.Hello.DelayMs != 900_000 {
			t.Errorf("hello says %d ms", connected.Hello.DelayMs)
		}
		return sub.Book().State() == proto.Live && sub.Book().Seq() == 0
	})
	l.pass(time.Second)
	r.known("SIM:BRAVO-USD")
	l.shows(r, "ALPHA BRAVO", "ALPHA", "BRAVO")
	if delay := r.metric("depthcast_delay_seconds"); delay != "900" {
		t.Errorf("depthcast_delay_seconds is %s", delay)
	}
}

// Timestamps that are wrong neither let records out early nor hold them, and a log
// that takes the place of another is late as well.
func TestEndToEndLateServerIsNotMisledByTimestamps(t *testing.T) {
	t.Parallel()
	l := newLate(t)
	l.list("ALPHA", -time.Hour)
	r := l.server(nil)
	r.known("SIM:ALPHA-USD")
	l.looked(r, 0)
	l.pass(5 * time.Minute)
	l.list("BRAVO", -time.Minute) // within what the looks allow
	l.looked(r, 1)
	l.list("CHARLIE", -time.Hour) // before it was looked for in vain
	l.list("DOG", 30*time.Minute) // after it was seen
	l.looked(r, 3)
	l.pass(lateBy - time.Minute) // BRAVO is due, and the others are judged together with it
	r.known("SIM:BRAVO-USD")
	l.shows(r, "BRAVO CHARLIE DOG", "BRAVO")
	l.pass(time.Minute)
	r.known("SIM:DOG-USD")
	l.shows(r, "ALPHA BRAVO CHARLIE DOG", "ALPHA", "BRAVO", "CHARLIE", "DOG")

	l.recreate(1)
	l.producer = l.lab.producer()
	l.list("EASY", 30*time.Minute)
	l.looked(r, 1)
	l.pass(lateBy)
	r.known("SIM:EASY-USD")
}

// A start goes on from a checkpoint that this server's predecessor made; one of a
// server that is not late is kept apart.
func TestEndToEndLateServerGoesOnFromItsOwnCheckpoint(t *testing.T) {
	t.Parallel()
	l := newLate(t)
	checkpoints := func(read *readFlags, _ *serverFlags) {
		read.Checkpoints, read.CheckpointTopic = "write", l.events+".checkpoints"
	}
	l.list("ALPHA", 0)
	first := l.server(checkpoints)
	l.looked(first, 1)
	l.list("BRAVO", 30*time.Minute)
	l.looked(first, 2)
	l.pass(lateBy)
	first.known("SIM:BRAVO-USD")
	l.list("CHARLIE", 0)
	prompt := l.serve(checkpoints)
	prompt.known("SIM:CHARLIE-USD")
	prompt.stop()
	was := first.book("SIM:ALPHA-USD")
	first.stop()

	second := l.server(checkpoints)
	second.known("SIM:BRAVO-USD") // though nobody has seen it come into the log, and by its timestamp it is not due
	if is := second.book("SIM:ALPHA-USD"); is.State != proto.Live || is.Seq != was.Seq || is.Hash != was.Hash || is.Epoch != was.Epoch {
		t.Errorf("%+v, was %+v", is, was)
	}
	l.shows(second, "ALPHA BRAVO CHARLIE", "ALPHA", "BRAVO")
	if n := second.ingest.Partitions()[0].Checkpoints().Restored.Load(); n != 2 {
		t.Errorf("%d symbols were restored", n)
	}
	l.pass(lateBy)
	second.known("SIM:CHARLIE-USD")
	for _, name := range []string{"", ".delay-900000"} {
		if _, err := l.cluster.Describe(l.ctx, l.events+".checkpoints"+name); err != nil {
			t.Error(err)
		}
	}
}
