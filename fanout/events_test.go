package fanout

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/depthcast/depthcast/fanout/poll/polltest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

const eth = "SIM:ETH-USD"

// listener is a client of an event stream.
type listener struct {
	t      *testing.T
	answer *http.Response
	conn   net.Conn // nil over HTTP/2
	lines  *bufio.Reader
	id     string // of the last event that had one
	retry  string // the last that was told
	forms  map[uint32]proto.Exponents
	models map[uint32]*model // by topic, of books
	held   map[proto.TopicKey]*model
}

// listen begins an event stream on a connection of its own, from where before
// stands; nil: from the beginning.
func (d *door) listen(query string, before *listener) *listener {
	d.rig.t.Helper()
	l := newListener(d.rig.t, before)
	l.conn = d.connect()
	_ = l.conn.SetReadDeadline(time.Now().Add(patience))
	request := "GET /v1/sse?" + query + " HTTP/1.1\r\nHost: a\r\n"
	if l.id != "" {
		request += "Last-Event-ID: " + l.id + "\r\n"
	}
	if _, err := io.WriteString(l.conn, request+"\r\n"); err != nil {
		l.t.Fatal(err)
	}
	var err error
	if l.answer, err = http.ReadResponse(bufio.NewReader(l.conn), nil); err != nil {
		l.t.Fatal(err)
	}
	return l.begin()
}

func newListener(t *testing.T, before *listener) *listener {
	l := &listener{t: t, forms: make(map[uint32]proto.Exponents), models: make(map[uint32]*model), held: make(map[proto.TopicKey]*model)}
	if before != nil {
		l.id, l.held = before.id, before.held
	}
	return l
}

func (l *listener) begin() *listener {
	l.t.Helper()
	if kind := l.answer.Header.Get("Content-Type"); l.answer.StatusCode != http.StatusOK || kind != "text/event-stream" {
		l.t.Fatalf("answered with %s, %q", l.answer.Status, kind)
	}
	l.t.Cleanup(func() { _ = l.answer.Body.Close() })
	l.lines = bufio.NewReader(l.answer.Body)
	return l
}

// event returns the data of the next event that has some, and notes the ids before it.
func (l *listener) event() (string, error) {
	data := ""
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == "" && data != "":
			return data, nil
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		case strings.HasPrefix(line, "id: "):
			l.id = line[len("id: "):]
		case strings.HasPrefix(line, "retry: "):
			l.retry = line[len("retry: "):]
		case line != "" && !strings.HasPrefix(line, ":"):
			l.t.Fatalf("a line %q", line)
		}
	}
}

// next takes the next frame, and applies it to the book of its topic.
func (l *listener) next() *pb.Frame {
	l.t.Helper()
	data, err := l.event()
	if err != nil {
		l.t.Fatal(err)
	}
	return l.take(data)
}

func (l *listener) take(data string) *pb.Frame {
	l.t.Helper()
	f, err := proto.DecodeJSONFrame([]byte(data), func(topic uint32) (proto.Exponents, bool) { x, ok := l.forms[topic]; return x, ok })
	if err != nil {
		l.t.Fatalf("%v in %q", err, data)
	}
	if a := f.GetAck(); a != nil {
		l.forms[a.Topic] = proto.Exponents{Price: int8(a.PriceExponent), Qty: int8(a.QtyExponent)}
		key := proto.TopicKey{Symbol: a.Symbol, Channel: proto.Channel(a.Channel), View: proto.View{Depth: a.Depth}}
		if a.Channel == pb.Channel_CHANNEL_BOOK {
			if l.held[key] == nil || !a.Resumed {
				l.held[key] = newModel(l.t, a)
			}
			l.models[a.Topic] = l.held[key]
		}
	}
	if m := l.models[topicOf(f)]; m != nil {
		m.apply(f)
	}
	return f
}

// until reads until a condition holds.
func (l *listener) until(condition func(f *pb.Frame) bool) {
	l.t.Helper()
	for !condition(l.next()) {
	}
}

