package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/depthcast/depthcast/client"
	"github.com/depthcast/depthcast/fanout/door"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// issuer gives tokens for everything in books that are late by some ms at least.
type issuer struct {
	t      *testing.T
	secret string
	keys   string // the file of API keys
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	return &issuer{t: t, secret: tempFile(t, strings.Repeat("s3cret..", 4)), keys: keyFile(t, "")}
}

// guards has a server take the issuer's tokens.
func (i *issuer) guards(f *serverFlags) {
	f.Dialects, f.AuthKeys, f.AuthJWTSecret, f.AuthIssuer, f.AuthAudience = true, i.keys, i.secret, "i", "depthcast"
	f.AuthTimeout = patience
}

// jwt is bob's.
func (i *issuer) jwt(delayMS int64) string {
	i.t.Helper()
	secret, err := os.ReadFile(i.secret)
	if err != nil {
		i.t.Fatal(err)
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": "i", "aud": "depthcast", "sub": "bob", "exp": time.Now().Add(time.Hour).Unix(),
		"depthcast": map[string]any{"symbols": []string{"*"}, "delay_ms": delayMS}}).SignedString(secret)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// key is alice's. Its entry is for replace.
func (i *issuer) key(delayMS int64) (key, entry string) {
	i.t.Helper()
	key, entry, err := door.NewEntry("alice", []string{"*"})
	if err != nil {
		i.t.Fatal(err)
	}
	return key, entry + fmt.Sprintf("  delay_ms: %d\n", delayMS)
}

// replace puts others in the place of the key file's entries.
func (i *issuer) replace(entries ...string) {
	i.t.Helper()
	if err := os.WriteFile(i.keys+".next", []byte("keys:\n"+strings.Join(entries, "")), 0o600); err != nil {
		i.t.Fatal(err)
	}
	if err := os.Rename(i.keys+".next", i.keys); err != nil {
		i.t.Fatal(err)
	}
}

// told asks a server for all of a symbol in a client's codec, and returns what each
// topic is answered: how late it is, or why it cannot be had.
func (r *running) told(codec proto.Codec, token, symbol string) []string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	c, err := client.New(client.Config{URL: r.stream(), Codec: codec, Token: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		r.t.Fatal(err)
	}
	items := []client.Item{{Symbol: symbol}, {Symbol: "*"}, {Symbol: symbol, Channel: proto.ChannelTrades},
		{Symbol: symbol, Channel: proto.ChannelTicker}, {Symbol: "*", Channel: proto.ChannelInstruments}}
	for _, item := range items {
		subscribe(r.t, c, item)
	}
	var answers []string
	for event, err := range c.Events(ctx) {
		switch e := event.(type) {
		case *client.Granted:
			if e.Ack.PatternTopic == 0 { // else of what a pattern brought
				answers = append(answers, fmt.Sprint("late by ", e.Ack.DelayMs))
			}
		case *client.Refused:
			answers = append(answers, e.Error.Code.String())
		}
		if err != nil || len(answers) == len(items) {
			break
		}
	}
	return answers
}

// begins opens an event stream, reads on to what is wanted or its end, and returns all of it.
func (r *running) begins(path, token, wanted string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	resp := r.opens(ctx, r.url()+path, token)
	defer resp.Body.Close()
	text := resp.Header.Get("Depthcast-Delay-Ms") + "\n"
	for lines := bufio.NewReader(resp.Body); !strings.Contains(text, wanted); {
		line, err := lines.ReadString('\n')
		if text += line; err == io.EOF {
			break
		} else if err != nil {
			r.t.Fatalf("%v behind %s", err, text)
		}
	}
	return text
}

