package proto

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	googleproto "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto/pb"
)

// lookupOf knows the exponents of every topic.
func lookupOf(x Exponents) func(uint32) (Exponents, bool) {
	return func(uint32) (Exponents, bool) { return x, true }
}

func TestHotJSONFramesEqualThoseMadeByDescriptor(t *testing.T) {
	defer moreChecks(2000)()
	rapid.Check(t, func(t *rapid.T) {
		form := drawForm(t)
		check := func(got []byte, f *pb.Frame) {
			want, err := AppendJSONFrame([]byte("before"), f, form.Exponents)
			if err != nil || string(got) != string(want) {
				t.Fatalf(" got %s\nwant %s, %v", got, want, err)
			}
			if !json.Valid(got[len("before"):]) {
				t.Fatalf("not JSON: %s", got)
			}
		}
		switch rapid.IntRange(0, 8).Draw(t, "frame") {
		case 0:
			d := drawDelta(t, form.Counts)
			check(AppendJSONDelta([]byte("before"), form, d), pbDelta(form, d))
		case 1:
			s, reason := drawSnapshot(t, form), SnapshotReason(rapid.Uint8Range(0, 6).Draw(t, "why"))
			check(AppendJSONSnapshot([]byte("before"), form, reason, s), pbSnapshot(form, reason, s))
		case 2:
			trades := drawTrades(t)
			check(AppendJSONTrades([]byte("before"), form, trades), pbTrades(form, trades))
		case 3:
			s := drawStatus(t)
			check(AppendJSONStatus([]byte("before"), form, s), pbStatus(form, s))
		case 4:
			k := drawKeepalive(t)
			check(AppendJSONKeepalive([]byte("before"), form, k), pbKeepalive(form, k))
		case 7:
			ticker := drawTicker(t)
			check(AppendJSONTicker([]byte("before"), form, ticker), pbTicker(form, ticker))
		case 8:
			in := drawInstruments(t)
			check(AppendJSONInstruments([]byte("before"), form, in), pbInstruments(form, in))
		case 5:
			d := drawOrdersDelta(t)
			check(AppendJSONDelta([]byte("before"), form, d), pbOrdersDelta(form, d))
		case 6:
			s := drawOrdersSnapshot(t, form)
			check(AppendJSONSnapshot([]byte("before"), form, SnapshotInitial, s), pbSnapshot(form, SnapshotInitial, s))
		}
	})
}

func TestEveryFrameSurvivesJSON(t *testing.T) {
	defer moreChecks(5000)()
	seen := map[protoreflect.Name]bool{}
	rapid.Check(t, func(t *rapid.T) {
		f := drawFrame(t)
		x := Exponents{anyExponent.Draw(t, "pe"), anyExponent.Draw(t, "qe")}
		text, err := AppendJSONFrame(nil, f, x)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeJSONFrame(text, lookupOf(x))
		if err != nil || !googleproto.Equal(got, f) {
			t.Fatalf("%s\n got %v, %v\nwant %v", text, got, err, f)
		}
		seen[f.ProtoReflect().WhichOneof(f.ProtoReflect().Descriptor().Oneofs().Get(0)).Name()] = true
	})
	if all := frameBodies.Len(); len(seen) != all {
		t.Errorf("%d of %d kinds of frames seen", len(seen), all)
	}
}

func TestEveryRequestSurvivesBothCodecs(t *testing.T) {
	defer moreChecks(2000)()
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t)
		text, err := EncodeJSONRequest(req)
		if err != nil {
			t.Fatal(err)
		}
		for codec, msg := range map[Codec][]byte{CodecJSON: text, CodecProto: generated(t, req)} {
			if got, err := codec.DecodeRequest(msg); err != nil || !googleproto.Equal(got, req) {
				t.Fatalf("%v: %s\n got %v, %v\nwant %v", codec, msg, got, err, req)
			}
		}
	})
}

