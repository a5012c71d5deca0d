package ingest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchAnswer is what a fetch brought: batches of records, decoded one at a time as
// they are wanted. One that does not decode ends it.
//
// kafka-go would decode the batches too, but ignores what stands after a damaged
// one, who wrote each and where it ends, and decompresses without a limit.
type fetchAnswer struct {
	cfg       *KafkaConfig
	response  *[]byte // lent; refers to all of it
	undecided int64   // records from the first open transaction on
	rest      []byte  // batches not begun
	aborted   abortedTransactions

	// Compressed batches, decompressed one after another.
	plain [2]*[]byte // lent; one goes on while the other still has the batch at hand
	at    int        // the one that goes on
	used  int        // bytes of it

	// Of the batch at hand.
	header  kmsg.RecordBatch
	dropped bool   // its records are not to be handed out: markers, or aborted
	in      int    // which of plain it lies in, if it was compressed
	records []byte // not handed out yet
	left    int32  // of them
	begun   int    // batches that decoded so far
}

// Attributes of a batch. The lowest three bits are its compression.
const (
	compressionBits = 1<<3 - 1
	logAppendTime   = 1 << 3
	transactional   = 1 << 4
	control         = 1 << 5
)

// maxHeaders bounds the headers of a record.
const maxHeaders = 1024

// batchOverhead are the bytes of a batch that its length does not count.
const batchOverhead = 12

// end is the offset after the batch at hand, whether or not it has a record there.
func (a *fetchAnswer) end() int64 { return a.header.FirstOffset + int64(a.header.LastOffsetDelta) + 1 }

// more reports whether there may be records that were not handed out.
func (a *fetchAnswer) more() bool { return a.left > 0 || len(a.rest) > 0 }

// nextBatch takes the next batch of the answer: false when there is none. An
// error is about that batch; nothing can be read after it.
func (a *fetchAnswer) nextBatch() (bool, error) {
	a.records, a.left = nil, 0
	if len(a.rest) < batchOverhead {
		a.rest = nil
		return false, nil
	}
	length := int64(int32(binary.BigEndian.Uint32(a.rest[8:])))
	if length > int64(len(a.rest)-batchOverhead) { // a broker cuts what does not fit
		a.rest = nil
		if a.begun == 0 {
			return false, fmt.Errorf("a batch of %d bytes, cut short", length)
		}
		return false, nil
	}
	if err := a.takeBatch(a.rest[:max(0, length+batchOverhead)]); err != nil {
		a.rest, a.records, a.left = nil, nil, 0
		return false, err
	}
	a.rest = a.rest[length+batchOverhead:]
	a.begun++
	return true, nil
}

// takeBatch checks a batch and makes it the one at hand.
func (a *fetchAnswer) takeBatch(raw []byte) error {
	h := &a.header
	if len(raw) > 16 && raw[16] != 2 { // magic byte
		return fmt.Errorf("message format %d: only that of Kafka 0.11 and later is read", raw[16])
	}
	if err := h.ReadFrom(raw); err != nil {
		return fmt.Errorf("batch header: %w", err)
	}
	if sum := crc32.Checksum(raw[21:], castagnoli); sum != uint32(h.CRC) {
		return fmt.Errorf("CRC is %08x, should be %08x", sum, uint32(h.CRC))
	}
	if h.FirstOffset < 0 || h.LastOffsetDelta < 0 || h.NumRecords < 0 || h.FirstOffset > math.MaxInt64-math.MaxInt32-1 {
		return fmt.Errorf("a batch of %d records at offset %d to %d later", h.NumRecords, h.FirstOffset, h.LastOffsetDelta)
	}
	a.dropped = a.aborted.drop(h)
	a.records, a.left = h.Records, h.NumRecords
	if a.dropped {
		a.records, a.left = nil, 0
		return nil
	}
	if kind := int(h.Attributes & compressionBits); kind != 0 {
		return a.unpack(kind)
	}
	return nil
}

