package fanout

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/gobwas/ws"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// testGate knows tokens by heart.
type testGate struct {
	mu     sync.Mutex
	grants map[string]*Grant
	away   bool          // tokens cannot be checked
	hold   chan struct{} // if any: Admit waits for one
}

func newTestGate(grants map[string]*Grant) *testGate {
	g := &testGate{grants: map[string]*Grant{}}
	for token, grant := range grants {
		g.set(token, grant)
	}
	return g
}

// set makes a token grant something else; nil: nothing.
func (g *testGate) set(token string, grant *Grant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if grant != nil {
		grant.Key = token
	}
	g.grants[token] = grant
}

func (g *testGate) Admit(ctx context.Context, token string) (*Grant, error) {
	if g.hold != nil {
		select {
		case <-g.hold:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrGate, ctx.Err())
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch grant := g.grants[token]; {
	case g.away:
		return nil, ErrGate
	case grant == nil:
		return nil, fmt.Errorf("%w: not one of the test's", ErrToken)
	default:
		return grant, nil
	}
}

func (g *testGate) Present(grant *Grant) *Grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.grants[grant.Key]
}

// gated starts a rig with a gate.
func gated(t *testing.T, grants map[string]*Grant, change func(*Config)) (*rig, *testGate) {
	gate := newTestGate(grants)
	r := newRig(t, func(c *Config) {
		c.Gate, c.AuthTimeout = gate, 5*time.Second
		if change != nil {
			change(c)
		}
	}, btc, eth)
	return r, gate
}

// auth asks to be admitted.
func (c *client) auth(id uint32, token string) {
	c.t.Helper()
	c.ask(&pb.Request{Id: id, Body: &pb.Request_Auth{Auth: &pb.Auth{Token: token}}})
}

// login asks to be admitted, and returns the hello that follows on the ack.
func (c *client) login(token string) (*pb.Ack, *pb.Hello) {
	c.t.Helper()
	c.auth(1, token)
	ack := c.next().GetAck()
	if ack == nil || ack.Id != 1 || ack.Topic != 0 {
		c.t.Fatalf("%v, want the ack of auth", ack)
	}
	hello := c.next().GetHello()
	if hello == nil || hello.AuthRequired {
		c.t.Fatalf("%v, want a hello to a user", hello)
	}
	return ack, hello
}

func TestStrangerIsToldToShowATokenAndNothingElse(t *testing.T) {
	r, _ := gated(t, nil, nil)
	c := r.dial(proto.CodecProto)
	if !c.hello.AuthRequired || c.hello.Server != "" {
		t.Errorf("a stranger is greeted with %v", c.hello)
	}
	for _, request := range []*pb.Request{
		subscribeTo(7, book),
		{Id: 7, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{1}}}},
		{Id: 7, Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: []uint32{1}}}},
		{Id: 7, Body: &pb.Request_Modify{Modify: &pb.Modify{MaxHz: 1}}},
		{Id: 7, Body: &pb.Request_Mismatch{Mismatch: &pb.Mismatch{Topic: 1}}},
	} {
		c.ask(request)
		if e := c.refused(pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED); e.Id != 7 || e.Item != nil || strings.Contains(e.Message, "SIM") {
			t.Errorf("%v is refused with %v", request, e)
		}
	}
	c.ask(&pb.Request{Id: 8, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
	if c.next().GetPong() == nil {
		t.Error("no pong")
	}
	if r.hub.Stats().Subscriptions != 0 {
		t.Error("a stranger is subscribed")
	}
}

func TestTokenIsToComeInTime(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"good": {User: "a", Symbols: []string{"*"}}}, nil)
	late, intime := r.dial(proto.CodecProto), r.dial(proto.CodecProto)
	intime.login("good")
	r.advance(5 * time.Second)
	if code, text := late.closed(); code != 4006 || !strings.HasPrefix(text, "unauthenticated:") {
		t.Errorf("closed with %d %q", code, text)
	}
	intime.subscribe(book)
}

func TestStrangerMayTryThreeTokens(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"good": {User: "a"}}, nil)
	guesser, typist := r.dial(proto.CodecProto), r.dial(proto.CodecProto)
	for range maxRefused - 1 {
		guesser.auth(3, "bad")
		guesser.refused(pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED)
		typist.auth(3, "bad")
		typist.refused(pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED)
	}
	guesser.auth(3, "bad")
	if code, _ := guesser.closed(); code != 4006 {
		t.Errorf("closed with %d", code)
	}
	typist.login("good")
}