func TestJSONHasTheShapeThatClientsRelyOn(t *testing.T) {
	form := TopicForm{Topic: 7, Exponents: Exponents{Price: -2, Qty: -8}}
	counted := form
	counted.Counts = true
	times := Times{Venue: 1723123456789000000, Kafka: 1723123456790000000, Published: 1723123456791234567}
	const ts = `"ts":{"venue":"1723123456789000000","kafka":"1723123456790000000","published":"1723123456791234567"}`
	merged := times
	merged.VenueFirst = 1723123456000000000
	snapshot := &Snapshot{Symbol: "SIM:BTC-USD", Epoch: 0x7f3a, Seq: 1234, State: Live, Phase: Continuous, Exponents: form.Exponents,
		Bids: []Level{{6160201, 167177000, 3}}, Asks: []Level{{6160202, 266795000, 2}}, Hash: 0x9c6f3f40, Times: times}
	frame := func(f *pb.Frame) []byte {
		out, err := AppendJSONFrame(nil, f, form.Exponents)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"snapshot": {AppendJSONSnapshot(nil, form, SnapshotInitial, snapshot), `{"type":"snapshot","topic":7,"symbol":"SIM:BTC-USD","epoch":"0000000000007f3a","seq":"1234","reason":"initial","state":"live","phase":"continuous","price_exponent":-2,"qty_exponent":-8,"bids":[["61602.01","1.67177000"]],"asks":[["61602.02","2.66795000"]],"hash":"9c6f3f40",` + ts + `}`},
		"delta":    {AppendJSONDelta(nil, form, &Delta{PrevSeq: 1234, Seq: 1240, Bids: []Level{{6160201, 0, 0}}, Hash: 0x0f3a99c1, Times: times}), `{"type":"delta","topic":7,"prev_seq":"1234","seq":"1240","bids":[["61602.01","0"]],"asks":[],"hash":"0f3a99c1",` + ts + `}`},
		"merged":   {AppendJSONDelta(nil, form, &Delta{PrevSeq: -1, Seq: 1240, Merged: 3, Times: merged}), `{"type":"delta","topic":7,"prev_seq":"-1","seq":"1240","bids":[],"asks":[],"hash":"00000000",` + strings.Replace(ts, `{`, `{"venue_first":"1723123456000000000",`, 1) + `,"merged":3}`},
		"counts":   {AppendJSONDelta(nil, counted, &Delta{Asks: []Level{{-5, 0, 0}, {6160201, 5, 4}}, Merged: 1}), `{"type":"delta","topic":7,"prev_seq":"0","seq":"0","bids":[],"asks":[["-0.05","0",0],["61602.01","0.00000005",4]],"hash":"00000000"}`},
		"trades": {AppendJSONTrades(nil, form, &Trades{PrevSeq: 1, Seq: 2, Trades: []Trade{{Ordinal: 9, ID: 5, Price: 100, Qty: 200, Aggressor: AggressorBuy, Flags: TradeHidden}}, Missed: 2, MissedFirst: 7, MissedLast: 8}),
			`{"type":"trades","topic":7,"prev_seq":"1","seq":"2","trades":[{"ordinal":"9","trade_id":"5","price":"1.00","qty":"0.00000200","aggressor":"buy","hidden":true}],"missed":"2","missed_first":"7","missed_last":"8"}`},
		"status":    {AppendJSONStatus(nil, form, &Status{Seq: 5, State: Recovering, Reason: ReasonCatchingUp}), `{"type":"status","topic":7,"seq":"5","state":"recovering","reason":"catching_up"}`},
		"keepalive": {AppendJSONKeepalive(nil, form, &Keepalive{Seq: 5, Hash: 1, FeedAgeMS: 20, Published: 30}), `{"type":"keepalive","topic":7,"seq":"5","hash":"00000001","symbol_age_ms":"0","feed_age_ms":"20","published":"30"}`},
		"ack": {frame(&pb.Frame{Body: &pb.Frame_Ack{Ack: &pb.Ack{Id: 1, Topic: 7, Symbol: "SIM:BTC-USD", Channel: pb.Channel_CHANNEL_BOOK, Depth: 10, PriceExponent: -2, QtyExponent: -8, Epoch: 0x7f3a, State: pb.State_STATE_LIVE, Phase: pb.Phase_PHASE_CONTINUOUS}}}),
			`{"type":"ack","id":1,"item":0,"topic":7,"symbol":"SIM:BTC-USD","channel":"book","depth":10,"interval_ms":0,"price_exponent":-2,"qty_exponent":-8,"epoch":"0000000000007f3a","state":"live","phase":"continuous"}`},
		"error": {frame(&pb.Frame{Body: &pb.Frame_Error{Error: &pb.Error{Id: 1, Item: googleproto.Uint32(1), Code: pb.ErrorCode_ERROR_CODE_UNKNOWN_SYMBOL, Message: "no \"X\"", Retry: pb.Retry_RETRY_NEVER}}}),
			`{"type":"error","id":1,"item":1,"code":"unknown_symbol","message":"no \"X\"","retry":"never"}`},
		"snapshot of orders": {AppendJSONSnapshot(nil, form, SnapshotInitial, &Snapshot{Seq: 9, Exponents: form.Exponents, Orders: Orders{Asks: []RankedOrder{{5, 9, 3, 8, 1}}}}),
			`{"type":"snapshot","topic":7,"epoch":"0000000000000000","seq":"9","reason":"initial","price_exponent":-2,"qty_exponent":-8,"bids":[],"asks":[],"hash":"00000000","ask_orders":[["5","0.09","0.00000003","8",1]]}`},
		"orders": {frame(&pb.Frame{Body: &pb.Frame_Orders{Orders: &pb.OrdersDelta{Topic: 7, Bids: &pb.RankedOrders{OrderId: []int64{4, 1}, Price: []int64{10, -1}, Qty: []int64{3, 0}, RankSeq: []int64{8, 1}, RankIndex: []uint32{0, 2}}}}}),
			`{"type":"orders","topic":7,"prev_seq":"0","seq":"0","bids":[["4","0.10","0.00000003","8",0],["5","0.09","0","9",2]],"asks":[],"hash":"00000000"}`},
		"hello": {frame(&pb.Frame{Body: &pb.Frame_Hello{Hello: &pb.Hello{Version: 1, Server: "depthcast", Limits: &pb.Limits{MaxItems: 5}, IntervalsMs: []uint32{0, 100}, Channels: []pb.Channel{1, 2}, Time: 9}}}),
			`{"type":"hello","version":1,"server":"depthcast","limits":{"max_subscriptions":0,"max_items":5,"max_message_bytes":0,"max_requests_per_s":0},"intervals_ms":[0,100],"channels":["book","trades"],"time":"9"}`},
	} {
		if string(c.got) != c.want {
			t.Errorf("%s\n got %s\nwant %s", name, c.got, c.want)
		}
	}
}