// at says that the book of a topic has come to seq.
func (l *listener) at(topic uint32, seq int64) func(*pb.Frame) bool {
	return func(*pb.Frame) bool { m := l.models[topic]; return m != nil && m.held && m.mine >= seq }
}

// leave ends the connection when what was sent with the last event, its id, is here.
func (l *listener) leave() {
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			l.t.Fatal(err)
		}
		if id, is := strings.CutPrefix(line, "id: "); is {
			l.id = strings.TrimSpace(id)
			break
		}
	}
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

func TestEventStreamShowsWhatAWebSocketShows(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	rnd := seeded(1)
	r.book(btc).publish(rnd, 5)
	r.book(eth).publish(rnd, 5)
	c := r.dial(proto.CodecJSON)
	c.subscribe(&pb.SubscribeItem{Symbol: btc})
	first := c.next()
	before := r.hub.Stats().Encoded
	l := r.open(false).listen("symbol="+btc+"&symbol="+eth+"&channel=book&channel=trades", nil)
	acks := map[uint32]*pb.Ack{}
	l.until(func(f *pb.Frame) bool {
		if a := f.GetAck(); a != nil {
			acks[a.Topic] = a
		}
		return len(acks) == 4 && len(l.models) == 2
	})
	for range 50 {
		r.book(btc).publish(rnd, 5)
		r.book(eth).publish(rnd, 5)
	}
	seq, _ := r.book(btc).where()
	l.until(l.at(first.GetSnapshot().Topic, seq))
	if r.hub.Stats().Encoded == before {
		t.Error("nothing was encoded for the stream")
	}
}

func TestEventStreamGoesOnAfterItsLastEvent(t *testing.T) {
	for name, secured := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, btc, eth)
			d, rnd := r.open(secured), seeded(2)
			r.book(btc).publish(rnd, 5)
			r.book(eth).publish(rnd, 5)
			query := "symbol=" + btc + "&symbol=" + eth + "&depth=10"
			l := d.listen(query, nil)
			l.until(func(*pb.Frame) bool {
				return len(l.models) == 2 && l.held[key10(btc)].held && l.held[key10(eth)].held
			})
			l.leave()
			for round := range 20 {
				for range rnd.IntN(5) {
					r.book(btc).publish(rnd, 5)
					r.book(eth).publish(rnd, 5)
				}
				l = d.listen(query, l)
				resumed := 0
				l.until(func(f *pb.Frame) bool {
					if f.GetAck().GetResumed() {
						resumed++
					}
					if f.GetSnapshot() != nil {
						t.Fatalf("round %d: a snapshot, where there was a place in the ring", round)
					}
					return resumed == 2
				})
				r.book(btc).publish(rnd, 5)
				r.book(eth).publish(rnd, 5)
				for _, symbol := range []string{btc, eth} {
					seq, hash := r.book(symbol).where()
					m := l.held[key10(symbol)]
					for m.mine < seq {
						l.next()
					}
					if m.hash() != hash {
						t.Fatalf("round %d: %s has the hash %08x, want %08x", round, symbol, m.hash(), hash)
					}
				}
				l.leave()
			}
		})
	}
}

// read reads n lines as a browser does: what has no blank line after it is as if it
// had not come.
func (l *listener) read(n int) {
	l.t.Helper()
	data, id := "", l.id
	for range n {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			l.t.Fatal(err)
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == "":
			if l.id = id; data != "" {
				l.take(data)
			}
			data = ""
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		case strings.HasPrefix(line, "id: "):
			id = line[len("id: "):]
		}
	}
}

