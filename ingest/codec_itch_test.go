package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// itchText builds ITCH messages: of stock AAPL, locate 17, at the time set.
type itchText struct {
	locate uint16
	stock  string
	now    time.Duration // since midnight
}

var aapl = itchText{locate: 17, stock: "AAPL", now: 10 * time.Hour}

func (x itchText) at(now time.Duration) itchText { x.now = now; return x }

// message builds a message: uint64, uint32, byte and string fields in order.
func (x itchText) message(kind byte, fields ...any) []byte {
	m := binary.BigEndian.AppendUint16([]byte{kind}, x.locate)
	m = append(m, 0xab, 0xcd) // tracking number
	m = append(m, binary.BigEndian.AppendUint64(nil, uint64(x.now))[2:]...)
	for _, f := range fields {
		switch f := f.(type) {
		case uint64:
			m = binary.BigEndian.AppendUint64(m, f)
		case uint32:
			m = binary.BigEndian.AppendUint32(m, f)
		case byte:
			m = append(m, f)
		case string:
			m = append(m, f...)
		}
	}
	return m
}

func (x itchText) name() string { return fmt.Sprintf("%-8s", x.stock) }

func (x itchText) directory() []byte {
	return x.message('R', x.name(), "QN", uint32(100), "NCZ PNN1N", uint32(0), "N")
}
func (x itchText) action(state byte) []byte { return x.message('H', x.name(), state, " IPO1") }
func (x itchText) add(id uint64, side byte, shares, price uint32) []byte {
	return x.message('A', id, side, shares, x.name(), price)
}
func (x itchText) execute(id uint64, shares uint32, match uint64) []byte {
	return x.message('E', id, shares, match)
}
func (x itchText) executeAt(id uint64, shares uint32, match uint64, printable byte, price uint32) []byte {
	return x.message('C', id, shares, match, printable, price)
}
func (x itchText) cancel(id uint64, shares uint32) []byte { return x.message('X', id, shares) }
func (x itchText) delete(id uint64) []byte                { return x.message('D', id) }
func (x itchText) replace(id, to uint64, shares, price uint32) []byte {
	return x.message('U', id, to, shares, price)
}

// itchFrames is the value of a record.
func itchFrames(messages ...[]byte) []byte {
	var b bytes.Buffer
	for _, m := range messages {
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(m))))
		b.Write(m)
	}
	return b.Bytes()
}

// itchMidnight is that of a day of summer time in New York, UTC-4.
var itchMidnight = time.Date(2026, 6, 18, 4, 0, 0, 0, time.UTC)

// itchRecord is a record of NASDAQ:AAPL whose Kafka time is in the day of
// itchMidnight, or so many days later.
func itchRecord(day int, messages ...[]byte) *Record {
	return &Record{Key: []byte("NASDAQ:AAPL"), Value: itchFrames(messages...),
		Time: itchMidnight.AddDate(0, 0, day).Add(15 * time.Hour).UnixNano()}
}

func itchEvents(t *testing.T, c Codec, rec *Record) []proto.Event {
	t.Helper()
	b, err := c.Decode(rec)
	if err != nil {
		t.Fatal(err)
	}
	if b == nil {
		return nil
	}
	if b.Symbol != "NASDAQ:AAPL" || b.Feed != "NASDAQ" {
		t.Fatalf("symbol %q of feed %q", b.Symbol, b.Feed)
	}
	events := make([]proto.Event, len(b.Events))
	for i, e := range b.Events {
		e.Bids, e.Asks, e.BidOrders, e.AskOrders = nil, nil, nil, nil
		events[i] = e
	}
	return events
}

func wantCode(t *testing.T, err error, code string, reason proto.Reason) {
	t.Helper()
	var r *proto.RecordError
	if !errors.As(err, &r) || r.Code != code || r.Reason != reason {
		t.Errorf("%v, want code %s, %s", err, code, proto.ReasonWord(reason))
	}
}