func TestJSONRequestOfTheDesignIsRead(t *testing.T) {
	text := ` {"items":[{"symbol":"SIM:BTC-USD","channel":"book","depth":10,"interval_ms":0,"future":{"a":[1,"]}"]},
		"resume":{"epoch":"7f3a000000000001","seq":"1200","hash":"0f3a99c1"},"group":null}],"id":1,"type":"subscribe"} `
	want := &pb.Request{Id: 1, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: []*pb.SubscribeItem{{
		Symbol: "SIM:BTC-USD", Channel: pb.Channel_CHANNEL_BOOK, Depth: 10,
		Resume: &pb.Resume{Epoch: 0x7f3a000000000001, Seq: 1200, Hash: 0x0f3a99c1},
	}}}}}
	if got, err := DecodeJSONRequest([]byte(text)); err != nil || !googleproto.Equal(got, want) {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestBadRequestsAreRefusedWithCodeAndID(t *testing.T) {
	const bad, unknown, many = pb.ErrorCode_ERROR_CODE_BAD_REQUEST, pb.ErrorCode_ERROR_CODE_UNKNOWN_REQUEST, pb.ErrorCode_ERROR_CODE_TOO_MANY_ITEMS
	items := strings.Repeat(`{},`, MaxRequestItems) + `{}`
	cases := map[string]struct {
		codec Codec
		msg   string
		id    uint32
		code  pb.ErrorCode
		says  string
	}{
		"empty":          {CodecJSON, ``, 0, bad, "not JSON"},
		"garbage":        {CodecJSON, `{"type":"ping"}x`, 0, bad, "not JSON"},
		"cut":            {CodecJSON, `{"type":"ping"`, 0, bad, "not JSON"},
		"two":            {CodecJSON, `{"type":"ping"}{"type":"ping"}`, 0, bad, "not JSON"},
		"UTF-8":          {CodecJSON, "{\"type\":\"pi\xffng\"}", 0, bad, "not UTF-8"},
		"surrogate":      {CodecJSON, `{"type":"\ud800"}`, 0, bad, "no character"},
		"array":          {CodecJSON, `[]`, 0, bad, "not an object"},
		"no type":        {CodecJSON, `{"id":3}`, 3, bad, "no type"},
		"type a number":  {CodecJSON, `{"id":3,"type":3}`, 3, bad, "type: not a string"},
		"unknown":        {CodecJSON, `{"id":3,"type":"dance"}`, 3, unknown, `unknown request "dance"`},
		"id as type":     {CodecJSON, `{"id":3,"type":"id"}`, 3, unknown, `unknown request "id"`},
		"twice":          {CodecJSON, `{"id":3,"type":"ping","id":4}`, 0, bad, `"id" comes twice`},
		"twice, escaped": {CodecJSON, `{"id":3,"type":"ping","\u0069d":4}`, 0, bad, `"id" comes twice`},
		"twice within":   {CodecJSON, `{"id":3,"type":"subscribe","items":[{"depth":1,"depth":2}]}`, 3, bad, `items: item 0: "depth" comes twice`},
		"id too great":   {CodecJSON, `{"id":4294967296,"type":"ping"}`, 0, bad, "id"},
		"word":           {CodecJSON, `{"id":3,"type":"subscribe","items":[{"channel":"books"}]}`, 3, bad, `channel: unknown word "books"`},
		"number":         {CodecJSON, `{"id":3,"type":"subscribe","items":[{"depth":1.5}]}`, 3, bad, "depth: not a whole number"},
		"range":          {CodecJSON, `{"id":3,"type":"subscribe","items":[{"depth":-1}]}`, 3, bad, "depth: not a whole number"},
		"epoch":          {CodecJSON, `{"id":3,"type":"subscribe","items":[{"resume":{"epoch":"7f"}}]}`, 3, bad, "epoch: not 16 hexadecimal digits"},
		"bool":           {CodecJSON, `{"id":3,"type":"subscribe","items":[{"counts":1}]}`, 3, bad, "counts: neither"},
		"no items":       {CodecJSON, `{"id":3,"type":"subscribe"}`, 3, bad, "no items"},
		"no topics":      {CodecJSON, `{"id":3,"type":"unsubscribe","topics":[]}`, 3, bad, "no topics"},
		"no resync":      {CodecJSON, `{"id":3,"type":"resync"}`, 3, bad, "no topics"},
		"items":          {CodecJSON, `{"id":3,"type":"subscribe","items":[` + items + `]}`, 3, many, "4096"},
		"members":        {CodecJSON, `{"id":3,"type":"ping"` + membersText(maxJSONMembers) + `}`, 0, bad, "more than 64 members"},
		"ping":           {CodecJSON, `{"id":3,"type":"ping","data":"` + strings.Repeat("AAAA", 22) + `"}`, 3, bad, "66 bytes, at most 64"},
		"base64":         {CodecJSON, `{"id":3,"type":"ping","data":"*"}`, 3, bad, "base64"},
		"proto empty":    {CodecProto, "", 0, unknown, "nothing set"},
		"proto unknown":  {CodecProto, "\x08\x03\xda\x01\x00", 3, unknown, "field 27"},
		"proto cut":      {CodecProto, "\x08\x03\x12\x05", 3, bad, "not a valid protobuf"},
		"proto items":    {CodecProto, string(generated(t, &pb.Request{Id: 3, Body: &pb.Request_Subscribe{Subscribe: &pb.Subscribe{Items: manyItems()}}})), 3, many, "4097 items"},
		"proto topics":   {CodecProto, string(generated(t, &pb.Request{Id: 3, Body: &pb.Request_Resync{Resync: &pb.Resync{Topics: make([]uint32, 5000)}}})), 3, many, "5000 items"},
		"proto token":    {CodecProto, string(generated(t, &pb.Request{Id: 3, Body: &pb.Request_Auth{Auth: &pb.Auth{Token: strings.Repeat("x", 8193)}}})), 3, bad, "token of 8193 bytes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			req, err := c.codec.DecodeRequest([]byte(c.msg))
			var refused *RequestError
			if !errors.As(err, &refused) {
				t.Fatalf("%v, %v", req, err)
			}
			if refused.ID != c.id || refused.Code != c.code || !strings.Contains(refused.Error(), c.says) {
				t.Fatalf("id %d, %v: %v; want id %d, %v saying %q", refused.ID, refused.Code, refused, c.id, c.code, c.says)
			}
		})
	}
}

