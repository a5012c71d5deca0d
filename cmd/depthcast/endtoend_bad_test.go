package main

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	googleproto "google.golang.org/protobuf/proto"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

const (
	victim    = "SIM:VICTIM"
	bystander = "SIM:BYSTANDER"
)

// badRecord is a record that cannot be used, with what it must lead to.
type badRecord struct {
	name     string
	make     func() *kgo.Record
	code     string // of the refusal
	standing string // of the book then
}

var badRecords = []badRecord{
	{"corrupt", func() *kgo.Record {
		return rawRecord(victim, ingest.ContentType("proto"), []byte("\xff\xff\xff no message"))
	},
		"malformed", "recovering bad_record"},
	{"corrupt JSON of a venue", func() *kgo.Record { return rawRecord(victim, ingest.ContentType("binance"), []byte(`{"e":`)) },
		"malformed", "recovering bad_record"},
	{"an event of a newer producer", unsetEvent, "unset_event", "recovering bad_record"},
	{"delete of an unknown order", event(proto.Event{Kind: proto.EventDelete, OrderID: 77}),
		"unknown_order", "recovering contradiction"},
	{"quantity below zero", event(proto.Event{Kind: proto.EventReduce, OrderID: 1, Qty: 1 << 40}),
		"below_zero", "recovering contradiction"},
	{"negative quantity", event(proto.Event{Kind: proto.EventAdd, OrderID: 78, Side: proto.Bid, Price: 90, Qty: -1}),
		"bad_value", "recovering bad_record"},
	{"order that is there already", event(proto.Event{Kind: proto.EventAdd, OrderID: 1, Side: proto.Bid, Price: 90, Qty: 1}),
		"duplicate_order", "recovering contradiction"},
	{"a crossed book", event(proto.Event{Kind: proto.EventAdd, OrderID: 79, Side: proto.Bid, Price: 300, Qty: 1}),
		"crossed", "recovering crossed"},
	{"key that is not the payload's", func() *kgo.Record {
		return protoRecord(victim, &proto.Batch{Symbol: "SIM:NOBODY", Events: []proto.Event{
			{Kind: proto.EventAdd, OrderID: 80, Side: proto.Bid, Price: 90, Qty: 1}}})
	}, "key_mismatch", "recovering bad_record"},
	{"unknown content type", func() *kgo.Record { return rawRecord(victim, "application/x-unheard-of", []byte("x")) },
		"unknown_content_type", "recovering bad_record"},
	{"no value", func() *kgo.Record { return &kgo.Record{Key: []byte(victim)} }, "tombstone", "recovering bad_record"},
	{"too many levels", tooManyLevels, "too_large", "recovering bad_record"},
}

func event(e proto.Event) func() *kgo.Record {
	return func() *kgo.Record {
		return protoRecord(victim, &proto.Batch{Symbol: victim, Feed: "F", Events: []proto.Event{e}})
	}
}

// unsetEvent holds an event with a field that no version knows yet.
func unsetEvent() *kgo.Record {
	var newer pb.Event
	newer.ProtoReflect().SetUnknown([]byte{0xa2, 0x06, 0x01, 'x'}) // field 100
	value, err := googleproto.Marshal(&pb.Events{Symbol: victim, Feed: "F", Events: []*pb.Event{&newer}})
	if err != nil {
		panic(err)
	}
	return rawRecord(victim, ingest.ContentType("proto"), value)
}

func tooManyLevels() *kgo.Record {
	bids := make([]proto.Level, proto.MaxRecordLevels+1)
	for i := range bids {
		bids[i] = proto.Level{Price: int64(len(bids) - i), Qty: 1}
	}
	return protoRecord(victim, &proto.Batch{Symbol: victim, Feed: "F", Events: []proto.Event{{Kind: proto.EventSetLevels, Bids: bids}}})
}

// Each bad record is counted and kept as a dead letter, its book is not shown
// until the next snapshot, and a book beside it in the same partition goes on.
func TestEndToEndBadRecordHarmsItsOwnBookOnlyAndUntilTheNextSnapshot(t *testing.T) {
	for codec, bad := range badRecords {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			badRecordHarms(t, bad, proto.Codec(codec)%proto.NumCodecs)
		})
	}
}