// Between what a client was sent and the id that says so, and within either, its
// connection may be lost: it then comes back with the id before.
func TestEventStreamThatIsLostAnywhereGoesOn(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	d, rnd := r.open(false), seeded(8)
	both := func(most int) {
		r.book(btc).publish(rnd, most)
		r.book(eth).publish(rnd, most)
	}
	both(30)
	query := "symbol=" + btc + "&symbol=" + eth + "&depth=10"
	var l *listener
	for range 60 {
		both(30)
		l = d.listen(query, l)
		l.read(rnd.IntN(15)) // retry, hello, two acks, two of data and the id, each with a blank line
		_ = l.conn.Close()
	}
	l = d.listen(query, l)
	for _, symbol := range []string{btc, eth} {
		seq, hash := r.book(symbol).where()
		for m := l.held[key10(symbol)]; m == nil || m.mine < seq; m = l.held[key10(symbol)] {
			l.next()
		}
		if m := l.held[key10(symbol)]; m.hash() != hash {
			t.Errorf("%s has the hash %08x, want %08x", symbol, m.hash(), hash)
		}
	}
}

func key10(symbol string) proto.TopicKey {
	return proto.TopicKey{Symbol: symbol, Channel: proto.ChannelBook, View: proto.View{Depth: 10}}
}

func TestResumeTokenAloneGoesOn(t *testing.T) {
	r := newRig(t, nil, btc)
	d, rnd := r.open(false), seeded(3)
	r.book(btc).publish(rnd, 5)
	l := d.listen("symbol="+btc+"&channel=trades&channel=book&last=3&interval_ms=90&policy=drop", nil)
	l.until(func(f *pb.Frame) bool { return f.GetSnapshot() != nil })
	l.leave()
	token := l.id
	l.id = ""
	again := d.listen("resume="+token, l)
	var acks []*pb.Ack
	again.until(func(f *pb.Frame) bool {
		if a := f.GetAck(); a != nil {
			acks = append(acks, a)
		}
		return len(acks) == 2
	})
	if a := acks[1]; !a.Resumed || a.Channel != pb.Channel_CHANNEL_BOOK || a.IntervalMs != 100 || a.Policy != pb.Policy_POLICY_DROP {
		t.Errorf("the token gives %v", a)
	}
	if a := acks[0]; !a.Resumed || a.Channel != pb.Channel_CHANNEL_TRADES {
		t.Errorf("the token gives %v", a)
	}
}

func TestEventStreamThatIsSlowIsConflatedAndThatStandsStillDropped(t *testing.T) {
	sockets := &polltest.Sockets{}
	r := newRig(t, func(c *Config) { c.Sockets, c.RingEntries = sockets, 64 }, btc)
	rnd := seeded(4)
	r.book(btc).publish(rnd, 5)
	d := r.open(false)
	l := d.listen("symbol="+btc, nil)
	l.until(func(f *pb.Frame) bool { return f.GetSnapshot() != nil })
	var fd int
	r.hub.shards[0].do(func() { fd = int(r.hub.shards[0].conns[0].fd) })
	r.sync()
	sockets.OnSend(fd, polltest.Again(1))
	r.hold(func() {
		for range 10 {
			r.book(btc).publish(rnd, 5)
		}
	})
	merged := uint32(0)
	seq, _ := r.book(btc).where()
	topic := uint32(0)
	l.until(func(f *pb.Frame) bool {
		merged = max(merged, f.GetDelta().GetMerged())
		topic = max(topic, topicOf(f))
		return l.at(topic, seq)(f)
	})
	if merged < 2 {
		t.Error("what it missed came one by one")
	}
	sockets.OnSend(fd, polltest.Again(1<<30))
	r.book(btc).publish(rnd, 5)
	r.until("a full socket", func() bool { return r.blocked() == 1 })
	r.advance(r.hub.config.StallTimeout)
	r.until("the drop", func() bool { return r.hub.Stats().Drops[DropStalled] == 1 })
}

func TestQuietEventStreamIsKeptAlive(t *testing.T) {
	r := newRig(t, nil, btc)
	l := r.open(false).listen("symbol="+btc, nil)
	l.until(func(f *pb.Frame) bool { return f.GetSnapshot() != nil })
	l.leave0()
	r.until("comments", func() bool {
		r.advance(sweepEvery)
		return l.comments(r) >= 3
	})
	if n := r.hub.Stats().Conns; n != 1 {
		t.Errorf("%d connections: who cannot speak was taken for silent", n)
	}
}