func TestITCHMessagesBecomeEvents(t *testing.T) {
	tradeTime := itchMidnight.Add(aapl.now).UnixNano()
	heartbeat := proto.Event{Kind: proto.EventHeartbeat}
	for name, c := range map[string]struct {
		message []byte
		want    proto.Event
	}{
		"add":               {aapl.add(5, 'B', 100, 1_500_000), proto.Event{Kind: proto.EventAdd, OrderID: 5, Side: proto.Bid, Qty: 100, Price: 1_500_000}},
		"add with MPID":     {aapl.message('F', uint64(6), byte('S'), uint32(7), aapl.name(), uint32(1<<31), "GSCO"), proto.Event{Kind: proto.EventAdd, OrderID: 6, Side: proto.Ask, Qty: 7, Price: 1 << 31}},
		"execute":           {aapl.execute(5, 30, 900), proto.Event{Kind: proto.EventExecute, OrderID: 5, Qty: 30, TradeID: 900}},
		"execute at":        {aapl.executeAt(5, 30, 901, 'Y', 1_499_900), proto.Event{Kind: proto.EventExecute, OrderID: 5, Qty: 30, TradeID: 901, HasPrice: true, Price: 1_499_900}},
		"execute unprinted": {aapl.executeAt(5, 30, 902, 'N', 0), proto.Event{Kind: proto.EventExecute, OrderID: 5, Qty: 30, TradeID: 902, HasPrice: true, Unprintable: true}},
		"cancel":            {aapl.cancel(5, 10), proto.Event{Kind: proto.EventReduce, OrderID: 5, Qty: 10}},
		"delete":            {aapl.delete(1<<64 - 1), proto.Event{Kind: proto.EventDelete, OrderID: 1<<64 - 1}},
		"replace":           {aapl.replace(5, 8, 200, 1_500_100), proto.Event{Kind: proto.EventReplace, OrderID: 5, NewOrderID: 8, Qty: 200, Price: 1_500_100}},
		"hidden trade": {aapl.message('P', uint64(0), byte('B'), uint32(40), aapl.name(), uint32(1_500_050), uint64(903)),
			proto.Event{Kind: proto.EventTrade, Trade: proto.Trade{ID: 903, Price: 1_500_050, Qty: 40, Flags: proto.TradeHidden, VenueTime: tradeTime}}},
		"cross": {aapl.message('Q', uint64(1<<33), aapl.name(), uint32(1_500_000), uint64(904), byte('O')),
			proto.Event{Kind: proto.EventTrade, Trade: proto.Trade{ID: 904, Price: 1_500_000, Qty: 1 << 33, Flags: proto.TradeAuction, VenueTime: tradeTime}}},
		"empty cross":    {aapl.message('Q', uint64(0), aapl.name(), uint32(0), uint64(905), byte('C')), heartbeat},
		"broken trade":   {aapl.message('B', uint64(903)), proto.Event{Kind: proto.EventTradeCancel, Trade: proto.Trade{ID: 903}}},
		"halted":         {aapl.action('H'), proto.Event{Kind: proto.EventPhase, Phase: proto.Halted}},
		"paused":         {aapl.action('P'), proto.Event{Kind: proto.EventPhase, Phase: proto.Halted}},
		"quotation":      {aapl.action('Q'), proto.Event{Kind: proto.EventPhase, Phase: proto.Auction}},
		"trading":        {aapl.action('T'), proto.Event{Kind: proto.EventPhase, Phase: proto.Continuous}},
		"end of hours":   {itchText{}.message('S', byte('E')), proto.Event{Kind: proto.EventPhase, Phase: proto.Closed}},
		"market opens":   {itchText{}.message('S', byte('Q')), heartbeat},
		"reg SHO":        {aapl.message('Y', aapl.name(), byte('0')), heartbeat},
		"participant":    {aapl.message('L', "GSCO", aapl.name(), "YNA"), heartbeat},
		"breaker levels": {itchText{}.message('V', uint64(1), uint64(2), uint64(3)), heartbeat},
		"breaker":        {itchText{}.message('W', byte('1')), heartbeat},
		"quoting period": {aapl.message('K', aapl.name(), uint32(1), byte('A'), uint32(2)), heartbeat},
		"collar":         {aapl.message('J', aapl.name(), uint32(1), uint32(2), uint32(3), uint32(4)), heartbeat},
		"operational":    {aapl.message('h', aapl.name(), "QH"), heartbeat},
		"imbalance":      {aapl.message('I', uint64(1), uint64(2), byte('B'), aapl.name(), uint32(1), uint32(2), uint32(3), "OL"), heartbeat},
		"retail":         {aapl.message('N', aapl.name(), byte('B')), heartbeat},
		"direct listing": {aapl.message('O', aapl.name(), byte('Y'), uint32(1), uint32(2), uint32(3), uint64(4), uint32(5), uint32(6)), heartbeat},
	} {
		if got := itchEvents(t, newITCHCodec(nil), itchRecord(0, c.message)); !reflect.DeepEqual(got, []proto.Event{c.want}) {
			t.Errorf("%s: %+v\nwant %+v", name, got, c.want)
		}
	}
	for kind, layout := range itchLayouts {
		if layout.length > 0 && !bytes.ContainsRune([]byte("SRHYLVWKJhAFECXDUPQBINO"), rune(kind)) {
			t.Errorf("message type %q is not tried", rune(kind))
		}
	}
}