// exchanges asks for everything that dialects have of a market (name against USD), and
// returns which of it is refused and which granted.
func (r *running) exchanges(token, name string) (refused, granted []string) {
	r.t.Helper()
	bearer := http.Header{"Authorization": {"Bearer " + token}}
	answer := func(of, text, yes, no string) {
		switch {
		case strings.Contains(text, yes):
			granted = append(granted, of)
		case strings.Contains(text, no):
			refused = append(refused, of)
		default:
			r.t.Errorf("%s is answered %s", of, text)
		}
	}
	said := func(c *exchangeClient, id int) string {
		for {
			text := string(c.next())
			if strings.Contains(text, fmt.Sprintf(`"req_id":%d,`, id)) || strings.Contains(text, fmt.Sprintf(`"req_id":%d}`, id)) || strings.Contains(text, fmt.Sprintf(`"id":%d}`, id)) {
				return text
			}
		}
	}
	id, stream := name+"USD", strings.ToLower(name)+"usd@"
	kraken, _ := r.exchange("kraken/v2", bearer)
	for i, params := range []string{`"book","symbol":["` + name + `/USD"]`, `"trade","symbol":["` + name + `/USD"]`, `"ticker","symbol":["` + name + `/USD"]`, `"instrument"`} {
		kraken.say(`{"method":"subscribe","req_id":%d,"params":{"channel":%s}}`, i+1, params)
		answer("Kraken's "+params, said(kraken, i+1), `"success":true`, "EAccount:Invalid permissions")
	}
	_ = kraken.Close()
	binance, _ := r.exchange("binance/ws/"+stream+"depth5", bearer)
	binance.say(`{"method":"LIST_SUBSCRIPTIONS","id":1}`)
	answer("Binance's stream of an address", said(binance, 1), `["`+stream+`depth5"]`, `[]`)
	for i, of := range []string{"depth", "depth10@100ms", "trade", "bookTicker"} {
		binance.say(`{"method":"SUBSCRIBE","params":["%s%s"],"id":%d}`, stream, of, i+2)
		answer("Binance's "+of, said(binance, i+2), `"result":null`, "not granted")
	}
	_ = binance.Close()
	for path, no := range map[string]string{
		"kraken/0/public/Assets":                   `"result":{}`,
		"kraken/0/public/AssetPairs":               `"result":{}`,
		"kraken/0/public/AssetPairs?pair=" + id:    "Unknown asset pair",
		"kraken/0/public/Depth?pair=" + id:         "EGeneral:Permission denied",
		"binance/api/v3/exchangeInfo":              `"symbols":[]`,
		"binance/api/v3/exchangeInfo?symbol=" + id: "Invalid symbol.",
		"binance/api/v3/depth?symbol=" + id:        "permissions for action",
	} {
		yes := name
		if strings.Contains(path, "v3/depth") {
			yes = "lastUpdateId"
		}
		_, body := r.get(r.url()+"/dialect/"+path, token)
		answer(path, body, yes, no)
	}
	return refused, granted
}