// leave0 reads what there is up to the id.
func (l *listener) leave0() {
	conn := l.conn
	l.conn = nil
	l.leave()
	l.conn = conn
}

// comments counts those that have come.
func (l *listener) comments(r *rig) (n int) {
	r.sync()
	for {
		b, _ := l.lines.Peek(max(1, l.lines.Buffered()))
		n = strings.Count(string(b), ":\n")
		if n >= 3 || len(b) >= 9 {
			return n
		}
		_ = l.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := l.lines.Peek(l.lines.Buffered() + 1); err != nil {
			return n
		}
	}
}

func TestEventStreamSaysWhyItEnds(t *testing.T) {
	r := newRig(t, nil, btc)
	for query, want := range map[string]string{
		"symbol=NONE": `"type":"close","code":4009,"reason":"no_topic"`,
	} {
		l := r.open(false).listen(query, nil)
		last := ""
		for {
			data, err := l.event()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			last = data
		}
		if !strings.Contains(last, want) {
			t.Errorf("%s ends with %s", query, last)
		}
	}
}

func TestWhatIsNoRequestForEventsIsRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxConns = 1 }, btc)
	d := r.open(false)
	many := strings.Repeat("symbol=A&", MaxEventTopics+1)
	for query, want := range map[string]string{
		"":                        "symbol is missing",
		"symbol=A&depth=deep":     "depth is no number",
		"symbol=A&channel=gossip": "channel is none",
		"symbol=A&policy=hope":    "policy is neither",
		"symbol=A&counts=yes":     "counts is neither",
		"symbol=%ff*":             "symbol is not UTF-8",
		"symbol=A&resume=*":       "no resume token",
		"resume=AAAA":             "no resume token",
		"resume=":                 "symbol is missing",
		many:                      "65 topics, at most 64",
		"resume=" + strings.Repeat("A", MaxResumeTokenBytes+1): "at most",
	} {
		for _, path := range []string{"/v1/sse?", "/v1/poll?"} {
			if path == "/v1/poll?" {
				query = strings.ReplaceAll(query, "resume=", "cursor=")
			}
			status, header, body := d.request("GET " + path + query + " HTTP/1.1\nHost: a\nConnection: close\n\n")
			if status != http.StatusBadRequest || header.Get("Content-Type") != "application/json" || !strings.Contains(body, want) {
				t.Errorf("%s%.40s: %d %s", path, query, status, body)
			}
		}
	}
	r.dial(proto.CodecJSON)
	for _, path := range []string{"/v1/sse?", "/v1/poll?"} {
		status, header, body := d.request("GET " + path + "symbol=A HTTP/1.1\nHost: a\nConnection: close\n\n")
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(body, `"overloaded"`) {
			t.Errorf("%s on a full server: %d %s", path, status, body)
		}
	}
}

// HEAD asks for what GET's header would be: it begins nothing, waits for nothing, and is
// not answered to strangers.
func TestHeadOfEventsAndPollsBeginsNothing(t *testing.T) {
	for name, change := range map[string]func(*Config){"": nil, "gated": func(c *Config) { c.Gate = newTestGate(nil) }} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, change, btc)
			d := r.open(false)
			want := http.StatusOK
			if change != nil {
				want = http.StatusUnauthorized
			}
			for path, kind := range map[string]string{"/v1/sse?symbol=" + btc: "text/event-stream", "/v1/poll?wait_ms=30000&symbol=" + btc: "application/json"} {
				status, header, body := d.request("HEAD " + path + " HTTP/1.1\nHost: a\nConnection: close\n\n")
				if status != want || body != "" || header.Get("Cache-Control") != "no-store" || want == http.StatusOK && header.Get("Content-Type") != kind {
					t.Errorf("%s: %d %v %q", path, status, header, body)
				}
			}
			if s := r.hub.Stats(); s.Requests != 0 || s.Subscribed != 0 {
				t.Errorf("%d requests, %d subscriptions were begun", s.Requests, s.Subscribed)
			}
		})
	}
}

