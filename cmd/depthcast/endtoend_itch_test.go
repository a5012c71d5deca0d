package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/depthcast/depthcast/ingest"
	"github.com/depthcast/depthcast/proto"
)

// itchStock writes ITCH 5.0 messages of one stock; see ingest/codec_itch_message.go.
type itchStock struct {
	name   string
	locate uint16
	now    time.Duration // since midnight in New York; each message is 1 ns later
}

func (s *itchStock) message(kind byte, fields ...[]byte) []byte {
	s.now++
	m := binary.BigEndian.AppendUint16([]byte{kind}, s.locate)
	m = append(m, 0, 0)
	m = append(m, binary.BigEndian.AppendUint64(nil, uint64(s.now))[2:]...)
	m = append(m, slices.Concat(fields...)...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
}

func (s *itchStock) stock() []byte { return fmt.Appendf(nil, "%-8s", s.name) }

func (s *itchStock) directory() []byte {
	return s.message('R', s.stock(), []byte("QN\x00\x00\x00\x64NCZ PNN1N\x00\x00\x00\x00N"))
}

func (s *itchStock) add(id uint64, side byte, shares, price uint32) []byte {
	return s.message('A', be64(id), []byte{side}, be32(shares), s.stock(), be32(price))
}

func (s *itchStock) execute(id uint64, shares uint32) []byte {
	return s.message('E', be64(id), be32(shares), be64(1))
}

func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// record is one of the stock's records; it is of a day in summer.
func (s *itchStock) record(messages ...[]byte) ingest.Record {
	return ingest.Record{Key: []byte("NASDAQ:" + s.name), Value: slices.Concat(messages...),
		ContentType: ingest.ContentType("itch"), Time: time.Date(2026, 6, 18, 15, 0, 0, 0, time.UTC).UnixNano()}
}

// An ITCH book is live if it was followed from the stock directory message at the
// start of its day, and only then, also where the Kafka topic is declared
// complete; a stock directory message later on neither empties a book nor makes
// one live.
func TestEndToEndITCHBookIsLiveFromItsStockDirectoryOn(t *testing.T) {
	for _, complete := range []bool{false, true} {
		t.Run(fmt.Sprintf("complete=%v", complete), func(t *testing.T) { itchDay(t, complete) })
	}
}

func itchDay(t *testing.T, complete bool) {
	l := newLab(t, 1)
	p := l.producer()
	followed := &itchStock{name: "AAPL", locate: 17, now: 3 * time.Hour}
	joined := &itchStock{name: "MSFT", locate: 18, now: 10 * time.Hour}
	directory := followed.record(followed.directory())
	followed.now = 10 * time.Hour
	l.writeRaw(p,
		directory,
		followed.record(followed.add(1, 'B', 100, 1_500_000), followed.add(2, 'S', 50, 1_500_100)),
		joined.record(joined.add(3, 'B', 10, 4_000_000)),
		joined.record(joined.directory()),
		joined.record(joined.add(4, 'B', 10, 4_000_000)),
		followed.record(followed.directory()),
		followed.record(followed.add(5, 'B', 20, 1_500_000), followed.execute(1, 30)))
	server := l.serve(func(r *readFlags, _ *serverFlags) {
		if complete {
			r.Complete = []string{l.events}
		}
	})
	server.caughtUpTo(l)
	server.until("the book is live", func() bool { return server.book("NASDAQ:AAPL").State == proto.Live })
	wantLevels(t, server.book("NASDAQ:AAPL"), proto.Level{Price: 1_500_000, Qty: 90}, proto.Level{Price: 1_500_100, Qty: 50})
	if s := server.book("NASDAQ:MSFT"); s.State != proto.Recovering || s.Reason != proto.ReasonNoSnapshot {
		t.Errorf("a book followed from mid-day on: %d, %s", s.State, proto.ReasonWord(s.Reason))
	}

	// An order that the book does not know: recovering until the next day.
	l.writeRaw(p, followed.record(followed.execute(77, 1)))
	server.until("the contradiction is seen", func() bool { return server.book("NASDAQ:AAPL").State == proto.Recovering })
	next := &itchStock{name: "AAPL", locate: 23, now: 3 * time.Hour}
	record := next.record(next.directory(), next.add(1, 'S', 5, 1_490_000))
	record.Time += int64(24 * time.Hour)
	l.writeRaw(p, record)
	server.until("the next day is live", func() bool { return server.book("NASDAQ:AAPL").State == proto.Live })
	if s := server.book("NASDAQ:AAPL"); len(s.Bids) != 0 || len(s.Asks) != 1 || s.Exponents != (proto.Exponents{Price: -4}) {
		t.Errorf("the next day's book: %+v", s)
	}
}

func wantLevels(t *testing.T, s *proto.Snapshot, bid, ask proto.Level) {
	t.Helper()
	if !slices.Equal(s.Bids, []proto.Level{bid}) || !slices.Equal(s.Asks, []proto.Level{ask}) {
		t.Errorf("bids %v, asks %v, want %v and %v", s.Bids, s.Asks, bid, ask)
	}
}