func membersText(count int) string {
	var b strings.Builder
	for i := range count {
		b.WriteString(`,"x` + strings.Repeat("y", i) + `":0`)
	}
	return b.String()
}

func manyItems() []*pb.SubscribeItem {
	items := make([]*pb.SubscribeItem, MaxRequestItems+1)
	for i := range items {
		items[i] = &pb.SubscribeItem{}
	}
	return items
}

func TestJSONFramesAreDecodedInAnyOrderAndLeniently(t *testing.T) {
	lookup := func(topic uint32) (Exponents, bool) { return Exponents{-2, -8}, topic == 7 }
	delta := &pb.Frame{Body: &pb.Frame_Delta{Delta: &pb.Delta{Topic: 7, Seq: 5, Bids: &pb.Levels{Price: []int64{100, -1}, Qty: []int64{1e8, 0}}}}}
	got, err := DecodeJSONFrame([]byte(`{"seq":5,"bids":[["1","1.0"],["0.99","0"]],"new":[{}],"topic":7,"type":"delta"}`), lookup)
	if err != nil || !googleproto.Equal(got, delta) {
		t.Errorf("%v, %v", got, err)
	}
	got, err = DecodeJSONFrame([]byte(`{"type":"status","topic":1,"state":"dreaming"}`), lookup)
	if want := (&pb.Frame{Body: &pb.Frame_Status{Status: &pb.Status{Topic: 1}}}); err != nil || !googleproto.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = DecodeJSONFrame([]byte(`{"type":"newer","topic":1,"x":[]}`), lookup); err != nil || got.Body != nil {
		t.Errorf("%v, %v", got, err)
	}
	for text, says := range map[string]string{
		`{"type":"delta","topic":8,"bids":[["1","1"]]}`:                         "exponents of topic 8 are not known",
		`{"type":"delta","topic":7,"bids":[["1","1"],["2","1",3]]}`:             "level 1: of 3 members",
		`{"type":"delta","topic":7,"bids":[["1"]]}`:                             "level 0: of 1 members",
		`{"type":"delta","topic":7,"bids":[["1.001","1"]]}`:                     "more decimals",
		`{"type":"delta","topic":7,"bids":[["1","-1"]]}`:                        "below zero",
		`{"type":"delta","topic":7,"bids":[[1,"1"]]}`:                           "not a string",
		`{"type":"delta","topic":7,"hash":"123"}`:                               "hash: not 8 hexadecimal digits",
		`{"type":"snapshot","topic":7,"price_exponent":-200}`:                   "price_exponent -200",
		`{"type":"orders","topic":7,"bids":[["1","1.00","1","5"]]}`:             "order 0: of 4 members",
		`{"type":"delta","topic":7,"bids":{"0":["1","1"]}}`:                     "not an array",
		`{"type":"keepalive","topic":7,"symbol_age_ms":"18446744073709551616"}`: "out of range",
	} {
		if f, err := DecodeJSONFrame([]byte(text), lookup); !errors.Is(err, ErrJSON) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, %v; want %q", text, f, err, says)
		}
	}
}