func TestGatelessServerKnowsNoTokens(t *testing.T) {
	r := newRig(t, nil, btc)
	c := r.dial(proto.CodecProto)
	c.auth(4, "any")
	c.refused(pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED)
	c.subscribe(book)
}

func TestWhatIsNotGrantedIsRefusedItemByItem(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"t": {User: "a", Symbols: []string{"SIM:BTC-*", "SIM:NONE"},
		Channels: []proto.Channel{proto.ChannelBook, proto.ChannelTrades, proto.ChannelInstruments}, MaxDepth: 25, MinInterval: 70 * time.Millisecond}}, nil)
	c := r.dial(proto.CodecProto)
	_, hello := c.login("t")
	if hello.Limits.MaxDepth != 25 || !slices.Equal(hello.Depths, []uint32{1, 5, 10, 20, 25}) || hello.IntervalsMs[0] != 100 ||
		!slices.Equal(hello.Channels, []pb.Channel{pb.Channel_CHANNEL_BOOK, pb.Channel_CHANNEL_TRADES, pb.Channel_CHANNEL_INSTRUMENTS}) {
		t.Errorf("hello says %v", hello)
	}
	no, unknown := pb.ErrorCode_ERROR_CODE_FORBIDDEN, pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL
	for _, item := range []struct {
		of   *pb.SubscribeItem
		code pb.ErrorCode // 0: granted
	}{
		{&pb.SubscribeItem{Symbol: btc, Depth: 25}, 0},
		{&pb.SubscribeItem{Symbol: btc, Depth: 11}, 0},
		{&pb.SubscribeItem{Symbol: btc, Depth: 26}, no},
		{&pb.SubscribeItem{Symbol: btc}, no}, // all levels
		{&pb.SubscribeItem{Symbol: btc, Depth: 5, Group: "10"}, no},
		{&pb.SubscribeItem{Symbol: eth, Depth: 5}, no},
		{&pb.SubscribeItem{Symbol: "SIM:ABSENT", Depth: 5}, no}, // is told no more than of one that exists
		{&pb.SubscribeItem{Symbol: "SIM:NONE", Depth: 5}, unknown},
		{&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_ORDERS, Depth: 5}, no},
		{&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TICKER}, no},
		{&pb.SubscribeItem{Symbol: btc, Channel: pb.Channel_CHANNEL_TRADES}, 0},
		{&pb.SubscribeItem{Symbol: "SIM:BTC-U*", Channel: pb.Channel_CHANNEL_INSTRUMENTS}, 0},
		{&pb.SubscribeItem{Symbol: "SIM:B*", Channel: pb.Channel_CHANNEL_INSTRUMENTS}, no},
		{&pb.SubscribeItem{Symbol: "*", Channel: pb.Channel_CHANNEL_INSTRUMENTS}, no},
	} {
		c.ask(subscribeTo(2, item.of))
		answer := c.answer()
		switch e := answer.GetError(); {
		case e != nil && e.Code != item.code, e == nil && item.code != 0:
			t.Errorf("%v is answered with %v", item.of, answer)
		case e != nil && (e.Item == nil || e.Retry != pb.Retry_RETRY_NEVER):
			t.Errorf("%v is refused with %v", item.of, e)
		case e == nil && answer.GetAck().IntervalMs != 100:
			t.Errorf("%v is granted every %d ms", item.of, answer.GetAck().IntervalMs)
		}
	}
}

// answer returns the next ack or error.
func (c *client) answer() *pb.Frame {
	c.t.Helper()
	for {
		if f := c.next(); f.GetAck() != nil || f.GetError() != nil {
			return f
		}
	}
}