// unpack decompresses the batch at hand behind those before it, whose records may
// be in use; where there is no room, into new memory, which leaves theirs alone.
func (a *fetchAnswer) unpack(kind int) error {
	plain := &a.plain[a.at]
	if *plain == nil {
		*plain = lend(leastPlain)
	}
	room := (**plain)[a.used:a.used]
	records, err := decompress(kind, a.header.Records, a.cfg.MaxBatchBytes, room)
	if err != nil {
		return err
	}
	if cap(records) > cap(room) {
		**plain, a.used = records[:cap(records)], 0
	}
	a.used += len(records)
	a.in, a.records = a.at, records[:len(records):len(records)]
	return nil
}

// reuse says that the records handed out before are void.
func (a *fetchAnswer) reuse() {
	if a.left > 0 && a.in == a.at {
		a.at = 1 - a.at
	}
	a.used = 0
}

// nextRecord decodes the next record of the batch at hand into r. Key, value and
// headers refer to the answer's memory; names lends header keys their strings.
func (a *fetchAnswer) nextRecord(r *Record, headers []Header, names *headerNames) ([]Header, error) {
	a.left--
	length, n := varint(a.records)
	if n <= 0 || length < 1 || length > int64(len(a.records)-n) {
		return headers, fmt.Errorf("record of %d bytes in a batch with %d left", length, len(a.records))
	}
	f := fields{b: a.records[n+1 : n+int(length)]} // after the record's attributes, which mean nothing
	a.records = a.records[n+int(length):]
	r.Time = (a.header.FirstTimestamp + f.varint()) * 1e6
	if a.header.Attributes&logAppendTime != 0 { // the broker's clock counts, for all of the batch
		r.Time = a.header.MaxTimestamp * 1e6
	}
	delta := f.varint()
	r.Offset = a.header.FirstOffset + delta
	r.Key = f.bytes()
	r.Value = f.bytes()
	r.ContentType, r.Headers = "", nil
	count := f.varint()
	if count < 0 || count > maxHeaders {
		f.bad = true
	}
	if count > 0 && !f.bad {
		from := len(headers)
		for i := range int(count) {
			h := Header{Key: names.name(i, f.bytes()), Value: f.bytes()}
			headers = append(headers, h)
			if h.Key == ContentTypeHeader {
				r.ContentType = names.content(h.Value)
			}
		}
		r.Headers = headers[from:len(headers):len(headers)]
	}
	if f.bad || len(f.b) > 0 || delta < 0 || delta > int64(a.header.LastOffsetDelta) {
		return headers, fmt.Errorf("record %d after offset %d is malformed", delta, a.header.FirstOffset)
	}
	return headers, nil
}

// done gives the memory back. What was handed out is void.
func (a *fetchAnswer) done() {
	giveBack(&a.response)
	giveBack(&a.plain[0])
	giveBack(&a.plain[1])
	*a = fetchAnswer{}
}

// fields reads the fields of a record one after another. What is asked of it when
// bad is nothing.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) varint() int64 {
	v, n := varint(f.b)
	if n <= 0 {
		f.b, f.bad = nil, true
		return 0
	}
	f.b = f.b[n:]
	return v
}

// bytes is nil for a length of -1.
func (f *fields) bytes() []byte {
	n := f.varint()
	if n < 0 && !f.bad {
		f.bad = n != -1
		return nil
	}
	if f.bad || n > int64(len(f.b)) {
		f.b, f.bad = nil, true
		return nil
	}
	b := f.b[:n:n]
	f.b = f.b[n:]
	return b
}

// varint is binary.Varint with the usual single byte first.
func varint(b []byte) (int64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), 1
	}
	return binary.Varint(b)
}

// headerNames are the keys of the last records' headers, by position, and the
// last content type, so that what repeats shares one string.
type headerNames struct {
	names       [8]string
	contentType string
}

func (h *headerNames) name(i int, b []byte) string {
	if i >= len(h.names) {
		return string(b)
	}
	if h.names[i] != string(b) {
		h.names[i] = string(b)
	}
	return h.names[i]
}

func (h *headerNames) content(b []byte) string {
	if h.contentType != string(b) {
		h.contentType = string(b)
	}
	return h.contentType
}