// A token for books that are late by delay_ms is good where they are that late, and
// nowhere else, of whatever kind it is and however it is used.
func TestEndToEndGrantOfLateBooksIsGoodWhereTheyAreThatLate(t *testing.T) {
	t.Parallel()
	l, issued := newLate(t), newIssuer(t)
	l.list("ALPHA", -lateBy)
	early, earlyEntry := issued.key(lateBy.Milliseconds() + 1)
	enough, enoughEntry := issued.key(lateBy.Milliseconds())
	any, anyEntry := issued.key(0)
	issued.replace(earlyEntry, enoughEntry, anyEntry)
	late := l.server(func(_ *readFlags, f *serverFlags) { issued.guards(f) })
	prompt := l.serve(func(_ *readFlags, f *serverFlags) { issued.guards(f) })
	for _, r := range []*running{late, prompt} {
		r.known("SIM:ALPHA-USD")
		r.caughtUpTo(l.lab)
		r.until("named in dialects", func() bool {
			_, body := r.get(r.url()+"/dialect/binance/api/v3/exchangeInfo", any)
			return strings.Contains(body, "ALPHAUSD")
		})
	}
	for token, least := range map[string]int64{early: lateBy.Milliseconds() + 1, enough: lateBy.Milliseconds(), any: 0,
		issued.jwt(lateBy.Milliseconds() + 1): lateBy.Milliseconds() + 1, issued.jwt(lateBy.Milliseconds()): lateBy.Milliseconds(), issued.jwt(0): 0} {
		for _, r := range []*running{late, prompt} {
			is := r.delay.Milliseconds()
			granted := is >= least
			t.Logf("a token for %d ms at a server that is late by %d", least, is)
			want := pb.ErrorCode_ERROR_CODE_FORBIDDEN.String()
			if granted {
				want = fmt.Sprint("late by ", is)
			}
			for _, codec := range []proto.Codec{proto.CodecProto, proto.CodecJSON} {
				if got := r.told(codec, token, "SIM:ALPHA-USD"); !slices.Equal(got, slices.Repeat([]string{want}, 5)) {
					t.Errorf("%v is told %v, want %s", codec, got, want)
				}
			}
			const query = "symbol=SIM:ALPHA-USD&channel=book&channel=trades&channel=ticker"
			events := r.begins("/v1/sse?"+query, token, `"type":"ticker"`)
			_, poll := r.get(r.url()+"/v1/poll?wait_ms=0&"+query, token)
			for of, text := range map[string]string{"an event stream": events, "a poll": poll} {
				acks, errors := strings.Count(text, `"type":"ack"`), strings.Count(text, `"code":"forbidden"`)
				if granted && (acks != 3 || errors != 0) || !granted && (acks != 0 || errors != 3 || strings.Contains(text, `"bids"`)) {
					t.Errorf("%s is told %s", of, text)
				}
				if labels := strings.Count(text, fmt.Sprintf(`"delay_ms":%d`, is)); granted && is > 0 && labels < 3 {
					t.Errorf("%s is not labelled: %s", of, text)
				}
			}
			status, body := r.get(r.url()+"/v1/books/SIM:ALPHA-USD", token)
			_, list := r.get(r.url()+"/v1/symbols", token)
			if (status == http.StatusOK) != granted || !granted && (status != http.StatusForbidden || !strings.Contains(body, `"forbidden"`)) || strings.Contains(list, "ALPHA") != granted {
				t.Errorf("over HTTP %d %s, and %s", status, body, list)
			}
			if no, yes := r.exchanges(token, "ALPHA"); granted && len(no) > 0 || !granted && len(yes) > 0 {
				t.Errorf("in dialects %v is granted, %v is not", yes, no)
			}
			if !granted { // nor is it told whether something exists
				r.exchanges(token, "NOPE")
			}
		}
	}
}

// renew shows another token, and returns how many topics that ends, by error code.
func (s *socket) renew(id uint32, token string) map[pb.ErrorCode]int {
	s.t.Helper()
	s.ask(&pb.Request{Id: id, Body: &pb.Request_Auth{Auth: &pb.Auth{Token: token}}})
	ended, acknowledged := map[pb.ErrorCode]int{}, false
	s.frame(func(f *pb.Frame) bool {
		acknowledged = acknowledged || f.GetAck().GetId() == id && f.GetAck().Topic == 0
		if e := f.GetError(); e != nil {
			if ended[e.Code]++; e.Id != id || e.Topic == 0 || e.Retry != pb.Retry_RETRY_NEVER {
				s.t.Errorf("%v", e)
			}
		}
		return f.GetHello() != nil && acknowledged
	})
	return ended
}