func TestModifyGrantsNoMoreThanSubscribe(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"t": {User: "a", Symbols: []string{"*"}, MaxDepth: 10, MinInterval: 100 * time.Millisecond}}, nil)
	c := r.dial(proto.CodecProto)
	c.login("t")
	ack := c.subscribe(&pb.SubscribeItem{Symbol: btc, Depth: 10})
	depth, group, interval := uint32(20), "10", uint32(0)
	for _, item := range []*pb.ModifyItem{{Topic: ack.Topic, Depth: &depth}, {Topic: ack.Topic, Group: &group}} {
		c.ask(&pb.Request{Id: 3, Body: &pb.Request_Modify{Modify: &pb.Modify{Items: []*pb.ModifyItem{item}}}})
		c.refused(pb.ErrorCode_ERROR_CODE_FORBIDDEN)
	}
	c.ask(&pb.Request{Id: 4, Body: &pb.Request_Modify{Modify: &pb.Modify{Items: []*pb.ModifyItem{{Topic: ack.Topic, IntervalMs: &interval}}}}})
	if again := c.answer().GetAck(); again.GetTopic() != ack.Topic || again.IntervalMs != 100 {
		t.Errorf("answered with %v", again)
	}
}

func TestResumeTokenGrantsNothing(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"all": {User: "a", Symbols: []string{"*"}}, "eth": {User: "b", Symbols: []string{eth}}}, nil)
	c := r.dial(proto.CodecProto)
	c.login("all")
	ack := c.subscribe(book)
	seq, hash := r.book(btc).where()
	other := r.dial(proto.CodecProto)
	resume := &pb.SubscribeItem{Symbol: btc, Resume: &pb.Resume{Epoch: ack.Epoch, Seq: seq, Hash: hash}}
	other.ask(subscribeTo(5, resume))
	other.refused(pb.ErrorCode_ERROR_CODE_UNAUTHENTICATED)
	other.login("eth")
	other.ask(subscribeTo(6, resume))
	other.refused(pb.ErrorCode_ERROR_CODE_FORBIDDEN)
	if n := r.hub.Stats().Resumed; n != 0 {
		t.Errorf("%d resumed", n)
	}
}

func TestTokenThatEndsEndsTheConnection(t *testing.T) {
	begin := newClock().Now()
	r, _ := gated(t, map[string]*Grant{
		"short": {User: "a", Symbols: []string{"*"}, Until: begin.Add(20 * time.Second)},
		"long":  {User: "a", Symbols: []string{"*"}, Until: begin.Add(40 * time.Second)},
		"ever":  {User: "c", Symbols: []string{"*"}},
	}, nil)
	d := r.open(false)
	short, renewed, ever := d.dialAs(proto.CodecProto, "short"), d.dialAs(proto.CodecProto, "short"), d.dialAs(proto.CodecProto, "ever")
	if short.hello.AuthUntil != begin.Add(20*time.Second).UnixNano() || ever.hello.AuthUntil != 0 {
		t.Errorf("told %d and %d", short.hello.AuthUntil, ever.hello.AuthUntil)
	}
	topic := renewed.subscribe(book).Topic
	ack, _, _ := renewed.renew(9, "long")
	if ack.AuthUntil != begin.Add(40*time.Second).UnixNano() {
		t.Errorf("renewed until %d", ack.AuthUntil)
	}
	r.advance(20 * time.Second)
	if code, text := short.closed(); code != 4007 || !strings.HasPrefix(text, "token_ended:") {
		t.Errorf("closed with %d %q", code, text)
	}
	for _, c := range []*client{renewed, ever} { // and is it still there?
		c.ask(&pb.Request{Id: 8, Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{topic}}}})
		if c.answer(); c == renewed {
			c.subscribe(book)
		}
	}
	r.advance(20 * time.Second)
	if code, _ := renewed.closed(); code != 4007 {
		t.Errorf("closed with %d", code)
	}
}

// renew shows another token, and returns its ack with what it ended and what it made
// rarer.
func (c *client) renew(id uint32, token string) (ack *pb.Ack, revoked []*pb.Error, rarer []*pb.Ack) {
	c.t.Helper()
	c.auth(id, token)
	for {
		f := c.next()
		switch {
		case f.GetAck() != nil && f.GetAck().Topic == 0:
			ack = f.GetAck()
		case f.GetAck() != nil:
			rarer = append(rarer, f.GetAck())
		case f.GetError() != nil:
			revoked = append(revoked, f.GetError())
		case f.GetHello() != nil:
			return ack, revoked, rarer
		}
	}
}