func TestITCHBatchIsOfTheTimeOfItsLastMessage(t *testing.T) {
	b, err := newITCHCodec(nil).Decode(itchRecord(0, aapl.add(1, 'B', 1, 1), aapl.at(aapl.now+7).add(2, 'B', 1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if want := itchMidnight.Add(aapl.now + 7).UnixNano(); b.VenueTime != want || len(b.Events) != 2 {
		t.Errorf("venue time %d, want %d; %d events", b.VenueTime, want, len(b.Events))
	}
	if !b.HasExponents || b.Exponents != (proto.Exponents{Price: -4}) {
		t.Errorf("exponents %v", b.Exponents)
	}
}

var (
	itchDefinition = proto.Event{Kind: proto.EventInstrument, Instrument: &proto.Instrument{Exponents: proto.Exponents{Price: -4},
		Lot: 1, Type: uint8(pb.InstrumentType_INSTRUMENT_TYPE_EQUITY), Base: "AAPL", Quote: "USD"}}
	itchSessionStart = proto.Event{Kind: proto.EventClear, SessionStart: true}
)

func TestITCHStockDirectoryStartsASessionOnlyAtTheStartOfItsDay(t *testing.T) {
	early := aapl.at(3 * time.Hour)
	start, define := []proto.Event{itchDefinition, itchSessionStart}, []proto.Event{itchDefinition}
	want := func(what string, got, want []proto.Event) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	c := newITCHCodec(nil)
	want("the first", itchEvents(t, c, itchRecord(0, early.directory())), start)
	want("again before an order", itchEvents(t, c, itchRecord(0, early.at(early.now+1).directory())), define)
	itchEvents(t, c, itchRecord(0, aapl.add(1, 'B', 1, 1)))
	want("in mid-day", itchEvents(t, c, itchRecord(0, aapl.at(aapl.now+1).directory())), define)
	want("of the next day", itchEvents(t, c, itchRecord(1, itchText{locate: 18, stock: "AAPL", now: 3 * time.Hour}.directory())), start)

	c = newITCHCodec(nil)
	want("made when orders may exist", itchEvents(t, c, itchRecord(0, aapl.at(4*time.Hour).directory())), define)

	c = newITCHCodec(nil)
	itchEvents(t, c, itchRecord(0, early.add(1, 'B', 1, 1)))
	want("after an order", itchEvents(t, c, itchRecord(0, early.at(early.now+1).directory())), define)
}

func TestITCHDayWithoutStockDirectoryIsRefusedOnce(t *testing.T) {
	c := newITCHCodec(nil)
	itchEvents(t, c, itchRecord(0, aapl.at(3*time.Hour).directory(), aapl.add(1, 'B', 1, 1)))
	itchEvents(t, c, itchRecord(1, aapl.at(3*time.Hour).action('T'))) // says nothing of orders
	_, err := c.Decode(itchRecord(1, aapl.add(1, 'B', 1, 1)))
	wantCode(t, err, CodeSourceGap, proto.ReasonSourceGap)
	if got := itchEvents(t, c, itchRecord(1, aapl.at(aapl.now+1).delete(2))); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	if got := itchEvents(t, c, itchRecord(2, aapl.at(3*time.Hour).directory())); len(got) != 2 {
		t.Errorf("the day after does not begin: %+v", got)
	}
}

func TestITCHRecordThatComesAgainChangesNothing(t *testing.T) {
	c := newITCHCodec(nil)
	itchEvents(t, c, itchRecord(0, aapl.add(1, 'B', 10, 1)))
	first, second := itchRecord(0, aapl.cancel(1, 1)), itchRecord(0, aapl.at(aapl.now+1).cancel(1, 1))
	itchEvents(t, c, first)
	if b, err := c.Decode(first); b != nil || err != nil {
		t.Errorf("at once: %v, %v", b, err)
	}
	if got := itchEvents(t, c, second); len(got) != 1 {
		t.Errorf("the next one: %+v", got)
	}
	_, err := c.Decode(first) // may as well be one that was missing
	wantCode(t, err, CodeSourceGap, proto.ReasonSourceGap)
}

func TestITCHRecordOfAnotherSymbolIsRefused(t *testing.T) {
	msft := itchText{locate: 18, stock: "MSFT", now: aapl.now}
	for name, m := range map[string][]byte{
		"by name":           msft.add(1, 'B', 1, 1),
		"by locate":         msft.delete(1),
		"by a longer name":  itchText{locate: 17, stock: "AAPLX", now: aapl.now}.action('T'),
		"of another locate": itchText{locate: 18, stock: "AAPL", now: aapl.now}.add(1, 'B', 1, 1),
	} {
		c := newITCHCodec(nil)
		itchEvents(t, c, itchRecord(0, aapl.add(1, 'B', 10, 1)))
		_, err := c.Decode(itchRecord(0, aapl.add(2, 'B', 10, 1), m))
		wantCode(t, err, CodeKeyMismatch, proto.ReasonBadRecord)
		if t.Failed() {
			t.Fatal(name)
		}
	}
	clone := itchRecord(0, aapl.add(1, 'B', 10, 1))
	clone.Key = []byte("NASDAQ:AAPL~2")
	if b, err := newITCHCodec(nil).Decode(clone); err != nil || b.Symbol != "NASDAQ:AAPL~2" {
		t.Errorf("a clone: %v, %v", b, err)
	}
}

func TestITCHMarketWideRecordNeedsNoKey(t *testing.T) {
	c := newITCHCodec(nil)
	rec := &Record{Value: itchFrames(itchText{}.message('S', byte('O')), itchText{}.message('W', byte('1')))}
	if b, err := c.Decode(rec); err != nil || b.Symbol != "" || len(b.Events) != 1 || b.Events[0].Kind != proto.EventHeartbeat {
		t.Errorf("%+v, %v", b, err)
	}
	_, err := c.Decode(&Record{Value: itchFrames(aapl.delete(1))})
	wantCode(t, err, CodeBadSymbol, proto.ReasonBadRecord)
	_, err = c.Decode(&Record{Value: []byte{0, 12}})
	wantCode(t, err, CodeMalformed, proto.ReasonBadRecord)
}

func TestITCHBadRecordsAreRefusedWithTheirReason(t *testing.T) {
	good := itchFrames(aapl.delete(1))
	tooMany := bytes.Repeat(good, maxITCHMessages+1)
	for name, c := range map[string]struct {
		value []byte
		code  string
	}{
		"nothing":           {[]byte{}, CodeMalformed},
		"half a length":     {append(bytes.Clone(good), 0), CodeMalformed},
		"no type":           {append(bytes.Clone(good), 0, 12), CodeMalformed},
		"cut off":           {good[:len(good)-1], CodeMalformed},
		"unknown type":      {itchFrames([]byte("Z0123456789")), CodeMalformed},
		"one byte short":    {itchFrames(aapl.delete(1)[:18]), CodeMalformed},
		"one byte long":     {itchFrames(append(aapl.delete(1), 0)), CodeMalformed},
		"25 o'clock":        {itchFrames(aapl.at(25 * time.Hour).delete(1)), CodeMalformed},
		"no side":           {itchFrames(aapl.add(1, 'X', 1, 1)), CodeBadValue},
		"no shares":         {itchFrames(aapl.add(1, 'B', 0, 1)), CodeBadValue},
		"order 0":           {itchFrames(aapl.delete(0)), CodeBadValue},
		"to order 0":        {itchFrames(aapl.replace(1, 0, 1, 1)), CodeBadValue},
		"printable":         {itchFrames(aapl.executeAt(1, 1, 1, '?', 1)), CodeBadValue},
		"trading state":     {itchFrames(aapl.action('?')), CodeBadValue},
		"a cross too great": {itchFrames(aapl.message('Q', uint64(1<<63), aapl.name(), uint32(1), uint64(1), byte('O'))), CodeBadValue},
		"too many":          {tooMany, CodeTooLarge},
	} {
		rec := itchRecord(0)
		rec.Value = c.value
		_, err := newITCHCodec(nil).Decode(rec)
		wantCode(t, err, c.code, proto.ReasonBadRecord)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestNewYorkMidnight(t *testing.T) {
	newYork, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Skip("no time zone database: ", err)
	}
	for at := time.Date(2024, 1, 1, 0, 30, 0, 0, time.UTC); at.Year() < 2030; at = at.Add(time.Hour) {
		there := at.In(newYork)
		if there.Weekday() == time.Sunday {
			continue // the clocks change, and nobody trades
		}
		want := time.Date(there.Year(), there.Month(), there.Day(), 0, 0, 0, 0, newYork).UnixNano()
		if got := newYorkMidnight(at.UnixNano()); got != want {
			t.Fatalf("%v: %v, want %v", there, time.Unix(0, got).In(newYork), time.Unix(0, want).In(newYork))
		}
	}
}
