package ingest

import (
	"encoding/binary"
	"time"

	"github.com/depthcast/depthcast/proto"
	"github.com/depthcast/depthcast/proto/pb"
)

// itchCodec reads NASDAQ TotalView-ITCH 5.0. A record is one or more messages of
// one symbol in the order of the feed, each behind its length (2 bytes,
// big-endian) as in Nasdaq's files and in SoupBinTCP. Its key is VENUE:STOCK,
// with the stock as the messages have it, without the spaces at its end.
// Market-wide messages (S, V, W) may stand in the records of any symbol, where
// an S speaks of that symbol's phase, or alone in a record without a key, as a
// sign of life.
//
// The messages' day is the one that the record's Kafka time falls into in New
// York: who writes an old recording gives its records the times of their day.
//
// A book begins with its stock directory message, if that is the first of its day
// and was made before any order could be. Whoever reads from later on, or misses
// it, has no book until the next day: ITCH has no snapshots. It has no sequence
// numbers in its messages either, so that what is missing shows as contradiction
// at best, and lost records are for Kafka to tell; what comes again shows by
// its time. A record like the one before it is that record once more: the venue
// does not take the same part off the same order twice within a nanosecond.
type itchCodec struct {
	symbols  venueSymbols[itchState]
	midnight int64 // of the newest record
	batch    proto.Batch
}

// itchState is what the codec keeps of one symbol.
type itchState struct {
	locate  uint16 // of the stock, on this day; 0: not known
	day     int64  // midnight of the newest message, ns since 1970
	last    int64  // time of the newest message, ns since 1970
	begun   bool   // the day's stock directory message was seen
	ordered bool   // a message that changes orders was seen on this day
	carried bool   // the book may hold orders of an earlier day
	sum     uint64 // of the last record's value
}

// itchOrdersBegin is when the first order of a day can be made, ns since midnight:
// at the start of system hours.
const itchOrdersBegin = 4 * 3600 * 1_000_000_000

// maxITCHMessages bounds the messages of one record.
const maxITCHMessages = 4096

var itchExponents = proto.Exponents{Price: -4, Qty: 0}

func newITCHCodec(Instruments) Codec {
	return &itchCodec{symbols: newVenueSymbols[itchState]()}
}

func (c *itchCodec) Decode(rec *Record) (*proto.Batch, error) {
	if len(rec.Key) == 0 {
		return c.marketWide(rec)
	}
	s, refused := c.symbols.find(rec.Key)
	if refused != nil {
		return nil, refused
	}
	c.dayOf(rec)
	sum := itchSum(rec.Value)
	if s.state.sum == sum && s.state.day == c.midnight {
		return nil, nil // the last record came again
	}
	c.batch = proto.Batch{
		Symbol: s.symbol, Feed: s.feed,
		Exponents: itchExponents, HasExponents: true, Events: c.batch.Events[:0],
	}
	next := s.state
	if refused := c.messages(rec, s, &next); refused != nil {
		return nil, refused
	}
	next.sum = sum
	s.state = next
	c.batch.VenueTime = next.last
	if len(c.batch.Events) == 0 {
		return heartbeat(&c.batch), nil
	}
	return &c.batch, nil
}

// messages adds what the messages of rec say to the batch and to next, the state
// of s after rec.
func (c *itchCodec) messages(rec *Record, s *venueSymbol[itchState], next *itchState) *proto.RecordError {
	for n, rest := 0, rec.Value; n == 0 || len(rest) > 0; n++ {
		if n == maxITCHMessages {
			return refuse(CodeTooLarge, s.symbol, proto.ReasonBadRecord, "more than %d messages", maxITCHMessages)
		}
		var m itchMessage
		var err error
		if m, rest, err = nextITCH(rest); err != nil {
			return refuse(CodeMalformed, s.symbol, proto.ReasonBadRecord, "message %d: %w", n, err)
		}
		if refused := next.belongs(m, s, c.midnight); refused != nil {
			return refused
		}
		if refused := next.pass(m, s, c.midnight); refused != nil {
			return refused
		}
		if m.kind() == 'R' {
			c.directory(m, next)
		}
		if err := m.appendTo(&c.batch, next.last); err != nil {
			return refuse(CodeBadValue, s.symbol, proto.ReasonBadRecord, "message %d: %w", n, err)
		}
	}
	return nil
}

// belongs sees that m is of the symbol s: by its name where it carries one, else
// by its locate, which a name of this day has told.
func (t *itchState) belongs(m itchMessage, s *venueSymbol[itchState], midnight int64) *proto.RecordError {
	if m.marketWide() {
		return nil
	}
	if midnight > t.day {
		t.locate = 0 // given anew each day
	}
	name := m.stock()
	if name != nil && string(name) != s.name {
		return refuse(CodeKeyMismatch, s.symbol, proto.ReasonBadRecord, "message %q is of %q", m.kind(), name)
	}
	if name != nil && t.locate == 0 {
		t.locate = m.locate()
	}
	if t.locate != 0 && m.locate() != t.locate {
		return refuse(CodeKeyMismatch, s.symbol, proto.ReasonBadRecord, "message %q has locate %d, this symbol %d", m.kind(), m.locate(), t.locate)
	}
	return nil
}