// A token that is shown in place of another, and asks for books later than these, ends
// every topic with a word; the connection goes on, and is told nothing more.
func TestEndToEndRenewalForLaterBooksEndsEveryTopic(t *testing.T) {
	t.Parallel()
	l, issued := newLate(t), newIssuer(t)
	l.list("ALPHA", -lateBy)
	for _, r := range []*running{
		l.server(func(_ *readFlags, f *serverFlags) { issued.guards(f) }),
		l.serve(func(_ *readFlags, f *serverFlags) { issued.guards(f) }),
	} {
		r.known("SIM:ALPHA-USD")
		s, is := r.connect(proto.CodecProto), r.delay.Milliseconds()
		s.renew(1, issued.jwt(0))
		subscribe := &pb.Request{Id: 2, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: []*pb.SubscribeItem{
			{Symbol: "SIM:ALPHA-USD"}, {Symbol: "SIM:*", Depth: 5}, {Symbol: "*", Channel: pb.Channel_CHANNEL_INSTRUMENTS}}}}}
		s.ask(subscribe)
		acks := 0
		s.frame(func(f *pb.Frame) bool {
			if f.GetAck() != nil {
				acks++
			}
			return acks == 4 // and what the pattern brings
		})
		if ended := s.renew(3, issued.jwt(is)); len(ended) != 0 {
			t.Errorf("%d ms late: a token for books that are as late ends %v", is, ended)
		}
		if ended := s.renew(4, issued.jwt(is+1)); len(ended) != 1 || ended[pb.ErrorCode_ERROR_CODE_REVOKED] != 4 {
			t.Errorf("%d ms late: a token for later books ends %v", is, ended)
		}
		seq := r.book("SIM:ALPHA-USD").Seq
		l.list("ALPHA", 0) // is told to nobody
		l.pass(lateBy)
		r.until("it is applied", func() bool { return r.book("SIM:ALPHA-USD").Seq > seq })
		s.ask(subscribe)
		s.ask(&pb.Request{Id: 5, Body: &pb.Request_Ping{Ping: &pb.Ping{}}})
		refused := 0
		s.frame(func(f *pb.Frame) bool {
			if e := f.GetError(); e.GetCode() == pb.ErrorCode_ERROR_CODE_FORBIDDEN && e.Id == 2 {
				refused++
			} else if f.GetPong() == nil {
				t.Errorf("%d ms late: told %v", is, f)
			}
			return f.GetPong() != nil
		})
		if refused != 3 {
			t.Errorf("%d ms late: %d of 3 items are refused", is, refused)
		}
		s.renew(6, issued.jwt(is))
		s.ask(subscribe)
		s.frame(func(f *pb.Frame) bool { return f.GetSnapshot() != nil })
	}
}

// A key that comes to be for later books ends what its bearer has: topics with a word,
// event streams with it and then themselves, connections of dialects as a whole.
func TestEndToEndKeyThatIsForLaterBooksNowEndsWhatItsBearerHas(t *testing.T) {
	t.Parallel()
	l, issued := newLate(t), newIssuer(t)
	l.list("ALPHA", -lateBy)
	key, entry := issued.key(0)
	issued.replace(entry)
	r := l.server(func(_ *readFlags, f *serverFlags) { issued.guards(f) })
	r.known("SIM:ALPHA-USD")
	s := r.connect(proto.CodecProto)
	s.renew(1, key)
	s.subscribe("SIM:ALPHA-USD")
	s.frame(func(f *pb.Frame) bool { return f.GetSnapshot() != nil })
	bearer := http.Header{"Authorization": {"Bearer " + key}}
	kraken, _ := r.exchange("kraken/v2", bearer)
	binance, _ := r.exchange("binance/ws/alphausd@depth5", bearer)
	events := make(chan string)
	go func() { events <- r.begins("/v1/sse?symbol=SIM:ALPHA-USD", key, `"type":"close"`) }()
	r.until("the event stream has its topic", func() bool { return r.hub.Stats().Subscriptions >= 3 })

	issued.replace(strings.Replace(entry, "delay_ms: 0", fmt.Sprint("delay_ms: ", lateBy.Milliseconds()+1), 1))
	s.frame(func(f *pb.Frame) bool {
		e := f.GetError()
		if e != nil && (e.Code != pb.ErrorCode_ERROR_CODE_REVOKED || e.Id != 0 || e.Topic == 0) {
			t.Errorf("%v", e)
		}
		return e != nil
	})
	if text := <-events; strings.Count(text, `"code":"revoked"`) != 1 || !strings.Contains(text, `"reason":"no_topic"`) {
		t.Errorf("the event stream ends with %s", text)
	}
	for name, c := range map[string]*exchangeClient{"Kraken's": kraken, "Binance's": binance} {
		if code := c.closes(); code != 4007 {
			t.Errorf("%s client is closed with %d", name, code)
		}
	}
	if status, body := r.get(r.url()+"/v1/books/SIM:ALPHA-USD", key); status != http.StatusForbidden {
		t.Errorf("over HTTP %d %s", status, body)
	}
}