func TestClaimsThatNarrowEndWhatTheyNoLongerCover(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{
		"wide":   {User: "a", Symbols: []string{"*"}},
		"narrow": {User: "a", Symbols: []string{btc}, MaxDepth: 10, Channels: []proto.Channel{proto.ChannelBook}, MinInterval: 100 * time.Millisecond},
	}, nil)
	c := r.dial(proto.CodecProto)
	c.login("wide")
	kept := c.subscribe(&pb.SubscribeItem{Symbol: btc, Depth: 10}).Topic
	ends := map[uint32]bool{}
	for _, item := range []*pb.SubscribeItem{{Symbol: btc}, {Symbol: eth, Depth: 10}, {Symbol: btc, Channel: pb.Channel_CHANNEL_TRADES}} {
		ends[c.subscribe(item).Topic] = true
	}
	_, revoked, rarer := c.renew(9, "narrow")
	for _, e := range revoked {
		if e.Code != pb.ErrorCode_ERROR_CODE_REVOKED || e.Id != 9 || e.Item != nil || !ends[e.Topic] {
			t.Errorf("ended with %v", e)
		}
		delete(ends, e.Topic)
	}
	if len(ends) != 0 {
		t.Errorf("not ended: %v", slices.Collect(maps.Keys(ends)))
	}
	if n := r.hub.Stats().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions", n)
	}
	if len(rarer) != 1 || rarer[0].Topic != kept || rarer[0].IntervalMs != 100 || rarer[0].Id != 9 {
		t.Errorf("told of topics that come more rarely: %v", rarer)
	}
	for range 3 {
		r.book(eth).publish(seeded(1), 3)
		r.book(btc).publish(seeded(1), 3)
		r.sync() // what is left comes no more often than its interval
	}
	r.advance(100 * time.Millisecond)
	for {
		if d := c.next().GetDelta(); d != nil {
			if d.Topic != kept || d.Merged != 3 {
				t.Errorf("a delta of topic %d, of %d", d.Topic, d.Merged)
			}
			return
		}
	}
}

func TestTokenOfAnotherUserNeedsAnotherConnection(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"a": {User: "a", Symbols: []string{btc}}, "b": {User: "b", Symbols: []string{eth}}}, nil)
	c := r.dial(proto.CodecProto)
	c.login("a")
	c.auth(2, "b")
	c.refused(pb.ErrorCode_ERROR_CODE_FORBIDDEN)
	c.subscribe(book) // as before
}

func TestTokenThatIsTakenBackEndsOrNarrowsConnectionsAtOnce(t *testing.T) {
	r, gate := gated(t, map[string]*Grant{"gone": {User: "a", Symbols: []string{"*"}}, "less": {User: "b", Symbols: []string{"*"}}, "same": {User: "c", Symbols: []string{"*"}}}, nil)
	gone, less, same := r.dial(proto.CodecProto), r.dial(proto.CodecProto), r.dial(proto.CodecProto)
	gone.login("gone")
	less.login("less")
	same.login("same")
	topic := less.subscribe(book).Topic
	same.subscribe(book)
	gate.set("gone", nil)
	gate.set("less", &Grant{User: "b", Symbols: []string{eth}})
	r.hub.Reconsider()
	if code, _ := gone.closed(); code != 4007 {
		t.Errorf("closed with %d", code)
	}
	if e := less.refused(pb.ErrorCode_ERROR_CODE_REVOKED); e.Topic != topic {
		t.Errorf("ended with %v", e)
	}
	less.subscribe(&pb.SubscribeItem{Symbol: eth})
	if n := r.hub.Stats().Subscriptions; n != 2 {
		t.Errorf("%d subscriptions", n)
	}
}

func TestTokenThatIsTakenBackWhileItIsCheckedGrantsNothing(t *testing.T) {
	r, gate := gated(t, map[string]*Grant{"t": {User: "a", Symbols: []string{"*"}}}, nil)
	stale := gate.grants["t"]
	gate.set("t", nil)
	c := r.connect(Accepted{Codec: proto.CodecProto, grant: stale}, nil)
	if code, _ := c.closed(); code != 4007 {
		t.Errorf("closed with %d", code)
	}
}

func TestUserHasNoMoreConnectionsThanGranted(t *testing.T) {
	r, _ := gated(t, map[string]*Grant{"two": {User: "a", MaxConns: 2}, "other": {User: "b", MaxConns: 1}}, nil)
	d := r.open(false)
	first, _ := d.dialAs(proto.CodecProto, "two"), d.dialAs(proto.CodecProto, "two")
	status, header, body := d.request(upgradeRequest("HTTP/1.1", "Authorization: Bearer two"))
	if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" || strings.Contains(body, "two") {
		t.Errorf("a third one is answered %d %q", status, body)
	}
	d.dialAs(proto.CodecProto, "other")
	late := r.dial(proto.CodecProto)
	late.auth(1, "two")
	if code, text := late.closed(); code != 4008 || !strings.HasPrefix(text, "too_many_connections:") {
		t.Errorf("closed with %d %q", code, text)
	}
	first.write(ws.OpClose, ws.NewCloseFrameBody(1000, ""))
	first.ended()
	r.until("its place", func() bool { return r.hub.users.of("a") == 1 })
	d.dialAs(proto.CodecProto, "two")
}