// pass moves the state on to the time of m. What lies before the newest message
// was seen already, or comes too late: which of them, nobody can tell.
func (t *itchState) pass(m itchMessage, s *venueSymbol[itchState], midnight int64) *proto.RecordError {
	now := midnight + m.time()
	if now < t.last {
		return refuse(CodeSourceGap, s.symbol, proto.ReasonSourceGap, "message %q of time %d after one of %d", m.kind(), now, t.last)
	}
	t.last = now
	if midnight != t.day {
		t.carried = t.carried || t.begun || t.ordered
		t.day, t.begun, t.ordered = midnight, false, false
	}
	if !m.changesOrders() {
		return nil
	}
	t.ordered = true
	if !t.carried {
		return nil
	}
	t.carried = false
	s.state = *t // it is refused once
	return refuse(CodeSourceGap, s.symbol, proto.ReasonSourceGap, "a day begins without stock directory message; waiting for the next day's")
}

// directory adds the definition of a stock directory message m and, if the day
// begins with it, the empty book. A later one defines only: it must not empty a
// book that is live, nor make one live of which orders may be missing.
func (c *itchCodec) directory(m itchMessage, t *itchState) {
	lot := int64(1)
	if m[25] == 'Y' { // round lots only
		lot = m.u32(21)
	}
	addEvent(&c.batch, proto.EventInstrument).Instrument = &proto.Instrument{
		Exponents: itchExponents, Lot: lot, Type: uint8(pb.InstrumentType_INSTRUMENT_TYPE_EQUITY),
		Base: string(m.stock()), Quote: "USD",
	}
	if !t.begun && !t.ordered && m.time() < itchOrdersBegin {
		addEvent(&c.batch, proto.EventClear).SessionStart = true
		t.begun, t.carried = true, false
	}
}

// marketWide reads a record without a key.
func (c *itchCodec) marketWide(rec *Record) (*proto.Batch, error) {
	for n, rest := 0, rec.Value; n == 0 || len(rest) > 0; n++ {
		m, more, err := nextITCH(rest)
		if err == nil && !m.marketWide() {
			return nil, refuse(CodeBadSymbol, "", proto.ReasonBadRecord, "a message %q without a key", m.kind())
		}
		if err != nil {
			return nil, refuse(CodeMalformed, "", proto.ReasonBadRecord, "message %d: %w", n, err)
		}
		rest = more
	}
	c.batch = proto.Batch{Events: c.batch.Events[:0]}
	return heartbeat(&c.batch), nil
}

func (t *itchState) appendTo(to []byte) []byte {
	to = appendStateInt(appendStateInt(appendStateUint(to, uint64(t.locate)), t.day), t.last)
	to = appendStateBool(appendStateBool(appendStateBool(to, t.begun), t.ordered), t.carried)
	return appendStateUint(to, t.sum)
}

func (t *itchState) readFrom(r *stateReader) {
	locate := r.uint()
	*t = itchState{locate: uint16(locate), day: r.int(), last: r.int()}
	t.begun, t.ordered, t.carried, t.sum = r.bool(), r.bool(), r.bool(), r.uint()
	r.check(locate == uint64(t.locate), "a locate")
	r.check(t.day == newYorkMidnight(t.day) || t.day == 0, "a midnight")
	r.check(t.last >= t.day, "a time before its day")
}

func (c *itchCodec) save(symbol string, to []byte) []byte { return saveVenue(&c.symbols, symbol, to) }
func (c *itchCodec) restore(symbol string, state []byte) error {
	return restoreVenue(&c.symbols, symbol, state)
}
func (c *itchCodec) forget(symbol string) { delete(c.symbols.of, symbol) }

// itchSum is for telling a record that comes again. It has 64 bits, since a record
// taken for the one before it would be a change lost in silence, and goes by
// words, since a table of CRCs takes longer than all else that decoding does.
func itchSum(value []byte) uint64 {
	sum := uint64(len(value))
	for ; len(value) >= 8; value = value[8:] {
		sum = mixSum(sum ^ binary.LittleEndian.Uint64(value))
	}
	var rest [8]byte
	copy(rest[:], value)
	return mixSum(sum ^ binary.LittleEndian.Uint64(rest[:]))
}

// mixSum maps no two numbers to one.
func mixSum(x uint64) uint64 {
	x *= 0x9E3779B97F4A7C15
	return x ^ x>>32
}

// dayOf sets the midnight of rec's day. No day is shorter than 23 hours.
func (c *itchCodec) dayOf(rec *Record) {
	if since := rec.Time - c.midnight; since < 0 || since >= 23*3600*1_000_000_000 {
		c.midnight = newYorkMidnight(rec.Time)
	}
}

// newYorkMidnight is the midnight, ns since 1970, that the day of a moment began
// with in New York. It follows the rule of the law of 2005 rather than a time zone
// database, which may be another on another node: daylight saving from 2:00 on
// the second Sunday of March to 2:00 on the first of November. So these two days
// begin with the time of the day before.
func newYorkMidnight(moment int64) int64 {
	const standard, summer = -5 * time.Hour, -4 * time.Hour
	at := time.Unix(0, moment).UTC()
	begin, end := firstSunday(at.Year(), time.March).AddDate(0, 0, 7), firstSunday(at.Year(), time.November)
	offset := standard
	if !at.Before(begin.Add(2*time.Hour-standard)) && at.Before(end.Add(2*time.Hour-summer)) {
		offset = summer
	}
	day := at.Add(offset).Truncate(24 * time.Hour)
	if offset = standard; day.After(begin) && !day.After(end) {
		offset = summer
	}
	return day.Add(-offset).UnixNano()
}

// firstSunday is 0:00 UTC of it.
func firstSunday(year int, month time.Month) time.Time {
	first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC)
	return first.AddDate(0, 0, (7-int(first.Weekday()))%7)
}
