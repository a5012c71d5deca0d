package proto

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	googleproto "google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/depthcast/depthcast/proto/pb"
)

func TestEveryBatchIsTheSameInJSON(t *testing.T) {
	defer moreChecks(1000)()
	var got Batch
	rapid.Check(t, func(t *rapid.T) {
		want := drawBatch(t)
		forms := protojson.MarshalOptions{UseProtoNames: rapid.Bool().Draw(t, "proto names")}
		text, err := forms.Marshal(pbEvents(want))
		if err != nil {
			t.Fatal(err)
		}
		got.Seq, got.KafkaTime = 5, 6
		if err := DecodeEventsJSON(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !reflect.DeepEqual(plain(&got), plain(want)) {
			t.Fatalf("%s\n got %+v\nwant %+v", text, plain(&got), plain(want))
		}
		if got.Seq != 5 || got.KafkaTime != 6 {
			t.Fatalf("seq %d, Kafka time %d", got.Seq, got.KafkaTime)
		}
	})
}

func TestJSONRecordsAsPeopleWriteThem(t *testing.T) {
	var b Batch
	text := `{"symbol":"SIM:X","feed":"SIM","price_exponent":-2,"qtyExponent":0,"first_source_seq":"9007199254740993","last_source_seq":"9007199254740993",
		"events":[
			{"set_levels":{"bids":{"price":["6160201","-1"],"qty":[5,"0"]}}},
			{"add":{"order_id":"18446744073709551615","side":"SIDE_ASK","price":"-3","qty":"7"}},
			{"execute":{"orderId":"1","qty":"2","printable":false}}]}`
	if err := DecodeEventsJSON([]byte(text), &b); err != nil {
		t.Fatal(err)
	}
	if b.Symbol != "SIM:X" || b.Feed != "SIM" || !b.HasExponents || b.Exponents != (Exponents{Price: -2}) || b.FirstSourceSeq != 1<<53+1 {
		t.Errorf("%+v", b)
	}
	want := []Event{
		{Kind: EventSetLevels, Bids: []Level{{Price: 6160201, Qty: 5}, {Price: 6160200}}},
		{Kind: EventAdd, OrderID: 1<<64 - 1, Side: Ask, Price: -3, Qty: 7},
		{Kind: EventExecute, OrderID: 1, Qty: 2, Unprintable: true},
	}
	if got := plain(&b).Events; !reflect.DeepEqual(got, plain(&Batch{Events: want}).Events) {
		t.Errorf("%+v", got)
	}
}

func TestBadJSONRecordsAreRefusedWithTheirReason(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":          {``, ErrJSON},
		"no object":        {`[]`, ErrJSON},
		"cut off":          {`{"symbol":"X"`, ErrJSON},
		"two values":       {`{} {}`, ErrJSON},
		"misspelt":         {`{"symbol":"X","events":[{"add":{"order_id":"1","side":"SIDE_BID","price":"1","quantity":"1"}}]}`, ErrJSON},
		"unknown event":    {`{"symbol":"X","events":[{"teleport":{}}]}`, ErrJSON},
		"two kinds":        {`{"symbol":"X","events":[{"heartbeat":{},"clear":{"kind":1}}]}`, ErrJSON},
		"a fraction":       {`{"symbol":"X","events":[{"set_levels":{"bids":{"price":["1.5"],"qty":["1"]}}}]}`, ErrJSON},
		"65 bits":          {`{"symbol":"X","first_source_seq":"18446744073709551616"}`, ErrJSON},
		"not UTF-8":        {"{\"symbol\":\"\xff\"}", ErrJSON},
		"a negative level": {`{"symbol":"X","events":[{"set_levels":{"bids":{"price":["1"],"qty":["-1"]}}}]}`, ErrBadValue},
		"unequal arrays":   {`{"symbol":"X","events":[{"set_levels":{"bids":{"price":["1","2"],"qty":["1"]}}}]}`, ErrBadValue},
		"no symbol":        {`{"events":[{"clear":{"kind":"CLEAR_KIND_RESET"}}]}`, ErrBadValue},
		"long symbol":      {`{"symbol":"` + strings.Repeat("X", MaxSymbolBytes+1) + `"}`, ErrTooLarge},
		"too long":         {`{"symbol":"X"` + strings.Repeat(" ", MaxJSONEventsBytes) + `}`, ErrTooLarge},
	} {
		b := Batch{Symbol: "old"}
		if err := DecodeEventsJSON([]byte(c.text), &b); !errors.Is(err, c.want) || b.Symbol == "old" {
			t.Errorf("%s: %v, want %v; symbol %q", name, err, c.want, b.Symbol)
		}
	}
}

func FuzzDecodeEventsJSON(f *testing.F) {
	f.Add([]byte(`{"symbol":"X","price_exponent":-2,"qty_exponent":0,"events":[{"add":{"order_id":"1","side":1,"price":"1","qty":"1"}},{}]}`))
	f.Add([]byte(`{"symbol":"X","events":[{"snapshot":{"by_order":true,"bid_orders":{"order_id":["1","-2"],"price":["5",0],"qty":[1,1]}}}]}`))
	f.Add([]byte(`{"events":[{"heartbeat":{}}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var got, want Batch
		err := DecodeEventsJSON(text, &got)
		var events pb.Events
		if protojson.Unmarshal(text, &events) != nil {
			if err == nil {
				t.Fatal("taken, though it is not the JSON of any Events")
			}
			return
		}
		value, _ := googleproto.Marshal(&events)
		switch wantErr := DecodeEvents(value, &want); {
		case (err == nil) != (wantErr == nil):
			t.Fatalf("JSON: %v, protobuf: %v", err, wantErr)
		case err == nil && !reflect.DeepEqual(plain(&got), plain(&want)):
			t.Fatalf(" JSON     %+v\n protobuf %+v", plain(&got), plain(&want))
		}
	})
}

func BenchmarkDecodeEventsJSON(b *testing.B) {
	d := tenLevels()
	in := &Batch{Symbol: "SIM:BTC-USD", Feed: "sim", Events: []Event{{Kind: EventSetLevels, Bids: d.Bids, Asks: d.Asks}}}
	text, err := protojson.Marshal(pbEvents(in))
	if err != nil {
		b.Fatal(err)
	}
	var batch Batch
	b.ReportAllocs()
	for b.Loop() {
		if err := DecodeEventsJSON(text, &batch); err != nil {
			b.Fatal(err)
		}
	}
}

func TestExamplesOfTheEventsPageAreTaken(t *testing.T) {
	page, err := os.ReadFile("../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(page), "```json\n")[1:]
	if len(examples) == 0 {
		t.Fatal("no examples")
	}
	for _, text := range examples {
		text, _, _ = strings.Cut(text, "```")
		var b Batch
		if err := DecodeEventsJSON([]byte(text), &b); err != nil || len(b.Events) == 0 {
			t.Errorf("%s%v", text, err)
		}
	}
}