func TestShardDoesNotWaitForTheGate(t *testing.T) {
	r, gate := gated(t, map[string]*Grant{"t": {User: "a", Symbols: []string{"*"}}}, nil)
	gate.hold = make(chan struct{})
	waits, other := r.dial(proto.CodecProto), r.dial(proto.CodecProto)
	waits.auth(1, "t")
	waits.auth(2, "t")
	if e := waits.refused(pb.ErrorCode_ERROR_CODE_RATE_LIMITED); e.Id != 2 {
		t.Errorf("%v", e)
	}
	other.ask(&pb.Request{Id: 8, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
	if other.next().GetPong() == nil {
		t.Error("no pong")
	}
	gate.hold <- struct{}{}
	if ack := waits.next().GetAck(); ack.GetId() != 1 {
		t.Errorf("%v", ack)
	}
	leaves := r.dial(proto.CodecProto)
	leaves.auth(1, "t")
	_ = leaves.conn.Close()
	r.until("its end", func() bool { return r.hub.Stats().Conns == 2 })
	gate.hold <- struct{}{}
	r.sync()
	if n := r.hub.users.count(); n != 1 {
		t.Errorf("%d users", n)
	}
}

func TestGateOutOfReachAsksToComeAgain(t *testing.T) {
	r, gate := gated(t, map[string]*Grant{"t": {User: "a"}}, nil)
	gate.away = true
	c := r.dial(proto.CodecProto)
	for range maxRefused + 1 { // it is not the stranger's fault
		c.auth(1, "t")
		if e := c.refused(pb.ErrorCode_ERROR_CODE_OVERLOADED); e.RetryAfterMs == 0 {
			t.Errorf("%v", e)
		}
	}
	d := r.open(false)
	for _, request := range []string{upgradeRequest("HTTP/1.1", "Authorization: Bearer t"), "GET /v1/symbols HTTP/1.1\nHost: a\nAuthorization: Bearer t\n\n"} {
		if status, header, _ := d.request(request); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
			t.Errorf("answered %d", status)
		}
	}
}

func TestGrantOfLateBooksIsForServersThatAreLate(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Minute, 15 * time.Minute} {
		r, _ := gated(t, map[string]*Grant{"late": {User: "a", Symbols: []string{"*"}, MinDelay: 15 * time.Minute}, "now": {User: "b", Symbols: []string{"*"}}},
			func(c *Config) { c.Delay, c.Books = delay, readable{newTestBooks(btc)} })
		c := r.dial(proto.CodecProto)
		ack, hello := c.login("late")
		if want := uint32(delay.Milliseconds()); ack.DelayMs != want || hello.DelayMs != want {
			t.Errorf("labelled as %d and %d ms late", ack.DelayMs, hello.DelayMs)
		}
		d := r.open(false)
		status, header, body := d.request("GET /v1/books/" + btc + " HTTP/1.1\nHost: a\nAuthorization: Bearer late\n\n")
		listed, _, _ := d.request("GET /v1/symbols HTTP/1.1\nHost: a\nAuthorization: Bearer late\n\n")
		if delay < 15*time.Minute {
			c.ask(subscribeTo(2, book))
			c.refused(pb.ErrorCode_ERROR_CODE_FORBIDDEN)
			if status != http.StatusForbidden || listed != http.StatusOK {
				t.Errorf("over HTTP %d %s", status, body)
			}
		} else if ack := c.subscribe(book); ack.DelayMs != 900_000 || status != http.StatusOK || header.Get(DelayHeader) != "900000" {
			t.Errorf("granted %v, over HTTP %d %v", ack, status, header)
		}
	}
}

// of returns how many connections a user has.
func (u *users) of(user string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.conns[user]
}

// usage is a Meter that writes down what it is told.
type usage struct {
	mu  sync.Mutex
	had []string
}