// listen2 begins an event stream over HTTP/2.
func (d *door) listen2(query string, before *listener) *listener {
	d.rig.t.Helper()
	l := newListener(d.rig.t, before)
	request, err := http.NewRequest(http.MethodGet, d.secureURL()+"/v1/sse?"+query, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if l.id != "" {
		request.Header.Set("Last-Event-ID", l.id)
	}
	if l.answer, err = d.client2().Do(request); err != nil {
		l.t.Fatal(err)
	}
	if l.answer.ProtoMajor != 2 {
		l.t.Fatalf("spoke %s", l.answer.Proto)
	}
	return l.begin()
}

func (d *door) secureURL() string { return "https://" + d.address }

// client2 speaks HTTP/2 to a door with TLS.
func (d *door) client2() *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.roots}, ForceAttemptHTTP2: true}
	d.rig.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func TestEventStreamOverHTTP2(t *testing.T) {
	r := newRig(t, nil, btc)
	d, rnd := r.open(true), seeded(5)
	r.book(btc).publish(rnd, 5)
	l := d.listen2("symbol="+btc+"&depth=10", nil)
	l.until(func(f *pb.Frame) bool { return f.GetSnapshot() != nil })
	for range 50 {
		r.book(btc).publish(rnd, 5)
	}
	seq, _ := r.book(btc).where()
	for l.held[key10(btc)].mine < seq {
		l.next()
	}
	l.leave()
	_ = l.answer.Body.Close()
	r.until("the end of the relay", func() bool { return r.hub.Stats().Conns == 0 && r.hub.relays.Load() == 0 })
	r.book(btc).publish(rnd, 5)
	l = d.listen2("symbol="+btc+"&depth=10", l)
	resumed := false
	seq, hash := r.book(btc).where()
	l.until(func(f *pb.Frame) bool {
		resumed = resumed || f.GetAck().GetResumed()
		return l.held[key10(btc)] != nil && l.held[key10(btc)].mine >= seq
	})
	if m := l.held[key10(btc)]; !resumed || m.hash() != hash {
		t.Errorf("resumed: %t; hash %08x, want %08x", resumed, m.hash(), hash)
	}
}

func TestRelaysAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxRelays = 1 }, btc)
	d := r.open(true)
	l := d.listen2("symbol="+btc, nil)
	l.next()
	answer, err := d.client2().Get(d.secureURL() + "/v1/poll?symbol=" + btc)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
		t.Errorf("answered with %s", answer.Status)
	}
}

// pollOf is the answer of a poll.
type pollOf struct {
	Type   string            `json:"type"`
	Frames []json.RawMessage `json:"frames"`
	Cursor string            `json:"cursor"`
}

// poll asks once, and applies the frames to l's books.
func (d *door) poll(l *listener, query string) (answer pollOf, frames []*pb.Frame) {
	d.rig.t.Helper()
	if l.id != "" {
		query += "&cursor=" + url.QueryEscape(l.id)
	}
	status, header, body := d.request("GET /v1/poll?" + query + " HTTP/1.1\nHost: a\nConnection: close\n\n")
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		d.rig.t.Fatalf("%d %v %v %s", status, header, err, body)
	}
	for _, f := range answer.Frames {
		frames = append(frames, l.take(string(f)))
	}
	l.id = answer.Cursor
	return answer, frames
}