func TestItemsAreCountedBeforeTheyAreAllocated(t *testing.T) {
	items := bytes.Repeat([]byte{0x0a, 0x00}, 500_000)
	msg := append(protowire.AppendVarint([]byte{0x12}, uint64(len(items))), items...)
	if n := testing.AllocsPerRun(1, func() {
		if _, err := DecodeRequest(msg); err == nil {
			t.Fatal("accepted")
		}
	}); n > 20 {
		t.Errorf("protobuf: %v allocations", n)
	}
	text := []byte(`{"type":"unsubscribe","topics":[` + strings.Repeat("1,", 500_000) + `1]}`)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := DecodeJSONRequest(text); err == nil {
		t.Fatal("accepted")
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(text))/2 {
		t.Errorf("JSON: %d bytes allocated for a message of %d", used, len(text))
	}
}

func BenchmarkJSONDelta10LevelsDecode(b *testing.B) {
	text := AppendJSONDelta(nil, benchForm, tenLevels())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeJSONFrame(text, lookupOf(benchForm.Exponents)); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzDecodeJSON feeds any bytes to the decoders of messages: what they accept
// means the same when it is written and read again.
func FuzzDecodeJSON(f *testing.F) {
	for seed := range 30 {
		request, _ := EncodeJSONRequest(rapid.Custom(drawRequest).Example(seed))
		frame, _ := AppendJSONFrame(nil, rapid.Custom(drawFrame).Example(seed), Exponents{-2, -8})
		f.Add(request)
		f.Add(frame)
		f.Add(generated(f, rapid.Custom(drawRequest).Example(seed)))
	}
	lookup := lookupOf(Exponents{-2, -8})
	f.Fuzz(func(t *testing.T, msg []byte) {
		before := bytes.Clone(msg)
		if req, err := DecodeRequest(msg); err == nil {
			if _, err := EncodeJSONRequest(req); err != nil && !errors.Is(err, ErrBadValue) {
				t.Fatalf("%v: %v", req, err)
			}
		}
		if req, err := DecodeJSONRequest(msg); err == nil {
			text, err := EncodeJSONRequest(req)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := DecodeJSONRequest(text); err != nil || !googleproto.Equal(again, req) {
				t.Fatalf("%s\n%v, %v\n%v", text, again, err, req)
			}
		}
		if frame, err := DecodeJSONFrame(msg, lookup); err == nil && frame.Body != nil {
			text, err := AppendJSONFrame(nil, frame, Exponents{-2, -8})
			if err != nil {
				t.Fatal(err)
			}
			if again, err := DecodeJSONFrame(text, lookup); err != nil || !googleproto.Equal(again, frame) {
				t.Fatalf("%s\n%v, %v\n%v", text, again, err, frame)
			}
		}
		if !bytes.Equal(msg, before) {
			t.Fatal("decoding changed the message")
		}
	})
}
