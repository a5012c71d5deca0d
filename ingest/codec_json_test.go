package ingest

import (
	"errors"
	"strings"
	"testing"

	"github.com/depthcast/depthcast/proto"
)

func TestJSONCodecReadsWhatTheProtobufCodecReads(t *testing.T) {
	known := fixedInstruments{Price: -4, Qty: -5}
	b, err := newJSONCodec(known).Decode(&Record{Key: []byte("SIM:X"), Value: []byte(
		`{"symbol":"SIM:X","feed":"SIM","events":[{"add":{"order_id":"7","side":"SIDE_BID","price":"-12","qty":"3"}}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	if b.Symbol != "SIM:X" || b.Feed != "SIM" || b.Exponents != proto.Exponents(known) || len(b.Events) != 1 {
		t.Fatalf("%+v", b)
	}
	if e := b.Events[0]; e.Kind != proto.EventAdd || e.OrderID != 7 || e.Side != proto.Bid || e.Price != -12 || e.Qty != 3 {
		t.Errorf("%+v", e)
	}
}

func TestJSONCodecNamesWhatIsWrong(t *testing.T) {
	for value, code := range map[string]string{
		`{"symbol":`:                        CodeMalformed,
		`{"symbol":"X","quantity":1}`:       CodeMalformed,
		`{"symbol":"X","priceExponent":-2}`: CodeBadValue,
		`{}` + strings.Repeat(" ", 1<<20):   CodeTooLarge,
	} {
		_, err := newJSONCodec(fixedInstruments{}).Decode(&Record{Key: []byte("X"), Value: []byte(value)})
		var r *proto.RecordError
		if !errors.As(err, &r) || r.Code != code || r.Reason != proto.ReasonBadRecord {
			t.Errorf("%.40s: %v, want code %s", value, err, code)
		}
	}
}
