package swarm

import (
	"encoding/binary"
	"fmt"

	"github.com/depthcast/depthcast/proto"
)

// kind of a frame: the number of its field in Frame.body (stream.proto).
type kind uint8

const (
	kindNone      kind = 0 // not one of those below, or of a newer server
	kindHello     kind = 1
	kindAck       kind = 2
	kindError     kind = 3
	kindSnapshot  kind = 4
	kindDelta     kind = 5
	kindStatus    kind = 10
	kindKeepalive kind = 11
	kindDrain     kind = 12
)

func (k kind) String() string {
	names := map[kind]string{
		kindHello: "hello", kindAck: "ack", kindError: "error", kindSnapshot: "snapshot", kindDelta: "delta",
		kindStatus: "status", kindKeepalive: "keepalive", kindDrain: "drain",
	}
	if name, ok := names[k]; ok {
		return name
	}
	return fmt.Sprintf("frame %d", uint8(k))
}

// head is what is needed of a snapshot, delta or keepalive. Of other frames only
// the kind is set: they are few and decoded by the generated code.
type head struct {
	kind             kind
	topic            uint32
	epoch            uint64
	prevSeq, seq     int64
	hash             uint32
	hashed           bool // hash was in what is there of the frame
	state            proto.State
	merged           uint32
	venue, published int64
}

// light reports whether the head of this kind says everything.
func (k kind) light() bool { return k == kindSnapshot || k == kindDelta || k == kindKeepalive }

// updates is how many entries of the server's ring a delta stands for.
func (h *head) updates() uint64 { return max(1, uint64(h.merged)) }

// fields of the light kinds by number; 0: it has none.
type fields struct{ topic, epoch, prevSeq, seq, state, hash, times, merged uint64 }

var (
	snapshotFields  = fields{topic: 1, epoch: 3, seq: 4, state: 6, hash: 13, times: 14}
	deltaFields     = fields{topic: 1, prevSeq: 2, seq: 3, hash: 6, times: 7, merged: 8}
	keepaliveFields = fields{topic: 1, seq: 2, hash: 3, times: 0}
)

// readProto reads the head of a frame in protobuf. b may be the beginning of a
// message of size bytes.
func (h *head) readProto(b []byte, size int) error {
	*h = head{}
	if size == 0 {
		return nil // a body that is not set: of a newer server
	}
	w := wire{b: b}
	tag, ok := w.varint()
	if !ok || tag&7 != 2 {
		return fmt.Errorf("%w: it begins with %x", errMessage, b[:min(8, len(b))])
	}
	if tag>>3 > 255 {
		return nil
	}
	h.kind = kind(tag >> 3)
	length, ok := w.varint()
	if !ok || length > uint64(size) {
		return fmt.Errorf("%w: %v of %d bytes in a message of %d", errMessage, h.kind, length, size)
	}
	switch h.kind {
	case kindSnapshot:
		return h.read(&w, &snapshotFields, len(b) < size)
	case kindDelta:
		return h.read(&w, &deltaFields, len(b) < size)
	case kindKeepalive:
		return h.read(&w, &keepaliveFields, len(b) < size)
	}
	return nil
}

func (h *head) read(w *wire, f *fields, cut bool) error {
	for len(w.b) > 0 {
		number, value, inner, ok := w.field()
		if !ok {
			if cut {
				return nil // the rest of it is not here
			}
			return fmt.Errorf("%w: %v", errMessage, h.kind)
		}
		switch number {
		case 0:
			return fmt.Errorf("%w: %v", errMessage, h.kind)
		case f.topic:
			h.topic = uint32(value)
		case f.epoch:
			h.epoch = value
		case f.prevSeq:
			h.prevSeq = int64(value)
		case f.seq:
			h.seq = int64(value)
		case f.state:
			h.state = proto.State(value)
		case f.hash:
			h.hash, h.hashed = uint32(value), true
		case f.merged:
			h.merged = uint32(value)
		case f.times:
			h.readTimes(inner)
		}
	}
	// In protobuf 0 is not written.
	h.hashed = h.hashed || !cut
	return nil
}

func (h *head) readTimes(b []byte) {
	for w := (wire{b: b}); len(w.b) > 0; {
		number, value, _, ok := w.field()
		switch {
		case !ok:
			return
		case number == 2:
			h.venue = int64(value)
		case number == 4:
			h.published = int64(value)
		}
	}
}

// wire walks over the fields of a protobuf message.
type wire struct{ b []byte }

func (w *wire) varint() (uint64, bool) {
	if len(w.b) > 0 && w.b[0] < 0x80 {
		v := uint64(w.b[0])
		w.b = w.b[1:]
		return v, true
	}
	v, n := binary.Uvarint(w.b)
	if n <= 0 {
		return 0, false
	}
	w.b = w.b[n:]
	return v, true
}

// field returns the next one: its value, or the bytes of a nested one.
func (w *wire) field() (number, value uint64, inner []byte, ok bool) {
	tag, ok := w.varint()
	if !ok {
		return 0, 0, nil, false
	}
	number = tag >> 3
	switch tag & 7 {
	case 0:
		value, ok = w.varint()
	case 1:
		if ok = len(w.b) >= 8; ok {
			value, w.b = binary.LittleEndian.Uint64(w.b), w.b[8:]
		}
	case 2:
		var n uint64
		if n, ok = w.varint(); !ok || n > uint64(len(w.b)) {
			return number, 0, nil, false
		}
		inner, w.b = w.b[:n], w.b[n:]
	case 5:
		if ok = len(w.b) >= 4; ok {
			value, w.b = uint64(binary.LittleEndian.Uint32(w.b)), w.b[4:]
		}
	default:
		ok = false
	}
	return number, value, inner, ok
}