func TestPollAnswersWithWhatIsOwed(t *testing.T) {
	r := newRig(t, nil, btc, eth)
	d, rnd := r.open(false), seeded(6)
	r.book(btc).publish(rnd, 5)
	l := newListener(t, nil)
	_, frames := d.poll(l, "symbol="+btc+"&symbol="+eth+"&depth=10")
	if len(frames) != 4 || frames[2].GetSnapshot() == nil || frames[3].GetSnapshot() == nil {
		t.Fatalf("the first answer is %v", frames)
	}
	for range 20 {
		for range 1 + rnd.IntN(5) {
			r.book(btc).publish(rnd, 5)
		}
		_, frames = d.poll(l, "")
		seq, hash := r.book(btc).where()
		m := l.held[key10(btc)]
		if m.mine != seq || m.hash() != hash || len(frames) != 3 || frames[2].GetDelta() == nil {
			t.Fatalf("at %d after %v, want %d", m.mine, frames, seq)
		}
	}
	if n := l.held[key10(btc)].snapshots; n != 1 {
		t.Errorf("%d snapshots", n)
	}
}

func TestPollWaitsForWhatIsToCome(t *testing.T) {
	r := newRig(t, nil, btc)
	d, rnd := r.open(false), seeded(7)
	l := newListener(t, nil)
	d.poll(l, "symbol="+btc)
	was := l.id
	if _, frames := d.poll(l, "wait_ms=1"); len(frames) != 1 || !frames[0].GetAck().GetResumed() || l.id != was {
		t.Fatalf("nothing is owed, and %v comes, with the cursor %s after %s", frames, l.id, was)
	}
	done := make(chan []*pb.Frame)
	go func() {
		_, frames := d.poll(l, "wait_ms=30000")
		done <- frames
	}()
	r.until("the poll", func() bool { return r.hub.Stats().Subscriptions == 1 })
	r.book(btc).publish(rnd, 5)
	if frames := <-done; len(frames) != 2 || frames[1].GetDelta() == nil {
		t.Errorf("got %v", frames)
	}
	r.until("the end of the relays", func() bool { return r.hub.Stats().Conns == 0 && r.hub.relays.Load() == 0 })
}

func TestPollOfNothingThatThereIsSaysSo(t *testing.T) {
	d := newRig(t, nil, btc).open(false)
	answer, frames := d.poll(newListener(t, nil), "symbol=NONE")
	if len(frames) != 2 || frames[0].GetError().GetCode() != pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL || answer.Cursor != "" {
		t.Errorf("got %v", answer)
	}
}

func FuzzResumeTokenIsTakenOrRefused(f *testing.F) {
	for _, token := range []string{"", "AAAA", "ChAKC1NJTTpCVEMtVVNEEAEY", "Ci0KC1NJTTpCVEMtVVNEEAEYCkobCfM0AAAAAAAAEAoV", "====", "\n"} {
		f.Add(token, "symbol=A&channel=trades&last=5")
	}
	f.Fuzz(func(t *testing.T, token, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		r := &http.Request{URL: &url.URL{RawQuery: values.Encode()}}
		ask, err := asked(r, token)
		if err != nil {
			return
		}
		if n := len(ask.Items); n == 0 || n > MaxEventTopics {
			t.Errorf("%d items", n)
		}
	})
}

// Acks without data, of which nothing that is known has so many, end a poll too: it
// keeps no more of them.
func TestPollIsAnsweredBeforeItsAcksAreTooMany(t *testing.T) {
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	go func() {
		defer func() { _ = in.Close() }()
		_, err := io.WriteString(in, "id: here\n\n")
		for err == nil {
			_, err = io.WriteString(in, `data: {"type":"ack","id":1}`+"\n\n")
		}
	}()
	w := httptest.NewRecorder()
	a := pollAnswer{w: w, control: http.NewResponseController(w), relay: &relay{Reader: bufio.NewReader(out), pipe: out}, until: time.Now().Add(patience)}
	if err := a.collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.end()
	if n := w.Body.Len(); n < maxEarlyBytes || n > 2*maxEarlyBytes || !strings.HasSuffix(w.Body.String(), `],"cursor":"here"}`+"\n") {
		t.Errorf("%d bytes", n)
	}
}