func (u *usage) Began(user string, key proto.TopicKey, _ time.Time) { u.note("began", user, key) }
func (u *usage) Ended(user string, key proto.TopicKey, _ time.Time) { u.note("ended", user, key) }

func (u *usage) note(what, user string, key proto.TopicKey) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.had = append(u.had, fmt.Sprintf("%s %s %s %s", what, user, key.Symbol, proto.ChannelWord(key.Channel)))
}

func TestUsageOfUsersIsTold(t *testing.T) {
	u := &usage{}
	r, _ := gated(t, map[string]*Grant{"t": {User: "a", Symbols: []string{"*"}}, "eth": {User: "a", Symbols: []string{eth}}},
		func(c *Config) { c.Meter, c.Books = u, readable{newTestBooks(btc, eth)} })
	c := r.dial(proto.CodecProto)
	c.login("t")
	topic := c.subscribe(book).Topic
	c.ask(&pb.Request{Body: &pb.Request_Unsubscribe{Unsubscribe: &pb.Unsubscribe{Topics: []uint32{topic}}}})
	c.subscribe(&pb.SubscribeItem{Symbol: eth, Channel: pb.Channel_CHANNEL_TRADES})
	c.subscribe(&pb.SubscribeItem{Symbol: btc, Depth: 5})
	c.renew(2, "eth")
	_ = c.conn.Close()
	r.until("the end", func() bool { return r.hub.Stats().Conns == 0 })
	r.open(false).request("GET /v1/books/" + eth + " HTTP/1.1\nHost: a\nAuthorization: Bearer eth\n\n")
	want := []string{
		"began a SIM:BTC-USD book", "ended a SIM:BTC-USD book", "began a SIM:ETH-USD trades", "began a SIM:BTC-USD book",
		"ended a SIM:BTC-USD book", "ended a SIM:ETH-USD trades", "began a SIM:ETH-USD book", "ended a SIM:ETH-USD book",
	}
	if !slices.Equal(u.had, want) {
		t.Errorf("told %q, want %q", u.had, want)
	}
}

// What strangers have must not cost what everybody pays for.
func TestConnectionWithoutAGateHasNoPass(t *testing.T) {
	r := newRig(t, nil, btc)
	r.dial(proto.CodecProto)
	r.hub.shards[0].do(func() {
		if r.hub.shards[0].conns[0].pass != nil {
			t.Error("it has one")
		}
	})
	r.sync()
	if size := unsafe.Sizeof(conn{}); size > 288 {
		t.Errorf("a connection takes %d bytes, more than the allocator's class of 288", size)
	}
}

// A connection may have more topics than answers fit into its control buffer.
func TestTokenThatLosesVeryManyTopicsHarmsNobodyElse(t *testing.T) {
	var symbols []string
	for i := range 100 {
		symbols = append(symbols, fmt.Sprintf("SIM:S-%03d", i))
	}
	gate := newTestGate(map[string]*Grant{"all": {User: "a", Symbols: []string{"*"}}, "other": {User: "b", Symbols: []string{"*"}}})
	r := newRig(t, func(c *Config) {
		c.Gate, c.AuthTimeout, c.ControlBytes, c.MaxItems, c.RequestBurst = gate, time.Minute, 4<<10, 8, 1000
	}, symbols...)
	c, other := r.dial(proto.CodecProto), r.dial(proto.CodecProto)
	c.login("all")
	other.login("other")
	for _, symbol := range symbols {
		for _, reader := range []*client{c, other} {
			reader.subscribe(&pb.SubscribeItem{Symbol: symbol, Channel: pb.Channel_CHANNEL_BOOK})
			reader.next() // the snapshot
		}
	}
	gate.set("all", &Grant{User: "a", Symbols: []string{"SIM:S-000"}})
	r.hub.Reconsider()
	for revoked := 0; revoked < len(symbols)-1; {
		if e := c.next().GetError(); e != nil && e.Code == pb.ErrorCode_ERROR_CODE_REVOKED {
			revoked++
		}
	}
	r.sync()
	if n := r.hub.Stats().Subscriptions; n != int64(len(symbols)+1) {
		t.Errorf("%d subscriptions are left, want %d", n, len(symbols)+1)
	}
	for _, symbol := range symbols {
		r.book(symbol).publish(seeded(1), 1)
		for other.next().GetDelta() == nil {
		}
	}
}