func badRecordHarms(t *testing.T, bad badRecord, codec proto.Codec) {
	l := newLab(t, 1)
	g := newLedger(l, 1)
	g.whole(victim, 5)
	g.whole(bystander, 7)
	server := l.serve(nil)
	server.caughtUpTo(l)
	near := g.follow(server, codec, victim)
	far := g.follow(server, codec, bystander)
	near.live(victim, 0)
	far.live(bystander, 1)

	var deltas []int64
	step := func() { deltas = append(deltas, g.change(bystander, proto.Ask, 201, 1)) }
	step()
	near.live(victim, g.change(victim, proto.Bid, 99, 3))
	step()
	record := bad.make()
	offset := g.spoil(0, record, victim)
	near.until(bad.standing, victim, func(n *notes) bool { return n.stand() == bad.standing })
	step()
	g.change(victim, proto.Bid, 98, 1) // of a book that nobody knows
	late := g.follow(server, codec, victim)
	late.until("not live", victim, func(n *notes) bool { return n.stand() == bad.standing })
	step()
	far.live(bystander, deltas[len(deltas)-1])
	recovered := g.whole(victim, 11)
	near.live(victim, recovered)
	late.live(victim, recovered)
	last := g.change(victim, proto.Ask, 205, 2)
	near.live(victim, last)
	step()
	far.live(bystander, deltas[len(deltas)-1])

	far.unmoved(bystander, deltas)
	near.until("once recovering", victim, func(n *notes) bool {
		return fmt.Sprint(n.standing[len(n.standing)-3:]) == fmt.Sprint([]string{"live", bad.standing, "live"}) && n.lost+n.cut == 0
	})
	server.counted(fmt.Sprintf(`depthcast_ingest_refused_total{code="%s",kafka_topic="%s",partition="0"}`, bad.code, l.events), "1")
	letter := l.letters(1)[0]
	if header(letter, ingest.DeadLetterReason) != bad.code || header(letter, ingest.DeadLetterOffset) != fmt.Sprint(offset) ||
		header(letter, ingest.DeadLetterTopic) != l.events || header(letter, ingest.DeadLetterText) == "" {
		t.Errorf("the dead letter says %v, want code %s and offset %d", letter.Headers, bad.code, offset)
	}
	value := string(record.Value)
	if omitted := header(letter, ingest.DeadLetterOmitted); omitted != "" && omitted == fmt.Sprint(len(value)) && len(value) > 1<<20 {
		value = "" // no broker need take a letter as long
	}
	if string(letter.Key) != victim || string(letter.Value) != value {
		t.Errorf("the dead letter holds another record: key %q, %d bytes", letter.Key, len(letter.Value))
	}
}

// A record that came to a partition in which its symbol does not live changes
// nothing, for anybody.
func TestEndToEndRecordOnTheWrongPartitionIsRefusedAndNobodyNotices(t *testing.T) {
	l := newLab(t, 2)
	g := newLedger(l, 2)
	other := bystander
	for i := 0; g.home(other) == g.home(victim); i++ {
		other = fmt.Sprintf("%s-%d", bystander, i)
	}
	g.whole(victim, 5)
	g.whole(other, 7)
	server := l.serve(nil)
	server.caughtUpTo(l)
	near := g.follow(server, proto.CodecProto, victim)
	far := g.follow(server, proto.CodecJSON, other)
	near.live(victim, 0)
	far.live(other, 0)
	astray := protoRecord(victim, &proto.Batch{Symbol: victim, Feed: "F", Events: []proto.Event{
		{Kind: proto.EventAdd, OrderID: 80, Side: proto.Bid, Price: 90, Qty: 1}}})
	g.write(g.home(other), astray)
	nearSeqs := []int64{g.change(victim, proto.Bid, 99, 3)}
	farSeqs := []int64{g.change(other, proto.Bid, 99, 3)}
	near.live(victim, nearSeqs[0])
	far.live(other, farSeqs[0])
	near.unmoved(victim, nearSeqs)
	far.unmoved(other, farSeqs)
	server.counted(fmt.Sprintf(`depthcast_ingest_refused_total{code="wrong_partition",kafka_topic="%s",partition="%d"}`, l.events, g.home(other)), "1")
	if letter := l.letters(1)[0]; header(letter, ingest.DeadLetterReason) != "wrong_partition" {
		t.Errorf("the dead letter says %v", letter.Headers)
	}
}

// Where nobody can say whose record it was, every book of its partition waits for
// a snapshot, and those of other partitions go on.
func TestEndToEndRecordOfNobodyHarmsItsPartitionOnly(t *testing.T) {
	l := newLab(t, 2)
	g := newLedger(l, 2)
	other := bystander
	for i := 0; g.home(other) == g.home(victim); i++ {
		other = fmt.Sprintf("%s-%d", bystander, i)
	}
	g.whole(victim, 5)
	g.whole(other, 7)
	server := l.serve(nil)
	server.caughtUpTo(l)
	near, far := g.follow(server, proto.CodecProto, victim), g.follow(server, proto.CodecProto, other)
	near.live(victim, 0)
	far.live(other, 0)
	g.spoil(g.home(victim), rawRecord("", ingest.ContentType("proto"), []byte("\xff")), victim)
	near.until("recovering", victim, func(n *notes) bool { return n.stand() == "recovering bad_record" })
	seqs := []int64{g.change(other, proto.Bid, 99, 3)}
	near.live(victim, g.whole(victim, 6))
	far.live(other, seqs[0])
	far.unmoved(other, seqs)
	server.counted(fmt.Sprintf(`depthcast_ingest_refused_total{code="malformed",kafka_topic="%s",partition="%d"}`, l.events, g.home(victim)), "1")
}
